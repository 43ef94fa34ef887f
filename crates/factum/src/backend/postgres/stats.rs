//! Counts and sizes, and who holds readers back.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sqlx::{Connection, PgConnection, Row};

use super::database::Names;
use super::row::{self, Instant};
use crate::Stats;

/// Transactions that have written for so long are named, in seconds.
const LONG_SECONDS: f64 = 1.0;

const TOTALS: &str = "
    SELECT (SELECT count(*) FROM {s}.events), (SELECT count(*) FROM {s}.streams),
           (SELECT recorded_at FROM {s}.events ORDER BY position DESC LIMIT 1),
           (SELECT recorded_at FROM {s}.events ORDER BY position LIMIT 1)";
const CATEGORIES: &str = "SELECT category, count(*) FROM {s}.events GROUP BY category ORDER BY category LIMIT $1";
const TYPES: &str = "SELECT type, count(*) FROM {s}.events GROUP BY type ORDER BY type LIMIT $1";
const SIZES: &str = "
    SELECT CASE WHEN c.relname IN ('events', 'tags') THEN c.relname::text ELSE 'streams_and_records' END,
           sum(pg_table_size(c.oid))::bigint, sum(pg_indexes_size(c.oid))::bigint
    FROM pg_class c WHERE c.relnamespace = $1::regnamespace AND c.relkind = 'r' GROUP BY 1";
const HIDDEN: &str = "
    SELECT count(*) FROM {s}.events e
    WHERE e.position >= (SELECT base + (pg_snapshot_xmin(pg_current_snapshot())::text::bigint << 20) FROM {s}.meta)";
/// Every transaction that writes holds a lock on its own id, which everybody may see; who it is, only a monitor.
const HOLDERS: &str = "
    SELECT l.pid, extract(epoch FROM clock_timestamp() - a.xact_start)::float8, a.usename::text, a.datname::text, a.application_name, a.state
    FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock' AND l.granted AND l.pid <> pg_backend_pid()
    ORDER BY a.xact_start NULLS FIRST LIMIT 20";
const PREPARED: &str = "
    SELECT gid, extract(epoch FROM clock_timestamp() - prepared)::float8, owner::text, database::text FROM pg_prepared_xacts
    ORDER BY prepared LIMIT 20";

/// Counts everything, at one moment.
pub(super) async fn stats(connection: &mut PgConnection, names: &Names) -> sqlx::Result<Stats> {
    let hidden: i64 = sqlx::query_scalar(names.sql(HIDDEN)).persistent(false).fetch_one(&mut *connection).await?;
    let notes = notes(connection, hidden > 0).await?;
    let mut moment = connection.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let totals = sqlx::query(names.sql(TOTALS)).fetch_one(&mut *moment).await?;
    let (categories, categories_cut) = counts(&mut moment, names, CATEGORIES).await?;
    let (types, types_cut) = counts(&mut moment, names, TYPES).await?;
    let mut disk_bytes = BTreeMap::new();
    for row in sqlx::query(SIZES).bind(names.quoted()).fetch_all(&mut *moment).await? {
        let (what, table, index): (String, i64, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        *disk_bytes.entry(what).or_default() += table.unsigned_abs();
        *disk_bytes.entry("indexes".to_owned()).or_default() += index.unsigned_abs();
    }
    moment.commit().await?;
    let time =
        |column: usize| Ok::<_, sqlx::Error>(totals.try_get::<Option<Instant>, _>(column)?.map(|instant| -> Timestamp { instant.0 }));
    Ok(Stats {
        store: "postgres".to_owned(),
        events: totals.try_get::<i64, _>(0)?.unsigned_abs(),
        streams: totals.try_get::<i64, _>(1)?.unsigned_abs(),
        categories,
        types,
        names_cut: categories_cut || types_cut,
        last_recorded_at: time(2)?,
        first_recorded_at: time(3)?,
        disk_bytes,
        details: BTreeMap::from([("hidden_events".to_owned(), hidden.unsigned_abs())]),
        notes,
        ..Stats::default()
    })
}

/// The numbers behind names, and whether there are more names than are counted.
async fn counts(connection: &mut PgConnection, names: &Names, statement: &str) -> sqlx::Result<(BTreeMap<String, u64>, bool)> {
    let most = row::number(Stats::NAMES_MAX as u64);
    let rows = sqlx::query(names.sql(statement)).bind(most + 1).fetch_all(connection).await?;
    let counted = rows.iter().take(Stats::NAMES_MAX).map(|row| Ok((row.try_get(0)?, row.try_get::<i64, _>(1)?.unsigned_abs())));
    Ok((counted.collect::<sqlx::Result<_>>()?, rows.len() > Stats::NAMES_MAX))
}

/// The long transactions that hold the horizon back.
async fn notes(connection: &mut PgConnection, hides: bool) -> sqlx::Result<Vec<String>> {
    let mut notes = Vec::new();
    let consequence = if hides {
        "readers of the log do not see what was recorded since"
    } else {
        "readers of the log will not see what is recorded from now on"
    };
    for row in sqlx::query(HOLDERS).persistent(false).fetch_all(&mut *connection).await? {
        let pid: Option<i32> = row.try_get(0)?;
        let seconds: Option<f64> = row.try_get(1)?;
        let Some(pid) = pid else { continue };
        let Some(seconds) = seconds else {
            if hides {
                notes.push(format!(
                    "pid {pid} has a transaction open, perhaps for long (grant pg_monitor to see its age): {consequence} before it ends"
                ));
            }
            continue;
        };
        if seconds >= LONG_SECONDS {
            let text = |column: usize| row.try_get::<Option<String>, _>(column).map(Option::unwrap_or_default);
            let (user, database, application, state) = (text(2)?, text(3)?, text(4)?, text(5)?);
            notes.push(format!(
                "pid {pid} has a writing transaction open for {seconds:.0} s (user {user}, database {database}, application {application:?}, \
                 {state}): {consequence} until it ends; `SELECT pg_terminate_backend({pid})` ends it"
            ));
        }
    }
    for row in sqlx::query(PREPARED).persistent(false).fetch_all(connection).await? {
        let (gid, seconds, owner, database): (String, f64, String, String) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
        notes.push(format!(
            "transaction {gid:?} has been prepared for {seconds:.0} s (user {owner}, database {database}): {consequence} until it is committed \
             or rolled back"
        ));
    }
    Ok(notes)
}
