//! What a `redis:` URL says: where the servers are, and Factum's own options behind the `?`.

use std::path::PathBuf;
use std::time::Duration;

use redis::{Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, TlsCertificates};

use crate::error::{Error, Result};

/// What the server must be configured to keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Whatever the server is configured to keep; a warning says so where that is less than every acknowledged event.
    #[default]
    AsConfigured,
    /// The same without the warning.
    Any,
    /// An append-only file that is synced every second at least.
    EverySecond,
    /// An append-only file that is synced before each answer.
    Always,
}

/// How to open a store on Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisOptions {
    /// What the store is called; several stores on one server have several names. All keys begin with it.
    pub name: String,
    /// How many partitions a new store gets; `None` for one, or for as many as the store has.
    pub partitions: Option<u32>,
    /// What the server must keep.
    pub durability: Durability,
    /// How many replicas must have an append before it is acknowledged.
    pub wait: u32,
    /// Makes the store if there is none.
    pub create: bool,
    /// How long to wait for an answer, and for a server that can't answer now.
    pub timeout: Duration,
    /// For `rediss`: a file with the certificates, in PEM, of those who may vouch for the server; the system's if there is none.
    pub ca_file: Option<PathBuf>,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self {
            name: "factum".to_owned(),
            partitions: None,
            durability: Durability::AsConfigured,
            wait: 0,
            create: true,
            timeout: Duration::from_secs(5),
            ca_file: None,
        }
    }
}

/// The most partitions that a store can have.
pub const PARTITIONS_MAX: u32 = 1_024;

/// A URL, taken apart.
#[derive(Clone, Debug)]
pub(super) struct RedisUrl {
    /// Where to begin; of a cluster any of its servers.
    pub(super) servers: Vec<ConnectionInfo>,
    pub(super) is_cluster: bool,
    pub(super) options: RedisOptions,
}

impl RedisUrl {
    /// Takes a URL apart whose scheme is `redis` or `rediss`, perhaps with `+cluster` behind it.
    pub(super) fn parse(url: &str) -> Result<Self> {
        let (scheme, rest) = url
            .split_once("://")
            .ok_or_else(|| Error::invalid("a Redis URL looks like redis://HOST:PORT or redis+cluster://HOST:PORT,HOST:PORT".to_owned()))?;
        let (tls, is_cluster) = match scheme {
            "redis" => ("redis", false),
            "rediss" => ("rediss", false),
            "redis+cluster" => ("redis", true),
            "rediss+cluster" => ("rediss", true),
            _ => {
                return Err(Error::invalid(format!(
                    "{scheme}:// is not a scheme of Redis; use redis:// or redis+cluster://, or rediss for an encrypted connection"
                )));
            }
        };
        let (place, options) = rest.split_once('?').unwrap_or((rest, ""));
        let (credentials, hosts) = place.rsplit_once('@').map_or(("", place), |(credentials, hosts)| (credentials, hosts));
        let (hosts, database) = hosts.split_once('/').unwrap_or((hosts, ""));
        if is_cluster && !matches!(database, "" | "0") {
            return Err(Error::invalid("a Redis cluster has only database 0; use ?name=NAME for several stores"));
        }
        let at = if place.contains('@') { format!("{credentials}@") } else { String::new() };
        let mut servers = Vec::new();
        for host in hosts.split(',') {
            servers.push(server(&format!("{tls}://{at}{host}/{database}"))?);
        }
        if servers.len() > 1 && !is_cluster {
            return Err(Error::invalid("redis:// names one server; use redis+cluster:// for a cluster"));
        }
        let options = RedisOptions::parse(options)?;
        if let Some(file) = &options.ca_file {
            if tls == "redis" {
                return Err(Error::invalid("ca_file is for an encrypted connection; the URL begins with rediss://"));
            }
            servers = servers.into_iter().map(|server| vouched_for(server, file)).collect::<Result<_>>()?;
        }
        Ok(Self { servers, is_cluster, options })
    }
}

fn server(url: &str) -> Result<ConnectionInfo> {
    // The driver's message may hold the URL, and the URL a password.
    let info = url.into_connection_info().map_err(|error| Error::invalid(format!("this Redis URL can't be read: {}", error.category())))?;
    let settings = info.redis_settings().clone().set_lib_name("factum", env!("CARGO_PKG_VERSION"));
    Ok(info.set_redis_settings(settings))
}

/// A server that only those in the file may vouch for.
fn vouched_for(server: ConnectionInfo, file: &PathBuf) -> Result<ConnectionInfo> {
    let unread = |why: String| Error::invalid(format!("ca_file {} can't be used: {why}; it has certificates in PEM", file.display()));
    let root_cert = Some(std::fs::read(file).map_err(|error| unread(error.to_string()))?);
    let certificates = TlsCertificates { client_tls: None, root_cert };
    let client = Client::build_with_tls(server, certificates).map_err(|error| unread(error.to_string()))?;
    Ok(client.get_connection_info().clone())
}

/// The same way in, to the server at another address.
pub(super) fn at(info: &ConnectionInfo, host: &str, port: u16) -> ConnectionInfo {
    let addr = match info.addr() {
        ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
            ConnectionAddr::TcpTls { host: host.to_owned(), port, insecure: *insecure, tls_params: tls_params.clone() }
        }
        _ => ConnectionAddr::Tcp(host.to_owned(), port),
    };
    info.clone().set_addr(addr)
}

impl RedisOptions {
    fn parse(options: &str) -> Result<Self> {
        let mut parsed = Self::default();
        for pair in options.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "name" => parsed.name = store_name(value)?,
                "partitions" => parsed.partitions = Some(number(name, value, 1, PARTITIONS_MAX)?),
                "wait" => parsed.wait = number(name, value, 0, 16)?,
                "timeout_ms" => parsed.timeout = Duration::from_millis(number(name, value, 10, 600_000)?.into()),
                "durability" => {
                    parsed.durability = match value {
                        "always" => Durability::Always,
                        "everysec" => Durability::EverySecond,
                        "any" => Durability::Any,
                        _ => return Err(Error::invalid(format!("durability is always, everysec or any, not {value:?}"))),
                    }
                }
                "ca_file" if !value.is_empty() => parsed.ca_file = Some(value.into()),
                "create" => {
                    parsed.create = match value {
                        "true" => true,
                        "false" => false,
                        _ => return Err(Error::invalid(format!("create is true or false, not {value:?}"))),
                    }
                }
                _ => {
                    let known = "name, partitions, durability, wait, create, timeout_ms, ca_file";
                    return Err(Error::invalid(format!("redis: has no option {name:?}; it has {known}")));
                }
            }
        }
        Ok(parsed)
    }
}

/// Names stand in keys, within the braces that decide a key's slot.
fn store_name(value: &str) -> Result<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if value.is_empty() || value.len() > 64 || !value.chars().all(fits) {
        return Err(Error::invalid(format!("name is 1 to 64 letters, digits, -, _ and ., not {value:?}")));
    }
    Ok(value.to_owned())
}

fn number(name: &str, value: &str, min: u32, max: u32) -> Result<u32> {
    let parsed = value.parse().ok().filter(|number| (min..=max).contains(number));
    parsed.ok_or_else(|| Error::invalid(format!("{name} is a number from {min} to {max}, not {value:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_unknown_ones_refused() {
        let url = RedisUrl::parse("redis://localhost:7000/2?name=shop&durability=always&wait=1&partitions=4&timeout_ms=50").expect("valid");
        let expected = RedisOptions {
            name: "shop".to_owned(),
            partitions: Some(4),
            durability: Durability::Always,
            wait: 1,
            create: true,
            timeout: Duration::from_millis(50),
            ca_file: None,
        };
        assert_eq!(url.options, expected);
        assert_eq!(url.servers[0].redis_settings().db(), 2);
        for wrong in ["fsync=always", "durability=sometimes", "name=a{b", "name=", "partitions=0", "wait=x", "create=maybe", "ca_file=x"] {
            assert!(matches!(RedisUrl::parse(&format!("redis://localhost?{wrong}")), Err(Error::Invalid { .. })), "{wrong} was taken");
        }
    }

    #[test]
    fn a_cluster_has_several_servers_and_a_password() {
        let url = RedisUrl::parse("redis+cluster://ann:pa%40ss@one:7000,two:7001").expect("valid");
        assert!(url.is_cluster);
        let places: Vec<_> = url.servers.iter().map(|server| server.addr().to_string()).collect();
        assert_eq!(places, ["one:7000", "two:7001"]);
        assert!(url.servers.iter().all(|server| server.redis_settings().password() == Some("pa@ss")));
        assert!(RedisUrl::parse("redis://one:7000,two:7001").is_err());
        assert!(RedisUrl::parse("redis+cluster://one:7000/3").is_err());
    }

    #[test]
    fn what_is_said_of_a_wrong_url_holds_no_password() {
        let error = RedisUrl::parse("redis://ann:secret@one:port").expect_err("a port is a number");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
