//! A row of the table of events as an event.

use bytes::Bytes;
use jiff::Timestamp;
use sqlx::decode::Decode;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgRow, PgTypeInfo, PgValueRef, Postgres};
use sqlx::{Row, Type};
use uuid::Uuid;

use crate::event::EventType;
use crate::text::Trusted;
use crate::{GlobalPosition, RecordedEvent, StreamId, StreamVersion, Tag};

/// The columns of an event `e`, in the order in which [`event`] takes them.
pub(super) const COLUMNS: &str =
    "e.position, e.version, e.recorded_at, e.id, e.occurred_at, e.occurred_nanos, e.type, e.data, e.metadata, e.tags";

/// How many those are: what is selected besides comes behind them.
pub(super) const COLUMNS_COUNT: usize = 10;

/// The name of the stream of an event `e`. A subquery rather than a join, so that no plan reads all streams for a page of events.
pub(super) const STREAM_NAME: &str = "(SELECT s.name FROM {s}.streams s WHERE s.id = e.stream)";

/// The version of a stream `s`: that of its last event.
pub(super) const STREAM_VERSION: &str = "(SELECT x.version FROM {s}.events x WHERE x.stream = s.id ORDER BY x.version DESC LIMIT 1)";

/// The event in a row whose first columns are [`COLUMNS`].
pub(super) fn event(row: &PgRow, stream: StreamId) -> sqlx::Result<RecordedEvent> {
    let tags: Option<Vec<String>> = row.try_get(9)?;
    let bytes = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
    Ok(RecordedEvent {
        position: position(row.try_get(0)?),
        stream,
        version: version(row.try_get(1)?),
        recorded_at: row.try_get::<Instant, _>(2)?.0,
        id: row.try_get::<Uuid, _>(3)?,
        occurred_at: occurred_at(row.try_get(4)?, row.try_get(5)?)?,
        event_type: EventType::trusted(row.try_get(6)?),
        data: bytes(row.try_get(7)?),
        metadata: row.try_get::<Option<&[u8]>, _>(8)?.map(bytes).unwrap_or_default(),
        tags: tags.unwrap_or_default().iter().map(|tag| Tag::trusted(tag)).collect(),
    })
}

/// The stream that a row names in this column.
pub(super) fn stream(row: &PgRow, column: usize) -> sqlx::Result<StreamId> {
    Ok(StreamId::trusted(row.try_get(column)?))
}

/// The version that the table has as this number; it has none below 0.
pub(super) fn version(number: i64) -> StreamVersion {
    StreamVersion::new(u64::try_from(number).unwrap_or_default())
}

/// The position that the table has as this number; it has none below 0.
pub(super) fn position(number: i64) -> GlobalPosition {
    GlobalPosition::from_number(u64::try_from(number).unwrap_or_default())
}

/// A number as the server takes it; a caller may ask for any, and the tables hold none beyond.
pub(super) fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// An instant in two columns: microseconds, which order, and the nanoseconds behind them.
pub(super) fn instant_parts(instant: Timestamp) -> (i64, i16) {
    let micros = instant.as_nanosecond().div_euclid(1_000);
    let nanos = instant.as_nanosecond().rem_euclid(1_000);
    (i64::try_from(micros).expect("an instant's microseconds fit"), i16::try_from(nanos).expect("it is below 1000"))
}

fn occurred_at(micros: Option<i64>, nanos: Option<i16>) -> sqlx::Result<Option<Timestamp>> {
    let Some(micros) = micros else { return Ok(None) };
    let nanos = i128::from(micros) * 1_000 + i128::from(nanos.unwrap_or_default());
    Timestamp::from_nanosecond(nanos).map(Some).map_err(|error| sqlx::Error::Decode(error.into()))
}

/// A `timestamptz`.
pub(super) struct Instant(pub(super) Timestamp);

/// Microseconds from 1970 to 2000, where PostgreSQL begins to count.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

impl Type<Postgres> for Instant {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("timestamptz")
    }
}

impl Decode<'_, Postgres> for Instant {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        let micros = i64::from_be_bytes(value.as_bytes()?.try_into()?);
        Ok(Self(Timestamp::from_microsecond(micros.checked_add(EPOCH_MICROS).ok_or("an instant beyond all time")?)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_keep_their_nanoseconds() {
        for instant in [Timestamp::MIN, Timestamp::MAX, Timestamp::UNIX_EPOCH, Timestamp::new(-5, -1).expect("valid")] {
            let (micros, nanos) = instant_parts(instant);
            assert_eq!(occurred_at(Some(micros), Some(nanos)).expect("valid"), Some(instant));
        }
    }
}
