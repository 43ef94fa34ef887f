//! What is SQLite's own: opening a file, and what its rows hold.

use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow, SqliteSynchronous};
use sqlx::{Row, TypeInfo, ValueRef};

use super::{SqlValue, trouble};
use crate::error::{Error, Result};

/// Opens a database in a file, making it if there is none. A commit that is answered is on disk.
pub(super) async fn open(path: &str) -> Result<SqlitePool> {
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
    SqlitePoolOptions::new().max_connections(4).connect_with(options).await.map_err(trouble)
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
        _ => row.try_get(column).map(SqlValue::Text),
    };
    value.map_err(trouble)
}
