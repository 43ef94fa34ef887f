//! What a projector applies in one transaction: as many events as it was told, or as much payload as fits in memory beside other things.

use crate::error::Result;
use crate::{RecordedEvent, Subscription};

/// So much payload makes a batch full, however few events that is.
const BYTES_MAX: usize = 8 << 20;

/// Events that are read, and will be applied together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) events: Vec<RecordedEvent>,
    bytes: usize,
}

impl Batch {
    /// One for about as many events.
    pub(super) fn with_room(events: usize) -> Self {
        Self { events: Vec::with_capacity(events), bytes: 0 }
    }

    /// Reads until it is full, or until there is no more; whether there is no more. After an error it can be read on.
    pub(super) async fn read(&mut self, subscription: &mut Subscription, events_max: usize) -> Result<bool> {
        while self.events.len() < events_max && self.bytes < BYTES_MAX {
            let Some(event) = subscription.next_recorded().await? else { return Ok(true) };
            self.bytes += event.data.len() + event.metadata.len();
            self.events.push(event);
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::backend::Memory;
    use crate::{EventStoreExt, EventType, ExpectedVersion, NewEvent, SharedStore, StreamId, SubscriptionOptions};

    #[tokio::test]
    async fn a_batch_is_full_by_number_or_by_size() -> Result<()> {
        let store: SharedStore = Arc::new(Memory::default());
        let event = |bytes: usize| Ok::<_, crate::Error>(NewEvent::new(EventType::new("Grown")?, vec![b'1'; bytes]));
        let large = BYTES_MAX / 8;
        for bytes in [[1; 10], [large; 10], [1; 10]].concat() {
            store.append_to(&StreamId::new("tree-1")?, ExpectedVersion::Any, vec![event(bytes)?]).await?;
        }
        let mut subscription = Subscription::new(store, SubscriptionOptions::default());
        let mut counts = Vec::new();
        loop {
            let mut batch = Batch::default();
            let is_end = batch.read(&mut subscription, 10).await?;
            counts.push(batch.events.len());
            if is_end {
                break;
            }
        }
        assert_eq!(counts, [10, 8, 10, 2]);
        Ok(())
    }
}
