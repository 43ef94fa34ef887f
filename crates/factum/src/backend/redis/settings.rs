//! What a server is really configured to keep, and whether that is enough.

use redis::aio::MultiplexedConnection;
use redis::{ConnectionInfo, Value};

use super::error::{Failure, unavailable};
use super::servers::{Servers, ask};
use super::url::{Durability, RedisOptions};
use crate::error::Result;

/// The settings that decide what survives, as far as the server tells them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    appendonly: Option<String>,
    appendfsync: Option<String>,
    maxmemory: Option<String>,
    maxmemory_policy: Option<String>,
    role: Option<String>,
    replicas: u32,
}

/// Looks at every master's settings; refuses what the options rule out, warns of the rest, and says in words what survives.
pub(super) async fn check(servers: &Servers, options: &RedisOptions) -> Result<&'static str> {
    let masters = servers.masters().await.map_err(Failure::into_error)?;
    let mut weakest = usize::MAX;
    for master in &masters {
        let settings = read(servers, master).await.map_err(Failure::into_error)?;
        let place = master.addr().to_string();
        settings.refuse_what_loses(&place, options)?;
        let strength = settings.strength();
        if options.durability == Durability::AsConfigured
            && strength < weakest
            && let Some(warning) = settings.warning(&place)
        {
            tracing::warn!("{warning}");
        }
        weakest = weakest.min(strength);
    }
    Ok(words(weakest.min(3), options.wait > 0))
}

async fn read(servers: &Servers, server: &ConnectionInfo) -> Result<Settings, Failure> {
    let mut connection = servers.connect_to(server, servers.timeout()).await?;
    let mut settings = Settings::default();
    // INFO is allowed where CONFIG is not, and says nearly as much.
    for section in ["persistence", "memory", "replication"] {
        if let Ok(info) = ask(&mut connection, redis::cmd("INFO").arg(section)).await {
            settings.read_info(&info);
        }
    }
    for (name, field) in [
        ("appendonly", &mut settings.appendonly),
        ("appendfsync", &mut settings.appendfsync),
        ("maxmemory", &mut settings.maxmemory),
        ("maxmemory-policy", &mut settings.maxmemory_policy),
    ] {
        if let Some(value) = config(&mut connection, name).await? {
            *field = Some(value);
        }
    }
    Ok(settings)
}

/// One setting; `None` where the server does not tell.
async fn config(connection: &mut MultiplexedConnection, name: &str) -> Result<Option<String>, Failure> {
    match ask(connection, redis::cmd("CONFIG").arg("GET").arg(name)).await {
        Ok(Value::Array(pair)) => match pair.get(1) {
            Some(Value::BulkString(value)) => Ok(Some(String::from_utf8_lossy(value).into_owned())),
            _ => Ok(None),
        },
        Ok(_) | Err(Failure::Refused(_)) => Ok(None),
        Err(other) => Err(other),
    }
}

impl Settings {
    fn read_info(&mut self, info: &Value) {
        let info = match info {
            Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Value::VerbatimString { text, .. } => text.clone(),
            _ => return,
        };
        for line in info.lines() {
            let Some((name, value)) = line.trim().split_once(':') else { continue };
            match name {
                "aof_enabled" => self.appendonly = Some(if value == "1" { "yes" } else { "no" }.to_owned()),
                "maxmemory" => self.maxmemory = Some(value.to_owned()),
                "maxmemory_policy" => self.maxmemory_policy = Some(value.to_owned()),
                "role" => self.role = Some(value.to_owned()),
                "connected_slaves" => self.replicas = value.parse().unwrap_or(0),
                _ => {}
            }
        }
    }

    fn refuse_what_loses(&self, place: &str, options: &RedisOptions) -> Result<()> {
        if self.role.as_deref() == Some("slave") {
            return Err(unavailable(format!("{place} is a replica, which may lag behind and can't be written to; name its master")));
        }
        // The other policies only take keys that have an expiry, which no key of a store has.
        let policy = self.maxmemory_policy.as_deref().unwrap_or("");
        if policy.starts_with("allkeys") {
            return Err(unavailable(format!(
                "{place} has maxmemory-policy {policy}, which drops events when memory runs out; set it to noeviction"
            )));
        }
        let asked = match options.durability {
            Durability::Always => 3,
            Durability::EverySecond => 2,
            Durability::AsConfigured | Durability::Any => 0,
        };
        if self.strength() < asked {
            let wish = if asked == 3 { "always" } else { "everysec" };
            return Err(unavailable(format!("durability={wish} was asked for, but {place} {}", self.shortfall(asked))));
        }
        if self.replicas < options.wait {
            let (wait, have) = (options.wait, self.replicas);
            return Err(unavailable(format!("wait={wait} was asked for, but {place} has {have} replicas; add some, or leave wait out")));
        }
        Ok(())
    }

    /// 0 for memory only, 1 for unknown, 2 for a sync every second, 3 for a sync before each answer.
    fn strength(&self) -> usize {
        match (self.appendonly.as_deref(), self.appendfsync.as_deref()) {
            (Some("no"), _) => 0,
            (Some("yes"), Some("always")) => 3,
            (Some("yes"), Some("everysec")) => 2,
            (Some("yes"), Some("no")) => 0,
            _ => 1,
        }
    }

    /// Which setting is not enough, and what to set it to.
    fn shortfall(&self, asked: usize) -> String {
        match (self.appendonly.as_deref(), self.appendfsync.as_deref()) {
            (Some("no"), _) => "has appendonly no; set it to yes".to_owned(),
            (None, _) => "does not tell whether appendonly is yes; allow this user CONFIG GET".to_owned(),
            (_, None) => "does not tell its appendfsync; allow this user CONFIG GET".to_owned(),
            (_, Some(other)) => format!("has appendfsync {other}; set it to {}", if asked == 3 { "always" } else { "everysec" }),
        }
    }

    /// What may be lost, in words, if anything may.
    fn warning(&self, place: &str) -> Option<String> {
        let hint = "; say durability=always to refuse such a server, or durability=any not to be told";
        match self.strength() {
            3 => None,
            2 => Some(format!(
                "{place} syncs its log once a second (appendfsync everysec): a power failure may take the last second of acknowledged events{hint}"
            )),
            1 => Some(format!("{place} {}: it is not known what acknowledged events survive{hint}", self.shortfall(3))),
            _ => Some(format!("{place} {}: acknowledged events may be lost when it stops{hint}", self.shortfall(3))),
        }
    }
}

fn words(strength: usize, has_replicas: bool) -> &'static str {
    match (strength, has_replicas) {
        (3, false) => "on the server's disk before the answer: appendfsync always",
        (2, false) => "a stop of the server, but for its last second: appendfsync everysec",
        (1, false) => "what the server is configured to keep; it does not say",
        (_, false) => "nothing: the server keeps it in memory, perhaps with snapshots",
        (3, true) => "on the server's disk and in replicas before the answer: appendfsync always, wait",
        (2, true) => "in replicas before the answer, on disk a second later: appendfsync everysec, wait",
        (_, true) => "in the memory of replicas before the answer: wait",
    }
}
