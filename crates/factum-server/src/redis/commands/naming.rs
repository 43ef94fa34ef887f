//! The commands that go by the names of keys: listing, counting, renaming, and removing all.

use super::call::{SYNTAX, is, number};
use super::keys::{below, cursor};
use super::table::Verb;
use crate::redis::glob;
use crate::redis::keyspace::{Answered, Context, Key, Kind, Stop, Value};
use crate::redis::resp::{Reply, Request};

pub(super) fn keys(context: &mut Context<'_>, request: &Request) -> Answered {
    let (database, now) = (context.database, context.now);
    let names = context.names()?.keys_from(database, 0, now);
    let wanted = names.filter(|(_, name, _)| glob::matches(&request[1], name));
    Ok(Reply::Array(wanted.map(|(_, name, _)| Reply::Bulk(name.clone())).collect()).into())
}

pub(super) fn size(context: &mut Context<'_>) -> Answered {
    let (database, now) = (context.database, context.now);
    Ok(Reply::count(context.names()?.keys_from(database, 0, now).count()).into())
}

pub(super) fn random(context: &mut Context<'_>) -> Answered {
    let (database, now) = (context.database, context.now);
    let names = context.names()?;
    let from = below(usize::MAX) as u64 >> 1;
    let some = names.keys_from(database, from, now).next().or_else(|| names.keys_from(database, 0, now).next());
    Ok(some.map_or(Reply::Null, |(_, name, _)| Reply::Bulk(name.clone())).into())
}

/// Without COUNT, so many keys are looked at in a call.
const SCANNED: usize = 10;

pub(super) fn scan(context: &mut Context<'_>, request: &Request) -> Answered {
    let from = cursor(&request[1])?;
    let (mut count, mut pattern, mut kind) = (SCANNED, None, None);
    let mut place = 2;
    while place < request.len() {
        let Some(value) = request.get(place + 1) else { return Err(SYNTAX) };
        if is(&request[place], "count") {
            count = usize::try_from(number(value)?).ok().filter(|count| *count > 0).ok_or(SYNTAX)?;
        } else if is(&request[place], "match") {
            pattern = Some(value);
        } else if is(&request[place], "type") {
            kind = Some(value);
        } else {
            return Err(SYNTAX);
        }
        place += 2;
    }
    let (database, now) = (context.database, context.now);
    let mut names = context.names()?.keys_from(database, from, now).peekable();
    let mut found = Vec::new();
    let mut looked_at = 0;
    let mut last = None;
    // Names of one place are never divided.
    while let Some((place, ..)) = names.peek()
        && (looked_at < count || last == Some(*place))
    {
        let (place, name, named) = names.next().expect("it was there");
        (looked_at, last) = (looked_at + 1, Some(place));
        let is_wanted = pattern.is_none_or(|pattern| glob::matches(pattern, name));
        if is_wanted && kind.is_none_or(|kind| is(kind, named.kind.name())) {
            found.push(Reply::Bulk(name.clone()));
        }
    }
    let next = if names.peek().is_some() { last.map_or(0, |last| last + 1) } else { 0 };
    Ok(Reply::Array(vec![Reply::string(next.to_string()), Reply::Array(found)]).into())
}

/// RENAME and RENAMENX.
pub(super) fn rename(context: &mut Context<'_>, request: &Request, verb: Verb) -> Answered {
    let (from, to) = (context.key(request.bytes(1)), context.key(request.bytes(2)));
    context.need([&from, &to])?;
    if matches!(context.slot(&from)?.value, Value::Nothing) {
        return Err(Stop::error("ERR no such key"));
    }
    let answer = |is_done: bool| if verb == Verb::Rename { Reply::OK } else { Reply::Integer(is_done.into()) };
    if from == to {
        return Ok(answer(false).into());
    }
    let is_free = matches!(context.slot(&to)?.value, Value::Nothing);
    if verb == Verb::RenameNx && !is_free {
        return Ok(answer(false).into());
    }
    place(context, &from, &to)?;
    context.remove(&from);
    Ok(answer(true).into())
}

/// MOVE: to another database.
pub(super) fn move_to(context: &mut Context<'_>, request: &Request) -> Answered {
    let from = context.key(request.bytes(1));
    let database = number(&request[2])?;
    let database = u32::try_from(database).ok().filter(|database| *database < context.options.databases);
    let to = Key { database: database.ok_or(Stop::error("ERR DB index is out of range"))?, ..from.clone() };
    if from == to {
        return Err(Stop::error("ERR source and destination objects are the same"));
    }
    context.need([&from, &to])?;
    let is_there = !matches!(context.slot(&from)?.value, Value::Nothing);
    let is_moved = is_there && matches!(context.slot(&to)?.value, Value::Nothing);
    if is_moved {
        place(context, &from, &to)?;
        context.remove(&from);
    }
    Ok(Reply::Integer(is_moved.into()).into())
}

pub(super) fn copy(context: &mut Context<'_>, request: &Request) -> Answered {
    let (from, mut to) = (context.key(request.bytes(1)), context.key(request.bytes(2)));
    let mut replaces = false;
    let mut at = 3;
    while at < request.len() {
        if is(&request[at], "replace") {
            replaces = true;
            at += 1;
        } else if is(&request[at], "db") && at + 1 < request.len() {
            let database = u32::try_from(number(&request[at + 1])?).ok().filter(|database| *database < context.options.databases);
            to.database = database.ok_or(Stop::error("ERR DB index is out of range"))?;
            at += 2;
        } else {
            return Err(SYNTAX);
        }
    }
    if from == to {
        return Err(Stop::error("ERR source and destination objects are the same"));
    }
    context.need([&from, &to])?;
    if matches!(context.slot(&from)?.value, Value::Nothing) {
        return Ok(Reply::Integer(0).into());
    }
    if !replaces && !matches!(context.slot(&to)?.value, Value::Nothing) {
        return Ok(Reply::Integer(0).into());
    }
    place(context, &from, &to)?;
    Ok(Reply::Integer(1).into())
}

/// Puts what stands at one key at another too.
pub(super) fn place(context: &mut Context<'_>, from: &Key, to: &Key) -> Result<(), Stop> {
    let slot = context.slot(from)?;
    let (value, expires, encoding) = (slot.value.clone(), slot.expires, slot.encoding);
    match value {
        Value::Stream => context.copy_stream(from, to)?,
        value => context.put(to, value)?,
    }
    let slot = context.slot_as_it_is(to);
    (slot.expires, slot.encoding) = (expires, encoding);
    Ok(())
}

/// FLUSHDB and FLUSHALL.
pub(super) fn flush(context: &mut Context<'_>, request: &Request, verb: Verb) -> Answered {
    if !context.options.allow_flush {
        return Err(Stop::error("ERR FLUSHDB and FLUSHALL are not carried out unless the server was started with --allow-flush"));
    }
    match request.get(1) {
        None => {}
        Some(how) if request.len() == 2 && (is(how, "async") || is(how, "sync")) => {}
        Some(_) => return Err(SYNTAX),
    }
    let databases = if verb == Verb::FlushAll { 0..context.options.databases } else { context.database..context.database + 1 };
    let names = context.names()?;
    let mut keys = Vec::new();
    for database in databases {
        keys.extend(
            names
                .keys_from(database, 0, 0)
                .filter(|(.., named)| named.kind != Kind::Nothing)
                .map(|(_, name, _)| Key { database, name: name.clone() }),
        );
    }
    // More than fits into one append goes in parts: then it is not removed as one, and others may come in between.
    let together_max = (context.limits.events_max / 4).max(1);
    let is_more = keys.len() > together_max;
    if is_more && context.is_exec {
        let text = format!("ERR there are {} keys, too many to be removed within EXEC; remove them outside of it", keys.len());
        return Err(Reply::Error(text.into()).into());
    }
    keys.truncate(together_max);
    context.need(&keys)?;
    if !context.has_room(keys.len() * 3, 0) {
        return Err(Stop::Full);
    }
    for key in &keys {
        context.slot(key)?;
        context.remove(key);
    }
    if is_more {
        return Err(Stop::Full);
    }
    Ok(Reply::OK.into())
}
