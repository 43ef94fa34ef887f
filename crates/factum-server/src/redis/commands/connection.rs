//! The commands on the connection itself: HELLO, AUTH, SELECT, PING, ECHO, RESET, QUIT.

use bytes::Bytes;

use super::{Transaction, client, table};
use crate::redis::door::Door;
use crate::redis::resp::{Protocol, Reply, Request, integer};
use crate::redis::session::{Replies, Session};
use crate::redis::{REDIS_VERSION, password};

const WRONG_PASSWORD: Reply = Reply::error("WRONGPASS invalid username-password pair or user is disabled.");
const NO_PASSWORD: Reply = Reply::error(
    "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?",
);
const HELLO_OF_A_STRANGER: Reply = Reply::error(
    "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used \
     to authenticate the client and select the RESP protocol version at the same time",
);

pub(super) fn ping(request: &Request) -> Reply {
    match request.len() {
        1 => Reply::Simple("PONG"),
        2 => Reply::Bulk(request.bytes(1)),
        _ => table::wrong_arity("ping"),
    }
}

pub(super) fn quit(session: &mut Session) -> Reply {
    session.is_ending = true;
    Reply::OK
}

pub(super) fn reset(door: &Door, session: &mut Session) -> Reply {
    session.protocol = Protocol::Two;
    session.database = 0;
    session.is_authenticated = door.settings.password.is_none();
    session.replies = Replies::On;
    session.transaction = Transaction::default();
    session.client.names().name = Bytes::new();
    Reply::Simple("RESET")
}

pub(super) fn select(door: &Door, session: &mut Session, request: &Request) -> Reply {
    let Some(number) = integer(&request[1]) else { return Reply::error("ERR value is not an integer or out of range") };
    if i32::try_from(number).is_err() {
        return Reply::error("ERR value is out of range, value must between -2147483648 and 2147483647");
    }
    match u32::try_from(number) {
        Ok(database) if database < door.settings.limits.databases => {
            session.database = database;
            Reply::OK
        }
        _ => Reply::error("ERR DB index is out of range"),
    }
}

pub(super) fn auth(door: &Door, session: &mut Session, request: &Request) -> Reply {
    match request.len() {
        2 if door.settings.password.is_none() => NO_PASSWORD,
        2 => log_in(door, session, b"default", &request[1]),
        3 => log_in(door, session, &request[1], &request[2]),
        _ => Reply::error("ERR syntax error"),
    }
}

/// There is one user, `default`. Where there is no password, any will do.
fn log_in(door: &Door, session: &mut Session, user: &[u8], given: &[u8]) -> Reply {
    let is_right = match &door.settings.password {
        Some(password) => password::is(password, given),
        None => true,
    };
    if user != b"default" || !is_right {
        tracing::warn!(client = session.client.id, address = %session.client.address, "a wrong user or password");
        return WRONG_PASSWORD;
    }
    session.is_authenticated = true;
    Reply::OK
}

pub(super) fn hello(door: &Door, session: &mut Session, request: &Request) -> Reply {
    let version = match request.get(1).map(integer) {
        None => session.protocol,
        Some(Some(2)) => Protocol::Two,
        Some(Some(3)) => Protocol::Three,
        Some(Some(_)) => return Reply::error("NOPROTO unsupported protocol version"),
        Some(None) => return Reply::error("ERR Protocol version is not an integer or out of range"),
    };
    let mut next = 2;
    while let Some(option) = request.get(next) {
        match (option.to_ascii_lowercase().as_slice(), request.get(next + 1), request.get(next + 2)) {
            (b"auth", Some(user), Some(password)) => {
                let reply = log_in(door, session, user, password);
                if reply.is_error() {
                    return reply;
                }
                next += 3;
            }
            (b"setname", Some(_), _) => {
                let reply = client::set_name(session, request.bytes(next + 1));
                if reply.is_error() {
                    return reply;
                }
                next += 2;
            }
            _ => return Reply::ErrorBytes([b"ERR Syntax error in HELLO option '", option, b"'"].concat().into()),
        }
    }
    if !session.is_authenticated {
        return HELLO_OF_A_STRANGER;
    }
    session.protocol = version;
    let pair = |name: &'static str, value: Reply| (Reply::text(name), value);
    Reply::Map(vec![
        pair("server", Reply::text("redis")),
        pair("version", Reply::text(REDIS_VERSION)),
        pair("proto", Reply::Integer(if version == Protocol::Three { 3 } else { 2 })),
        pair("id", Reply::Integer(session.client.id.cast_signed())),
        pair("mode", Reply::text("standalone")),
        pair("role", Reply::text("master")),
        pair("modules", Reply::Array(Vec::new())),
    ])
}
