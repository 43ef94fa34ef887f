//! Who is connected: what CLIENT LIST shows, and how one connection reaches another.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::Notify;

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
    /// What it says of itself.
    pub(crate) names: Mutex<Names>,
    is_blocked: AtomicBool,
    is_killed: AtomicBool,
    killed: Notify,
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

impl Client {
    /// What it says of itself.
    pub(crate) fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it waits for an event, in a blocking command.
    pub(crate) fn is_blocked(&self) -> bool {
        self.is_blocked.load(Ordering::Relaxed)
    }

    /// Says whether it waits for an event; blocking commands do, before and after.
    pub(crate) fn set_blocked(&self, is_blocked: bool) {
        self.is_blocked.store(is_blocked, Ordering::Relaxed);
    }

    /// Ends the connection.
    pub(crate) fn kill(&self) {
        self.is_killed.store(true, Ordering::Release);
        self.killed.notify_one();
    }

    /// Returns when the connection is to end.
    pub(crate) async fn killed(&self) {
        while !self.is_killed.load(Ordering::Acquire) {
            self.killed.notified().await;
        }
    }
}

/// All connections.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    by_id: Mutex<BTreeMap<u64, Arc<Client>>>,
    last_id: AtomicU64,
}

impl Clients {
    /// Adds a connection.
    pub(crate) fn enter(&self, address: SocketAddr, local_address: SocketAddr) -> Arc<Client> {
        let client = Arc::new(Client {
            id: self.last_id.fetch_add(1, Ordering::Relaxed) + 1,
            address,
            local_address,
            since: Instant::now(),
            names: Mutex::default(),
            is_blocked: AtomicBool::new(false),
            is_killed: AtomicBool::new(false),
            killed: Notify::new(),
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

    /// All of them, in the order in which they came.
    pub(crate) fn all(&self) -> Vec<Arc<Client>> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Client>>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
