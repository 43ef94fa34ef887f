//! Stores on servers, beside the bare server: the same load, by the fewest commands of its own that do anything like it.
//!
//! A bare peer is one file here: what it takes to connect, to append an event and to read a stream.

mod postgres;
mod redis;

use std::time::{Duration, Instant};

use async_trait::async_trait;
use factum::{Append, EventStoreExt, ExpectedVersion, SharedStore, StreamId};
use futures::future::try_join_all;
use tokio::runtime::Runtime;

use crate::Outcome;
use crate::arguments::Arguments;
use crate::report::{Figure, Report, Row};
use crate::sample::{PAYLOAD_BYTES, Sample};

/// So many streams an appender goes round.
const STREAMS_EACH: u64 = 100;
/// A stream that is read has so many events.
const READ_EVENTS: u64 = 100;
/// So many streams are there to be read, and read in turn.
const READ_STREAMS: u64 = 200;
/// Ours and the bare server take turns, so that a machine that drifts moves both.
const TURNS: u32 = 4;

/// A server without Factum.
#[async_trait]
trait Bare: Send + Sync {
    /// What it does for one append, in words.
    fn appending(&self) -> &'static str;

    /// What it does to read a stream, in words.
    fn reading(&self) -> &'static str;

    /// Makes what its clients need, empty.
    async fn prepare(&self) -> Outcome {
        Ok(())
    }

    /// A client with a connection of its own.
    async fn client(&self) -> Outcome<Box<dyn BareClient>>;
}

/// A client of a bare server.
#[async_trait]
trait BareClient: Send {
    /// Records one event of a stream, and names it in a log of all of them.
    async fn append(&mut self, stream: &str, event_type: &str, data: &[u8]) -> Outcome;

    /// Reads a whole stream that the store has written, and says how many events it has.
    async fn read(&mut self, stream: &str) -> Outcome<u64>;
}

/// A store on a server: its URL, the bare server, and a server of our own that runs as long as this is held.
struct Served {
    url: String,
    bare: Box<dyn Bare>,
    _server: Box<dyn std::any::Any>,
    /// How much of the bare rate we want with many appenders.
    share_wanted: f64,
}

/// The kinds of stores that are on servers, by the schemes of their URLs.
pub(crate) fn is_served(url: &str) -> bool {
    ["postgres:", "redis:"].iter().any(|scheme| url.starts_with(scheme))
}

/// Measures the store on a server; a URL that is only a scheme starts a server.
pub(crate) fn measure(url: &str, arguments: &Arguments) -> Outcome<Report> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let served = if url.starts_with("postgres:") { postgres::serve(url)? } else { redis::serve(url)? };
    runtime.block_on(served.bare.prepare())?;
    let store = runtime.block_on(factum::connect(&served.url))?;
    let capabilities = store.capabilities();
    let mut conditions = crate::conditions::of_store(capabilities.store, capabilities.durability);
    conditions.push(("bare append", served.bare.appending().to_owned()));
    conditions.push(("bare read", served.bare.reading().to_owned()));
    let mut report = Report::new(conditions);
    for (name, appenders, at_least) in [("one appender", 1, 1.0 / 1.3), ("64 appenders at once", 64, served.share_wanted)] {
        let (ours, bare) = append(&runtime, &store, &*served.bare, appenders, arguments.load)?;
        let row = Row::new(name, Figure::EventsPerSecond(ours)).beside("the bare server", Figure::EventsPerSecond(bare));
        report.add(row.at_least(at_least));
    }
    let (ours, bare) = read(&runtime, &store, &*served.bare)?;
    let row = Row::new("a stream of 100", Figure::Seconds(ours)).beside("the bare server", Figure::Seconds(bare));
    report.add(row.at_least(1.0 / 1.3));
    report.add(Row::new("the whole log", Figure::EventsPerSecond(read_log(&runtime, &store)?)));
    runtime.block_on(store.close())?;
    Ok(report)
}

/// The rates of ours and of the bare server, in turns.
fn append(runtime: &Runtime, store: &SharedStore, bare: &dyn Bare, appenders: u64, load: Duration) -> Outcome<(f64, f64)> {
    let (mut ours, mut others) = (0.0, 0.0);
    for turn in 0..TURNS {
        let name = |number: u64| format!("{appenders:02}{turn:02}{number:02}");
        let appender = |number: u64| our_appender(store.clone(), name(number), load / TURNS);
        ours += together(runtime, (0..appenders).map(appender).collect(), load / TURNS)?;
        let clients = runtime.block_on(try_join_all((0..appenders).map(|_| bare.client())))?;
        let appender = |(number, client)| bare_appender(client, name(number), load / TURNS);
        others += together(runtime, (0..).zip(clients).map(appender).collect(), load / TURNS)?;
    }
    Ok((ours / f64::from(TURNS), others / f64::from(TURNS)))
}

/// Runs all of them at once; how many events per second that makes.
fn together(runtime: &Runtime, appenders: Vec<impl Future<Output = Outcome<u64>> + Send + 'static>, load: Duration) -> Outcome<f64> {
    let tasks: Vec<_> = appenders.into_iter().map(|appender| runtime.spawn(appender)).collect();
    let mut events = 0;
    for task in tasks {
        events += runtime.block_on(task)??;
    }
    Ok(events as f64 / load.as_secs_f64())
}

async fn our_appender(store: SharedStore, name: String, load: Duration) -> Outcome<u64> {
    let sample = Sample::new(STREAMS_EACH, PAYLOAD_BYTES);
    let streams: Vec<StreamId> = (0..STREAMS_EACH).map(|turn| StreamId::new(format!("Order-{name}{turn:03}"))).collect::<Result<_, _>>()?;
    let start = Instant::now();
    let mut events = 0;
    while start.elapsed() < load {
        let stream = &streams[usize::try_from(events % STREAMS_EACH)?];
        let expected = ExpectedVersion::exact(events / STREAMS_EACH);
        store.append(Append::to(stream.clone(), [sample.event(events)]).expecting(expected)).await?;
        events += 1;
    }
    Ok(events)
}

async fn bare_appender(mut client: Box<dyn BareClient>, name: String, load: Duration) -> Outcome<u64> {
    let sample = Sample::new(STREAMS_EACH, PAYLOAD_BYTES);
    let streams: Vec<String> = (0..STREAMS_EACH).map(|turn| format!("Order-{name}{turn:03}")).collect();
    let start = Instant::now();
    let mut events = 0;
    while start.elapsed() < load {
        let stream = &streams[usize::try_from(events % STREAMS_EACH)?];
        let event = sample.event(events);
        client.append(stream, event.event_type.as_str(), &event.data).await?;
        events += 1;
    }
    Ok(events)
}

/// How long a stream of a hundred takes, ours and the bare server's.
fn read(runtime: &Runtime, store: &SharedStore, bare: &dyn Bare) -> Outcome<(f64, f64)> {
    let sample = Sample::new(READ_STREAMS, PAYLOAD_BYTES);
    let names: Vec<String> = (0..READ_STREAMS).map(|number| format!("Read-{number:05}")).collect();
    runtime.block_on(async {
        let mut client = bare.client().await?;
        for name in &names {
            let events: Vec<_> = (0..READ_EVENTS).map(|number| sample.event(number)).collect();
            store.append(Append::to(StreamId::new(name)?, events)).await?;
        }
        // The first turn warms both; the best counts.
        let (mut ours, mut others) = (Duration::MAX, Duration::MAX);
        for _ in 0..=TURNS {
            let start = Instant::now();
            for name in &names {
                check(store.load(&StreamId::new(name)?).await?.len() as u64)?;
            }
            ours = ours.min(start.elapsed());
            let start = Instant::now();
            for name in &names {
                check(client.read(name).await?)?;
            }
            others = others.min(start.elapsed());
        }
        let each = |total: Duration| total.as_secs_f64() / READ_STREAMS as f64;
        Ok((each(ours), each(others)))
    })
}

fn check(count: u64) -> Outcome {
    if count == READ_EVENTS { Ok(()) } else { Err(format!("a stream has {count} events instead of {READ_EVENTS}").into()) }
}

/// How many events per second the log gives from its beginning.
fn read_log(runtime: &Runtime, store: &SharedStore) -> Outcome<f64> {
    use futures::TryStreamExt;

    let start = Instant::now();
    let count = runtime.block_on(store.read_log(Default::default()).try_fold(0u64, |count, _| async move { Ok(count + 1) }))?;
    Ok(count as f64 / start.elapsed().as_secs_f64())
}
