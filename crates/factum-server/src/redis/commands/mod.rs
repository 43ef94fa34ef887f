//! The commands, a file for each family.

mod client;
mod command;
mod config;
mod connection;
mod help;
mod info;
mod server;
pub(crate) mod table;
mod transactions;

pub(crate) use config::Parameters;
use table::{Command, Verb};
pub(crate) use transactions::Transaction;

use super::door::Door;
use super::resp::{Reply, Request};
use super::session::Session;

/// Carries out a command that concerns no data, or says that it is none of these.
pub(crate) fn without_data(door: &Door, session: &mut Session, command: &Command, request: &Request) -> Option<Reply> {
    Some(match command.verb {
        Verb::Ping => connection::ping(request),
        Verb::Echo => Reply::Bulk(request.bytes(1)),
        Verb::Quit => connection::quit(session),
        Verb::Reset => connection::reset(door, session),
        Verb::Select => connection::select(door, session, request),
        Verb::Auth => connection::auth(door, session, request),
        Verb::Hello => connection::hello(door, session, request),
        Verb::ClientId => client::id(session),
        Verb::ClientGetName => client::get_name(session),
        Verb::ClientSetName => client::set_name(session, request.bytes(2)),
        Verb::ClientSetInfo => client::set_info(session, request),
        Verb::ClientInfo => client::info(session),
        Verb::ClientList => client::list(door, request),
        Verb::ClientKill => client::kill(door, session, request),
        Verb::ClientUnblock => client::unblock(door, request),
        Verb::ClientNoEvict | Verb::ClientNoTouch => client::accept_switch(request),
        Verb::ClientReply => client::reply(session, request),
        Verb::Command => command::every(),
        Verb::CommandCount => command::count(),
        Verb::CommandInfo => command::info(request),
        Verb::CommandDocs => command::docs(request),
        Verb::CommandList => command::list(request),
        Verb::CommandGetKeys => command::get_keys(request),
        Verb::ConfigGet => config::get(&door.parameters, request),
        Verb::ConfigSet => config::set(&door.parameters, request),
        Verb::ConfigResetStat => {
            door.counters.reset();
            Reply::OK
        }
        Verb::ConfigRewrite => Reply::error("ERR The server is running without a config file"),
        Verb::Info => info::info(door, request),
        Verb::Time => server::time(),
        Verb::Wait => server::wait(request),
        Verb::Debug => server::debug(door, request),
        Verb::ClientHelp
        | Verb::CommandHelp
        | Verb::ConfigHelp
        | Verb::MemoryHelp
        | Verb::ObjectHelp
        | Verb::XInfoHelp
        | Verb::XGroupHelp => help::of(command),
        _ => return None,
    })
}
