//! What is not known is read from the store, without the lock; everyone else who needs the same key waits for it meanwhile.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use factum::{Direction, Error, ReadStream, RecordName};
use futures::{StreamExt, TryStreamExt};
use tokio::sync::Notify;

use super::Keyspace;
use super::codec::Reader;
use super::group::Group;
use super::key::Key;
use super::locate::{entry_id, ids, locate};
use super::names::Names;
use super::slot::{Kind, Slot, Value};
use super::state::Load;
use super::stream::Stream;

/// So many names are read and kept for a client that asks how the server is. Whoever wants to know of more names them.
const NAMES_COUNTED_MAX: usize = 100_000;
/// Keys that are read from the store at a time for one connection.
const LOADS_AT_A_TIME: usize = 16;

/// A key that is being loaded by whoever has this; the others wait until it is dropped.
struct Loading<'a> {
    keyspace: &'a Keyspace,
    key: Key,
    done: Arc<Notify>,
}

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        let mut state = self.keyspace.lock();
        // What was read may have been found to be old, and someone else may be reading it again.
        if state.loading.get(&self.key).is_some_and(|done| Arc::ptr_eq(done, &self.done)) {
            state.loading.remove(&self.key);
        }
        drop(state);
        self.done.notify_waiters();
    }
}

impl Keyspace {
    /// Reads what is missing.
    pub(crate) async fn load(&self, loads: Vec<Load>) -> factum::Result<()> {
        self.refuse_if_suspended()?;
        let loads = futures::stream::iter(loads.into_iter().map(|load| self.load_one(load)));
        loads.buffer_unordered(LOADS_AT_A_TIME).try_collect().await
    }

    async fn load_one(&self, load: Load) -> factum::Result<()> {
        let settling = {
            let mut state = self.lock();
            let sent = state.open_number - 1;
            if state.is_settling { state.waiter(sent) } else { None }
        };
        if let Some(settling) = settling {
            let _ = settling.await;
        }
        match load {
            Load::Slot(key) => self.load_slot(key).await,
            Load::AtLeast(key, wanted, count) => {
                let Some((view, epoch)) = self.settled_view(&key).await? else { return Ok(()) };
                let mut found = Vec::with_capacity(wanted.len());
                for id in wanted {
                    let version = locate(&*self.store, &view, id).await?;
                    let block = if version > view.version || count == 0 {
                        (version, Vec::new())
                    } else {
                        ids(&*self.store, &view, version, count).await?
                    };
                    found.push((id, version, block));
                }
                self.learn(&key, epoch, |stream| {
                    for (id, version, (first, ids)) in found {
                        stream.learn_at_least(id, version);
                        stream.learn(first, ids);
                    }
                });
                Ok(())
            }
            Load::Ids(key, from, count) => {
                let Some((view, epoch)) = self.settled_view(&key).await? else { return Ok(()) };
                let (first, ids) = ids(&*self.store, &view, from, count).await?;
                self.learn(&key, epoch, |stream| stream.learn(first, ids));
                Ok(())
            }
            Load::Events(key) => {
                let known = self.settled_view(&key).await?;
                let epoch = self.lock().epoch;
                let (mut version, mut events) = (0, Vec::new());
                if let Some((view, _)) = known {
                    let options = ReadStream {
                        from: Some(factum::StreamVersion::new(view.base + 1)),
                        to: Some(factum::StreamVersion::new(view.version)),
                        ..ReadStream::default()
                    };
                    version = view.version;
                    events = self.store.read_stream(&view.stream, options).try_collect().await?;
                }
                let mut state = self.lock();
                if state.epoch == epoch {
                    state.copied.insert(key, (version, events));
                }
                Ok(())
            }
            Load::Names => self.load_names(usize::MAX).await.map(drop),
        }
    }

    /// Reads the names of all keys, unless there are more than so many; then it says `false`.
    async fn load_names(&self, names_max: usize) -> factum::Result<bool> {
        let epoch = {
            let mut state = self.lock();
            if state.names.is_some() {
                return Ok(true);
            }
            state.names_missed.get_or_insert_default();
            state.epoch
        };
        // What is on its way now would be in neither the store nor what is noted from here on.
        self.settle_all().await?;
        let Some(names) = Names::load(&*self.store, names_max).await? else { return Ok(false) };
        let mut state = self.lock();
        if state.epoch == epoch && state.names_missed.is_some() {
            state.set_names(names);
        }
        Ok(true)
    }

    /// Makes it known how many keys there are, if they are few or `counts_all`.
    pub(crate) async fn learn_count(&self, counts_all: bool) -> factum::Result<()> {
        self.refuse_if_suspended()?;
        if counts_all {
            self.load_names(usize::MAX).await?;
        } else if !self.has_many_names.load(Ordering::Relaxed) && !self.load_names(NAMES_COUNTED_MAX).await? {
            self.has_many_names.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// The stream at a key once all of it is durable, and by what to know it again.
    async fn settled_view(&self, key: &Key) -> factum::Result<Option<(super::stream::View, (u64, u32))>> {
        loop {
            let waiting = {
                let mut state = self.lock();
                let epoch = state.epoch;
                let Some(slot) = state.slots.get(key) else { return Ok(None) };
                let (changed_in, Some(stream)) = (slot.changed_in, slot.stream.as_deref()) else { return Ok(None) };
                let view = (stream.view(), (epoch, stream.generation));
                match state.waiter(changed_in) {
                    None => return Ok(Some(view)),
                    Some(waiting) => waiting,
                }
            };
            self.sent.notify_one();
            // If it fails, everything is dropped, and whoever asks finds out by looking again.
            let _ = waiting.await;
        }
    }

    fn learn(&self, key: &Key, known: (u64, u32), learn: impl FnOnce(&mut Stream)) {
        let mut state = self.lock();
        let epoch = state.epoch;
        if let Some(stream) = state.slots.get_mut(key).and_then(|slot| slot.stream.as_deref_mut())
            && (epoch, stream.generation) == known
        {
            learn(stream);
        }
    }

    async fn load_slot(&self, key: Key) -> factum::Result<()> {
        let (loading, epoch) = loop {
            let done = {
                let mut state = self.lock();
                if state.slots.contains_key(&key) {
                    return Ok(());
                }
                match state.loading.get(&key) {
                    Some(done) => Arc::clone(done),
                    None => {
                        let done = Arc::new(Notify::new());
                        state.loading.insert(key.clone(), Arc::clone(&done));
                        break (Loading { keyspace: self, key: key.clone(), done }, state.epoch);
                    }
                }
            };
            let waiting = done.notified();
            tokio::pin!(waiting);
            waiting.as_mut().enable();
            // It may have been done before this waited.
            if self.lock().loading.contains_key(&key) {
                waiting.await;
            }
        };
        let slot = self.read_slot(&key).await?;
        let mut state = self.lock();
        if state.epoch == epoch && state.loading.get(&key).is_some_and(|done| Arc::ptr_eq(done, &loading.done)) {
            state.insert(&key, slot);
            state.evict(self.options.cache_bytes_max);
        }
        drop(state);
        drop(loading);
        Ok(())
    }

    async fn read_slot(&self, key: &Key) -> factum::Result<Slot> {
        let Some(id) = key.stream() else { return Ok(Slot::empty()) };
        let name = key.record();
        let (info, record) = futures::future::try_join(self.store.stream(&id), self.store.record(&name)).await?;
        let (mut slot, groups) = match record {
            Some(record) => Slot::read(record.value, record.version, &id).ok_or_else(|| senseless(&name))?,
            None => (Slot::empty(), Vec::new()),
        };
        if let Some(info) = info {
            let (version, first) = (info.version.get(), info.first_version.get());
            let stream = slot.stream.get_or_insert_with(|| Box::new(Stream::new(id.clone())));
            let added = version.saturating_sub(stream.version);
            stream.version = version.max(stream.version);
            stream.hide_below(first);
            if added > 0 {
                stream.entries_added += added;
                if slot.value_is_free_for_events() {
                    slot.value = Value::Stream;
                }
            }
        }
        if slot.kind() == Kind::Stream {
            let stream = slot.stream.as_deref_mut().expect("a stream has one");
            if let Some(last) = stream.last_visible() {
                let options = ReadStream {
                    to: Some(factum::StreamVersion::new(last)),
                    direction: Direction::Backward,
                    limit: Some(1),
                    ..ReadStream::default()
                };
                if let Some(event) = self.store.read_stream(&stream.id, options).try_next().await? {
                    let id = entry_id(&event);
                    stream.last_id = stream.last_id.max(id);
                    stream.top = Some((event.version.get(), id));
                }
            }
            for (name, number) in groups {
                let group = self.read_group(key, number).await?;
                stream.groups.insert(name, Arc::new(group));
            }
        }
        // Streams that have events are listed by the store.
        slot.announced.kind = slot.kind();
        slot.size = slot.measure();
        Ok(slot)
    }

    async fn read_group(&self, key: &Key, number: u64) -> factum::Result<Group> {
        let name = key.group_record(number);
        let record = self.store.record(&name).await?.ok_or_else(|| senseless(&name))?;
        let (mut group, chunks) = Group::read(number, &mut Reader::new(record.value)).ok_or_else(|| senseless(&name))?;
        group.version = record.version;
        for chunk in chunks {
            let name = key.pending_record(number, chunk);
            let record = self.store.record(&name).await?.ok_or_else(|| senseless(&name))?;
            group.read_chunk(chunk, &mut Reader::new(record.value)).ok_or_else(|| senseless(&name))?;
            group.chunk_versions.insert(chunk, record.version);
        }
        Ok(group)
    }
}

impl Slot {
    /// Whether events of the stream of that name make it stand at the key.
    fn value_is_free_for_events(&self) -> bool {
        matches!(self.value, Value::Nothing)
    }
}

fn senseless(name: &RecordName) -> Error {
    Error::Corrupt {
        reason: format!("record {name} is missing, or its bytes make no sense to this version of the Redis door"),
        source: None,
    }
}

/// Bytes of their own.
pub(crate) fn own(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}
