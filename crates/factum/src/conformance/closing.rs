//! Closing: a closed store says so, whatever it is asked.

use futures::TryStreamExt;

use super::check::{Check, Verdict, check, ensure, ensure_eq};
use super::refusal::unavailable;
use super::sample::{event, events, record_name, stream, version};
use super::stage::Stage;
use crate::{Append, GlobalPosition, ListStreams, ReadLog, ReadStream, RecordWrite};

pub(super) const CHECKS: &[Check] = &[
    check!(closed_store_is_unavailable, "After close every call is Unavailable; streams of events give it as their first item."),
    check!(closed_store_still_says_what_it_is, "Capabilities are what they were."),
    check!(close_ends_those_who_wait, "A wait for more ends when the store is closed."),
    check!(close_beside_calls_leaves_them_whole, "Calls under way when the store is closed answer, one way or the other."),
];

async fn closed_store_is_unavailable(stage: Stage) -> Verdict {
    let order = stream("Order-1");
    stage.record(&order, &events(2)).await?;
    stage.store.write_record(RecordWrite::set(record_name("a"), "1")).await?;
    let store = &stage.store;
    store.close().await?;
    unavailable(store.append(Append::to(order.clone(), [event("late")])).await)?;
    unavailable(store.read_stream(&order, ReadStream::default()).try_next().await)?;
    unavailable(store.read_stream(&stream("Order-2"), ReadStream::default()).try_next().await)?;
    unavailable(store.read_log(ReadLog::default()).try_next().await)?;
    unavailable(store.head().await)?;
    for position in [GlobalPosition::START, GlobalPosition::from_number(2), GlobalPosition::from_number(u64::MAX)] {
        unavailable(stage.within("a wait on a closed store to end", store.wait_after(position)).await?)?;
    }
    unavailable(store.stream(&order).await)?;
    unavailable(store.streams(ListStreams::default()).try_next().await)?;
    unavailable(store.truncate_before(&order, version(1)).await)?;
    unavailable(store.record(&record_name("a")).await)?;
    unavailable(store.write_record(RecordWrite::set(record_name("a"), "2")).await)?;
    unavailable(store.stats().await)?;
    // A second close finds nothing to do, or is such a later call.
    if let Err(error) = store.close().await {
        unavailable::<()>(Err(error))?;
    }
    Ok(())
}

async fn closed_store_still_says_what_it_is(stage: Stage) -> Verdict {
    let before = stage.store.capabilities();
    stage.store.close().await?;
    ensure_eq!(stage.store.capabilities(), before, "the capabilities");
    Ok(())
}

async fn close_ends_those_who_wait(stage: Stage) -> Verdict {
    stage.record(&stream("Order-1"), &events(2)).await?;
    let head = stage.store.head().await?;
    let waits = [head, GlobalPosition::from_number(head.number() + 1_000), GlobalPosition::from_number(u64::MAX)].map(|position| {
        let store = stage.store.clone();
        tokio::spawn(async move {
            // A wait may return without cause; whoever waits looks again.
            while store.wait_after(position).await.is_ok() {
                tokio::task::yield_now().await;
            }
        })
    });
    tokio::task::yield_now().await;
    stage.store.close().await?;
    for wait in waits {
        stage.within("a wait to end", wait).await??;
    }
    Ok(())
}

async fn close_beside_calls_leaves_them_whole(stage: Stage) -> Verdict {
    let order = stream("Order-1");
    stage.record(&order, &events(1)).await?;
    let calls: Vec<_> = (0..6)
        .map(|number| {
            let (store, order) = (stage.store.clone(), order.clone());
            tokio::spawn(async move {
                loop {
                    let answer = match number % 3 {
                        0 => store.append(Append::to(order.clone(), events(2))).await.map(drop),
                        1 => store.read_log(ReadLog::default()).try_collect::<Vec<_>>().await.map(drop),
                        _ => store.write_record(RecordWrite::set(record_name("a"), "1")).await.map(drop),
                    };
                    if let Err(error) = answer {
                        return error;
                    }
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    tokio::task::yield_now().await;
    stage.store.close().await?;
    for call in calls {
        let error = stage.within("a call to answer", call).await??;
        ensure!(error.is_retryable(), "a call beside close gave {error:?}");
    }
    Ok(())
}
