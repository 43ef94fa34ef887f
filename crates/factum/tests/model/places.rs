//! Positions by their order alone: the reference counts events from 1, and a store may leave gaps and begin anywhere.

use factum::{EventStore, GlobalPosition, ReadLog, RecordedEvent};
use futures::TryStreamExt;

/// The positions of all events that were recorded, in order; an event's *place* is where its position stands here, from 1.
#[derive(Default)]
pub(crate) struct Places(Vec<u64>);

impl Places {
    /// Finds out where an append has come to stand: behind everything else, all of it.
    pub(crate) async fn learn(&mut self, store: &dyn EventStore) -> Result<(), String> {
        let after = self.position(self.0.len() as u64);
        let newer: Vec<RecordedEvent> =
            store.read_log(ReadLog { after, ..ReadLog::default() }).try_collect().await.map_err(|error| error.to_string())?;
        self.0.extend(newer.iter().map(|event| event.position.number()));
        let follow_one_another = (1..).zip(&self.0).all(|(place, position)| place == *position);
        if store.capabilities().contiguous_positions.is_yes() && !follow_one_another {
            return Err(format!("positions have gaps: {:?}", self.0));
        }
        Ok(())
    }

    /// The place of a position; the highest number if no event stands there.
    pub(crate) fn place(&self, position: GlobalPosition) -> u64 {
        if position == GlobalPosition::START {
            return 0;
        }
        self.0.binary_search(&position.number()).map_or(u64::MAX, |index| index as u64 + 1)
    }

    /// The position of a place, or one beyond all events.
    pub(crate) fn position(&self, place: u64) -> GlobalPosition {
        let count = self.0.len() as u64;
        let known = usize::try_from(place.min(count)).ok().and_then(|place| place.checked_sub(1)).map_or(0, |index| self.0[index]);
        GlobalPosition::from_number(known.saturating_add(place.saturating_sub(count)))
    }
}
