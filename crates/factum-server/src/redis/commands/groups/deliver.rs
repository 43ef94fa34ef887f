//! XREADGROUP: a consumer is given what is new, or what is still pending for it.

use super::{no_group, read_with, with_group};
use crate::redis::commands::call::id;
use crate::redis::commands::streams::info::{first_id, missing};
use crate::redis::commands::streams::read::Call;
use crate::redis::entry::EntryId;
use crate::redis::keyspace::{Answered, Context, Key, Load, Pending, Picked, Plan, Stop};
use crate::redis::resp::Request;
use crate::redis::unit::Resume;

/// Without COUNT, or beyond it, so many entries of a stream are delivered in one call.
const DELIVERED_MAX: u64 = 100_000;
/// So many ids are read from the store at a time.
const IDS_AT_A_TIME: u64 = 4_096;

const TAIL: &str = " in XREADGROUP with GROUP option";

/// What a consumer asks of one stream.
#[derive(Clone, Copy)]
enum From {
    /// `>`.
    New,
    /// What is pending behind this id.
    After(EntryId),
}

pub(crate) fn deliver(context: &mut Context<'_>, request: &Request, resume: &mut Resume) -> Answered {
    let call = Call::read(request, "xreadgroup")?;
    let (group, consumer) = call.group.expect("it was checked");
    let keys = call.keys(context, request);
    context.need(&keys)?;
    let mut from = Vec::with_capacity(keys.len());
    for (place, key) in keys.iter().enumerate() {
        if context.stream(key)?.is_none_or(|stream| !stream.groups.contains_key(group)) {
            return Err(no_group(&key.name, group, TAIL));
        }
        from.push(match call.id(request, place) {
            b">" => From::New,
            b"$" => {
                return Err(Stop::error(
                    "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by specifying a \
                     proper ID, or use the > ID to get new messages. The $ ID would just return an empty result set.",
                ));
            }
            text => match id(text, 0)? {
                // To Redis that is the same.
                EntryId::MAX => From::New,
                id => From::After(id),
            },
        });
    }
    // All that has to be known is, before anything is delivered.
    let limit = call.limit.unwrap_or(DELIVERED_MAX).min(DELIVERED_MAX);
    let mut new = Vec::with_capacity(keys.len());
    for (place, (key, asked)) in keys.iter().zip(&from).enumerate() {
        // A stream that is named again goes on where the time before ended.
        let before = keys[..place].iter().zip(&from).filter(|(one, from)| *one == key && matches!(from, From::New)).count() as u64;
        new.push(match asked {
            From::New => {
                let skipped = usize::try_from(limit * before).unwrap_or(usize::MAX);
                news(context, key, group, limit * (before + 1))?.into_iter().skip(skipped).collect()
            }
            From::After(_) => Vec::new(),
        });
    }
    let mut found = Vec::new();
    for (place, ((key, from), new)) in keys.iter().zip(&from).zip(new).enumerate() {
        let entries = match from {
            From::New => {
                if new.is_empty() {
                    continue;
                }
                take(context, key, group, consumer, &new, call.is_noack);
                new.into_iter().map(|(id, version)| (id, Some(version))).collect()
            }
            From::After(id) => history(context, key, group, consumer, *id, limit),
        };
        let stream = context.known_stream(key).id.clone();
        found.push((request.bytes(call.streams + place), Plan::Picked(Picked { stream, entries })));
    }
    if found.is_empty() { call.nothing(context, keys, resume) } else { Ok(Plan::Streams(found)) }
}

/// The entries behind what the group was given last, as ids and versions.
fn news(context: &mut Context<'_>, key: &Key, group: &[u8], limit: u64) -> Result<Vec<(EntryId, u64)>, Stop> {
    let stream = context.known_stream(key);
    let group = &stream.groups[group];
    let (last, read) = (group.last_id, group.entries_read);
    let Some(start) = last.next() else { return Ok(Vec::new()) };
    if stream.last_visible().is_none() || last >= stream.last_id {
        return Ok(Vec::new());
    }
    let Some(mut version) = stream.at_least(start) else {
        return Err(Stop::Load(vec![Load::AtLeast(key.clone(), vec![start], limit.clamp(64, IDS_AT_A_TIME))]));
    };
    let mut new = Vec::new();
    version = stream.visible_from(version);
    while (new.len() as u64) < limit && version <= stream.version {
        let Some(id) = stream.id_at(version) else {
            let count = (limit - new.len() as u64).clamp(64, IDS_AT_A_TIME);
            return Err(Stop::Load(vec![Load::Ids(key.clone(), version, count)]));
        };
        new.push((id, version));
        version = stream.visible_from(version + 1);
    }
    // Counting what was read may need to know where the stream begins.
    if let Some(load) = missing(stream, key).filter(|_| read.is_none() || stream.max_deleted != EntryId::MIN) {
        return Err(Stop::Load(vec![load]));
    }
    Ok(new)
}

/// Notes entries as delivered to a consumer.
fn take(context: &mut Context<'_>, key: &Key, group: &[u8], consumer: &[u8], new: &[(EntryId, u64)], is_noack: bool) {
    let now = context.now;
    with_group(context, key, group, |stream, group| {
        let first = first_id(stream);
        let (number, _) = group.consumer(consumer, now);
        let known = group.consumers.get_mut(consumer).expect("it was made if it was not there");
        (known.seen, known.active) = (now, now);
        group.is_dirty = true;
        for (id, version) in new {
            group.entries_read = read_with(stream, group.entries_read, *id, first);
            group.last_id = *id;
            if !is_noack {
                group.put(Pending { id: *id, version: *version, consumer: number, time: now, count: 1 });
            }
        }
        if let Some((last, version)) = new.last()
            && let Some(next) = last.next()
        {
            stream.learn_at_least(next, version + 1);
        }
        (true, ())
    });
}

/// What is pending for a consumer behind an id. What is still there counts as delivered once more.
fn history(context: &mut Context<'_>, key: &Key, group: &[u8], consumer: &[u8], after: EntryId, limit: u64) -> Vec<(EntryId, Option<u64>)> {
    let now = context.now;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let Some(start) = after.next() else { return Vec::new() };
    with_group(context, key, group, |stream, group| {
        let (number, is_new) = group.consumer(consumer, now);
        group.consumers.get_mut(consumer).expect("it was made if it was not there").seen = now;
        let pending: Vec<Pending> = group.pending_from(start).filter(|entry| entry.consumer == number).take(limit).copied().collect();
        let mut entries = Vec::with_capacity(pending.len());
        for entry in pending {
            let is_there = stream.is_visible(entry.version);
            entries.push((entry.id, is_there.then_some(entry.version)));
            if is_there {
                group.put(Pending { time: now, count: entry.count + 1, ..entry });
            }
        }
        (is_new || !entries.is_empty(), entries)
    })
}
