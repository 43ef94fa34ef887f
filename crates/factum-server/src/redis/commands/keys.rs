//! The commands on keys, whatever they hold.

use std::hash::{BuildHasher, Hasher, RandomState};

use super::call::{SYNTAX, is, number};
use super::table::Verb;
use crate::redis::keyspace::{Answered, Context, Key, Slot, Stop, Value};
use crate::redis::resp::{Reply, Request, integer};

fn all(context: &Context<'_>, request: &Request) -> Vec<Key> {
    (1..request.len()).map(|place| context.key(request.bytes(place))).collect()
}

/// DEL and UNLINK.
pub(super) fn delete(context: &mut Context<'_>, request: &Request) -> Answered {
    let keys = all(context, request);
    context.need(&keys)?;
    if !context.has_room(keys.len(), request.size()) {
        return Err(Stop::Full);
    }
    let mut count = 0;
    for key in &keys {
        context.slot(key)?;
        count += i64::from(context.remove(key));
    }
    Ok(Reply::Integer(count).into())
}

/// EXISTS and TOUCH.
pub(super) fn count(context: &mut Context<'_>, request: &Request) -> Answered {
    let keys = all(context, request);
    context.need(&keys)?;
    let mut count = 0;
    for key in &keys {
        count += i64::from(!matches!(context.slot(key)?.value, Value::Nothing));
    }
    Ok(Reply::Integer(count).into())
}

pub(super) fn kind(context: &mut Context<'_>, request: &Request) -> Answered {
    let key = context.key(request.bytes(1));
    Ok(Reply::Simple(context.slot(&key)?.kind().name()).into())
}

/// In which form Redis would keep a value; `None` where there is none.
fn encoding(slot: &Slot) -> Option<&'static str> {
    Some(match &slot.value {
        Value::Nothing => return None,
        Value::Text(_) if let Some(encoding) = slot.encoding => encoding,
        Value::Text(text) if text.len() <= 20 && integer(text).is_some() => "int",
        Value::Text(text) if text.len() <= 44 => "embstr",
        Value::Text(_) => "raw",
        Value::Hash(hash) if hash.is_large() => "hashtable",
        Value::Hash(_) => "listpack",
        Value::Stream => "stream",
    })
}

/// DEBUG OBJECT.
pub(super) fn debug_object(context: &mut Context<'_>, request: &Request) -> Answered {
    let key = context.key(request.bytes(2));
    let slot = context.slot(&key)?;
    let Some(encoding) = encoding(slot) else { return Err(Stop::error("ERR no such key")) };
    let bytes = slot.measure();
    let text = format!("Value at:0x0 refcount:1 encoding:{encoding} serializedlength:{bytes} lru:0 lru_seconds_idle:0");
    Ok(Reply::SimpleText(text.into()).into())
}

/// OBJECT and its subcommands.
pub(super) fn object(context: &mut Context<'_>, request: &Request, verb: Verb) -> Answered {
    let key = context.key(request.bytes(2));
    let slot = context.slot(&key)?;
    let is_shared = matches!(&slot.value, Value::Text(text) if slot.encoding.is_none() && integer(text).is_some_and(|number| (0..10_000).contains(&number)));
    let Some(encoding) = encoding(slot) else { return Ok(Reply::Null.into()) };
    match verb {
        Verb::ObjectEncoding => Ok(Reply::text(encoding).into()),
        // Redis has one object for each of these numbers.
        Verb::ObjectRefCount => Ok(Reply::Integer(if is_shared { i64::from(i32::MAX) } else { 1 }).into()),
        Verb::ObjectIdleTime => Ok(Reply::Integer(0).into()),
        _ => Err(Stop::error(
            "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at \
             runtime LRU and LFU data will take some time to adjust.",
        )),
    }
}

pub(super) fn memory(context: &mut Context<'_>, request: &Request) -> Answered {
    match request.len() {
        3 => {}
        5 if is(&request[3], "samples") => {
            if number(&request[4])? < 0 {
                return Err(SYNTAX);
            }
        }
        _ => return Err(SYNTAX),
    }
    let key = context.key(request.bytes(2));
    let slot = context.slot(&key)?;
    if matches!(slot.value, Value::Nothing) {
        return Ok(Reply::Null.into());
    }
    Ok(Reply::count(slot.measure()).into())
}

/// Where SCAN goes on.
pub(super) fn cursor(text: &[u8]) -> Result<u64, Stop> {
    // As C reads a number without a sign.
    let cursor = match text.strip_prefix(b"-") {
        Some(rest) => std::str::from_utf8(rest).ok().and_then(|text| text.parse().ok()).map(u64::wrapping_neg),
        None if text.is_empty() => Some(0),
        None => std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()),
    };
    cursor.ok_or(Stop::error("ERR invalid cursor"))
}

/// Some number below this one.
pub(super) fn below(number: usize) -> usize {
    let random = RandomState::new().build_hasher().finish();
    usize::try_from(random % number as u64).expect("below a number in memory")
}
