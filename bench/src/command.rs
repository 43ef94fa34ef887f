//! A command on an aggregate of 100 events, beside a bare read of its stream and a bare append.

use std::time::{Duration, Instant};

use factum::{Codec, Decider, Decision, Event, EventStoreExt, ExpectedVersion, Repository, SharedStore, StreamId, Uuid};
use serde::{Deserialize, Serialize};

use crate::Outcome;
use crate::report::{Figure, Report, Row};
use crate::workbench::Workbench;

/// Events of each stream before it is looked at.
const EVENTS_EACH: u64 = 100;
/// Each round has streams of its own for each of the three: nothing is in memory by chance.
const ROUNDS: u64 = 9;
const STREAMS_EACH: u64 = 100;
/// At most 1.3 times the time of what it stands beside.
const AT_LEAST: f64 = 0.77;

struct Order;

/// About 256 bytes as JSON.
#[derive(Clone, Serialize, Deserialize)]
struct ItemAdded {
    order: u64,
    quantity: u32,
    cents: u64,
    name: String,
    note: String,
}

impl Event for ItemAdded {}

impl Decider for Order {
    const CATEGORY: &'static str = "Order";
    type State = u64;
    type Command = ItemAdded;
    type Event = ItemAdded;
    type Reply = u64;
    type Error = std::convert::Infallible;

    fn decide(total: &u64, command: &ItemAdded) -> Result<Decision<ItemAdded, u64>, Self::Error> {
        Ok(Decision::of([command.clone()]).reply(total + command.cents))
    }

    fn evolve(total: &mut u64, event: &ItemAdded) {
        *total += event.cents * u64::from(event.quantity);
    }
}

pub(crate) fn measure(workbench: &mut Workbench, report: &mut Report) -> Outcome {
    let store = workbench.open("command")?;
    let (bare, cold, cached) = workbench.runtime.block_on(rounds(&store))?;
    workbench.runtime.block_on(store.close())?;
    let each = |total: Duration| Figure::Seconds(total.as_secs_f64() / STREAMS_EACH as f64);
    for (name, took) in [("a command on 100 events, cold", cold), ("a command on 100 events, cached", cached)] {
        report.add(Row::new(name, each(took)).beside("a bare read and a bare append", each(bare)).at_least(AT_LEAST));
    }
    Ok(())
}

/// The best of the rounds of each: bare, cold, cached. They take turns, so that a machine that drifts moves all.
async fn rounds(store: &SharedStore) -> Outcome<(Duration, Duration, Duration)> {
    let cold = Repository::<Order>::new(store.clone()).caching(0);
    let cached = Repository::<Order>::new(store.clone());
    let mut best = (Duration::MAX, Duration::MAX, Duration::MAX);
    for round in 0..ROUNDS {
        let ids = |what: u64| (0..STREAMS_EACH).map(move |number| ((round * 3 + what) * STREAMS_EACH + number).to_string());
        for what in 0..3 {
            fill(store, ids(what)).await?;
        }
        for id in ids(2) {
            cached.get(&id).await?;
        }
        for turn in 0..3 {
            match (round + turn) % 3 {
                0 => best.0 = best.0.min(bare(store, ids(0)).await?),
                1 => best.1 = best.1.min(commands(&cold, ids(1)).await?),
                _ => best.2 = best.2.min(commands(&cached, ids(2)).await?),
            }
        }
    }
    Ok(best)
}

async fn bare(store: &SharedStore, ids: impl Iterator<Item = String>) -> Outcome<Duration> {
    let codec = Codec::<ItemAdded>::new();
    let mut took = Duration::ZERO;
    for id in ids {
        let (stream, event) = (stream(&id)?, codec.encode(&item(EVENTS_EACH), Uuid::now_v7())?);
        let start = Instant::now();
        let events = store.load(&stream).await?;
        store.append_to(&stream, ExpectedVersion::exact(EVENTS_EACH), vec![event]).await?;
        took += start.elapsed();
        if events.len() as u64 != EVENTS_EACH {
            return Err(format!("{stream} has {} events", events.len()).into());
        }
    }
    Ok(took)
}

async fn commands(orders: &Repository<Order>, ids: impl Iterator<Item = String>) -> Outcome<Duration> {
    let mut took = Duration::ZERO;
    for id in ids {
        let command = item(EVENTS_EACH);
        let start = Instant::now();
        let done = orders.execute(&id, command).await?;
        took += start.elapsed();
        if done.version.get() != EVENTS_EACH + 1 {
            return Err(format!("Order-{id} came to version {}", done.version).into());
        }
    }
    Ok(took)
}

/// Fills the streams event by event and not stream by stream, so that a stream's events lie apart, as they do where many are used at once.
async fn fill(store: &SharedStore, ids: impl Iterator<Item = String>) -> Outcome {
    let codec = Codec::<ItemAdded>::new();
    let streams = ids.map(|id| stream(&id)).collect::<Outcome<Vec<_>>>()?;
    for number in 0..EVENTS_EACH {
        let mut append = factum::Append::default();
        for stream in &streams {
            let event = codec.encode(&item(number), Uuid::now_v7())?;
            append = append.and_to(stream.clone(), ExpectedVersion::exact(number), [event]);
        }
        store.append(append).await?;
    }
    Ok(())
}

fn stream(id: &str) -> Outcome<StreamId> {
    Ok(StreamId::new(format!("{}-{id}", Order::CATEGORY))?)
}

fn item(number: u64) -> ItemAdded {
    ItemAdded { order: 1_000_000 + number, quantity: 2, cents: 1_950, name: "a book about events".to_owned(), note: "n".repeat(160) }
}
