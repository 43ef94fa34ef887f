//! The Redis door beside Redis itself: the same requests from one load generator, taking turns, each with its own settings for durability.

mod load;
mod peer;
mod requests;
mod wire;

use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use crate::Outcome;
use crate::arguments::Arguments;
use crate::report::{Figure, Report, Row};
use load::{Load, fill, run};
use peer::Peer;

/// The fields of an entry come to so many bytes.
const ENTRY_BYTES: usize = 256;
/// Entries are spread over so many streams.
const STREAMS: u64 = 10_000;
/// A stream that is read as a whole has so many entries, and there are so many of these streams.
const READ_ENTRIES: u64 = 100;
const READ_STREAMS: u64 = 200;
/// Ours and Redis take turns, so that a machine that drifts moves both.
const TURNS: u32 = 3;
/// The most entries that are loaded for what needs many.
const ENTRIES_MAX: u64 = 1_000_000;

/// What is done with one long stream.
const ONE_LOG: [&str; 2] = ["reading a log by XREAD COUNT 1000", "a group of 4, XREADGROUP COUNT 100 and XACK"];

/// Measures the door.
pub(crate) fn measure(arguments: &Arguments) -> Outcome<Report> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut conditions = crate::conditions::of_store("file, through factum serve", "synced before each answer");
    conditions.retain(|(name, _)| *name != "events");
    conditions.push(("peer", "redis-server, appendonly yes, appendfsync always; for groups everysec".to_owned()));
    conditions.push(("entries", format!("{ENTRY_BYTES} bytes in two fields, a type and JSON of an order, over {STREAMS} streams")));
    let rewriting = "redis-server packs its log when it has grown twofold, from 64 MB on: what it takes depends on when it last did";
    conditions.push(("disk", rewriting.to_owned()));
    let mut report = Report::new(conditions);
    let entries = arguments.scale.min(ENTRIES_MAX);

    let wants = |names: &[&str]| arguments.only.as_deref().is_none_or(|only| names.iter().any(|name| name.contains(only)));

    let appending = [
        ("XADD, 1 client", Load::Append { clients: 1, pipeline: 1 }, 1.0),
        ("XADD, 64 clients", Load::Append { clients: 64, pipeline: 1 }, 1.4),
        ("XADD, 64 clients, MULTI of 100", Load::Transaction { clients: 64, requests: 100 }, 3.0),
        ("XADD, 50 clients, pipelines of 64", Load::Append { clients: 50, pipeline: 64 }, 3.0),
    ];
    let ranging = "XRANGE of 100, 16 clients";
    let appending: Vec<_> = appending.into_iter().filter(|(name, ..)| wants(&[name])).collect();
    if !appending.is_empty() || wants(&[ranging]) {
        let (ours, redis) = (Peer::factum(arguments.dir.as_deref())?, Peer::redis("always")?);
        for (name, load, wanted) in appending {
            row(&runtime, &mut report, arguments, name, load, wanted, [&ours, &redis])?;
        }
        if wants(&[ranging]) {
            for peer in [&ours, &redis] {
                runtime.block_on(fill(peer.port(), "Read", READ_STREAMS, READ_STREAMS * READ_ENTRIES))?;
            }
            let load = Load::Range { clients: 16, streams: READ_STREAMS };
            row(&runtime, &mut report, arguments, ranging, load, 1.0, [&ours, &redis])?;
        }
    }
    if wants(&["own memory", "disk", "ready after a kill"]) {
        let (mut ours, mut redis) = (Peer::factum(arguments.dir.as_deref())?, Peer::redis("always")?);
        many(&runtime, &mut report, entries, &mut ours, &mut redis)?;
    }
    if wants(&ONE_LOG) {
        let (ours, redis) = (Peer::factum(arguments.dir.as_deref())?, Peer::redis("everysec")?);
        one_log(&runtime, &mut report, entries, &ours, &redis)?;
    }
    if report.is_empty() { Err("no row has that in its name".into()) } else { Ok(report) }
}

/// One kind of load on both, in turns.
fn row(runtime: &Runtime, report: &mut Report, arguments: &Arguments, name: &str, load: Load, wanted: f64, peers: [&Peer; 2]) -> Outcome {
    let mut rates = [0.0; 2];
    for _ in 0..TURNS {
        for (peer, rate) in peers.iter().zip(&mut rates) {
            *rate += runtime.block_on(run(peer.port(), load, arguments.load / TURNS))? / f64::from(TURNS);
        }
    }
    let [ours, redis] = rates.map(Figure::EventsPerSecond);
    report.add(Row::new(name, ours).beside("Redis", redis).at_least(wanted));
    Ok(())
}

/// What many entries in many streams take: memory, disk, and time to be ready after a crash.
fn many(runtime: &Runtime, report: &mut Report, entries: u64, ours: &mut Peer, redis: &mut Peer) -> Outcome {
    for peer in [&*ours, &*redis] {
        runtime.block_on(fill(peer.port(), "Order", STREAMS, entries))?;
    }
    let bytes = |peer: &Peer| -> Outcome<(f64, f64)> { Ok((peer.own_memory_bytes()? as f64, peer.disk_bytes()? as f64)) };
    let ((memory, disk), (redis_memory, redis_disk)) = (bytes(ours)?, bytes(redis)?);
    let of = |what: &str| format!("{what} of {entries} entries");
    report.add(Row::new(of("own memory"), Figure::Bytes(memory)).beside("Redis", Figure::Bytes(redis_memory)).at_least(3.0));
    report.add(Row::new(of("disk"), Figure::Bytes(disk)).beside("Redis", Figure::Bytes(redis_disk)).at_least(1.0 / 1.1));
    let ready = |peer: &mut Peer| -> Outcome<Duration> {
        peer.kill();
        let begun = Instant::now();
        peer.restart()?;
        let length = runtime.block_on(load::length(peer.port(), &requests::stream_name("Order", 0)))?;
        let expected = entries.div_ceil(STREAMS);
        if length != expected { Err(format!("{length} entries instead of {expected} after a crash").into()) } else { Ok(begun.elapsed()) }
    };
    let (time, redis_time) = (ready(ours)?.as_secs_f64(), ready(redis)?.as_secs_f64());
    report.add(Row::new("ready after a kill", Figure::Seconds(time)).beside("Redis", Figure::Seconds(redis_time)));
    report.add(Row::new("ready after a kill", Figure::Seconds(time)).beside("the bound", Figure::Seconds(0.2)).at_least(1.0));
    Ok(())
}

/// One long stream, read as a log and by a group.
fn one_log(runtime: &Runtime, report: &mut Report, entries: u64, ours: &Peer, redis: &Peer) -> Outcome {
    let mut rates = [[0.0; 2]; 2];
    let stream = requests::stream_name("Log", 0);
    for (place, peer) in [ours, redis].into_iter().enumerate() {
        runtime.block_on(fill(peer.port(), "Log", 1, entries))?;
        rates[0][place] = runtime.block_on(load::read_log(peer.port(), &stream, entries))?;
        rates[1][place] = runtime.block_on(load::consume(peer.port(), &stream, entries, 4))?;
    }
    for (name, [ours, redis]) in ONE_LOG.iter().zip(rates) {
        let (ours, redis) = (Figure::EventsPerSecond(ours), Figure::EventsPerSecond(redis));
        report.add(Row::new(*name, ours).beside("Redis", redis).at_least(1.0));
    }
    Ok(())
}
