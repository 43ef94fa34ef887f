//! A batch of appends as the arrays that the server's function takes, and what it answers.

use std::collections::{HashMap, HashSet};

use sqlx::{AssertSqlSafe, PgConnection, Row};
use uuid::Uuid;

use super::database::Names;
use super::row;
use crate::stream::category_of;
use crate::{Append, ExpectedVersion, NewEvent, Receipt, StreamAppend, StreamReceipt};

/// Between the tags of an event; a tag has no control characters.
const TAG_SEPARATOR: &str = "\u{1f}";

/// Records one event of a stream that is there, without tags: no function to call, and nothing to find but the stream and its last event.
/// Who else writes the next version, or has written this id, fails in an index. The gate is locked because it is named; it is not read.
pub(super) const APPEND_ONE: &str = "
    INSERT INTO {s}.events AS w
        (position, stream, version, recorded_at, id, occurred_at, occurred_nanos, type, category, data, metadata)
    SELECT m.base + (pg_current_xact_id()::text::bigint << 20) + 1, s.id, l.version + 1, greatest(l.recorded_at, clock_timestamp()),
           $3, $4, $5, $6, s.category, $7, $8
    FROM {s}.streams s, {s}.meta m, LATERAL (
        SELECT e.version, e.position, e.recorded_at FROM {s}.events e WHERE e.stream = s.id ORDER BY e.version DESC LIMIT 1
    ) l
    WHERE s.name = $1 AND ($2 = l.version OR $2 < 0)
      AND l.position <= m.base + (pg_current_xact_id()::text::bigint << 20)
      AND (l.version > 0 OR EXISTS (SELECT FROM {s}.gate FOR KEY SHARE))
    RETURNING w.version, w.position";

const APPEND: &str = "SELECT versions, refused, first
    FROM {s}.append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)";

/// What became of one append of a batch.
#[derive(Debug)]
pub(super) enum Status {
    Recorded(Receipt),
    /// A stream is not as expected, or one of the ids is there, or another transaction was in the way.
    LookClosely,
}

impl Status {
    /// What was recorded, if it was.
    pub(super) fn receipt(&self) -> Option<&Receipt> {
        match self {
            Self::Recorded(receipt) => Some(receipt),
            Self::LookClosely => None,
        }
    }
}

/// Whether the server is to look for ids that are there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ids {
    /// No: one that is makes the whole batch fail.
    Unseen,
    /// Yes, and its append is refused.
    Sought,
}

/// The arrays, by stream, part and event.
#[derive(Default)]
struct Arrays<'a> {
    names: Vec<&'a str>,
    categories: Vec<&'a str>,
    stream_append: Vec<i32>,
    stream_ordinal: Vec<i32>,
    part_stream: Vec<i32>,
    part_expected: Vec<i64>,
    part_ahead: Vec<i32>,
    event_stream: Vec<i32>,
    event_ordinal: Vec<i32>,
    event_ahead: Vec<i32>,
    ids: Vec<Uuid>,
    types: Vec<&'a str>,
    data: Vec<&'a [u8]>,
    metadata: Vec<Option<&'a [u8]>>,
    occurred_at: Vec<Option<i64>>,
    occurred_nanos: Vec<Option<i16>>,
    tags: Vec<Option<String>>,
}

/// A part of an append, and its place in the batch.
struct Part<'a> {
    streams: &'a StreamAppend,
    append: i32,
    /// How many events the batch has before it.
    ordinal: i32,
}

impl<'a> Arrays<'a> {
    fn of(appends: &'a [Append]) -> Self {
        let mut parts = Vec::new();
        let mut ordinal = 0;
        for (append, number) in appends.iter().zip(1..) {
            for streams in &append.streams {
                parts.push(Part { streams, append: number, ordinal });
                ordinal += count(streams.events.len());
            }
        }
        // In one order for everybody: who waits for a stream holds only streams before it. The parts of one stream stay in theirs.
        parts.sort_by(|one, other| one.streams.stream.cmp(&other.streams.stream));
        let mut arrays = Self::default();
        let mut ahead = 0;
        for part in &parts {
            let name = part.streams.stream.as_str();
            if arrays.names.last() != Some(&name) {
                arrays.names.push(name);
                arrays.categories.push(category_of(name));
                arrays.stream_append.push(part.append);
                arrays.stream_ordinal.push(part.ordinal);
                ahead = 0;
            }
            let stream = count(arrays.names.len());
            arrays.part_stream.push(stream);
            arrays.part_expected.push(expected(part.streams.expected));
            arrays.part_ahead.push(ahead);
            for (event, ordinal) in part.streams.events.iter().zip(part.ordinal..) {
                arrays.event_stream.push(stream);
                arrays.event_ordinal.push(ordinal);
                arrays.event_ahead.push(ahead);
                arrays.push(event);
                ahead += 1;
            }
        }
        arrays
    }

    fn push(&mut self, event: &'a NewEvent) {
        let (micros, nanos) = event.occurred_at.map(row::instant_parts).unzip();
        self.ids.push(event.id);
        self.types.push(event.event_type.as_str());
        self.data.push(&event.data);
        self.metadata.push(metadata(event));
        self.occurred_at.push(micros);
        self.occurred_nanos.push(nanos);
        let tags: Vec<&str> = event.tags.iter().map(|tag| tag.as_str()).collect();
        self.tags.push((!tags.is_empty()).then(|| tags.join(TAG_SEPARATOR)));
    }
}

fn metadata(event: &NewEvent) -> Option<&[u8]> {
    (!event.metadata.is_empty()).then_some(&event.metadata[..])
}

/// Records the appends in one call, which commits. What is an error here concerns the connection or all of them.
pub(super) async fn record(connection: &mut PgConnection, names: &Names, appends: &[Append], ids: Ids) -> sqlx::Result<Vec<Status>> {
    if let [append] = appends
        && let [part] = append.streams.as_slice()
        && let [event] = part.events.as_slice()
        && event.tags.is_empty()
        && expected(part.expected) != 0
    {
        return record_one(connection, names, append, part, event).await;
    }
    record_all(connection, names, appends, ids).await
}

/// Records an append in the transaction that the connection is in.
pub(super) async fn record_within(connection: &mut PgConnection, names: &Names, append: &Append) -> sqlx::Result<Option<Status>> {
    Ok(record_all(connection, names, std::slice::from_ref(append), Ids::Sought).await?.pop())
}

async fn record_all(connection: &mut PgConnection, names: &Names, appends: &[Append], ids: Ids) -> sqlx::Result<Vec<Status>> {
    let arrays = Arrays::of(appends);
    let tags = arrays.tags.iter().any(Option::is_some).then_some(&arrays.tags);
    let row = sqlx::query(names.sql(APPEND))
        .bind(&arrays.names)
        .bind(&arrays.categories)
        .bind(&arrays.stream_append)
        .bind(&arrays.stream_ordinal)
        .bind(&arrays.part_stream)
        .bind(&arrays.part_expected)
        .bind(&arrays.part_ahead)
        .bind(&arrays.event_stream)
        .bind(&arrays.event_ordinal)
        .bind(&arrays.event_ahead)
        .bind(&arrays.ids)
        .bind(&arrays.types)
        .bind(&arrays.data)
        .bind(&arrays.metadata)
        .bind(&arrays.occurred_at)
        .bind(&arrays.occurred_nanos)
        .bind(tags)
        .bind(ids == Ids::Sought)
        .fetch_one(connection)
        .await?;
    let (mut versions, refused, first): (Vec<i64>, Option<Vec<i32>>, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    let refused: HashSet<i32> = refused.unwrap_or_default().into_iter().collect();
    let numbers: HashMap<&str, usize> = arrays.names.iter().copied().zip(0..).collect();
    let mut position = first;
    let statuses = appends.iter().zip(1..).map(|(append, number)| {
        let mut streams = Vec::with_capacity(append.streams.len());
        for part in &append.streams {
            let events = i64::from(count(part.events.len()));
            let version = &mut versions[numbers[part.stream.as_str()]];
            streams.push(stream_receipt(part, *version, position));
            *version += events;
            position += events;
        }
        if refused.contains(&number) {
            return Status::LookClosely;
        }
        Status::Recorded(Receipt { streams, records: Vec::new(), duplicate: false })
    });
    Ok(statuses.collect())
}

/// Records one event of one stream: the shortest way.
async fn record_one(
    connection: &mut PgConnection,
    names: &Names,
    append: &Append,
    part: &StreamAppend,
    event: &NewEvent,
) -> sqlx::Result<Vec<Status>> {
    let (micros, nanos) = event.occurred_at.map(row::instant_parts).unzip();
    let row = sqlx::query(AssertSqlSafe(names.append_one.clone()))
        .bind(part.stream.as_str())
        .bind(expected(part.expected))
        .bind(event.id)
        .bind(micros)
        .bind(nanos)
        .bind(event.event_type.as_str())
        .bind(&event.data[..])
        .bind(metadata(event))
        .fetch_optional(&mut *connection)
        .await?;
    let Some(row) = row else {
        // There may be no such stream yet; anything else wants a closer look.
        return match part.expected {
            ExpectedVersion::Any => record_all(connection, names, std::slice::from_ref(append), Ids::Sought).await,
            _ => Ok(vec![Status::LookClosely]),
        };
    };
    let (version, position): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    let streams = vec![stream_receipt(part, version - 1, position)];
    Ok(vec![Status::Recorded(Receipt { streams, records: Vec::new(), duplicate: false })])
}

/// What became of a part whose first event stands at this position, behind this version.
fn stream_receipt(part: &StreamAppend, before: i64, position: i64) -> StreamReceipt {
    let (before, events) = (row::version(before), part.events.len());
    StreamReceipt {
        stream: part.stream.clone(),
        first_version: before.plus(1),
        last_version: before.plus(events as u64),
        first_position: row::position(position),
        last_position: row::position(position + i64::from(count(events)) - 1),
    }
}

fn expected(expected: ExpectedVersion) -> i64 {
    match expected {
        ExpectedVersion::Any => -2,
        ExpectedVersion::StreamExists => -4,
        ExpectedVersion::NoStream => 0,
        ExpectedVersion::Exact(version) => row::number(version.get()),
    }
}

fn count(number: usize) -> i32 {
    i32::try_from(number).expect("a batch is far smaller")
}
