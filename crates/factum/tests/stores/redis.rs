//! The store on Redis: on one server, in a cluster, and as several partitions. Each place is a store of another name.

use std::sync::{Arc, Mutex};

use factum::conformance::Subject;
use factum::{Result, SharedStore};
use factum_servers::{RedisCluster, RedisServer};

use super::{Missing, Stores};

/// Servers that are started when the first store is opened.
struct OnRedis {
    name: &'static str,
    start: Start,
    options: &'static str,
    servers: Mutex<Option<Servers>>,
}

struct Servers {
    url: String,
    all: Vec<RedisServer>,
    _cluster: Option<RedisCluster>,
}

type Start = fn() -> std::io::Result<Servers>;

/// What each column is called, what it runs on, and what its URLs say besides.
const COLUMNS: [(&str, Start, &str); 3] =
    [("redis", one, ""), ("redis cluster", three, ""), ("redis cluster, 5 partitions", three, "&partitions=5")];

pub(super) fn add(stores: &mut Stores) {
    for (name, start, options) in COLUMNS {
        match RedisServer::missing() {
            None => stores.here.push(Arc::new(OnRedis { name, start, options, servers: Mutex::default() })),
            Some(reason) => stores.missing.push(Missing { name, reason: reason.to_owned() }),
        }
    }
}

fn one() -> std::io::Result<Servers> {
    let server = RedisServer::start()?;
    Ok(Servers { url: server.url(), all: vec![server], _cluster: None })
}

fn three() -> std::io::Result<Servers> {
    let cluster = RedisCluster::start(0)?;
    Ok(Servers { url: cluster.url(), all: Vec::new(), _cluster: Some(cluster) })
}

/// Removes the keys of one store.
const REMOVE: &str = "for _, key in ipairs(redis.call('KEYS', ARGV[1])) do redis.call('UNLINK', key) end";

#[async_trait::async_trait]
impl Subject for OnRedis {
    fn name(&self) -> &str {
        self.name
    }

    async fn open(&self, place: &str) -> Result<SharedStore> {
        let url = {
            let mut servers = self.servers.lock().expect("no holder of this lock panics");
            let servers = servers.get_or_insert_with(|| (self.start)().expect("the servers start"));
            servers.url.clone()
        };
        factum::connect(&format!("{url}?name={place}&durability=always{}", self.options)).await
    }

    async fn discard(&self, place: &str) {
        let servers = self.servers.lock().expect("no holder of this lock panics");
        for server in servers.iter().flat_map(|servers| &servers.all) {
            // What remains costs memory of a server that is stopped soon.
            _ = server.ask(&["EVAL", REMOVE, "0", &format!("{{{place}:*")]);
        }
    }
}
