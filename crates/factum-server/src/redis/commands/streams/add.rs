//! XADD: an event is appended.

use smallvec::SmallVec;

use super::trim::{self, Trim};
use crate::redis::commands::call::{INVALID_ID, is};
use crate::redis::commands::table::wrong_arity;
use crate::redis::entry::{EntryId, event_of};
use crate::redis::keyspace::{Answered, Context, Stop, Value, WRONG_TYPE, own};
use crate::redis::resp::{Reply, Request};

/// The id that a new entry is to have.
enum Wanted {
    /// `*`.
    Next,
    /// `5-*`.
    NextOf(u64),
    Exactly(EntryId),
}

const TOO_SMALL: Stop = Stop::error("ERR The ID specified in XADD is equal or smaller than the target stream top item");

pub(crate) fn add(context: &mut Context<'_>, request: &Request) -> Answered {
    let mut place = 2;
    let mut creates = true;
    let mut trim = Trim::default();
    let wanted = loop {
        let Some(argument) = request.get(place) else { return Err(wrong_arity("xadd").into()) };
        if argument == b"*" {
            break Wanted::Next;
        } else if is(argument, "nomkstream") {
            creates = false;
            place += 1;
        } else if let Some(next) = trim.option(request, place)? {
            place = next;
        } else {
            break match argument.strip_suffix(b"-*") {
                Some(ms) => Wanted::NextOf(EntryId::parse(ms, 0).filter(|_| !ms.contains(&b'-')).ok_or(INVALID_ID)?.ms),
                None => Wanted::Exactly(EntryId::parse(argument, 0).ok_or(INVALID_ID)?),
            };
        }
    };
    trim.check()?;
    let fields: SmallVec<[&[u8]; 16]> = request.iter().skip(place + 1).collect();
    if fields.is_empty() || !fields.len().is_multiple_of(2) {
        return Err(wrong_arity("xadd").into());
    }
    if matches!(wanted, Wanted::Exactly(EntryId::MIN)) {
        return Err(Stop::error("ERR The ID specified in XADD must be greater than 0-0"));
    }
    let key = context.key(request.bytes(1));
    let now = context.now;
    let slot = context.slot(&key)?;
    let is_there = matches!(slot.value, Value::Stream);
    match slot.value {
        Value::Stream => {}
        Value::Nothing if !creates => return Ok(Reply::Null.into()),
        Value::Nothing => {}
        Value::Text(_) | Value::Hash(_) => return Err(WRONG_TYPE),
    }
    let (last, generation) = slot.stream.as_ref().map_or((EntryId::MIN, 0), |stream| (stream.last_id, stream.generation));
    if last == EntryId::MAX {
        return Err(Stop::error("ERR The stream has exhausted the last possible ID, unable to add more items"));
    }
    let id = match wanted {
        Wanted::Exactly(id) => id,
        Wanted::Next if now > last.ms => EntryId::new(now, 0),
        Wanted::Next => last.next().ok_or(TOO_SMALL)?,
        Wanted::NextOf(ms) if ms == last.ms => EntryId::new(ms, last.seq.checked_add(1).ok_or(TOO_SMALL)?),
        Wanted::NextOf(ms) => EntryId::new(ms, 0),
    };
    if id <= last {
        return Err(TOO_SMALL);
    }
    let share = |field: usize| {
        let shared = request.bytes(place + 1 + field);
        // What is received lies in larger blocks, which a store in memory would keep for ever.
        if context.options.copies_data { own(&shared) } else { shared }
    };
    let event = event_of(&fields, share, id, generation, &context.options.type_fields, &mut context.state.metadata);
    let (bytes, bytes_max) = (event.data.len() + event.metadata.len(), context.limits.payload_bytes_max);
    if bytes > bytes_max {
        let text = format!(
            "ERR the entry would have {bytes} bytes as an event, the limit is {bytes_max}; keep large content elsewhere and refer to it"
        );
        return Err(Reply::Error(text.into()).into());
    }
    if !is_there {
        context.create_stream(&key)?;
    }
    let found = if trim.is_asked_for() { trim::find(context, &key, &trim)? } else { None };
    context.event(&key, id, event);
    if trim.is_asked_for() {
        // The new entry itself may be too old.
        let found = found.map(|found| found + u64::from(trim.is_too_old(id)));
        trim::carry_out(context, &key, &trim, found);
    }
    Ok(Reply::Id(id).into())
}
