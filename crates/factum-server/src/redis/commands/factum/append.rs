//! FACTUM.APPEND: events for one or more streams that have to be as expected.

use factum::{Append, EventType, ExpectedVersion, NewEvent, StreamAppend, StreamReceipt, Tag, Uuid};

use super::{Called, SYNTAX, failed, stream, text};
use crate::redis::commands::call::is;
use crate::redis::door::Door;
use crate::redis::keyspace::Key;
use crate::redis::resp::{Reply, Request, integer};
use crate::redis::unit::Data;

pub(super) async fn append(door: &Door, data: &Data) -> Called {
    let (append, keys) = parse(data)?;
    let receipt = door.store.append(append).await.map_err(failed)?;
    door.keyspace.was_appended_to(&keys).await;
    let told = |stream: &StreamReceipt| {
        let count = |number: u64| Reply::Integer(i64::try_from(number).unwrap_or(i64::MAX));
        Reply::Map(vec![
            (Reply::text("stream"), Reply::string(stream.stream.as_str())),
            (Reply::text("first-version"), count(stream.first_version.get())),
            (Reply::text("last-version"), count(stream.last_version.get())),
            (Reply::text("last-position"), count(stream.last_position.number())),
            (Reply::text("duplicate"), Reply::Integer(receipt.duplicate.into())),
        ])
    };
    Ok(Reply::Array(receipt.streams.iter().map(told).collect()))
}

fn parse(data: &Data) -> Result<(Append, Vec<Key>), Reply> {
    let request = &data.request;
    let mut append = Append::default();
    let mut keys = Vec::new();
    let mut place = 1;
    loop {
        let stream = stream(data, place)?;
        keys.push(Key { database: data.database, name: request.bytes(place) });
        let expected = expected(request.get(place + 1).ok_or(SYNTAX)?)?;
        place += 2;
        let mut events = Vec::new();
        while request.get(place).is_some_and(|word| is(word, "event")) {
            let (event, next) = event(request, place + 1)?;
            events.push(event);
            place = next;
        }
        if events.is_empty() {
            return Err(SYNTAX);
        }
        append.streams.push(StreamAppend { stream, expected, events });
        match request.get(place) {
            None => return Ok((append, keys)),
            Some(word) if is(word, "stream") => place += 1,
            Some(_) => return Err(SYNTAX),
        }
    }
}

/// What is expected of a stream: `any`, `none`, `exists`, or a version.
fn expected(word: &[u8]) -> Result<ExpectedVersion, Reply> {
    Ok(match word.to_ascii_lowercase().as_slice() {
        b"any" => ExpectedVersion::Any,
        b"none" => ExpectedVersion::NoStream,
        b"exists" => ExpectedVersion::StreamExists,
        digits => match integer(digits).and_then(|version| u64::try_from(version).ok()) {
            Some(version) => ExpectedVersion::exact(version),
            None => return Err(Reply::error("ERR what is expected of a stream is any, none, exists, or a version")),
        },
    })
}

/// An event, and where its words end.
fn event(request: &Request, mut place: usize) -> Result<(NewEvent, usize), Reply> {
    if place + 1 >= request.len() {
        return Err(SYNTAX);
    }
    let event_type = EventType::new(text(request, place)?).map_err(failed)?;
    let mut event = NewEvent::new(event_type, request.bytes(place + 1));
    place += 2;
    while let Some(word) = request.get(place) {
        if is(word, "id") {
            let wrong = Reply::error("ERR an event's id is a UUID");
            event.id = text(request, place + 1)?.parse::<Uuid>().map_err(|_| wrong)?;
        } else if is(word, "metadata") && place + 1 < request.len() {
            event.metadata = request.bytes(place + 1);
        } else if is(word, "tag") {
            event.tags.push(Tag::new(text(request, place + 1)?).map_err(failed)?);
        } else {
            break;
        }
        place += 2;
    }
    Ok((event, place))
}
