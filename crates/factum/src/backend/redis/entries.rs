//! Entries of streams as the server sends them, and the events and pointers they are.

use bytes::Bytes;
use jiff::Timestamp;
use redis::Value;
use uuid::Uuid;

use super::error::corrupt;
use crate::error::{Error, Result};
use crate::{EventType, GlobalPosition, RecordedEvent, StreamId, StreamVersion, Tag};

/// An entry of the log: where an event is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pointer {
    pub(super) position: GlobalPosition,
    pub(super) stream: StreamId,
    pub(super) version: StreamVersion,
}

/// The entries in the answer to XRANGE or XREVRANGE: each its id's first number, and its fields.
pub(super) fn entries(answer: Value) -> Result<Vec<(u64, Vec<Value>)>> {
    let Value::Array(entries) = answer else { return Err(malformed("an answer", "it is no list of entries")) };
    entries.into_iter().map(entry).collect()
}

fn entry(entry: Value) -> Result<(u64, Vec<Value>)> {
    let Value::Array(parts) = entry else { return Err(malformed("an entry", "it is no pair")) };
    let Ok([Value::BulkString(id), Value::Array(fields)]) = <[Value; 2]>::try_from(parts) else {
        return Err(malformed("an entry", "it is no id with fields"));
    };
    let number = std::str::from_utf8(&id).ok().and_then(|id| id.split_once('-')).and_then(|(number, _)| number.parse().ok());
    Ok((number.ok_or_else(|| malformed("an entry", "its id is no number"))?, fields))
}

/// The event that an entry of a stream is.
pub(super) fn event(stream: &StreamId, version: u64, fields: Vec<Value>) -> Result<RecordedEvent> {
    let at = || format!("stream {stream} version {version}");
    let mut event_type = None;
    let mut data = None;
    let mut id = None;
    let mut position = None;
    let mut recorded_at = None;
    let mut occurred_at = None;
    let mut metadata = Bytes::new();
    let mut tags = Vec::new();
    let mut fields = fields.into_iter();
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        let (Value::BulkString(name), Value::BulkString(value)) = (name, value) else {
            return Err(malformed(&at(), "a field is not text"));
        };
        match name.as_slice() {
            b"type" => event_type = Some(EventType::new(text(&value, &at)?).map_err(|_| malformed(&at(), "its type is not one"))?),
            b"data" => data = Some(Bytes::from(value)),
            b"id" => id = Uuid::try_parse_ascii(&value).ok(),
            b"position" => position = number(&value).map(GlobalPosition::from_number),
            b"recorded_at_us" => recorded_at = micros(&value),
            b"occurred_at" => {
                occurred_at = Some(text(&value, &at)?.parse::<Timestamp>().map_err(|_| malformed(&at(), "its occurred_at is no time"))?);
            }
            b"metadata" => metadata = value.into(),
            b"tag" => tags.push(Tag::new(text(&value, &at)?).map_err(|_| malformed(&at(), "a tag is not one"))?),
            // Written by a later version, or by hand.
            _ => {}
        }
    }
    let missing = |what: &'static str| move || malformed(&at(), what);
    Ok(RecordedEvent {
        position: position.ok_or_else(missing("it has no position"))?,
        stream: stream.clone(),
        version: StreamVersion::new(version),
        id: id.ok_or_else(missing("it has no id"))?,
        event_type: event_type.ok_or_else(missing("it has no type"))?,
        recorded_at: recorded_at.ok_or_else(missing("it has no recorded_at_us"))?,
        occurred_at,
        data: data.ok_or_else(missing("it has no data"))?,
        metadata,
        tags,
    })
}

/// The pointer that an entry of the log is.
pub(super) fn pointer(position: u64, fields: &[Value]) -> Result<Pointer> {
    let at = || format!("the log at position {position}");
    let mut stream = None;
    let mut version = None;
    for pair in fields.chunks_exact(2) {
        let [Value::BulkString(name), Value::BulkString(value)] = pair else { return Err(malformed(&at(), "a field is not text")) };
        match name.as_slice() {
            b"stream" => stream = Some(StreamId::new(text(value, &at)?).map_err(|_| malformed(&at(), "its stream is not one"))?),
            b"version" => version = number(value),
            _ => {}
        }
    }
    Ok(Pointer {
        position: GlobalPosition::from_number(position),
        stream: stream.ok_or_else(|| malformed(&at(), "it names no stream"))?,
        version: StreamVersion::new(version.ok_or_else(|| malformed(&at(), "it has no version"))?),
    })
}

/// A number in decimal digits.
pub(super) fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// An instant in microseconds since 1970.
pub(super) fn micros(digits: &[u8]) -> Option<Timestamp> {
    Timestamp::from_microsecond(std::str::from_utf8(digits).ok()?.parse().ok()?).ok()
}

fn text<'a>(bytes: &'a [u8], at: &impl Fn() -> String) -> Result<&'a str> {
    std::str::from_utf8(bytes).map_err(|_| malformed(&at(), "a text is not UTF-8"))
}

fn malformed(place: &str, what: &str) -> Error {
    corrupt(format!("{place} can't be read: {what}"))
}
