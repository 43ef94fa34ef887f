//! Reading a stream of 100 events that are spread over a million, when they are in memory and when they are not.

use std::time::{Duration, Instant};

use factum::{EventStoreExt, SharedStore, StreamId};
use tokio::runtime::Runtime;

use crate::Outcome;
use crate::page_cache;
use crate::report::{Figure, Report, Row};
use crate::sample::scrambled;
use crate::sqlite::Sqlite;
use crate::workbench::{Million, Workbench};

const EACH: u64 = Million::EVENTS / Million::STREAMS;
/// So many streams are read for the time of one.
const WARM_STREAMS: u64 = 2_000;
/// So often everything is made cold, and one stream read.
const COLD_ROUNDS: u64 = 21;

pub(crate) fn measure(workbench: &mut Workbench, report: &mut Report) -> Outcome {
    let million = workbench.million()?;
    let sqlite = workbench.sqlite()?;
    warm(&workbench.runtime, &million, &sqlite, report)?;
    if million.folder.is_some() { cold(workbench, &million, report) } else { Ok(()) }
}

fn warm(runtime: &Runtime, million: &Million, sqlite: &Sqlite, report: &mut Report) -> Outcome {
    let store = runtime.block_on(million.open())?;
    let streams: Vec<StreamId> = (0..WARM_STREAMS).map(|turn| million.sample.stream(scrambled(turn) % Million::STREAMS)).collect();
    let (mut ours, mut others) = (Duration::MAX, Duration::MAX);
    // The first round warms both; the best counts.
    for _ in 0..4 {
        let start = Instant::now();
        runtime.block_on(async {
            for stream in &streams {
                check(store.load(stream).await?.len() as u64)?;
            }
            Outcome::Ok(())
        })?;
        ours = ours.min(start.elapsed());
        let start = Instant::now();
        for stream in &streams {
            check(sqlite.read_stream(stream.as_str())?.0)?;
        }
        others = others.min(start.elapsed());
    }
    runtime.block_on(million.close(store))?;
    let each = |total: Duration| Figure::Seconds(total.as_secs_f64() / WARM_STREAMS as f64);
    report.add(Row::new("a stream of 100, warm", each(ours)).beside("SQLite, indexed", each(others)).at_least(1.0));
    Ok(())
}

/// Every round closes the store, makes its files cold and opens it again; then one stream is timed. The peer reads 100 records, as far
/// apart, one by one out of a cold file.
fn cold(workbench: &mut Workbench, million: &Million, report: &mut Report) -> Outcome {
    let records = workbench.records()?;
    let runtime = &workbench.runtime;
    let folder = million.folder.as_ref().ok_or("a store in memory can't be cold")?;
    let (mut ours, mut others) = (Vec::new(), Vec::new());
    for round in 0..COLD_ROUNDS {
        let number = scrambled(round) % Million::STREAMS;
        page_cache::evict(folder)?;
        let store = runtime.block_on(million.open())?;
        let read_before = page_cache::bytes_read_from_disk()?;
        let stream = million.sample.stream(number);
        ours.push(timed(runtime, &store, &stream)?);
        if page_cache::bytes_read_from_disk()? == read_before {
            return Err("a stream that should have been cold was read without the disk".into());
        }
        runtime.block_on(million.close(store))?;
        others.push(records.cold_one_by_one((0..EACH).map(|version| number + version * Million::STREAMS))?);
    }
    let figure = |times| Figure::Seconds(median(times).as_secs_f64());
    report.add(Row::new("a stream of 100, cold", figure(ours)).beside("100 records, one by one", figure(others)).at_least(4.0));
    Ok(())
}

fn timed(runtime: &Runtime, store: &SharedStore, stream: &StreamId) -> Outcome<Duration> {
    let start = Instant::now();
    check(runtime.block_on(store.load(stream))?.len() as u64)?;
    Ok(start.elapsed())
}

fn check(count: u64) -> Outcome {
    if count == EACH { Ok(()) } else { Err(format!("a stream has {count} events instead of {EACH}").into()) }
}

/// The middle one.
pub(crate) fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
