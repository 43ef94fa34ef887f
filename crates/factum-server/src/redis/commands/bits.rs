//! The commands on strings as rows of bits, the highest of each byte first.

use std::ops::Range;

use bytes::Bytes;

use super::call::{SYNTAX, is, number};
use super::strings::{check_length, replace, text, write};
use crate::redis::keyspace::{Answered, Context, Key, Stop};
use crate::redis::resp::{Reply, Request, integer};

/// Where a bit is.
fn offset(argument: &[u8]) -> Result<usize, Stop> {
    integer(argument)
        .and_then(|offset| usize::try_from(offset).ok())
        .filter(|offset| offset / 8 < 512 << 20)
        .ok_or(Stop::error("ERR bit offset is not an integer or out of range"))
}

/// The bit at a place; behind the end there are zeros.
fn bit(text: &[u8], place: usize) -> bool {
    text.get(place / 8).is_some_and(|byte| byte & mask(place) != 0)
}

fn mask(place: usize) -> u8 {
    0x80 >> (place % 8)
}

pub(super) fn set(context: &mut Context<'_>, request: &Request) -> Answered {
    let offset = offset(&request[2])?;
    let Some(value @ 0..=1) = integer(&request[3]) else { return Err(Stop::error("ERR bit is not an integer or out of range")) };
    let key = context.key(request.bytes(1));
    let mut after = text(context, &key)?.unwrap_or_default().to_vec();
    let before = bit(&after, offset);
    let length = after.len().max(offset / 8 + 1);
    check_length(context, length)?;
    after.resize(length, 0);
    if value == 1 {
        after[offset / 8] |= mask(offset);
    } else {
        after[offset / 8] &= !mask(offset);
    }
    replace(context, &key, after.into())?;
    context.slot_as_it_is(&key).encoding = Some("raw");
    Ok(Reply::Integer(before.into()).into())
}

pub(super) fn get(context: &mut Context<'_>, request: &Request) -> Answered {
    let offset = offset(&request[2])?;
    let key = context.key(request.bytes(1));
    let text = text(context, &key)?.unwrap_or_default();
    Ok(Reply::Integer(bit(&text, offset).into()).into())
}

/// Which part of a string is meant.
#[derive(Default)]
struct Part {
    start: Option<i64>,
    end: Option<i64>,
    is_in_bits: bool,
}

impl Part {
    /// From the arguments `start`, `end` and `BYTE` or `BIT`, from a place of the request on.
    fn of(request: &Request, place: usize) -> Result<Self, Stop> {
        let start = request.get(place).map(number).transpose()?;
        let end = request.get(place + 1).map(number).transpose()?;
        let is_in_bits = match request.get(place + 2) {
            None => false,
            Some(unit) if request.len() == place + 3 && is(unit, "bit") => true,
            Some(unit) if request.len() == place + 3 && is(unit, "byte") => false,
            Some(_) => return Err(SYNTAX),
        };
        Ok(Self { start, end, is_in_bits })
    }

    /// The places of its bits in a string of so many bytes; empty ones if it has none.
    fn bits(&self, length: usize) -> Range<usize> {
        let unit = if self.is_in_bits { 1 } else { 8 };
        let total = i64::try_from(length * 8 / unit).unwrap_or(i64::MAX);
        let (start, end) = (self.start.unwrap_or(0), self.end.unwrap_or(-1));
        if start < 0 && end < 0 && start > end {
            return 0..0;
        }
        let from_end = |place: i64| if place < 0 { total.saturating_add(place).max(0) } else { place };
        let (start, end) = (from_end(start), from_end(end).min(total - 1));
        if start > end {
            return 0..0;
        }
        let place = |place: i64| usize::try_from(place).unwrap_or(0) * unit;
        place(start)..place(end + 1)
    }
}

pub(super) fn count(context: &mut Context<'_>, request: &Request) -> Answered {
    if request.len() == 3 {
        return Err(SYNTAX);
    }
    let part = Part::of(request, 2)?;
    let key = context.key(request.bytes(1));
    let text = text(context, &key)?.unwrap_or_default();
    let bits = part.bits(text.len());
    let (first, last) = (bits.start.div_ceil(8) * 8, bits.end / 8 * 8);
    let count = if first > last {
        bits.filter(|&place| bit(&text, place)).count()
    } else {
        let whole: usize = text[first / 8..last / 8].iter().map(|byte| byte.count_ones() as usize).sum();
        whole + (bits.start..first).chain(last..bits.end).filter(|&place| bit(&text, place)).count()
    };
    Ok(Reply::count(count).into())
}

pub(super) fn find(context: &mut Context<'_>, request: &Request) -> Answered {
    let wanted = match number(&request[2])? {
        0 => false,
        1 => true,
        _ => return Err(Stop::error("ERR The bit argument must be 1 or 0.")),
    };
    let part = Part::of(request, 3)?;
    let key = context.key(request.bytes(1));
    let Some(text) = text(context, &key)? else { return Ok(Reply::Integer(if wanted { -1 } else { 0 }).into()) };
    let bits = part.bits(text.len());
    if bits.is_empty() {
        return Ok(Reply::Integer(-1).into());
    }
    let (other, end) = (if wanted { 0 } else { 0xff }, bits.end);
    let mut place = bits.start;
    while place < end && bit(&text, place) != wanted {
        // Bytes that have no such bit are passed over as a whole.
        place += if place.is_multiple_of(8) && text[place / 8] == other { 8 } else { 1 };
    }
    Ok(if place < end {
        Reply::count(place)
    } else if !wanted && part.end.is_none() {
        // Behind the end there are zeros.
        Reply::count(end)
    } else {
        Reply::Integer(-1)
    }
    .into())
}

pub(super) fn join(context: &mut Context<'_>, request: &Request) -> Answered {
    let operation: fn(u8, u8) -> u8 = match request[1].to_ascii_lowercase().as_slice() {
        b"and" => |one, other| one & other,
        b"or" => |one, other| one | other,
        b"xor" => |one, other| one ^ other,
        b"not" if request.len() != 4 => return Err(Stop::error("ERR BITOP NOT must be called with a single source key.")),
        b"not" => |one, _| one,
        _ => return Err(SYNTAX),
    };
    let keys: Vec<Key> = (2..request.len()).map(|place| context.key(request.bytes(place))).collect();
    context.need(&keys)?;
    let (target, sources) = keys.split_first().expect("the table says so");
    let mut texts: Vec<Bytes> = Vec::with_capacity(sources.len());
    for key in sources {
        texts.push(text(context, key)?.unwrap_or_default());
    }
    let length = texts.iter().map(Bytes::len).max().unwrap_or(0);
    context.slot(target)?;
    if length == 0 {
        context.remove(target);
        return Ok(Reply::Integer(0).into());
    }
    let mut joined = texts.first().cloned().unwrap_or_default().to_vec();
    joined.resize(length, 0);
    if is(&request[1], "not") {
        joined.iter_mut().for_each(|byte| *byte = !*byte);
    }
    for text in texts.iter().skip(1) {
        let bytes = text.iter().copied().chain(std::iter::repeat(0));
        joined.iter_mut().zip(bytes).for_each(|(byte, other)| *byte = operation(*byte, other));
    }
    write(context, target, joined.into(), None)?;
    context.slot_as_it_is(target).encoding = Some("raw");
    Ok(Reply::count(length).into())
}
