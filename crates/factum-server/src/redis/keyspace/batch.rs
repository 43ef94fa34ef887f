//! What is on its way to the store: everything that was carried out since the last batch was sent goes as one append.

use std::sync::Arc;

use bytes::Bytes;
use factum::{Append, Error, ExpectedVersion, NewEvent, RecordName, RecordVersion, RecordWrite, StreamAppend, StreamId, StreamVersion};
use tokio::sync::oneshot;

use super::key::Key;
use super::names;
use super::slot::Slot;
use super::state::{Missed, State};

/// Why what was carried out is not recorded.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// Someone else wrote to the same streams. Nothing was recorded; carrying it out again goes by what they wrote.
    Overtaken,
    /// It was not recorded, or it is not known whether it was.
    Failed(Arc<Error>),
    /// It was not recorded: a command that was carried out together with it met a bug.
    Bug,
}

impl Failure {
    /// Whether the store refused, so that nothing was recorded, and reading goes on.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Failed(error) if matches!(**error, Error::Unavailable { .. }))
    }
}

/// Told to whoever waits for a batch.
pub(super) type Waiter = oneshot::Sender<Result<(), Failure>>;

/// What was carried out and not sent yet.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) parts: Vec<StreamAppend>,
    pub(super) events: usize,
    pub(super) bytes: usize,
    /// Keys whose records are to be written, each once.
    pub(super) dirty: Vec<Key>,
    /// Records of groups that are no more.
    pub(super) removed: Vec<RecordName>,
    pub(super) waiters: Vec<Waiter>,
}

impl Batch {
    /// Adds an event to a stream that has `before` events.
    pub(super) fn push(&mut self, stream: &StreamId, before: u64, event: NewEvent) {
        self.events += 1;
        self.bytes += event.data.len() + event.metadata.len() + stream.as_str().len() + EVENT_BYTES;
        match self.parts.last_mut() {
            Some(part) if part.stream == *stream => part.events.push(event),
            _ => self.parts.push(StreamAppend {
                stream: stream.clone(),
                expected: ExpectedVersion::Exact(StreamVersion::new(before)),
                events: vec![event],
            }),
        }
    }

    /// Whether there is nothing to send.
    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.dirty.is_empty() && self.removed.is_empty()
    }
}

/// A batch with so many events is worth an append of its own.
const CLOSED_EVENTS_MIN: usize = 1_024;
/// So many batches wait; the next one takes what comes after.
const CLOSED_MAX: usize = 4;

/// What one connection asks for at a time is small up to so many events and bytes.
const SMALL_EVENTS_MAX: usize = 128;
const SMALL_BYTES_MAX: usize = 64 << 10;

/// What an event takes besides its content, at most about.
const EVENT_BYTES: usize = 128;

/// Whose record was written.
#[derive(Debug)]
pub(super) enum Written {
    /// Of a key; whether it is there now.
    Slot(Key, bool),
    Group(Key, u64),
    Chunk(Key, u64, u64),
    Nobody,
}

/// A batch as it is sent.
pub(super) struct Sealed {
    pub(super) append: Append,
    pub(super) written: Vec<Written>,
    /// It is small, and only one connection waits for it.
    pub(super) is_small: bool,
}

impl State {
    /// Closes the open batch, if it is large enough to be worth an append of its own, so that the writer has something to do while the rest
    /// gathers. What changes records can't be closed before it is sent: it says what stands at the keys then.
    pub(crate) fn close_if_large(&mut self) {
        let Batch { events, dirty, removed, .. } = &self.open;
        if *events < CLOSED_EVENTS_MIN || self.closed.len() >= CLOSED_MAX || !dirty.is_empty() || !removed.is_empty() {
            return;
        }
        self.closed.push_back(std::mem::take(&mut self.open));
        self.open_number += 1;
    }

    /// Takes the next batch to be sent. If it is the open one, what it says of records is what stands at the keys now.
    pub(super) fn seal(&mut self) -> Sealed {
        if let Some(batch) = self.closed.pop_front() {
            self.sent = Some(batch.waiters);
            return Sealed { append: Append { streams: batch.parts, ..Append::default() }, written: Vec::new(), is_small: false };
        }
        let batch = std::mem::take(&mut self.open);
        self.open_number += 1;
        let mut append = Append { streams: batch.parts, ..Append::default() };
        let mut written = Vec::with_capacity(batch.dirty.len());
        let mut changes = Vec::new();
        for name in batch.removed {
            append.records.push(RecordWrite::remove(name));
            written.push(Written::Nobody);
        }
        for key in batch.dirty {
            let Some(slot) = self.slots.get_mut(&key) else { continue };
            slot.is_dirty = false;
            slot.counted = 0;
            let size = slot.measure();
            self.bytes = self.bytes + size - slot.size;
            slot.size = size;
            if std::mem::take(&mut slot.is_record_dirty) {
                let change = names::Change::of(&key, slot);
                // The names may have been looked at in between.
                if let Some(names) = &mut self.names {
                    names.take(std::slice::from_ref(&change));
                }
                if slot.announced != slot.standing() {
                    slot.announced = slot.standing();
                    changes.push(change);
                }
                let value = slot.write();
                let is_there = value.is_some();
                if is_there || slot.record != RecordVersion::NONE {
                    append.records.push(RecordWrite { name: key.record(), value: value.map(Bytes::from), expected: Some(slot.record) });
                    written.push(Written::Slot(key.clone(), is_there));
                }
            }
            groups(&key, slot, &mut append.records, &mut written);
        }
        if !changes.is_empty() {
            self.names_changed += changes.len() as u64;
            append.streams.push(names::event(&changes));
            self.named(Missed::Changes(changes));
        }
        let is_small = batch.waiters.len() <= 1 && batch.events <= SMALL_EVENTS_MAX && batch.bytes <= SMALL_BYTES_MAX;
        self.sent = Some(batch.waiters);
        Sealed { append, written, is_small }
    }

    /// Notes the versions that the records of a batch have now.
    pub(super) fn note_versions(&mut self, written: Vec<Written>, versions: Vec<RecordVersion>) {
        for (written, version) in written.into_iter().zip(versions) {
            match written {
                Written::Slot(key, is_there) => {
                    if let Some(slot) = self.slots.get_mut(&key) {
                        slot.record = if is_there { version } else { RecordVersion::NONE };
                    }
                }
                Written::Group(key, number) => {
                    if let Some(group) = self.group_numbered(&key, number) {
                        group.version = version;
                    }
                }
                Written::Chunk(key, number, chunk) => {
                    if let Some(group) = self.group_numbered(&key, number)
                        && let Some(known) = group.chunk_versions.get_mut(&chunk)
                    {
                        *known = version;
                    }
                }
                Written::Nobody => {}
            }
        }
    }

    fn group_numbered(&mut self, key: &Key, number: u64) -> Option<&mut super::group::Group> {
        let stream = self.slots.get_mut(key)?.stream.as_deref_mut()?;
        stream.groups.values_mut().find(|group| group.number == number).map(Arc::make_mut)
    }
}

/// Adds the records of a stream's groups that have changed.
fn groups(key: &Key, slot: &mut Slot, writes: &mut Vec<RecordWrite>, written: &mut Vec<Written>) {
    let Some(stream) = slot.stream.as_deref_mut() else { return };
    for shared in stream.groups.values_mut().filter(|group| group.is_dirty || !group.dirty_chunks.is_empty()) {
        let group = Arc::make_mut(shared);
        let places = group.chunk_places();
        let mut dirty = std::mem::take(&mut group.dirty_chunks);
        dirty.sort_unstable();
        dirty.dedup();
        for chunk in dirty {
            let value = group.write_chunk(&places, chunk);
            let before = group.chunk_versions.get(&chunk).copied();
            if value.is_none() {
                group.chunk_versions.remove(&chunk);
                if before.is_none() {
                    continue;
                }
            } else {
                group.chunk_versions.entry(chunk).or_insert(RecordVersion::NONE);
            }
            let name = key.pending_record(group.number, chunk);
            writes.push(RecordWrite { name, value: value.map(Bytes::from), expected: Some(before.unwrap_or(RecordVersion::NONE)) });
            written.push(Written::Chunk(key.clone(), group.number, chunk));
        }
        if std::mem::take(&mut group.is_dirty) {
            let mut out = super::codec::Writer::default();
            group.write(&mut out);
            writes.push(RecordWrite { name: key.group_record(group.number), value: Some(out.0.into()), expected: Some(group.version) });
            written.push(Written::Group(key.clone(), group.number));
        }
    }
}
