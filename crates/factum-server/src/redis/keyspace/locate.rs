//! Where an id is in a stream: ids rise with versions, so it is found by looking at a few events.

use factum::{EventStore, ReadStream, RecordedEvent, StreamVersion};
use futures::TryStreamExt;

use super::stream::View;
use crate::redis::entry::{EntryId, recorded_id};

/// The id of the entry that an event is. An event that came through another door has the time at which it was recorded, and its version.
pub(crate) fn entry_id(event: &RecordedEvent) -> EntryId {
    recorded_id(event).unwrap_or_else(|| {
        let ms = u64::try_from(event.recorded_at.as_millisecond()).unwrap_or(0);
        EntryId::new(ms, event.version.get())
    })
}

/// The version of the first entry whose id is `id` or above, past the last if there is none.
pub(super) async fn locate(store: &dyn EventStore, view: &View, id: EntryId) -> factum::Result<u64> {
    if id > view.last_id {
        return Ok(view.version + 1);
    }
    if id <= EntryId::new(0, 1) {
        return Ok(view.base + 1);
    }
    let (mut low, mut high) = (0, view.len());
    while low < high {
        let middle = low + (high - low) / 2;
        match id_of(store, view, view.nth(middle)).await? {
            Some(found) if found >= id => high = middle,
            // What was truncated is older than everything that can be read.
            Some(_) | None => low = middle + 1,
        }
    }
    Ok(if low == view.len() { view.version + 1 } else { view.nth(low) })
}

async fn id_of(store: &dyn EventStore, view: &View, version: u64) -> factum::Result<Option<EntryId>> {
    let version = StreamVersion::new(version);
    let options = ReadStream { from: Some(version), to: Some(version), limit: Some(1), ..ReadStream::default() };
    Ok(store.read_stream(&view.stream, options).try_next().await?.map(|event| entry_id(&event)))
}

/// The ids of the events of these versions, as far as they can be read: the first version, and the ids.
pub(super) async fn ids(store: &dyn EventStore, view: &View, from: u64, count: u64) -> factum::Result<(u64, Vec<EntryId>)> {
    let options = ReadStream {
        from: Some(StreamVersion::new(from)),
        to: Some(StreamVersion::new(view.version.min(from.saturating_add(count).saturating_sub(1)))),
        ..ReadStream::default()
    };
    let mut events = store.read_stream(&view.stream, options);
    let mut first = None;
    let mut ids = Vec::new();
    while let Some(event) = events.try_next().await? {
        first.get_or_insert(event.version.get());
        ids.push(entry_id(&event));
    }
    Ok((first.unwrap_or(from), ids))
}
