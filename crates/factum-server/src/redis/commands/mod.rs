//! The commands, a file for each family.

mod absent;
mod bits;
mod call;
mod client;
mod command;
mod config;
mod connection;
mod decimal;
mod expiry;
mod factum;
mod field_expiry;
mod groups;
mod hashes;
mod help;
mod info;
mod keys;
mod lcs;
mod naming;
mod samples;
mod server;
mod streams;
mod strings;
mod swap;
pub(crate) mod table;
mod transactions;

pub(crate) use config::Parameters;
pub(crate) use factum::OrderedGroups;
use table::{Command, Verb};
pub(crate) use transactions::{Transaction, abort, do_afterwards, queue, transaction};

use super::door::Door;
use super::keyspace::{Answered, Context, Stop};
use super::resp::{Reply, Request};
use super::session::Session;
use super::unit::{Data, Resume, Work};

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
        Verb::ClientList => client::list(door, session, request),
        Verb::ClientKill => client::kill(door, session, request),
        Verb::ClientUnblock => client::unblock(door, request),
        Verb::ClientPause => client::pause(door, request),
        Verb::ClientUnpause => {
            door.pause.end();
            Reply::OK
        }
        Verb::ClientNoEvict | Verb::ClientNoTouch => client::accept_switch(request),
        Verb::ClientReply => client::reply(session, request),
        Verb::Command => command::every(),
        Verb::CommandCount => command::count(),
        Verb::CommandInfo => command::info(request),
        Verb::CommandDocs => command::docs(request),
        Verb::CommandList => command::list(request),
        Verb::CommandGetKeys => command::get_keys(request, false),
        Verb::CommandGetKeysAndFlags => command::get_keys(request, true),
        Verb::ConfigGet => config::get(&door.parameters, request),
        Verb::ConfigSet => config::set(door, request),
        Verb::ConfigResetStat => {
            door.counters.reset();
            Reply::OK
        }
        Verb::ConfigRewrite => Reply::error("ERR The server is running without a config file"),
        Verb::Info => info::info(door, request),
        Verb::Time => server::time(),
        Verb::Wait => server::wait(request),
        Verb::WaitAof => server::wait_for_disk(request),
        Verb::Debug => return server::debug(door, request),
        Verb::MemoryDoctor | Verb::MemoryMallocStats | Verb::MemoryPurge | Verb::MemoryStats => server::memory(command.verb),
        Verb::ClientHelp
        | Verb::CommandHelp
        | Verb::ConfigHelp
        | Verb::MemoryHelp
        | Verb::ObjectHelp
        | Verb::XInfoHelp
        | Verb::XGroupHelp => help::of(command),
        _ => return absent::answer(door, command, request),
    })
}

/// Carries out a command that asks the store itself, without the lock.
pub(crate) async fn carry_out_own(door: &Door, data: &Data) -> Reply {
    match data.command.verb {
        Verb::Info => info::info_of_all(door, &data.request).await,
        Verb::Debug => server::sleep(&data.request).await,
        _ => factum::carry_out(door, data).await,
    }
}

/// Carries out what was made ready, under the lock.
pub(crate) fn carry_out(context: &mut Context<'_>, work: &mut Work) -> Answered {
    match work {
        Work::Ready(reply) => Ok(reply.clone().into()),
        Work::Data(data) => {
            context.database = data.database;
            with_data(context, data.command.verb, &data.request, &mut data.resume)
        }
        Work::Own(_) | Work::Afterwards(..) => Err(Stop::error("ERR this command can't be used here")),
        Work::Exec(exec) => transactions::carry_out(context, exec),
        Work::Watch(keys, watches) => transactions::watch(context, keys, watches),
        Work::Unwatch(watches, reply) => {
            transactions::unwatch(watches);
            Ok(reply.clone().into())
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
        Verb::XDel => streams::delete::delete(context, request),
        Verb::XTrim => streams::trim::trim(context, request),
        Verb::XSetId => streams::delete::set_id(context, request),
        Verb::XInfoStream => streams::info::stream(context, request),
        Verb::XInfoGroups => streams::info::groups(context, request),
        Verb::XInfoConsumers => streams::info::consumers(context, request),
        Verb::XGroupCreate | Verb::XGroupSetId | Verb::XGroupDestroy | Verb::XGroupCreateConsumer | Verb::XGroupDelConsumer => {
            groups::manage::manage(context, verb, request)
        }
        Verb::XReadGroup => groups::deliver::deliver(context, request, resume),
        Verb::XAck => groups::acknowledge::acknowledge(context, request),
        Verb::XPending => groups::pending::pending(context, request),
        Verb::XClaim => groups::claim::claim(context, request),
        Verb::XAutoClaim => groups::claim::auto_claim(context, request),
        Verb::Get => strings::get(context, request),
        Verb::Set => strings::set(context, request),
        Verb::SetNx => strings::set_if_new(context, request),
        Verb::SetEx => strings::set_with_expiry(context, request, expiry::Unit::Seconds, "setex"),
        Verb::PSetEx => strings::set_with_expiry(context, request, expiry::Unit::Milliseconds, "psetex"),
        Verb::GetSet => strings::get_and_set(context, request),
        Verb::GetDel => strings::get_and_delete(context, request),
        Verb::GetEx => strings::get_and_expire(context, request),
        Verb::MGet => strings::get_several(context, request),
        Verb::MSet | Verb::MSetNx => strings::set_several(context, request, verb),
        Verb::Incr | Verb::IncrBy | Verb::Decr | Verb::DecrBy => {
            let change = strings::change(verb, request)?;
            strings::add(context, request, change)
        }
        Verb::IncrByFloat => strings::add_float(context, request),
        Verb::StrLen => strings::len(context, request),
        Verb::Append => strings::append(context, request),
        Verb::GetRange | Verb::Substr => strings::part(context, request),
        Verb::SetRange => strings::set_part(context, request),
        Verb::SetBit => bits::set(context, request),
        Verb::GetBit => bits::get(context, request),
        Verb::BitCount => bits::count(context, request),
        Verb::BitPos => bits::find(context, request),
        Verb::BitOp => bits::join(context, request),
        Verb::Lcs => lcs::lcs(context, request),
        Verb::HSet | Verb::HMSet => hashes::set(context, request, verb),
        Verb::HSetNx => hashes::set_if_new(context, request),
        Verb::HGet => hashes::get(context, request),
        Verb::HMGet => hashes::get_several(context, request),
        Verb::HGetAll | Verb::HKeys | Verb::HVals => hashes::all(context, request, verb),
        Verb::HDel => hashes::delete(context, request),
        Verb::HLen => hashes::len(context, request),
        Verb::HExists | Verb::HStrLen => hashes::of_field(context, request, verb),
        Verb::HIncrBy => hashes::add(context, request),
        Verb::HIncrByFloat => hashes::add_float(context, request),
        Verb::HScan => hashes::scan(context, request),
        Verb::HExpire | Verb::HPExpire | Verb::HExpireAt | Verb::HPExpireAt => field_expiry::expire(context, request, verb),
        Verb::HPersist => field_expiry::persist(context, request),
        Verb::HTtl | Verb::HPTtl | Verb::HExpireTime | Verb::HPExpireTime => field_expiry::remaining(context, request, verb),
        Verb::HRandField => hashes::random(context, request),
        Verb::Expire | Verb::PExpire | Verb::ExpireAt | Verb::PExpireAt => expiry::expire(context, request, verb),
        Verb::Ttl | Verb::PTtl | Verb::ExpireTime | Verb::PExpireTime => expiry::remaining(context, request, verb),
        Verb::Persist => expiry::persist(context, request),
        Verb::Del | Verb::Unlink => keys::delete(context, request),
        Verb::Exists | Verb::Touch => keys::count(context, request),
        Verb::Type => keys::kind(context, request),
        Verb::Rename | Verb::RenameNx => naming::rename(context, request, verb),
        Verb::Copy => naming::copy(context, request),
        Verb::Move => naming::move_to(context, request),
        Verb::Keys => naming::keys(context, request),
        Verb::Scan => naming::scan(context, request),
        Verb::DbSize => naming::size(context),
        Verb::RandomKey => naming::random(context),
        Verb::FlushDb | Verb::FlushAll => naming::flush(context, request, verb),
        Verb::SwapDb => swap::databases(context, request),
        Verb::ObjectEncoding | Verb::ObjectRefCount | Verb::ObjectIdleTime | Verb::ObjectFreq => keys::object(context, request, verb),
        Verb::Debug if request[1].eq_ignore_ascii_case(b"object") => keys::debug_object(context, request),
        // In a transaction it would never end, because what is dropped is needed again.
        Verb::Debug => {
            if !context.is_exec {
                context.state.drop_settled();
            }
            Ok(Reply::OK.into())
        }
        Verb::MemoryUsage => keys::memory(context, request),
        _ => Err(Stop::error("ERR this command can't be used here")),
    }
}
