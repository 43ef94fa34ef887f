//! XINFO: what is known of streams, groups and consumers.

use bytes::Bytes;
use factum::Direction;

use crate::redis::commands::call::{is, number};
use crate::redis::commands::groups::{distance, no_group_for_key};
use crate::redis::commands::table::find;
use crate::redis::entry::EntryId;
use crate::redis::keyspace::{Answered, Context, Entries, Group, Key, Load, Plan, Stop, Stream};
use crate::redis::resp::{Reply, Request};

const NO_SUCH_KEY: Stop = Stop::error("ERR no such key");

/// The stream at the key, with the ids of its first and last entries known.
fn known<'c>(context: &'c mut Context<'_>, key: &Key) -> Result<&'c Stream, Stop> {
    let Some(stream) = context.stream(key)? else { return Err(NO_SUCH_KEY) };
    if let Some(load) = missing(stream, key) {
        return Err(Stop::Load(vec![load]));
    }
    Ok(stream)
}

/// What has to be known of a stream's ends, and is not.
pub(in crate::redis::commands) fn missing(stream: &Stream, key: &Key) -> Option<Load> {
    let last = stream.last_visible()?;
    let first = stream.visible_from(0);
    let missing = [first, last].into_iter().find(|version| stream.id_at(*version).is_none())?;
    Some(Load::Ids(key.clone(), missing, 1))
}

/// The id of the first entry.
pub(in crate::redis::commands) fn first_id(stream: &Stream) -> EntryId {
    if stream.len() == 0 { EntryId::MIN } else { stream.id_at(stream.visible_from(0)).unwrap_or(EntryId::MIN) }
}

fn count(count: u64) -> Reply {
    Reply::Integer(i64::try_from(count).unwrap_or(i64::MAX))
}

fn id(id: EntryId) -> Reply {
    Reply::Bulk(id.text())
}

fn member(name: &'static str, value: impl Into<Plan>) -> (Reply, Plan) {
    (Reply::text(name), value.into())
}

pub(crate) fn stream(context: &mut Context<'_>, request: &Request) -> Answered {
    let key = context.key(request.bytes(2));
    let node = context.options.node_entries();
    let full = match context.stream(&key)? {
        None => return Err(NO_SUCH_KEY),
        Some(_) => full(request)?,
    };
    let stream = known(context, &key)?;
    let length = stream.len();
    let nodes = length.div_ceil(node);
    let mut members = vec![
        member("length", count(length)),
        member("radix-tree-keys", count(nodes)),
        member("radix-tree-nodes", count(nodes + 1)),
        member("last-generated-id", id(stream.last_id)),
        member("max-deleted-entry-id", id(stream.max_deleted)),
        member("entries-added", count(stream.entries_added)),
        member("recorded-first-entry-id", id(first_id(stream))),
    ];
    let entries = |limit: Option<u64>, direction| {
        Box::new(Entries { view: stream.view(), start: EntryId::MIN, end: EntryId::MAX, limit, direction, from: None })
    };
    match full {
        None => {
            members.push(member("groups", count(stream.groups.len() as u64)));
            members.push(member("first-entry", Plan::First(entries(Some(1), Direction::Forward))));
            members.push(member("last-entry", Plan::First(entries(Some(1), Direction::Backward))));
        }
        Some(limit) => {
            members.push(member("entries", Plan::Entries(entries((limit > 0).then_some(limit), Direction::Forward))));
            let limit = if limit == 0 { usize::MAX } else { usize::try_from(limit).unwrap_or(usize::MAX) };
            let groups = stream.groups.iter().map(|(name, group)| group_in_full(stream, name, group, limit)).collect();
            members.push(member("groups", Reply::Array(groups)));
        }
    }
    Ok(Plan::Map(members))
}

/// With FULL, how many entries to show; 0 for all.
fn full(request: &Request) -> Result<Option<u64>, Stop> {
    let syntax = || {
        let xinfo = find(b"xinfo").expect("it is there");
        let text = [
            b"ERR unknown subcommand or wrong number of arguments for '",
            &request[1],
            b"'. Try ",
            xinfo.name.to_ascii_uppercase().as_bytes(),
            b" HELP.",
        ]
        .concat();
        Stop::Answer(Reply::ErrorBytes(text.into()))
    };
    match request.len() {
        3 => Ok(None),
        4 | 6 if is(&request[3], "full") => {
            if request.len() == 4 {
                return Ok(Some(10));
            }
            if !is(&request[4], "count") {
                return Err(syntax());
            }
            Ok(Some(u64::try_from(number(&request[5])?).unwrap_or(10)))
        }
        _ => Err(syntax()),
    }
}

fn entries_read(group: &Group) -> Reply {
    // Beyond the largest number that can be given with ENTRIESREAD, Redis goes on from the smallest.
    group.entries_read.map_or(Reply::Null, |read| Reply::Integer(read.cast_signed()))
}

/// How many entries a group has yet to read, where that can be known.
fn lag(stream: &Stream, group: &Group) -> Reply {
    if stream.entries_added == 0 {
        return Reply::Integer(0);
    }
    let read = match group.entries_read {
        Some(read) if !has_tombstones(stream, group.last_id) => Some(read),
        _ => distance(stream, group.last_id, first_id(stream)),
    };
    read.map_or(Reply::Null, |read| Reply::Integer(stream.entries_added.cast_signed().wrapping_sub(read.cast_signed())))
}

/// Whether an entry from `start` on may have been deleted that was not before all others.
pub(in crate::redis::commands) fn has_tombstones(stream: &Stream, start: EntryId) -> bool {
    stream.len() > 0 && stream.max_deleted != EntryId::MIN && first_id(stream) <= stream.max_deleted && start <= stream.max_deleted
}

fn moment(ms: u64) -> Reply {
    if ms == 0 { Reply::Integer(-1) } else { count(ms) }
}

fn group_in_full(stream: &Stream, name: &Bytes, group: &Group, limit: usize) -> Reply {
    let pending = group.pending().take(limit).map(|entry| {
        Reply::Array(vec![id(entry.id), Reply::Bulk(group.consumer_name(entry.consumer)), count(entry.time), count(entry.count)])
    });
    let consumers = group.consumers.iter().map(|(name, consumer)| {
        let of_consumer = group.pending().filter(|entry| entry.consumer == consumer.number).take(limit);
        let pending = of_consumer.map(|entry| Reply::Array(vec![id(entry.id), count(entry.time), count(entry.count)]));
        Reply::Map(vec![
            (Reply::text("name"), Reply::Bulk(name.clone())),
            (Reply::text("seen-time"), count(consumer.seen)),
            (Reply::text("active-time"), moment(consumer.active)),
            (Reply::text("pel-count"), count(consumer.pending)),
            (Reply::text("pending"), Reply::Array(pending.collect())),
        ])
    });
    Reply::Map(vec![
        (Reply::text("name"), Reply::Bulk(name.clone())),
        (Reply::text("last-delivered-id"), id(group.last_id)),
        (Reply::text("entries-read"), entries_read(group)),
        (Reply::text("lag"), lag(stream, group)),
        (Reply::text("pel-count"), count(group.len())),
        (Reply::text("pending"), Reply::Array(pending.collect())),
        (Reply::text("consumers"), Reply::Array(consumers.collect())),
    ])
}

pub(crate) fn groups(context: &mut Context<'_>, request: &Request) -> Answered {
    let key = context.key(request.bytes(2));
    let stream = known(context, &key)?;
    let groups = stream.groups.iter().map(|(name, group)| {
        Reply::Map(vec![
            (Reply::text("name"), Reply::Bulk(name.clone())),
            (Reply::text("consumers"), count(group.consumers.len() as u64)),
            (Reply::text("pending"), count(group.len())),
            (Reply::text("last-delivered-id"), id(group.last_id)),
            (Reply::text("entries-read"), entries_read(group)),
            (Reply::text("lag"), lag(stream, group)),
        ])
    });
    Ok(Reply::Array(groups.collect()).into())
}

pub(crate) fn consumers(context: &mut Context<'_>, request: &Request) -> Answered {
    let key = context.key(request.bytes(2));
    let now = context.now;
    let Some(stream) = context.stream(&key)? else { return Err(NO_SUCH_KEY) };
    let Some(group) = stream.groups.get(&request[3]) else { return Err(no_group_for_key(&request[2], &request[3])) };
    let consumers = group.consumers.iter().map(|(name, consumer)| {
        let inactive = if consumer.active == 0 { Reply::Integer(-1) } else { count(now.saturating_sub(consumer.active)) };
        Reply::Map(vec![
            (Reply::text("name"), Reply::Bulk(name.clone())),
            (Reply::text("pending"), count(consumer.pending)),
            (Reply::text("idle"), count(now.saturating_sub(consumer.seen))),
            (Reply::text("inactive"), inactive),
        ])
    });
    Ok(Reply::Array(consumers.collect()).into())
}
