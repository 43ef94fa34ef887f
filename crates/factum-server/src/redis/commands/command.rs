//! COMMAND: the table, as clients ask for it.

use super::table::{self, Command};
use crate::redis::glob;
use crate::redis::resp::{Reply, Request};

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
        Reply::Array(Vec::new()),
        Reply::Array(key_specification(command).into_iter().collect()),
        Reply::Array(command.subcommands().map(info_of).collect()),
    ])
}

/// The classes of commands that permissions are given by.
fn categories(command: &Command) -> Vec<&'static str> {
    let mut categories = Vec::new();
    let by_flag = [(table::WRITE, "@write"), (table::READONLY, "@read"), (table::ADMIN, "@admin"), (table::BLOCKING, "@blocking")];
    categories.extend(by_flag.into_iter().filter(|(flag, _)| command.is(*flag)).map(|(_, name)| name));
    match command.group {
        table::Group::Stream => categories.push("@stream"),
        table::Group::String => categories.push("@string"),
        table::Group::Hash => categories.push("@hash"),
        table::Group::Generic => categories.push("@keyspace"),
        table::Group::Transactions => categories.push("@transaction"),
        table::Group::Connection => categories.push("@connection"),
        table::Group::Server | table::Group::Factum => {}
    }
    categories.push(if command.is(table::FAST) { "@fast" } else { "@slow" });
    categories
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
fn key_specification(command: &Command) -> Option<Reply> {
    let (first, last, step) = command.keys;
    let text = Reply::text;
    let (begin, find) = if command.is(table::MOVABLEKEYS) {
        let begin = Reply::Map(vec![
            (text("type"), text("keyword")),
            (text("spec"), Reply::Map(vec![(text("keyword"), text("STREAMS")), (text("startfrom"), Reply::Integer(1))])),
        ]);
        (begin, (Reply::Integer(-1), Reply::Integer(1), Reply::Integer(2)))
    } else if first > 0 {
        let begin = Reply::Map(vec![(text("type"), text("index")), (text("spec"), Reply::Map(vec![(text("index"), Reply::count(first))]))]);
        let last = if last < 0 { last } else { last - i32::try_from(first).unwrap_or_default() };
        (begin, (Reply::Integer(last.into()), Reply::count(step), Reply::Integer(0)))
    } else {
        return None;
    };
    let (last, step, limit) = find;
    let find = Reply::Map(vec![
        (text("type"), text("range")),
        (text("spec"), Reply::Map(vec![(text("lastkey"), last), (text("keystep"), step), (text("limit"), limit)])),
    ]);
    let flags = if command.is(table::WRITE) {
        vec![Reply::Simple("RW"), Reply::Simple("update")]
    } else {
        vec![Reply::Simple("RO"), Reply::Simple("access")]
    };
    Some(Reply::Map(vec![(text("flags"), Reply::Set(flags)), (text("begin_search"), begin), (text("find_keys"), find)]))
}

pub(super) fn docs(request: &Request) -> Reply {
    if request.len() == 2 {
        return Reply::Map(commands().map(docs_of).collect());
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
        return Reply::Array(commands().map(|command| Reply::text(command.name)).collect());
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

pub(super) fn get_keys(request: &Request) -> Reply {
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
    Reply::Array(places.into_iter().map(|place| Reply::Bulk(inner.bytes(place))).collect())
}
