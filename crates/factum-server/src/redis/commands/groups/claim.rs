//! XCLAIM and XAUTOCLAIM: pending entries are given to another consumer.

use std::sync::Arc;

use super::{group, no_group, with_group};
use crate::redis::commands::call::{self, SYNTAX, is};
use crate::redis::commands::streams::range::interval;
use crate::redis::entry::EntryId;
use crate::redis::keyspace::{Answered, Context, Group, Key, Known, Load, Pending, Picked, Plan, Stop};
use crate::redis::resp::{Reply, Request, integer};

/// The options of XCLAIM.
#[derive(Default)]
struct Options {
    time: Option<i64>,
    retries: Option<i64>,
    is_forced: bool,
    is_just_id: bool,
    last_id: EntryId,
}

pub(crate) fn claim(context: &mut Context<'_>, request: &Request) -> Answered {
    let key = context.key(request.bytes(1));
    let now = context.now;
    group(context, &key, &request[2], "")?;
    let idle_min = integer(&request[4]).ok_or(Stop::error("ERR Invalid min-idle-time argument for XCLAIM"))?;
    let idle_min = u64::try_from(idle_min).unwrap_or(0);
    let ids: Vec<EntryId> = request.iter().skip(5).map_while(|text| EntryId::parse(text, 0)).collect();
    let options = options(request, 5 + ids.len(), now)?;
    let stream = context.known_stream(&key);
    let pending = Arc::clone(&stream.groups[&request[2]]);
    let is_unknown = |id: &EntryId| pending.get(*id).is_none() && options.is_forced && stream.find(*id) == Known::Unknown;
    let unknown: Vec<EntryId> = ids.iter().copied().filter(is_unknown).collect();
    drop(pending);
    if !unknown.is_empty() {
        return Err(Stop::Load(vec![Load::AtLeast(key, unknown, 1)]));
    }
    let mut claimed = Vec::new();
    with_group(context, &key, &request[2], |stream, group| {
        let mut has_changed = options.last_id > group.last_id;
        if has_changed {
            group.last_id = options.last_id;
            group.is_dirty = true;
        }
        let time = options.time.and_then(|time| u64::try_from(time).ok()).filter(|time| *time <= now).unwrap_or(now);
        for id in ids {
            let known = group.get(id);
            let entry = match known {
                Some(entry) if !stream.is_visible(entry.version) => {
                    group.remove(id);
                    has_changed = true;
                    continue;
                }
                Some(entry) => entry,
                None if options.is_forced => match stream.find(id) {
                    Known::At(version) if stream.is_visible(version) => Pending { id, version, consumer: u32::MAX, time: now, count: 1 },
                    _ => continue,
                },
                None => continue,
            };
            if known.is_some() && now.saturating_sub(entry.time) < idle_min {
                continue;
            }
            let count = match options.retries {
                Some(retries) if retries >= 0 => u64::try_from(retries).unwrap_or(0),
                _ if options.is_just_id => entry.count,
                _ => entry.count + 1,
            };
            let (consumer, _) = group.consumer(&request[3], now);
            group.put(Pending { consumer, time, count, ..entry });
            touch(group, &request[3], now);
            has_changed = true;
            claimed.push((id, entry.version));
        }
        (has_changed, ())
    });
    Ok(answer(context, &key, claimed, options.is_just_id))
}

fn options(request: &Request, mut place: usize, now: u64) -> Result<Options, Stop> {
    let mut options = Options::default();
    while place < request.len() {
        let argument = &request[place];
        let value = request.get(place + 1);
        let number = |error: &'static str| value.and_then(integer).ok_or(Stop::error(error));
        if is(argument, "force") {
            options.is_forced = true;
        } else if is(argument, "justid") {
            options.is_just_id = true;
        } else if is(argument, "idle") && value.is_some() {
            let idle = number("ERR Invalid IDLE option argument for XCLAIM")?;
            options.time = Some(i64::try_from(now).unwrap_or(i64::MAX).wrapping_sub(idle));
            place += 1;
        } else if is(argument, "time") && value.is_some() {
            options.time = Some(number("ERR Invalid TIME option argument for XCLAIM")?);
            place += 1;
        } else if is(argument, "retrycount") && value.is_some() {
            options.retries = Some(number("ERR Invalid RETRYCOUNT option argument for XCLAIM")?);
            place += 1;
        } else if is(argument, "lastid")
            && let Some(value) = value
        {
            options.last_id = call::id(value, 0)?;
            place += 1;
        } else {
            let text = [b"ERR Unrecognized XCLAIM option '", argument, b"'"].concat();
            return Err(Reply::ErrorBytes(text.into()).into());
        }
        place += 1;
    }
    Ok(options)
}

pub(crate) fn auto_claim(context: &mut Context<'_>, request: &Request) -> Answered {
    let now = context.now;
    let idle_min = integer(&request[4]).ok_or(Stop::error("ERR Invalid min-idle-time argument for XAUTOCLAIM"))?;
    let idle_min = u64::try_from(idle_min).unwrap_or(0);
    let (start, _) = interval(&request[5], b"+")?;
    let (mut count, mut is_just_id) = (100_u64, false);
    let mut place = 6;
    while place < request.len() {
        if is(&request[place], "count") && place + 1 < request.len() {
            let asked = integer(&request[place + 1]).and_then(|asked| u64::try_from(asked).ok());
            count = asked.filter(|asked| (1..=i64::MAX as u64 / 16).contains(asked)).ok_or(Stop::error("ERR COUNT must be > 0"))?;
            place += 2;
        } else if is(&request[place], "justid") {
            is_just_id = true;
            place += 1;
        } else {
            return Err(SYNTAX);
        }
    }
    let key = context.key(request.bytes(1));
    if context.stream(&key)?.is_none_or(|stream| !stream.groups.contains_key(&request[2])) {
        return Err(no_group(&request[1], &request[2], ""));
    }
    let (mut claimed, mut deleted, mut next) = (Vec::new(), Vec::new(), None);
    with_group(context, &key, &request[2], |stream, group| {
        // Redis looks at ten times as many as are asked for.
        let looked_at = usize::try_from(count.saturating_mul(10).saturating_add(1)).unwrap_or(usize::MAX);
        let pending: Vec<Pending> = group.pending_from(start).take(looked_at).copied().collect();
        let mut attempts = count.saturating_mul(10);
        for entry in pending {
            if attempts == 0 || count == 0 {
                next = Some(entry.id);
                break;
            }
            attempts -= 1;
            if !stream.is_visible(entry.version) {
                group.remove(entry.id);
                deleted.push(entry.id);
                count -= 1;
            } else if now.saturating_sub(entry.time) >= idle_min {
                let (consumer, _) = group.consumer(&request[3], now);
                group.put(Pending { consumer, time: now, count: entry.count + u64::from(!is_just_id), ..entry });
                claimed.push((entry.id, entry.version));
                count -= 1;
            }
        }
        if !claimed.is_empty() {
            touch(group, &request[3], now);
        }
        (!claimed.is_empty() || !deleted.is_empty(), ())
    });
    let next = next.unwrap_or(EntryId::MIN);
    let claimed = answer(context, &key, claimed, is_just_id);
    let deleted = Reply::Array(deleted.into_iter().map(|id| Reply::Bulk(id.text())).collect());
    Ok(Plan::Array(vec![Reply::Bulk(next.text()).into(), claimed, deleted.into()]))
}

/// Notes that a consumer got something.
fn touch(group: &mut Group, name: &[u8], now: u64) {
    if let Some(consumer) = group.consumers.get_mut(name) {
        (consumer.seen, consumer.active) = (now, now);
        group.is_dirty = true;
    }
}

fn answer(context: &mut Context<'_>, key: &Key, claimed: Vec<(EntryId, u64)>, is_just_id: bool) -> Plan {
    if is_just_id {
        return Reply::Array(claimed.into_iter().map(|(id, _)| Reply::Bulk(id.text())).collect()).into();
    }
    let stream = context.known_stream(key).id.clone();
    Plan::Picked(Picked { stream, entries: claimed.into_iter().map(|(id, version)| (id, Some(version))).collect() })
}
