//! XREAD: what comes after the ids given, of several streams, perhaps once it comes.

use std::time::Duration;

use factum::Direction;
use tokio::time::Instant;

use crate::redis::commands::call::{INVALID_ID, SYNTAX, id, is, number};
use crate::redis::entry::EntryId;
use crate::redis::keyspace::{Answered, Context, Entries, Key, Load, Plan, Stop};
use crate::redis::resp::{Reply, Request};
use crate::redis::unit::Resume;

/// A call of XREAD or XREADGROUP, up to the streams.
#[derive(Debug, Default)]
pub(in crate::redis::commands) struct Call<'a> {
    pub(in crate::redis::commands) limit: Option<u64>,
    /// How long to wait; 0 for ever.
    pub(in crate::redis::commands) block: Option<u64>,
    pub(in crate::redis::commands) group: Option<(&'a [u8], &'a [u8])>,
    pub(in crate::redis::commands) is_noack: bool,
    /// The place of the first stream.
    pub(in crate::redis::commands) streams: usize,
    /// How many streams there are.
    pub(in crate::redis::commands) count: usize,
}

impl<'a> Call<'a> {
    pub(in crate::redis::commands) fn read(request: &'a Request, name: &str) -> Result<Self, Stop> {
        let is_group = is(name.as_bytes(), "xreadgroup");
        let mut call = Self::default();
        let mut place = 1;
        while place < request.len() {
            let has_more = place + 1 < request.len();
            let argument = &request[place];
            if is(argument, "block") && has_more {
                call.block = Some(timeout(&request[place + 1])?);
                place += 2;
            } else if is(argument, "count") && has_more {
                let count = number(&request[place + 1])?;
                call.limit = u64::try_from(count).ok().filter(|count| *count > 0);
                place += 2;
            } else if is(argument, "streams") && has_more {
                call.streams = place + 1;
                let rest = request.len() - call.streams;
                if !rest.is_multiple_of(2) {
                    return Err(Stop::error("ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified."));
                }
                call.count = rest / 2;
                break;
            } else if is(argument, "group") && place + 2 < request.len() {
                if !is_group {
                    return Err(Stop::error("ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead."));
                }
                call.group = Some((&request[place + 1], &request[place + 2]));
                place += 3;
            } else if is(argument, "noack") {
                if !is_group {
                    return Err(Stop::error("ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead."));
                }
                call.is_noack = true;
                place += 1;
            } else {
                return Err(SYNTAX);
            }
        }
        if call.streams == 0 {
            return Err(SYNTAX);
        }
        if is_group && call.group.is_none() {
            return Err(Stop::error("ERR Missing GROUP option for XREADGROUP"));
        }
        Ok(call)
    }

    /// The keys, in the order of the call.
    pub(in crate::redis::commands) fn keys(&self, context: &Context<'_>, request: &Request) -> Vec<Key> {
        (self.streams..self.streams + self.count).map(|place| context.key(request.bytes(place))).collect()
    }

    /// The id given for a stream.
    pub(in crate::redis::commands) fn id<'r>(&self, request: &'r Request, stream: usize) -> &'r [u8] {
        &request[self.streams + self.count + stream]
    }

    /// What to do where there is nothing: wait, or say so.
    pub(in crate::redis::commands) fn nothing(&self, context: &Context<'_>, keys: Vec<Key>, resume: &mut Resume) -> Answered {
        let Some(block) = self.block.filter(|_| !context.is_exec && !resume.is_over) else { return Ok(Reply::NullArray.into()) };
        let until = || (block > 0).then(|| Instant::now().checked_add(Duration::from_millis(block))).flatten();
        let deadline = *resume.deadline.get_or_insert_with(until);
        Err(Stop::Block(keys, deadline))
    }
}

fn timeout(text: &[u8]) -> Result<u64, Stop> {
    let Some(timeout) = crate::redis::resp::integer(text) else {
        return Err(Stop::error("ERR timeout is not an integer or out of range"));
    };
    u64::try_from(timeout).map_err(|_| Stop::error("ERR timeout is negative"))
}

pub(crate) fn read(context: &mut Context<'_>, request: &Request, resume: &mut Resume) -> Answered {
    let call = Call::read(request, "xread")?;
    let keys = call.keys(context, request);
    let ids = match &resume.ids {
        Some(ids) => ids.clone(),
        None => {
            let ids = starts(context, request, &call, &keys)?;
            resume.ids.insert(ids).clone()
        }
    };
    context.need(&keys)?;
    let mut found = Vec::new();
    for (place, (key, after)) in keys.iter().zip(&ids).enumerate() {
        let stream = match context.stream(key) {
            // Something else was put there while it waited: it waits on, for a stream.
            Err(Stop::Answer(_)) if resume.deadline.is_some() => continue,
            stream => stream?,
        };
        let Some(stream) = stream else { continue };
        let Some(top) = stream.top_id() else {
            let last = stream.last_visible().expect("an entry whose id is not known is there");
            return Err(Stop::Load(vec![Load::Ids(key.clone(), last, 1)]));
        };
        let (Some(top), Some(start)) = (top, after.next()) else { continue };
        if top <= *after {
            continue;
        }
        let from = stream.at_least(start);
        let view = stream.view();
        let entries = Entries { view, start, end: EntryId::MAX, limit: call.limit, direction: Direction::Forward, from };
        found.push((request.bytes(call.streams + place), Plan::Entries(Box::new(entries))));
    }
    if found.is_empty() { call.nothing(context, keys, resume) } else { Ok(Plan::Streams(found)) }
}

/// The ids after which to read; `$` is the last one of now, and `+` the one before that.
fn starts(context: &mut Context<'_>, request: &Request, call: &Call<'_>, keys: &[Key]) -> Result<Vec<EntryId>, Stop> {
    let mut ids = Vec::with_capacity(keys.len());
    context.need(keys)?;
    for (place, key) in keys.iter().enumerate() {
        let stream = context.stream(key)?;
        ids.push(match call.id(request, place) {
            b"$" => stream.map_or(EntryId::MIN, |stream| stream.last_id),
            b"+" => match stream {
                None => EntryId::MIN,
                Some(stream) => match stream.top_id() {
                    Some(top) => top.and_then(EntryId::previous).unwrap_or(stream.last_id),
                    None => {
                        let last = stream.last_visible().expect("an entry whose id is not known is there");
                        return Err(Stop::Load(vec![Load::Ids(key.clone(), last, 1)]));
                    }
                },
            },
            b">" => {
                return Err(Stop::error(
                    "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.",
                ));
            }
            text => id(text, 0).map_err(|_| INVALID_ID)?,
        });
    }
    Ok(ids)
}
