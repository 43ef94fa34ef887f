//! The load generator: one thread, many connections, requests made beforehand, answers only counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use futures::future::try_join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{ENTRY_BYTES, STREAMS};
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
    let begun = Instant::now();
    let each = try_join_all((0..clients).map(|client| one_client(port, load, client, begun + time))).await?;
    Ok(each.iter().sum::<u64>() as f64 / begun.elapsed().as_secs_f64())
}

async fn one_client(port: u16, load: Load, client: u64, end: Instant) -> Outcome<u64> {
    let mut wire = Wire::connect(port).await?;
    let (mut entries, mut turn) = (0, client << 32);
    while Instant::now() < end {
        let mut requests = Vec::new();
        let answers = match load {
            Load::Append { pipeline, .. } => {
                for number in turn..turn + pipeline {
                    append(&mut requests, "Order", scrambled(number) % STREAMS);
                }
                entries += pipeline;
                turn += pipeline;
                pipeline
            }
            Load::Transaction { requests: count, .. } => {
                request(&mut requests, &[b"MULTI"]);
                for number in turn..turn + count {
                    append(&mut requests, "Order", scrambled(number) % STREAMS);
                }
                request(&mut requests, &[b"EXEC"]);
                entries += count;
                turn += count;
                count + 2
            }
            Load::Range { streams, .. } => {
                let name = format!("Read-{}", scrambled(turn) % streams);
                request(&mut requests, &[b"XRANGE", name.as_bytes(), b"-", b"+"]);
                turn += 1;
                1
            }
        };
        let elements = wire.ask(&requests, answers).await?;
        if let Load::Range { .. } = load {
            entries += elements;
        }
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
            let mut requests = Vec::new();
            let end = (first + 100).min(entries);
            (first..end).for_each(|number| append(&mut requests, category, number % streams));
            wire.ask(&requests, end - first).await?;
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
    while read < entries {
        let mut bytes = Vec::new();
        request(&mut bytes, &[b"XREAD", b"COUNT", b"1000", b"STREAMS", stream.as_bytes(), &last]);
        wire.send(&bytes).await?;
        let reply = wire.reply().await?;
        let ids = ids_of(&reply);
        read += ids.len() as u64;
        last = ids.last().ok_or("the log ends early")?.to_vec();
    }
    Ok(entries as f64 / begun.elapsed().as_secs_f64())
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
            while done.load(Ordering::Relaxed) < entries {
                let mut bytes = Vec::new();
                let words: [&[u8]; 9] =
                    [b"XREADGROUP", b"GROUP", b"group", name.as_bytes(), b"COUNT", b"100", b"STREAMS", stream.as_bytes(), b">"];
                request(&mut bytes, &words);
                wire.send(&bytes).await?;
                let reply = wire.reply().await?;
                let ids = ids_of(&reply);
                if ids.is_empty() {
                    continue;
                }
                let mut words: Vec<&[u8]> = vec![b"XACK", stream.as_bytes(), b"group"];
                words.extend(&ids);
                bytes.clear();
                request(&mut bytes, &words);
                wire.ask(&bytes, 1).await?;
                done.fetch_add(ids.len() as u64, Ordering::Relaxed);
            }
            Outcome::Ok(())
        }
    };
    try_join_all((0..consumers).map(consumer)).await?;
    Ok(entries as f64 / begun.elapsed().as_secs_f64())
}

/// How many entries a stream has.
pub(super) async fn length(port: u16, stream: &str) -> Outcome<u64> {
    let mut wire = Wire::connect(port).await?;
    let mut bytes = Vec::new();
    request(&mut bytes, &[b"XLEN", stream.as_bytes()]);
    wire.send(&bytes).await?;
    let reply = wire.reply().await?;
    Ok(String::from_utf8_lossy(&reply[1..reply.len() - 2]).parse()?)
}

/// An entry like an event: its type, and data.
fn append(bytes: &mut Vec<u8>, category: &str, stream: u64) {
    static DATA: [u8; ENTRY_BYTES] = [b'x'; ENTRY_BYTES];
    let (fields, name) = ("typeOrderPlaceddata".len(), format!("{category}-{stream}"));
    let mut data = DATA[..ENTRY_BYTES - fields].to_vec();
    data[0] = b'"';
    *data.last_mut().expect("it is long") = b'"';
    request(bytes, &[b"XADD", name.as_bytes(), b"*", b"type", b"OrderPlaced", b"data", &data]);
}

fn request(bytes: &mut Vec<u8>, words: &[&[u8]]) {
    bytes.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
}

struct Wire {
    stream: TcpStream,
    received: BytesMut,
}

impl Wire {
    async fn connect(port: u16) -> Outcome<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, received: BytesMut::new() })
    }

    async fn send(&mut self, bytes: &[u8]) -> Outcome {
        Ok(self.stream.write_all(bytes).await?)
    }

    /// Sends requests and awaits their answers; how many elements the last one has.
    async fn ask(&mut self, requests: &[u8], answers: u64) -> Outcome<u64> {
        self.send(requests).await?;
        let mut elements = 0;
        for _ in 0..answers {
            let reply = self.reply().await?;
            elements = if reply[0] == b'*' { number(&reply).unwrap_or_default().max(0).unsigned_abs() } else { 1 };
        }
        Ok(elements)
    }

    /// The next answer. An error ends the measurement, which would not be one.
    async fn reply(&mut self) -> Outcome<BytesMut> {
        loop {
            if let Some(length) = skip(&self.received, 0) {
                if self.received[0] == b'-' {
                    return Err(String::from_utf8_lossy(&self.received[..length]).into());
                }
                let reply = self.received.split_to(length);
                if self.received.is_empty() {
                    self.received.advance(0);
                }
                return Ok(reply);
            }
            self.received.reserve(256 << 10);
            if self.stream.read_buf(&mut self.received).await? == 0 {
                return Err("the server has ended the connection".into());
            }
        }
    }
}

/// Where the reply that begins there ends, if all of it has come.
fn skip(bytes: &[u8], start: usize) -> Option<usize> {
    let line = bytes.get(start..)?;
    let end = start + line.iter().position(|byte| *byte == b'\n')? + 1;
    match line.first()? {
        b'$' => {
            let length = number(line)?;
            let end = if length < 0 { end } else { end + usize::try_from(length).ok()? + 2 };
            (end <= bytes.len()).then_some(end)
        }
        b'*' => (0..number(line)?.max(0)).try_fold(end, |end, _| skip(bytes, end)),
        _ => Some(end),
    }
}

/// The number in the reply's first line.
fn number(reply: &[u8]) -> Option<i64> {
    let end = reply.iter().position(|byte| *byte == b'\r')?;
    std::str::from_utf8(&reply[1..end]).ok()?.parse().ok()
}

/// The ids of the entries that a reading command of one stream has brought: the strings that come right after an array of two has begun.
fn ids_of(reply: &[u8]) -> Vec<&[u8]> {
    let mut ids = Vec::new();
    let mut place = 0;
    let mut was_pair = false;
    while place < reply.len() {
        let line = &reply[place..];
        let Some(end) = line.iter().position(|byte| *byte == b'\n').map(|end| place + end + 1) else { break };
        let count = number(line).unwrap_or_default();
        match line[0] {
            b'$' => {
                let length = usize::try_from(count).unwrap_or_default();
                let text = &reply[end..end + length];
                if was_pair && text.iter().all(|byte| byte.is_ascii_digit() || *byte == b'-') {
                    ids.push(text);
                }
                place = end + length + 2;
                was_pair = false;
            }
            kind => {
                was_pair = kind == b'*' && count == 2;
                place = end;
            }
        }
    }
    ids
}
