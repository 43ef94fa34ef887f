//! XLEN, XRANGE and XREVRANGE.

use factum::Direction;

use crate::redis::commands::call::{SYNTAX, bound, id, is, number};
use crate::redis::entry::EntryId;
use crate::redis::keyspace::{Answered, Context, Entries, Plan, Stop};
use crate::redis::resp::{Reply, Request};

pub(crate) fn len(context: &mut Context<'_>, request: &Request) -> Answered {
    let key = context.key(request.bytes(1));
    let count = context.stream(&key)?.map_or(0, |stream| stream.len());
    Ok(Reply::Integer(i64::try_from(count).unwrap_or(i64::MAX)).into())
}

pub(crate) fn range(context: &mut Context<'_>, request: &Request) -> Answered {
    between(context, request, &request[2], &request[3], Direction::Forward)
}

pub(crate) fn reverse(context: &mut Context<'_>, request: &Request) -> Answered {
    between(context, request, &request[3], &request[2], Direction::Backward)
}

fn between(context: &mut Context<'_>, request: &Request, start: &[u8], end: &[u8], direction: Direction) -> Answered {
    let (start, end) = interval(start, end)?;
    let mut limit = None;
    let mut place = 4;
    while place < request.len() {
        if !is(&request[place], "count") || place + 1 >= request.len() {
            return Err(SYNTAX);
        }
        limit = Some(u64::try_from(number(&request[place + 1])?).unwrap_or(0));
        place += 2;
    }
    let key = context.key(request.bytes(1));
    let Some(stream) = context.stream(&key)? else { return Ok(Reply::Array(Vec::new()).into()) };
    if limit == Some(0) {
        return Ok(Reply::NullArray.into());
    }
    let view = stream.view();
    Ok(Plan::Entries(Box::new(Entries { view, start, end, limit, direction, from: None })))
}

/// Both ends of an interval, each perhaps exclusive.
pub(in crate::redis::commands) fn interval(start: &[u8], end: &[u8]) -> Result<(EntryId, EntryId), Stop> {
    let start = match start.strip_prefix(b"(") {
        Some(exclusive) => id(exclusive, 0)?.next().ok_or(Stop::error("ERR invalid start ID for the interval"))?,
        None => bound(start, 0)?,
    };
    let end = match end.strip_prefix(b"(") {
        Some(exclusive) => id(exclusive, u64::MAX)?.previous().ok_or(Stop::error("ERR invalid end ID for the interval"))?,
        None => bound(end, u64::MAX)?,
    };
    Ok((start, end))
}
