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
    lock_streams(connection, names, append).await?;
    let mut seen = Seen::default();
    look(connection, names, append, &mut seen).await?;
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
    versions: HashMap<StreamId, StreamVersion>,
    events: HashMap<(StreamId, Uuid), RecordedEvent>,
    matched: Option<GlobalPosition>,
    records: HashMap<RecordName, (u64, bool)>,
}

impl Ledger for Seen {
    fn version(&self, stream: &StreamId, _part: usize) -> Result<StreamVersion> {
        Ok(self.versions.get(stream).copied().unwrap_or_default())
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

/// Locks the streams that there are, in the order of their names: those who decide queue for a stream instead of colliding at its end.
async fn lock_streams(connection: &mut PgConnection, names: &Names, append: &Append) -> sqlx::Result<()> {
    let wanted: Vec<&str> = append.streams.iter().map(|part| part.stream.as_str()).collect();
    let lock = "SELECT FROM {s}.streams s WHERE s.name = ANY ($1) ORDER BY s.name FOR UPDATE";
    sqlx::query(names.sql(lock)).bind(wanted).execute(connection).await.map(drop)
}

/// The versions of the streams that there are, and the events in them that have one of the append's ids: all of one moment, because
/// appends that are decided on the server come and go meanwhile.
async fn look(connection: &mut PgConnection, names: &Names, append: &Append, seen: &mut Seen) -> sqlx::Result<()> {
    let proposed = || append.streams.iter().flat_map(|part| part.events.iter().map(move |event| (&part.stream, event.id)));
    let (streams, ids): (Vec<&str>, Vec<Uuid>) = proposed().map(|(stream, id)| (stream.as_str(), id)).unzip();
    let look = format!(
        "SELECT {}, u.number, {} FROM unnest($1::text[], $2::uuid[]) WITH ORDINALITY AS u (stream, id, number)
         JOIN {{s}}.streams s ON s.name = u.stream
         LEFT JOIN LATERAL (SELECT * FROM {{s}}.events e WHERE e.stream = s.id AND e.id = u.id OFFSET 0) e ON true",
        row::COLUMNS,
        row::STREAM_VERSION,
    );
    let rows = sqlx::query(names.sql(&look)).bind(streams).bind(ids).fetch_all(connection).await?;
    let proposed: Vec<_> = proposed().collect();
    for row in rows {
        let number: i64 = row.try_get(row::COLUMNS_COUNT)?;
        let place = usize::try_from(number - 1).ok().and_then(|place| proposed.get(place));
        let &(stream, id) = place.ok_or_else(|| sqlx::Error::ColumnNotFound("number".to_owned()))?;
        seen.versions.insert(stream.clone(), row::version(row.try_get(row::COLUMNS_COUNT + 1)?));
        if row.try_get::<Option<i64>, _>(0)?.is_some() {
            seen.events.insert((stream.clone(), id), row::event(&row, stream.clone())?);
        }
    }
    Ok(())
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
