//! What can't be the same on two servers: ids and times made from the clock, the order of what has none, and what came after the version of
//! Redis that is compared with. All else is.

use super::both::Request;
use super::wire::Value;

/// The first moment that is taken for one of now, in milliseconds: in 2020.
const NOW_MIN: u64 = 1_577_836_800_000;

/// A reply with what can't be the same made the same. `queued` is what EXEC carries out.
pub(crate) fn mask(request: &[Vec<u8>], queued: &[Request], reply: Value) -> Value {
    let name = |place: usize| request.get(place).map(|name| name.to_ascii_uppercase()).unwrap_or_default();
    let reply = without_times(reply);
    match name(0).as_slice() {
        b"HELLO" => Value::Null("masked"),
        b"KEYS" => sorted(reply),
        b"EXEC" => match reply {
            Value::All(kind, all) if all.len() == queued.len() => {
                Value::All(kind, queued.iter().zip(all).map(|(request, reply)| mask(request, &[], reply)).collect())
            }
            other => other,
        },
        b"HKEYS" | b"HVALS" => sorted(reply),
        b"HGETALL" => sorted_pairs(reply),
        b"SCAN" => inside(reply, sorted),
        b"HSCAN" => inside(reply, sorted_pairs),
        b"TTL" | b"PTTL" => positive(reply),
        b"RANDOMKEY" => same_text(reply),
        b"XPENDING" => each(reply, |entry| match entry {
            Value::All(kind, mut parts) if parts.len() == 4 => {
                parts[2] = Value::Integer(0);
                Value::All(kind, parts)
            }
            other => other,
        }),
        b"XINFO" => without_names(reply),
        b"OBJECT" => text_however_kept(reply),
        b"TIME" => Value::Null("masked"),
        _ => reply,
    }
}

/// Ids and moments of now.
fn without_times(value: Value) -> Value {
    match value {
        Value::Integer(number) if u64::try_from(number).is_ok_and(|number| (NOW_MIN..NOW_MIN * 2).contains(&number)) => {
            Value::Line(b':', b"now".to_vec())
        }
        Value::Bulk(kind, text) if is_id_of_now(&text) => Value::Bulk(kind, b"now".to_vec()),
        Value::All(kind, all) => Value::All(kind, all.into_iter().map(without_times).collect()),
        other => other,
    }
}

fn is_id_of_now(text: &[u8]) -> bool {
    let text = std::str::from_utf8(text).unwrap_or_default();
    let millis = text.split_once('-').map_or(text, |(millis, _)| millis);
    millis.len() == 13 && millis.parse().is_ok_and(|millis: u64| millis >= NOW_MIN)
}

fn sorted(value: Value) -> Value {
    match value {
        Value::All(kind, mut all) => {
            all.sort();
            Value::All(kind, all)
        }
        other => other,
    }
}

fn sorted_pairs(value: Value) -> Value {
    match value {
        Value::All(kind, all) => {
            let mut pairs: Vec<Vec<Value>> = all.chunks(2).map(<[Value]>::to_vec).collect();
            pairs.sort();
            Value::All(kind, pairs.concat())
        }
        other => other,
    }
}

/// The second part of a reply in two parts: a cursor, and what it found.
fn inside(value: Value, change: fn(Value) -> Value) -> Value {
    match value {
        Value::All(kind, mut parts) if parts.len() == 2 => {
            parts[1] = change(parts[1].clone());
            Value::All(kind, parts)
        }
        other => other,
    }
}

fn each(value: Value, change: fn(Value) -> Value) -> Value {
    match value {
        Value::All(kind, all) => Value::All(kind, all.into_iter().map(change).collect()),
        other => other,
    }
}

fn positive(value: Value) -> Value {
    match value {
        Value::Integer(1..) => Value::Line(b':', b"some time".to_vec()),
        other => other,
    }
}

/// Redis remembers how a text was made, until it is started again; also of one that looks like a number.
fn text_however_kept(value: Value) -> Value {
    match value {
        Value::Bulk(kind, text) if text == b"raw" || text == b"int" => Value::Bulk(kind, b"embstr".to_vec()),
        other => other,
    }
}

fn same_text(value: Value) -> Value {
    match value {
        Value::Bulk(kind, _) => Value::Bulk(kind, b"some".to_vec()),
        other => other,
    }
}

/// Times that have passed, how entries are packed, and fields that are newer than the Redis that is compared with.
fn without_names(value: Value) -> Value {
    let Value::All(kind, all) = value else { return value };
    let mut left = Vec::with_capacity(all.len());
    let mut all = all.into_iter();
    while let Some(one) = all.next() {
        match &one {
            Value::Bulk(_, name) => match name.as_slice() {
                b"idle" | b"radix-tree-keys" | b"radix-tree-nodes" => {
                    all.next();
                }
                b"inactive" | b"active-time" | b"seen-time" => {
                    all.next();
                }
                _ => left.push(one),
            },
            _ => left.push(without_names(one)),
        }
    }
    Value::All(kind, left)
}
