//! The commands on consumer groups.

pub(super) mod acknowledge;
pub(super) mod claim;
pub(super) mod deliver;
pub(super) mod manage;
pub(super) mod pending;

use std::sync::Arc;

use super::streams::info::has_tombstones;
use crate::redis::entry::EntryId;
use crate::redis::keyspace::{Context, Group, Key, Stop, Stream};
use crate::redis::resp::Reply;

/// The error of a key or a group that is not there.
pub(super) fn no_group(key: &[u8], group: &[u8], tail: &str) -> Stop {
    let text = [b"NOGROUP No such key '", key, b"' or consumer group '", group, b"'", tail.as_bytes()].concat();
    Reply::ErrorBytes(text.into()).into()
}

/// The error of a group that is not there at a key that is.
pub(super) fn no_group_for_key(key: &[u8], group: &[u8]) -> Stop {
    let text = [b"NOGROUP No such consumer group '", group, b"' for key name '", key, b"'"].concat();
    Reply::ErrorBytes(text.into()).into()
}

/// A group to be changed.
fn group<'c>(context: &'c mut Context<'_>, key: &Key, name: &[u8], tail: &str) -> Result<&'c mut Group, Stop> {
    let stream = context.stream(key)?;
    let group = stream.and_then(|stream| stream.groups.get_mut(name));
    group.map(Arc::make_mut).ok_or_else(|| no_group(&key.name, name, tail))
}

/// Changes a group; `change` says whether it did.
fn with_group<T>(context: &mut Context<'_>, key: &Key, name: &[u8], change: impl FnOnce(&mut Stream, &mut Group) -> (bool, T)) -> T {
    let stream = context.known_stream(key);
    let (name, mut shared) = stream.groups.remove_entry(name).expect("it was looked for before");
    let (has_changed, answer) = change(stream, Arc::make_mut(&mut shared));
    stream.groups.insert(name, shared);
    if has_changed {
        context.changed_groups(key);
    }
    answer
}

/// How many entries a stream had up to an id, where that can be known: the first, the last, or all.
pub(super) fn distance(stream: &Stream, id: EntryId, first_id: EntryId) -> Option<u64> {
    if stream.entries_added == 0 {
        return Some(0);
    }
    if stream.len() == 0 && id <= stream.last_id || id == stream.last_id {
        return Some(stream.entries_added);
    }
    if id > stream.last_id {
        return None;
    }
    if stream.max_deleted == EntryId::MIN || stream.max_deleted < first_id {
        if id < first_id {
            return Some(stream.entries_added - stream.len());
        }
        if id == first_id {
            return Some(stream.entries_added - stream.len() + 1);
        }
    }
    None
}

/// How many entries a group has read once it has read this one too.
fn read_with(stream: &Stream, read: Option<u64>, id: EntryId, first_id: EntryId) -> Option<u64> {
    match read {
        Some(read) if !has_tombstones(stream, id) => Some(read + 1),
        _ if stream.entries_added > 0 => distance(stream, id, first_id),
        read => read,
    }
}
