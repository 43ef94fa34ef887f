//! CONFIG: what clients ask of the configuration, answered truly, and what little of it can be changed while the server runs.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use crate::Settings;
use crate::redis::door::Door;
use crate::redis::glob;
use crate::redis::resp::{Reply, Request, integer};

/// The parameters that have an effect when they are set: how many entries a block has that approximate trimming removes,
const NODE_ENTRIES: &str = "stream-node-max-entries";
/// after how many seconds of silence a connection is ended,
const TIMEOUT: &str = "timeout";
/// how many connections there may be,
const CLIENTS_MAX: &str = "maxclients";
/// how much memory they may hold together.
const CLIENTS_BYTES_MAX: &str = "maxmemory-clients";
/// Beyond how much memory in all what adds data is refused.
const MEMORY_BYTES_MAX: &str = "maxmemory";

/// The parameters that are known.
#[derive(Debug)]
pub(crate) struct Parameters {
    values: Mutex<BTreeMap<&'static str, Parameter>>,
    idle_seconds: AtomicU64,
    clients_max: AtomicUsize,
    memory_bytes_max: AtomicU64,
}

#[derive(Clone, Debug)]
struct Parameter {
    value: Bytes,
    kind: Kind,
}

/// What becomes of a parameter that is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// It is as the server was started; setting it to what it is is no change.
    Fixed,
    /// It says how Redis arranges its memory or its own watching; here it has no effect, so that any value may be set.
    WithoutEffect,
    /// It is in force from then on.
    Number,
    /// The same, for a number of bytes.
    Bytes,
}

impl Parameters {
    /// As the server was started.
    pub(crate) fn new(settings: &Settings) -> Self {
        let fixed = [
            ("appendfsync", "always".to_owned()),
            ("appendonly", "yes".to_owned()),
            ("bind", settings.redis.ip().to_string()),
            ("client-output-buffer-limit", {
                let bytes = settings.limits.output_bytes_max;
                let seconds = settings.limits.output_stall_max.as_secs();
                format!("normal {bytes} {bytes} {seconds} slave 0 0 0 pubsub 0 0 0")
            }),
            ("client-query-buffer-limit", settings.limits.request_bytes_max.to_string()),
            ("cluster-enabled", "no".to_owned()),
            ("daemonize", "no".to_owned()),
            ("databases", settings.limits.databases.to_string()),
            ("dbfilename", String::new()),
            ("enable-debug-command", if settings.allow_debug { "yes" } else { "no" }.to_owned()),
            ("maxmemory-policy", "noeviction".to_owned()),
            ("notify-keyspace-events", String::new()),
            ("port", settings.redis.port().to_string()),
            ("proto-max-bulk-len", settings.limits.request_bytes_max.to_string()),
            ("save", String::new()),
            ("tcp-keepalive", "0".to_owned()),
        ];
        let without_effect = [
            ("active-expire-effort", "1"),
            ("activedefrag", "no"),
            ("activerehashing", "yes"),
            ("aof-load-truncated", "yes"),
            ("aof-rewrite-incremental-fsync", "yes"),
            ("aof-use-rdb-preamble", "yes"),
            ("auto-aof-rewrite-min-size", "67108864"),
            ("auto-aof-rewrite-percentage", "100"),
            ("busy-reply-threshold", "5000"),
            ("dynamic-hz", "yes"),
            ("hash-max-listpack-entries", "512"),
            ("hash-max-listpack-value", "64"),
            ("hash-max-ziplist-entries", "512"),
            ("hash-max-ziplist-value", "64"),
            ("hll-sparse-max-bytes", "3000"),
            ("hz", "10"),
            ("jemalloc-bg-thread", "yes"),
            ("latency-monitor-threshold", "0"),
            ("latency-tracking", "yes"),
            ("lazyfree-lazy-eviction", "no"),
            ("lazyfree-lazy-expire", "no"),
            ("lazyfree-lazy-server-del", "no"),
            ("lazyfree-lazy-user-del", "no"),
            ("lazyfree-lazy-user-flush", "no"),
            ("list-compress-depth", "0"),
            ("list-max-listpack-size", "-2"),
            ("list-max-ziplist-size", "-2"),
            ("loglevel", "notice"),
            ("lua-time-limit", "5000"),
            ("maxmemory-samples", "5"),
            ("no-appendfsync-on-rewrite", "no"),
            ("rdbchecksum", "yes"),
            ("rdbcompression", "yes"),
            ("set-max-intset-entries", "512"),
            ("set-max-listpack-entries", "128"),
            ("set-max-listpack-value", "64"),
            ("slowlog-log-slower-than", "-1"),
            ("slowlog-max-len", "128"),
            ("stop-writes-on-bgsave-error", "yes"),
            ("stream-node-max-bytes", "4096"),
            ("tracking-table-max-keys", "1000000"),
            ("zset-max-listpack-entries", "128"),
            ("zset-max-listpack-value", "64"),
            ("zset-max-ziplist-entries", "128"),
            ("zset-max-ziplist-value", "64"),
        ];
        let limits = &settings.limits;
        let numbers = [
            (TIMEOUT, limits.idle_max.map_or(0, |idle| idle.as_secs()), Kind::Number),
            (CLIENTS_MAX, limits.clients_max as u64, Kind::Number),
            (CLIENTS_BYTES_MAX, limits.clients_bytes_max as u64, Kind::Bytes),
            (MEMORY_BYTES_MAX, 0, Kind::Bytes),
            (NODE_ENTRIES, 100, Kind::Number),
        ];
        let parameter = |name, value, kind| (name, Parameter { value, kind });
        let values = fixed
            .into_iter()
            .map(|(name, value)| parameter(name, value.into(), Kind::Fixed))
            .chain(
                without_effect.into_iter().map(|(name, value)| parameter(name, Bytes::from_static(value.as_bytes()), Kind::WithoutEffect)),
            )
            .chain(numbers.into_iter().map(|(name, number, kind)| parameter(name, number.to_string().into(), kind)));
        Self {
            values: Mutex::new(values.collect()),
            idle_seconds: AtomicU64::new(numbers[0].1),
            clients_max: AtomicUsize::new(limits.clients_max),
            memory_bytes_max: AtomicU64::new(0),
        }
    }

    /// After how long a connection is ended that says nothing.
    pub(crate) fn idle_max(&self) -> Option<Duration> {
        match self.idle_seconds.load(Ordering::Relaxed) {
            0 => None,
            seconds => Some(Duration::from_secs(seconds)),
        }
    }

    /// Beyond how much memory what adds data is refused; 0 for no end.
    pub(crate) fn memory_bytes_max(&self) -> u64 {
        self.memory_bytes_max.load(Ordering::Relaxed)
    }

    /// How many connections there may be.
    pub(crate) fn clients_max(&self) -> usize {
        self.clients_max.load(Ordering::Relaxed)
    }
}

pub(super) fn get(parameters: &Parameters, request: &Request) -> Reply {
    let values = parameters.values.lock().unwrap_or_else(PoisonError::into_inner);
    let is_asked = |name: &str| request.iter().skip(2).any(|pattern| glob::matches_in_any_case(pattern, name.as_bytes()));
    let asked = values.iter().filter(|(name, _)| is_asked(name));
    Reply::Map(asked.map(|(name, parameter)| (Reply::text(name), Reply::Bulk(parameter.value.clone()))).collect())
}

/// All of them are set, or none.
pub(super) fn set(door: &Door, request: &Request) -> Reply {
    if !request.len().is_multiple_of(2) {
        return Reply::error("ERR wrong number of arguments for 'config|set' command");
    }
    let mut values = door.parameters.values.lock().unwrap_or_else(PoisonError::into_inner);
    let mut changed: Vec<(&str, Option<u64>, Bytes)> = Vec::new();
    // What is not known is said before all else, and what is there twice before what is wrong with a value.
    let mut asked: Vec<&'static str> = Vec::with_capacity(request.len() / 2);
    for name in request.iter().skip(2).step_by(2) {
        let Some((&name, _)) = values.iter().find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name)) else {
            let text = [b"ERR Unknown option or number of arguments for CONFIG SET - '", name, b"'"].concat();
            return Reply::ErrorBytes(text.into());
        };
        asked.push(name);
    }
    if let Some(place) = (1..asked.len()).find(|&place| asked[..place].contains(&asked[place])) {
        return refused(&String::from_utf8_lossy(&request[2 + 2 * place]), "duplicate parameter");
    }
    for (place, name) in asked.into_iter().enumerate() {
        let (value, parameter) = (&request[3 + 2 * place], &values[name]);
        let checked = match parameter.kind {
            Kind::Fixed if parameter.value == value => Ok(None),
            Kind::Fixed => Err("can't set immutable config: it is set where the server is started"),
            Kind::WithoutEffect => Ok(None),
            Kind::Number => number(name, value).map(Some),
            Kind::Bytes if is_too_large_a_part(value) => Err("percentage argument must be less or equal to 100"),
            Kind::Bytes => bytes(value).map(Some).ok_or("argument must be a memory or percent value"),
        };
        match checked {
            Ok(number) => changed.push((name, number, Bytes::copy_from_slice(value))),
            Err(why) => return refused(name, why),
        }
    }
    for (name, number, value) in changed {
        if let Some(number) = number {
            put_in_force(door, name, number);
        }
        let value = number.map_or(value, |number| number.to_string().into());
        values.get_mut(name).expect("it was found above").value = value;
    }
    Reply::OK
}

fn put_in_force(door: &Door, name: &str, number: u64) {
    let size = usize::try_from(number).unwrap_or(usize::MAX);
    match name {
        TIMEOUT => door.parameters.idle_seconds.store(number, Ordering::Relaxed),
        CLIENTS_MAX => door.parameters.clients_max.store(size, Ordering::Relaxed),
        MEMORY_BYTES_MAX => door.parameters.memory_bytes_max.store(number, Ordering::Relaxed),
        CLIENTS_BYTES_MAX => door.clients.held.allow(size),
        _ => door.keyspace.set_node_entries(number),
    }
}

/// A number that a parameter may have.
fn number(name: &str, value: &[u8]) -> Result<u64, &'static str> {
    let number = integer(value).ok_or("argument couldn't be parsed into an integer")?;
    let (range, why) = match name {
        TIMEOUT => (0..=i64::from(i32::MAX), "argument must be between 0 and 2147483647 inclusive"),
        CLIENTS_MAX => (1..=i64::from(u32::MAX), "argument must be between 1 and 4294967295 inclusive"),
        _ => (0..=i64::MAX, "argument must be between 0 and 9223372036854775807 inclusive"),
    };
    u64::try_from(number).ok().filter(|_| range.contains(&number)).ok_or(why)
}

/// A number of bytes, with a unit if need be, as Redis has them: `1k` is 1,000 and `1kb` 1,024.
fn bytes(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?.to_ascii_lowercase();
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "b" => 1,
        "k" => 1_000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

/// Whether it is a part of all memory, in percent, that is more than all.
fn is_too_large_a_part(value: &[u8]) -> bool {
    value.strip_suffix(b"%").and_then(integer).is_some_and(|percent| percent > 100)
}

fn refused(name: &str, why: &str) -> Reply {
    Reply::Error(format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {why}").into())
}
