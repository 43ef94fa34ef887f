//! An event whose handler ends the process: it is parked after so many processes, and nothing else is.

use std::process::Command;
use std::time::{Duration, Instant};

use factum::{Backoff, EventStoreExt, ExpectedVersion, Group, Groups, NewEvent, SharedStore, StreamId};

use crate::{Outcome, PATIENCE};

/// Names the store to a child that runs the handlers.
pub(crate) const POISONED: &str = "FACTUM_GROUP_POISONED";
const ATTEMPTS: u32 = 3;
/// The first death is of a process that nobody had reason to be careful before; the next ones count, if the process comes to the event
/// within the lease for which it is careful. On a busy machine some don't, and are the first again.
const DEATHS_MAX: u32 = ATTEMPTS + 20;
const STREAMS: usize = 12;
/// The one whose event ends processes.
const POISON: &str = "Order-5";

fn group(store: SharedStore) -> Group {
    let backoff = Backoff { attempts_max: ATTEMPTS, ..Backoff::ONCE };
    Group::new(store, "poisoned").lanes(4).lease(Duration::from_millis(400)).retry(backoff)
}

/// The child: handles everything, and ends when all is handled or parked, if it comes to that.
pub(crate) async fn child(url: &str) -> Outcome {
    // Whoever had the store before may still be about to leave.
    let begun = Instant::now();
    let store = loop {
        match factum::connect(url).await {
            Ok(store) => break store,
            Err(error) if error.is_retryable() && begun.elapsed() < PATIENCE => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(error) => return Err(error.into()),
        }
    };
    let head = store.head().await?;
    let groups = Groups::new(store.clone());
    let handled = async {
        loop {
            match groups.get("poisoned").await {
                Ok(state) if state.position >= head && state.held.iter().all(|held| held.is_parked) => return,
                Ok(_) | Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    let handler = |event: factum::RecordedEvent| async move {
        if event.stream.as_str() == POISON {
            std::process::abort();
        }
        Ok(())
    };
    group(store.clone()).otherwise(handler).run_until(handled).await?;
    Ok(store.close().await?)
}

/// The bug: attempts were counted only where a handler returned, so such an event ended one process after the other for ever.
pub(crate) async fn it_is_parked_after_so_many_processes() -> Outcome {
    let folder = tempfile::tempdir()?;
    let url = format!("file:{}", folder.path().join("store").display());
    let store = factum::connect(&url).await?;
    for number in 0..STREAMS * 2 {
        let stream = StreamId::new(format!("Order-{}", number % STREAMS))?;
        store.append_to(&stream, ExpectedVersion::Any, vec![NewEvent::json("Placed", &())?]).await?;
    }
    store.close().await?;
    // The store is another process's from here on.
    drop(store);
    let mut deaths = 0;
    loop {
        let status = Command::new(std::env::current_exe()?).env(POISONED, &url).status()?;
        if status.success() {
            break;
        }
        if status.code().is_some() {
            return Err(format!("a process ended in another way: {status}").into());
        }
        deaths += 1;
        if deaths > DEATHS_MAX {
            return Err(format!("it has ended {deaths} processes").into());
        }
    }
    let store = factum::connect(&url).await?;
    let state = Groups::new(store.clone()).get("poisoned").await?;
    let held: Vec<_> = state.held.iter().map(|held| (held.key.as_str(), held.is_parked, held.event.version)).collect();
    if deaths == 0 || held != [(POISON, true, 1)] || !state.held[0].event.reason.contains("process") {
        return Err(format!("after {deaths} deaths it is {state:?}").into());
    }
    Ok(store.close().await?)
}
