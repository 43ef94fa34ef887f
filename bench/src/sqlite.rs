//! The peer for reading: a table of the same events in SQLite, with an index on (stream, version).
//!
//! It gets what makes it fast at reading: a prepared statement, a mapped file, room for its pages, and a plain struct to read into.

use std::path::Path;

use factum::RecordedEvent;
use futures::TryStreamExt;
use rusqlite::{Connection, Row, params};

use crate::Outcome;
use crate::workbench::Million;

/// A row with the same facts as a [`RecordedEvent`].
#[derive(Debug)]
#[expect(dead_code, reason = "it is made in order to be measured, and only its data is looked at")]
struct Event {
    position: i64,
    stream: String,
    version: i64,
    id: [u8; 16],
    event_type: String,
    recorded_at: i64,
    occurred_at: Option<i64>,
    data: Vec<u8>,
    metadata: Vec<u8>,
    tags: Option<String>,
}

pub(crate) struct Sqlite {
    connection: Connection,
}

impl Sqlite {
    /// Copies a store into a new database.
    pub(crate) async fn copy_of(million: &Million, folder: &Path) -> Outcome<Self> {
        let path = folder.join("peer.sqlite");
        let mut connection = Connection::open(path)?;
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA mmap_size = 8589934592; PRAGMA cache_size = -262144;
             CREATE TABLE events (position INTEGER PRIMARY KEY, stream TEXT NOT NULL, version INTEGER NOT NULL, id BLOB NOT NULL,
                 type TEXT NOT NULL, recorded_at INTEGER NOT NULL, occurred_at INTEGER, data BLOB NOT NULL, metadata BLOB NOT NULL, tags TEXT);",
        )?;
        let store = million.open().await?;
        let mut events = store.read_log(factum::ReadLog::default());
        let transaction = connection.transaction()?;
        {
            let mut insert = transaction.prepare("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")?;
            while let Some(event) = events.try_next().await? {
                let RecordedEvent { position, stream, version, id, event_type, recorded_at, occurred_at, data, metadata, .. } = &event;
                insert.execute(params![
                    i64::try_from(position.number())?,
                    stream.as_str(),
                    i64::try_from(version.get())?,
                    id.as_bytes(),
                    event_type.as_str(),
                    recorded_at.as_microsecond(),
                    occurred_at.map(|moment| moment.as_microsecond()),
                    data.as_ref(),
                    metadata.as_ref(),
                    None::<String>,
                ])?;
            }
        }
        transaction.execute("CREATE UNIQUE INDEX events_by_stream ON events (stream, version)", ())?;
        transaction.commit()?;
        connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE); ANALYZE")?;
        drop(events);
        million.close(store).await?;
        Ok(Self { connection })
    }

    /// Reads all events in order: how many, and how many bytes of data they have.
    pub(crate) fn read_all(&self) -> Outcome<(u64, u64)> {
        let mut select = self.connection.prepare_cached("SELECT * FROM events ORDER BY position")?;
        sum(select.query_map((), event)?)
    }

    /// Reads a stream in order: how many events, and how many bytes of data they have.
    pub(crate) fn read_stream(&self, stream: &str) -> Outcome<(u64, u64)> {
        let mut select = self.connection.prepare_cached("SELECT * FROM events WHERE stream = ? ORDER BY version")?;
        let events = select.query_map([stream], event)?.collect::<rusqlite::Result<Vec<_>>>()?;
        sum(events.into_iter().map(Ok))
    }
}

fn sum(events: impl Iterator<Item = rusqlite::Result<Event>>) -> Outcome<(u64, u64)> {
    let (mut count, mut bytes) = (0, 0);
    for event in events {
        bytes += std::hint::black_box(event?).data.len() as u64;
        count += 1;
    }
    Ok((count, bytes))
}

fn event(row: &Row<'_>) -> rusqlite::Result<Event> {
    Ok(Event {
        position: row.get(0)?,
        stream: row.get(1)?,
        version: row.get(2)?,
        id: row.get(3)?,
        event_type: row.get(4)?,
        recorded_at: row.get(5)?,
        occurred_at: row.get(6)?,
        data: row.get(7)?,
        metadata: row.get(8)?,
        tags: row.get(9)?,
    })
}
