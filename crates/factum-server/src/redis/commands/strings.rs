//! The commands on strings.

use bytes::Bytes;

use super::call::{NOT_AN_INTEGER, SYNTAX, is, number};
use super::decimal;
use super::expiry::{Unit, moment};
use super::table::{Verb, wrong_arity};
use crate::redis::keyspace::{Answered, Context, Key, Stop, Value, WRONG_TYPE, own};
use crate::redis::resp::{Reply, Request, integer};

const WOULD_OVERFLOW: Stop = Stop::error("ERR increment or decrement would overflow");

/// The string at a key.
pub(super) fn text(context: &mut Context<'_>, key: &Key) -> Result<Option<Bytes>, Stop> {
    match &context.slot(key)?.value {
        Value::Text(text) => Ok(Some(text.clone())),
        Value::Nothing => Ok(None),
        Value::Hash(_) | Value::Stream => Err(WRONG_TYPE),
    }
}

/// Writes a string and its expiry.
pub(super) fn write(context: &mut Context<'_>, key: &Key, text: Bytes, expires: Option<u64>) -> Result<(), Stop> {
    context.put(key, Value::Text(text))?;
    context.slot_as_it_is(key).expires = expires;
    Ok(())
}

pub(super) fn get(context: &mut Context<'_>, request: &Request) -> Answered {
    let key = context.key(request.bytes(1));
    Ok(text(context, &key)?.map_or(Reply::Null, Reply::Bulk).into())
}

/// The options of SET and GETEX.
#[derive(Default)]
struct Options<'a> {
    only_new: bool,
    only_existing: bool,
    returns_old: bool,
    keeps_expiry: bool,
    persists: bool,
    expiry: Option<(Unit, &'a [u8])>,
}

fn options<'a>(request: &'a Request, mut place: usize, is_set: bool) -> Result<Options<'a>, Stop> {
    let mut options = Options::default();
    while place < request.len() {
        let argument = &request[place];
        let is_free = |unit| !options.keeps_expiry && !options.persists && options.expiry.is_none_or(|(given, _)| given == unit);
        if is_set && is(argument, "nx") && !options.only_existing {
            options.only_new = true;
        } else if is_set && is(argument, "xx") && !options.only_new {
            options.only_existing = true;
        } else if is_set && is(argument, "get") {
            options.returns_old = true;
        } else if is_set && is(argument, "keepttl") && options.expiry.is_none() {
            options.keeps_expiry = true;
        } else if !is_set && is(argument, "persist") && options.expiry.is_none() {
            options.persists = true;
        } else if let Some(unit) = Unit::of_option(argument)
            && is_free(unit)
            && let Some(time) = request.get(place + 1)
        {
            options.expiry = Some((unit, time));
            place += 1;
        } else {
            return Err(SYNTAX);
        }
        place += 1;
    }
    Ok(options)
}

pub(super) fn set(context: &mut Context<'_>, request: &Request) -> Answered {
    let options = options(request, 3, true)?;
    let expires = options.expiry.map(|(unit, time)| moment(unit, time, context.now, "set")).transpose()?;
    let key = context.key(request.bytes(1));
    let old = if options.returns_old { text(context, &key)? } else { None };
    let slot = context.slot(&key)?;
    let (is_there, old_expiry) = (!matches!(slot.value, Value::Nothing), slot.expires);
    let old = if options.returns_old { old.map_or(Reply::Null, Reply::Bulk) } else { Reply::OK };
    if options.only_new && is_there || options.only_existing && !is_there {
        return Ok(if options.returns_old { old } else { Reply::Null }.into());
    }
    let expires = if options.keeps_expiry { old_expiry } else { expires };
    write(context, &key, own(&request[2]), expires)?;
    Ok(old.into())
}

/// SETEX and PSETEX.
pub(super) fn set_with_expiry(context: &mut Context<'_>, request: &Request, unit: Unit, name: &'static str) -> Answered {
    let expires = moment(unit, &request[2], context.now, name)?;
    let key = context.key(request.bytes(1));
    context.slot(&key)?;
    write(context, &key, own(&request[3]), Some(expires))?;
    Ok(Reply::OK.into())
}

pub(super) fn set_if_new(context: &mut Context<'_>, request: &Request) -> Answered {
    let key = context.key(request.bytes(1));
    let is_free = matches!(context.slot(&key)?.value, Value::Nothing);
    if is_free {
        write(context, &key, own(&request[2]), None)?;
    }
    Ok(Reply::Integer(is_free.into()).into())
}

pub(super) fn get_and_set(context: &mut Context<'_>, request: &Request) -> Answered {
    let key = context.key(request.bytes(1));
    let old = text(context, &key)?;
    write(context, &key, own(&request[2]), None)?;
    Ok(old.map_or(Reply::Null, Reply::Bulk).into())
}

pub(super) fn get_and_delete(context: &mut Context<'_>, request: &Request) -> Answered {
    let key = context.key(request.bytes(1));
    let old = text(context, &key)?;
    context.remove(&key);
    Ok(old.map_or(Reply::Null, Reply::Bulk).into())
}

pub(super) fn get_and_expire(context: &mut Context<'_>, request: &Request) -> Answered {
    let options = options(request, 2, false)?;
    let key = context.key(request.bytes(1));
    let Some(old) = text(context, &key)? else { return Ok(Reply::Null.into()) };
    let expires = options.expiry.map(|(unit, time)| moment(unit, time, context.now, "getex")).transpose()?;
    if let Some(expires) = expires {
        super::expiry::expire_at(context, &key, expires);
    } else if options.persists && context.slot(&key)?.expires.take().is_some() {
        context.changed(&key);
    }
    Ok(Reply::Bulk(old).into())
}

pub(super) fn get_several(context: &mut Context<'_>, request: &Request) -> Answered {
    let keys: Vec<Key> = (1..request.len()).map(|place| context.key(request.bytes(place))).collect();
    context.need(&keys)?;
    let mut texts = Vec::with_capacity(keys.len());
    for key in &keys {
        texts.push(match &context.slot(key)?.value {
            Value::Text(text) => Reply::Bulk(text.clone()),
            _ => Reply::Null,
        });
    }
    Ok(Reply::Array(texts).into())
}

/// MSET and MSETNX.
pub(super) fn set_several(context: &mut Context<'_>, request: &Request, verb: Verb) -> Answered {
    if request.len().is_multiple_of(2) {
        return Err(wrong_arity(if verb == Verb::MSet { "mset" } else { "msetnx" }).into());
    }
    let keys: Vec<Key> = (1..request.len()).step_by(2).map(|place| context.key(request.bytes(place))).collect();
    context.need(&keys)?;
    let mut is_any_there = false;
    for key in &keys {
        is_any_there |= !matches!(context.slot(key)?.value, Value::Nothing);
    }
    let is_set = verb == Verb::MSet || !is_any_there;
    if is_set {
        if !context.has_room(keys.len(), request.size()) {
            return Err(Stop::Full);
        }
        for (place, key) in keys.iter().enumerate() {
            write(context, key, own(&request[place * 2 + 2]), None)?;
        }
    }
    Ok(if verb == Verb::MSet { Reply::OK } else { Reply::Integer(is_set.into()) }.into())
}

/// Replaces a string and lets its expiry be.
pub(super) fn replace(context: &mut Context<'_>, key: &Key, text: Bytes) -> Result<(), Stop> {
    let expires = context.slot(key)?.expires;
    write(context, key, text, expires)
}

/// INCR, INCRBY, DECR and DECRBY.
pub(super) fn add(context: &mut Context<'_>, request: &Request, change: Option<i64>) -> Answered {
    let change = change.ok_or(Stop::error("ERR decrement would overflow"))?;
    let key = context.key(request.bytes(1));
    let before = text(context, &key)?.map_or(Some(0), |text| integer(&text)).ok_or(NOT_AN_INTEGER)?;
    let after = before.checked_add(change).ok_or(WOULD_OVERFLOW)?;
    replace(context, &key, Bytes::from(after.to_string()))?;
    Ok(Reply::Integer(after).into())
}

/// By how much a command of the family of INCR changes a number; the inner is `None` where that can't be told as a number.
pub(super) fn change(verb: Verb, request: &Request) -> Result<Option<i64>, Stop> {
    Ok(match verb {
        Verb::Incr => Some(1),
        Verb::Decr => Some(-1),
        Verb::IncrBy => Some(number(&request[2])?),
        _ => number(&request[2])?.checked_neg(),
    })
}

pub(super) fn add_float(context: &mut Context<'_>, request: &Request) -> Answered {
    let key = context.key(request.bytes(1));
    let before = text(context, &key)?.unwrap_or_else(|| Bytes::from_static(b"0"));
    let after = decimal::sum(&before, &request[2])?;
    replace(context, &key, Bytes::from(after.clone()))?;
    context.slot_as_it_is(&key).encoding = Some(if after.len() <= 44 { "embstr" } else { "raw" });
    Ok(Reply::string(after).into())
}

pub(super) fn len(context: &mut Context<'_>, request: &Request) -> Answered {
    let key = context.key(request.bytes(1));
    Ok(Reply::count(text(context, &key)?.map_or(0, |text| text.len())).into())
}

pub(super) fn append(context: &mut Context<'_>, request: &Request) -> Answered {
    let key = context.key(request.bytes(1));
    let before = text(context, &key)?;
    let after = [before.as_deref().unwrap_or_default(), &request[2]].concat();
    let length = after.len();
    replace(context, &key, after.into())?;
    context.slot_as_it_is(&key).encoding = before.is_some().then_some("raw");
    Ok(Reply::count(length).into())
}

/// GETRANGE and SUBSTR.
pub(super) fn part(context: &mut Context<'_>, request: &Request) -> Answered {
    let (start, end) = (number(&request[2])?, number(&request[3])?);
    let key = context.key(request.bytes(1));
    let Some(text) = text(context, &key)? else { return Ok(Reply::Bulk(Bytes::new()).into()) };
    let length = i64::try_from(text.len()).unwrap_or(i64::MAX);
    if start < 0 && end < 0 && start > end {
        return Ok(Reply::Bulk(Bytes::new()).into());
    }
    let from_end = |place: i64| if place < 0 { (length + place).max(0) } else { place };
    let (start, end) = (from_end(start), from_end(end).min(length - 1));
    if start > end || length == 0 {
        return Ok(Reply::Bulk(Bytes::new()).into());
    }
    let place = |place: i64| usize::try_from(place).unwrap_or(0);
    Ok(Reply::Bulk(text.slice(place(start)..=place(end))).into())
}

pub(super) fn set_part(context: &mut Context<'_>, request: &Request) -> Answered {
    let offset = number(&request[2])?;
    let Ok(offset) = usize::try_from(offset) else { return Err(Stop::error("ERR offset is out of range")) };
    let key = context.key(request.bytes(1));
    let before = text(context, &key)?.unwrap_or_default();
    let part = &request[3];
    if part.is_empty() {
        return Ok(Reply::count(before.len()).into());
    }
    let end = offset.saturating_add(part.len());
    check_length(context, end)?;
    let mut after = before.to_vec();
    after.resize(after.len().max(end), 0);
    after[offset..end].copy_from_slice(part);
    let length = after.len();
    replace(context, &key, after.into())?;
    context.slot_as_it_is(&key).encoding = Some("raw");
    Ok(Reply::count(length).into())
}

/// Whether a string that is made longer may have so many bytes.
pub(super) fn check_length(context: &Context<'_>, length: usize) -> Result<(), Stop> {
    if length > 512 << 20 {
        return Err(Stop::error("ERR string exceeds maximum allowed size (proto-max-bulk-len)"));
    }
    if length > context.limits.record_bytes_max {
        let text = format!("ERR the value would have {length} bytes, and the store takes records of {}", context.limits.record_bytes_max);
        return Err(Reply::Error(text.into()).into());
    }
    Ok(())
}
