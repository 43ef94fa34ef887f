//! INFO: the server told in the sections that clients look for.

use std::fmt::Write;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::process;
use crate::redis::REDIS_VERSION;
use crate::redis::door::Door;
use crate::redis::resp::{Reply, Request};

/// The sections, and those of them that INFO alone shows.
const SECTIONS: [(&str, bool); 12] = [
    ("Server", true),
    ("Clients", true),
    ("Memory", true),
    ("Persistence", true),
    ("Stats", true),
    ("Replication", true),
    ("CPU", true),
    ("Modules", true),
    ("Commandstats", false),
    ("Errorstats", true),
    ("Cluster", true),
    ("Keyspace", true),
];

/// INFO outside of a transaction, where how many keys there are can be found out first.
pub(in crate::redis) async fn info_of_all(door: &Door, request: &Request) -> Reply {
    let is_asked = |section: &[u8]| request.iter().skip(1).any(|asked| asked.eq_ignore_ascii_case(section));
    let counts_all = is_asked(b"keyspace") || is_asked(b"all") || is_asked(b"everything");
    if (counts_all || request.len() == 1 || is_asked(b"default"))
        && let Err(error) = door.keyspace.learn_count(counts_all).await
    {
        tracing::warn!(%error, "the names of keys can't be read, so INFO does not say how many there are");
    }
    info(door, request)
}

pub(super) fn info(door: &Door, request: &Request) -> Reply {
    let asked: Vec<Vec<u8>> = request.iter().skip(1).map(<[u8]>::to_ascii_lowercase).collect();
    let asks_for = |name: &str| asked.iter().any(|one| one == name.as_bytes());
    let wants = |name: &str, is_default: bool| {
        asks_for("all")
            || asks_for("everything")
            || asks_for(&name.to_ascii_lowercase())
            || is_default && (asked.is_empty() || asks_for("default"))
    };
    let mut text = String::with_capacity(2048);
    for (name, is_default) in SECTIONS {
        if wants(name, is_default) {
            if !text.is_empty() {
                text.push_str("\r\n");
            }
            write!(text, "# {name}\r\n").expect("writing to a string can't fail");
            for (key, value) in section(door, name) {
                write!(text, "{key}:{value}\r\n").expect("writing to a string can't fail");
            }
        }
    }
    Reply::Verbatim(text)
}

fn section(door: &Door, name: &str) -> Vec<(String, String)> {
    let lines = |lines: &[(&str, String)]| lines.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    let counters = &door.counters;
    let uptime = counters.since.elapsed().as_secs();
    match name {
        "Server" => lines(&[
            ("redis_version", REDIS_VERSION.to_owned()),
            ("redis_git_sha1", "00000000".to_owned()),
            ("redis_git_dirty", "0".to_owned()),
            ("redis_mode", "standalone".to_owned()),
            ("os", std::env::consts::OS.to_owned()),
            ("executable", std::env::current_exe().unwrap_or_default().display().to_string()),
            ("config_file", String::new()),
            ("arch_bits", usize::BITS.to_string()),
            ("process_id", std::process::id().to_string()),
            ("run_id", door.run_id.clone()),
            ("tcp_port", door.settings.redis.port().to_string()),
            ("server_time_usec", SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros().to_string()),
            ("uptime_in_seconds", uptime.to_string()),
            ("uptime_in_days", (uptime / 86_400).to_string()),
            ("factum_version", env!("CARGO_PKG_VERSION").to_owned()),
            ("factum_store", door.store.capabilities().store.to_owned()),
        ]),
        "Clients" => lines(&[
            ("connected_clients", door.clients.len().to_string()),
            ("cluster_connections", "0".to_owned()),
            ("maxclients", door.parameters.clients_max().to_string()),
            ("blocked_clients", door.clients.all().iter().filter(|client| client.is_waiting()).count().to_string()),
        ]),
        "Memory" => {
            let memory = process::own_memory_bytes();
            lines(&[
                ("used_memory", memory.to_string()),
                ("used_memory_human", format!("{:.2}M", memory as f64 / f64::from(1 << 20))),
                ("used_memory_rss", process::resident_bytes().to_string()),
                ("mem_clients_normal", door.clients.held.bytes().to_string()),
                ("maxmemory", door.parameters.memory_bytes_max().to_string()),
                ("maxmemory_policy", "noeviction".to_owned()),
            ])
        }
        "Persistence" => lines(&[
            ("loading", "0".to_owned()),
            ("async_loading", "0".to_owned()),
            ("rdb_changes_since_last_save", "0".to_owned()),
            ("rdb_bgsave_in_progress", "0".to_owned()),
            ("rdb_last_bgsave_status", "ok".to_owned()),
            ("aof_enabled", "1".to_owned()),
            ("aof_rewrite_in_progress", "0".to_owned()),
            ("aof_rewrite_scheduled", "0".to_owned()),
            ("aof_last_bgrewrite_status", "ok".to_owned()),
            ("aof_last_write_status", if door.keyspace.is_recording() { "ok" } else { "err" }.to_owned()),
            ("factum_durability", door.store.capabilities().durability.to_owned()),
        ]),
        "Stats" => {
            let (calls, errors) = counters.totals();
            let read = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed).to_string();
            lines(&[
                ("total_connections_received", read(&counters.connections)),
                ("rejected_connections", read(&counters.connections_refused)),
                ("total_commands_processed", calls.to_string()),
                ("total_error_replies", errors.to_string()),
                ("total_net_input_bytes", read(&counters.received_bytes)),
                ("total_net_output_bytes", read(&counters.sent_bytes)),
                ("expired_keys", door.keyspace.expired_keys().to_string()),
                ("evicted_keys", "0".to_owned()),
                ("evicted_clients", read(&counters.connections_evicted)),
            ])
        }
        "Replication" => lines(&[
            ("role", "master".to_owned()),
            ("connected_slaves", "0".to_owned()),
            ("master_replid", door.run_id.clone()),
            ("master_repl_offset", "0".to_owned()),
        ]),
        "Cluster" => lines(&[("cluster_enabled", "0".to_owned())]),
        "CPU" => {
            let (user, system) = process::cpu_seconds();
            lines(&[("used_cpu_sys", format!("{system:.6}")), ("used_cpu_user", format!("{user:.6}"))])
        }
        "Commandstats" => {
            let calls = counters.calls();
            calls
                .map(|(command, calls, errors)| {
                    let value = format!("calls={calls},usec=0,usec_per_call=0.00,rejected_calls=0,failed_calls={errors}");
                    (format!("cmdstat_{}", command.name), value)
                })
                .collect()
        }
        "Errorstats" => {
            counters.errors_by_code().into_iter().map(|(code, count)| (format!("errorstat_{code}"), format!("count={count}"))).collect()
        }
        "Keyspace" => door
            .keys_by_database()
            .into_iter()
            .map(|(database, count)| (format!("db{database}"), format!("keys={},expires={},avg_ttl=0", count.keys, count.expires)))
            .collect(),
        _ => Vec::new(),
    }
}
