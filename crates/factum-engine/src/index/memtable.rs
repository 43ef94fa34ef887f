//! The newest part of the index, in memory: what the log says since the last run.
//!
//! One thread adds, any number read. What is added may not be durable yet; readers bound what they ask for.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, RwLock};

use smallvec::SmallVec;

use super::postings::between;
use super::run::{Found, cut};
use super::singles::{Placed, Singles};
use crate::key::{Key, Kind};
use crate::segment::Location;

const SHARDS: usize = 16;
/// Of so many keys it is remembered how many values they had before.
const REMEMBERED_MAX: usize = 16_384;
/// What a key takes in memory besides its values, about.
const KEY_BYTES: usize = 90;
/// What a short key with one value takes in memory, about.
const SINGLE_BYTES: usize = 26;
/// A table of more events is given to the index's files even if it is small: after a kill they are read again before the store is open.
const EVENTS_MAX: u64 = 150_000;
/// So many keys are added without letting readers in between.
const LABELS_AT_ONCE: usize = 512;

/// The newest part of the index.
#[derive(Debug)]
pub(crate) struct Memtable {
    /// It covers the frames from here on, which hold the positions after `after`.
    pub(crate) from: Location,
    pub(crate) after: u64,
    shards: [RwLock<Shard>; SHARDS],
    /// Short keys that have one value, as nearly all ids do. With a second one a key moves to the shards' terms.
    singles: RwLock<Singles>,
    /// Whether there may be a short key among the terms.
    has_short_terms: AtomicBool,
    /// Roughly what it takes in memory.
    bytes: AtomicUsize,
    /// Up to where it goes: the end of the last frame, its last position, and when it was recorded.
    to: AtomicU64,
    last: AtomicU64,
    last_time: AtomicU64,
    /// What the older tables have of some sequences: asking them takes long.
    before: Mutex<HashMap<Key, Before, BuildHasherDefault<KeyHasher>>>,
    /// How many keys of record kinds it has, by the kind's low bits; to answer quickly that there are none.
    record_kinds: [AtomicUsize; 128],
}

/// What the tables before this one have of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Before {
    /// How many values.
    pub(crate) count: u64,
    /// All of them are positions after this one; the last position before this table if there are none.
    pub(crate) after: u64,
}

#[derive(Debug, Default)]
struct Shard {
    /// Of each key: how many values it had before, and the values, counted from `after`.
    terms: HashMap<Key, (u64, SmallVec<[u32; 4]>), BuildHasherDefault<KeyHasher>>,
    /// Of each record: its places, the newest last.
    records: HashMap<Key, SmallVec<[u64; 2]>, BuildHasherDefault<KeyHasher>>,
}

/// Keys are hashes already.
#[derive(Debug, Default)]
pub(crate) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _bytes: &[u8]) {
        unreachable!("keys hash as one number");
    }

    fn write_u128(&mut self, key: u128) {
        self.write_u64((key >> 56) as u64 ^ key as u64);
    }

    fn write_u64(&mut self, key: u64) {
        let product = u128::from(key) * 0x9e37_79b9_7f4a_7c15;
        self.0 = (product >> 64) as u64 ^ product as u64;
    }
}

fn shard_of(key: Key) -> usize {
    (key.spread() >> 40) as usize % SHARDS
}

impl Memtable {
    pub(crate) fn new(from: Location, after: u64, last_time: u64) -> Self {
        Self {
            from,
            after,
            shards: Default::default(),
            singles: RwLock::default(),
            has_short_terms: AtomicBool::new(false),
            bytes: AtomicUsize::new(0),
            to: AtomicU64::new(from.0),
            last: AtomicU64::new(after),
            last_time: AtomicU64::new(last_time),
            before: Mutex::default(),
            record_kinds: std::array::from_fn(|_| AtomicUsize::new(0)),
        }
    }

    fn shard(&self, key: Key) -> &RwLock<Shard> {
        &self.shards[shard_of(key)]
    }

    /// The end of the last frame noted.
    pub(crate) fn to(&self) -> Location {
        Location(self.to.load(Ordering::Acquire))
    }

    /// The last position noted.
    pub(crate) fn last(&self) -> u64 {
        self.last.load(Ordering::Acquire)
    }

    /// When the last frame noted was recorded.
    pub(crate) fn last_time(&self) -> u64 {
        self.last_time.load(Ordering::Acquire)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.to().0 == self.from.0
    }

    /// Whether it is time for another one.
    pub(crate) fn is_full(&self, bytes_max: usize) -> bool {
        self.bytes() > bytes_max || self.last().saturating_sub(self.after) > EVENTS_MAX
    }

    /// Roughly what it takes in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Notes how far it goes now.
    pub(crate) fn extend(&self, to: Location, last: u64, time: u64) {
        self.to.store(to.0, Ordering::Release);
        self.last.store(last, Ordering::Release);
        self.last_time.store(time, Ordering::Release);
    }

    /// Makes as much room as another table has taken, which was filled by the same kind of entries.
    pub(crate) fn reserve_as(&self, other: &Self) {
        let keys = other.singles.read().expect("no holder of this lock panics").len();
        self.singles.write().expect("no holder of this lock panics").reserve(keys);
    }

    /// Adds a position under a key. `base` is asked how many values the key had before this table, if it is new here.
    /// Returns the number of the new value, and whether the key is new here.
    pub(crate) fn add<E>(&self, key: Key, position: u64, base: impl FnOnce() -> Result<u64, E>) -> Result<(u64, bool), E> {
        self.add_row(key, position, 1, base)
    }

    /// As [`add`](Self::add), of so many positions from the first on. Returns the number of the first.
    pub(crate) fn add_row<E>(&self, key: Key, first: u64, positions: u32, base: impl FnOnce() -> Result<u64, E>) -> Result<(u64, bool), E> {
        let offset = self.offset_of(first);
        let offsets = offset..offset + positions;
        {
            let mut shard = self.shard(key).write().expect("no holder of this lock panics");
            if let Some((base, values)) = shard.terms.get_mut(&key) {
                self.bytes.fetch_add(offsets.len() * size_of::<u32>(), Ordering::Relaxed);
                push(values, offset);
                let number = *base + values.len() as u64;
                values.extend(offsets.skip(1));
                return Ok((number, false));
            }
        }
        // Only one thread adds, so the key will not come while `base` is being asked, which may take long.
        let base = base()?;
        let mut shard = self.shard(key).write().expect("no holder of this lock panics");
        self.bytes.fetch_add(KEY_BYTES + offsets.len().saturating_sub(1) * size_of::<u32>(), Ordering::Relaxed);
        shard.terms.insert(key, (base, offsets.collect()));
        if key.as_short().is_some() {
            self.has_short_terms.store(true, Ordering::Relaxed);
        }
        Ok((base + 1, true))
    }

    /// Adds positions, which rise, under a key that is not a sequence's. Returns whether the key is new here.
    pub(crate) fn add_all(&self, key: Key, positions: &[u64]) -> bool {
        debug_assert!(key.as_short().is_none(), "short keys are added as labels");
        self.add_terms(key, positions)
    }

    fn add_terms(&self, key: Key, positions: &[u64]) -> bool {
        let mut shard = self.shard(key).write().expect("no holder of this lock panics");
        let (_, values) = shard.terms.entry(key).or_default();
        let is_new = values.is_empty();
        values.reserve(positions.len());
        for position in positions {
            push(values, self.offset_of(*position));
        }
        let bytes = positions.len() * size_of::<u32>() + if is_new { KEY_BYTES } else { 0 };
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        is_new
    }

    /// Adds keys that are not sequences', each with the entry it is of, counted from the position `first`.
    pub(crate) fn add_labels(&self, labels: &[(Key, u32)], first: u64) {
        // A reader never waits for more than one of these.
        for labels in labels.chunks(LABELS_AT_ONCE) {
            let mut bytes = 0;
            let mut singles = self.singles.write().expect("no holder of this lock panics");
            for (key, entry) in labels {
                let position = first + u64::from(*entry);
                let Some(short) = key.as_short().filter(|_| !self.is_among_terms(*key)) else {
                    self.add_terms(*key, &[position]);
                    continue;
                };
                match singles.place(short, self.offset_of(position)) {
                    Placed::New => bytes += SINGLE_BYTES,
                    Placed::Known => {}
                    Placed::Second(seen) => {
                        // It is in both for a moment, so that no one finds it in neither.
                        self.has_short_terms.store(true, Ordering::Relaxed);
                        self.add_terms(*key, &[self.after + u64::from(seen), position]);
                        singles.remove(short);
                    }
                }
            }
            drop(singles);
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// Whether a short key is among the terms, as few are.
    fn is_among_terms(&self, key: Key) -> bool {
        self.has_short_terms.load(Ordering::Relaxed)
            && self.shard(key).read().expect("no holder of this lock panics").terms.contains_key(&key)
    }

    /// Tells the places of those of these keys that have a value here.
    pub(crate) fn known(&self, keys: &[Key], mut tell: impl FnMut(usize)) {
        let singles = self.singles.read().expect("no holder of this lock panics");
        let has_short_terms = self.has_short_terms.load(Ordering::Relaxed);
        for (place, key) in keys.iter().enumerate() {
            let is_known = match key.as_short() {
                Some(short) => singles.get(short).is_some() || has_short_terms && self.is_among_terms(*key),
                None => self.find(*key).is_some(),
            };
            if is_known {
                tell(place);
            }
        }
    }

    /// Touches what adding to sequences, and asking for keys of theirs, needs here; and tells of each key after which position the tables
    /// before this one have to be asked for it, if that is known and any has to be. The number says nothing.
    pub(crate) fn glance<'k>(&self, parts: impl Iterator<Item = (Key, &'k [Key])> + Clone, mut tell: impl FnMut(Key, u64)) -> u64 {
        let mut seen = 0;
        let shards = self.shards.each_ref().map(|shard| shard.read().expect("no holder of this lock panics"));
        let before = self.before.lock().expect("no holder of this lock panics");
        for (sequence, keys) in parts.clone() {
            let values = shards[shard_of(sequence)].terms.get(&sequence);
            seen ^= values.and_then(|(_, values)| values.last()).copied().unwrap_or_default();
            if values.is_none_or(|(base, _)| *base > 0)
                && let Some(before) = before.get(&sequence).filter(|before| before.count > 0)
            {
                keys.iter().for_each(|key| tell(*key, before.after));
            }
        }
        drop((shards, before));
        let singles = self.singles.read().expect("no holder of this lock panics");
        let shorts = parts.flat_map(|(_, keys)| keys).filter_map(|key| key.as_short());
        shorts.fold(seen, |seen, short| seen ^ singles.get(short).unwrap_or_default()).into()
    }

    fn offset_of(&self, position: u64) -> u32 {
        u32::try_from(position - self.after).expect("a table is flushed long before 2^32 entries")
    }

    /// Adds a record's newest place. The older ones stay: snapshots taken before this is durable ask for them.
    pub(crate) fn add_record(&self, key: Key, location: Location) {
        let mut shard = self.shard(key).write().expect("no holder of this lock panics");
        let places = shard.records.entry(key).or_insert_with(|| {
            self.bytes.fetch_add(KEY_BYTES, Ordering::Relaxed);
            self.record_kinds[usize::from(key.kind().0 & 0x7f)].fetch_add(1, Ordering::Relaxed);
            SmallVec::new()
        });
        if places.last() != Some(&location.0) {
            places.push(location.0);
            self.bytes.fetch_add(size_of::<u64>(), Ordering::Relaxed);
        }
    }

    /// Takes back everything after this position and place: it was never made durable.
    pub(crate) fn take_back(&self, last: u64, to: Location, time: u64) {
        let offset = u32::try_from(last - self.after).expect("it is in this table");
        self.singles.write().expect("no holder of this lock panics").cut_off(offset);
        for shard in &self.shards {
            let mut shard = shard.write().expect("no holder of this lock panics");
            shard.terms.retain(|_, (_, values)| {
                values.truncate(values.partition_point(|value| *value <= offset));
                !values.is_empty()
            });
            shard.records.retain(|key, places| {
                places.truncate(places.partition_point(|place| *place < to.0));
                if places.is_empty() {
                    self.record_kinds[usize::from(key.kind().0 & 0x7f)].fetch_sub(1, Ordering::Relaxed);
                }
                !places.is_empty()
            });
        }
        self.extend(to, last, time);
    }

    /// What the older tables have of a sequence; `ask` is asked if that is not remembered.
    pub(crate) fn before<E>(&self, key: Key, ask: impl FnOnce() -> Result<Before, E>) -> Result<Before, E> {
        if let Some(found) = self.before.lock().expect("no holder of this lock panics").get(&key) {
            return Ok(*found);
        }
        let found = ask()?;
        let mut before = self.before.lock().expect("no holder of this lock panics");
        if before.len() >= REMEMBERED_MAX {
            before.clear();
        }
        before.insert(key, found);
        Ok(found)
    }

    /// Takes over what the table before this one knows of sequences, all of which is durable.
    pub(crate) fn remember_from(&self, full: &Self) {
        let earlier = full.before.lock().expect("no holder of this lock panics");
        let mut before = self.before.lock().expect("no holder of this lock panics");
        for shard in &full.shards {
            let shard = shard.read().expect("no holder of this lock panics");
            for (key, (base, values)) in shard.terms.iter().filter(|(key, _)| key.as_short().is_none()) {
                let after = if *base == 0 { Some(full.after) } else { earlier.get(key).map(|before| before.after) };
                if let Some(after) = after
                    && before.len() < REMEMBERED_MAX
                {
                    before.insert(*key, Before { count: base + values.len() as u64, after });
                }
            }
        }
    }

    /// Looks at what was before a key's values, and at the values, counted from `after`.
    fn with_values<T>(&self, key: Key, look: impl FnOnce(u64, &[u32]) -> T) -> Option<T> {
        if let Some(short) = key.as_short() {
            let single = self.singles.read().expect("no holder of this lock panics").get(short);
            if let Some(single) = single {
                return Some(look(0, &[single]));
            }
        }
        let shard = self.shard(key).read().expect("no holder of this lock panics");
        shard.terms.get(&key).map(|(base, values)| look(*base, values))
    }

    pub(crate) fn find(&self, key: Key) -> Option<Found> {
        self.with_values(key, |base, values| Found { base, count: values.len() as u64 })
    }

    /// As [`find`](Self::find), of what is up to a position only.
    pub(crate) fn find_up_to(&self, key: Key, last: u64) -> Option<Found> {
        let found = self.with_values(key, |base, values| {
            let count = values.partition_point(|value| u64::from(*value) + self.after <= last) as u64;
            Found { base, count }
        });
        found.filter(|found| found.count > 0)
    }

    /// The positions of `key` after `after` and up to `up_to`: the lowest `limit` if `lowest`, else the highest, rising.
    pub(crate) fn values(&self, key: Key, after: u64, up_to: u64, lowest: bool, limit: usize) -> Vec<u64> {
        let found = self.with_values(key, |_, values| {
            let start = values.partition_point(|value| u64::from(*value) + self.after <= after);
            let end = values.partition_point(|value| u64::from(*value) + self.after <= up_to).max(start);
            cut(&values[start..end], lowest, limit).iter().map(|value| u64::from(*value) + self.after).collect()
        });
        found.unwrap_or_default()
    }

    /// `limit` positions of `key` from the one with this index here on.
    pub(crate) fn values_from_index(&self, key: Key, index: u64, limit: usize) -> Vec<u64> {
        let found = self.with_values(key, |_, values| {
            let start = usize::try_from(index).unwrap_or(usize::MAX).min(values.len());
            values[start..].iter().take(limit).map(|value| u64::from(*value) + self.after).collect()
        });
        found.unwrap_or_default()
    }

    /// The places of a record up to `up_to`, the newest `limit`, rising.
    pub(crate) fn record_places(&self, key: Key, up_to: u64, limit: usize) -> Vec<u64> {
        let shard = self.shard(key).read().expect("no holder of this lock panics");
        shard.records.get(&key).map(|places| cut(between(places, 0, up_to), false, limit).to_vec()).unwrap_or_default()
    }

    /// Whether it has any record of this kind.
    pub(crate) fn has_records(&self, kind: Kind) -> bool {
        self.record_kinds[usize::from(kind.0 & 0x7f)].load(Ordering::Relaxed) > 0
    }

    /// All keys in order, with what was before them and their values. Nothing may be added meanwhile.
    pub(crate) fn for_each_sorted<E>(&self, mut visit: impl FnMut(Key, u64, &[u64]) -> Result<(), E>) -> Result<(), E> {
        let shards: Vec<_> = self.shards.iter().map(|shard| shard.read().expect("no holder of this lock panics")).collect();
        let singles = self.singles.read().expect("no holder of this lock panics").sorted();
        let mut singles = singles.into_iter().peekable();
        let mut terms: Vec<_> = shards.iter().flat_map(|shard| shard.terms.iter().map(|(key, term)| (*key, term))).collect();
        terms.sort_unstable_by_key(|(key, _)| *key);
        let mut widened = Vec::new();
        for (key, (base, values)) in terms {
            while let Some((single, value)) = singles.next_if(|(single, _)| *single < key) {
                visit(single, 0, &[u64::from(value) + self.after])?;
            }
            widened.clear();
            widened.extend(values.iter().map(|value| u64::from(*value) + self.after));
            visit(key, *base, &widened)?;
        }
        for (single, value) in singles {
            visit(single, 0, &[u64::from(value) + self.after])?;
        }
        // Kinds of records come last.
        let mut records: Vec<_> = shards.iter().flat_map(|shard| &shard.records).collect();
        records.sort_unstable_by_key(|(key, _)| **key);
        for (key, places) in records {
            visit(*key, 0, places.last_chunk::<1>().map_or(&[], |newest| newest))?;
        }
        Ok(())
    }
}

/// Adds a value to a list; an entry can have one label twice.
fn push(values: &mut SmallVec<[u32; 4]>, value: u32) {
    if values.last() != Some(&value) {
        values.push(value);
    }
}
