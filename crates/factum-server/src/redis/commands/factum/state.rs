//! FACTUM.STATE: what a stream's events make, each merged into the state before it (JSON Merge Patch, RFC 7396).

use factum::{ReadStream, StreamVersion};
use futures::TryStreamExt;
use serde_json::{Map, Value};

use super::{Called, SYNTAX, failed, number, stream, text};
use crate::redis::commands::call::is;
use crate::redis::door::Door;
use crate::redis::resp::Reply;
use crate::redis::unit::Data;

pub(super) async fn state(door: &Door, data: &Data) -> Called {
    let request = &data.request;
    let stream = stream(data, 1)?;
    let (mut to, mut until) = (None, None);
    match request.get(2) {
        None => {}
        Some(option) if is(option, "version") && request.len() == 4 => to = Some(StreamVersion::new(number(request, 3)?)),
        Some(option) if is(option, "time") && request.len() == 4 => {
            let wrong = Reply::error("ERR a time is written as in 2026-03-01T09:00:00Z");
            until = Some(text(request, 3)?.parse::<jiff::Timestamp>().map_err(|_| wrong)?);
        }
        Some(_) => return Err(SYNTAX),
    }
    let mut events = door.store.read_stream(&stream, ReadStream { to, ..ReadStream::default() });
    let (mut state, mut version) = (Value::Null, 0_u64);
    while let Some(event) = events.try_next().await.map_err(failed)? {
        if until.is_some_and(|until| event.happened_at() > until) {
            continue;
        }
        let patch: Value = serde_json::from_slice(&event.data)
            .map_err(|error| Reply::Error(format!("ERR the data of {stream} version {} is not JSON: {error}", event.version).into()))?;
        merge(&mut state, patch);
        version = event.version.get();
    }
    if version == 0 {
        return Ok(Reply::Null);
    }
    Ok(Reply::Map(vec![
        (Reply::text("version"), Reply::Integer(i64::try_from(version).unwrap_or(i64::MAX))),
        (Reply::text("state"), Reply::string(state.to_string())),
    ]))
}

fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let fields = target.as_object_mut().expect("it was made one");
    for (name, value) in patch {
        if value.is_null() {
            fields.remove(&name);
        } else {
            merge(fields.entry(name).or_insert(Value::Null), value);
        }
    }
}
