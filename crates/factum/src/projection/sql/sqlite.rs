//! What is SQLite's own: opening a file, its one writer, and what its rows hold.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Row, TypeInfo, ValueRef};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::{SqlValue, trouble, uncommitted};
use crate::error::{Error, Result};

/// A database in a file.
#[derive(Clone, Debug)]
pub(super) struct File {
    readers: SqlitePool,
    options: Arc<SqliteConnectOptions>,
    /// The connection that writes, where nobody has it. SQLite has one writer at a time, and lets others look for their chance from time to time;
    /// of two who write all the time one would starve. So they take turns here.
    ///
    /// It is one connection: its statements stay prepared, and what it knows of the file is never out of date in this process. It is none of a
    /// pool's, because each of a pool's transactions waits for its thread several times more.
    writer: Arc<Mutex<Option<SqliteConnection>>>,
}

/// A transaction. One that writes and is dropped takes its connection along, and with that what it changed.
#[derive(Debug)]
pub(super) enum Session {
    Reading(sqlx::Transaction<'static, sqlx::Sqlite>),
    Writing { connection: SqliteConnection, turn: OwnedMutexGuard<Option<SqliteConnection>> },
}

impl File {
    /// A transaction that only looks.
    pub(super) async fn read(&self) -> Result<Session> {
        Ok(Session::Reading(self.readers.begin().await.map_err(trouble)?))
    }

    /// A transaction that changes rows, once [`BEGIN`] is sent. Nobody else does so until it ends.
    pub(super) async fn write(&self) -> Result<Session> {
        let mut turn = self.writer.clone().lock_owned().await;
        let connection = match turn.take() {
            Some(connection) => connection,
            None => self.options.connect().await.map_err(trouble)?,
        };
        Ok(Session::Writing { connection, turn })
    }
}

/// What a transaction that writes begins with.
pub(super) const BEGIN: &str = "BEGIN IMMEDIATE";

impl Session {
    pub(super) async fn commit(self) -> Result<()> {
        match self {
            Self::Reading(transaction) => transaction.commit().await.map_err(uncommitted),
            Self::Writing { mut connection, mut turn } => {
                sqlx::query("COMMIT").execute(&mut connection).await.map_err(uncommitted)?;
                *turn = Some(connection);
                Ok(())
            }
        }
    }
}

impl Deref for Session {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        match self {
            Self::Reading(transaction) => transaction,
            Self::Writing { connection, .. } => connection,
        }
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        match self {
            Self::Reading(transaction) => transaction,
            Self::Writing { connection, .. } => connection,
        }
    }
}

/// Opens a database in a file, making it if there is none. A commit that is answered is on disk.
pub(super) async fn open(path: &str) -> Result<File> {
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
    let writer = options.connect().await.map_err(trouble)?;
    // Connections are to a file: asking before each use whether they still live costs as much as a statement.
    let readers = SqlitePoolOptions::new().max_connections(4).test_before_acquire(false);
    let readers = readers.connect_with(options.clone()).await.map_err(trouble)?;
    Ok(File { readers, options: Arc::new(options), writer: Arc::new(Mutex::new(Some(writer))) })
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
