//! What a rule is tried in: an empty store, and events to put into it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use factum::{EventStoreExt, ExpectedVersion, GlobalPosition, NewEvent, ReadLog, RecordedEvent, SharedStore, StreamId, Timestamp};
use futures::TryStreamExt;
use futures::future::BoxFuture;

pub(crate) type Problem = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type Verdict<T = ()> = Result<T, Problem>;

/// Something that must hold on every store.
pub(crate) type Rule = fn(Scene) -> BoxFuture<'static, Verdict>;

/// No rule takes longer, however slow the machine is.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Clone)]
pub(crate) struct Scene {
    pub(crate) store: SharedStore,
}

impl Scene {
    /// Appends events of one type, whose data are these numbers.
    pub(crate) async fn append(&self, stream: &str, event_type: &str, numbers: impl IntoIterator<Item = u64>) -> Verdict {
        let events = numbers.into_iter().map(|number| NewEvent::json(event_type, &number)).collect::<factum::Result<Vec<_>>>()?;
        self.store.append_to(&StreamId::new(stream)?, ExpectedVersion::Any, events).await?;
        Ok(())
    }

    /// The position of the event at that place in the log, from 0.
    pub(crate) async fn position_of(&self, index: usize) -> Verdict<GlobalPosition> {
        Ok(self.log().await?[index].position)
    }

    /// When the events of the log were recorded.
    pub(crate) async fn times(&self) -> Verdict<Vec<Timestamp>> {
        Ok(self.log().await?.iter().map(|event| event.recorded_at).collect())
    }

    pub(crate) async fn log(&self) -> Verdict<Vec<RecordedEvent>> {
        Ok(self.store.read_log(ReadLog::default()).try_collect().await?)
    }
}

/// What handlers have seen, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen(Arc<Mutex<Vec<u64>>>);

impl Seen {
    pub(crate) fn add(&self, number: u64) {
        self.0.lock().expect("no holder of this lock panics").push(number);
    }

    pub(crate) fn all(&self) -> Vec<u64> {
        self.0.lock().expect("no holder of this lock panics").clone()
    }

    /// Waits until there are so many.
    pub(crate) async fn wait_for(&self, count: usize) -> Vec<u64> {
        until(|| std::future::ready(self.all().len() >= count)).await;
        self.all()
    }
}

/// Waits until something holds; the rule as a whole has an end.
pub(crate) async fn until<F: Future<Output = bool>>(mut holds: impl FnMut() -> F) {
    while !holds().await {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

macro_rules! rules {
    ($($rule:ident),* $(,)?) => {
        &[$((stringify!($rule), |scene| Box::pin($rule(scene)))),*]
    };
}
pub(crate) use rules;
