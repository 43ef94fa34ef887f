//! An append by itself, in a transaction of its own: decided here by the rules that all stores share, under locks on all that it rests
//! on. For what the server's function leaves over: repeats and refusals, conditions, records, and rows of yours beside the events.

use std::collections::HashMap;

use sqlx::{PgConnection, Row};
use uuid::Uuid;

use super::batch::{self, Status};
use super::database::Names;
use super::error::Trouble;
use super::{row, selection};
use crate::error::{Error, Result};
use crate::store::{Admission, Ledger, Place, admit};
use crate::{Append, GlobalPosition, Query, Receipt, RecordName, RecordVersion, RecordWrite, RecordedEvent, StreamId, StreamVersion};

/// Who else may append meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    Shared,
    /// Nobody: for a condition, which rests on all streams.
    Alone,
}

/// What one attempt came to.
pub(super) enum Attempt {
    /// Written, and to be committed.
    Recorded(Receipt),
    /// It was there before.
    Duplicate(Receipt),
    /// Another transaction was in the way; a new one will do.
    Again,
}

/// Decides about an append and writes it, in the transaction that the connection is in.
pub(super) async fn attempt(connection: &mut PgConnection, names: &Names, append: &Append, gate: Gate) -> Result<Attempt, Trouble> {
    let mode = if gate == Gate::Alone { "EXCLUSIVE" } else { "ROW SHARE" };
    sqlx::query(names.sql(&format!("LOCK TABLE {{s}}.gate IN {mode} MODE"))).execute(&mut *connection).await?;
    let mut seen = Seen { streams: lock_streams(connection, names, append).await?, ..Seen::default() };
    seen.events = find_events(connection, names, append, &seen.streams).await?;
    if let Some(condition) = &append.condition {
        seen.matched = selection::last_match(connection, names, &condition.none_of, condition.after).await?;
    }
    seen.records = lock_records(connection, names, append).await?;
    let versions = match admit(append, &seen)? {
        Admission::Duplicate(receipt) => return Ok(Attempt::Duplicate(receipt)),
        Admission::Fresh { records, .. } => records,
    };
    let mut receipt = Receipt { streams: Vec::new(), records: Vec::new(), duplicate: false };
    if !append.streams.is_empty() {
        match batch::record_within(connection, names, append).await? {
            Some(Status::Recorded(recorded)) => receipt = recorded,
            _ => return Ok(Attempt::Again),
        }
    }
    receipt.records = versions.iter().map(|version| version.unwrap_or_default()).collect();
    write_records(connection, names, &append.records, &versions).await?;
    Ok(Attempt::Recorded(receipt))
}

/// What the rules ask, read under locks.
#[derive(Default)]
struct Seen {
    streams: HashMap<StreamId, Stream>,
    events: HashMap<(StreamId, Uuid), RecordedEvent>,
    matched: Option<GlobalPosition>,
    records: HashMap<RecordName, (u64, bool)>,
}

#[derive(Clone, Copy)]
struct Stream {
    id: i64,
    version: StreamVersion,
}

impl Ledger for Seen {
    fn version(&self, stream: &StreamId, _part: usize) -> Result<StreamVersion> {
        Ok(self.streams.get(stream).map(|stream| stream.version).unwrap_or_default())
    }

    fn find(&self, stream: &StreamId, id: Uuid, _place: Place) -> Result<Option<RecordedEvent>> {
        Ok(self.events.get(&(stream.clone(), id)).cloned())
    }

    fn match_after(&self, _query: &Query, _after: GlobalPosition) -> Result<Option<GlobalPosition>> {
        Ok(self.matched)
    }

    fn standing(&self, name: &RecordName, _number: usize) -> Result<(u64, bool)> {
        Ok(self.records.get(name).copied().unwrap_or_default())
    }
}

/// Locks the streams that there are, in the order of their names, as the server's function does.
async fn lock_streams(connection: &mut PgConnection, names: &Names, append: &Append) -> sqlx::Result<HashMap<StreamId, Stream>> {
    let wanted: Vec<&str> = append.streams.iter().map(|part| part.stream.as_str()).collect();
    let lock = "SELECT s.name, s.id, s.version FROM {s}.streams s WHERE s.name = ANY ($1) ORDER BY s.name FOR UPDATE";
    let rows = sqlx::query(names.sql(lock)).bind(wanted).fetch_all(connection).await?;
    let stream =
        |row: &sqlx::postgres::PgRow| Ok((row::stream(row, 0)?, Stream { id: row.try_get(1)?, version: row::version(row.try_get(2)?) }));
    rows.iter().map(stream).collect()
}

/// The events that have one of the append's ids in the stream that it is meant for.
async fn find_events(
    connection: &mut PgConnection,
    names: &Names,
    append: &Append,
    streams: &HashMap<StreamId, Stream>,
) -> sqlx::Result<HashMap<(StreamId, Uuid), RecordedEvent>> {
    let proposed = append.streams.iter().filter_map(|part| Some((streams.get(&part.stream)?.id, part)));
    let (ids, events): (Vec<i64>, Vec<Uuid>) = proposed.flat_map(|(id, part)| part.events.iter().map(move |event| (id, event.id))).unzip();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let by_id: HashMap<i64, &StreamId> = streams.iter().map(|(name, stream)| (stream.id, name)).collect();
    let find = format!(
        "SELECT {}, e.stream FROM unnest($1::bigint[], $2::uuid[]) AS u (stream, id),
         LATERAL (SELECT * FROM {{s}}.events e WHERE e.stream = u.stream AND e.id = u.id OFFSET 0) e",
        row::COLUMNS
    );
    let rows = sqlx::query(names.sql(&find)).bind(ids).bind(events).fetch_all(connection).await?;
    let found = rows.iter().map(|row| {
        let stream = by_id[&row.try_get(row::COLUMNS_COUNT)?];
        let event = row::event(row, stream.clone())?;
        Ok(((stream.clone(), event.id), event))
    });
    found.collect()
}

/// Locks the append's records, in the order of their names; one that was never written gets an empty row to hold on to.
async fn lock_records(connection: &mut PgConnection, names: &Names, append: &Append) -> sqlx::Result<HashMap<RecordName, (u64, bool)>> {
    let mut writes: Vec<&RecordWrite> = append.records.iter().collect();
    if writes.is_empty() {
        return Ok(HashMap::new());
    }
    writes.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    let wanted: Vec<&str> = writes.iter().map(|write| write.name.as_str()).collect();
    let hold = "INSERT INTO {s}.records (name, version) SELECT name, 0 FROM unnest($1::text[]) AS u (name) ON CONFLICT (name) DO NOTHING";
    sqlx::query(names.sql(hold)).bind(&wanted).execute(&mut *connection).await?;
    let lock = "SELECT name, version, value IS NOT NULL FROM {s}.records WHERE name = ANY ($1) ORDER BY name FOR UPDATE";
    let rows = sqlx::query(names.sql(lock)).bind(&wanted).fetch_all(connection).await?;
    let by_name: HashMap<&str, &RecordWrite> = writes.iter().map(|write| (write.name.as_str(), *write)).collect();
    let standing = |row: &sqlx::postgres::PgRow| {
        let (name, version, is_there): (&str, i64, bool) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        Ok((by_name[name].name.clone(), (row::version(version).get(), is_there)))
    };
    rows.iter().map(standing).collect()
}

async fn write_records(
    connection: &mut PgConnection,
    names: &Names,
    writes: &[RecordWrite],
    versions: &[Option<RecordVersion>],
) -> sqlx::Result<()> {
    let changes = writes.iter().zip(versions).filter_map(|(write, version)| Some((write, (*version)?)));
    for (write, version) in changes {
        let change = "UPDATE {s}.records SET version = $2, value = $3 WHERE name = $1";
        sqlx::query(names.sql(change))
            .bind(write.name.as_str())
            .bind(row::number(version.get()))
            .bind(write.value.as_deref())
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// What is said when other transactions were in the way every time.
pub(super) fn crowded_out() -> Error {
    Error::Unavailable { reason: "other transactions were in the way again and again; try again".to_owned(), source: None }
}
