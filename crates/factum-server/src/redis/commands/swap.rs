//! SWAPDB: the keys of two databases in each other's place, as one append.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::naming::place;
use crate::redis::keyspace::{Answered, Context, Key, Stop, Value};
use crate::redis::resp::{Reply, Request, integer};

pub(super) fn databases(context: &mut Context<'_>, request: &Request) -> Answered {
    let first = integer(&request[1]).ok_or(Stop::error("ERR invalid first DB index"))?;
    let second = integer(&request[2]).ok_or(Stop::error("ERR invalid second DB index"))?;
    let database = |number: i64| u32::try_from(number).ok().filter(|database| *database < context.options.databases);
    let (Some(first), Some(second)) = (database(first), database(second)) else { return Err(Stop::error("ERR DB index is out of range")) };
    if first == second {
        return Ok(Reply::OK.into());
    }
    let now = context.now;
    let names = context.names()?;
    let of_both: BTreeSet<Bytes> =
        [first, second].into_iter().flat_map(|database| names.keys_from(database, 0, now).map(|(_, name, _)| name.clone())).collect();
    if of_both.len() > context.limits.events_max / 8 {
        let text = format!("ERR there are {} keys in both databases, too many to be moved as one", of_both.len());
        return Err(Reply::Error(text.into()).into());
    }
    let pairs: Vec<(Key, Key)> =
        of_both.into_iter().map(|name| (Key { database: first, name: name.clone() }, Key { database: second, name })).collect();
    context.need(pairs.iter().flat_map(|(one, other)| [one, other]))?;
    let mut bytes = 0;
    for (one, other) in &pairs {
        let streams = [is_stream(context, one)?, is_stream(context, other)?];
        check(context, one, other, streams)?;
        bytes += context.slot(one)?.measure() + context.slot(other)?.measure();
    }
    if !context.has_room(pairs.len() * 6, bytes) {
        return Err(Stop::Full);
    }
    if context.is_exec {
        // What has to be read first stops all of the transaction, and that is taken back.
        return exchange_all(context, &pairs);
    }
    let mark = context.begin();
    let answer = exchange_all(context, &pairs);
    if answer.is_err() {
        context.take_back(&mark);
    }
    context.undo = None;
    answer
}

fn is_stream(context: &mut Context<'_>, key: &Key) -> Result<bool, Stop> {
    Ok(matches!(context.slot(key)?.value, Value::Stream))
}

/// Whether two keys can be exchanged. All are looked at before the first is, so that all are or none.
fn check(context: &mut Context<'_>, one: &Key, other: &Key, streams: [bool; 2]) -> Result<(), Stop> {
    let events_max = context.limits.events_max as u64;
    let is_long = |context: &mut Context<'_>, key, is_stream| is_stream && context.known_stream(key).len() > events_max / 2;
    let name = String::from_utf8_lossy(&one.name).into_owned();
    let why = match streams {
        [true, true] => "is a stream in both databases, and streams can't take each other's place; rename one of them",
        _ if is_long(context, one, streams[0]) || is_long(context, other, streams[1]) => "has too many entries to be moved as one",
        _ if one.stream().is_none() || other.stream().is_none() => "is too long a name in the other database",
        _ => return Ok(()),
    };
    Err(Reply::Error(format!("ERR {name} {why}; nothing was changed").into()).into())
}

fn exchange_all(context: &mut Context<'_>, pairs: &[(Key, Key)]) -> Answered {
    for (one, other) in pairs {
        exchange(context, one, other)?;
    }
    Ok(Reply::OK.into())
}

/// Each gets what stands at the other.
fn exchange(context: &mut Context<'_>, one: &Key, other: &Key) -> Result<(), Stop> {
    let value = |context: &mut Context<'_>, key: &Key| {
        let slot = context.slot(key)?;
        Ok::<_, Stop>((slot.value.clone(), slot.expires, slot.encoding))
    };
    let (mine, theirs) = (value(context, one)?, value(context, other)?);
    // A stream is copied while it still stands where it stood.
    let (source, target, (left, expires, encoding)) = match (&mine.0, &theirs.0) {
        (Value::Nothing, _) | (_, Value::Stream) => (other, one, mine),
        _ => (one, other, theirs),
    };
    if matches!(context.slot(source)?.value, Value::Nothing) {
        return Ok(());
    }
    place(context, source, target)?;
    match left {
        Value::Nothing => _ = context.remove(source),
        left => {
            context.remove(source);
            context.put(source, left)?;
            let slot = context.slot_as_it_is(source);
            (slot.expires, slot.encoding) = (expires, encoding);
        }
    }
    Ok(())
}
