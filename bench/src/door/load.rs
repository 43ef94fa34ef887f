//! The load generator: one thread, many connections, requests made beforehand, answers only counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::future::try_join_all;

use super::STREAMS;
use super::requests::{Entries, request, stream_name};
use super::wire::{Wire, ids_of, line};
use crate::Outcome;
use crate::sample::scrambled;

/// What clients do.
#[derive(Clone, Copy)]
pub(super) enum Load {
    /// XADD, so many before the first answer is awaited.
    Append { clients: u64, pipeline: u64 },
    /// XADDs between MULTI and EXEC.
    Transaction { clients: u64, requests: u64 },
    /// XRANGE of whole streams.
    Range { clients: u64, streams: u64 },
}

/// Runs a load for a time: how many entries per second were written or read.
pub(super) async fn run(port: u16, load: Load, time: Duration) -> Outcome<f64> {
    let clients = match load {
        Load::Append { clients, .. } | Load::Transaction { clients, .. } | Load::Range { clients, .. } => clients,
    };
    let mut ready = Vec::new();
    for client in 0..clients {
        ready.push((Wire::connect(port).await?, requests_of(load, client)));
    }
    let begun = Instant::now();
    let one = |(client, (wire, requests))| one_client(wire, requests, load, client, begun + time);
    let each = try_join_all((0..).zip(ready).map(one)).await?;
    Ok(each.iter().sum::<u64>() as f64 / begun.elapsed().as_secs_f64())
}

/// A client's requests, encoded before the time begins to run.
enum Requests {
    Entries(Entries),
    Ranges(Vec<Vec<u8>>),
}

fn requests_of(load: Load, client: u64) -> Requests {
    match load {
        Load::Append { pipeline, .. } => Requests::Entries(Entries::new("Order", pipeline, false, client)),
        Load::Transaction { requests, .. } => Requests::Entries(Entries::new("Order", requests, true, client)),
        Load::Range { streams, .. } => {
            let range = |number| {
                let mut bytes = Vec::new();
                request(&mut bytes, &[b"XRANGE", stream_name("Read", number).as_bytes(), b"-", b"+"]);
                bytes
            };
            Requests::Ranges((0..streams).map(range).collect())
        }
    }
}

async fn one_client(mut wire: Wire, mut requests: Requests, load: Load, client: u64, end: Instant) -> Outcome<u64> {
    let (mut entries, mut turn) = (0, client << 32);
    while Instant::now() < end {
        let (count, answers) = match load {
            Load::Append { pipeline, .. } => (pipeline, pipeline),
            Load::Transaction { requests, .. } => (requests, requests + 2),
            Load::Range { .. } => (1, 1),
        };
        match &mut requests {
            Requests::Entries(batch) => {
                wire.ask(batch.of(turn, |number| scrambled(number) % STREAMS), answers).await?;
                entries += count;
            }
            Requests::Ranges(ranges) => {
                let number = scrambled(turn) % ranges.len() as u64;
                entries += wire.ask(&ranges[usize::try_from(number)?], answers).await?;
            }
        }
        turn += count;
    }
    Ok(entries)
}

/// Writes entries, spread evenly over streams.
pub(super) async fn fill(port: u16, category: &str, streams: u64, entries: u64) -> Outcome {
    let next = AtomicU64::new(0);
    let client = || async {
        let mut wire = Wire::connect(port).await?;
        loop {
            let first = next.fetch_add(100, Ordering::Relaxed);
            if first >= entries {
                return Outcome::Ok(());
            }
            // Data that is new each time: what is measured afterwards is how it lies on the disk.
            let count = 100.min(entries - first);
            let mut batch = Entries::new(category, count, false, first);
            wire.ask(batch.of(first, |number| number % streams), count).await?;
        }
    };
    try_join_all((0..32).map(|_| client())).await?;
    Ok(())
}

/// Reads a stream as a log from its beginning: entries per second.
pub(super) async fn read_log(port: u16, stream: &str, entries: u64) -> Outcome<f64> {
    let mut wire = Wire::connect(port).await?;
    let (mut last, mut read) = (b"0".to_vec(), 0);
    let begun = Instant::now();
    let mut bytes = Vec::new();
    while read < entries {
        bytes.clear();
        request(&mut bytes, &[b"XREAD", b"COUNT", b"1000", b"STREAMS", stream.as_bytes(), &last]);
        let (count, id) = wire.look(&bytes, last_of).await?.ok_or("the log ends early")?;
        read += count;
        last = id;
    }
    Ok(entries as f64 / begun.elapsed().as_secs_f64())
}

/// How many entries XREAD has brought of one stream, and the id of the last. Names and data have no line breaks.
fn last_of(reply: &[u8]) -> Option<(u64, Vec<u8>)> {
    let mut lines = reply.splitn(6, |byte| *byte == b'\n');
    let (count, _) = line(&[lines.nth(4)?, b"\n"].concat())?;
    let fields = memchr::memmem::rfind(reply, b"\r\n*4\r\n")?;
    let id = memchr::memrchr(b'\n', &reply[..fields])? + 1;
    Some((count.unsigned_abs(), reply[id..fields].to_vec()))
}

/// Reads a stream by a group, and acknowledges each entry: entries per second.
pub(super) async fn consume(port: u16, stream: &str, entries: u64, consumers: u64) -> Outcome<f64> {
    let mut wire = Wire::connect(port).await?;
    let mut bytes = Vec::new();
    request(&mut bytes, &[b"XGROUP", b"CREATE", stream.as_bytes(), b"group", b"0"]);
    wire.ask(&bytes, 1).await?;
    let done = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    let consumer = |number: u64| {
        let (done, name) = (Arc::clone(&done), format!("consumer-{number}"));
        async move {
            let mut wire = Wire::connect(port).await?;
            let mut read = Vec::new();
            let words: [&[u8]; 9] =
                [b"XREADGROUP", b"GROUP", b"group", name.as_bytes(), b"COUNT", b"100", b"STREAMS", stream.as_bytes(), b">"];
            request(&mut read, &words);
            while done.load(Ordering::Relaxed) < entries {
                let acknowledge = |reply: &[u8]| {
                    let ids = ids_of(reply);
                    let mut bytes = Vec::new();
                    if !ids.is_empty() {
                        request(&mut bytes, &[&[b"XACK", stream.as_bytes(), b"group"], &ids[..]].concat());
                    }
                    (ids.len() as u64, bytes)
                };
                let (count, bytes) = wire.look(&read, acknowledge).await?;
                if count > 0 {
                    wire.ask(&bytes, 1).await?;
                    done.fetch_add(count, Ordering::Relaxed);
                }
            }
            Outcome::Ok(())
        }
    };
    try_join_all((0..consumers).map(consumer)).await?;
    Ok(entries as f64 / begun.elapsed().as_secs_f64())
}

/// How many entries a stream has.
pub(super) async fn length(port: u16, stream: &str) -> Outcome<u64> {
    let mut bytes = Vec::new();
    request(&mut bytes, &[b"XLEN", stream.as_bytes()]);
    let length = Wire::connect(port).await?.look(&bytes, line).await?;
    Ok(length.map_or(0, |(length, _)| length.unsigned_abs()))
}
