//! The keyspace: what every command on data is carried out against.
//!
//! It is a cache of what the store says, with what is on its way to it. A connection takes the lock, carries its requests out in memory, and
//! lets go; what they change joins the open batch, which a task sends to the store as one append while the next one gathers. An answer is
//! given once all that it shows is durable. So a lock is isolation, a batch is atomic, and starting is the same as having
//! dropped everything: what is missing is read from the store when it is needed.

mod answer;
mod batch;
mod blocked;
mod codec;
mod copy;
mod flush;
mod group;
mod hash;
mod key;
mod load;
mod locate;
mod names;
mod ranges;
mod slot;
mod state;
mod stream;
mod summary;
mod suspension;
mod tail;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use factum::SharedStore;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

pub(crate) use answer::{Entries, Picked, Plan};
pub(crate) use batch::Failure;
pub(crate) use blocked::Blocked;
pub(crate) use group::{Group, Pending};
pub(crate) use hash::Hash;
pub(crate) use key::Key;
pub(crate) use load::own;
pub(crate) use names::Count;
pub(crate) use slot::{Kind, Slot, Value};
pub(crate) use state::{Answered, BatchLimits, Context, Load, Stop, WRONG_TYPE};
pub(crate) use stream::{Known, Stream};

use super::pause::Pause;
use state::State;

/// How the door sees the store.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The fields of an entry that may hold the event's type; the first that is there does.
    pub(crate) type_fields: Vec<Box<[u8]>>,
    /// How much memory what is not in use may take.
    pub(crate) cache_bytes_max: usize,
    /// Approximate trimming removes whole blocks of so many entries; 0 is one block. CONFIG SET changes it.
    pub(crate) node_entries: Arc<AtomicU64>,
    /// How many databases there are.
    pub(crate) databases: u32,
    /// Whether what clients send is copied before it is handed to the store, because that keeps it.
    pub(crate) copies_data: bool,
    /// Whether all keys may be removed at once.
    pub(crate) allow_flush: bool,
    /// While clients wait, keys that have expired stay where they are, and are gone only for those who look.
    pub(crate) pause: Arc<Pause>,
}

/// As Redis has it, unless it is told otherwise.
const NODE_ENTRIES: u64 = 100;

impl Options {
    /// How many entries one block has, which is at least one.
    pub(crate) fn node_entries(&self) -> u64 {
        match self.node_entries.load(Ordering::Relaxed) {
            0 => u64::MAX >> 1,
            entries => entries,
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            type_fields: vec![b"event_type".as_slice().into(), b"type".as_slice().into()],
            cache_bytes_max: 64 << 20,
            node_entries: Arc::new(AtomicU64::new(NODE_ENTRIES)),
            databases: 16,
            copies_data: false,
            allow_flush: false,
            pause: Arc::default(),
        }
    }
}

/// The keyspace of a store.
pub(crate) struct Keyspace {
    store: SharedStore,
    options: Options,
    limits: BatchLimits,
    state: Mutex<State>,
    /// There is something to send.
    sent: Notify,
    /// Nothing is read from the store into memory, because another server may be writing to it.
    is_suspended: AtomicBool,
    /// The store did not take the last append.
    is_refused: AtomicBool,
    /// There are more keys than are counted for those who only ask how the server is.
    has_many_names: AtomicBool,
    /// How many appends were sent to the store.
    pub(crate) appends: AtomicU64,
    /// How many of them it did not take, or did not answer.
    pub(crate) failed_appends: AtomicU64,
    /// How many events were in them.
    pub(crate) appended_events: AtomicU64,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// Someone who waits for a batch.
pub(crate) type Waiting = oneshot::Receiver<Result<(), Failure>>;

impl Keyspace {
    /// The keyspace of this store.
    pub(crate) fn start(store: SharedStore, mut options: Options) -> Arc<Self> {
        let limits = store.capabilities().limits;
        options.copies_data = !store.capabilities().persistent.is_yes();
        let in_memory = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let limits = BatchLimits {
            events_max: in_memory(limits.append_events_max) / 2,
            bytes_max: in_memory(limits.append_bytes_max) / 4,
            payload_bytes_max: in_memory(limits.payload_bytes_max),
            record_bytes_max: in_memory(limits.record_bytes_max.min(limits.append_bytes_max / 4)),
        };
        let state = Mutex::new(State { open_number: 1, ..State::default() });
        let keyspace = Arc::new(Self {
            store,
            options,
            limits,
            state,
            sent: Notify::new(),
            is_suspended: AtomicBool::new(false),
            is_refused: AtomicBool::new(false),
            has_many_names: AtomicBool::new(false),
            appends: AtomicU64::new(0),
            failed_appends: AtomicU64::new(0),
            appended_events: AtomicU64::new(0),
            tasks: Mutex::default(),
        });
        let tasks = [
            tokio::spawn(Arc::clone(&keyspace).flush()),
            tokio::spawn(Arc::clone(&keyspace).tail()),
            tokio::spawn(Arc::clone(&keyspace).sweep()),
            tokio::spawn(Arc::clone(&keyspace).sum_up_names()),
        ];
        keyspace.tasks.lock().expect("no holder of this lock panics").extend(tasks);
        keyspace
    }

    /// Ends the tasks, once everything that was carried out is durable.
    pub(crate) async fn stop(&self) {
        let _ = self.settle_all().await;
        let tasks = std::mem::take(&mut *self.tasks.lock().expect("no holder of this lock panics"));
        for task in tasks {
            task.abort();
            let _ = task.await;
        }
    }

    /// What a command is carried out against, until it is dropped.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    /// A command's context. `state` is the locked state.
    pub(crate) fn context<'a>(&'a self, state: &'a mut State, now: u64) -> Context<'a> {
        Context {
            state,
            limits: self.limits,
            options: &self.options,
            now,
            database: 0,
            is_exec: false,
            only_reads: false,
            gone: None,
            wait: 0,
            undo: None,
        }
    }

    /// How many keys each database has that has any, once their names are known.
    pub(crate) fn keys_by_database(&self) -> Vec<(u32, Count)> {
        let mut state = self.lock();
        let mut context = self.context(&mut state, now());
        let Ok(names) = context.names() else { return Vec::new() };
        (0..self.options.databases).map(|database| (database, names.count(database))).filter(|(_, count)| count.keys > 0).collect()
    }

    /// How many keys were removed because their time was over.
    pub(crate) fn expired_keys(&self) -> u64 {
        self.lock().expired
    }

    /// Approximate trimming removes whole blocks of so many entries from now on; 0 is one block.
    pub(crate) fn set_node_entries(&self, entries: u64) {
        self.options.node_entries.store(entries, Ordering::Relaxed);
    }

    /// What one batch takes at most.
    pub(crate) fn limits(&self) -> BatchLimits {
        self.limits
    }

    /// Whether the store takes what is recorded, as far as is known: it took the last append.
    pub(crate) fn is_recording(&self) -> bool {
        !self.is_refused.load(Ordering::Relaxed)
    }

    /// The store behind it.
    pub(crate) fn store(&self) -> &SharedStore {
        &self.store
    }
}

/// Milliseconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
