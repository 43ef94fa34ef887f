//! The commands on the connection itself.

use crate::redis::commands::table;
use crate::redis::resp::{Reply, Request};
use crate::redis::session::Session;

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
