//! A batch of appends as the arrays that the server's function takes, and what it answers.

use std::collections::HashMap;

use sqlx::{PgConnection, Row};
use uuid::Uuid;

use super::database::Names;
use super::row;
use crate::stream::category_of;
use crate::{Append, ExpectedVersion, Receipt, StreamReceipt, StreamVersion};

/// Between the tags of an event; a tag has no control characters.
const TAG_SEPARATOR: &str = "\u{1f}";

/// What became of one append of a batch.
#[derive(Debug)]
pub(super) enum Status {
    Recorded(Receipt),
    /// A stream is not as expected, or one of the ids is there.
    LookClosely,
    /// A later transaction was first; another one will do.
    Again,
}

/// The arrays, by stream, part and event.
#[derive(Default)]
struct Arrays<'a> {
    names: Vec<&'a str>,
    categories: Vec<&'a str>,
    part_append: Vec<i32>,
    part_stream: Vec<i32>,
    part_expected: Vec<i64>,
    part_events: Vec<i32>,
    event_part: Vec<i32>,
    ids: Vec<Uuid>,
    types: Vec<&'a str>,
    data: Vec<&'a [u8]>,
    metadata: Vec<Option<&'a [u8]>>,
    occurred_at: Vec<Option<i64>>,
    occurred_nanos: Vec<Option<i16>>,
    tags: Vec<Option<String>>,
}

impl<'a> Arrays<'a> {
    fn of(appends: &'a [Append]) -> Self {
        let mut arrays = Self::default();
        let parts = || appends.iter().flat_map(|append| &append.streams);
        arrays.names = parts().map(|part| part.stream.as_str()).collect();
        // In one order for everybody: who waits for a stream holds only streams before it.
        arrays.names.sort_unstable();
        arrays.names.dedup();
        arrays.categories = arrays.names.iter().map(|name| category_of(name)).collect();
        let numbers: HashMap<&str, i32> = arrays.names.iter().copied().zip(1..).collect();
        for (append_number, append) in (1..).zip(appends) {
            for part in &append.streams {
                arrays.part_append.push(append_number);
                arrays.part_stream.push(numbers[part.stream.as_str()]);
                arrays.part_expected.push(expected(part.expected));
                arrays.part_events.push(count(part.events.len()));
                let part_number = count(arrays.part_append.len());
                for event in &part.events {
                    let occurred = event.occurred_at.map(row::instant_parts);
                    arrays.event_part.push(part_number);
                    arrays.ids.push(event.id);
                    arrays.types.push(event.event_type.as_str());
                    arrays.data.push(&event.data);
                    arrays.metadata.push((!event.metadata.is_empty()).then_some(&event.metadata[..]));
                    arrays.occurred_at.push(occurred.map(|(micros, _)| micros));
                    arrays.occurred_nanos.push(occurred.map(|(_, nanos)| nanos));
                    let tags: Vec<&str> = event.tags.iter().map(|tag| tag.as_str()).collect();
                    arrays.tags.push((!tags.is_empty()).then(|| tags.join(TAG_SEPARATOR)));
                }
            }
        }
        arrays
    }
}

/// Records the appends in one call, which commits. What is an error here concerns the connection or all of them.
pub(super) async fn record(connection: &mut PgConnection, names: &Names, appends: &[Append]) -> sqlx::Result<Vec<Status>> {
    let arrays = Arrays::of(appends);
    if let ([append], [_one_part], true) = (appends, arrays.part_append.as_slice(), arrays.tags.iter().all(Option::is_none)) {
        return Ok(vec![record_one(connection, names, append, &arrays).await?]);
    }
    record_all(connection, names, appends, &arrays).await
}

/// Records an append in the transaction that the connection is in.
pub(super) async fn record_within(connection: &mut PgConnection, names: &Names, append: &Append) -> sqlx::Result<Option<Status>> {
    let appends = std::slice::from_ref(append);
    Ok(record_all(connection, names, appends, &Arrays::of(appends)).await?.pop())
}

async fn record_all(connection: &mut PgConnection, names: &Names, appends: &[Append], arrays: &Arrays<'_>) -> sqlx::Result<Vec<Status>> {
    let tags = arrays.tags.iter().any(Option::is_some).then_some(&arrays.tags);
    let call = "SELECT statuses, befores, positions FROM {s}.append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";
    let row = sqlx::query(names.sql(call))
        .bind(&arrays.names)
        .bind(&arrays.categories)
        .bind(&arrays.part_append)
        .bind(&arrays.part_stream)
        .bind(&arrays.part_expected)
        .bind(&arrays.part_events)
        .bind(&arrays.event_part)
        .bind(&arrays.ids)
        .bind(&arrays.types)
        .bind(&arrays.data)
        .bind(&arrays.metadata)
        .bind(&arrays.occurred_at)
        .bind(&arrays.occurred_nanos)
        .bind(tags)
        .fetch_one(connection)
        .await?;
    let (statuses, befores, positions): (Vec<i32>, Vec<i64>, Vec<Option<i64>>) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    let mut parts = befores.into_iter().zip(positions);
    let answered = appends.iter().zip(statuses).map(|(append, status)| {
        let places: Vec<_> = parts.by_ref().take(append.streams.len()).collect();
        match status {
            0 => Status::Recorded(receipt(append, &places)),
            1 => Status::LookClosely,
            _ => Status::Again,
        }
    });
    Ok(answered.collect())
}

/// Records one append to one stream, without tags: the shortest way.
async fn record_one(connection: &mut PgConnection, names: &Names, append: &Append, arrays: &Arrays<'_>) -> sqlx::Result<Status> {
    let row = sqlx::query(names.sql("SELECT recorded, before, first FROM {s}.append_one($1, $2, $3, $4, $5, $6, $7, $8, $9)"))
        .bind(arrays.names[0])
        .bind(arrays.categories[0])
        .bind(arrays.part_expected[0])
        .bind(&arrays.ids)
        .bind(&arrays.types)
        .bind(&arrays.data)
        .bind(&arrays.metadata)
        .bind(&arrays.occurred_at)
        .bind(&arrays.occurred_nanos)
        .fetch_one(connection)
        .await?;
    let (recorded, before, first) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    Ok(if recorded { Status::Recorded(receipt(append, &[(before, Some(first))])) } else { Status::LookClosely })
}

fn receipt(append: &Append, places: &[(i64, Option<i64>)]) -> Receipt {
    let streams = append.streams.iter().zip(places).map(|(part, (before, position))| {
        let (before, first): (StreamVersion, i64) = (row::version(*before), position.unwrap_or_default());
        let events = part.events.len();
        StreamReceipt {
            stream: part.stream.clone(),
            first_version: before.plus(1),
            last_version: before.plus(events as u64),
            first_position: row::position(first),
            last_position: row::position(first + i64::from(count(events)) - 1),
        }
    });
    Receipt { streams: streams.collect(), records: Vec::new(), duplicate: false }
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
