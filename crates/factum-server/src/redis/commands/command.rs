//! COMMAND: the table, as clients ask for it.

use super::table::{self, Command, Verb, access, tips};
use crate::redis::glob;
use crate::redis::resp::{Reply, Request};

/// What is told of a command is a hundred times as long as its name, so there is an end to how many can be asked for at a time.
const NAMES_MAX: usize = 1_000;
const TOO_MANY: Reply = Reply::error("ERR these are more names than there are commands; ask for fewer at a time");

pub(super) fn count() -> Reply {
    Reply::count(commands().count())
}

/// Commands, without the subcommands.
fn commands() -> impl Iterator<Item = &'static Command> {
    table::all().filter(|command| !command.name.contains('|'))
}

pub(super) fn every() -> Reply {
    Reply::Array(commands().map(info_of).collect())
}

pub(super) fn info(request: &Request) -> Reply {
    if request.len() == 2 {
        return every();
    }
    if request.len() > NAMES_MAX {
        return TOO_MANY;
    }
    Reply::Array(request.iter().skip(2).map(|name| table::find(name).map_or(Reply::Null, info_of)).collect())
}

fn info_of(command: &'static Command) -> Reply {
    let set = |names: Vec<Reply>| Reply::Set(names);
    let flags = table::FLAG_NAMES.iter().enumerate().filter(|(bit, _)| command.is(1 << bit)).map(|(_, name)| Reply::Simple(name));
    let (first, last, step) = command.keys;
    Reply::Array(vec![
        Reply::text(command.name),
        Reply::Integer(command.arity.into()),
        set(flags.collect()),
        Reply::count(first),
        Reply::Integer(last.into()),
        Reply::count(step),
        set(categories(command).into_iter().map(Reply::Simple).collect()),
        set(tips::of(command.verb).iter().map(|tip| Reply::text(tip)).collect()),
        set(key_specifications(command)),
        if command.subcommands().next().is_none() { set(Vec::new()) } else { Reply::Array(command.subcommands().map(info_of).collect()) },
    ])
}

/// The classes of commands that permissions are given by, in the order of Redis.
fn categories(command: &Command) -> Vec<&'static str> {
    if command.subcommands().next().is_some() {
        // What it does is what its subcommands do, each for itself.
        return if command.verb == Verb::Command { vec!["@slow", "@connection"] } else { vec!["@slow"] };
    }
    let container = command.name.split_once('|').map_or(command.name, |(container, _)| container);
    let is_admin = command.is(table::ADMIN) || matches!(command.verb, Verb::Role | Verb::LastSave);
    let is_dangerous = is_admin || matches!(command.verb, Verb::Keys | Verb::FlushDb | Verb::FlushAll | Verb::SwapDb | Verb::Info);
    let has = |flag| command.is(flag);
    let is_about = |group| command.group == group;
    let waits = matches!(command.verb, Verb::Wait | Verb::WaitAof);
    let is_of_keyspace = matches!(command.verb, Verb::DbSize | Verb::FlushDb | Verb::FlushAll | Verb::SwapDb);
    let is_of_connection = container == "command" || matches!(command.verb, Verb::ReadOnly | Verb::ReadWrite);
    let classes = [
        (is_about(table::Group::Generic) && !waits || is_of_keyspace, "@keyspace"),
        (has(table::READONLY), "@read"),
        (has(table::WRITE), "@write"),
        (is_about(table::Group::Hash), "@hash"),
        (is_about(table::Group::String), "@string"),
        (is_about(table::Group::Bitmap), "@bitmap"),
        (is_about(table::Group::Stream), "@stream"),
        (is_admin, "@admin"),
        (has(table::FAST), "@fast"),
        (!has(table::FAST), "@slow"),
        (has(table::BLOCKING), "@blocking"),
        (is_dangerous, "@dangerous"),
        (is_about(table::Group::Connection) || is_of_connection || waits, "@connection"),
        (is_about(table::Group::Transactions), "@transaction"),
        (container == "function" || container == "script", "@scripting"),
    ];
    classes.into_iter().filter(|(is_in, _)| *is_in).map(|(_, name)| name).collect()
}

/// The classes that Redis knows, as ACL CAT lists them; of some there are no commands here.
const CATEGORIES: [&str; 21] = [
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
];

pub(super) fn every_category() -> Reply {
    Reply::Array(CATEGORIES.into_iter().map(Reply::text).collect())
}

/// The commands of a class.
pub(super) fn of_category(category: &[u8]) -> Reply {
    if !CATEGORIES.iter().any(|name| name.as_bytes().eq_ignore_ascii_case(category)) {
        return Reply::ErrorBytes([b"ERR Unknown category '", category, b"'"].concat().into());
    }
    let is_of = |command: &&Command| categories(command).iter().any(|name| name.as_bytes()[1..].eq_ignore_ascii_case(category));
    Reply::Array(table::all().filter(is_of).map(|command| Reply::text(command.name)).collect())
}

/// Where the keys are, in the form of Redis 7.
fn key_specifications(command: &Command) -> Vec<Reply> {
    let (first, last, step) = command.keys;
    if command.is(table::MOVABLEKEYS) {
        let start = if command.verb == Verb::XReadGroup { 4 } else { 1 };
        let begin = [("keyword", Reply::text("STREAMS")), ("startfrom", Reply::Integer(start))];
        return vec![key_specification(access::of(command.verb), "keyword", begin.into(), (-1, 1, 2))];
    }
    let of_one = |access, first, last: i32, step: usize| {
        let step = i64::try_from(step).unwrap_or_default();
        key_specification(access, "index", vec![("index", Reply::count(first))], (last.into(), step, 0))
    };
    match access::of_second(command.verb) {
        _ if first == 0 => Vec::new(),
        Some(second) => vec![of_one(access::of(command.verb), first, 0, 1), of_one(second, first + 1, last.min(0), 1)],
        None => {
            let last = if last < 0 { last } else { last - i32::try_from(first).unwrap_or_default() };
            vec![of_one(access::of(command.verb), first, last, step)]
        }
    }
}

fn key_specification(
    access: &'static [&'static str],
    kind: &'static str,
    begin: Vec<(&'static str, Reply)>,
    (last, step, limit): (i64, i64, i64),
) -> Reply {
    let map =
        |members: Vec<(&'static str, Reply)>| Reply::Map(members.into_iter().map(|(name, value)| (Reply::text(name), value)).collect());
    let find = vec![("lastkey", Reply::Integer(last)), ("keystep", Reply::Integer(step)), ("limit", Reply::Integer(limit))];
    map(vec![
        ("flags", Reply::Set(access.iter().map(|flag| Reply::Simple(flag)).collect())),
        ("begin_search", map(vec![("type", Reply::text(kind)), ("spec", map(begin))])),
        ("find_keys", map(vec![("type", Reply::text("range")), ("spec", map(find))])),
    ])
}

pub(super) fn docs(request: &Request) -> Reply {
    if request.len() == 2 {
        return Reply::Map(commands().map(docs_of).collect());
    }
    if request.len() > NAMES_MAX {
        return TOO_MANY;
    }
    Reply::Map(request.iter().skip(2).filter_map(table::find).map(docs_of).collect())
}

fn docs_of(command: &'static Command) -> (Reply, Reply) {
    let mut docs = vec![
        (Reply::text("summary"), Reply::text(command.summary)),
        (Reply::text("since"), Reply::text(command.since)),
        (Reply::text("group"), Reply::text(command.group.name())),
    ];
    let subcommands: Vec<(Reply, Reply)> = command.subcommands().map(docs_of).collect();
    if !subcommands.is_empty() {
        docs.push((Reply::text("subcommands"), Reply::Map(subcommands)));
    }
    (Reply::text(command.name), Reply::Map(docs))
}

pub(super) fn list(request: &Request) -> Reply {
    let names = |takes: &dyn Fn(&Command) -> bool| {
        Reply::Array(table::all().filter(|command| takes(command)).map(|command| Reply::text(command.name)).collect())
    };
    if request.len() == 2 {
        return names(&|_| true);
    }
    let (Some(b"filterby"), Some(by), Some(value), 5) = (
        request.get(2).map(<[u8]>::to_ascii_lowercase).as_deref(),
        request.get(3).map(<[u8]>::to_ascii_lowercase),
        request.get(4),
        request.len(),
    ) else {
        return Reply::error("ERR syntax error");
    };
    match by.as_slice() {
        b"module" => Reply::Array(Vec::new()),
        b"aclcat" => names(&|command| categories(command).iter().any(|name| name.as_bytes()[1..].eq_ignore_ascii_case(value))),
        b"pattern" => names(&|command| glob::matches_in_any_case(value, command.name.as_bytes())),
        _ => Reply::error("ERR syntax error"),
    }
}

/// COMMAND GETKEYS, and GETKEYSANDFLAGS.
pub(super) fn get_keys(request: &Request, with_access: bool) -> Reply {
    let inner: Request = request.iter().skip(2).collect();
    let Ok(command) = table::look_up(&inner) else {
        let is_known = table::find(&inner[0]).is_some();
        return Reply::error(if is_known {
            "ERR Invalid number of arguments specified for command"
        } else {
            "ERR Invalid command specified"
        });
    };
    let places = command.key_places(&inner);
    if command.keys.0 == 0 && !command.is(table::MOVABLEKEYS) {
        return Reply::error("ERR The command has no key arguments");
    }
    if places.is_empty() {
        return Reply::error("ERR Invalid arguments specified for command");
    }
    let answer = |(number, place): (usize, usize)| {
        let key = Reply::Bulk(inner.bytes(place));
        if !with_access {
            return key;
        }
        let access: &[&str] = match command.verb {
            Verb::Set if inner.iter().skip(3).any(|option| option.eq_ignore_ascii_case(b"get")) => &["RW", "access", "update"],
            Verb::Set => &["OW", "update"],
            verb => access::of_second(verb).filter(|_| number > 0).unwrap_or(access::of(verb)),
        };
        Reply::Array(vec![key, Reply::Set(access.iter().map(|flag| Reply::Simple(flag)).collect())])
    };
    Reply::Array(places.into_iter().enumerate().map(answer).collect())
}
