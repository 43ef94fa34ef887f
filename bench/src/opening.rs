//! Opening a store after a clean stop and after a kill, with its files in memory and without, and the first lookup in a cold one.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::report::{Figure, Report, Row};
use crate::stream::median;
use crate::workbench::Workbench;
use crate::{Outcome, child, page_cache, sample};

const AFTER_A_STOP: Figure = Figure::Seconds(0.05);
const AFTER_A_KILL: Figure = Figure::Seconds(1.0);
const TIMES: u64 = 5;
/// So many events are appended before the kill, so that there is much to look through: 180 MB or so.
const EVENTS_BEFORE_THE_KILL: u64 = 500_000;
/// So many cold heads are looked up, each in another place.
const COLD_HEADS: u64 = 200;

pub(crate) fn measure(workbench: &mut Workbench, report: &mut Report) -> Outcome {
    let million = workbench.million()?;
    if let Some(folder) = &million.folder {
        opened(workbench, "1 M events", &million.url, folder, report)?;
    }
    if let Some(large) = workbench.large()? {
        let name = format!("{} M events", workbench.arguments.scale as f64 / 1e6);
        cold_heads(workbench, &name, &large.url, &large.folder, report)?;
        opened(workbench, &name, &large.url, &large.folder, report)?;
    }
    Ok(())
}

fn opened(workbench: &Workbench, name: &str, url: &str, folder: &Path, report: &mut Report) -> Outcome {
    let open = || open(workbench, url);
    open()?;
    let warm = (0..TIMES).map(|_| open()).collect::<Outcome<Vec<_>>>()?;
    let evicted = || {
        page_cache::evict(folder)?;
        open()
    };
    let cold = (0..TIMES).map(|_| evicted()).collect::<Outcome<Vec<_>>>()?;
    add(report, format!("opening {name} after a stop"), median(warm), AFTER_A_STOP);
    add(report, format!("opening {name} after a stop, cold"), median(cold), AFTER_A_STOP);

    // The longest counts: what is left to do depends on the moment of the kill.
    let (mut warm, mut cold) = (Duration::ZERO, Duration::ZERO);
    for round in 0..TIMES {
        child::append_and_kill(url, round + 1, EVENTS_BEFORE_THE_KILL * (round + 1) / TIMES)?;
        if round % 2 == 0 {
            warm = warm.max(open()?);
        } else {
            cold = cold.max(evicted()?);
        }
    }
    add(report, format!("opening {name} after a kill"), warm, AFTER_A_KILL);
    add(report, format!("opening {name} after a kill, cold"), cold, AFTER_A_KILL);
    Ok(())
}

/// Opens the store, asks for its head, and closes it again: how long it took until the head was known.
fn open(workbench: &Workbench, url: &str) -> Outcome<Duration> {
    workbench.runtime.block_on(async {
        let start = Instant::now();
        let store = factum::connect(url).await?;
        store.head().await?;
        let took = start.elapsed();
        store.close().await?;
        Ok(took)
    })
}

fn cold_heads(workbench: &Workbench, name: &str, url: &str, folder: &Path, report: &mut Report) -> Outcome {
    page_cache::evict(folder)?;
    let streams = workbench.arguments.streams;
    let sample = sample::Sample::new(streams, 0);
    let times = workbench.runtime.block_on(async {
        let store = factum::connect(url).await?;
        let mut times = Vec::new();
        for turn in 0..COLD_HEADS {
            let stream = sample.stream(sample::scrambled(turn + streams) % streams);
            let start = Instant::now();
            store.stream(&stream).await?.ok_or_else(|| format!("{stream} is not there"))?;
            times.push(start.elapsed());
        }
        store.close().await?;
        Outcome::Ok(times)
    })?;
    let figure = Figure::Seconds(median(times).as_secs_f64());
    report.add(Row::new(format!("head of a cold stream among {} M, {name}", streams as f64 / 1e6), figure));
    Ok(())
}

fn add(report: &mut Report, name: String, took: Duration, bound: Figure) {
    report.add(Row::new(name, Figure::Seconds(took.as_secs_f64())).beside("bound", bound).at_least(1.0));
}
