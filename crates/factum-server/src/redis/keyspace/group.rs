//! A consumer group: how far it is, who consumes, and what was delivered and not acknowledged.
//!
//! What is pending lies in chunks by id, each a record of its own, so that a delivery or an acknowledgement writes only the chunks
//! that it touches.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use factum::{RecordName, RecordVersion};

use super::codec::{Reader, Writer};
use super::key::Key;
use crate::redis::entry::EntryId;

/// A group of a stream.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    /// Its number among its key's groups; never used again.
    pub(crate) number: u64,
    pub(crate) last_id: EntryId,
    /// How many entries it has read, as XINFO tells; `None` where that can't be known.
    pub(crate) entries_read: Option<u64>,
    pub(crate) consumers: BTreeMap<Bytes, Consumer>,
    next_consumer: u32,
    chunks: BTreeMap<EntryId, Arc<Chunk>>,
    next_chunk: u64,
    /// Chunks whose records are to be written, or removed if they are gone.
    pub(super) dirty_chunks: Vec<u64>,
    pub(crate) is_dirty: bool,
    pub(super) chunk_versions: BTreeMap<u64, RecordVersion>,
    pub(super) version: RecordVersion,
}

/// Who consumes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Consumer {
    pub(crate) number: u32,
    /// When it last asked, in milliseconds.
    pub(crate) seen: u64,
    /// When it last got something; 0 for never.
    pub(crate) active: u64,
    /// How many entries are pending for it.
    pub(crate) pending: u64,
}

/// An entry that was delivered and not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    pub(crate) id: EntryId,
    /// The version of its event.
    pub(crate) version: u64,
    pub(crate) consumer: u32,
    /// When it was delivered last.
    pub(crate) time: u64,
    /// How often it was delivered.
    pub(crate) count: u64,
}

#[derive(Clone, Debug)]
struct Chunk {
    number: u64,
    entries: Vec<Pending>,
}

/// A chunk with more entries is split.
const CHUNK_ENTRIES_MAX: usize = 128;

impl Group {
    pub(crate) fn new(number: u64, last_id: EntryId, entries_read: Option<u64>) -> Self {
        Self {
            number,
            last_id,
            entries_read,
            consumers: BTreeMap::new(),
            next_consumer: 0,
            chunks: BTreeMap::new(),
            next_chunk: 0,
            dirty_chunks: Vec::new(),
            is_dirty: true,
            chunk_versions: BTreeMap::new(),
            version: RecordVersion::NONE,
        }
    }

    /// The same group in another stream, where the events have other versions; 0 for those that are no more.
    pub(super) fn copy(&self, number: u64, version_of: impl Fn(u64) -> u64) -> Self {
        let mut copy = Self::new(number, self.last_id, self.entries_read);
        copy.next_consumer = self.next_consumer;
        copy.consumers = self.consumers.iter().map(|(name, one)| (name.clone(), Consumer { pending: 0, ..one.clone() })).collect();
        for entry in self.pending() {
            copy.put(Pending { version: version_of(entry.version), ..*entry });
        }
        copy
    }

    /// The number of a consumer, which is made if it is new; whether it was.
    pub(crate) fn consumer(&mut self, name: &[u8], now: u64) -> (u32, bool) {
        if let Some(consumer) = self.consumers.get(name) {
            return (consumer.number, false);
        }
        let number = self.next_consumer;
        self.next_consumer += 1;
        self.consumers.insert(Bytes::copy_from_slice(name), Consumer { number, seen: now, active: 0, pending: 0 });
        self.is_dirty = true;
        (number, true)
    }

    /// Takes a consumer off, and what is pending for it; how much that was.
    pub(crate) fn remove_consumer(&mut self, name: &[u8]) -> Option<u64> {
        let consumer = self.consumers.remove(name)?;
        self.is_dirty = true;
        let ids: Vec<EntryId> = self.pending().filter(|one| one.consumer == consumer.number).map(|one| one.id).collect();
        for id in ids {
            self.remove(id);
        }
        Some(consumer.pending)
    }

    pub(crate) fn consumer_name(&self, number: u32) -> Bytes {
        self.consumers.iter().find(|(_, consumer)| consumer.number == number).map(|(name, _)| name.clone()).unwrap_or_default()
    }

    /// How many entries are pending.
    pub(crate) fn len(&self) -> u64 {
        self.consumers.values().map(|consumer| consumer.pending).sum()
    }

    /// What is pending, by id.
    pub(crate) fn pending(&self) -> impl DoubleEndedIterator<Item = &Pending> {
        self.chunks.values().flat_map(|chunk| chunk.entries.iter())
    }

    /// What is pending from an id on.
    pub(crate) fn pending_from(&self, id: EntryId) -> impl Iterator<Item = &Pending> {
        let first = self.chunks.range(..=id).next_back().map_or(id, |(first, _)| *first);
        self.chunks.range(first..).flat_map(|(_, chunk)| chunk.entries.iter()).skip_while(move |one| one.id < id)
    }

    pub(crate) fn get(&self, id: EntryId) -> Option<Pending> {
        let (_, chunk) = self.chunks.range(..=id).next_back()?;
        let place = chunk.entries.binary_search_by_key(&id, |one| one.id).ok()?;
        Some(chunk.entries[place])
    }

    /// Notes an entry as delivered, in place of what was noted for the same id.
    pub(crate) fn put(&mut self, entry: Pending) {
        let first = self.chunks.range(..=entry.id).next_back().or_else(|| self.chunks.iter().next()).map(|(first, _)| *first);
        let Some(first) = first else {
            self.add_chunk(vec![entry]);
            self.count(entry.consumer, 1);
            return;
        };
        let is_last = self.chunks.range(first..).nth(1).is_none();
        let shared = self.chunks.get_mut(&first).expect("it was found");
        let chunk = Arc::make_mut(shared);
        let number = chunk.number;
        match chunk.entries.binary_search_by_key(&entry.id, |one| one.id) {
            Ok(place) => {
                let before = std::mem::replace(&mut chunk.entries[place], entry);
                self.count(before.consumer, -1);
            }
            Err(place) if place == CHUNK_ENTRIES_MAX && is_last => {
                self.add_chunk(vec![entry]);
                return self.count(entry.consumer, 1);
            }
            Err(place) => {
                chunk.entries.insert(place, entry);
                let rest = (chunk.entries.len() > CHUNK_ENTRIES_MAX).then(|| chunk.entries.split_off(CHUNK_ENTRIES_MAX / 2));
                if place == 0 {
                    let chunk = self.chunks.remove(&first).expect("it was found");
                    self.chunks.insert(entry.id, chunk);
                }
                if let Some(rest) = rest {
                    self.add_chunk(rest);
                }
            }
        }
        self.count(entry.consumer, 1);
        self.touch(number);
    }

    /// Takes an entry off.
    pub(crate) fn remove(&mut self, id: EntryId) -> Option<Pending> {
        let (first, shared) = self.chunks.range_mut(..=id).next_back()?;
        let place = shared.entries.binary_search_by_key(&id, |one| one.id).ok()?;
        let first = *first;
        let chunk = Arc::make_mut(shared);
        let number = chunk.number;
        let entry = chunk.entries.remove(place);
        if chunk.entries.is_empty() {
            self.chunks.remove(&first);
            self.is_dirty = true;
        }
        self.touch(number);
        self.count(entry.consumer, -1);
        Some(entry)
    }

    fn add_chunk(&mut self, entries: Vec<Pending>) {
        let number = self.next_chunk;
        self.next_chunk += 1;
        self.chunks.insert(entries[0].id, Arc::new(Chunk { number, entries }));
        self.is_dirty = true;
        self.touch(number);
    }

    fn touch(&mut self, number: u64) {
        if self.dirty_chunks.last() != Some(&number) {
            self.dirty_chunks.push(number);
        }
    }

    fn count(&mut self, consumer: u32, change: i64) {
        if let Some(consumer) = self.consumers.values_mut().find(|one| one.number == consumer) {
            consumer.pending = consumer.pending.saturating_add_signed(change);
        }
    }

    /// The names of its records.
    pub(super) fn records(&self, key: &Key) -> Vec<RecordName> {
        let chunks = self.chunk_versions.keys().map(|chunk| key.pending_record(self.number, *chunk));
        chunks.chain([key.group_record(self.number)]).collect()
    }

    /// The numbers of the chunks that there are.
    pub(super) fn chunk_numbers(&self) -> impl Iterator<Item = u64> {
        self.chunks.values().map(|chunk| chunk.number)
    }

    pub(super) fn write(&self, out: &mut Writer) {
        for number in [
            self.last_id.ms,
            self.last_id.seq,
            self.entries_read.map_or(0, |read| read + 1),
            u64::from(self.next_consumer),
            self.next_chunk,
        ] {
            out.number(number);
        }
        out.number(self.consumers.len() as u64);
        for (name, consumer) in &self.consumers {
            out.bytes(name);
            out.number(u64::from(consumer.number));
            out.number(consumer.seen);
            out.number(consumer.active);
        }
        out.number(self.chunks.len() as u64);
        for number in self.chunk_numbers() {
            out.number(number);
        }
    }

    /// The group as its record has it, and the numbers of its chunks.
    pub(super) fn read(number: u64, from: &mut Reader) -> Option<(Self, Vec<u64>)> {
        let last_id = EntryId::new(from.number()?, from.number()?);
        let mut group = Self::new(number, last_id, from.number()?.checked_sub(1));
        group.next_consumer = from.small()?;
        group.next_chunk = from.number()?;
        group.is_dirty = false;
        for _ in 0..from.count()? {
            let name = from.bytes()?;
            let consumer = Consumer { number: from.small()?, seen: from.number()?, active: from.number()?, pending: 0 };
            group.consumers.insert(name, consumer);
        }
        let mut chunks = Vec::new();
        for _ in 0..from.count()? {
            chunks.push(from.number()?);
        }
        Some((group, chunks))
    }

    /// The bytes of a chunk; `None` if there is none of that number.
    pub(super) fn write_chunk(&self, chunks: &BTreeMap<u64, EntryId>, number: u64) -> Option<Vec<u8>> {
        let chunk = self.chunks.get(chunks.get(&number)?)?;
        let mut out = Writer::default();
        out.number(chunk.entries.len() as u64);
        let (mut id, mut version, mut time) = (EntryId::MIN, 0, 0_u64);
        for entry in &chunk.entries {
            out.number(entry.id.ms - id.ms);
            out.number(if entry.id.ms == id.ms { entry.id.seq - id.seq } else { entry.id.seq });
            out.change(version, entry.version);
            out.number(u64::from(entry.consumer));
            out.change(time, entry.time);
            out.number(entry.count);
            (id, version, time) = (entry.id, entry.version, entry.time);
        }
        Some(out.0)
    }

    /// The places of the chunks by their numbers.
    pub(super) fn chunk_places(&self) -> BTreeMap<u64, EntryId> {
        self.chunks.iter().map(|(first, chunk)| (chunk.number, *first)).collect()
    }

    /// Takes a chunk from its record.
    pub(super) fn read_chunk(&mut self, number: u64, from: &mut Reader) -> Option<()> {
        let mut entries = Vec::new();
        let (mut id, mut version, mut time) = (EntryId::MIN, 0_u64, 0_u64);
        for _ in 0..from.count()? {
            let ms = id.ms.checked_add(from.number()?)?;
            let seq = from.number()?;
            id = EntryId::new(ms, if ms == id.ms { id.seq.checked_add(seq)? } else { seq });
            version = from.change(version)?;
            let consumer = from.small()?;
            time = from.change(time)?;
            entries.push(Pending { id, version, consumer, time, count: from.number()? });
        }
        let first = entries.first()?.id;
        for entry in &entries {
            self.count(entry.consumer, 1);
        }
        self.chunks.insert(first, Arc::new(Chunk { number, entries }));
        Some(())
    }

    /// About how many bytes of memory it takes.
    pub(super) fn size(&self) -> usize {
        let entries = self.chunks.values().map(|chunk| chunk.entries.len() * size_of::<Pending>() + 64).sum::<usize>();
        size_of::<Self>() + entries + self.consumers.keys().map(|name| name.len() + 100).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group_with(ids: impl IntoIterator<Item = u64>) -> Group {
        let mut group = Group::new(0, EntryId::MIN, None);
        let (consumer, _) = group.consumer(b"c", 5);
        for id in ids {
            group.put(Pending { id: EntryId::new(id, id % 3), version: id, consumer, time: 1_000 - id % 7, count: 1 });
        }
        group
    }

    #[test]
    fn pending_entries_stay_in_order_however_they_come() {
        let group = group_with((0..1_000).map(|step| step * 617 % 1_009));
        let ids: Vec<u64> = group.pending().map(|one| one.id.ms).collect();
        assert!(ids.is_sorted());
        assert_eq!((ids.len(), group.len()), (1_000, 1_000));
        assert!(group.chunks.values().all(|chunk| chunk.entries.len() <= CHUNK_ENTRIES_MAX));
        assert!(group.chunks.iter().all(|(first, chunk)| chunk.entries[0].id >= *first));
        for entry in group.pending() {
            assert_eq!(group.get(entry.id), Some(*entry));
        }
        let from = EntryId::new(500, 0);
        assert!(group.pending_from(from).eq(group.pending().filter(|one| one.id >= from)));
    }

    #[test]
    fn records_hold_the_group() {
        let mut before = group_with(1..1_000);
        for id in (1..1_000).step_by(2) {
            before.remove(EntryId::new(id, id % 3));
        }
        let mut out = Writer::default();
        before.write(&mut out);
        let (mut after, chunks) = Group::read(0, &mut Reader::new(out.0.into())).expect("it can be read");
        let places = before.chunk_places();
        for number in chunks {
            let bytes = before.write_chunk(&places, number).expect("it is there");
            after.read_chunk(number, &mut Reader::new(bytes.into())).expect("it can be read");
        }
        assert!(before.pending().eq(after.pending()));
        assert_eq!(before.consumers, after.consumers);
        assert_eq!(before.len(), after.len());
    }
}
