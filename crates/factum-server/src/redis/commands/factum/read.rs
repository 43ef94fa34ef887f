//! FACTUM.READ: events of a stream, or of the whole log by category, type and tag.

use factum::{Direction, GlobalPosition, QueryItem, ReadLog, ReadStream, StreamVersion};
use futures::TryStreamExt;

use super::{Called, SYNTAX, failed, number, query, selects, stream, told};
use crate::redis::commands::call::is;
use crate::redis::door::Door;
use crate::redis::resp::Reply;
use crate::redis::unit::Data;

/// Without COUNT, so many events are read.
const COUNT: u64 = 100;
/// The most that are read in one call.
const COUNT_MAX: u64 = 10_000;

pub(super) async fn read(door: &Door, data: &Data) -> Called {
    let request = &data.request;
    let mut item = QueryItem::default();
    let (mut of_stream, mut after, mut count, mut direction) = (None, 0, COUNT, Direction::Forward);
    let mut place = 1;
    while place < request.len() {
        let option = &request[place];
        if is(option, "backward") {
            direction = Direction::Backward;
            place += 1;
            continue;
        }
        if is(option, "stream") {
            of_stream = Some(stream(data, place + 1)?);
        } else if is(option, "after") {
            after = number(request, place + 1)?;
        } else if is(option, "count") {
            count = number(request, place + 1)?.min(COUNT_MAX);
        } else if !selects(&mut item, request, place)? {
            return Err(SYNTAX);
        }
        place += 2;
    }
    let is_all_of_stream = item == QueryItem::default();
    let wanted = query(item);
    let mut events = match &of_stream {
        Some(stream) => {
            let from = Some(StreamVersion::new(after.saturating_add(1)));
            let limit = is_all_of_stream.then_some(count);
            door.store.read_stream(stream, ReadStream { from, direction, limit, to: None })
        }
        None => {
            let after = GlobalPosition::from_number(after);
            door.store.read_log(ReadLog { after, direction, query: wanted.clone(), ..ReadLog::default() })
        }
    };
    let mut found = Vec::new();
    while (found.len() as u64) < count
        && let Some(event) = events.try_next().await.map_err(failed)?
    {
        // The log of names is the door's own.
        let is_own = of_stream.is_none() && event.stream.as_str().starts_with('$');
        if !is_own && wanted.matches_event(&event) {
            found.push(Reply::Map(told(&event)));
        }
    }
    Ok(Reply::Array(found))
}
