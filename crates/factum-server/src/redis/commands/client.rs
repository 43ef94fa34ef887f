//! CLIENT: who is connected, what they call themselves, and how they are ended.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::redis::clients::{Client, Ending, Unblock};
use crate::redis::door::Door;
use crate::redis::pause::Paused;
use crate::redis::resp::{Reply, Request, integer};
use crate::redis::session::{Replies, Session};

const SYNTAX: Reply = Reply::error("ERR syntax error");
const NOT_A_NUMBER: Reply = Reply::error("ERR value is not an integer or out of range");

pub(super) fn id(session: &Session) -> Reply {
    Reply::Integer(session.client.id.cast_signed())
}

pub(super) fn get_name(session: &Session) -> Reply {
    let name = session.client.names().name.clone();
    if name.is_empty() { Reply::Null } else { Reply::Bulk(name) }
}

pub(super) fn set_name(session: &Session, name: Bytes) -> Reply {
    if !is_printable(&name) {
        return Reply::error("ERR Client names cannot contain spaces, newlines or special characters.");
    }
    session.client.names().name = Bytes::copy_from_slice(&name);
    Reply::OK
}

pub(super) fn set_info(session: &Session, request: &Request) -> Reply {
    let (option, value) = (&request[2], &request[3]);
    let mut names = session.client.names();
    let place = match option.to_ascii_lowercase().as_slice() {
        b"lib-name" => &mut names.library,
        b"lib-ver" => &mut names.library_version,
        _ => return Reply::ErrorBytes([b"ERR Unrecognized option '", option, b"'"].concat().into()),
    };
    if !is_printable(value) {
        return Reply::ErrorBytes([option, b" cannot contain spaces, newlines or special characters."].concat().into());
    }
    *place = Bytes::copy_from_slice(value);
    Reply::OK
}

/// Names stand in lists, where a blank or a line break would begin something else.
fn is_printable(name: &[u8]) -> bool {
    name.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

pub(super) fn info(session: &Session) -> Reply {
    note_this_command(session);
    Reply::Verbatim(line(&session.client))
}

/// What is noted when requests arrive is the command before them, and here this one is shown.
fn note_this_command(session: &Session) {
    session.client.note(session.activity(session.client.activity().at));
}

pub(super) fn list(door: &Door, session: &Session, request: &Request) -> Reply {
    note_this_command(session);
    let clients = match (request.get(2).map(<[u8]>::to_ascii_lowercase).as_deref(), request.get(3)) {
        (None, _) => door.clients.all(),
        (Some(b"type"), Some(kind)) if request.len() == 4 => match of_kind(kind) {
            Ok(true) => door.clients.all(),
            Ok(false) => Vec::new(),
            Err(error) => return error,
        },
        (Some(b"id"), Some(_)) => {
            let mut clients = Vec::new();
            for id in request.iter().skip(3) {
                let Some(id) = integer(id).and_then(|id| u64::try_from(id).ok()) else { return Reply::error("ERR Invalid client ID") };
                clients.extend(door.clients.get(id));
            }
            clients
        }
        _ => return SYNTAX,
    };
    Reply::Verbatim(clients.iter().map(|client| line(client)).collect())
}

/// Whether clients of such a kind are here: all are normal ones.
fn of_kind(kind: &[u8]) -> Result<bool, Reply> {
    match kind.to_ascii_lowercase().as_slice() {
        b"normal" => Ok(true),
        b"replica" | b"slave" | b"pubsub" | b"master" => Ok(false),
        _ => Err(Reply::ErrorBytes([b"ERR Unknown client type '", kind, b"'"].concat().into())),
    }
}

/// A connection as CLIENT LIST shows it. What has no meaning here is zero.
fn line(client: &Client) -> String {
    let names = client.names().clone();
    let activity = client.activity();
    let mut line = String::with_capacity(256);
    let flags = if client.is_waiting() {
        "b"
    } else if activity.queued.is_some() {
        "x"
    } else {
        "N"
    };
    let queued = activity.queued.map_or(-1, |queued| i64::try_from(queued).unwrap_or(i64::MAX));
    writeln!(
        line,
        "id={} addr={} laddr={} fd=0 name={} age={} idle={} flags={flags} db={} sub=0 psub=0 ssub=0 multi={queued} watch=0 qbuf=0 \
         qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=0 tot-mem={} events=r cmd={} user=default redir=-1 resp={} \
         lib-name={} lib-ver={}",
        client.id,
        client.address,
        client.local_address,
        String::from_utf8_lossy(&names.name),
        client.since.elapsed().as_secs(),
        activity.at.elapsed().as_secs(),
        activity.database,
        client.held_bytes(),
        activity.command,
        activity.protocol,
        String::from_utf8_lossy(&names.library),
        String::from_utf8_lossy(&names.library_version),
    )
    .expect("writing to a string can't fail");
    line
}

pub(super) fn kill(door: &Door, session: &mut Session, request: &Request) -> Reply {
    if request.len() == 3 {
        let found = door.clients.all().into_iter().find(|client| client.address.to_string().as_bytes() == &request[2]);
        let Some(client) = found else { return Reply::error("ERR No such client") };
        end(session, &client);
        return Reply::OK;
    }
    let filter = match Filter::of(request) {
        Ok(filter) => filter,
        Err(error) => return error,
    };
    let mut ended = 0;
    for client in door.clients.all() {
        if filter.takes(&client) && !(filter.spares_me && client.id == session.client.id) {
            end(session, &client);
            ended += 1;
        }
    }
    Reply::count(ended)
}

/// A connection that ends itself is answered first.
fn end(session: &mut Session, client: &Arc<Client>) {
    if client.id == session.client.id {
        session.is_ending = true;
    } else {
        client.end(Ending::Asked);
    }
}

/// Whom CLIENT KILL is for.
struct Filter {
    id: Option<u64>,
    address: Option<Vec<u8>>,
    local_address: Option<Vec<u8>>,
    age_min: u64,
    is_of_kind: bool,
    is_of_user: bool,
    spares_me: bool,
}

impl Filter {
    fn of(request: &Request) -> Result<Self, Reply> {
        let mut filter =
            Self { id: None, address: None, local_address: None, age_min: 0, is_of_kind: true, is_of_user: true, spares_me: true };
        let mut next = 2;
        while let Some(option) = request.get(next) {
            let value = request.get(next + 1).ok_or(SYNTAX)?;
            match option.to_ascii_lowercase().as_slice() {
                b"id" => {
                    let id = integer(value).and_then(|id| u64::try_from(id).ok()).filter(|id| *id > 0);
                    filter.id = Some(id.ok_or(Reply::error("ERR client-id should be greater than 0"))?);
                }
                b"maxage" => filter.age_min = integer(value).and_then(|age| u64::try_from(age).ok()).ok_or(NOT_A_NUMBER)?,
                b"addr" => filter.address = Some(value.to_vec()),
                b"laddr" => filter.local_address = Some(value.to_vec()),
                b"type" => filter.is_of_kind &= of_kind(value)?,
                b"user" if value == b"default" => filter.is_of_user = true,
                b"user" => return Err(Reply::ErrorBytes([b"ERR No such user '", value, b"'"].concat().into())),
                b"skipme" => match value.to_ascii_lowercase().as_slice() {
                    b"yes" => filter.spares_me = true,
                    b"no" => filter.spares_me = false,
                    _ => return Err(SYNTAX),
                },
                _ => return Err(SYNTAX),
            }
            next += 2;
        }
        Ok(filter)
    }

    fn takes(&self, client: &Client) -> bool {
        self.id.is_none_or(|id| id == client.id)
            && self.address.as_ref().is_none_or(|address| *address == client.address.to_string().into_bytes())
            && self.local_address.as_ref().is_none_or(|address| *address == client.local_address.to_string().into_bytes())
            && client.since.elapsed().as_secs() >= self.age_min
            && self.is_of_kind
            && self.is_of_user
    }
}

pub(super) fn unblock(door: &Door, request: &Request) -> Reply {
    let how = match request.get(3).map(<[u8]>::to_ascii_lowercase).as_deref() {
        _ if request.len() > 4 => return wrong_number("UNBLOCK"),
        None | Some(b"timeout") => Unblock::AsTimeout,
        Some(b"error") => Unblock::WithError,
        Some(_) => return Reply::error("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"),
    };
    let Some(id) = integer(&request[2]) else { return NOT_A_NUMBER };
    let client = u64::try_from(id).ok().and_then(|id| door.clients.get(id));
    Reply::Integer(client.is_some_and(|client| client.unblock(how)).into())
}

pub(super) fn pause(door: &Door, request: &Request) -> Reply {
    let what = match request.get(3).map(<[u8]>::to_ascii_lowercase).as_deref() {
        _ if request.len() > 4 => return wrong_number("PAUSE"),
        None | Some(b"all") => Paused::All,
        Some(b"write") => Paused::Writes,
        Some(_) => return Reply::error("ERR CLIENT PAUSE mode must be WRITE or ALL"),
    };
    match integer(&request[2]).map(u64::try_from) {
        None => Reply::error("ERR timeout is not an integer or out of range"),
        Some(Err(_)) => Reply::error("ERR timeout is negative"),
        Some(Ok(millis)) => {
            // As good as for ever, and not beyond what the clock can tell.
            let long = Duration::from_secs(365 * 24 * 3_600);
            door.pause.begin(Instant::now() + Duration::from_millis(millis).min(long), what);
            Reply::OK
        }
    }
}

fn wrong_number(subcommand: &str) -> Reply {
    Reply::Error(format!("ERR unknown subcommand or wrong number of arguments for '{subcommand}'. Try CLIENT HELP.").into())
}

/// ON and OFF where it makes no difference.
pub(super) fn accept_switch(request: &Request) -> Reply {
    match request[2].to_ascii_lowercase().as_slice() {
        b"on" | b"off" => Reply::OK,
        _ => SYNTAX,
    }
}

pub(super) fn reply(session: &mut Session, request: &Request) -> Reply {
    match request[2].to_ascii_lowercase().as_slice() {
        b"on" => session.replies = Replies::On,
        b"off" => session.replies = Replies::Off,
        b"skip" if session.replies == Replies::On => session.replies = Replies::SkipThisAndNext,
        b"skip" => {}
        _ => return SYNTAX,
    }
    Reply::OK
}
