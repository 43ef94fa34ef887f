//! Concurrency: writers that race, and readers that never skip.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::TryStreamExt;

use super::check::{Check, Verdict, check, ensure, ensure_eq};
use super::refusal::conflict;
use super::sample::{event, events, ids, stream, tag, tagged, versions};
use super::stage::Stage;
use crate::{Append, ExpectedVersion, GlobalPosition, Query, ReadLog, RecordedEvent, SharedStore, StreamVersion};

pub(super) const CHECKS: &[Check] = &[
    check!(racing_writers_win_each_version_once, "Of writers that expect the same version exactly one wins; the others get a conflict."),
    check!(racing_first_writers_have_one_winner, "Of writers that expect no stream exactly one makes it."),
    check!(concurrent_writers_all_find_place, "Concurrent appends with Any are each recorded once, whole, in each writer's order."),
    check!(polling_reader_never_skips, "A reader that goes on after the last position it saw misses nothing and sees nothing twice."),
    check!(polling_reader_of_a_query_never_skips, "So does a reader of what matches a query."),
    check!(head_is_never_ahead_of_what_can_be_read, "What stands at or below a head is all readable, and nothing is added there later."),
    check!(reader_never_sees_half_an_append, "A read of the log to its end has all of an append or none.", MultiStreamAppend),
    check!(appends_over_the_same_streams_do_not_block_each_other, "Whatever the order they name them in.", MultiStreamAppend),
];

async fn racing_writers_win_each_version_once(stage: Stage) -> Verdict {
    let order = stream("Order-1");
    for version in 0..15 {
        let writers = (0..6).map(|writer| {
            let (store, proposed) = (stage.store.clone(), event(&format!("{version} by {writer}")));
            let append = Append::to(order.clone(), [proposed]).expecting(ExpectedVersion::exact(version));
            async move { Ok(store.append(append).await) }
        });
        let mut won = 0;
        for answer in stage.all(writers).await? {
            if answer.is_ok() {
                won += 1;
            } else {
                let actual = conflict(answer)?.actual;
                ensure_eq!(actual, StreamVersion::new(version + 1), "the actual version in the conflict");
            }
        }
        ensure_eq!(won, 1, "winners of version {}", version + 1);
    }
    ensure_eq!(versions(&stage.stream(&order).await?), (1..=15).collect::<Vec<_>>(), "the stream's versions");
    Ok(())
}

async fn racing_first_writers_have_one_winner(stage: Stage) -> Verdict {
    for round in 0..10 {
        let writers = (0..6).map(|_| {
            let append = Append::to(stream(&format!("Order-{round}")), events(2)).expecting(ExpectedVersion::NoStream);
            let store = stage.store.clone();
            async move { Ok(store.append(append).await) }
        });
        let answers = stage.all(writers).await?;
        ensure_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "winners of round {round}");
    }
    ensure_eq!(stage.log().await?.len(), 20, "the number of events");
    Ok(())
}

/// Appends from several tasks at once, to streams they share, `appends` of one to three events each. Every second event is tagged.
pub(super) fn writers(store: &SharedStore, writers: usize, appends: usize) -> impl Iterator<Item = impl Future<Output = Verdict> + use<>> {
    let store = store.clone();
    (0..writers).map(move |writer| {
        let store = store.clone();
        async move {
            for number in 0..appends {
                let data = format!("{writer}/{number}");
                let batch = (0..=number % 3).map(|index| if index % 2 == 0 { tagged("Noted", &data, ["even"]) } else { event(&data) });
                store.append(Append::to(stream(&format!("Order-{}", (writer + number) % 3)), batch)).await?;
                tokio::task::yield_now().await;
            }
            Ok(())
        }
    })
}

async fn concurrent_writers_all_find_place(stage: Stage) -> Verdict {
    stage.all(writers(&stage.store, 6, 15)).await?;
    let log = stage.log().await?;
    ensure_eq!(log.len(), 6 * 30, "the number of events");
    ensure!(log.is_sorted_by(|one, next| one.position < next.position), "positions in the log do not increase");
    for number in 0..3 {
        let order = stream(&format!("Order-{number}"));
        let read = stage.stream(&order).await?;
        ensure_eq!(versions(&read), (1..=read.len() as u64).collect::<Vec<_>>(), "the versions of {order}");
        let in_log: Vec<_> = log.iter().filter(|event| event.stream == order).cloned().collect();
        ensure_eq!(ids(&read), ids(&in_log), "the order of {order}, beside its order in the log");
    }
    for writer in 0..6 {
        let prefix = format!("{writer}/");
        let of_writer = log.iter().filter_map(|event| String::from_utf8_lossy(&event.data).strip_prefix(&prefix)?.parse::<u64>().ok());
        ensure!(of_writer.is_sorted(), "the events of writer {writer} are not in the order in which it recorded them");
    }
    // The events of one append stand together in their stream.
    for number in 0..3 {
        let read = stage.stream(&stream(&format!("Order-{number}"))).await?;
        let mut runs: Vec<_> = read.iter().map(|event| event.data.clone()).collect();
        runs.dedup();
        let mut distinct = runs.clone();
        distinct.sort();
        distinct.dedup();
        ensure_eq!(runs.len(), distinct.len(), "runs of events of one append, beside appends");
    }
    Ok(())
}

/// Reads after the last position seen, again and again, until the writers are done and nothing more comes.
async fn poll(store: SharedStore, query: Query, writing: Arc<AtomicUsize>) -> Verdict<Vec<RecordedEvent>> {
    let mut seen: Vec<RecordedEvent> = Vec::new();
    loop {
        let written = writing.load(Ordering::SeqCst) == 0;
        let after = seen.last().map_or(GlobalPosition::START, |event| event.position);
        // Sometimes to the end, sometimes a few events only.
        let limit = seen.len().is_multiple_of(2).then_some(3);
        let read = ReadLog { after, query: query.clone(), limit, ..ReadLog::default() };
        let new: Vec<_> = store.read_log(read).try_collect().await?;
        if written && new.is_empty() {
            return Ok(seen);
        }
        seen.extend(new);
        tokio::task::yield_now().await;
    }
}

/// Polls with a few readers while writers write; what each saw must be the log.
async fn readers_beside_writers(stage: &Stage, query: Query) -> Verdict {
    let writing = Arc::new(AtomicUsize::new(6));
    let polls: Vec<_> = (0..3).map(|_| tokio::spawn(poll(stage.store.clone(), query.clone(), writing.clone()))).collect();
    let each_says_when_done = writers(&stage.store, 6, 25).map(|writer| {
        let writing = writing.clone();
        async move {
            let verdict = writer.await;
            writing.fetch_sub(1, Ordering::SeqCst);
            verdict
        }
    });
    stage.all(each_says_when_done).await?;
    let log = stage.log_with(ReadLog { query, ..ReadLog::default() }).await?;
    for reader in polls {
        let seen = stage.within("the reader to come to the end", reader).await???;
        if let Some(at) = seen.iter().zip(&log).position(|(seen, recorded)| seen != recorded) {
            let (seen, recorded) = (seen[at].position, log[at].position);
            ensure!(false, "as its event number {} the reader saw position {seen}, but {recorded} comes first in the log", at + 1);
        }
        ensure_eq!(seen.len(), log.len(), "the number of events that the reader saw");
    }
    Ok(())
}

async fn polling_reader_never_skips(stage: Stage) -> Verdict {
    readers_beside_writers(&stage, Query::all()).await
}

async fn polling_reader_of_a_query_never_skips(stage: Stage) -> Verdict {
    readers_beside_writers(&stage, Query::tags([tag("even")])).await
}

async fn head_is_never_ahead_of_what_can_be_read(stage: Stage) -> Verdict {
    let writing = Arc::new(AtomicUsize::new(1));
    let (store, done) = (stage.store.clone(), writing.clone());
    let reader = tokio::spawn(async move {
        let mut heads = Vec::new();
        while done.load(Ordering::SeqCst) > 0 {
            let head = store.head().await?;
            let read = ReadLog { up_to: Some(head), ..ReadLog::default() };
            let seen: Vec<_> = store.read_log(read).try_collect().await?;
            ensure_eq!(seen.last().map_or(GlobalPosition::START, |event| event.position), head, "the last position, beside the head");
            heads.push((head, seen.len()));
            tokio::task::yield_now().await;
        }
        Ok(heads)
    });
    stage.all(writers(&stage.store, 4, 20)).await?;
    writing.store(0, Ordering::SeqCst);
    let heads = stage.within("the reader to come to the end", reader).await???;
    let log = stage.log().await?;
    ensure!(heads.is_sorted(), "the head went back");
    for (head, seen) in heads {
        let now = log.iter().filter(|event| event.position <= head).count();
        ensure_eq!(now, seen, "events up to {head} at the end, beside those that could be read when it was the head");
    }
    ensure_eq!(stage.store.head().await?, log[log.len() - 1].position, "the head at the end");
    Ok(())
}

async fn reader_never_sees_half_an_append(stage: Stage) -> Verdict {
    let reading = Arc::new(AtomicUsize::new(1));
    let (store, busy) = (stage.store.clone(), reading.clone());
    let reader = tokio::spawn(async move {
        let verdict = read_transfers(&store).await;
        busy.store(0, Ordering::SeqCst);
        verdict
    });
    // As long as it reads there is something to come between its reads.
    while reading.load(Ordering::SeqCst) > 0 {
        stage.all((0..4).map(|writer| transfers(stage.store.clone(), writer, 5))).await?;
    }
    stage.within("the reader to come to the end", reader).await??
}

/// Reads the log again and again, and fails if it ever holds one half of a transfer.
async fn read_transfers(store: &SharedStore) -> Verdict {
    for _ in 0..40 {
        let seen: Vec<_> = store.read_log(ReadLog::default()).try_collect().await?;
        let debits = seen.iter().filter(|event| event.data == "debit").count();
        let credits = seen.iter().filter(|event| event.data == "credit").count();
        ensure_eq!(credits, debits, "credits read, beside debits");
        tokio::task::yield_now().await;
    }
    Ok(())
}

async fn transfers(store: SharedStore, writer: usize, count: usize) -> Verdict {
    for number in 0..count {
        let (from, to) = (stream(&format!("Account-{}", writer % 3)), stream(&format!("Account-{}", (writer + 1 + number % 2) % 3)));
        store.append(Append::to(from, [event("debit")]).and_to(to, ExpectedVersion::Any, [event("credit")])).await?;
        tokio::task::yield_now().await;
    }
    Ok(())
}

async fn appends_over_the_same_streams_do_not_block_each_other(stage: Stage) -> Verdict {
    stage.all((0..6).map(|writer| transfers(stage.store.clone(), writer, 10))).await?;
    ensure_eq!(stage.log().await?.len(), 120, "the number of events");
    Ok(())
}
