//! A command's key: event ids made from it, by which a repeat is found again.

use futures::TryStreamExt;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::{Append, EventStore, ExpectedVersion, NewEvent, ReadStream, RecordedEvent, StreamId};

/// What the ids of keyed commands' events are named under.
const NAMESPACE: Uuid = Uuid::from_u128(0x8d0f_63a4_52c1_4f0e_9c55_7b1e_0f0a_c7d1);

/// A version that no stream comes to, and that every store can hold.
const VERSION_NEVER: u64 = 1 << 52;

/// The ids of the events that a command of that key records in that stream.
pub(super) struct KeyedIds<'a> {
    stream: &'a StreamId,
    key: &'a str,
}

impl<'a> KeyedIds<'a> {
    pub(super) fn new(stream: &'a StreamId, key: &'a str) -> Self {
        Self { stream, key }
    }

    /// The id of its event number `number`, from 0.
    pub(super) fn id(&self, number: usize) -> Uuid {
        // A stream id has no line breaks, so no two pairs give the same name.
        Uuid::new_v5(&NAMESPACE, format!("{}\n{number}\n{}", self.stream, self.key).as_bytes())
    }

    /// The events that the command recorded, if it was done before.
    ///
    /// Stores know an id when it is proposed again, whatever is expected, and say where it stands. So one is proposed at a version that no
    /// stream comes to: with the id there it is refused as used, else as a conflict, and never recorded.
    pub(super) async fn find(&self, store: &dyn EventStore) -> Result<Option<Vec<RecordedEvent>>> {
        let id = self.id(0);
        let asked = NewEvent::json("IsThisKeyKnown", &Uuid::now_v7())?.with_id(id);
        let append = Append::to(self.stream.clone(), [asked]).expecting(ExpectedVersion::exact(VERSION_NEVER));
        let first = match store.append(append).await {
            Err(Error::IdReused { recorded, .. }) => recorded,
            Err(Error::Conflict(_)) => return Ok(None),
            Err(error) => return Err(error),
            Ok(receipt) => unreachable!("{} has come to version {}", self.stream, receipt.last_version()),
        };
        let mut read = store.read_stream(self.stream, ReadStream { from: Some(first), ..ReadStream::default() });
        let mut events = Vec::new();
        while let Some(event) = read.try_next().await? {
            if event.id != self.id(events.len()) {
                break;
            }
            events.push(event);
        }
        Ok(if events.is_empty() { None } else { Some(events) })
    }
}
