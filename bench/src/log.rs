//! Reading the whole log, and one event in a hundred of it.

use std::time::Instant;

use factum::{Category, EventStore, EventType, Query, ReadLog};
use futures::TryStreamExt;

use crate::report::{Figure, Report, Row, middle};
use crate::sample::{RARE_CATEGORY, RARE_TYPE};
use crate::workbench::{Million, Workbench};
use crate::{Outcome, raw};

/// Each reading is done so often.
const TIMES: usize = 5;

pub(crate) fn measure(workbench: &mut Workbench, report: &mut Report) -> Outcome {
    let million = workbench.million()?;
    let records = workbench.records()?;
    let limit = best(|| records.mapped_rate())?;
    if let Some(folder) = &million.folder {
        let figure = Figure::EventsPerSecond(best(|| raw::rate(folder))?);
        report.add(Row::new("whole log, raw", figure).beside("mapped records with CRC32C", Figure::EventsPerSecond(limit)));
    }

    let sqlite = workbench.sqlite()?;
    let runtime = &workbench.runtime;
    let store = runtime.block_on(million.open())?;
    let read = |query: Query, expected: u64| -> Outcome<f64> {
        let start = Instant::now();
        let count = runtime.block_on(count(&*store, query))?;
        if count != expected {
            Err(format!("{count} events were read instead of {expected}").into())
        } else {
            Ok(start.elapsed().as_secs_f64())
        }
    };
    let whole = || -> Outcome<f64> { Ok(Million::EVENTS as f64 / read(Query::all(), Million::EVENTS)?) };
    let peer = || -> Outcome<f64> {
        let start = Instant::now();
        let (count, _) = sqlite.read_all()?;
        Ok(count as f64 / start.elapsed().as_secs_f64())
    };
    let pairs = (0..TIMES).map(|_| Ok((whole()?, peer()?))).collect::<Outcome<Vec<_>>>()?;
    let (decoded, others) = middle(pairs);
    let figure = Figure::EventsPerSecond(decoded);
    report.add(Row::new("whole log, decoded", figure).beside("SQLite, in order", Figure::EventsPerSecond(others)).at_least(3.0));
    report.add(Row::new("whole log, decoded", figure).beside("mapped records with CRC32C", Figure::EventsPerSecond(limit)));

    let scan = Million::EVENTS as f64 / decoded;
    let rare = Million::EVENTS / 100;
    let by_type = Query::types([EventType::new(RARE_TYPE)?]);
    let by_category = Query::category(Category::new(RARE_CATEGORY)?);
    for (name, query) in [("1 % of the log, by type", by_type), ("1 % of the log, by category", by_category)] {
        let seconds = 1.0 / best(|| Ok(1.0 / read(query.clone(), rare)?))?;
        report.add(Row::new(name, Figure::Seconds(seconds)).beside("the whole log", Figure::Seconds(scan)));
    }
    runtime.block_on(million.close(store))
}

/// The best of several measurements: what disturbs one only makes it slower.
fn best(mut measure: impl FnMut() -> Outcome<f64>) -> Outcome<f64> {
    let mut best = 0.0;
    for _ in 0..TIMES {
        best = f64::max(best, measure()?);
    }
    Ok(best)
}

async fn count(store: &dyn EventStore, query: Query) -> Outcome<u64> {
    let mut events = store.read_log(ReadLog { query, ..ReadLog::default() });
    let mut count = 0;
    while let Some(event) = events.try_next().await? {
        std::hint::black_box(event);
        count += 1;
    }
    Ok(count)
}
