//! XGROUP: groups and consumers are made and removed.

use std::sync::Arc;

use super::no_group_for_key;
use crate::redis::commands::call::{self, is, number};
use crate::redis::commands::table::Verb;
use crate::redis::entry::EntryId;
use crate::redis::keyspace::{Answered, Context, Group, Key, Stop, Stream, own};
use crate::redis::resp::{Reply, Request};

/// What CREATE and SETID may be given besides.
#[derive(Default)]
struct Options {
    makes_stream: bool,
    entries_read: Option<u64>,
}

pub(crate) fn manage(context: &mut Context<'_>, verb: Verb, request: &Request) -> Answered {
    let options = options(verb, request)?;
    let key = context.key(request.bytes(2));
    let name = &request[3];
    let is_there = context.stream(&key)?.is_some();
    if !is_there && !options.makes_stream {
        return Err(Stop::error(
            "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an \
             empty stream automatically.",
        ));
    }
    let has_group = is_there && context.known_stream(&key).groups.contains_key(name);
    if !has_group && matches!(verb, Verb::XGroupSetId | Verb::XGroupCreateConsumer | Verb::XGroupDelConsumer) {
        return Err(no_group_for_key(&request[2], name));
    }
    if verb == Verb::XGroupCreate && request.len() > 8 || verb == Verb::XGroupSetId && !matches!(request.len(), 5 | 7) {
        return Err(wrong_call(request));
    }
    match verb {
        Verb::XGroupCreate => create(context, request, &key, is_there, &options),
        Verb::XGroupSetId => {
            let stream = context.known_stream(&key);
            let id = id(stream, &request[4])?;
            let group = changed(stream, name);
            (group.last_id, group.entries_read) = (id, options.entries_read);
            context.changed(&key);
            Ok(Reply::OK.into())
        }
        Verb::XGroupDestroy => {
            let removed = context.remove_group(&key, name);
            Ok(Reply::Integer(removed.into()).into())
        }
        Verb::XGroupCreateConsumer => {
            let now = context.now;
            let (_, is_new) = changed(context.known_stream(&key), name).consumer(&request[4], now);
            if is_new {
                context.changed(&key);
            }
            Ok(Reply::Integer(is_new.into()).into())
        }
        _ => {
            let removed = changed(context.known_stream(&key), name).remove_consumer(&request[4]);
            if removed.is_some() {
                context.changed(&key);
            }
            Ok(Reply::Integer(i64::try_from(removed.unwrap_or(0)).unwrap_or(i64::MAX)).into())
        }
    }
}

fn options(verb: Verb, request: &Request) -> Result<Options, Stop> {
    let mut options = Options::default();
    if !matches!(verb, Verb::XGroupCreate | Verb::XGroupSetId) {
        return Ok(options);
    }
    let mut place = 5;
    while place < request.len() {
        if verb == Verb::XGroupCreate && is(&request[place], "mkstream") {
            options.makes_stream = true;
            place += 1;
        } else if is(&request[place], "entriesread") && place + 1 < request.len() {
            let read = number(&request[place + 1])?;
            if read < -1 {
                return Err(Stop::error("ERR value for ENTRIESREAD must be positive or -1"));
            }
            options.entries_read = u64::try_from(read).ok();
            place += 2;
        } else {
            return Err(wrong_call(request));
        }
    }
    Ok(options)
}

fn wrong_call(request: &Request) -> Stop {
    let name = request[0].to_ascii_uppercase();
    let text = [b"ERR unknown subcommand or wrong number of arguments for '", &request[1], b"'. Try ", &name[..], b" HELP."].concat();
    Reply::ErrorBytes(text.into()).into()
}

fn id(stream: &Stream, text: &[u8]) -> Result<EntryId, Stop> {
    if text == b"$" { Ok(stream.last_id) } else { call::bound(text, 0) }
}

fn changed<'s>(stream: &'s mut Stream, name: &[u8]) -> &'s mut Group {
    let group = Arc::make_mut(stream.groups.get_mut(name).expect("it was looked for before"));
    group.is_dirty = true;
    group
}

fn create(context: &mut Context<'_>, request: &Request, key: &Key, is_there: bool, options: &Options) -> Answered {
    let start = match &request[4] {
        b"$" if is_there => context.known_stream(key).last_id,
        b"$" => EntryId::MIN,
        text => call::id(text, 0)?,
    };
    if !is_there {
        context.create_stream(key)?;
    }
    let stream = context.known_stream(key);
    if stream.groups.contains_key(&request[3]) {
        return Err(Stop::error("BUSYGROUP Consumer Group name already exists"));
    }
    let number = stream.next_group;
    stream.next_group += 1;
    stream.groups.insert(own(&request[3]), Arc::new(Group::new(number, start, options.entries_read)));
    context.changed(key);
    Ok(Reply::OK.into())
}
