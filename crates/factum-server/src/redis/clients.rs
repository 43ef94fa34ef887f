//! Who is connected: what CLIENT LIST shows, and how one connection reaches another.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::Notify;

use super::held::Held;

/// What others may see of a connection.
#[derive(Debug)]
pub(crate) struct Client {
    /// Its number; they rise.
    pub(crate) id: u64,
    /// Where it comes from.
    pub(crate) address: SocketAddr,
    /// Where it came to.
    pub(crate) local_address: SocketAddr,
    /// When it came.
    pub(crate) since: Instant,
    names: Mutex<Names>,
    activity: Mutex<Activity>,
    is_blocked: AtomicBool,
    is_paused: AtomicBool,
    is_stopping: AtomicBool,
    stopped: Notify,
    ending: Mutex<Option<Ending>>,
    ended: Notify,
    unblocking: AtomicU8,
    unblocked: Notify,
    held_bytes: AtomicUsize,
}

/// Why a connection is ended by others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// CLIENT KILL asked for it.
    Asked,
    /// All connections held too much memory together, and this one most.
    HoldsMost(usize),
}

/// What a connection says of itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    /// By CLIENT SETNAME.
    pub(crate) name: Bytes,
    /// By CLIENT SETINFO LIB-NAME.
    pub(crate) library: Bytes,
    /// By CLIENT SETINFO LIB-VER.
    pub(crate) library_version: Bytes,
}

/// What a connection does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Activity {
    /// When it last sent something.
    pub(crate) at: Instant,
    /// The last command's name.
    pub(crate) command: &'static str,
    /// The database that it has chosen.
    pub(crate) database: u32,
    /// 2 or 3.
    pub(crate) protocol: u8,
    /// How many requests it has gathered for EXEC, if it has begun to.
    pub(crate) queued: Option<usize>,
}

/// How CLIENT UNBLOCK ends another connection's waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unblock {
    /// As if its time were over.
    AsTimeout,
    /// With an error: `UNBLOCKED client unblocked via CLIENT UNBLOCK`.
    WithError,
}

impl Client {
    /// What it says of itself.
    pub(crate) fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it does.
    pub(crate) fn activity(&self) -> Activity {
        *self.activity.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what it does.
    pub(crate) fn note(&self, activity: Activity) {
        *self.activity.lock().unwrap_or_else(PoisonError::into_inner) = activity;
    }

    /// Whether it waits for an event, in a blocking command.
    pub(crate) fn is_blocked(&self) -> bool {
        self.is_blocked.load(Ordering::Relaxed)
    }

    /// Says whether it waits for an event; blocking commands do, before and after.
    pub(crate) fn set_blocked(&self, is_blocked: bool) {
        self.unblocking.store(0, Ordering::Relaxed);
        self.is_blocked.store(is_blocked, Ordering::Relaxed);
    }

    /// Whether it waits at all: for an event, or because a client has asked for a pause.
    pub(crate) fn is_waiting(&self) -> bool {
        self.is_blocked() || self.is_paused.load(Ordering::Relaxed)
    }

    /// Says whether it waits because a client has asked for a pause.
    pub(crate) fn set_paused(&self, is_paused: bool) {
        self.is_paused.store(is_paused, Ordering::Relaxed);
    }

    /// Ends its waiting; `false` if it does not wait.
    pub(crate) fn unblock(&self, how: Unblock) -> bool {
        if !self.is_blocked() {
            return false;
        }
        self.unblocking.store(if how == Unblock::AsTimeout { 1 } else { 2 }, Ordering::Release);
        self.unblocked.notify_one();
        true
    }

    /// Returns when somebody ends its waiting.
    pub(crate) async fn unblocked(&self) -> Unblock {
        loop {
            match self.unblocking.load(Ordering::Acquire) {
                1 => return Unblock::AsTimeout,
                2 => return Unblock::WithError,
                _ => self.unblocked.notified().await,
            }
        }
    }

    /// Lets the connection finish what is under way, and then ends it.
    pub(crate) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
        self.stopped.notify_one();
    }

    /// Returns when the connection is to finish.
    pub(crate) async fn stopped(&self) {
        while !self.is_stopping.load(Ordering::Acquire) {
            self.stopped.notified().await;
        }
    }

    /// Ends the connection. The first reason counts.
    pub(crate) fn end(&self, why: Ending) {
        self.ending.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
        self.ended.notify_one();
    }

    /// Whether it is to end, or has.
    pub(crate) fn is_ending(&self) -> bool {
        self.why_ending().is_some()
    }

    fn why_ending(&self) -> Option<Ending> {
        *self.ending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when the connection is to end.
    pub(crate) async fn ended(&self) -> Ending {
        loop {
            match self.why_ending() {
                Some(why) => return why,
                None => self.ended.notified().await,
            }
        }
    }

    /// What it holds in memory, about.
    pub(crate) fn held_bytes(&self) -> usize {
        self.held_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn held(&self) -> &AtomicUsize {
        &self.held_bytes
    }
}

/// All connections.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    by_id: Mutex<BTreeMap<u64, Arc<Client>>>,
    last_id: AtomicU64,
    /// What they hold in memory together.
    pub(crate) held: Held,
}

impl Clients {
    /// Adds a connection.
    pub(crate) fn enter(&self, address: SocketAddr, local_address: SocketAddr) -> Arc<Client> {
        let since = Instant::now();
        let client = Arc::new(Client {
            id: self.last_id.fetch_add(1, Ordering::Relaxed) + 1,
            address,
            local_address,
            since,
            names: Mutex::default(),
            activity: Mutex::new(Activity { at: since, command: "NULL", database: 0, protocol: 2, queued: None }),
            is_blocked: AtomicBool::new(false),
            is_paused: AtomicBool::new(false),
            is_stopping: AtomicBool::new(false),
            stopped: Notify::new(),
            ending: Mutex::new(None),
            ended: Notify::new(),
            unblocking: AtomicU8::new(0),
            unblocked: Notify::new(),
            held_bytes: AtomicUsize::new(0),
        });
        self.lock().insert(client.id, Arc::clone(&client));
        client
    }

    /// Takes a connection off.
    pub(crate) fn leave(&self, id: u64) {
        self.lock().remove(&id);
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// The one of that number.
    pub(crate) fn get(&self, id: u64) -> Option<Arc<Client>> {
        self.lock().get(&id).cloned()
    }

    /// All of them, in the order in which they came.
    pub(crate) fn all(&self) -> Vec<Arc<Client>> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Client>>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
