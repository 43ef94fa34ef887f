//! The server: opens its doors, serves, and stops in good order.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use factum::SharedStore;

use crate::Settings;
use crate::redis::{Door, Listener};

/// Why a server can't start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address is taken, or not this machine's.
    #[error("can't listen on {address}: {source}; choose another address, or end what is there")]
    Address {
        /// Which.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
}

/// A server that listens.
pub struct Server {
    store: SharedStore,
    redis: Listener,
}

impl Server {
    /// Opens the doors. They are answered once [`Server::serve`] runs.
    ///
    /// # Errors
    /// If an address can't be listened on.
    pub async fn start(store: SharedStore, settings: Settings) -> Result<Self, Error> {
        let address = settings.redis;
        let door = Arc::new(Door::new(SharedStore::clone(&store), settings));
        let redis = Listener::bind(door).await.map_err(|source| Error::Address { address, source })?;
        Ok(Self { store, redis })
    }

    /// Where programs that speak to Redis find it.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn redis_address(&self) -> io::Result<SocketAddr> {
        self.redis.address()
    }

    /// Serves until `stop` is ready, finishes what is under way, and closes the store.
    ///
    /// # Errors
    /// If the store can't be closed.
    pub async fn serve(self, stop: impl Future<Output = ()>) -> factum::Result<()> {
        self.redis.serve(stop).await;
        self.store.close().await
    }
}
