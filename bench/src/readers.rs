//! What readers cost beside reading: catching up a subscription, a group with empty handlers, and a projection into SQLite.

use std::path::Path;
use std::time::Instant;

use factum::projection::{SqlRows, SqlTarget};
use factum::{Group, Handled, Projection, Projector, ReadLog, RecordedEvent, SharedStore, Subscription, SubscriptionOptions, async_trait};
use futures::TryStreamExt;
use rusqlite::{Connection, params};

use crate::Outcome;
use crate::report::{Figure, Report, Row, middle};
use crate::workbench::{Million, Workbench};

/// How many consumers share the group.
const CONSUMERS: usize = 4;
/// How many rows are committed at once, as many as a projector does unless told otherwise.
const BATCH: usize = 2_000;
/// Each is measured so often, by turns.
const TIMES: usize = 5;
/// These two wait for the disk too, so that one pair says less.
const TIMES_IN_SQLITE: usize = 15;

pub(crate) fn measure(workbench: &mut Workbench, report: &mut Report) -> Outcome {
    let million = workbench.million()?;
    let folder = workbench.folder().to_owned();
    workbench.runtime.block_on(async {
        let store = million.open().await?;
        let (mut followed, mut shared, mut projected) = (Vec::new(), Vec::new(), Vec::new());
        for time in 0..TIMES {
            let read = whole_log(&store).await?;
            followed.push((subscription(&store).await?, read));
            shared.push((group(&store, &format!("bench-{time}")).await?, whole_log(&store).await?));
        }
        for _ in 0..TIMES_IN_SQLITE {
            let rows = tempfile::tempdir_in(&folder)?;
            let bare = inserts(&store, &rows.path().join("bare.db")).await?;
            projected.push((projection(&store, &rows.path().join("rows.db")).await?, bare));
        }
        let bare = format!("bare inserts of the same rows, rusqlite, {BATCH} a commit");
        for (name, pairs, peer, wanted) in [
            ("a subscription catches up", followed, "reading the log", 0.5),
            ("a group of 4 consumers", shared, "reading the log", 0.2),
            ("a projection into SQLite", projected, &bare, 0.6),
        ] {
            let (figure, beside) = middle(pairs);
            let row = Row::new(name, Figure::EventsPerSecond(figure));
            report.add(row.beside(peer, Figure::EventsPerSecond(beside)).at_least(wanted));
        }
        million.close(store).await
    })
}

fn rate(events: u64, start: Instant) -> f64 {
    events as f64 / start.elapsed().as_secs_f64()
}

async fn whole_log(store: &SharedStore) -> Outcome<f64> {
    let start = Instant::now();
    let mut events = store.read_log(ReadLog::default());
    while let Some(event) = events.try_next().await? {
        std::hint::black_box(event);
    }
    Ok(rate(Million::EVENTS, start))
}

async fn subscription(store: &SharedStore) -> Outcome<f64> {
    let start = Instant::now();
    let mut subscription = Subscription::new(store.clone(), SubscriptionOptions::default());
    let mut count = 0;
    while let Some(event) = subscription.next_recorded().await? {
        std::hint::black_box(event);
        count += 1;
    }
    if count != Million::EVENTS {
        return Err(format!("the subscription gave {count} events").into());
    }
    Ok(rate(count, start))
}

async fn group(store: &SharedStore, name: &str) -> Outcome<f64> {
    let start = Instant::now();
    let consumer = Group::new(store.clone(), name).join().await?;
    let left = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(Million::EVENTS));
    let hands = (0..CONSUMERS).map(|_| {
        let (consumer, left) = (consumer.clone(), left.clone());
        tokio::spawn(async move {
            while let Some(delivery) = consumer.next().await? {
                std::hint::black_box(delivery.event());
                delivery.ack()?;
                if left.fetch_sub(1, std::sync::atomic::Ordering::SeqCst) == 1 {
                    // The others hear of the end by this.
                    let stopping = consumer.clone();
                    tokio::spawn(async move { stopping.stop().await });
                }
            }
            Outcome::Ok(())
        })
    });
    for hand in hands.collect::<Vec<_>>() {
        hand.await??;
    }
    let rate = rate(Million::EVENTS, start);
    consumer.stop().await?;
    Ok(rate)
}

/// A row for each event.
struct Rows;

#[async_trait]
impl Projection<SqlRows> for Rows {
    fn name(&self) -> &str {
        "rows"
    }

    fn tables(&self) -> &[&'static str] {
        &["event_rows"]
    }

    async fn create(&self, rows: &mut SqlRows) -> Handled {
        rows.execute("CREATE TABLE {event_rows} (position INTEGER PRIMARY KEY, stream TEXT NOT NULL, kind TEXT NOT NULL)", &[]).await?;
        Ok(())
    }

    async fn apply(&self, event: &RecordedEvent, rows: &mut SqlRows) -> Handled {
        self.apply_all(std::slice::from_ref(event), rows).await
    }

    async fn apply_all(&self, events: &[RecordedEvent], rows: &mut SqlRows) -> Handled {
        let values = events
            .iter()
            .map(|event| [event.position.number().cast_signed().into(), event.stream.as_str().into(), event.event_type.as_str().into()]);
        rows.execute_rows("INSERT INTO {event_rows} (position, stream, kind) VALUES $rows", values.collect()).await?;
        Ok(())
    }
}

async fn projection(store: &SharedStore, path: &Path) -> Outcome<f64> {
    let target = SqlTarget::connect(&format!("sqlite:{}", path.display())).await?;
    let start = Instant::now();
    Projector::new(store.clone(), target.clone(), Rows).batch_events_max(BATCH).run_to_end().await?;
    let rate = rate(Million::EVENTS, start);
    let rows = target.fetch("SELECT COUNT(*) FROM event_rows", &[]).await?;
    let count = rows[0][0].as_integer().and_then(|count| u64::try_from(count).ok()).unwrap_or_default();
    if count != Million::EVENTS {
        return Err(format!("the projection made {count} rows").into());
    }
    Ok(rate)
}

/// The same rows in the same batches, by a driver that has nothing between it and SQLite, with each commit as durable.
async fn inserts(store: &SharedStore, path: &Path) -> Outcome<f64> {
    let mut connection = Connection::open(path)?;
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
         CREATE TABLE event_rows (position INTEGER PRIMARY KEY, stream TEXT NOT NULL, kind TEXT NOT NULL)",
    )?;
    let start = Instant::now();
    let mut batches = store.read_log(ReadLog::default()).try_chunks(BATCH);
    while let Some(batch) = batches.try_next().await.map_err(|error| error.1)? {
        let transaction = connection.transaction()?;
        {
            let mut insert = transaction.prepare_cached("INSERT INTO event_rows VALUES (?1, ?2, ?3)")?;
            for event in &batch {
                insert.execute(params![event.position.number().cast_signed(), event.stream.as_str(), event.event_type.as_str()])?;
            }
        }
        transaction.commit()?;
    }
    Ok(rate(Million::EVENTS, start))
}
