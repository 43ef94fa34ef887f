//! Transactions that overlap: readers of the log skip nothing and see every stream in its order.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use factum::backend::Postgres;
use factum::backend::postgres::sqlx::PgConnection;
use factum::{
    Append, Condition, EventStore, EventStoreExt, ExpectedVersion, GlobalPosition, Query, ReadLog, RecordedEvent, Result, StreamVersion,
};
use futures::TryStreamExt;
use futures::future::BoxFuture;
use tokio::sync::oneshot;

use crate::{Verdict, alone, append, event, log, stream, texts};

type Work = Box<dyn for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<()>> + Send>;

/// Work in a transaction that says when it has begun, and ends when it is told.
pub(crate) fn stalling() -> (Work, Stalled) {
    let ((begun, has_begun), (go_on, may_go_on)) = (oneshot::channel(), oneshot::channel::<()>());
    let work: Work = Box::new(move |_| {
        Box::pin(async move {
            _ = begun.send(());
            _ = may_go_on.await;
            Ok(())
        })
    });
    (work, Stalled { has_begun: Some(has_begun), _go_on: go_on })
}

/// Dropping it lets the work end.
pub(crate) struct Stalled {
    has_begun: Option<oneshot::Receiver<()>>,
    _go_on: oneshot::Sender<()>,
}

impl Stalled {
    pub(crate) async fn begun(&mut self) -> Verdict {
        Ok(self.has_begun.take().ok_or("it is waited for once")?.await?)
    }
}

/// Writer A takes its place and stalls, B commits, a reader reads, A commits: a reader that was given B before A would never see A.
pub(crate) async fn a_stalled_writer_is_not_skipped() -> Verdict {
    let (server, store) = alone().await?;
    let (reader, store) = (Postgres::connect(&server.url()).await?, Arc::new(store));
    store.append(append("Order-1", "before")).await?;
    let (work, mut stalled) = stalling();
    let writer = tokio::spawn({
        let store = store.clone();
        async move { store.append_with(append("Order-2", "A"), work).await }
    });
    stalled.begun().await?;
    store.append(append("Order-3", "B")).await?;
    assert_eq!(store.load(&stream("Order-3")).await?.len(), 1, "a stream shows at once what was recorded");
    let first = log(&reader).await?;
    assert_eq!(texts(&first), ["before"]);
    assert_eq!(reader.head().await?, first[0].position);
    drop(stalled);
    writer.await??;
    let after = ReadLog { after: first[0].position, ..ReadLog::default() };
    let second: Vec<RecordedEvent> = reader.read_log(after).try_collect().await?;
    assert_eq!(texts(&second), ["A", "B"]);
    Ok(())
}

/// What is appended while somebody looks whether a condition holds comes after it, however it is appended.
pub(crate) async fn an_append_waits_for_who_looks_at_a_condition() -> Verdict {
    let (server, store) = alone().await?;
    let (store, other) = (Arc::new(store), Arc::new(Postgres::connect(&server.url()).await?));
    let over_two = append("Order-2", 1).and_to(stream("Order-3"), ExpectedVersion::Any, [event(2)]);
    // The third goes behind an event that is there, by a statement of its own whose plan has been made long before.
    for round in 0..8 {
        other.append(append("Order-4", round)).await?;
    }
    for late in [append("Order-2", 1), over_two, append("Order-4", "late")] {
        let (work, mut stalled) = stalling();
        let condition = Condition { none_of: Query::all(), after: store.head().await? };
        let asking = tokio::spawn({
            let (store, asks) = (store.clone(), append("Order-1", 1).on_condition(condition));
            async move { store.append_with(asks, work).await }
        });
        stalled.begun().await?;
        let late = tokio::spawn({
            let other = other.clone();
            async move { other.append(late).await }
        });
        let waits = "SELECT count(*) FROM pg_locks WHERE relation = 'factum.gate'::regclass AND NOT granted";
        while server.sql("postgres", waits)?.trim() == "0" {
            assert!(!late.is_finished(), "it did not wait: {:?}", late.await?);
        }
        drop(stalled);
        let (first, second) = (asking.await??, late.await??);
        assert!(first.last_position() < second.streams[0].first_position);
    }
    Ok(())
}

const WRITERS: usize = 9;
const ROUNDS: usize = 120;
const STREAMS: u64 = 7;

/// Writers of three processes append to few streams, some of them over several streams and in every order, some slowly. Readers poll
/// without a pause. What they saw in the end is what was committed, once each, and every stream in its order.
pub(crate) async fn readers_see_all_that_was_committed_and_in_order() -> Verdict {
    let (server, first) = alone().await?;
    let mut stores = vec![Arc::new(first)];
    for _ in 0..2 {
        stores.push(Arc::new(Postgres::connect(&server.url()).await?));
    }
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        writers.push(tokio::spawn(write(stores[writer % stores.len()].clone(), writer)));
    }
    let total = WRITERS * ROUNDS;
    let mut readers = Vec::new();
    for store in &stores {
        let store = store.clone();
        readers.push(tokio::spawn(async move {
            let (mut seen, mut after) = (Vec::new(), GlobalPosition::START);
            while seen.iter().filter(|event: &&RecordedEvent| event.event_type.as_str() == "Last").count() < WRITERS {
                let events: Vec<RecordedEvent> = store.read_log(ReadLog { after, ..ReadLog::default() }).try_collect().await?;
                after = events.last().map_or(after, |event| event.position);
                seen.extend(events);
            }
            Ok::<_, factum::Error>(seen)
        }));
    }
    let mut committed = HashMap::new();
    for writer in writers {
        committed.extend(writer.await?.map_err(|error| error.to_string())?);
    }
    let expected = log(&*stores[0]).await?;
    assert_eq!(expected.len(), committed.len(), "{total} appends");
    for event in &expected {
        assert_eq!(committed.get(&(event.stream.clone(), event.id)), Some(&event.position));
    }
    for reader in readers {
        let seen = reader.await??;
        assert_eq!(seen.len(), expected.len());
        assert!(seen == expected, "a reader saw something else");
    }
    let mut versions: HashMap<_, (StreamVersion, _)> = HashMap::new();
    for event in &expected {
        let last = versions.entry(event.stream.clone()).or_insert((StreamVersion::NONE, event.recorded_at));
        assert_eq!(event.version, last.0.plus(1), "{} out of order", event.stream);
        assert!(event.recorded_at >= last.1, "{} goes back in time", event.stream);
        *last = (event.version, event.recorded_at);
    }
    Ok(())
}

type Committed = HashMap<(factum::StreamId, factum::Uuid), GlobalPosition>;

async fn write(store: Arc<Postgres>, writer: usize) -> Verdict<Committed> {
    let mut committed = HashMap::new();
    for round in 0..ROUNDS {
        let number = (writer * ROUNDS + round) as u64;
        let of = |step: u64| stream(format!("Order-{}", (number * 31 + step * number) % STREAMS));
        let mut proposed = event(number);
        if round + 1 == ROUNDS {
            proposed.event_type = factum::EventType::new("Last")?;
        }
        let mut append = Append::to(of(0), [proposed]);
        for step in 1..=(number % 3) {
            append = append.and_to(of(step), ExpectedVersion::Any, [event(number)]);
        }
        let ids: Vec<_> = append.streams.iter().map(|part| (part.stream.clone(), part.events[0].id)).collect();
        let receipt = if number.is_multiple_of(5) {
            let slowly = || async {
                tokio::time::sleep(Duration::from_millis(3)).await;
                Ok(())
            };
            store.append_with(append, |_| Box::pin(slowly())).await?
        } else {
            store.append(append).await?
        };
        assert!(!receipt.duplicate);
        committed.extend(ids.into_iter().zip(receipt.streams.iter().map(|part| part.first_position)));
    }
    Ok(committed)
}

/// Whoever reads what this process recorded waits for older transactions, but not for ever, and what was hidden comes later.
pub(crate) async fn what_is_hidden_for_long_does_not_hold_readers_up() -> Verdict {
    let (_server, store) = alone().await?;
    let store = Arc::new(store);
    let (work, mut stalled) = stalling();
    let writer = tokio::spawn({
        let store = store.clone();
        async move { store.append_with(append("Order-1", "A"), work).await }
    });
    stalled.begun().await?;
    store.append(append("Order-2", "B")).await?;
    for _ in 0..20 {
        assert_eq!(log(&*store).await?.len(), 0);
    }
    drop(stalled);
    writer.await??;
    assert_eq!(texts(&log(&*store).await?), ["A", "B"]);
    Ok(())
}
