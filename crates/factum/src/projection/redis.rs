//! Rows in Redis hashes: what a batch changes is collected, and carried out on the server together with the position, or not at all.

use std::sync::Arc;

use ::redis::aio::MultiplexedConnection;
use ::redis::{Client, RedisError, Value};
use async_trait::async_trait;
use tokio::sync::OnceCell;

use super::target::{Build, Claim, Target, fenced, moved};
use crate::GlobalPosition;
use crate::error::{Error, Result};
use crate::subscription::ParkedEvent;

/// A Redis server that projections write hashes to. All keys of a projection begin with its name in braces, so that they stay together in a
/// cluster too.
#[derive(Clone)]
pub struct RedisTarget {
    client: Client,
    connection: Arc<OnceCell<MultiplexedConnection>>,
}

/// What is to change in the hashes of a projection.
#[derive(Debug)]
pub struct RedisRows {
    prefix: String,
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

/// So many arguments a script's step takes at most.
const ARGUMENTS_MAX: usize = 7_000;

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

    async fn connection(&self) -> Result<MultiplexedConnection> {
        let connect = || self.client.get_multiplexed_async_connection();
        Ok(self.connection.get_or_try_init(connect).await.map_err(|error| trouble(&error))?.clone())
    }

    async fn field(&self, name: &str, field: &str) -> Result<u64> {
        let mut connection = self.connection().await?;
        let found: Option<u64> =
            ::redis::cmd("HGET").arg(place(name)).arg(field).query_async(&mut connection).await.map_err(|error| trouble(&error))?;
        Ok(found.unwrap_or_default())
    }
}

/// Where the position of a projection is.
fn place(name: &str) -> String {
    format!("{{{name}}}:projection")
}

impl RedisRows {
    /// Sets a field of the hash of that name; the key is `{projection}:name`.
    pub fn set(&mut self, name: &str, field: &str, value: impl AsRef<[u8]>) {
        let key = self.key(name);
        self.commands.push(vec![b"HSET".to_vec(), key, field.into(), value.as_ref().to_vec()]);
    }

    /// Adds to a number in a field.
    pub fn add(&mut self, name: &str, field: &str, number: i64) {
        let key = self.key(name);
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

    fn key(&self, name: &str) -> Vec<u8> {
        format!("{{{}}}:{name}", self.prefix).into_bytes()
    }

    fn parked(&self) -> Vec<u8> {
        self.key("parked")
    }
}

#[async_trait]
impl Target for RedisTarget {
    type Rows = RedisRows;

    async fn live_version(&self, _name: &str) -> Result<Option<u32>> {
        Ok(Some(1))
    }

    async fn claim(&self, build: &Build) -> Result<(RedisRows, Claim)> {
        let mut connection = self.connection().await?;
        let key = place(&build.name);
        let fence: u64 =
            ::redis::cmd("HINCRBY").arg(&key).arg("fence").arg(1).query_async(&mut connection).await.map_err(|error| trouble(&error))?;
        let position = self.field(&build.name, "position").await?;
        let rows = RedisRows { prefix: build.name.clone(), step: [fence, position, position], commands: Vec::new() };
        Ok((rows, Claim { fence, position: GlobalPosition::from_number(position), is_new: position == 0 }))
    }

    async fn keep(&self, rows: RedisRows) -> Result<()> {
        let mut connection = self.connection().await?;
        let mut call = ::redis::cmd("EVAL");
        call.arg(STEP).arg(1).arg(place(&rows.prefix));
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
        let build = Build { name: rows.prefix, version: 1, tables: Vec::new() };
        let [fence, position, _] = rows.step;
        match answer.0.as_str() {
            "done" => Ok(()),
            "fenced" => Err(fenced(&build, fence, number)),
            _ => {
                let claim = Claim { fence, position: GlobalPosition::from_number(position), is_new: false };
                Err(moved(&build, &claim, GlobalPosition::from_number(number)))
            }
        }
    }

    async fn begin(&self, build: &Build, claim: Claim, to: GlobalPosition) -> Result<Option<RedisRows>> {
        let position = self.field(&build.name, "position").await?;
        if position == to.number() && to != claim.position {
            let fence = self.field(&build.name, "fence").await?;
            return if fence == claim.fence { Ok(None) } else { Err(fenced(build, claim.fence, fence)) };
        }
        let step = [claim.fence, claim.position.number(), to.number()];
        Ok(Some(RedisRows { prefix: build.name.clone(), step, commands: Vec::new() }))
    }

    async fn park(&self, _build: &Build, rows: &mut RedisRows, event: &ParkedEvent) -> Result<()> {
        let value = serde_json::to_vec(event).expect("a parked event can be written as JSON");
        let field = event.position.to_string().into_bytes();
        rows.commands.push(vec![b"HSET".to_vec(), rows.parked(), field, value]);
        Ok(())
    }

    async fn parked(&self, build: &Build) -> Result<Vec<ParkedEvent>> {
        let mut connection = self.connection().await?;
        let key = format!("{{{}}}:parked", build.name);
        let values: Vec<Vec<u8>> = ::redis::cmd("HVALS").arg(key).query_async(&mut connection).await.map_err(|error| trouble(&error))?;
        let parse = |value: Vec<u8>| {
            serde_json::from_slice(&value).map_err(|error| Error::Corrupt {
                reason: format!("a parked event of projection {} can't be read", build.name),
                source: Some(error.into()),
            })
        };
        let mut events: Vec<ParkedEvent> = values.into_iter().map(parse).collect::<Result<_>>()?;
        events.sort_by_key(|event| event.position);
        Ok(events)
    }

    async fn unpark(&self, _build: &Build, rows: &mut RedisRows, position: GlobalPosition) -> Result<()> {
        rows.commands.push(vec![b"HDEL".to_vec(), rows.parked(), position.to_string().into_bytes()]);
        Ok(())
    }

    async fn ask_for_replay(&self, build: &Build, position: Option<GlobalPosition>, wanted: bool) -> Result<usize> {
        let mut connection = self.connection().await?;
        let key = format!("{{{}}}:parked", build.name);
        let mut count = 0;
        for mut event in self.parked(build).await? {
            if position.is_none_or(|position| event.position == position) {
                event.replay = wanted;
                let value = serde_json::to_vec(&event).expect("a parked event can be written as JSON");
                let set = ::redis::cmd("HSET").arg(&key).arg(event.position.to_string()).arg(value).query_async(&mut connection).await;
                let _: () = set.map_err(|error| trouble(&error))?;
                count += 1;
            }
        }
        Ok(count)
    }

    async fn position(&self, name: &str) -> Result<GlobalPosition> {
        Ok(GlobalPosition::from_number(self.field(name, "position").await?))
    }
}

fn trouble(error: &RedisError) -> Error {
    if error.is_io_error() || error.is_timeout() || error.is_connection_dropped() {
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
