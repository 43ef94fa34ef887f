//! A projection is stopped in the middle, at every point where it waits for something, thousands of times. Whatever was under way then, the
//! rows must be what a fold of the log is up to the position that stands beside them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use factum::projection::{MemoryTarget, Target, fold_now};
use factum::{Error, Projector, SharedStore};

use crate::Outcome;
use crate::places::Database;
use crate::totals::{Folded, Sums, Totals, append, fold, rows, rows_at};

/// Lets a future wait so many times, and gives it up the next time.
struct Cut<F> {
    future: Pin<Box<F>>,
    waits_left: u32,
}

impl<F: Future> Future for Cut<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if self.waits_left == 0 => Poll::Ready(None),
            Poll::Pending => {
                self.waits_left -= 1;
                Poll::Pending
            }
        }
    }
}

fn cut<F: Future>(future: F, waits: u32) -> Cut<F> {
    Cut { future: Box::pin(future), waits_left: waits }
}

pub(crate) async fn rows_are_the_fold_of_the_log_wherever_it_is_cut_off(store: SharedStore, database: Arc<Database>) -> Outcome {
    let totals = Totals::default();
    let projector = Projector::new(store.clone(), database.target.clone(), totals.clone()).batch_events_max(4);
    let (mut appended, mut waits, mut finished, mut cuts) = (0, 0, 0, 0);
    let mut expected = Folded::default();
    while cuts < database.cuts {
        // There is always something left to do, so that it is cut off in the middle of it.
        append(&store, appended..appended + 3).await?;
        appended += 3;
        match cut(projector.run_to_end(), waits).await {
            Some(outcome) => {
                outcome?;
                finished += 1;
                // The longest run there is has been cut at each of its waits: from the beginning again.
                waits = 0;
            }
            None => {
                cuts += 1;
                waits += 1;
            }
        }
        // Nobody has made the tables before somebody came so far.
        if database.target.live_version("totals").await?.is_none() {
            continue;
        }
        let (position, is) = rows_at(&database.target).await?;
        expected.advance(&store, position).await?;
        if is != expected.sums {
            return Err(format!("cut off after {waits} waits, at position {position}: {is:?}, not {:?}", expected.sums).into());
        }
    }
    projector.run_to_end().await?;
    let position = database.target.position("totals").await?;
    assert_eq!(position, store.head().await?);
    assert_eq!(rows(&database.target).await?, fold(&store, &totals, position).await?);
    println!("{cuts} cuts, {finished} runs that came to the end, {appended} events");
    Ok(())
}

pub(crate) async fn two_runners_apply_each_event_once(store: SharedStore, database: Arc<Database>) -> Outcome {
    let totals = Totals::default();
    append(&store, 0..300).await?;
    // Each has its own connections, as processes have.
    let other = factum::projection::SqlTarget::connect(&database.url).await?;
    let run = |target: &factum::projection::SqlTarget| {
        let projector = Projector::new(store.clone(), target.clone(), totals.clone()).batch_events_max(3);
        tokio::spawn(async move {
            let mut fenced = 0;
            loop {
                match projector.run_to_end().await {
                    Ok(()) => return factum::Result::Ok(fenced),
                    Err(Error::Fenced { .. }) => fenced += 1,
                    Err(error) => return Err(error),
                }
            }
        })
    };
    let (first, second) = (run(&database.target), run(&other));
    let fenced: u32 = first.await?? + second.await??;
    println!("{fenced} times fenced");
    let position = database.target.position("totals").await?;
    assert_eq!(position, store.head().await?);
    assert_eq!(rows(&database.target).await?, fold(&store, &totals, position).await?);
    // A runner who was replaced for good ends.
    let old = Projector::new(store.clone(), database.target.clone(), totals.clone());
    let running = tokio::spawn(async move { old.run_until(std::future::pending::<()>()).await });
    let new = Projector::new(store.clone(), other, totals.clone());
    loop {
        append(&store, 0..1).await?;
        match new.run_to_end().await {
            // The old one may have begun only now, and is then the later one.
            Ok(()) | Err(Error::Fenced { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        if running.is_finished() {
            break;
        }
    }
    assert!(matches!(running.await?, Err(Error::Fenced { .. })));
    let position = database.target.position("totals").await?;
    assert_eq!(rows(&database.target).await?, fold(&store, &totals, position).await?);
    Ok(())
}

pub(crate) async fn in_memory() -> Outcome {
    let store = factum::connect("memory:").await?;
    let totals = Totals::default();
    let last = append(&store, 0..100).await?;
    let target = MemoryTarget::<Sums>::new();
    let projector = Projector::new(store.clone(), target.clone(), totals.clone()).batch_events_max(7);
    for waits in 0..50 {
        _ = cut(projector.run_to_end(), waits).await;
        let position = target.position("totals").await?;
        assert_eq!(*target.state(), fold(&store, &totals, position).await?);
    }
    projector.run_to_end().await?;
    assert_eq!(*target.state(), fold(&store, &totals, last).await?);
    // Made on the spot it is the same, and leaves no trace.
    assert_eq!(fold_now::<Sums, _>(&store, totals).await?, target.state());
    Ok(())
}

/// The store in files takes other paths through waiting.
pub(crate) async fn from_files() -> Outcome {
    let folder = tempfile::tempdir()?;
    let store = factum::connect(&format!("file:{}", folder.path().join("store").display())).await?;
    let totals = Totals::default();
    let target = MemoryTarget::<Sums>::new();
    let projector = Projector::new(store.clone(), target.clone(), totals.clone()).batch_events_max(50);
    for round in 0..200 {
        append(&store, round * 20..round * 20 + 20).await?;
        _ = cut(projector.run_to_end(), u32::try_from(round % 12)?).await;
        let position = target.position("totals").await?;
        assert_eq!(*target.state(), fold(&store, &totals, position).await?);
    }
    projector.run_to_end().await?;
    assert_eq!(*target.state(), fold(&store, &totals, store.head().await?).await?);
    Ok(store.close().await?)
}

#[cfg(feature = "redis")]
pub(crate) async fn in_redis() -> Outcome {
    use factum::projection::RedisTarget;
    let server = factum_servers::RedisServer::start()?;
    let store = factum::connect("memory:").await?;
    let totals = Totals::default();
    let target = RedisTarget::new(&server.url())?;
    let projector = Projector::new(store.clone(), target.clone(), totals.clone()).batch_events_max(4);
    let sums = || crate::hashes::sums(&server);
    let mut waits = 0;
    for round in 0..400 {
        append(&store, round * 3..round * 3 + 3).await?;
        waits = if cut(projector.run_to_end(), waits).await.is_some() { 0 } else { waits + 1 };
        if round % 10 == 0 {
            // What was sent before it was given up may still be on its way: a later claim comes after it.
            let (_, claim) = target.claim(&factum::projection::Build { name: "totals".to_owned(), version: 1, tables: Vec::new() }).await?;
            assert_eq!(sums()?, fold(&store, &totals, claim.position).await?, "after {waits} waits");
        }
    }
    projector.run_to_end().await?;
    assert_eq!(sums()?, fold(&store, &totals, store.head().await?).await?);
    Ok(())
}
