//! Rows in Redis hashes: what a batch changes is collected, and carried out on the server together with the position, or not at all.

mod rebuild;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::{ConnectionManager, ConnectionManagerConfig};
use ::redis::{Client, RedisError, Value};
use async_trait::async_trait;
use tokio::sync::OnceCell;

use super::target::{Build, Claim, Target, fenced, moved};
use crate::GlobalPosition;
use crate::error::{Error, Result};
use crate::subscription::ParkedEvent;

/// A Redis server that projections write hashes to. All keys of a projection begin with its name in braces, so that they stay together in a
/// cluster too. The hash `sums` of the projection `totals` is `{totals}:sums`; of a version that readers don't see, `{totals}:v2:sums`.
#[derive(Clone)]
pub struct RedisTarget {
    client: Client,
    /// Made anew by itself after the server was away.
    connection: Arc<OnceCell<ConnectionManager>>,
}

/// What is to change in the hashes of a projection.
#[derive(Debug)]
pub struct RedisRows {
    build: Build,
    /// With what the keys of this version begin.
    prefix: String,
    /// The hashes that are written to.
    hashes: BTreeSet<String>,
    /// Fence, position before, position after.
    step: [u64; 3],
    commands: Vec<Vec<Vec<u8>>>,
}

/// Carries commands out if the claim is the last one and the position is the one before. All of it is one step on the server.
const STEP: &str = "
local fence, position = redis.call('HGET', KEYS[1], 'fence') or '0', redis.call('HGET', KEYS[1], 'position') or '0'
if fence ~= ARGV[1] then return {'fenced', fence} end
if position ~= ARGV[2] then return {'moved', position} end
local at = 4
while at <= #ARGV do
  local count = tonumber(ARGV[at])
  redis.call(unpack(ARGV, at + 1, at + count))
  at = at + 1 + count
end
redis.call('HSET', KEYS[1], 'position', ARGV[3])
return {'done', ARGV[3]}";

/// Where a version is: with what its keys begin, its fence and its position. What readers see has no number in its keys.
const LOOK: &str = "
local prefix = ARGV[1]
if (redis.call('HGET', KEYS[1], 'version') or '1') ~= ARGV[2] then prefix = prefix .. 'v' .. ARGV[2] .. ':' end
local at = redis.call('HMGET', prefix .. 'projection', 'fence', 'position')
return {prefix, at[1] or '0', at[2] or '0'}";

/// Takes a version over, making it if it is not there. The first one is the one that readers see. No two claims have the same fence, whatever
/// version they are of.
const CLAIM: &str = "
if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('HSET', KEYS[1], 'version', ARGV[2]) end
local prefix = ARGV[1]
if (redis.call('HGET', KEYS[1], 'version') or '1') ~= ARGV[2] then
  prefix = prefix .. 'v' .. ARGV[2] .. ':'
  redis.call('HSET', KEYS[1], 'v' .. ARGV[2], '1')
end
local fence = redis.call('HINCRBY', KEYS[1], 'claims', 1)
redis.call('HSET', prefix .. 'projection', 'fence', fence)
return {prefix, tostring(fence), redis.call('HGET', prefix .. 'projection', 'position') or '0'}";

/// Changes or removes a field that has a value.
const CHANGE: &str = "
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
if ARGV[3] == '' then return redis.call('HDEL', KEYS[1], ARGV[1]) end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1";

/// Names of hashes that Factum keeps for itself, besides those of other versions.
const OWN: [&str; 3] = ["projection", "parked", "hashes"];

/// Refusals that pass by themselves, or once there is room: a server that starts, is slow, full, or about to be replaced.
const PASSING: [&str; 8] = ["LOADING", "BUSY", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN", "READONLY", "MISCONF", "OOM"];

/// So long an answer is waited for: a server that is busy, or saves, takes its time.
const TIMEOUT: Duration = Duration::from_secs(10);

/// So many arguments a call takes at most; the server's bound is 1,048,576.
const ARGUMENTS_MAX: usize = 1_000_000;

/// So many words a script hands to a command at most: Lua's stack has room for about 8,000.
const WORDS_MAX: usize = 7_000;

impl RedisTarget {
    /// A server by its URL.
    ///
    /// # Errors
    /// [`Error::Invalid`] if that is no URL of a Redis server.
    pub fn new(url: &str) -> Result<Self> {
        // What the driver says may hold the URL, and the URL a password.
        let client = Client::open(url).map_err(|_| Error::invalid("this Redis URL can't be read; it looks like redis://HOST:PORT"))?;
        Ok(Self { client, connection: Arc::default() })
    }

    async fn connection(&self) -> Result<ConnectionManager> {
        let patient = ConnectionManagerConfig::new()
            .set_number_of_retries(2)
            .set_connection_timeout(Some(TIMEOUT))
            .set_response_timeout(Some(TIMEOUT));
        let connect = || self.client.get_connection_manager_with_config(patient);
        Ok(self.connection.get_or_try_init(connect).await.map_err(|error| trouble(&error))?.clone())
    }

    /// The events that were put aside, in order, each with how it is kept.
    async fn kept_aside(&self, build: &Build) -> Result<Vec<(ParkedEvent, Vec<u8>)>> {
        let key = self.ask(LOOK, build).await?.prefix + "parked";
        let mut connection = self.connection().await?;
        let values: Vec<Vec<u8>> = ::redis::cmd("HVALS").arg(key).query_async(&mut connection).await.map_err(|error| trouble(&error))?;
        let parse = |value: Vec<u8>| match serde_json::from_slice::<ParkedEvent>(&value) {
            Ok(event) => Ok((event, value)),
            Err(error) => Err(Error::Corrupt {
                reason: format!("a parked event of projection {} can't be read", build.name),
                source: Some(error.into()),
            }),
        };
        let mut events: Vec<_> = values.into_iter().map(parse).collect::<Result<_>>()?;
        events.sort_by_key(|(event, _)| event.position);
        Ok(events)
    }

    /// Puts another in the place of a parked event, or nothing, if it is still kept as it was: it may have been applied meanwhile. Whether it was.
    async fn change_parked(&self, build: &Build, position: GlobalPosition, kept: &[u8], to: Option<&ParkedEvent>) -> Result<bool> {
        let key = self.ask(LOOK, build).await?.prefix + "parked";
        let mut connection = self.connection().await?;
        let mut call = ::redis::cmd("EVAL");
        call.arg(CHANGE).arg(1).arg(key).arg(position.to_string()).arg(kept).arg(to.map(json).unwrap_or_default());
        call.query_async(&mut connection).await.map_err(|error| trouble(&error))
    }

    /// Asks a script about a version; where that is.
    async fn ask(&self, script: &str, build: &Build) -> Result<At> {
        let mut connection = self.connection().await?;
        let mut call = ::redis::cmd("EVAL");
        call.arg(script).arg(1).arg(place(&build.name)).arg(base(&build.name)).arg(build.version);
        let (prefix, fence, position) = call.query_async(&mut connection).await.map_err(|error| trouble(&error))?;
        Ok(At { prefix, fence, position })
    }
}

/// Where a version is.
struct At {
    prefix: String,
    fence: u64,
    position: u64,
}

/// With what all keys of a projection begin.
fn base(name: &str) -> String {
    format!("{{{name}}}:")
}

/// Where it is kept how far the rows are that readers see, and which those are.
fn place(name: &str) -> String {
    format!("{{{name}}}:projection")
}

impl RedisRows {
    /// Sets a field of the hash of that name; the key is `{projection}:name`.
    pub fn set(&mut self, name: &str, field: &str, value: impl AsRef<[u8]>) {
        let key = self.written(name);
        self.commands.push(vec![b"HSET".to_vec(), key, field.into(), value.as_ref().to_vec()]);
    }

    /// Adds to a number in a field.
    pub fn add(&mut self, name: &str, field: &str, number: i64) {
        let key = self.written(name);
        self.commands.push(vec![b"HINCRBY".to_vec(), key, field.into(), number.to_string().into_bytes()]);
    }

    /// Removes a field.
    pub fn remove_field(&mut self, name: &str, field: &str) {
        let key = self.key(name);
        self.commands.push(vec![b"HDEL".to_vec(), key, field.into()]);
    }

    /// Removes a hash.
    pub fn remove(&mut self, name: &str) {
        let key = self.key(name);
        self.commands.push(vec![b"DEL".to_vec(), key]);
    }

    fn at(build: &Build, prefix: String, step: [u64; 3]) -> Self {
        Self { build: build.clone(), prefix, hashes: BTreeSet::new(), step, commands: Vec::new() }
    }

    fn key(&self, name: &str) -> Vec<u8> {
        format!("{}{name}", self.prefix).into_bytes()
    }

    /// The key of a hash that is there from now on.
    fn written(&mut self, name: &str) -> Vec<u8> {
        if !self.hashes.contains(name) {
            self.hashes.insert(name.to_owned());
        }
        self.key(name)
    }

    /// Has it written down which hashes there are, for whoever compares, switches and drops.
    fn note_hashes(&mut self) -> Result<()> {
        let is_versioned =
            |name: &str| name.strip_prefix('v').and_then(|name| name.split_once(':')).is_some_and(|(v, _)| v.parse::<u32>().is_ok());
        if let Some(name) = self.hashes.iter().find(|name| OWN.contains(&name.as_str()) || is_versioned(name)) {
            return Err(Error::invalid(format!("{name:?} is a hash that Factum keeps for itself; give yours another name")));
        }
        if !self.hashes.is_empty() {
            let names: Vec<Vec<u8>> = std::mem::take(&mut self.hashes).into_iter().map(String::into_bytes).collect();
            let add = [b"SADD".to_vec(), self.key("hashes")];
            self.commands.extend(names.chunks(WORDS_MAX).map(|names| [&add, names].concat()));
        }
        Ok(())
    }

    fn parked(&self) -> Vec<u8> {
        self.key("parked")
    }
}

#[async_trait]
impl Target for RedisTarget {
    type Rows = RedisRows;

    async fn live_version(&self, name: &str) -> Result<Option<u32>> {
        let mut connection = self.connection().await?;
        let found = ::redis::cmd("HGET").arg(place(name)).arg("version").query_async(&mut connection).await;
        found.map_err(|error| trouble(&error))
    }

    async fn claim(&self, build: &Build) -> Result<(RedisRows, Claim)> {
        let At { prefix, fence, position } = self.ask(CLAIM, build).await?;
        let rows = RedisRows::at(build, prefix, [fence, position, position]);
        Ok((rows, Claim { fence, position: GlobalPosition::from_number(position), is_new: position == 0 }))
    }

    async fn keep(&self, mut rows: RedisRows) -> Result<()> {
        rows.note_hashes()?;
        let mut connection = self.connection().await?;
        let mut call = ::redis::cmd("EVAL");
        call.arg(STEP).arg(1).arg(rows.key("projection"));
        rows.step.iter().for_each(|number| {
            call.arg(*number);
        });
        let count: usize = rows.commands.iter().map(|command| command.len() + 1).sum();
        if count > ARGUMENTS_MAX {
            return Err(Error::invalid(format!(
                "a batch changes too many fields at once ({count} arguments, {ARGUMENTS_MAX} at most); use a smaller batch_events_max"
            )));
        }
        for command in &rows.commands {
            call.arg(command.len());
            command.iter().for_each(|word| {
                call.arg(word);
            });
        }
        let answer: (String, Value) = call.query_async(&mut connection).await.map_err(|error| unanswered(&error))?;
        let number = ::redis::from_redis_value(answer.1).unwrap_or_default();
        let build = rows.build;
        let [fence, position, _] = rows.step;
        match answer.0.as_str() {
            "done" => Ok(()),
            "fenced" if self.ask(LOOK, &build).await?.fence == fence => Err(Error::Unavailable {
                reason: format!("version {} of projection {} has just become the one that readers see", build.version, build.name),
                source: None,
            }),
            "fenced" => Err(fenced(&build, fence, number)),
            _ => {
                let claim = Claim { fence, position: GlobalPosition::from_number(position), is_new: false };
                Err(moved(&build, &claim, GlobalPosition::from_number(number)))
            }
        }
    }

    async fn begin(&self, build: &Build, claim: Claim, to: GlobalPosition) -> Result<Option<RedisRows>> {
        let At { prefix, fence, position } = self.ask(LOOK, build).await?;
        if position == to.number() && to != claim.position {
            return if fence == claim.fence { Ok(None) } else { Err(fenced(build, claim.fence, fence)) };
        }
        Ok(Some(RedisRows::at(build, prefix, [claim.fence, claim.position.number(), to.number()])))
    }

    async fn park(&self, _build: &Build, rows: &mut RedisRows, event: &ParkedEvent) -> Result<()> {
        let field = event.position.to_string().into_bytes();
        rows.commands.push(vec![b"HSET".to_vec(), rows.parked(), field, json(event)]);
        Ok(())
    }

    async fn parked(&self, build: &Build) -> Result<Vec<ParkedEvent>> {
        Ok(self.kept_aside(build).await?.into_iter().map(|(event, _)| event).collect())
    }

    async fn unpark(&self, _build: &Build, rows: &mut RedisRows, position: GlobalPosition) -> Result<()> {
        rows.commands.push(vec![b"HDEL".to_vec(), rows.parked(), position.to_string().into_bytes()]);
        Ok(())
    }

    async fn ask_for_replay(&self, build: &Build, position: Option<GlobalPosition>, wanted: bool) -> Result<usize> {
        let mut count = 0;
        for (mut event, kept) in self.kept_aside(build).await? {
            if position.is_none_or(|position| event.position == position) {
                event.replay = wanted;
                count += usize::from(self.change_parked(build, event.position, &kept, Some(&event)).await?);
            }
        }
        Ok(count)
    }

    async fn asked_for(&self, name: &str) -> Result<Option<u32>> {
        let mut connection = self.connection().await?;
        let found = ::redis::cmd("HMGET").arg(place(name)).arg("version").arg("asked").query_async(&mut connection).await;
        let (live, asked): (Option<u32>, Option<u32>) = found.map_err(|error| trouble(&error))?;
        Ok(asked.filter(|asked| live.is_some_and(|live| *asked > live)))
    }

    async fn position(&self, name: &str) -> Result<GlobalPosition> {
        let mut connection = self.connection().await?;
        let found = ::redis::cmd("HGET").arg(place(name)).arg("position").query_async(&mut connection).await;
        let position: Option<u64> = found.map_err(|error| trouble(&error))?;
        Ok(GlobalPosition::from_number(position.unwrap_or_default()))
    }
}

fn json(event: &ParkedEvent) -> Vec<u8> {
    serde_json::to_vec(event).expect("a parked event can be written as JSON")
}

fn trouble(error: &RedisError) -> Error {
    let is_passing = error.code().is_some_and(|code| PASSING.contains(&code));
    if is_passing || error.is_io_error() || error.is_timeout() || error.is_connection_dropped() {
        return Error::Unavailable { reason: format!("the projection's Redis server can't be used: {error}"), source: None };
    }
    Error::invalid(format!("the projection's Redis server refuses: {error}"))
}

/// Without an answer nobody knows whether it was carried out; whoever tries again finds the position where it is.
fn unanswered(error: &RedisError) -> Error {
    match trouble(error) {
        Error::Unavailable { reason, source } => Error::OutcomeUnknown { reason, source },
        error => error,
    }
}

impl std::fmt::Debug for RedisTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisTarget").finish_non_exhaustive()
    }
}
