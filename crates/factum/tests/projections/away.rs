//! Rows that can't be reached for a while: a projection that runs waits for them, goes on exactly where they are, and parks nothing for that.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use factum::projection::{Build, Claim, Draft, MemoryTarget, Target};
use factum::{Backoff, Error, GlobalPosition, OnFailure, ParkedEvent, Projector, Result, async_trait};
#[cfg(feature = "postgres")]
use factum::{Handled, Projection, RecordedEvent, SharedStore, projection::SqlRows};

use crate::Outcome;
use crate::totals::{Sums, Totals, append, fold};
#[cfg(feature = "postgres")]
use crate::{places::Database, totals::rows};

/// Rows in memory that are away for some of the times that somebody begins to change them.
#[derive(Clone)]
struct Away {
    target: MemoryTarget<Sums>,
    begun: Arc<AtomicU32>,
    away: Range<u32>,
    /// What can't be applied, until the rows are away.
    refuses: Arc<AtomicU64>,
}

#[async_trait]
impl Target for Away {
    type Rows = Draft<Sums>;

    async fn live_version(&self, name: &str) -> Result<Option<u32>> {
        self.target.live_version(name).await
    }

    async fn claim(&self, build: &Build) -> Result<(Draft<Sums>, Claim)> {
        self.target.claim(build).await
    }

    async fn keep(&self, rows: Draft<Sums>) -> Result<()> {
        self.target.keep(rows).await
    }

    async fn begin(&self, build: &Build, claim: Claim, to: GlobalPosition) -> Result<Option<Draft<Sums>>> {
        if self.away.contains(&self.begun.fetch_add(1, Ordering::SeqCst)) {
            self.refuses.store(0, Ordering::SeqCst);
            return Err(Error::Unavailable { reason: "the rows are away".into(), source: None });
        }
        self.target.begin(build, claim, to).await
    }

    async fn park(&self, build: &Build, rows: &mut Draft<Sums>, event: &ParkedEvent) -> Result<()> {
        self.target.park(build, rows, event).await
    }

    async fn parked(&self, build: &Build) -> Result<Vec<ParkedEvent>> {
        self.target.parked(build).await
    }

    async fn unpark(&self, build: &Build, rows: &mut Draft<Sums>, position: GlobalPosition) -> Result<()> {
        self.target.unpark(build, rows, position).await
    }

    async fn ask_for_replay(&self, build: &Build, position: Option<GlobalPosition>, wanted: bool) -> Result<usize> {
        self.target.ask_for_replay(build, position, wanted).await
    }

    async fn position(&self, name: &str) -> Result<GlobalPosition> {
        self.target.position(name).await
    }
}

/// A batch fails, is applied event by event, and in the middle of that the rows are away for longer than one attempt is patient. Then the
/// rest of it can be applied at once, and what is in the rows by then is not applied again.
pub(crate) async fn half_a_batch_is_not_applied_twice() -> Outcome {
    let store = factum::connect("memory:").await?;
    let last = append(&store, 1..=10).await?;
    for first in 1..12 {
        let totals = Totals::default();
        totals.refuses.store(7, Ordering::SeqCst);
        let (begun, refuses) = (Arc::default(), totals.refuses.clone());
        let target = Away { target: MemoryTarget::new(), begun, away: first..first + 40, refuses };
        let projector = Projector::new(store.clone(), target.clone(), totals).retry(Backoff::ONCE).on_failure(OnFailure::Park);
        let caught_up = async {
            while target.target.position("totals").await.is_ok_and(|position| position < last) {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        projector.run_until(caught_up).await?;
        let mut expected = fold(&store, &Totals::default(), last).await?;
        // All ten at once, seven by themselves, and the parking of the seventh come before.
        if first > 8 {
            expected.remove(&7);
        }
        assert_eq!(*target.target.state(), expected, "away from time {first} on");
    }
    Ok(())
}

/// Breaks its own connection at some of the times that an event is applied.
#[cfg(feature = "postgres")]
#[derive(Clone)]
struct Breaking {
    totals: Totals,
    applied: Arc<AtomicU32>,
    breaks: Range<u32>,
}

#[cfg(feature = "postgres")]
#[async_trait]
impl Projection<SqlRows> for Breaking {
    fn name(&self) -> &str {
        Projection::<SqlRows>::name(&self.totals)
    }

    fn tables(&self) -> &[&'static str] {
        Projection::<SqlRows>::tables(&self.totals)
    }

    async fn create(&self, rows: &mut SqlRows) -> Handled {
        Projection::<SqlRows>::create(&self.totals, rows).await
    }

    async fn apply(&self, event: &RecordedEvent, rows: &mut SqlRows) -> Handled {
        if self.breaks.contains(&self.applied.fetch_add(1, Ordering::SeqCst)) {
            rows.fetch("SELECT pg_terminate_backend(pg_backend_pid())", &[]).await?;
        }
        self.totals.apply(event, rows).await
    }
}

/// The event during which a connection breaks is as good as any, however few attempts it has.
#[cfg(feature = "postgres")]
pub(crate) async fn a_connection_that_breaks_parks_nothing(store: SharedStore, database: Arc<Database>) -> Outcome {
    let last = append(&store, 1..=10).await?;
    let breaking = Breaking { totals: Totals::default(), applied: Arc::default(), breaks: 5..7 };
    let projector = Projector::new(store.clone(), database.target.clone(), breaking.clone());
    projector.retry(Backoff::ONCE).on_failure(OnFailure::Park).run_to_end().await?;
    assert!(breaking.applied.load(Ordering::SeqCst) > 10, "no connection was broken");
    assert_eq!(rows(&database.target).await?, fold(&store, &breaking.totals, last).await?);
    Ok(())
}
