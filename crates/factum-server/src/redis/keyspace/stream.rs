//! A stream as this door sees it: which versions are its entries, and what Redis keeps beside them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use factum::StreamId;

use super::codec::{Reader, Writer};
use super::group::Group;
use super::ranges::Ranges;
use crate::redis::entry::EntryId;

/// What is known of a stream. A key that was deleted keeps it too: its events are still in the log.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    pub(crate) id: StreamId,
    /// How many events it has had, with those on their way.
    pub(crate) version: u64,
    /// Versions up to this one are no entries: trimmed, or of an earlier life of the key.
    pub(crate) base: u64,
    /// Versions above that are hidden.
    pub(crate) hidden: Arc<Ranges>,
    pub(crate) last_id: EntryId,
    pub(crate) entries_added: u64,
    pub(crate) max_deleted: EntryId,
    /// Which life of the key this is; the same id may come again in the next.
    pub(crate) generation: u32,
    /// The id of the last visible entry, where it is known: its version and the id.
    pub(crate) top: Option<(u64, EntryId)>,
    pub(crate) groups: BTreeMap<Bytes, Arc<Group>>,
    pub(crate) next_group: u64,
    pub(crate) ids: Ids,
}

/// Ids of entries, as far as they are known. Entries never change, so what is known stays true.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ids {
    /// Of the newest versions, up to the last.
    tail: VecDeque<EntryId>,
    /// No entry before the tail has a higher id.
    tail_after: EntryId,
    /// Of older versions, by the first of each.
    blocks: BTreeMap<u64, Arc<Vec<EntryId>>>,
    /// The first version whose id is at least this one, for ids that were asked for.
    at_least: BTreeMap<EntryId, u64>,
}

/// What is known about where an id is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    At(u64),
    Absent,
    Unknown,
}

/// Without groups only so many ids are kept of what is durable.
const TAIL_KEPT: usize = 16;
/// With groups, so many.
const TAIL_KEPT_FOR_GROUPS: usize = 1 << 16;
const BLOCK_IDS_MAX: usize = 1 << 16;
const ASKED_MAX: usize = 1 << 12;

impl Stream {
    /// A stream without events.
    pub(crate) fn new(id: StreamId) -> Self {
        Self {
            id,
            version: 0,
            base: 0,
            hidden: Arc::default(),
            last_id: EntryId::MIN,
            entries_added: 0,
            max_deleted: EntryId::MIN,
            generation: 0,
            top: None,
            groups: BTreeMap::new(),
            next_group: 0,
            ids: Ids::default(),
        }
    }

    /// Touches what adding an entry needs of it; the number says nothing.
    pub(super) fn glance(&self) -> u64 {
        self.version ^ self.last_id.ms ^ self.next_group ^ self.id.as_str().len() as u64 ^ self.ids.tail.back().map_or(0, |id| id.seq)
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> u64 {
        self.version - self.base - self.hidden.count()
    }

    pub(crate) fn is_visible(&self, version: u64) -> bool {
        version > self.base && version <= self.version && !self.hidden.contains(version)
    }

    /// The first version from `version` on that is an entry; past the last if none is.
    pub(crate) fn visible_from(&self, version: u64) -> u64 {
        let version = version.max(self.base + 1);
        self.hidden.range_of(version).map_or(version, |(_, last)| last + 1)
    }

    /// The last version that is an entry.
    pub(crate) fn last_visible(&self) -> Option<u64> {
        let version = self.hidden.range_of(self.version).map_or(self.version, |(first, _)| first - 1);
        (version > self.base).then_some(version)
    }

    /// Adds an entry that is on its way. `is_settled` says that all entries before it are durable.
    pub(crate) fn push(&mut self, id: EntryId, is_settled: bool) {
        if self.ids.tail.is_empty() {
            self.ids.tail_after = self.last_id;
        }
        let before = self.last_id;
        self.version += 1;
        self.last_id = id;
        self.entries_added += 1;
        self.top = Some((self.version, id));
        let kept = if self.groups.is_empty() { TAIL_KEPT } else { TAIL_KEPT_FOR_GROUPS };
        if is_settled && self.ids.tail.len() >= kept {
            let drop = if self.groups.is_empty() { self.ids.tail.len() } else { self.ids.tail.len() / 2 };
            let last = self.ids.tail.drain(..drop).next_back();
            self.ids.tail_after = if self.ids.tail.is_empty() { before } else { last.unwrap_or(before) };
        }
        self.ids.tail.push_back(id);
    }

    /// The id of a version, where it is known.
    pub(crate) fn id_at(&self, version: u64) -> Option<EntryId> {
        let from_end = usize::try_from(self.version.checked_sub(version)?).ok()?;
        if from_end < self.ids.tail.len() {
            return Some(self.ids.tail[self.ids.tail.len() - 1 - from_end]);
        }
        if let Some((top, id)) = self.top
            && top == version
        {
            return Some(id);
        }
        let (first, block) = self.ids.blocks.range(..=version).next_back()?;
        block.get(usize::try_from(version - first).ok()?).copied()
    }

    /// The id of the last entry: `Some(None)` if there is no entry, `None` if it is not known yet.
    pub(crate) fn top_id(&self) -> Option<Option<EntryId>> {
        match self.last_visible() {
            None => Some(None),
            Some(version) => self.id_at(version).map(Some),
        }
    }

    /// The first entry whose id is `id` or above: its version, or past the last. `None` if it is not known yet.
    pub(crate) fn at_least(&self, id: EntryId) -> Option<u64> {
        if id > self.last_id {
            return Some(self.version + 1);
        }
        if id <= EntryId::new(0, 1) {
            return Some(self.visible_from(0));
        }
        if let Some(version) = self.ids.at_least.get(&id) {
            return Some(self.visible_from(*version));
        }
        let tail = &self.ids.tail;
        let tail_first = self.version + 1 - tail.len() as u64;
        if tail.front().is_some_and(|first| *first <= id || tail_first <= self.base + 1 || id > self.ids.tail_after) {
            return Some(self.visible_from(tail_first + tail.partition_point(|one| *one < id) as u64));
        }
        for (first, block) in self.ids.blocks.iter().rev() {
            if block.first().is_some_and(|one| *one <= id) {
                return block
                    .last()
                    .is_some_and(|one| *one >= id)
                    .then(|| self.visible_from(first + block.partition_point(|one| *one < id) as u64));
            }
        }
        None
    }

    /// Where the entry with this id is.
    pub(crate) fn find(&self, id: EntryId) -> Known {
        if id > self.last_id || self.len() == 0 {
            return Known::Absent;
        }
        let Some(version) = self.at_least(id) else { return Known::Unknown };
        if version > self.version {
            return Known::Absent;
        }
        match self.id_at(version) {
            Some(found) if found == id => Known::At(version),
            Some(_) => Known::Absent,
            None => Known::Unknown,
        }
    }

    /// Keeps ids that were read from the store: those of the versions from `first` on.
    pub(crate) fn learn(&mut self, mut first: u64, mut ids: Vec<EntryId>) {
        // Ids of what is hidden need not rise: others may have come in their place. They are never asked for.
        let hidden = ids.iter().zip(first..).take_while(|(_, version)| !self.is_visible(*version)).count();
        ids.drain(..hidden);
        first += hidden as u64;
        let mut before = EntryId::MIN;
        for (id, version) in ids.iter_mut().zip(first..) {
            if !self.is_visible(version) {
                *id = before;
            }
            before = *id;
        }
        if ids.is_empty() {
            return;
        }
        if self.ids.blocks.values().map(|block| block.len()).sum::<usize>() > BLOCK_IDS_MAX {
            self.ids.blocks.clear();
        }
        self.ids.blocks.insert(first, Arc::new(ids));
    }

    /// Keeps where an id that was asked for is: the first version whose id is at least that.
    pub(crate) fn learn_at_least(&mut self, id: EntryId, version: u64) {
        // Beyond the last id, entries may still come between.
        if id > self.last_id {
            return;
        }
        if self.ids.at_least.len() >= ASKED_MAX {
            self.ids.at_least.clear();
        }
        self.ids.at_least.insert(id, version);
    }

    /// Hides an entry, and says whether it was visible.
    pub(crate) fn hide(&mut self, version: u64) -> bool {
        if !self.is_visible(version) {
            return false;
        }
        let hidden = Arc::make_mut(&mut self.hidden);
        hidden.insert(version);
        if let Some((_, last)) = hidden.range_of(self.base + 1) {
            hidden.remove_up_to(last);
            self.base = last;
        }
        true
    }

    /// Hides all versions below `version`, and says how many were visible.
    pub(crate) fn hide_below(&mut self, version: u64) -> u64 {
        let before = self.len();
        if version > self.base + 1 {
            Arc::make_mut(&mut self.hidden).remove_up_to(version - 1);
            self.base = version - 1;
            let hidden = Arc::make_mut(&mut self.hidden);
            if let Some((_, last)) = hidden.range_of(self.base + 1) {
                hidden.remove_up_to(last);
                self.base = last;
            }
        }
        before - self.len()
    }

    /// Ends this life of the key: what is there stays in the log, and the next life begins behind it.
    pub(crate) fn end(&mut self) {
        let Self { id, version, generation, next_group, .. } = self;
        let mut next = Self::new(id.clone());
        (next.version, next.base, next.generation, next.next_group) = (*version, *version, *generation + 1, *next_group);
        *self = next;
    }

    /// Lets an id below those that there were come again: ids are unique within a generation only.
    pub(crate) fn begin_generation(&mut self) {
        self.generation += 1;
        self.ids = Ids::default();
        self.top = None;
    }

    /// What may be read of the stream as it is now.
    pub(crate) fn view(&self) -> View {
        View { stream: self.id.clone(), base: self.base, version: self.version, hidden: Arc::clone(&self.hidden), last_id: self.last_id }
    }

    pub(super) fn write(&self, out: &mut Writer) {
        let Self { version, base, hidden, last_id, entries_added, max_deleted, generation, groups, next_group, .. } = self;
        for number in [
            *version,
            *base,
            last_id.ms,
            last_id.seq,
            *entries_added,
            max_deleted.ms,
            max_deleted.seq,
            u64::from(*generation),
            *next_group,
            hidden.iter().len() as u64,
        ] {
            out.number(number);
        }
        let mut before = *base;
        for (first, last) in hidden.iter() {
            out.number(first - before);
            out.number(last - first);
            before = last;
        }
        out.number(groups.len() as u64);
        for (name, group) in groups {
            out.bytes(name);
            out.number(group.number);
        }
    }

    /// The stream as it was when the record was written, and the numbers of its groups.
    pub(super) fn read(id: StreamId, from: &mut Reader) -> Option<(Self, Vec<(Bytes, u64)>)> {
        let mut stream = Self::new(id);
        stream.version = from.number()?;
        stream.base = from.number()?;
        stream.last_id = EntryId::new(from.number()?, from.number()?);
        stream.entries_added = from.number()?;
        stream.max_deleted = EntryId::new(from.number()?, from.number()?);
        stream.generation = from.small()?;
        stream.next_group = from.number()?;
        let mut hidden = Ranges::default();
        let mut before = stream.base;
        for _ in 0..from.count()? {
            let first = before.checked_add(from.number()?)?;
            let last = first.checked_add(from.number()?)?;
            hidden.push(first, last);
            before = last;
        }
        stream.hidden = Arc::new(hidden);
        let mut groups = Vec::new();
        for _ in 0..from.count()? {
            groups.push((from.bytes()?, from.number()?));
        }
        Some((stream, groups))
    }

    /// About how many bytes of memory it takes.
    pub(super) fn size(&self) -> usize {
        let blocks: usize = self.ids.blocks.values().map(|block| block.len()).sum();
        let groups: usize = self.groups.values().map(|group| group.size()).sum();
        size_of::<Self>() + (self.ids.tail.len() + blocks + self.ids.at_least.len() * 2 + self.hidden.iter().len()) * 16 + groups
    }
}

/// What of a stream an answer may show: its entries at one moment.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) stream: StreamId,
    pub(crate) base: u64,
    pub(crate) version: u64,
    pub(crate) hidden: Arc<Ranges>,
    pub(crate) last_id: EntryId,
}

impl View {
    /// How many entries there are.
    pub(crate) fn len(&self) -> u64 {
        self.version - self.base - self.hidden.count()
    }

    /// The version of an entry by its place among them, from 0.
    pub(crate) fn nth(&self, place: u64) -> u64 {
        self.hidden.gap(self.base, place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(entries: u64) -> Stream {
        let mut stream = Stream::new(StreamId::new("s").expect("valid"));
        for entry in 1..=entries {
            stream.push(EntryId::new(entry * 10, 0), true);
        }
        stream
    }

    #[test]
    fn hiding_from_the_front_leaves_no_ranges_behind() {
        let mut stream = stream(10);
        assert!(stream.hide(2) && stream.hide(1) && !stream.hide(1));
        assert_eq!((stream.base, stream.hidden.count(), stream.len()), (2, 0, 8));
        assert!(stream.hide(5));
        assert_eq!(stream.hide_below(5), 2);
        assert_eq!((stream.base, stream.len(), stream.visible_from(0)), (5, 5, 6));
        assert!(stream.hide(10));
        assert_eq!(stream.last_visible(), Some(9));
    }

    #[test]
    fn a_record_holds_the_stream() {
        let mut before = stream(10);
        before.hide(3);
        before.hide(7);
        let mut out = Writer::default();
        before.write(&mut out);
        let (after, _) = Stream::read(before.id.clone(), &mut Reader::new(out.0.into())).expect("it can be read");
        assert_eq!((after.len(), after.hidden, after.last_id), (8, before.hidden, EntryId::new(100, 0)));
    }

    #[test]
    fn ids_are_found_where_they_are_known() {
        let mut stream = stream(100);
        assert_eq!(stream.find(EntryId::new(1_000, 0)), Known::At(100));
        assert_eq!(stream.find(EntryId::new(995, 0)), Known::Absent);
        assert_eq!(stream.find(EntryId::new(10, 0)), Known::Unknown);
        stream.learn(1, (1..=20).map(|entry| EntryId::new(entry * 10, 0)).collect());
        assert_eq!(stream.find(EntryId::new(10, 0)), Known::At(1));
        assert_eq!(stream.find(EntryId::new(15, 0)), Known::Absent);
        assert_eq!(stream.at_least(EntryId::new(195, 0)), Some(20));
        assert_eq!(stream.at_least(EntryId::new(205, 0)), None);
    }
}
