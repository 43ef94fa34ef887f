//! Several partitions: readers never skip, one position says how far they came, and what can't be done is refused.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use factum::{
    Append, Checkpoints, Error, EventStoreExt, ExpectedVersion, GlobalPosition, ReadLog, RecordedEvent, SharedStore, Subscription,
    SubscriptionOptions, Uuid,
};
use factum_servers::RedisServer;
use futures::TryStreamExt;

use super::{Verdict, events, says, stream};

/// Appends to streams in every partition, through a handle of its own, as another process would.
async fn write(url: String, writer: usize, appends: usize) -> factum::Result<Vec<Uuid>> {
    let store = factum::connect(&url).await?;
    let mut recorded = Vec::new();
    for number in 0..appends {
        let append = Append::to(stream(&format!("Order-{}", (writer * 7 + number) % 23)), events(1 + number as u64 % 3));
        recorded.extend(append.streams[0].events.iter().map(|event| event.id));
        store.append(append).await?;
    }
    Ok(recorded)
}

/// Reads after the last position it was given, again and again, and fails if an event appears at or below it.
async fn follow(store: SharedStore, writing: Arc<AtomicUsize>) -> factum::Result<Vec<RecordedEvent>> {
    let mut seen: Vec<RecordedEvent> = Vec::new();
    loop {
        let done = writing.load(Ordering::SeqCst) == 0;
        let after = seen.last().map_or(GlobalPosition::START, |event| event.position);
        let limit = seen.len().is_multiple_of(2).then_some(5);
        let new: Vec<_> = store.read_log(ReadLog { after, limit, ..ReadLog::default() }).try_collect().await?;
        if done && new.is_empty() {
            return Ok(seen);
        }
        seen.extend(new);
    }
}

/// The partitions number for themselves, so one may be far behind another: an event there could stand below what a reader has seen.
pub(super) async fn readers_of_partitions_never_skip() -> Verdict {
    let server = RedisServer::start_with(&[("appendfsync", "no")])?;
    let url = format!("{}?partitions=6&durability=any", server.url());
    let readers: Vec<_> = {
        let mut opened = Vec::new();
        for _ in 0..3 {
            opened.push(factum::connect(&url).await?);
        }
        opened
    };
    let writing = Arc::new(AtomicUsize::new(5));
    let following: Vec<_> = readers.iter().map(|store| tokio::spawn(follow(store.clone(), writing.clone()))).collect();
    let writers: Vec<_> = (0..5)
        .map(|writer| {
            let (url, writing) = (url.clone(), writing.clone());
            tokio::spawn(async move {
                let recorded = write(url, writer, 150).await;
                writing.fetch_sub(1, Ordering::SeqCst);
                recorded
            })
        })
        .collect();
    let mut recorded = HashSet::new();
    for writer in writers {
        recorded.extend(writer.await??);
    }
    for reader in following {
        let seen = reader.await??;
        assert!(seen.is_sorted_by(|one, next| one.position < next.position), "positions rise");
        let ids: HashSet<_> = seen.iter().map(|event| event.id).collect();
        assert_eq!(ids.len(), seen.len(), "nothing is read twice");
        let skipped = recorded.iter().filter(|id| !ids.contains(id)).count();
        assert_eq!(skipped, 0, "skipped, of {}", recorded.len());
        let mut versions: HashMap<_, u64> = HashMap::new();
        for event in &seen {
            let version = versions.entry(event.stream.clone()).or_default();
            *version += 1;
            assert_eq!(event.version.get(), *version, "the order within {}", event.stream);
        }
    }
    Ok(())
}

pub(super) async fn one_position_is_a_checkpoint_of_every_partition() -> Verdict {
    let server = RedisServer::start()?;
    let url = format!("{}?partitions=4&durability=always", server.url());
    let store = factum::connect(&url).await?;
    let checkpoints = Checkpoints::new(store.clone());
    let mut seen = Vec::new();
    for round in 0..6 {
        // Another process writes, and knows nothing of how far the reader came.
        let recorded = write(url.clone(), round, 12).await?.len();
        let taken = checkpoints.take("orders").await?;
        let mut subscription =
            Subscription::new(store.clone(), SubscriptionOptions { after: taken.position, ..SubscriptionOptions::default() });
        // It stops in the middle, and the next one goes on there.
        for _ in 0..recorded.div_ceil(2) {
            seen.push(subscription.next().await?);
        }
        checkpoints.advance("orders", taken.fence, subscription.position()).await?;
    }
    let log: Vec<_> = store.read_log(ReadLog::default()).try_collect().await?;
    assert_eq!(seen, log[..seen.len()]);
    Ok(())
}

pub(super) async fn appends_over_two_partitions_are_refused() -> Verdict {
    let server = RedisServer::start()?;
    let store = factum::connect(&format!("{}?partitions=4&durability=always", server.url())).await?;
    let append = |one: &str, other: &str| Append::to(stream(one), events(1)).and_to(stream(other), ExpectedVersion::Any, events(1));
    match store.append(append("Order-1", "Order-2")).await {
        Err(error @ Error::Unsupported { .. }) => says(error, &["two partitions", "Order-1", "Order-2", "braces"]),
        other => panic!("{other:?}"),
    }
    assert_eq!(store.stream(&stream("Order-1")).await?, None);
    // What stands in braces decides, so these are together.
    let receipt = store.append(append("Order-{7}", "Line-{7}-1")).await?;
    assert_eq!(receipt.streams.len(), 2);
    Ok(())
}

pub(super) async fn a_store_keeps_its_number_of_partitions() -> Verdict {
    let server = RedisServer::start()?;
    let url = format!("{}?durability=always", server.url());
    let first = factum::connect(&format!("{url}&partitions=3")).await?;
    first.append_to(&stream("Order-1"), ExpectedVersion::NoStream, events(1)).await?;
    match factum::connect(&format!("{url}&partitions=4")).await.map(drop) {
        Err(error @ Error::Invalid { .. }) => says(error, &["3 partitions", "not 4"]),
        other => panic!("{other:?}"),
    }
    // Who does not say how many gets those it has.
    assert_eq!(factum::connect(&url).await?.load(&stream("Order-1")).await?.len(), 1);
    Ok(())
}
