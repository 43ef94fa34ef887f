//! The store's schema: made, brought up to date and checked; and the epoch of its positions.

use sqlx::{Connection, PgConnection, Row};

use super::database::Names;
use super::error::Trouble;
use crate::error::Error;

/// What is done to the schema, in order; what was released is never changed.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/1_tables.sql"),
    include_str!("migrations/2_append.sql"),
    include_str!("migrations/3_records.sql"),
    include_str!("migrations/4_append_one.sql"),
    include_str!("migrations/5_appending.sql"),
];

/// How many migrations there are.
const LATEST: i32 = 5;

/// Makes the schema, or brings it up to date. Of several that do so at once, one does it and the others wait.
pub(super) async fn migrate(connection: &mut PgConnection, names: &Names) -> Result<(), Trouble> {
    let mut transaction = connection.begin().await?;
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))").bind(names.channel()).execute(&mut *transaction).await?;
    let encoding: String = sqlx::query_scalar("SELECT current_setting('server_encoding')").fetch_one(&mut *transaction).await?;
    if encoding != "UTF8" {
        let reason = format!("the database's encoding is {encoding}, and names of streams need UTF8; use a database with encoding UTF8");
        return Err(Error::Unavailable { reason, source: None }.into());
    }
    // A user without the right to create schemas may be given one.
    let exists: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1)")
        .bind(names.schema())
        .fetch_one(&mut *transaction)
        .await?;
    if !exists {
        sqlx::query(names.sql("CREATE SCHEMA {s}")).execute(&mut *transaction).await?;
    }
    let made = "CREATE TABLE IF NOT EXISTS {s}.migrations (version int PRIMARY KEY, made_at timestamptz NOT NULL DEFAULT now())";
    sqlx::raw_sql(names.sql(made)).execute(&mut *transaction).await?;
    let version = version(&mut transaction, names).await?.unwrap_or_default();
    for (number, migration) in (1..).zip(MIGRATIONS).skip(usize::try_from(version).unwrap_or_default()) {
        sqlx::raw_sql(names.sql(migration)).execute(&mut *transaction).await?;
        sqlx::query(names.sql("INSERT INTO {s}.migrations (version) VALUES ($1)")).bind(number).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// Checks that the schema is there and of this version.
pub(super) async fn check(connection: &mut PgConnection, names: &Names) -> Result<(), Trouble> {
    let exists: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
        .bind(format!("{}.migrations", names.quoted()))
        .fetch_one(&mut *connection)
        .await?;
    let version = if exists { version(connection, names).await? } else { None };
    let schema = names.schema();
    let reason = match version {
        Some(LATEST) => return Ok(()),
        None => format!("this database has no event store in schema {schema}; make one with `factum init`, or open it with create=true"),
        Some(older) if older < LATEST => {
            format!("the store in schema {schema} is of version {older}, older than this Factum; bring it up to date with `factum init`")
        }
        Some(newer) => format!("the store in schema {schema} is of version {newer}, made by a later Factum; use that one"),
    };
    Err(Error::Unavailable { reason, source: None }.into())
}

async fn version(connection: &mut PgConnection, names: &Names) -> Result<Option<i32>, sqlx::Error> {
    sqlx::query_scalar(names.sql("SELECT max(version) FROM {s}.migrations")).fetch_one(connection).await
}

/// Raises the base of positions if the cluster's transaction ids are behind those that the store's events were given, as they are after
/// a dump was restored into another cluster. Returns the position that every event recorded from now on is behind.
pub(super) async fn check_epoch(connection: &mut PgConnection, names: &Names) -> Result<i64, sqlx::Error> {
    let (next, highest) = epoch(connection, names).await?;
    if highest < next {
        return Ok(next - 1);
    }
    let mut transaction = connection.begin().await?;
    // Nobody appends meanwhile. Positions of the new epoch begin behind the highest, whatever the transaction id.
    sqlx::query(names.sql("LOCK TABLE {s}.gate IN EXCLUSIVE MODE")).execute(&mut *transaction).await?;
    let (next, highest) = epoch(&mut transaction, names).await?;
    if highest >= next {
        let raise = "UPDATE {s}.meta SET base = (($1 >> 20) + 1) << 20";
        sqlx::query(names.sql(raise)).bind(highest).execute(&mut *transaction).await?;
        tracing::warn!("the cluster's transaction ids are behind the events of this store, as after a restore: a new epoch begins");
    }
    transaction.commit().await?;
    Ok(epoch(connection, names).await?.0 - 1)
}

/// The lowest position that the next transaction can give, and the highest that was given.
async fn epoch(connection: &mut PgConnection, names: &Names) -> Result<(i64, i64), sqlx::Error> {
    let look = "SELECT base + (pg_snapshot_xmax(pg_current_snapshot())::text::bigint << 20),
                       coalesce((SELECT max(position) FROM {s}.events), 0)
                FROM {s}.meta";
    let row = sqlx::query(names.sql(look)).persistent(false).fetch_one(connection).await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}
