//! CONFIG: what clients ask of the configuration, answered truly, and what little of it can be changed while the server runs.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use crate::Settings;
use crate::redis::door::Door;
use crate::redis::glob;
use crate::redis::resp::{Reply, Request, integer};

/// The one parameter that has an effect when it is set: of how many entries a block has that approximate trimming removes.
const NODE_ENTRIES: &str = "stream-node-max-entries";

/// The parameters that are known.
#[derive(Debug)]
pub(crate) struct Parameters {
    values: Mutex<BTreeMap<&'static str, Parameter>>,
}

#[derive(Clone, Debug)]
struct Parameter {
    value: Bytes,
    /// It says how Redis arranges its memory or its own watching; here it has no effect, so that any value may be set.
    is_without_effect: bool,
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
            ("cluster-enabled", "no".to_owned()),
            ("databases", settings.limits.databases.to_string()),
            ("dbfilename", String::new()),
            ("enable-debug-command", if settings.allow_debug { "yes" } else { "no" }.to_owned()),
            ("maxclients", settings.limits.clients_max.to_string()),
            ("maxmemory", "0".to_owned()),
            ("maxmemory-policy", "noeviction".to_owned()),
            ("notify-keyspace-events", String::new()),
            ("port", settings.redis.port().to_string()),
            ("proto-max-bulk-len", settings.limits.request_bytes_max.to_string()),
            ("save", String::new()),
            ("tcp-keepalive", "0".to_owned()),
            ("timeout", settings.limits.idle_max.map_or(0, |idle| idle.as_secs()).to_string()),
        ];
        let without_effect = [
            ("active-expire-effort", "1"),
            ("hash-max-listpack-entries", "512"),
            ("hash-max-listpack-value", "64"),
            ("hash-max-ziplist-entries", "512"),
            ("hash-max-ziplist-value", "64"),
            ("hz", "10"),
            ("latency-monitor-threshold", "0"),
            ("lazyfree-lazy-user-del", "no"),
            ("loglevel", "notice"),
            ("slowlog-log-slower-than", "-1"),
            ("slowlog-max-len", "128"),
            ("stream-node-max-bytes", "4096"),
            (NODE_ENTRIES, "100"),
        ];
        let fixed = fixed.into_iter().map(|(name, value)| (name, Parameter { value: value.into(), is_without_effect: false }));
        let without_effect = without_effect
            .into_iter()
            .map(|(name, value)| (name, Parameter { value: Bytes::from_static(value.as_bytes()), is_without_effect: true }));
        Self { values: Mutex::new(fixed.chain(without_effect).collect()) }
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
    let (mut changed, mut node_entries) = (Vec::new(), None);
    for place in (2..request.len()).step_by(2) {
        let (asked, value) = (&request[place], &request[place + 1]);
        let Some((name, parameter)) = values.iter().find(|(name, _)| name.as_bytes().eq_ignore_ascii_case(asked)) else {
            let text = [b"ERR Unknown option or number of arguments for CONFIG SET - '", asked, b"'"].concat();
            return Reply::ErrorBytes(text.into());
        };
        if !parameter.is_without_effect && parameter.value != value {
            return refused(name, "can't be changed while the server runs; it is set where the server is started");
        }
        if *name == NODE_ENTRIES {
            match integer(value).map(u64::try_from) {
                Some(Ok(entries)) => node_entries = Some(entries),
                Some(Err(_)) => return refused(name, "argument must be between 0 and 9223372036854775807 inclusive"),
                None => return refused(name, "argument couldn't be parsed into an integer"),
            }
        }
        changed.push((*name, Bytes::copy_from_slice(value)));
    }
    if let Some(entries) = node_entries {
        door.keyspace.set_node_entries(entries);
    }
    for (name, value) in changed {
        values.get_mut(name).expect("it was found above").value = value;
    }
    Reply::OK
}

fn refused(name: &str, why: &str) -> Reply {
    Reply::Error(format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {why}").into())
}
