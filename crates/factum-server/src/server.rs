//! The server: opens its doors, serves, and stops in good order.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use factum::SharedStore;

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
}

impl Server {
    /// Opens the doors. They are answered once [`Server::serve`] runs.
    ///
    /// # Errors
    /// If an address can't be listened on, or may not be.
    pub async fn start(store: SharedStore, mut settings: Settings) -> Result<Self, Error> {
        settings.check()?;
        settings.limits.clients_max = clients_that_fit(settings.limits.clients_max);
        let at = |address| move |source| Error::Address { address, source };
        let (redis, http) = (settings.redis, settings.http);
        let door = Arc::new(Door::new(SharedStore::clone(&store), settings));
        let http = match http {
            Some(address) => Some(Http::bind(Arc::clone(&door), address).await.map_err(at(address))?),
            None => None,
        };
        let redis = Listener::bind(Arc::clone(&door)).await.map_err(at(redis))?;
        Ok(Self { store, door, redis, http })
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
    /// If the store can't be closed.
    pub async fn serve(self, stop: impl Future<Output = ()>) -> factum::Result<()> {
        let Self { store, door, redis, http } = self;
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
        }
        // What clients that are gone had asked for is recorded too.
        door.groups.stop().await;
        door.keyspace.stop().await;
        store.close().await
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
