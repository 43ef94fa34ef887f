//! Events that can't be applied, waiting for what one wrote, and values that come back.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use factum::projection::{Build, SqlRows, SqlValue, Target};
use factum::{Backoff, Error, Handled, OnFailure, Projection, Projector, RecordedEvent, SharedStore};

use crate::Outcome;
use crate::places::Database;
use crate::totals::{Totals, append, fold, rows, rows_at};

const QUICK: Backoff = Backoff { attempts_max: 2, first: Duration::from_millis(1), longest: Duration::from_millis(1) };

pub(crate) async fn an_event_that_fails_stops_it_or_is_parked_and_replayed(store: SharedStore, database: Arc<Database>) -> Outcome {
    let totals = Totals::default();
    append(&store, 1..=30).await?;
    totals.refuses.store(13, Ordering::SeqCst);
    let projector = Projector::new(store.clone(), database.target.clone(), totals.clone()).retry(QUICK).batch_events_max(10);
    let stopped = projector.run_to_end().await;
    let Err(Error::HandlerFailed { version, attempts: 2, .. }) = stopped else { return Err(format!("{stopped:?}").into()) };
    assert_eq!(version.get(), 13);
    let everything = Totals::default();
    let position = database.target.position("totals").await?;
    assert_eq!(rows(&database.target).await?, fold(&store, &everything, position).await?);
    // Parked, the others go on.
    let parking = projector.clone().on_failure(OnFailure::Park);
    parking.run_to_end().await?;
    let build = Build { name: "totals".to_owned(), version: 1, tables: vec!["totals".to_owned()] };
    let parked = database.target.parked(&build).await?;
    assert_eq!(parked.iter().map(|parked| parked.version).collect::<Vec<_>>(), [13, 26]);
    assert_eq!(parked[0].reason, "13 is refused");
    assert_eq!(rows(&database.target).await?.values().map(|(count, _)| count).sum::<i64>(), 28);
    // Replayed too early it stays; later it goes in, once.
    assert_eq!(database.target.ask_for_replay(&build, None, true).await?, 2);
    parking.run_to_end().await?;
    assert_eq!(database.target.parked(&build).await?.iter().filter(|parked| !parked.replay).count(), 2);
    totals.refuses.store(0, Ordering::SeqCst);
    database.target.ask_for_replay(&build, None, true).await?;
    parking.run_to_end().await?;
    parking.run_to_end().await?;
    assert_eq!(database.target.parked(&build).await?, []);
    assert_eq!(rows(&database.target).await?, fold(&store, &everything, store.head().await?).await?);
    Ok(())
}

pub(crate) async fn who_wrote_it_reads_it(store: SharedStore, database: Arc<Database>) -> Outcome {
    let totals = Totals::default();
    let projector = Projector::new(store.clone(), database.target.clone(), totals.clone());
    let last = append(&store, 1..=3).await?;
    let early = projector.wait_for(last, Duration::from_millis(5)).await;
    assert!(matches!(early, Err(Error::Unavailable { .. })), "{early:?}");
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn({
        let projector = projector.clone();
        async move { projector.run_until(stopped).await }
    });
    for round in 0..20 {
        let last = append(&store, [round]).await?;
        projector.wait_for(last, Duration::from_secs(30)).await?;
        let (position, is) = rows_at(&database.target).await?;
        assert!(position >= last);
        assert_eq!(is, fold(&store, &totals, position).await?);
    }
    stop.send(()).expect("it waits for this");
    running.await??;
    Ok(())
}

/// Writes one of each kind of value.
struct Kinds;

#[async_trait::async_trait]
impl Projection<SqlRows> for Kinds {
    fn name(&self) -> &str {
        "kinds"
    }

    fn tables(&self) -> &[&'static str] {
        &["kinds", "kinds_too"]
    }

    async fn create(&self, rows: &mut SqlRows) -> Handled {
        rows.execute("CREATE TABLE {kinds} (a BIGINT, b DOUBLE PRECISION, c TEXT, d BIGINT, e INTEGER)", &[]).await?;
        rows.execute("CREATE TABLE {kinds_too} (a BIGINT)", &[]).await?;
        Ok(())
    }

    async fn apply(&self, _: &RecordedEvent, rows: &mut SqlRows) -> Handled {
        let values = [i64::MIN.into(), 0.5.into(), "it's {kinds}".into(), SqlValue::Null, 7.into()];
        rows.execute("INSERT INTO {kinds} VALUES ($1, $2, $3, $4, $5)", &values).await?;
        let found = rows.fetch("SELECT a, b, c, d, e FROM {kinds} WHERE c = $1 AND d IS NULL", &["it's {kinds}".into()]).await?;
        if found != [values.to_vec()] {
            return Err(format!("{found:?}").into());
        }
        Ok(())
    }
}

pub(crate) async fn nulls_and_numbers_come_back_as_they_were(store: SharedStore, database: Arc<Database>) -> Outcome {
    append(&store, [1]).await?;
    Projector::new(store, database.target.clone(), Kinds).retry(Backoff::ONCE).run_to_end().await?;
    assert_eq!(database.target.fetch("SELECT c FROM kinds", &[]).await?, [[SqlValue::from("it's {kinds}")]]);
    let refused = database.target.fetch("SELECT nothing FROM nowhere", &[]).await;
    assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
    Ok(())
}

/// Writes many rows for each event.
struct Many;

/// More than a statement takes.
const MANY: i64 = 12_000;

#[async_trait::async_trait]
impl Projection<SqlRows> for Many {
    fn name(&self) -> &str {
        "many"
    }

    fn tables(&self) -> &[&'static str] {
        &["many"]
    }

    async fn create(&self, rows: &mut SqlRows) -> Handled {
        rows.execute("CREATE TABLE {many} (a BIGINT PRIMARY KEY, b TEXT, c BIGINT)", &[]).await?;
        Ok(())
    }

    async fn apply(&self, _: &RecordedEvent, rows: &mut SqlRows) -> Handled {
        let insert = "INSERT INTO {many} AS m (a, b, c) VALUES $rows ON CONFLICT (a) DO UPDATE SET c = m.c + excluded.c";
        let many = |added: i64| (0..MANY).map(|number| [number.into(), SqlValue::Null, added.into()]).collect();
        for added in [1, 2] {
            let changed = rows.execute_rows(insert, many(added)).await?;
            assert_eq!(changed, MANY.cast_unsigned());
        }
        assert_eq!(rows.execute_rows::<3>(insert, Vec::new()).await?, 0);
        rows.execute_rows("INSERT INTO {many} VALUES $rows", vec![[(-1).into(), "$rows".into(), 0.into()]]).await?;
        Ok(())
    }
}

pub(crate) async fn many_rows_go_in_with_one_statement(store: SharedStore, database: Arc<Database>) -> Outcome {
    append(&store, [1]).await?;
    Projector::new(store, database.target.clone(), Many).retry(Backoff::ONCE).run_to_end().await?;
    let found = database.target.fetch("SELECT COUNT(*), CAST(SUM(c) AS BIGINT), COUNT(b), MAX(b) FROM many", &[]).await?;
    assert_eq!(found, [[(MANY + 1).into(), (3 * MANY).into(), 1.into(), SqlValue::from("$rows")]]);
    let build = Build { name: "many".to_owned(), version: 2, tables: Vec::new() };
    let (mut rows, _) = database.target.claim(&build).await?;
    let refused = rows.execute_rows("INSERT INTO many VALUES ($1)", vec![[1.into()]]).await;
    assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
    Ok(())
}
