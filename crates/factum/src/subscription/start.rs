//! Where a reader begins the first time: at the beginning, at the end, after a position, or at a time.

use futures::TryStreamExt;
use jiff::Timestamp;

use crate::error::Result;
use crate::{EventStore, GlobalPosition, ReadLog, RecordedEvent};

/// Where a reader begins that has no checkpoint yet. One that has goes on there, whatever this says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartFrom {
    /// With the first event of all.
    #[default]
    Beginning,
    /// With what is recorded from now on.
    End,
    /// Behind this position.
    After(GlobalPosition),
    /// With the first event that was recorded at that time or later.
    Time(Timestamp),
}

impl StartFrom {
    /// The position behind which to read.
    ///
    /// A time is found by halving, where the store's recording times never go back. Elsewhere the log is read from its beginning.
    ///
    /// # Errors
    /// What the store says.
    pub async fn resolve(self, store: &dyn EventStore) -> Result<GlobalPosition> {
        match self {
            Self::Beginning => Ok(GlobalPosition::START),
            Self::End => store.head().await,
            Self::After(position) => Ok(position),
            Self::Time(time) if store.capabilities().monotonic_log_time.is_yes() => halve(store, time).await,
            Self::Time(time) => read_up_to(store, time).await,
        }
    }
}

/// The numbers behind positions are halved, not interpreted: a number that no event has stands for the next one that has.
async fn halve(store: &dyn EventStore, time: Timestamp) -> Result<GlobalPosition> {
    let head = store.head().await?.number();
    // Everything at or below `low` is older than that time; the first event behind `high` is not, or there is none.
    let (mut low, mut high) = (0, head);
    while low < high {
        let middle = low + (high - low) / 2;
        match first_after(store, GlobalPosition::from_number(middle)).await? {
            Some(event) if event.recorded_at < time => low = event.position.number(),
            _ => high = middle,
        }
    }
    Ok(GlobalPosition::from_number(low))
}

async fn first_after(store: &dyn EventStore, after: GlobalPosition) -> Result<Option<RecordedEvent>> {
    store.read_log(ReadLog { after, limit: Some(1), ..ReadLog::default() }).try_next().await
}

async fn read_up_to(store: &dyn EventStore, time: Timestamp) -> Result<GlobalPosition> {
    let mut events = store.read_log(ReadLog::default());
    let mut position = GlobalPosition::START;
    while let Some(event) = events.try_next().await? {
        if event.recorded_at >= time {
            return Ok(position);
        }
        position = event.position;
    }
    Ok(position)
}
