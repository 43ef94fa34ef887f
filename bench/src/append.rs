//! Durable appends: one appender, many at once, and batches, beside the rate and the bandwidth of synced writes.

use std::time::{Duration, Instant};

use factum::{Append, ExpectedVersion, SharedStore, StreamId};
use tokio::runtime::Runtime;

use crate::Outcome;
use crate::report::{Figure, Report, Row};
use crate::sample::{PAYLOAD_BYTES, Sample};
use crate::workbench::Workbench;

/// So many streams an appender goes round.
const STREAMS_EACH: u64 = 100;

/// How a store is loaded.
#[derive(Clone, Copy)]
struct Load {
    /// Each load has streams of its own.
    number: u64,
    appenders: u64,
    batch: u64,
    duration: Duration,
}

pub(crate) fn measure(workbench: &mut Workbench, report: &mut Report) -> Outcome {
    let store = workbench.open("append")?;
    let duration = workbench.arguments.load;
    // Not measured: the first files are made, the threads started.
    run(&workbench.runtime, &store, Load { number: 0, appenders: 8, batch: 8, duration: duration / 4 })?;

    for (number, name, appenders, at_least) in [(1, "one appender", 1, 0.8), (2, "64 appenders at once", 64, 9.0)] {
        let (rate, limit) = synced(workbench, &store, Load { number, appenders, batch: 1, duration })?;
        let beside = Figure::SyncsPerSecond(limit);
        report.add(Row::new(name, Figure::EventsPerSecond(rate)).beside("synced writes of 512 B", beside).at_least(at_least));
    }
    for (number, appenders, batch, at_least) in [(3, 1, 100, None), (4, 4, 100, None), (5, 1, 512, Some(0.4)), (6, 4, 512, Some(0.4))] {
        let (rate, limit) = streamed(workbench, &store, Load { number, appenders, batch, duration })?;
        let many = if appenders == 1 { "one appender" } else { "4 appenders at once" };
        // Only the events' data is counted; names, ids and checksums are written besides.
        let ratio = rate * PAYLOAD_BYTES as f64 / limit;
        let row = Row::new(format!("{many}, {batch} events per append"), Figure::EventsPerSecond(rate));
        let row = row.beside("synced writes of 1 MiB", Figure::BytesPerSecond(limit)).with_ratio(ratio);
        report.add(match at_least {
            Some(at_least) => row.at_least(at_least),
            None => row,
        });
    }
    workbench.runtime.block_on(store.close())?;
    Ok(())
}

/// The rate under a load, and that of synced writes around it: a machine that drifts moves both.
fn synced(workbench: &mut Workbench, store: &SharedStore, load: Load) -> Outcome<(f64, f64)> {
    let before = workbench.prewritten()?.sync_rate()?;
    let rate = run(&workbench.runtime, store, load)?;
    Ok((rate, f64::midpoint(before, workbench.prewritten()?.sync_rate()?)))
}

/// The rate under a load, and the bandwidth of synced writes around it.
fn streamed(workbench: &mut Workbench, store: &SharedStore, load: Load) -> Outcome<(f64, f64)> {
    let before = workbench.prewritten()?.bandwidth()?;
    let rate = run(&workbench.runtime, store, load)?;
    Ok((rate, f64::midpoint(before, workbench.prewritten()?.bandwidth()?)))
}

/// How many events per second are appended under that load.
fn run(runtime: &Runtime, store: &SharedStore, load: Load) -> Outcome<f64> {
    let start = Instant::now();
    let mut tasks = Vec::new();
    for number in 0..load.appenders {
        let mut appender = Appender::new(number, load);
        let store = store.clone();
        tasks.push(runtime.spawn(async move {
            let mut events = 0;
            while start.elapsed() < load.duration {
                store.append(appender.next()).await?;
                events += load.batch;
            }
            Ok::<u64, factum::Error>(events)
        }));
    }
    let mut events = 0;
    for task in tasks {
        events += runtime.block_on(task)??;
    }
    Ok(events as f64 / start.elapsed().as_secs_f64())
}

/// One that appends to streams of its own, and knows their versions.
struct Appender {
    sample: Sample,
    streams: Vec<(StreamId, u64)>,
    turn: usize,
    batch: u64,
    next_event: u64,
}

impl Appender {
    fn new(number: u64, load: Load) -> Self {
        let sample = Sample::new(STREAMS_EACH, PAYLOAD_BYTES);
        let stream = |turn: u64| StreamId::new(format!("Order-{:02}{number:02}{turn:03}", load.number)).expect("it is a short name");
        let streams = (0..STREAMS_EACH).map(|turn| (stream(turn), 0)).collect();
        Self { sample, streams, turn: 0, batch: load.batch, next_event: number << 40 }
    }

    fn next(&mut self) -> Append {
        self.turn = (self.turn + 1) % self.streams.len();
        let (stream, version) = &mut self.streams[self.turn];
        let events = (self.next_event..self.next_event + self.batch).map(|number| self.sample.event(number));
        let append = Append::to(stream.clone(), events).expecting(ExpectedVersion::exact(*version));
        *version += self.batch;
        self.next_event += self.batch;
        append
    }
}
