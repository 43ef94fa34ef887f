//! The keyspace as one lock guards it: what stands at the keys with everything that is on its way, and who waits for what.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use factum::{GlobalPosition, NewEvent, RecordedEvent};
use foldhash::fast::RandomState;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Waiting;
use super::answer::Plan;
use super::batch::{Batch, Waiter};
use super::key::{Key, Named};
use super::names::{Change, Names};
use super::slot::{Slot, Value};
use super::stream::Stream;
use crate::redis::entry::{EntryId, LastMetadata};
use crate::redis::resp::Reply;

/// What one lock guards.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(super) slots: HashMap<Key, Slot, RandomState>,
    /// Keys in the order in which they are considered for eviction.
    pub(super) order: VecDeque<Key>,
    pub(super) bytes: usize,
    pub(super) open: Batch,
    /// Batches of events that are large enough, and wait until those before them are durable. Their numbers lie below the open one's.
    pub(super) closed: VecDeque<Batch>,
    /// The number of the open batch; they count from 1.
    pub(super) open_number: u64,
    /// All batches up to this one are durable.
    pub(super) durable: u64,
    /// Who waits for the batch that was sent and is not answered yet.
    pub(super) sent: Option<Vec<Waiter>>,
    /// What was sent is not known here any more: nothing is read from the store before it is answered.
    pub(super) is_settling: bool,
    pub(super) blocked: HashMap<Key, Vec<(u64, Arc<Notify>)>, RandomState>,
    pub(super) loading: HashMap<Key, Arc<Notify>, RandomState>,
    pub(super) names: Option<Names>,
    /// How many changes of names were logged since they were summed up.
    pub(super) names_changed: u64,
    /// What came and went while the names are being read.
    pub(super) names_missed: Option<Vec<Missed>>,
    /// Rises with every change, for WATCH, and with everyone who waits, to tell them apart.
    pub(super) stamp: u64,
    /// The metadata of the entry that came last: the next one's is often the same.
    pub(crate) metadata: LastMetadata,
    /// The events of streams that are to be copied, as far as they were durable: up to which version, and the events.
    pub(super) copied: HashMap<Key, (u64, Vec<RecordedEvent>), RandomState>,
    /// Everything up to this position is known to be our own, or was looked at.
    pub(super) looked_to: GlobalPosition,
    /// By what keys were known that were dropped on purpose.
    pub(super) dropped: HashMap<Key, u64, RandomState>,
    /// How many keys were removed because their time was over.
    pub(super) expired: u64,
    /// How often everything was dropped because an append failed.
    pub(super) epoch: u64,
    /// When the log last said that appends fail.
    pub(super) failure_said: Option<std::time::Instant>,
}

/// A change to the names of keys.
#[derive(Debug)]
pub(super) enum Missed {
    Changes(Vec<Change>),
    Stream(Key, u64),
}

/// Why a command can't be carried out now, or not at all.
#[derive(Debug)]
pub(crate) enum Stop {
    /// An error, or another answer that needs nothing more.
    Answer(Reply),
    /// Something has to be read from the store first.
    Load(Vec<Load>),
    /// It waits for one of these keys to change.
    Block(Vec<Key>, Option<Instant>),
    /// The open batch is full; when it was sent there is room again.
    Full,
}

impl Stop {
    pub(crate) const fn error(text: &'static str) -> Self {
        Self::Answer(Reply::error(text))
    }
}

impl From<Reply> for Stop {
    fn from(reply: Reply) -> Self {
        Self::Answer(reply)
    }
}

/// What has to be read from the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// What stands at a key.
    Slot(Key),
    /// In the stream at a key, where the first entries with at least these ids are; and ids of so many entries from each on.
    AtLeast(Key, Vec<EntryId>, u64),
    /// In the stream at a key, the ids of so many entries from a version on.
    Ids(Key, u64, u64),
    /// The names of all keys.
    Names,
    /// All events of the stream at a key.
    Events(Key),
}

/// So many changes to the names are kept for those who are reading them.
const MISSED_MAX: usize = 1 << 17;

/// Where the open batch stood.
#[derive(Debug)]
pub(crate) struct Mark {
    parts: usize,
    last: usize,
    events: usize,
    bytes: usize,
    dirty: usize,
    removed: usize,
}

pub(crate) type Answered = Result<Plan, Stop>;

/// What one batch takes at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchLimits {
    pub(crate) events_max: usize,
    pub(crate) bytes_max: usize,
    pub(crate) payload_bytes_max: usize,
    pub(crate) record_bytes_max: usize,
}

impl BatchLimits {
    /// How many bytes a string or a hash may have: its record holds a little more.
    pub(crate) fn value_bytes_max(&self) -> usize {
        self.record_bytes_max.saturating_sub(1 << 16)
    }
}

/// A command being carried out: the state, and what is asked.
pub(crate) struct Context<'a> {
    pub(crate) state: &'a mut State,
    pub(crate) limits: BatchLimits,
    pub(crate) options: &'a super::Options,
    /// Milliseconds since 1970.
    pub(crate) now: u64,
    pub(crate) database: u32,
    /// Inside of EXEC nothing blocks.
    pub(crate) is_exec: bool,
    /// The command changes nothing, so that while clients wait it leaves keys where they are that have expired.
    pub(crate) only_reads: bool,
    /// What it sees in place of such a key.
    pub(super) gone: Option<Box<Slot>>,
    /// The batch that has to be durable before the answer is given.
    pub(crate) wait: u64,
    /// What stood at the keys before, so that it can be taken back.
    pub(crate) undo: Option<HashMap<Key, Slot, RandomState>>,
}

impl Context<'_> {
    /// The key of that name in the chosen database.
    pub(crate) fn key(&self, name: bytes::Bytes) -> Key {
        Key { database: self.database, name }
    }

    /// What stands at a key.
    pub(crate) fn slot(&mut self, key: &Key) -> Result<&mut Slot, Stop> {
        let Some(slot) = self.state.slots.get_mut(key) else { return Err(Stop::Load(vec![Load::Slot(key.clone())])) };
        if let Some(undo) = &mut self.undo
            && !undo.contains_key(key)
        {
            undo.insert(key.clone(), slot.clone());
        }
        slot.is_used = true;
        self.wait = self.wait.max(slot.changed_in);
        if slot.expires.is_some_and(|expires| expires <= self.now) {
            if self.only_reads && self.options.pause.now().is_some() {
                return Ok(self.gone.insert(Box::new(Slot::empty())));
            }
            self.state.expired += u64::from(self.remove(key));
        } else if matches!(&slot.value, Value::Hash(hash) if hash.is_due(self.now)) {
            self.expire_fields(key);
        }
        Ok(self.state.slots.get_mut(key).expect("it was there"))
    }

    /// Removes the fields of a hash that have expired, and the key with the last of them.
    fn expire_fields(&mut self, key: &Key) {
        let now = self.now;
        let Value::Hash(hash) = &mut self.slot_as_it_is(key).value else { return };
        let (has_any, is_empty) = (hash.expire(now), hash.len() == 0);
        if is_empty {
            self.remove(key);
        } else if has_any {
            self.changed(key);
        }
    }

    /// What stands at a key that was looked at before.
    pub(crate) fn slot_as_it_is(&mut self, key: &Key) -> &mut Slot {
        self.state.slots.get_mut(key).expect("it was looked at before")
    }

    /// Checks that what stands at these keys is known, so that a command on several of them needs no second try.
    pub(crate) fn need<'k>(&mut self, keys: impl IntoIterator<Item = &'k Key>) -> Result<(), Stop> {
        let missing = |key: &&Key| !self.state.slots.contains_key(*key);
        let missing: Vec<Load> = keys.into_iter().filter(missing).map(|key| Load::Slot(key.clone())).collect();
        if missing.is_empty() { Ok(()) } else { Err(Stop::Load(missing)) }
    }

    /// The stream at a key, `None` if nothing is there.
    pub(crate) fn stream(&mut self, key: &Key) -> Result<Option<&mut Stream>, Stop> {
        let slot = self.slot(key)?;
        match slot.value {
            Value::Stream => Ok(slot.stream.as_deref_mut()),
            Value::Nothing => Ok(None),
            Value::Text(_) | Value::Hash(_) => Err(WRONG_TYPE),
        }
    }

    /// The stream at a key that stands there, however it came there, without looking whether it has expired.
    pub(crate) fn known_stream(&mut self, key: &Key) -> &mut Stream {
        self.state.slots.get_mut(key).and_then(|slot| slot.stream.as_deref_mut()).expect("it was looked at before")
    }

    /// Makes an empty stream at a key where nothing is.
    pub(crate) fn create_stream(&mut self, key: &Key) -> Result<(), Stop> {
        let Some(id) = key.stream() else { return Err(KEY_TOO_LONG) };
        let slot = self.slot(key)?;
        if slot.stream.is_none() {
            slot.stream = Some(Box::new(Stream::new(id)));
        }
        slot.value = Value::Stream;
        slot.expires = None;
        Ok(())
    }

    /// Writes what stands at a key, in place of whatever is there, and lets its expiry be.
    pub(crate) fn put(&mut self, key: &Key, value: Value) -> Result<(), Stop> {
        if key.stream().is_none() {
            return Err(KEY_TOO_LONG);
        }
        let bytes_max = self.limits.value_bytes_max();
        let bytes = match &value {
            Value::Text(text) => text.len(),
            Value::Hash(hash) => hash.size(),
            Value::Nothing | Value::Stream => 0,
        };
        if bytes > bytes_max {
            let text = format!("ERR the value would have {bytes} bytes, and the store takes records of {bytes_max}; nothing was changed");
            return Err(Reply::Error(text.into()).into());
        }
        if self.slot(key)?.stream().is_some() {
            self.remove(key);
        }
        let slot = self.slot(key)?;
        (slot.value, slot.encoding) = (value, None);
        // However often it is written in this batch, it is sent once.
        let more = bytes.saturating_sub(slot.counted);
        slot.counted += more;
        self.state.open.bytes += more;
        self.changed(key);
        Ok(())
    }

    /// Removes a group of the stream at a key, and says whether it was there.
    pub(crate) fn remove_group(&mut self, key: &Key, name: &[u8]) -> bool {
        let Some(group) = self.known_stream(key).groups.remove(name) else { return false };
        self.state.open.removed.extend(group.records(key));
        self.changed(key);
        true
    }

    /// Removes what stands at a key, and says whether something did.
    pub(crate) fn remove(&mut self, key: &Key) -> bool {
        let Some(slot) = self.state.slots.get_mut(key) else { return false };
        let was_there = !matches!(slot.value, Value::Nothing);
        if let Some(stream) = slot.stream.as_deref_mut()
            && matches!(slot.value, Value::Stream)
        {
            let records: Vec<_> = stream.groups.values().flat_map(|group| group.records(key)).collect();
            stream.end();
            self.state.open.removed.extend(records);
        }
        slot.value = Value::Nothing;
        slot.expires = None;
        if was_there {
            self.changed(key);
        }
        was_there
    }

    /// Notes that what stands at a key has changed, so that its record is written.
    pub(crate) fn changed(&mut self, key: &Key) {
        self.changed_groups(key);
        if let Some(slot) = self.state.slots.get_mut(key) {
            slot.is_record_dirty = true;
        }
    }

    /// Notes that groups of the stream at a key have changed, so that their records are written.
    pub(crate) fn changed_groups(&mut self, key: &Key) {
        if let Some(slot) = self.state.slots.get_mut(key)
            && !slot.is_dirty
        {
            slot.is_dirty = true;
            self.state.open.bytes += slot.size + 256;
            self.state.open.dirty.push(key.clone());
        }
        self.touched(key);
    }

    /// Notes that a key is not as it was, for those who watch it or wait for it.
    pub(crate) fn touched(&mut self, key: &Key) {
        let number = self.state.open_number;
        self.state.stamp += 1;
        let stamp = self.state.stamp;
        if let Some(slot) = self.state.slots.get_mut(key) {
            slot.changed_in = number;
            slot.stamp = stamp;
        }
        self.wait = number;
        self.state.signal(key);
    }

    /// Appends an event that is an entry of the stream at a key.
    pub(crate) fn event(&mut self, key: &Key, id: EntryId, event: NewEvent) {
        self.state.stamp += 1;
        let (number, durable, stamp) = (self.state.open_number, self.state.durable, self.state.stamp);
        let slot = self.state.slots.get_mut(key).expect("it was looked at before");
        let is_settled = slot.changed_in <= durable;
        (slot.changed_in, slot.stamp) = (number, stamp);
        let was_announced = std::mem::replace(&mut slot.announced.kind, super::slot::Kind::Stream) == super::slot::Kind::Stream;
        let stream = slot.stream.as_deref_mut().expect("it was looked at before");
        self.state.open.push(&stream.id, stream.version, event);
        stream.push(id, is_settled);
        let is_new = !was_announced;
        self.wait = number;
        let version = stream.version;
        if is_new {
            self.state.named(Missed::Stream(key.clone(), version));
        }
        self.state.signal(key);
    }

    /// Brings the names up to date with what was carried out and not sent yet.
    pub(crate) fn names(&mut self) -> Result<&Names, Stop> {
        if self.state.names.is_none() {
            return Err(Stop::Load(vec![Load::Names]));
        }
        let state = &mut *self.state;
        let dirty = state.open.dirty.iter().filter_map(|key| Some((key, state.slots.get(key)?)));
        let changes: Vec<Change> = dirty.map(|(key, slot)| Change::of(key, slot)).collect();
        self.wait = self.wait.max(if state.open.is_empty() { state.open_number - 1 } else { state.open_number });
        let names = state.names.as_mut().expect("it is there");
        names.take(&changes);
        Ok(names)
    }

    /// What a key that is watched is known by; `None` if it is not known any more.
    pub(crate) fn stamp(&self, key: &Key) -> Option<u64> {
        let slot = self.state.slots.get(key)?;
        let is_due = matches!(&slot.value, Value::Hash(hash) if hash.is_due(self.now));
        (!is_due && slot.expires.is_none_or(|expires| expires > self.now)).then_some(slot.stamp)
    }

    /// Begins something that may have to be taken back.
    pub(crate) fn begin(&mut self) -> Mark {
        self.undo = Some(HashMap::default());
        let Batch { parts, events, bytes, dirty, removed, .. } = &self.state.open;
        let last = parts.last().map_or(0, |part| part.events.len());
        Mark { parts: parts.len(), last, events: *events, bytes: *bytes, dirty: dirty.len(), removed: removed.len() }
    }

    /// Takes back what was done since.
    pub(crate) fn take_back(&mut self, mark: &Mark) {
        for (key, slot) in self.undo.take().unwrap_or_default() {
            self.state.slots.insert(key, slot);
        }
        let Batch { parts, events, bytes, dirty, removed, .. } = &mut self.state.open;
        parts.truncate(mark.parts);
        if let Some(part) = parts.last_mut() {
            part.events.truncate(mark.last);
        }
        dirty.truncate(mark.dirty);
        removed.truncate(mark.removed);
        (*events, *bytes) = (mark.events, mark.bytes);
        // They may know of what is not.
        self.state.names = None;
        self.state.names_missed = None;
    }

    /// Whether the open batch has room for so much more.
    pub(crate) fn has_room(&self, events: usize, bytes: usize) -> bool {
        let open = &self.state.open;
        open.events + open.dirty.len() * 3 + events <= self.limits.events_max && open.bytes + bytes <= self.limits.bytes_max
    }
}

impl State {
    /// Notes that names came or went.
    pub(super) fn named(&mut self, change: Missed) {
        if let Some(names) = &mut self.names {
            match &change {
                Missed::Changes(changes) => names.take(changes),
                Missed::Stream(key, version) => names.stream(key, *version),
            }
        }
        if let Some(missed) = &mut self.names_missed {
            missed.push(change);
            if missed.len() > MISSED_MAX {
                // Whoever reads the names has gone, or begins again.
                self.names_missed = None;
            }
        }
    }

    /// Takes the names as the store has them, and what changed while they were read.
    pub(super) fn set_names(&mut self, mut names: Names) {
        for missed in self.names_missed.take().unwrap_or_default() {
            match missed {
                Missed::Changes(changes) => names.take(&changes),
                Missed::Stream(key, version) => names.stream(&key, version),
            }
        }
        self.names = Some(names);
    }

    /// What is not known of these keys.
    pub(crate) fn missing(&self, keys: impl Iterator<Item = Key>) -> impl Iterator<Item = Load> {
        keys.filter(|key| !self.slots.contains_key(key)).map(Load::Slot)
    }

    /// What is not known of these keys, given by their databases and names.
    pub(crate) fn unknown<'k>(&self, names: impl Iterator<Item = (u32, &'k [u8])>) -> Vec<Load> {
        let mut seen = 0;
        let unknown = names.filter(|name| match self.slots.get(name as &dyn Named) {
            Some(slot) => {
                seen ^= slot.glance();
                false
            }
            None => true,
        });
        let unknown = unknown.map(|(database, name)| Load::Slot(Key { database, name: super::own(name) })).collect();
        std::hint::black_box(seen);
        unknown
    }

    /// Looks at what stands at keys that are about to be needed one after another. What of it is not in the processor's caches is fetched
    /// for several keys at a time so, instead of for each when its command waits for it.
    pub(crate) fn look_ahead<'k>(&self, names: impl Iterator<Item = (u32, &'k [u8])>) {
        let slots = names.filter_map(|name| self.slots.get(&name as &dyn Named));
        std::hint::black_box(slots.fold(0, |seen, slot| seen ^ slot.glance()));
    }

    /// Lets go of what was read only to be copied.
    pub(crate) fn end_copying(&mut self) {
        self.copied.clear();
    }

    /// Waits until there is room again; `None` if there is nothing that takes any.
    pub(crate) fn room(&mut self) -> Option<Waiting> {
        if self.open.is_empty() { None } else { self.waiter(self.open_number) }
    }

    /// Wakes those who wait for a key.
    pub(super) fn signal(&mut self, key: &Key) {
        if !self.blocked.is_empty()
            && let Some(waiting) = self.blocked.get(key)
        {
            for (_, waiting) in waiting {
                waiting.notify_one();
            }
        }
    }

    /// Begins anew from what the store says: nothing that is known here can be trusted.
    pub(super) fn forget(&mut self) {
        self.epoch += 1;
        self.stamp += 1;
        self.slots.clear();
        self.dropped.clear();
        self.order.clear();
        self.bytes = 0;
        self.names = None;
        self.names_missed = None;
        let closed = std::mem::take(&mut self.closed);
        let waiters = closed.into_iter().flat_map(|batch| batch.waiters).chain(std::mem::take(&mut self.open.waiters)).collect();
        self.open = Batch { waiters, ..Batch::default() };
        for waiting in self.blocked.values().flatten() {
            waiting.1.notify_one();
        }
    }

    /// Keeps what was read of a key.
    pub(super) fn insert(&mut self, key: &Key, mut slot: Slot) {
        // Whoever watched the key before it was dropped can't know any more whether it changed.
        self.stamp += 1;
        slot.stamp = self.dropped.remove(key).unwrap_or(self.stamp);
        let key = Key { database: key.database, name: bytes::Bytes::copy_from_slice(&key.name) };
        self.bytes += slot.size;
        if self.order.len() > self.slots.len() * 2 + 1_024 {
            // Keys that were dropped and read again stand there several times.
            self.order = self.slots.keys().cloned().collect();
        }
        self.order.push_back(key.clone());
        self.slots.insert(key, slot);
    }

    /// Drops all that is durable, as tests ask for it. Whoever watches a key does not notice.
    pub(crate) fn drop_settled(&mut self) {
        let durable = self.durable;
        self.dropped.extend(self.slots.iter().map(|(key, slot)| (key.clone(), slot.stamp)));
        self.slots.retain(|_, slot| slot.is_dirty || slot.changed_in > durable);
        self.order.retain(|key| self.slots.contains_key(key));
        self.bytes = self.slots.values().map(|slot| slot.size).sum();
        (self.names, self.names_missed) = (None, None);
    }

    /// Drops what was not used for long, until the rest is small enough.
    pub(super) fn evict(&mut self, bytes_max: usize) {
        let mut considered = 0;
        while self.bytes > bytes_max && considered < self.order.len() * 2 {
            considered += 1;
            let Some(key) = self.order.pop_front() else { return };
            let Some(slot) = self.slots.get_mut(&key) else { continue };
            if slot.is_dirty || slot.changed_in > self.durable || std::mem::take(&mut slot.is_used) {
                self.order.push_back(key);
                continue;
            }
            self.bytes -= slot.size;
            self.slots.remove(&key);
        }
    }
}

pub(crate) const WRONG_TYPE: Stop = Stop::error("WRONGTYPE Operation against a key holding the wrong kind of value");
const KEY_TOO_LONG: Stop = Stop::error("ERR the key is too long: an event store's names have at most 1024 bytes, escapes included");

#[cfg(test)]
impl State {
    /// How many changes there were, for tests that wait for one.
    pub(crate) fn stamp_for_tests(&self) -> u64 {
        self.stamp
    }

    /// Whether a batch is on its way.
    pub(crate) fn is_sending_for_tests(&self) -> bool {
        self.sent.is_some()
    }

    /// Whether something was carried out and is not on its way.
    pub(crate) fn is_gathering_for_tests(&self) -> bool {
        !self.open.is_empty()
    }

    /// How many keys are remembered for eviction.
    pub(crate) fn remembered_for_tests(&self) -> usize {
        self.order.len()
    }

    /// How many keys someone waits for.
    pub(crate) fn blocked_for_tests(&self) -> usize {
        self.blocked.len()
    }
}
