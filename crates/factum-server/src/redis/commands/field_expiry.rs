//! When fields of hashes expire. One that has expired is gone for every command at once, and the key goes with the last.

use std::ops::Range;

use super::call::{is, number};
use super::hashes::{change, hash};
use super::table::Verb;
use crate::redis::keyspace::{Answered, Context, Hash, Stop};
use crate::redis::resp::{Reply, Request};

/// What is answered for a field that is not there.
const ABSENT: i64 = -2;
/// What is answered for a field that does not expire.
const KEEPS: i64 = -1;
/// What is answered for a field that is not to be changed under this condition.
const UNCHANGED: i64 = 0;
const CHANGED: i64 = 1;
/// What is answered for a field whose time was over already.
const DELETED: i64 = 2;
/// The last moment that Redis takes for a field's, in milliseconds since 1970.
const MOMENT_MAX: i64 = (1 << 48) - 2;

/// Under which condition a field's expiry is changed.
#[derive(Clone, Copy)]
enum Condition {
    Always,
    IfKeeping,
    IfExpiring,
    IfLater,
    IfSooner,
}

impl Condition {
    fn of(option: &[u8]) -> Option<Self> {
        let options = [("nx", Self::IfKeeping), ("xx", Self::IfExpiring), ("gt", Self::IfLater), ("lt", Self::IfSooner)];
        options.into_iter().find(|(name, _)| is(option, name)).map(|(_, condition)| condition)
    }

    fn allows(self, current: Option<u64>, wanted: u64) -> bool {
        match self {
            Self::Always => true,
            Self::IfKeeping => current.is_none(),
            Self::IfExpiring => current.is_some(),
            Self::IfLater => current.is_some_and(|current| wanted > current),
            Self::IfSooner => current.is_none_or(|current| wanted < current),
        }
    }
}

/// Where the names are that stand behind `FIELDS` and their number.
fn fields(request: &Request, place: usize) -> Result<Range<usize>, Stop> {
    if !request.get(place).is_some_and(|word| is(word, "fields")) {
        return Err(Stop::error("ERR Mandatory argument FIELDS is missing or not at the right position"));
    }
    let positive = Stop::error("ERR Parameter `numFields` should be greater than 0");
    let count = request.get(place + 1).and_then(|count| number(count).ok()).filter(|count| *count > 0).ok_or(positive)?;
    let names = place + 2..request.len();
    if usize::try_from(count).ok() != Some(names.len()) {
        return Err(Stop::error("ERR The `numfields` parameter must match the number of arguments"));
    }
    Ok(names)
}

fn each(request: &Request, names: Range<usize>, answer: impl FnMut(&[u8]) -> i64) -> Reply {
    Reply::Array(names.map(|place| &request[place]).map(answer).map(Reply::Integer).collect())
}

/// HEXPIRE, HPEXPIRE, HEXPIREAT and HPEXPIREAT.
pub(super) fn expire(context: &mut Context<'_>, request: &Request, verb: Verb) -> Answered {
    let (name, in_seconds, is_from_now) = match verb {
        Verb::HExpire => ("hexpire", true, true),
        Verb::HPExpire => ("hpexpire", false, true),
        Verb::HExpireAt => ("hexpireat", true, false),
        _ => ("hpexpireat", false, false),
    };
    let time = number(&request[2])?;
    if time < 0 {
        return Err(Stop::error("ERR invalid expire time, must be >= 0"));
    }
    let time = if in_seconds { time.checked_mul(1_000) } else { Some(time) };
    let begin = if is_from_now { i64::try_from(context.now).unwrap_or(i64::MAX) } else { 0 };
    let at = time.and_then(|time| time.checked_add(begin)).filter(|at| *at <= MOMENT_MAX);
    let at = at.and_then(|at| u64::try_from(at).ok());
    let at = at.ok_or_else(|| Stop::from(Reply::Error(format!("ERR invalid expire time in '{name}' command").into())))?;
    let condition = Condition::of(&request[3]);
    let names = fields(request, if condition.is_some() { 4 } else { 3 })?;
    let condition = condition.unwrap_or(Condition::Always);

    let key = context.key(request.bytes(1));
    let Some(known) = hash(context, &key)? else { return Ok(each(request, names, |_| ABSENT).into()) };
    let is_there = |place: usize| known.get(&request[place]).is_some();
    if !names.clone().any(is_there) {
        return Ok(each(request, names, |_| ABSENT).into());
    }
    drop(known);
    let now = context.now;
    let one = |hash: &mut Hash, name: &[u8]| {
        if hash.get(name).is_none() {
            return ABSENT;
        }
        if !condition.allows(hash.expiry(name), at) {
            return UNCHANGED;
        }
        if at <= now {
            hash.remove(name);
            return DELETED;
        }
        hash.set_expiry(name, Some(at));
        CHANGED
    };
    let reply = change(context, &key, request, |hash| each(request, names, |name| one(hash, name)))?;
    Ok(reply.into())
}

pub(super) fn persist(context: &mut Context<'_>, request: &Request) -> Answered {
    let names = fields(request, 2)?;
    let key = context.key(request.bytes(1));
    let known = hash(context, &key)?.unwrap_or_default();
    let answer = |name: &[u8]| match (known.get(name), known.expiry(name)) {
        (None, _) => ABSENT,
        (_, None) => KEEPS,
        _ => CHANGED,
    };
    let reply = each(request, names.clone(), answer);
    if names.clone().any(|place| known.expiry(&request[place]).is_some()) {
        drop(known);
        change(context, &key, request, |hash| names.for_each(|place| hash.set_expiry(&request[place], None)))?;
    }
    Ok(reply.into())
}

/// HTTL, HPTTL, HEXPIRETIME and HPEXPIRETIME.
pub(super) fn remaining(context: &mut Context<'_>, request: &Request, verb: Verb) -> Answered {
    let names = fields(request, 2)?;
    let key = context.key(request.bytes(1));
    let known = hash(context, &key)?.unwrap_or_default();
    let now = context.now;
    let answer = |name: &[u8]| match (known.get(name), known.expiry(name)) {
        (None, _) => ABSENT,
        (_, None) => KEEPS,
        (_, Some(at)) => {
            let time = if matches!(verb, Verb::HTtl | Verb::HPTtl) { at.saturating_sub(now) } else { at };
            // What is left of a second counts as one.
            let time = if matches!(verb, Verb::HTtl | Verb::HExpireTime) { time.div_ceil(1_000) } else { time };
            i64::try_from(time).unwrap_or(i64::MAX)
        }
    };
    Ok(each(request, names, answer).into())
}
