//! A Redis cluster of three masters, with a replica each if asked.

use std::io;
use std::time::{Duration, Instant};

use crate::{Authority, RedisServer, free_port};

const SLOTS: usize = 16_384;
const MASTERS: usize = 3;
/// How long the servers may take to agree.
const AGREE_MAX: Duration = Duration::from_secs(60);

/// A running cluster; dropping it stops its servers and deletes their files.
#[derive(Debug)]
pub struct RedisCluster {
    /// Three masters, then their replicas in the same order.
    servers: Vec<RedisServer>,
    /// The ports on which they talk to each other.
    buses: Vec<String>,
    /// The ports on which they speak TLS, if they do.
    encrypted: Vec<u16>,
}

impl RedisCluster {
    /// Starts three masters, each with so many replicas, that sync their logs before each answer.
    ///
    /// # Errors
    /// If the servers don't start, or don't agree in time.
    pub fn start(replicas: usize) -> io::Result<Self> {
        Self::start_with(replicas, &[])
    }

    /// The same with other settings.
    ///
    /// # Errors
    /// As [`RedisCluster::start`].
    pub fn start_with(replicas: usize, settings: &[(&str, &str)]) -> io::Result<Self> {
        Self::start_as(replicas, settings, None)
    }

    /// Starts three masters that speak TLS, with each other too, with a certificate of this authority.
    ///
    /// # Errors
    /// As [`RedisCluster::start`].
    pub fn start_with_tls(authority: &Authority) -> io::Result<Self> {
        Self::start_as(0, &[("tls-cluster", "yes")], Some(authority))
    }

    fn start_as(replicas: usize, settings: &[(&str, &str)], authority: Option<&Authority>) -> io::Result<Self> {
        let mut cluster = Self { servers: Vec::new(), buses: Vec::new(), encrypted: Vec::new() };
        for _ in 0..MASTERS * (1 + replicas) {
            let bus = free_port()?;
            let bus_text = bus.to_string();
            let mut all = vec![("cluster-enabled", "yes"), ("cluster-node-timeout", "1500"), ("repl-diskless-sync-delay", "0")];
            all.push(("cluster-port", &bus_text));
            all.extend_from_slice(settings);
            let server = match authority {
                None => RedisServer::start_with(&all)?,
                Some(authority) => {
                    let (server, port) = RedisServer::start_with_tls_and(authority, &all)?;
                    cluster.encrypted.push(port);
                    server
                }
            };
            cluster.servers.push(server);
            cluster.buses.push(bus_text);
        }
        cluster.join()?;
        Ok(cluster)
    }

    /// `redis+cluster://…`, naming all of them.
    pub fn url(&self) -> String {
        let places: Vec<_> = self.servers.iter().map(|server| format!("127.0.0.1:{}", server.port())).collect();
        format!("redis+cluster://{}", places.join(","))
    }

    /// `rediss+cluster://…`, naming the first: it knows the others.
    pub fn encrypted_url(&self) -> Option<String> {
        self.encrypted.first().map(|port| format!("rediss+cluster://127.0.0.1:{port}"))
    }

    /// Its servers: three masters as it was started, then the replicas of the first, the second and so on.
    pub fn servers(&mut self) -> &mut [RedisServer] {
        &mut self.servers
    }

    fn join(&self) -> io::Result<()> {
        let first = &self.servers[0];
        for (number, server) in self.servers.iter().enumerate() {
            server.expect_ok(&["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()])?;
            if number < MASTERS {
                let (from, to) = (SLOTS * number / MASTERS, SLOTS * (number + 1) / MASTERS - 1);
                server.expect_ok(&["CLUSTER", "ADDSLOTSRANGE", &from.to_string(), &to.to_string()])?;
            }
            if number > 0 {
                server.expect_ok(&["CLUSTER", "MEET", "127.0.0.1", &first.port().to_string(), &self.buses[0]])?;
            }
        }
        let count = self.servers.len();
        self.wait(|server| Ok(server.ask(&["CLUSTER", "INFO"])?.contains(&format!("cluster_known_nodes:{count}"))))?;
        for (number, replica) in self.servers.iter().enumerate().skip(MASTERS) {
            let id = self.servers[number % MASTERS].id()?;
            let deadline = Instant::now() + AGREE_MAX;
            // A replica may not have heard of its master yet.
            while let Err(error) = replica.expect_ok(&["CLUSTER", "REPLICATE", &id]) {
                if Instant::now() > deadline {
                    return Err(error);
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        self.wait(|server| Ok(server.ask(&["CLUSTER", "INFO"])?.contains("cluster_state:ok")))?;
        let replicas = count / MASTERS - 1;
        let synced = format!("connected_slaves:{replicas}");
        for master in &self.servers[..MASTERS] {
            wait_for(master, |server| {
                let info = server.ask(&["INFO", "replication"])?;
                Ok(info.contains(&synced) && info.matches("state=online").count() == replicas)
            })?;
        }
        Ok(())
    }

    fn wait(&self, agreed: impl Fn(&RedisServer) -> io::Result<bool>) -> io::Result<()> {
        self.servers.iter().try_for_each(|server| wait_for(server, &agreed))
    }
}

fn wait_for(server: &RedisServer, agreed: impl Fn(&RedisServer) -> io::Result<bool>) -> io::Result<()> {
    let deadline = Instant::now() + AGREE_MAX;
    while !agreed(server)? {
        if Instant::now() > deadline {
            return Err(io::Error::other(format!("the cluster does not agree: {}", server.ask(&["CLUSTER", "NODES"])?)));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

impl RedisServer {
    fn expect_ok(&self, words: &[&str]) -> io::Result<()> {
        let answer = self.ask(words)?;
        if answer.starts_with("+OK") { Ok(()) } else { Err(io::Error::other(format!("{words:?}: {answer}"))) }
    }

    /// What the cluster calls it.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn id(&self) -> io::Result<String> {
        let answer = self.ask(&["CLUSTER", "MYID"])?;
        answer.lines().nth(1).map(str::to_owned).ok_or_else(|| io::Error::other(answer.clone()))
    }
}
