//! Finding the server that a key is on: the one that the URL names, or the master of the key's slot in a cluster.

use std::sync::Mutex;
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, RedisError, Value};

use super::error::Failure;
use super::library::Library;
use super::url::{RedisUrl, at};

/// The servers of a store.
#[derive(Debug)]
pub(super) struct Servers {
    named: Vec<ConnectionInfo>,
    is_cluster: bool,
    timeout: Duration,
    /// The servers that a cluster said it has.
    known: Mutex<Vec<ConnectionInfo>>,
    /// How our functions are called there.
    library: std::sync::OnceLock<Library>,
}

impl Servers {
    pub(super) fn new(url: &RedisUrl) -> Self {
        // A program that has chosen its own keeps it; if it has two, the driver can't choose.
        _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            named: url.servers.clone(),
            is_cluster: url.is_cluster,
            timeout: url.options.timeout,
            known: Mutex::default(),
            library: std::sync::OnceLock::new(),
        }
    }

    pub(super) fn is_cluster(&self) -> bool {
        self.is_cluster
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// How to call our functions; opening a store finds that out.
    pub(super) fn library(&self) -> &Library {
        self.library.get().expect("a store's servers have been prepared before they are asked")
    }

    /// A new connection to the server that has `key`. `answer_within` bounds the wait for each answer.
    pub(super) async fn connect(&self, key: &str, answer_within: Duration) -> Result<MultiplexedConnection, Failure> {
        if self.is_cluster {
            let master = self.master_of(key).await?;
            return self.connect_to(&master, answer_within).await;
        }
        self.connect_to(&self.named[0], answer_within).await
    }

    /// Loads our functions into every master, or into the one server.
    pub(super) async fn prepare(&self) -> Result<(), Failure> {
        let masters = if self.is_cluster { self.masters().await? } else { vec![self.named[0].clone()] };
        for master in &masters {
            let mut connection = self.connect_to(master, self.timeout).await?;
            self.load(&mut connection).await?;
        }
        Ok(())
    }

    /// Loads our functions into one server: as functions, or as a script where functions are not allowed.
    pub(super) async fn load(&self, connection: &mut MultiplexedConnection) -> Result<(), Failure> {
        if !matches!(self.library.get(), Some(Library::Script(_))) {
            match ask(connection, &Library::load_functions()).await {
                Ok(_) => return self.remember(Library::Functions),
                Err(Failure::Refused(error)) if error.to_string().contains("already exists") => return self.remember(Library::Functions),
                Err(Failure::Refused(error)) => tracing::debug!(%error, "functions are not allowed; a script does the same"),
                Err(other) => return Err(other),
            }
        }
        match ask(connection, &Library::load_script()).await? {
            Value::BulkString(hash) => self.remember(Library::Script(String::from_utf8_lossy(&hash).into_owned())),
            Value::SimpleString(hash) => self.remember(Library::Script(hash)),
            other => Err(Failure::NotNow(format!("the server answered {other:?} to SCRIPT LOAD"))),
        }
    }

    fn remember(&self, library: Library) -> Result<(), Failure> {
        let known = self.library.get_or_init(|| library.clone());
        if *known == library {
            return Ok(());
        }
        Err(Failure::NotNow("one server of the cluster allows functions and another does not; allow them on all or none".to_owned()))
    }

    /// Every server that is known, masters first; for looking at their settings.
    pub(super) async fn masters(&self) -> Result<Vec<ConnectionInfo>, Failure> {
        if !self.is_cluster {
            return Ok(vec![self.named[0].clone()]);
        }
        let mut failure = Failure::NotNow("the cluster has no servers".to_owned());
        for server in self.candidates() {
            match self.slots_from(&server).await {
                Ok(slots) => return Ok(slots.into_iter().map(|slot| slot.master).collect::<Distinct>().0),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    async fn master_of(&self, key: &str) -> Result<ConnectionInfo, Failure> {
        let mut failure = Failure::NotNow("the cluster has no servers".to_owned());
        for server in self.candidates() {
            match self.master_from(&server, key).await {
                Ok(master) => return Ok(master),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Asks one server of a cluster which of them is the master of a key's slot.
    async fn master_from(&self, server: &ConnectionInfo, key: &str) -> Result<ConnectionInfo, Failure> {
        let mut connection = self.connect_to(server, self.timeout).await?;
        let slot = match ask(&mut connection, redis::cmd("CLUSTER").arg("KEYSLOT").arg(key)).await? {
            Value::Int(slot) => slot,
            other => return Err(Failure::NotNow(format!("the server answered {other:?} to CLUSTER KEYSLOT"))),
        };
        let slots = self.slots_of(&mut connection, server).await?;
        let found = slots.into_iter().find(|range| (range.first..=range.last).contains(&slot));
        found.map(|range| range.master).ok_or_else(|| Failure::NotNow(format!("slot {slot} of the cluster has no server")))
    }

    async fn slots_from(&self, server: &ConnectionInfo) -> Result<Vec<SlotRange>, Failure> {
        let mut connection = self.connect_to(server, self.timeout).await?;
        self.slots_of(&mut connection, server).await
    }

    async fn slots_of(&self, connection: &mut MultiplexedConnection, asked: &ConnectionInfo) -> Result<Vec<SlotRange>, Failure> {
        let answer = ask(connection, redis::cmd("CLUSTER").arg("SLOTS")).await?;
        let (ranges, servers) =
            slots_in(&answer, asked).ok_or_else(|| Failure::NotNow("the answer to CLUSTER SLOTS can't be read".to_owned()))?;
        *self.known.lock().expect("no holder of this lock panics") = servers;
        Ok(ranges)
    }

    /// Whom to ask about the cluster: those it named itself, then those of the URL.
    fn candidates(&self) -> Vec<ConnectionInfo> {
        let known = self.known.lock().expect("no holder of this lock panics").clone();
        known.into_iter().chain(self.named.iter().cloned()).collect()
    }

    pub(super) async fn connect_to(&self, server: &ConnectionInfo, answer_within: Duration) -> Result<MultiplexedConnection, Failure> {
        let advice = match server.addr() {
            ConnectionAddr::TcpTls { .. } => "; for an encrypted connection see ca_file in the URL, and that the port is the one for TLS",
            _ => "",
        };
        let unreachable = |error: RedisError| Failure::NotNow(format!("{} can't be reached: {error}{advice}", server.addr()));
        let client = Client::open(server.clone()).map_err(unreachable)?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout.min(Duration::from_secs(2))))
            .set_response_timeout(Some(answer_within));
        client.get_multiplexed_async_connection_with_config(&config).await.map_err(unreachable)
    }
}

/// One command that may be sent again, on a connection that is at hand.
pub(super) async fn ask(connection: &mut MultiplexedConnection, cmd: &Cmd) -> Result<Value, Failure> {
    match connection.req_packed_command(cmd).await {
        Ok(Value::ServerError(error)) => Err(Failure::of_answer(&error)),
        Ok(value) => Ok(value),
        Err(error) => match error.clone().into_server_errors().as_deref() {
            Some([(_, server_error), ..]) => Err(Failure::of_answer(server_error)),
            _ => Err(Failure::NotNow(error.to_string())),
        },
    }
}

/// Slots that are together on one master.
struct SlotRange {
    first: i64,
    last: i64,
    master: ConnectionInfo,
}

/// Servers, each once.
struct Distinct(Vec<ConnectionInfo>);

impl FromIterator<ConnectionInfo> for Distinct {
    fn from_iter<I: IntoIterator<Item = ConnectionInfo>>(servers: I) -> Self {
        let mut distinct: Vec<ConnectionInfo> = Vec::new();
        for server in servers {
            if distinct.iter().all(|known| known.addr() != server.addr()) {
                distinct.push(server);
            }
        }
        Self(distinct)
    }
}

/// Reads the answer to `CLUSTER SLOTS`: ranges with their masters, and all servers.
fn slots_in(answer: &Value, asked: &ConnectionInfo) -> Option<(Vec<SlotRange>, Vec<ConnectionInfo>)> {
    let Value::Array(ranges) = answer else { return None };
    let mut found = Vec::new();
    let mut servers = Vec::new();
    for range in ranges {
        let Value::Array(range) = range else { return None };
        let [Value::Int(first), Value::Int(last), nodes @ ..] = range.as_slice() else { return None };
        let mut of_range = Vec::new();
        for node in nodes {
            of_range.push(server_in(node, asked)?);
        }
        found.push(SlotRange { first: *first, last: *last, master: of_range.first()?.clone() });
        servers.extend(of_range);
    }
    Some((found, servers.into_iter().collect::<Distinct>().0))
}

fn server_in(node: &Value, asked: &ConnectionInfo) -> Option<ConnectionInfo> {
    let Value::Array(node) = node else { return None };
    let [host, Value::Int(port), ..] = node.as_slice() else { return None };
    let port = u16::try_from(*port).ok()?;
    let host = match host {
        Value::BulkString(host) => String::from_utf8(host.clone()).ok()?,
        Value::SimpleString(host) => host.clone(),
        _ => String::new(),
    };
    // A server that does not know its own address leaves it out: it is the one that was asked.
    if host.is_empty() || host == "?" {
        let asked_host = asked.addr().to_string();
        let (asked_host, _) = asked_host.rsplit_once(':')?;
        return Some(at(asked, asked_host, port));
    }
    Some(at(asked, &host, port))
}
