//! What needs a process of its own: one that is killed, and one whose memory is measured. The benchmark starts itself again for it.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use factum::{Append, SharedStore, StreamId};
use tokio::runtime::Runtime;

use crate::Outcome;
use crate::sample::{PAYLOAD_BYTES, Sample, scrambled};
use crate::workbench::fill;

/// Events per append while a large store is filled.
const FILL_BATCH: u64 = 100;

/// Starts a child that appends to the store until it is killed, kills it after `events` events, and waits for its end.
pub(crate) fn append_and_kill(url: &str, round: u64, events: u64) -> Outcome {
    let mut child = start(&["append", url, &round.to_string()])?;
    let printed = BufReader::new(child.stdout.take().ok_or("the child has no output")?);
    for line in printed.lines() {
        if line?.parse::<u64>()? >= events {
            child.kill()?;
            child.wait()?;
            return Ok(());
        }
    }
    Err(format!("the child that appends ended by itself: {}", child.wait()?).into())
}

/// Starts a child that fills the store, and returns the most memory that it had of its own, in bytes.
pub(crate) fn fill_and_weigh(url: &str, events: u64, streams: u64, payload_bytes: usize) -> Outcome<u64> {
    answer(start(&["fill", url, &events.to_string(), &streams.to_string(), &payload_bytes.to_string()])?)
}

/// Starts a child that opens the store and looks up the heads of streams, and returns the most memory that it had of its own, in bytes.
pub(crate) fn open_and_weigh(url: &str, streams: u64) -> Outcome<u64> {
    answer(start(&["look", url, &streams.to_string()])?)
}

fn start(words: &[&str]) -> Outcome<Child> {
    Ok(Command::new(std::env::current_exe()?).arg("child").args(words).stdout(Stdio::piped()).spawn()?)
}

fn answer(child: Child) -> Outcome<u64> {
    let output = child.wait_with_output()?;
    if !output.status.success() {
        return Err(format!("a child failed: {}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

/// The child's side.
pub(crate) fn run(words: &[String]) -> Outcome {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_time().build()?;
    match words.as_slice() {
        ["append", url, round] => {
            let round = round.parse()?;
            runtime.block_on(async { append(&factum::connect(url).await?, round).await })
        }
        ["fill", url, events, streams, payload_bytes] => {
            let (events, sample) = (events.parse()?, Sample::new(streams.parse()?, payload_bytes.parse()?));
            weigh(&runtime, url, async |store| fill(store, &sample, events, FILL_BATCH).await)
        }
        ["look", url, streams] => {
            let streams = streams.parse()?;
            weigh(&runtime, url, async |store| look(store, streams).await)
        }
        _ => Err("a child knows append, fill and look".into()),
    }
}

/// Does something with the store, and prints the most memory that this process had meanwhile.
fn weigh(runtime: &Runtime, url: &str, work: impl AsyncFnOnce(&SharedStore) -> Outcome) -> Outcome {
    let most = most_memory_during(|| {
        runtime.block_on(async {
            let store = factum::connect(url).await?;
            work(&store).await?;
            Ok(store.close().await?)
        })
    })?;
    println!("{most}");
    Ok(())
}

/// Appends for ever, eight appenders with 64 events each time, and prints how many events are durable.
async fn append(store: &SharedStore, round: u64) -> Outcome {
    let sample = Sample::new(1, PAYLOAD_BYTES);
    let mut events = 0;
    for turn in 0_u64.. {
        let appends = (0..8).map(|appender| {
            let stream = StreamId::new(format!("Order-{round}.{appender}.{}", turn % 1_000)).expect("it is a short name");
            // Ids go on where the last turn ended, and no round repeats another's.
            let first = (round << 48) + (turn * 8 + appender) * 64;
            store.append(Append::to(stream, (first..first + 64).map(|number| sample.event(number))))
        });
        futures::future::try_join_all(appends).await?;
        events += 8 * 64;
        println!("{events}");
        std::io::stdout().flush()?;
    }
    Ok(())
}

/// Looks up the heads of many streams, wherever they are.
async fn look(store: &SharedStore, streams: u64) -> Outcome {
    let sample = Sample::new(streams, 0);
    for turn in 0..streams.min(200_000) {
        let stream = sample.stream(scrambled(turn) % streams);
        store.stream(&stream).await?.ok_or_else(|| format!("{stream} is not there"))?;
    }
    Ok(())
}

/// The most memory of its own, page cache and mapped files aside, that this process had while something was done, in bytes.
fn most_memory_during(work: impl FnOnce() -> Outcome) -> Outcome<u64> {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut most = 0;
            while !done.load(Ordering::Relaxed) {
                most = most.max(own_memory_bytes()?);
                std::thread::sleep(Duration::from_millis(20));
            }
            Ok(most)
        });
        let worked = work();
        done.store(true, Ordering::Relaxed);
        let most = watcher.join().expect("it does not panic");
        worked.and(most)
    })
}

fn own_memory_bytes() -> Outcome<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).ok_or("/proc/self/status has no RssAnon")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1_024)
}
