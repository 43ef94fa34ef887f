//! The server: opens its doors, serves, and stops in good order.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use factum::{Capabilities, SharedStore, Support};
use tokio::sync::Notify;

use crate::holding::{Holding, Refused};
use crate::http::Http;
use crate::redis::{Door, Listener};
use crate::{Settings, process};

/// Files that are open besides connections: those of the store, and a few more.
const OTHER_FILES: u64 = 1024;

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
    /// The address can be reached from elsewhere, and nobody would have to say a password.
    #[error(
        "{address} can be reached from other machines, which needs a password: give one with --password-file FILE or in FACTUM_PASSWORD, \
         or listen on 127.0.0.1"
    )]
    PublicWithoutPassword {
        /// Which.
        address: SocketAddr,
    },
    /// Another server serves the store.
    #[error("the store is served already: by {by}; use that server, or end it first, or serve another store")]
    Held {
        /// By whom.
        by: String,
    },
    /// The store can't do what clients of the door expect of it.
    #[error(
        "a store of the kind {store} can't be served: what a client changes together has to be one append over streams and records, and here \
         {reason}; serve a directory, PostgreSQL, or a store of one partition on Redis"
    )]
    Unfit {
        /// The kind of store.
        store: &'static str,
        /// What it can't do, and why.
        reason: &'static str,
    },
    /// The store does not let itself be held.
    #[error("{0}")]
    Store(#[from] factum::Error),
    /// An empty password is none.
    #[error("the password is empty; give one that is not, or none")]
    EmptyPassword,
}

/// A server that listens.
pub struct Server {
    store: SharedStore,
    door: Arc<Door>,
    redis: Listener,
    http: Option<Http>,
    holding: Option<Holding>,
}

impl Server {
    /// Opens the doors. They are answered once [`Server::serve`] runs.
    ///
    /// # Errors
    /// If an address can't be listened on, or may not be, or if another server serves the store.
    pub async fn start(store: SharedStore, mut settings: Settings) -> Result<Self, Error> {
        settings.check()?;
        let Capabilities { store: kind, multi_stream_append, records_in_append, .. } = store.capabilities();
        for needed in [records_in_append, multi_stream_append] {
            if let Support::No(reason) = needed {
                return Err(Error::Unfit { store: kind, reason });
            }
        }
        settings.limits.clients_max = clients_that_fit(settings.limits.clients_max);
        let at = |address| move |source| Error::Address { address, source };
        let (redis, http, holds_store) = (settings.redis, settings.http, settings.holds_store);
        let door = Arc::new(Door::new(SharedStore::clone(&store), settings));
        let http = match http {
            Some(address) => Some(Http::bind(Arc::clone(&door), address).await.map_err(at(address))?),
            None => None,
        };
        let redis = Listener::bind(Arc::clone(&door)).await.map_err(at(redis))?;
        let holding = if holds_store {
            let address = redis.address().map_err(at(door.settings.redis))?;
            let taken = Holding::take(SharedStore::clone(&store), address).await.map_err(|refused| match refused {
                Refused::Held(holder) => Error::Held { by: holder.to_string() },
                Refused::Store(error) => Error::Store(error),
            });
            Some(taken?)
        } else {
            None
        };
        Ok(Self { store, door, redis, http, holding })
    }

    /// Where programs that speak to Redis find it.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn redis_address(&self) -> io::Result<SocketAddr> {
        self.redis.address()
    }

    /// Where `/metrics` and `/health` are, if anywhere.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn http_address(&self) -> io::Result<Option<SocketAddr>> {
        self.http.as_ref().map(Http::address).transpose()
    }

    /// Serves until `stop` is ready, finishes what is under way, and closes the store.
    ///
    /// # Errors
    /// If the store can't be closed, or was taken over by another server.
    pub async fn serve(self, stop: impl Future<Output = ()>) -> factum::Result<()> {
        let Self { store, door, redis, http, mut holding } = self;
        let lost = Notify::new();
        let holding_on = async {
            match &mut holding {
                Some(holding) => holding.keep(&door.keyspace, &lost).await,
                None => std::future::pending().await,
            }
        };
        let stop = async {
            tokio::select! {
                () = stop => {}
                () = lost.notified() => {}
            }
        };
        let watching = async {
            match http {
                Some(http) => http.serve().await,
                None => std::future::pending().await,
            }
        };
        // Health and metrics are answered for as long as connections finish.
        tokio::select! {
            () = redis.serve(stop) => {}
            () = watching => {}
            () = holding_on => {}
        }
        // What clients that are gone had asked for is recorded too.
        door.groups.stop().await;
        door.keyspace.stop().await;
        let released = match holding {
            Some(holding) => holding.release().await,
            None => Ok(()),
        };
        store.close().await.and(released)
    }
}

/// How many connections there may be, as far as the system lets files be opened.
fn clients_that_fit(clients_max: usize) -> usize {
    let wanted = clients_max as u64 + OTHER_FILES;
    let files = process::raise_open_files_to(wanted);
    if files >= wanted {
        return clients_max;
    }
    let fit = usize::try_from(files.saturating_sub(OTHER_FILES).max(files / 2)).unwrap_or(clients_max);
    tracing::warn!(
        "the system lets {files} files be open, so at most {fit} connections are taken in instead of {clients_max}; raise it with ulimit -n"
    );
    fit
}
