//! When keys expire. A key that has expired is gone for every command at once.

use super::call::{is, number};
use super::table::Verb;
use crate::redis::keyspace::{Answered, Context, Key, Stop, Value};
use crate::redis::resp::{Reply, Request};

/// How a time is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Seconds,
    Milliseconds,
    SecondsSince1970,
    MillisecondsSince1970,
}

impl Unit {
    /// The unit that an option of SET names.
    pub(super) fn of_option(option: &[u8]) -> Option<Self> {
        let options =
            [("ex", Self::Seconds), ("px", Self::Milliseconds), ("exat", Self::SecondsSince1970), ("pxat", Self::MillisecondsSince1970)];
        options.into_iter().find(|(name, _)| is(option, name)).map(|(_, unit)| unit)
    }
}

fn invalid(name: &str) -> Stop {
    Reply::Error(format!("ERR invalid expire time in '{name}' command").into()).into()
}

/// When something expires, in milliseconds since 1970; it has to be given as more than nothing.
pub(super) fn moment(unit: Unit, text: &[u8], now: u64, name: &str) -> Result<u64, Stop> {
    if number(text)? <= 0 {
        return Err(invalid(name));
    }
    u64::try_from(at(unit, text, now, name)?).map_err(|_| invalid(name))
}

fn at(unit: Unit, text: &[u8], now: u64, name: &str) -> Result<i64, Stop> {
    let time = number(text)?;
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let at = match unit {
        Unit::Seconds => time.checked_mul(1_000).and_then(|time| time.checked_add(now)),
        Unit::Milliseconds => time.checked_add(now),
        Unit::SecondsSince1970 => time.checked_mul(1_000),
        Unit::MillisecondsSince1970 => Some(time),
    };
    at.ok_or_else(|| invalid(name))
}

/// Lets a key expire at a moment, at once if that is over.
pub(super) fn expire_at(context: &mut Context<'_>, key: &Key, expires: u64) {
    if expires <= context.now {
        context.remove(key);
        return;
    }
    context.slot_as_it_is(key).expires = Some(expires);
    context.changed(key);
}

/// EXPIRE and its family.
pub(super) fn expire(context: &mut Context<'_>, request: &Request, verb: Verb) -> Answered {
    let (unit, name) = match verb {
        Verb::Expire => (Unit::Seconds, "expire"),
        Verb::PExpire => (Unit::Milliseconds, "pexpire"),
        Verb::ExpireAt => (Unit::SecondsSince1970, "expireat"),
        _ => (Unit::MillisecondsSince1970, "pexpireat"),
    };
    let (mut nx, mut xx, mut gt, mut lt) = (false, false, false, false);
    for option in request.iter().skip(3) {
        match option.to_ascii_lowercase().as_slice() {
            b"nx" => nx = true,
            b"xx" => xx = true,
            b"gt" => gt = true,
            b"lt" => lt = true,
            _ => return Err(Reply::ErrorBytes([b"ERR Unsupported option ", option].concat().into()).into()),
        }
    }
    if nx && (xx || gt || lt) {
        return Err(Stop::error("ERR NX and XX, GT or LT options at the same time are not compatible"));
    }
    if gt && lt {
        return Err(Stop::error("ERR GT and LT options at the same time are not compatible"));
    }
    let at = at(unit, &request[2], context.now, name)?;
    let key = context.key(request.bytes(1));
    let slot = context.slot(&key)?;
    if matches!(slot.value, Value::Nothing) {
        return Ok(Reply::Integer(0).into());
    }
    let current = slot.expires.and_then(|expires| i64::try_from(expires).ok());
    let is_refused = nx && current.is_some()
        || xx && current.is_none()
        || gt && current.is_none_or(|current| at <= current)
        || lt && current.is_some_and(|current| at >= current);
    if is_refused {
        return Ok(Reply::Integer(0).into());
    }
    expire_at(context, &key, u64::try_from(at).unwrap_or(0));
    Ok(Reply::Integer(1).into())
}

/// TTL, PTTL, EXPIRETIME and PEXPIRETIME.
pub(super) fn remaining(context: &mut Context<'_>, request: &Request, verb: Verb) -> Answered {
    let key = context.key(request.bytes(1));
    let now = context.now;
    let slot = context.slot(&key)?;
    let time = match (&slot.value, slot.expires) {
        (Value::Nothing, _) => -2,
        (_, None) => -1,
        (_, Some(expires)) => {
            let time = if matches!(verb, Verb::Ttl | Verb::PTtl) { expires.saturating_sub(now) } else { expires };
            let time = if matches!(verb, Verb::Ttl | Verb::ExpireTime) { time.saturating_add(500) / 1_000 } else { time };
            i64::try_from(time).unwrap_or(i64::MAX)
        }
    };
    Ok(Reply::Integer(time).into())
}

pub(super) fn persist(context: &mut Context<'_>, request: &Request) -> Answered {
    let key = context.key(request.bytes(1));
    let had_expiry = context.slot(&key)?.expires.take().is_some();
    if had_expiry {
        context.changed(&key);
    }
    Ok(Reply::Integer(had_expiry.into()).into())
}
