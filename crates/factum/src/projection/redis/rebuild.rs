//! Rebuilding hashes beside the ones that readers see: filled under keys of their own, compared, and renamed all at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::{RedisRows, RedisTarget, base, place, trouble, unanswered};
use crate::GlobalPosition;
use crate::error::{Error, Result};
use crate::projection::target::fenced;
use crate::projection::{BuildState, Comparison, EXAMPLES, PATIENCE, Projection, Projector, Rebuild, TableDifference};

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

/// Removes a version that readers don't see.
const DROP: &str = "
if redis.call('HDEL', KEYS[1], 'v' .. ARGV[2]) == 0 then return 0 end
local prefix = ARGV[1] .. 'v' .. ARGV[2] .. ':'
local names = redis.call('SMEMBERS', prefix .. 'hashes')
for _, name in ipairs({'hashes', 'parked', 'projection'}) do table.insert(names, name) end
for _, name in ipairs(names) do redis.call('UNLINK', prefix .. name) end
return 1";

/// A hash.
type Fields = BTreeMap<Vec<u8>, Vec<u8>>;

impl<P: Projection<RedisRows>> Projector<P, RedisTarget> {
    /// Begins to build a new version of the hashes beside those that readers see, or goes on with one that was begun.
    ///
    /// # Errors
    /// [`Error::Invalid`] if there is no version to compare with, and what the server says.
    pub async fn rebuild(&self) -> Result<Rebuild<P, RedisTarget>> {
        let name = self.projection.name();
        let builds = self.target.builds(name).await?;
        let Some(live) = builds.iter().find(|build| build.is_live) else {
            return Err(Error::invalid(format!("projection {name} has no rows yet that a rebuild could replace; run it first")));
        };
        let begun = builds.iter().map(|build| build.version).filter(|version| *version > live.version).max();
        let version = begun.or(self.version).filter(|version| *version > live.version).unwrap_or(live.version + 1);
        let projector = (*self).clone().version(version);
        let running = projector.claim().await?;
        Ok(Rebuild { projector, running, now: live.version })
    }
}

impl<P: Projection<RedisRows>> Rebuild<P, RedisTarget> {
    /// Compares the hashes of both versions, at a moment when both are at the same position. They are read whole.
    ///
    /// # Errors
    /// As [`Projector::run_to_end`]; [`Error::Unavailable`] if there is no such moment within a minute, because the old version moves on all the
    /// time, or is behind and does not run.
    pub async fn compare(&mut self) -> Result<Comparison> {
        let begun = Instant::now();
        let name = self.running.build.name.clone();
        let mut hashes = BTreeSet::new();
        loop {
            self.catch_up().await?;
            let target = &self.projector.target;
            let (now, new) = (target.prefix(&name, self.now, self.now), target.prefix(&name, self.version(), self.now));
            let look = target.look(&now, &new, &hashes).await?;
            if look.positions[0] == look.positions[1] && look.hashes == hashes {
                let position = GlobalPosition::from_number(look.positions[0]);
                let tables = hashes.into_iter().zip(look.fields).map(|(hash, [now, new])| difference(hash, &now, &new));
                return Ok(Comparison { position, tables: tables.collect() });
            }
            if begun.elapsed() > PATIENCE {
                let [now, new] = look.positions;
                return Err(Error::Unavailable {
                    reason: format!("projection {name} is at position {now}, its new version at {new}; they were not level for a minute"),
                    source: None,
                });
            }
            hashes = look.hashes;
            tokio::time::sleep(Duration::from_millis(1)).await;
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
            let build = &self.running.build;
            let fence = self.running.claim.fence;
            let mut connection = self.projector.target.connection().await?;
            let mut call = ::redis::cmd("EVAL");
            call.arg(SWITCH).arg(1).arg(place(&build.name)).arg(base(&build.name)).arg(build.version).arg(fence);
            let (outcome, actual): (String, u64) = call.query_async(&mut connection).await.map_err(|error| unanswered(&error))?;
            match outcome.as_str() {
                "done" => return Ok(self.projector),
                "fenced" => return Err(fenced(build, fence, actual)),
                // The old one has moved on since.
                _ => {}
            }
        }
    }

    /// Gives the new version up, and drops its hashes.
    ///
    /// # Errors
    /// What the server says.
    pub async fn abandon(self) -> Result<()> {
        self.projector.target.drop_version(&self.running.build.name, self.version()).await
    }
}

/// What is looked at of two versions in one moment.
struct Look {
    positions: [u64; 2],
    /// The hashes that there are in one or the other.
    hashes: BTreeSet<String>,
    /// Those that were asked for.
    fields: Vec<[Fields; 2]>,
}

impl RedisTarget {
    /// The versions that there are of a projection's hashes.
    ///
    /// # Errors
    /// What the server says.
    pub async fn builds(&self, name: &str) -> Result<Vec<BuildState>> {
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

    /// Drops the hashes of a version that readers don't see.
    ///
    /// # Errors
    /// [`Error::Invalid`] if readers see it, or there is none; and what the server says.
    pub async fn drop_version(&self, name: &str, version: u32) -> Result<()> {
        let mut connection = self.connection().await?;
        let mut call = ::redis::cmd("EVAL");
        call.arg(DROP).arg(1).arg(place(name)).arg(base(name)).arg(version);
        let dropped: u32 = call.query_async(&mut connection).await.map_err(|error| trouble(&error))?;
        match dropped {
            0 => Err(Error::invalid(format!("version {version} of projection {name} is not there, or is the one that readers see"))),
            _ => Ok(()),
        }
    }

    /// Drops the hashes of all versions before the one that readers see; how many versions that were.
    ///
    /// # Errors
    /// What the server says.
    pub async fn drop_old(&self, name: &str) -> Result<usize> {
        let builds = self.builds(name).await?;
        let old: Vec<u32> = builds.iter().map(|build| build.version).take_while(|version| !is_live(&builds, *version)).collect();
        for version in &old {
            self.drop_version(name, *version).await?;
        }
        Ok(old.len())
    }

    /// With what the keys of a version begin, while that one is live.
    fn prefix(&self, name: &str, version: u32, live: u32) -> String {
        if version == live { base(name) } else { format!("{}v{version}:", base(name)) }
    }

    /// Looks at two versions in one moment.
    async fn look(&self, now: &str, new: &str, hashes: &BTreeSet<String>) -> Result<Look> {
        let mut connection = self.connection().await?;
        let mut all = ::redis::pipe();
        all.atomic();
        for prefix in [now, new] {
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
}

fn is_live(builds: &[BuildState], version: u32) -> bool {
    builds.iter().any(|build| build.version == version && build.is_live)
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
