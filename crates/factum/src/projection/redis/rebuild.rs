//! Rebuilding hashes beside the ones that readers see: filled under keys of their own, compared, and renamed all at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::{LOOK, RedisRows, RedisTarget, base, place, trouble, unanswered};
use crate::GlobalPosition;
use crate::error::{Error, Result};
use crate::projection::target::{Build, Target, fenced};
use crate::projection::versions::{found, live_and_newest, live_build, not_level, to_build};
use crate::projection::{BuildState, Comparison, EXAMPLES, PATIENCE, Projection, Projector, Rebuild, TableDifference, Versions};
use crate::subscription::ParkedEvent;

/// Renames the hashes of what readers see, and then those of the new version to their places, if nobody has taken that over and it is not
/// behind. The old version's claims are over.
const SWITCH: &str = "
local base, new, fence = ARGV[1], ARGV[2], ARGV[3]
local live = redis.call('HGET', KEYS[1], 'version') or '1'
if live == new then return {'done', '0'} end
local from, to = base .. 'v' .. new .. ':', base .. 'v' .. live .. ':'
local function is_less(a, b) return #a < #b or (#a == #b and a < b) end
local claimed = redis.call('HGET', from .. 'projection', 'fence') or '0'
if claimed ~= fence then return {'fenced', claimed} end
local position = redis.call('HGET', KEYS[1], 'position') or '0'
if is_less(redis.call('HGET', from .. 'projection', 'position') or '0', position) then return {'behind', position} end
local kept = redis.call('HGETALL', KEYS[1])
local function move(one, other)
  local names = redis.call('SMEMBERS', one .. 'hashes')
  for _, name in ipairs({'hashes', 'parked', 'projection'}) do table.insert(names, name) end
  for _, name in ipairs(names) do
    if redis.call('EXISTS', one .. name) == 1 then redis.call('RENAME', one .. name, other .. name) end
  end
end
move(base, to)
move(from, base)
for at = 1, #kept, 2 do
  if kept[at] == 'claims' or string.match(kept[at], '^v%d+$') then
    redis.call('HSET', KEYS[1], kept[at], kept[at + 1])
    redis.call('HDEL', to .. 'projection', kept[at])
  end
end
redis.call('HDEL', to .. 'projection', 'version')
redis.call('HSET', to .. 'projection', 'fence', redis.call('HINCRBY', KEYS[1], 'claims', 1))
redis.call('HDEL', KEYS[1], 'v' .. new)
redis.call('HSET', KEYS[1], 'version', new, 'v' .. live, '1')
return {'done', '0'}";

/// Removes a version that readers don't see, and takes back that it was asked for.
const DROP: &str = "
local asked = 0
if redis.call('HGET', KEYS[1], 'asked') == ARGV[2] and redis.call('HGET', KEYS[1], 'version') ~= ARGV[2] then
  asked = redis.call('HDEL', KEYS[1], 'asked')
end
if redis.call('HDEL', KEYS[1], 'v' .. ARGV[2]) == 0 then return asked end
local prefix = ARGV[1] .. 'v' .. ARGV[2] .. ':'
local names = redis.call('SMEMBERS', prefix .. 'hashes')
for _, name in ipairs({'hashes', 'parked', 'projection'}) do table.insert(names, name) end
for _, name in ipairs(names) do redis.call('UNLINK', prefix .. name) end
return 1";

/// A hash.
type Fields = BTreeMap<Vec<u8>, Vec<u8>>;

impl<P: Projection<RedisRows>> Rebuild<P, RedisTarget> {
    /// Compares the hashes of both versions, at a moment when both are at the same position. They are read whole.
    ///
    /// # Errors
    /// As [`Projector::run_to_end`]; [`Error::Unavailable`] if there is no such moment within a minute, because the old version moves on all the
    /// time, or is behind and does not run.
    pub async fn compare(&mut self) -> Result<Comparison> {
        let begun = Instant::now();
        let mut hashes = BTreeSet::new();
        loop {
            self.catch_up().await?;
            let versions = (self.now, self.version());
            match self.projector.target.look(&self.running.build.name, versions, &hashes).await?.compared(hashes) {
                Ok(comparison) => return Ok(comparison),
                Err(look) if begun.elapsed() > PATIENCE => return Err(look.not_level(&self.running.build.name, versions)),
                Err(look) => hashes = look.hashes,
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Lets readers see the new version instead of the old one, from one moment to the next. It is not behind the old one then. Whoever runs
    /// the old one is told so, and ends.
    ///
    /// # Errors
    /// As [`Projector::run_to_end`]; [`Error::Fenced`] if somebody else builds the new version now.
    pub async fn switch(mut self) -> Result<Projector<P, RedisTarget>> {
        loop {
            self.catch_up().await?;
            if self.projector.target.try_switch(&self.running.build, self.running.claim.fence).await? {
                return Ok(self.projector);
            }
            // The old one has moved on since.
        }
    }
}

/// How long to wait before looking again whether two versions are level.
const PAUSE: Duration = Duration::from_millis(1);

/// What is looked at of two versions in one moment.
struct Look {
    positions: [u64; 2],
    /// The hashes that there are in one or the other.
    hashes: BTreeSet<String>,
    /// Those that were asked for.
    fields: Vec<[Fields; 2]>,
}

impl Look {
    /// How the versions differ, if both are at one position and these are the hashes that were asked for.
    fn compared(self, hashes: BTreeSet<String>) -> Result<Comparison, Self> {
        if self.positions[0] != self.positions[1] || self.hashes != hashes {
            return Err(self);
        }
        let tables = hashes.into_iter().zip(self.fields).map(|(hash, [now, new])| difference(hash, &now, &new));
        Ok(Comparison { position: GlobalPosition::from_number(self.positions[0]), tables: tables.collect() })
    }

    fn not_level(&self, name: &str, (live, newest): (u32, u32)) -> Error {
        let [now, new] = self.positions.map(GlobalPosition::from_number);
        not_level(name, (live, now), (newest, new))
    }
}

#[async_trait]
impl Versions for RedisTarget {
    async fn builds(&self, name: &str) -> Result<Vec<BuildState>> {
        let mut connection = self.connection().await?;
        let fields: BTreeMap<String, String> =
            ::redis::cmd("HGETALL").arg(place(name)).query_async(&mut connection).await.map_err(|error| trouble(&error))?;
        let Some(live) = fields.get("version").and_then(|version| version.parse().ok()) else { return Ok(Vec::new()) };
        let beside = fields.keys().filter_map(|field| field.strip_prefix('v')?.parse().ok());
        let versions: BTreeSet<u32> = beside.chain([live]).collect();
        let mut builds = Vec::new();
        for version in versions {
            let prefix = self.prefix(name, version, live);
            let mut both = ::redis::pipe();
            both.hget(format!("{prefix}projection"), "position").smembers(format!("{prefix}hashes"));
            let (position, hashes): (Option<u64>, BTreeSet<String>) =
                both.query_async(&mut connection).await.map_err(|error| trouble(&error))?;
            let position = GlobalPosition::from_number(position.unwrap_or_default());
            let tables = hashes.iter().map(|hash| format!("{prefix}{hash}")).collect();
            builds.push(BuildState { version, position, is_live: version == live, tables });
        }
        Ok(builds)
    }

    async fn ask_for_rebuild(&self, name: &str) -> Result<u32> {
        let version = to_build(name, &self.builds(name).await?, self.asked_for(name).await?)?;
        let mut connection = self.connection().await?;
        let set = ::redis::cmd("HSET").arg(place(name)).arg("asked").arg(version).query_async(&mut connection).await;
        let _: () = set.map_err(|error| trouble(&error))?;
        Ok(version)
    }

    async fn compare(&self, name: &str, patience: Duration) -> Result<Comparison> {
        let begun = Instant::now();
        let mut hashes = BTreeSet::new();
        loop {
            let versions = live_and_newest(name, &self.builds(name).await?)?;
            match self.look(name, versions, &hashes).await?.compared(hashes) {
                Ok(comparison) => return Ok(comparison),
                Err(look) if begun.elapsed() >= patience && look.positions[0] != look.positions[1] => {
                    return Err(look.not_level(name, versions));
                }
                Err(look) => hashes = look.hashes,
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn switch(&self, name: &str, patience: Duration) -> Result<(u32, GlobalPosition)> {
        let begun = Instant::now();
        loop {
            let (live, version) = live_and_newest(name, &self.builds(name).await?)?;
            let build = Build { name: name.to_owned(), version, tables: Vec::new() };
            let at = self.ask(LOOK, &build).await?;
            match self.try_switch(&build, at.fence).await {
                Ok(true) => return Ok((version, self.position(name).await?)),
                // Somebody else took it over since; whoever builds it is none of our business.
                Err(Error::Fenced { .. }) => {}
                Ok(false) if begun.elapsed() >= patience => {
                    let position = self.position(name).await?;
                    return Err(not_level(name, (live, position), (version, GlobalPosition::from_number(at.position))));
                }
                Ok(false) => {}
                Err(error) => return Err(error),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn drop_version(&self, name: &str, version: u32) -> Result<()> {
        let mut connection = self.connection().await?;
        let mut call = ::redis::cmd("EVAL");
        call.arg(DROP).arg(1).arg(place(name)).arg(base(name)).arg(version);
        let dropped: u32 = call.query_async(&mut connection).await.map_err(|error| trouble(&error))?;
        match dropped {
            0 => Err(Error::invalid(format!("version {version} of projection {name} is not there, or is the one that readers see"))),
            _ => Ok(()),
        }
    }

    async fn parked_events(&self, name: &str) -> Result<Vec<ParkedEvent>> {
        self.parked(&live_build(self, name).await?).await
    }

    async fn replay_parked(&self, name: &str, which: Option<GlobalPosition>) -> Result<usize> {
        found(name, which, self.ask_for_replay(&live_build(self, name).await?, which, true).await?)
    }

    async fn skip_parked(&self, name: &str, position: GlobalPosition) -> Result<()> {
        let build = live_build(self, name).await?;
        let parked = self.kept_aside(&build).await?.into_iter().find(|(event, _)| event.position == position);
        let removed = match parked {
            Some((_, kept)) => self.change_parked(&build, position, &kept, None).await?,
            None => false,
        };
        found(name, Some(position), removed.into()).map(drop)
    }
}

impl RedisTarget {
    /// With what the keys of a version begin, while that one is live.
    fn prefix(&self, name: &str, version: u32, live: u32) -> String {
        if version == live { base(name) } else { format!("{}v{version}:", base(name)) }
    }

    /// Looks at the version that readers see and a new one in one moment.
    async fn look(&self, name: &str, (now, new): (u32, u32), hashes: &BTreeSet<String>) -> Result<Look> {
        let (now, new) = (self.prefix(name, now, now), self.prefix(name, new, now));
        let mut connection = self.connection().await?;
        let mut all = ::redis::pipe();
        all.atomic();
        for prefix in [&now, &new] {
            all.hget(format!("{prefix}projection"), "position").smembers(format!("{prefix}hashes"));
        }
        for hash in hashes {
            all.hgetall(format!("{now}{hash}")).hgetall(format!("{new}{hash}"));
        }
        let mut answers: Vec<::redis::Value> = all.query_async(&mut connection).await.map_err(|error| trouble(&error))?;
        let fields: Vec<Fields> = answers.split_off(4).into_iter().map(read).collect::<Result<_>>()?;
        let [now_at, now_hashes, new_at, new_hashes] = answers.try_into().expect("four things were asked");
        let positions = [read::<Option<u64>>(now_at)?.unwrap_or_default(), read::<Option<u64>>(new_at)?.unwrap_or_default()];
        let mut found: BTreeSet<String> = read(now_hashes)?;
        found.extend(read::<BTreeSet<String>>(new_hashes)?);
        let mut fields = fields.into_iter();
        let pairs = std::iter::from_fn(|| Some([fields.next()?, fields.next()?]));
        Ok(Look { positions, hashes: found, fields: pairs.collect() })
    }

    /// Switches to a version that has this fence, unless it is behind the one that readers see: whether it is what they see now.
    async fn try_switch(&self, build: &Build, fence: u64) -> Result<bool> {
        let mut connection = self.connection().await?;
        let mut call = ::redis::cmd("EVAL");
        call.arg(SWITCH).arg(1).arg(place(&build.name)).arg(base(&build.name)).arg(build.version).arg(fence);
        let (outcome, actual): (String, u64) = call.query_async(&mut connection).await.map_err(|error| unanswered(&error))?;
        match outcome.as_str() {
            "done" => Ok(true),
            "fenced" => Err(fenced(build, fence, actual)),
            _ => Ok(false),
        }
    }
}

fn read<T: ::redis::FromRedisValue>(value: ::redis::Value) -> Result<T> {
    ::redis::from_redis_value(value)
        .map_err(|error| Error::invalid(format!("the projection's Redis server answers in another way: {error}")))
}

fn difference(hash: String, now: &Fields, new: &Fields) -> TableDifference {
    let only = |one: &Fields, other: &Fields| -> Vec<String> {
        let differing = one.iter().filter(|(field, value)| other.get(*field) != Some(*value));
        differing.map(|(field, value)| format!("{}: {}", String::from_utf8_lossy(field), String::from_utf8_lossy(value))).collect()
    };
    let (only_now, only_new) = (only(now, new), only(new, now));
    let shown = |mark: char, rows: &[String]| rows.iter().take(EXAMPLES as usize).map(|row| format!("{mark} {row}")).collect::<Vec<_>>();
    TableDifference {
        table: hash,
        rows_now: now.len() as u64,
        rows_new: new.len() as u64,
        only_now: only_now.len() as u64,
        only_new: only_new.len() as u64,
        examples: [shown('-', &only_now), shown('+', &only_new)].concat(),
    }
}
