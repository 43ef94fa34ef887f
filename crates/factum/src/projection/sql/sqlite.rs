//! What is SQLite's own: opening a file, and what its rows hold.

use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow, SqliteSynchronous};
use sqlx::{Row, TypeInfo, ValueRef};

use super::{SqlValue, trouble};
use crate::error::{Error, Result};

/// A database in a file.
#[derive(Clone, Debug)]
pub(super) struct Pools {
    pub(super) readers: SqlitePool,
    /// One connection: its statements stay prepared, and what it knows of the file is never out of date in this process.
    pub(super) writer: SqlitePool,
}

/// Opens a database in a file, making it if there is none. A commit that is answered is on disk.
pub(super) async fn open(path: &str) -> Result<Pools> {
    let path = path.strip_prefix("//").unwrap_or(path);
    if path.is_empty() || path.starts_with(":memory:") {
        return Err(Error::invalid(
            "a projection in SQLite is in a file, sqlite:PATH; use a MemoryTarget for one that is gone with the process",
        ));
    }
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(10));
    // Connections are to a file: asking before each use whether they still live costs as much as a statement.
    let pool = |connections| SqlitePoolOptions::new().max_connections(connections).test_before_acquire(false);
    let writer = pool(1).idle_timeout(None).max_lifetime(None).connect_with(options.clone()).await.map_err(trouble)?;
    Ok(Pools { readers: pool(4).connect_with(options).await.map_err(trouble)?, writer })
}

/// What a row holds in a column.
pub(super) fn value(row: &SqliteRow, column: usize) -> Result<SqlValue> {
    let raw = row.try_get_raw(column).map_err(trouble)?;
    if raw.is_null() {
        return Ok(SqlValue::Null);
    }
    let value = match raw.type_info().name() {
        "INTEGER" | "BOOLEAN" => row.try_get::<i64, _>(column).map(SqlValue::Integer),
        "REAL" | "NUMERIC" => row.try_get(column).map(SqlValue::Real),
        "BLOB" => row.try_get(column).map(SqlValue::Bytes),
        _ => row.try_get::<String, _>(column).map(SqlValue::from),
    };
    value.map_err(trouble)
}
