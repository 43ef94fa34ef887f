//! The commands, a file for each family.

mod call;
mod client;
mod command;
mod config;
mod connection;
mod help;
mod info;
mod keys;
mod server;
mod streams;
mod strings;
pub(crate) mod table;
mod transactions;

pub(crate) use config::Parameters;
use table::{Command, Verb};
pub(crate) use transactions::{Transaction, queue, transaction};

use super::door::Door;
use super::keyspace::{Answered, Context, Stop};
use super::resp::{Reply, Request};
use super::session::Session;
use super::unit::{Resume, Work};

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

/// Carries out what was made ready, under the lock.
pub(crate) fn carry_out(context: &mut Context<'_>, work: &mut Work) -> Answered {
    match work {
        Work::Ready(reply) => Ok(reply.clone().into()),
        Work::Data(data) => {
            context.database = data.database;
            with_data(context, data.command.verb, &data.request, &mut data.resume)
        }
        Work::Exec(work, watches) => transactions::carry_out(context, work, watches),
        Work::Watch(keys, watches) => transactions::watch(context, keys, watches),
        Work::Unwatch(watches) => {
            transactions::unwatch(watches);
            Ok(Reply::OK.into())
        }
    }
}

/// Carries out a command on data.
fn with_data(context: &mut Context<'_>, verb: Verb, request: &Request, resume: &mut Resume) -> Answered {
    match verb {
        Verb::XAdd => streams::add::add(context, request),
        Verb::XLen => streams::range::len(context, request),
        Verb::XRange => streams::range::range(context, request),
        Verb::XRevRange => streams::range::reverse(context, request),
        Verb::XRead => streams::read::read(context, request, resume),
        Verb::Get => strings::get(context, request),
        Verb::Set => strings::set(context, request),
        Verb::Del | Verb::Unlink => keys::del(context, request),
        _ => Err(Stop::error("ERR this command is not built yet")),
    }
}
