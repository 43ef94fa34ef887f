//! The table of commands: how each is called and what it may do. Dispatch, the errors of wrong calls and COMMAND go by it.

mod absent;
pub(crate) mod access;
mod factum;
mod keys;
mod server;
mod streams;
pub(crate) mod tips;
mod verb;

use std::collections::HashMap;
use std::sync::LazyLock;

use foldhash::fast::RandomState;
use smallvec::SmallVec;

pub(crate) use verb::Verb;

use crate::redis::resp::{Reply, Request};

pub(crate) const WRITE: u32 = 1;
pub(crate) const READONLY: u32 = 1 << 1;
pub(crate) const DENYOOM: u32 = 1 << 2;
pub(crate) const ADMIN: u32 = 1 << 3;
pub(crate) const NOSCRIPT: u32 = 1 << 4;
pub(crate) const BLOCKING: u32 = 1 << 5;
pub(crate) const LOADING: u32 = 1 << 6;
pub(crate) const STALE: u32 = 1 << 7;
pub(crate) const FAST: u32 = 1 << 8;
pub(crate) const NO_AUTH: u32 = 1 << 9;
pub(crate) const MOVABLEKEYS: u32 = 1 << 10;
pub(crate) const ALLOW_BUSY: u32 = 1 << 11;
pub(crate) const NO_ASYNC_LOADING: u32 = 1 << 12;
pub(crate) const NO_MULTI: u32 = 1 << 13;
pub(crate) const SKIP_SLOWLOG: u32 = 1 << 14;

/// The flags' names, in the order of their bits.
pub(crate) const FLAG_NAMES: [&str; 15] = [
    "write",
    "readonly",
    "denyoom",
    "admin",
    "noscript",
    "blocking",
    "loading",
    "stale",
    "fast",
    "no_auth",
    "movablekeys",
    "allow_busy",
    "no_async_loading",
    "no_multi",
    "skip_slowlog",
];

/// What a command is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    Stream,
    String,
    /// Strings, bit by bit.
    Bitmap,
    Hash,
    Generic,
    Transactions,
    Connection,
    Server,
    /// What Redis has not.
    Factum,
}

impl Group {
    /// Its name in COMMAND DOCS.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::String => "string",
            Self::Bitmap => "bitmap",
            Self::Hash => "hash",
            Self::Generic => "generic",
            Self::Transactions => "transactions",
            Self::Connection => "connection",
            Self::Server => "server",
            Self::Factum => "factum",
        }
    }
}

/// A command, or a subcommand.
#[derive(Debug)]
pub(crate) struct Command {
    /// What is to be done.
    pub(crate) verb: Verb,
    /// Its name in lower case; a subcommand's is `command|subcommand`.
    pub(crate) name: &'static str,
    /// How many arguments, the name included; at least so many if negative.
    pub(crate) arity: i32,
    /// What it may do.
    pub(crate) flags: u32,
    /// The first key, the last (from the end, if negative) and the steps between them.
    pub(crate) keys: (usize, i32, usize),
    /// What it is about.
    pub(crate) group: Group,
    /// The version of Redis that it came with.
    pub(crate) since: &'static str,
    /// What it does, in a line.
    pub(crate) summary: &'static str,
}

#[expect(clippy::too_many_arguments, reason = "a row of the table, in the order in which it is read")]
const fn command(
    verb: Verb,
    name: &'static str,
    arity: i32,
    flags: u32,
    keys: (usize, i32, usize),
    group: Group,
    since: &'static str,
    summary: &'static str,
) -> Command {
    Command { verb, name, arity, flags, keys, group, since, summary }
}

impl Command {
    /// Whether it has this flag.
    pub(crate) fn is(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    /// Whether it may be called with so many arguments.
    pub(crate) fn takes(&self, arguments: usize) -> bool {
        let arity = self.arity.unsigned_abs() as usize;
        if self.arity < 0 { arguments >= arity } else { arguments == arity }
    }

    /// Which of a request's arguments are keys.
    pub(crate) fn key_places(&self, request: &Request) -> SmallVec<[usize; 4]> {
        if self.is(MOVABLEKEYS) {
            return streams_of(request).into();
        }
        let (first, last, step) = self.keys;
        if first == 0 {
            return SmallVec::new();
        }
        let last = match usize::try_from(last) {
            Ok(last) => last,
            Err(_) => request.len().saturating_sub(last.unsigned_abs() as usize),
        };
        (first..=last.min(request.len() - 1)).step_by(step.max(1)).collect()
    }

    /// The commands that belong to it.
    pub(crate) fn subcommands(&self) -> impl Iterator<Item = &'static Command> {
        let name = self.name;
        all().filter(move |one| one.name.split_once('|').is_some_and(|(container, _)| container == name))
    }
}

/// All commands and subcommands.
pub(crate) fn all() -> impl Iterator<Item = &'static Command> {
    [streams::COMMANDS, keys::COMMANDS, server::COMMANDS, absent::COMMANDS, factum::COMMANDS].into_iter().flatten()
}

/// The command of that name, `command` or `command|subcommand`, in any case.
pub(crate) fn find(name: &[u8]) -> Option<&'static Command> {
    entry(name).map(|entry| entry.command)
}

/// The command that a request calls, or the error of a wrong call.
pub(crate) fn look_up(request: &Request) -> Result<&'static Command, Reply> {
    let entry = entry(&request[0]).filter(|entry| !entry.command.name.contains('|')).ok_or_else(|| unknown(request))?;
    let command = match request.get(1) {
        Some(subcommand) if entry.has_subcommands => {
            let mut full = Vec::with_capacity(NAME_BYTES_MAX);
            full.extend_from_slice(&request[0]);
            full.push(b'|');
            full.extend_from_slice(&subcommand[..subcommand.len().min(NAME_BYTES_MAX)]);
            find(&full).ok_or_else(|| unknown_subcommand(entry.command, subcommand))?
        }
        _ => entry.command,
    };
    if !command.takes(request.len()) {
        return Err(wrong_arity(command.name));
    }
    Ok(command)
}

/// The error of a call with too many or too few arguments.
pub(crate) fn wrong_arity(name: &str) -> Reply {
    Reply::Error(format!("ERR wrong number of arguments for '{name}' command").into())
}

/// The error of a subcommand that is not there.
pub(crate) fn unknown_subcommand(container: &Command, subcommand: &[u8]) -> Reply {
    let name = container.name.to_ascii_uppercase();
    let quoted = as_c_string(subcommand, 128);
    Reply::ErrorBytes([&b"ERR unknown subcommand '"[..], quoted, format!("'. Try {name} HELP.").as_bytes()].concat().into())
}

fn unknown(request: &Request) -> Reply {
    let mut text = b"ERR unknown command '".to_vec();
    text.extend_from_slice(as_c_string(&request[0], 128));
    text.extend_from_slice(b"', with args beginning with: ");
    let mut arguments = Vec::new();
    for argument in request.iter().skip(1) {
        if arguments.len() >= 128 {
            break;
        }
        let room = 128 - arguments.len();
        arguments.push(b'\'');
        arguments.extend_from_slice(as_c_string(argument, room));
        arguments.extend_from_slice(b"' ");
    }
    text.extend_from_slice(&arguments);
    Reply::ErrorBytes(text.into())
}

/// What Redis prints of such bytes: up to the first zero.
fn as_c_string(bytes: &[u8], length_max: usize) -> &[u8] {
    let end = memchr::memchr(0, bytes).unwrap_or(bytes.len());
    &bytes[..end.min(length_max)]
}

/// Where the names of the streams are in XREAD and XREADGROUP: the first half of what follows STREAMS, behind the options.
fn streams_of(request: &Request) -> Vec<usize> {
    let mut place = 1;
    while let Some(option) = request.get(place) {
        place += match option.to_ascii_lowercase().as_slice() {
            b"noack" => 1,
            b"block" | b"count" => 2,
            b"group" => 3,
            b"streams" => {
                let rest = request.len() - place - 1;
                return (place + 1..=place + rest / 2).collect();
            }
            _ => return Vec::new(),
        };
    }
    Vec::new()
}

/// Longer than every name.
const NAME_BYTES_MAX: usize = 40;

struct Entry {
    command: &'static Command,
    has_subcommands: bool,
}

fn entry(name: &[u8]) -> Option<&'static Entry> {
    static BY_NAME: LazyLock<HashMap<&'static [u8], Entry, RandomState>> = LazyLock::new(|| {
        let entry = |command: &'static Command| Entry { command, has_subcommands: command.subcommands().next().is_some() };
        all().map(|command| (command.name.as_bytes(), entry(command))).collect()
    });
    let mut lower = [0; NAME_BYTES_MAX];
    let lower = lower.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    BY_NAME.get(&*lower)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(arguments: &[&str]) -> String {
        match look_up(&arguments.iter().collect()) {
            Err(Reply::Error(text)) => text.into_owned(),
            Err(Reply::ErrorBytes(text)) => String::from_utf8_lossy(&text).into_owned(),
            other => panic!("{arguments:?} gives {other:?}"),
        }
    }

    #[test]
    fn commands_are_found_in_any_case() {
        assert_eq!(look_up(&["xAdd", "s", "*", "a", "b"].iter().collect()).expect("it is there").verb, Verb::XAdd);
        assert_eq!(look_up(&["XGroup", "Create", "s", "g", "$"].iter().collect()).expect("it is there").verb, Verb::XGroupCreate);
    }

    #[test]
    fn wrong_calls_get_the_errors_of_redis() {
        assert_eq!(error(&["FOO", "a", "b"]), "ERR unknown command 'FOO', with args beginning with: 'a' 'b' ");
        assert_eq!(error(&["xgroup|create", "a"]), "ERR unknown command 'xgroup|create', with args beginning with: 'a' ");
        assert_eq!(error(&["xadd", "a"]), "ERR wrong number of arguments for 'xadd' command");
        assert_eq!(error(&["XGROUP"]), "ERR wrong number of arguments for 'xgroup' command");
        assert_eq!(error(&["XGROUP", "CREATE"]), "ERR wrong number of arguments for 'xgroup|create' command");
        assert_eq!(error(&["XGROUP", "Foo"]), "ERR unknown subcommand 'Foo'. Try XGROUP HELP.");
    }

    #[test]
    fn every_name_is_there_once_and_short_enough_to_be_found() {
        for command in all() {
            assert!(std::ptr::eq(find(command.name.as_bytes()).expect("it is there"), command), "{} is there twice", command.name);
        }
    }
}
