//! How a server is set up: where it listens, what it asks for, and how much it takes.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::Error;

/// How a server is set up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where programs that speak to Redis find it.
    pub redis: SocketAddr,
    /// Where `/metrics` and `/health` are, if anywhere.
    pub http: Option<SocketAddr>,
    /// What a client has to say before anything else; without it everyone may come in.
    pub password: Option<String>,
    /// The fields of an entry that may hold the event's type; the first of them that an entry has does.
    pub type_fields: Vec<String>,
    /// Whether FLUSHDB and FLUSHALL are carried out.
    pub allow_flush: bool,
    /// Whether DEBUG is carried out; for tests.
    pub allow_debug: bool,
    /// Whether another server could open the same store, so that this one holds it for itself: not needed where the store sees to it.
    pub holds_store: bool,
    /// How much it takes.
    pub limits: Limits,
}

impl Settings {
    /// Whether a server may be started so. [`Server::start`](crate::Server::start) asks this too; here it can be asked before a store is made.
    ///
    /// # Errors
    /// If anyone could come in from elsewhere.
    pub fn check(&self) -> Result<(), Error> {
        if self.password.as_deref() == Some("") {
            return Err(Error::EmptyPassword);
        }
        let mut addresses = [Some(self.redis), self.http].into_iter().flatten();
        match addresses.find(|address| !address.ip().is_loopback()) {
            Some(address) if self.password.is_none() => Err(Error::PublicWithoutPassword { address }),
            _ => Ok(()),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            redis: SocketAddr::from((Ipv4Addr::LOCALHOST, 7379)),
            http: None,
            password: None,
            type_fields: vec!["event_type".to_owned(), "type".to_owned()],
            allow_flush: false,
            allow_debug: false,
            holds_store: true,
            limits: Limits::default(),
        }
    }
}

/// How much a server takes from its clients.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at a time.
    pub clients_max: usize,
    /// Requests of one connection that are carried out together.
    pub pipeline_requests_max: usize,
    /// One request, with all its arguments.
    pub request_bytes_max: usize,
    /// What all connections hold together, of requests that are not carried out yet and of answers that nobody has read; where it is more,
    /// those are ended that hold most. 0 is no limit.
    pub clients_bytes_max: usize,
    /// Answers that wait for a client to read them; whoever has more than this waiting is cut off.
    pub output_bytes_max: usize,
    /// How long a client may leave answers unread before it is cut off.
    pub output_stall_max: Duration,
    /// How long a client may send nothing before it is cut off; `None` is as long as it likes.
    pub idle_max: Option<Duration>,
    /// What may be kept in memory of keys that are not in use.
    pub cache_bytes_max: usize,
    /// How many databases SELECT knows.
    pub databases: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            clients_max: 16_000,
            pipeline_requests_max: 4_096,
            request_bytes_max: 128 << 20,
            clients_bytes_max: 512 << 20,
            output_bytes_max: 256 << 20,
            output_stall_max: Duration::from_secs(60),
            idle_max: None,
            cache_bytes_max: 64 << 20,
            databases: 16,
        }
    }
}
