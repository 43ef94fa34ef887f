//! The commands on hashes.

use bytes::Bytes;

use super::call::{SYNTAX, is, number};
use super::decimal;
use super::table::{Verb, wrong_arity};
use crate::redis::glob;
use crate::redis::keyspace::{Answered, Context, Hash, Key, Stop, Value, WRONG_TYPE};
use crate::redis::resp::{Reply, Request, integer};

/// The hash at a key; a clone shares its fields.
pub(super) fn hash(context: &mut Context<'_>, key: &Key) -> Result<Option<Hash>, Stop> {
    match &context.slot(key)?.value {
        Value::Hash(hash) => Ok(Some(hash.clone())),
        Value::Nothing => Ok(None),
        Value::Text(_) | Value::Stream => Err(WRONG_TYPE),
    }
}

/// Changes the hash at a key, which is made if there is none, and removed when it is empty. The request's size is the most that is added.
pub(super) fn change<T>(context: &mut Context<'_>, key: &Key, request: &Request, change: impl FnOnce(&mut Hash) -> T) -> Result<T, Stop> {
    let bytes_max = context.limits.value_bytes_max();
    let slot = context.slot(key)?;
    let expires = slot.expires;
    let mut hash = match &mut slot.value {
        Value::Hash(hash) if hash.size() + request.size() > bytes_max => {
            let text =
                format!("ERR the hash would have more than {bytes_max} bytes, the most that the store keeps in a record; use several");
            return Err(Reply::Error(text.into()).into());
        }
        Value::Hash(hash) => std::mem::take(hash),
        Value::Nothing => Hash::default(),
        Value::Text(_) | Value::Stream => return Err(WRONG_TYPE),
    };
    let answer = change(&mut hash);
    if hash.len() == 0 {
        context.remove(key);
    } else {
        context.put(key, Value::Hash(hash))?;
        context.slot_as_it_is(key).expires = expires;
    }
    Ok(answer)
}

/// HSET and HMSET.
pub(super) fn set(context: &mut Context<'_>, request: &Request, verb: Verb) -> Answered {
    if !request.len().is_multiple_of(2) {
        return Err(wrong_arity(if verb == Verb::HSet { "hset" } else { "hmset" }).into());
    }
    let key = context.key(request.bytes(1));
    let count = change(context, &key, request, |hash| {
        (2..request.len()).step_by(2).filter(|place| hash.set(&request[*place], &request[*place + 1])).count()
    })?;
    Ok(if verb == Verb::HSet { Reply::count(count) } else { Reply::OK }.into())
}

pub(super) fn set_if_new(context: &mut Context<'_>, request: &Request) -> Answered {
    let key = context.key(request.bytes(1));
    if hash(context, &key)?.is_some_and(|hash| hash.get(&request[2]).is_some()) {
        return Ok(Reply::Integer(0).into());
    }
    change(context, &key, request, |hash| hash.set(&request[2], &request[3]))?;
    Ok(Reply::Integer(1).into())
}

pub(super) fn get(context: &mut Context<'_>, request: &Request) -> Answered {
    let key = context.key(request.bytes(1));
    let hash = hash(context, &key)?;
    Ok(hash.and_then(|hash| hash.get(&request[2]).cloned()).map_or(Reply::Null, Reply::Bulk).into())
}

pub(super) fn get_several(context: &mut Context<'_>, request: &Request) -> Answered {
    let key = context.key(request.bytes(1));
    let hash = hash(context, &key)?.unwrap_or_default();
    let values = request.iter().skip(2).map(|name| hash.get(name).cloned().map_or(Reply::Null, Reply::Bulk));
    Ok(Reply::Array(values.collect()).into())
}

/// HGETALL, HKEYS and HVALS.
pub(super) fn all(context: &mut Context<'_>, request: &Request, verb: Verb) -> Answered {
    let key = context.key(request.bytes(1));
    let hash = hash(context, &key)?.unwrap_or_default();
    let fields = hash.iter().map(|(name, value)| (Reply::Bulk(name.clone()), Reply::Bulk(value.clone())));
    Ok(match verb {
        Verb::HGetAll => Reply::Map(fields.collect()),
        Verb::HKeys => Reply::Array(fields.map(|(name, _)| name).collect()),
        _ => Reply::Array(fields.map(|(_, value)| value).collect()),
    }
    .into())
}

pub(super) fn delete(context: &mut Context<'_>, request: &Request) -> Answered {
    let key = context.key(request.bytes(1));
    let Some(known) = hash(context, &key)? else { return Ok(Reply::Integer(0).into()) };
    if !request.iter().skip(2).any(|name| known.get(name).is_some()) {
        return Ok(Reply::Integer(0).into());
    }
    drop(known);
    let count = change(context, &key, request, |hash| request.iter().skip(2).filter(|name| hash.remove(name)).count())?;
    Ok(Reply::count(count).into())
}

pub(super) fn len(context: &mut Context<'_>, request: &Request) -> Answered {
    let key = context.key(request.bytes(1));
    Ok(Reply::count(hash(context, &key)?.map_or(0, |hash| hash.len())).into())
}

/// HEXISTS and HSTRLEN.
pub(super) fn of_field(context: &mut Context<'_>, request: &Request, verb: Verb) -> Answered {
    let key = context.key(request.bytes(1));
    let value = hash(context, &key)?.and_then(|hash| hash.get(&request[2]).cloned());
    Ok(match verb {
        Verb::HExists => Reply::Integer(value.is_some().into()),
        _ => Reply::count(value.map_or(0, |value| value.len())),
    }
    .into())
}

pub(super) fn add(context: &mut Context<'_>, request: &Request) -> Answered {
    let by = number(&request[3])?;
    let key = context.key(request.bytes(1));
    let before = hash(context, &key)?.and_then(|hash| hash.get(&request[2]).cloned());
    let before = before.map_or(Some(0), |text| integer(&text)).ok_or(Stop::error("ERR hash value is not an integer"))?;
    let after = before.checked_add(by).ok_or(Stop::error("ERR increment or decrement would overflow"))?;
    change(context, &key, request, |hash| hash.set_value(&request[2], after.to_string().as_bytes()))?;
    Ok(Reply::Integer(after).into())
}

pub(super) fn add_float(context: &mut Context<'_>, request: &Request) -> Answered {
    if !decimal::is_finite(&request[3])? {
        return Err(Stop::error("ERR value is NaN or Infinity"));
    }
    let key = context.key(request.bytes(1));
    let before = hash(context, &key)?.and_then(|hash| hash.get(&request[2]).cloned()).unwrap_or_else(|| Bytes::from_static(b"0"));
    if decimal::is_finite(&before).is_err() {
        return Err(Stop::error("ERR hash value is not a float"));
    }
    let after = decimal::sum(&before, &request[3])?;
    change(context, &key, request, |hash| hash.set_value(&request[2], after.as_bytes()))?;
    Ok(Reply::string(after).into())
}

/// HSCAN gives all fields at once, as Redis does for small hashes.
pub(super) fn scan(context: &mut Context<'_>, request: &Request) -> Answered {
    super::keys::cursor(&request[2])?;
    let key = context.key(request.bytes(1));
    let Some(known) = hash(context, &key)? else {
        return Ok(Reply::Array(vec![Reply::text("0"), Reply::Array(Vec::new())]).into());
    };
    let mut pattern = None;
    let mut is_with_values = true;
    let mut place = 3;
    while place < request.len() {
        if is(&request[place], "novalues") {
            is_with_values = false;
            place += 1;
            continue;
        }
        let Some(value) = request.get(place + 1) else { return Err(SYNTAX) };
        if is(&request[place], "count") {
            if number(value)? < 1 {
                return Err(SYNTAX);
            }
        } else if is(&request[place], "match") {
            pattern = Some(value);
        } else {
            return Err(SYNTAX);
        }
        place += 2;
    }
    let wanted = known.iter().filter(|(name, _)| pattern.is_none_or(|pattern| glob::matches(pattern, name)));
    let fields = wanted.flat_map(|(name, value)| {
        let value = is_with_values.then(|| Reply::Bulk(value.clone()));
        std::iter::once(Reply::Bulk(name.clone())).chain(value)
    });
    Ok(Reply::Array(vec![Reply::text("0"), Reply::Array(fields.collect())]).into())
}

pub(super) fn random(context: &mut Context<'_>, request: &Request) -> Answered {
    let count = request.get(2).map(number).transpose()?;
    let with_values = match request.get(3) {
        None => false,
        Some(option) if is(option, "withvalues") && request.len() == 4 => true,
        Some(_) => return Err(SYNTAX),
    };
    if count == Some(i64::MIN) {
        return Err(Stop::error("ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807"));
    }
    if count.is_some_and(|count| count < -(i64::MAX / 2) || with_values && count > i64::MAX / 2) {
        return Err(Stop::error("ERR value is out of range"));
    }
    let key = context.key(request.bytes(1));
    let known = hash(context, &key)?.unwrap_or_default();
    let fields: Vec<&(Bytes, Bytes)> = known.iter().collect();
    let Some(count) = count else {
        let name = (!fields.is_empty()).then(|| Reply::Bulk(fields[super::keys::below(fields.len())].0.clone()));
        return Ok(name.unwrap_or(Reply::Null).into());
    };
    let many = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    let mut left = fields.clone();
    let picked: Vec<&(Bytes, Bytes)> = match count {
        _ if fields.is_empty() => Vec::new(),
        ..0 if many > 1 << 20 => return Err(Stop::error("ERR value is out of range")),
        ..0 => (0..many).map(|_| fields[super::keys::below(fields.len())]).collect(),
        _ => (0..many.min(fields.len())).map(|_| left.swap_remove(super::keys::below(left.len()))).collect(),
    };
    if !with_values {
        return Ok(Reply::Array(picked.into_iter().map(|(name, _)| Reply::Bulk(name.clone())).collect()).into());
    }
    // Pairs of their own in RESP3, one list in RESP2.
    let pairs = picked.into_iter().map(|(name, value)| (Reply::Bulk(name.clone()), Reply::Bulk(value.clone())));
    Ok(Reply::Pairs(pairs.collect()).into())
}
