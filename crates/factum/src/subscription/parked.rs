//! Events that a subscription could not handle and has put aside, to be looked at and handled later.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::json_record::JsonRecord;
use crate::error::{Error, Result};
use crate::{EventStore, EventType, GlobalPosition, ReadStream, RecordedEvent, SharedStore, StreamId, StreamVersion};
use futures::TryStreamExt;

/// An event that was put aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParkedEvent {
    /// Its place in the log.
    pub position: GlobalPosition,
    /// Its stream.
    pub stream: StreamId,
    /// Its version there.
    pub version: u64,
    /// Its type.
    pub event_type: EventType,
    /// How often it was tried.
    pub attempts: u32,
    /// Why it was put aside: what the handler said last.
    pub reason: String,
    /// When, by the clock of whoever did.
    pub parked_at: Timestamp,
    /// Whether someone asked for it to be handled again.
    #[serde(default)]
    pub replay: bool,
}

impl ParkedEvent {
    /// The longest reason that is kept, in characters.
    const REASON_MAX: usize = 500;

    pub(crate) fn new(event: &RecordedEvent, attempts: u32, reason: &str) -> Self {
        Self {
            position: event.position,
            stream: event.stream.clone(),
            version: event.version.get(),
            event_type: event.event_type.clone(),
            attempts,
            reason: reason.chars().take(Self::REASON_MAX).collect(),
            parked_at: Timestamp::now(),
            replay: false,
        }
    }

    /// The event itself, `None` if it was truncated since.
    pub(crate) async fn event(&self, store: &dyn EventStore) -> Result<Option<RecordedEvent>> {
        let version = Some(StreamVersion::new(self.version));
        store.read_stream(&self.stream, ReadStream { from: version, to: version, ..ReadStream::default() }).try_next().await
    }
}

/// The parked events of one subscription.
#[derive(Clone)]
pub(crate) struct Parked {
    name: String,
    record: JsonRecord<Vec<ParkedEvent>>,
}

impl Parked {
    /// So many are kept; then something else is wrong than single events.
    pub(crate) const EVENTS_MAX: usize = 1_000;

    pub(crate) fn new(store: &SharedStore, name: &str) -> Result<Self> {
        Ok(Self { name: name.to_owned(), record: JsonRecord::new(store, format!("parked/{name}"))? })
    }

    pub(crate) async fn list(&self) -> Result<Vec<ParkedEvent>> {
        Ok(self.record.get().await?.map(|(_, events)| events).unwrap_or_default())
    }

    /// Puts an event aside; doing it twice is doing it once. `false` if there are too many already.
    pub(crate) async fn add(&self, event: &ParkedEvent) -> Result<bool> {
        let add = |events: &mut Vec<ParkedEvent>| {
            if events.iter().any(|known| known.position == event.position) {
                return None;
            }
            let has_room = events.len() < Self::EVENTS_MAX;
            if has_room {
                events.push(event.clone());
            }
            Some(has_room)
        };
        Ok(self.record.update(add).await?.unwrap_or(true))
    }

    /// There are too many.
    pub(crate) fn full(&self) -> Error {
        Error::Unavailable {
            reason: format!(
                "{} already has {} parked events, and no more are taken: repair what fails, then replay or skip them (factum \
                 subscriptions replay {0})",
                self.name,
                Self::EVENTS_MAX
            ),
            source: None,
        }
    }

    /// Changes the entry of one event, or removes it where `change` says so; `false` if there is none.
    pub(crate) async fn change(&self, position: GlobalPosition, mut change: impl FnMut(&mut ParkedEvent) -> Keep) -> Result<bool> {
        let apply = |events: &mut Vec<ParkedEvent>| {
            let at = events.iter().position(|event| event.position == position)?;
            if change(&mut events[at]) == Keep::No {
                events.remove(at);
            }
            Some(())
        };
        Ok(self.record.update(apply).await?.is_some())
    }

    /// Asks for all of them, or for one, to be handled again; how many that are.
    pub(crate) async fn ask_for_replay(&self, which: Option<GlobalPosition>) -> Result<usize> {
        let ask = |events: &mut Vec<ParkedEvent>| {
            let asked = events.iter_mut().filter(|event| which.is_none_or(|position| event.position == position));
            Some(asked.map(|event| event.replay = true).count())
        };
        Ok(self.record.update(ask).await?.unwrap_or_default())
    }
}

/// Whether an entry stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    Yes,
    No,
}
