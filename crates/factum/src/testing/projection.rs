//! Given a log, when it is projected, then the rows are these: however the events come, and however often.
//!
//! The same events are projected three times: all at once; one by one; and one by one by a program that is cut off before and after each
//! commit, so that each event is delivered at least twice. A projection that changes nothing but its rows gives the same each time.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use uuid::Uuid;

use super::difference;
use crate::backend::Memory;
use crate::domain::{Codec, Event};
use crate::projection::{Build, Claim, Draft, MemoryTarget, Projection, Projector, Target};
use crate::subscription::ParkedEvent;
use crate::{EventStoreExt, ExpectedVersion, GlobalPosition, SharedStore, StreamId};

/// A log, in a store in memory.
pub struct GivenLog {
    store: SharedStore,
}

/// The rows that a log was projected to.
pub struct ThenRows<V> {
    rows: V,
}

/// These events are in the log, in this order, each in its stream.
///
/// # Panics
/// If they can't be stored.
pub async fn given_log<E: Event>(events: impl IntoIterator<Item = (&str, E)>) -> GivenLog {
    GivenLog { store: Arc::new(Memory::new()) }.and(events).await
}

impl GivenLog {
    /// And these, of another kind.
    ///
    /// # Panics
    /// If they can't be stored.
    pub async fn and<E: Event>(self, events: impl IntoIterator<Item = (&str, E)>) -> Self {
        let codec = Codec::<E>::new();
        for (stream, event) in events {
            let stored = StreamId::new(stream).and_then(|stream| Ok((stream, codec.encode(&event, Uuid::now_v7())?)));
            let (stream, event) = stored.unwrap_or_else(|error| panic!("what is given can't be stored: {error}"));
            let append = self.store.append_to(&stream, ExpectedVersion::Any, vec![event]).await;
            append.unwrap_or_else(|error| panic!("what is given can't be stored: {error}"));
        }
        self
    }

    /// It is projected, into memory.
    ///
    /// # Panics
    /// If the projection fails, or if the rows depend on how the events came; it says what differs.
    pub async fn when_projected<S, P>(self, projection: impl Fn() -> P) -> ThenRows<S>
    where
        S: Clone + Default + PartialEq + fmt::Debug + Send + Sync + 'static,
        P: Projection<Draft<S>>,
    {
        let rows = async |target: &MemoryTarget<S>| (*target.state()).clone();
        self.when_projected_into(async || MemoryTarget::new(), projection, rows).await
    }

    /// It is projected, into an empty target each time; `rows` reads what is there then.
    ///
    /// # Panics
    /// As [`GivenLog::when_projected`].
    pub async fn when_projected_into<T, P, V>(
        self,
        target: impl AsyncFn() -> T,
        projection: impl Fn() -> P,
        rows: impl AsyncFn(&T) -> V,
    ) -> ThenRows<V>
    where
        T: Target,
        P: Projection<T::Rows>,
        V: PartialEq + fmt::Debug,
    {
        let run = async |ways: Ways, batch_events_max: usize| {
            let target = target().await;
            let cut = CutOff { target: target.clone(), ways, state: Arc::default() };
            // What the projection may keep to itself outlives the cuts: it would show.
            let projector = Projector::new(self.store.clone(), cut.clone(), projection()).batch_events_max(batch_events_max);
            while let Err(error) = projector.run_to_end().await {
                assert!(cut.was_cut(), "the projection failed: {error}");
            }
            rows(&target).await
        };
        let together = run(Ways::Never, usize::MAX).await;
        same("one by one", &together, &run(Ways::Never, 1).await);
        same("delivered twice", &together, &run(Ways::BeforeAndAfterEachCommit, 1).await);
        ThenRows { rows: together }
    }
}

impl<V: PartialEq + fmt::Debug> ThenRows<V> {
    /// The rows are these.
    ///
    /// # Panics
    /// If they are others; it says what differs.
    #[track_caller]
    pub fn then_rows(self, expected: V) {
        if expected != self.rows {
            panic!("the rows are others:\n{}", shown_difference(&expected, &self.rows));
        }
    }
}

fn same<V: PartialEq + fmt::Debug>(way: &str, together: &V, otherwise: &V) {
    if together != otherwise {
        panic!(
            "the same events, {way}, give other rows than all at once; a projection changes nothing but its rows, and by nothing but the \
             event:\n{}",
            shown_difference(together, otherwise)
        );
    }
}

fn shown_difference<V: fmt::Debug>(expected: &V, actual: &V) -> String {
    let lines = |value: &V| format!("{value:#?}\n");
    difference::between(&lines(expected), &lines(actual)).unwrap_or_else(|| format!("{expected:?} and {actual:?} are not equal"))
}

#[derive(Clone, Copy, PartialEq)]
enum Ways {
    Never,
    BeforeAndAfterEachCommit,
}

/// A target whose owner is cut off around each commit, and begins again.
#[derive(Clone)]
struct CutOff<T> {
    target: T,
    ways: Ways,
    state: Arc<Mutex<Cuts>>,
}

#[derive(Default)]
struct Cuts {
    /// Where the rows go that are being changed.
    to: Option<GlobalPosition>,
    /// How often it was cut off on the way there.
    times: HashMap<GlobalPosition, u32>,
    /// Whether the last error is a cut.
    was_cut: bool,
}

impl<T> CutOff<T> {
    fn was_cut(&self) -> bool {
        std::mem::take(&mut self.state.lock().expect("no holder of this lock panics").was_cut)
    }

    /// How often it was cut off around the commit that comes, this one included; `None` where it is not.
    fn next_cut(&self) -> Option<u32> {
        let mut state = self.state.lock().expect("no holder of this lock panics");
        let to = state.to.take().filter(|_| self.ways == Ways::BeforeAndAfterEachCommit)?;
        let times = state.times.entry(to).or_default();
        *times += 1;
        let times = *times;
        state.was_cut = times <= 2;
        (times <= 2).then_some(times)
    }
}

#[async_trait]
impl<T: Target> Target for CutOff<T> {
    type Rows = T::Rows;

    async fn live_version(&self, name: &str) -> crate::Result<Option<u32>> {
        self.target.live_version(name).await
    }

    async fn claim(&self, build: &Build) -> crate::Result<(T::Rows, Claim)> {
        self.target.claim(build).await
    }

    async fn keep(&self, rows: T::Rows) -> crate::Result<()> {
        let cut = || crate::Error::invalid("cut off by the test");
        match self.next_cut() {
            None => self.target.keep(rows).await,
            Some(1) => Err(cut()),
            Some(_) => {
                self.target.keep(rows).await?;
                Err(cut())
            }
        }
    }

    async fn begin(&self, build: &Build, claim: Claim, to: GlobalPosition) -> crate::Result<Option<T::Rows>> {
        let rows = self.target.begin(build, claim, to).await?;
        self.state.lock().expect("no holder of this lock panics").to = rows.as_ref().map(|_| to);
        Ok(rows)
    }

    async fn park(&self, build: &Build, rows: &mut T::Rows, event: &ParkedEvent) -> crate::Result<()> {
        self.target.park(build, rows, event).await
    }

    async fn parked(&self, build: &Build) -> crate::Result<Vec<ParkedEvent>> {
        self.target.parked(build).await
    }

    async fn unpark(&self, build: &Build, rows: &mut T::Rows, position: GlobalPosition) -> crate::Result<()> {
        self.target.unpark(build, rows, position).await
    }

    async fn ask_for_replay(&self, build: &Build, position: Option<GlobalPosition>, wanted: bool) -> crate::Result<usize> {
        self.target.ask_for_replay(build, position, wanted).await
    }

    async fn position(&self, name: &str) -> crate::Result<GlobalPosition> {
        self.target.position(name).await
    }
}

impl fmt::Debug for GivenLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GivenLog")
    }
}

impl<V: fmt::Debug> fmt::Debug for ThenRows<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThenRows").field("rows", &self.rows).finish()
    }
}
