//! The commands, a file for each family.

mod connection;
pub(crate) mod table;
mod transactions;

use table::{Command, Verb};
pub(crate) use transactions::Transaction;

use super::door::Door;
use super::resp::{Reply, Request};
use super::session::Session;

/// Carries out a command that concerns no data, or says that it is none of these.
pub(crate) fn without_data(door: &Door, session: &mut Session, command: &Command, request: &Request) -> Option<Reply> {
    let reply = match command.verb {
        Verb::Ping => connection::ping(request),
        Verb::Echo => Reply::Bulk(request.bytes(1)),
        Verb::Quit => connection::quit(session),
        _ => return None,
    };
    let _ = door;
    Some(reply)
}
