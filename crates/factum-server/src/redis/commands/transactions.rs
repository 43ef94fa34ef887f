//! MULTI, EXEC, DISCARD, WATCH and UNWATCH.

use std::sync::PoisonError;

use super::table::{self, Command, Group, Verb};
use crate::redis::door::Door;
use crate::redis::keyspace::{Answered, Context, Key, Plan, Stop};
use crate::redis::resp::{Reply, Request};
use crate::redis::session::Session;
use crate::redis::unit::{self, Data, Exec, Watches, Work};

/// What a connection has gathered for EXEC.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    /// The requests since MULTI; `None` outside of one.
    pub(crate) queued: Option<Vec<Request>>,
    /// How many bytes they have.
    queued_bytes: usize,
    /// A request was refused, so that EXEC must be too.
    pub(crate) is_spoilt: bool,
    /// The keys that are watched.
    watches: Watches,
    /// How many bytes they were named with.
    watched_bytes: usize,
}

impl Transaction {
    /// What it keeps in memory, about.
    pub(crate) fn held_bytes(&self) -> usize {
        let queued = if self.queued.is_some() { self.queued_bytes } else { 0 };
        let is_watching = self.watched_bytes > 0 && !self.watches.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
        queued + if is_watching { self.watched_bytes } else { 0 }
    }

    /// Whether one of the requests since MULTI changes data.
    pub(crate) fn writes(&self) -> bool {
        self.has(table::WRITE)
    }

    /// Whether one of them may make the data larger.
    pub(crate) fn adds(&self) -> bool {
        self.has(table::DENYOOM)
    }

    fn has(&self, flag: u32) -> bool {
        let has = |request: &Request| table::look_up(request).is_ok_and(|command| command.is(flag));
        self.queued.iter().flatten().any(has)
    }
}

#[cfg(test)]
impl Transaction {
    pub(crate) fn watches_for_tests(&self) -> Watches {
        Watches::clone(&self.watches)
    }
}

/// What is to be done for MULTI, EXEC, DISCARD, WATCH or UNWATCH.
pub(crate) fn transaction(door: &Door, session: &mut Session, verb: Verb, request: &Request) -> Work {
    let transaction = &mut session.transaction;
    let is_gathering = transaction.queued.is_some();
    match verb {
        Verb::Multi if is_gathering => Work::Ready(Reply::error("ERR MULTI calls can not be nested")),
        Verb::Multi => {
            (transaction.queued, transaction.queued_bytes, transaction.is_spoilt) = (Some(Vec::new()), 0, false);
            Work::Ready(Reply::OK)
        }
        Verb::Discard if !is_gathering => Work::Ready(Reply::error("ERR DISCARD without MULTI")),
        Verb::Discard => {
            (transaction.queued, transaction.is_spoilt) = (None, false);
            Work::Unwatch(Watches::clone(&transaction.watches), Reply::OK)
        }
        Verb::Watch if is_gathering => Work::Ready(Reply::error("ERR WATCH inside MULTI is not allowed")),
        Verb::Watch => {
            let is_first = transaction.watches.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
            transaction.watched_bytes = if is_first { 0 } else { transaction.watched_bytes } + request.size();
            let key = |place| Key { database: session.database, name: request.bytes(place) };
            Work::Watch((1..request.len()).map(key).collect(), Watches::clone(&transaction.watches))
        }
        Verb::Unwatch => Work::Unwatch(Watches::clone(&transaction.watches), Reply::OK),
        _ => exec(door, session),
    }
}

/// EXEC that was called wrongly ends the transaction too.
pub(crate) fn abort(session: &mut Session, error: &Reply) -> Work {
    let why = if let Reply::Error(text) = error { text.strip_prefix("ERR ").unwrap_or(text) } else { "it was called wrongly" };
    (session.transaction.queued, session.transaction.is_spoilt) = (None, false);
    let reply = Reply::Error(format!("EXECABORT Transaction discarded because of: {why}").into());
    Work::Unwatch(Watches::clone(&session.transaction.watches), reply)
}

fn exec(door: &Door, session: &mut Session) -> Work {
    let transaction = &mut session.transaction;
    let Some(queued) = transaction.queued.take() else { return Work::Ready(Reply::error("ERR EXEC without MULTI")) };
    let watches = Watches::clone(&transaction.watches);
    if std::mem::take(&mut transaction.is_spoilt) {
        return Work::Unwatch(watches, Reply::error("EXECABORT Transaction discarded because of previous errors."));
    }
    let database = session.database;
    let work = queued.into_iter().map(|request| match table::look_up(&request) {
        Ok(command) if command.verb == Verb::Unwatch => Work::Ready(Reply::OK),
        Ok(command) if concerns_connection(command) => Work::Afterwards(command, request),
        Ok(command) => unit::ready(door, session, command, request),
        Err(error) => Work::Ready(error),
    });
    Work::Exec(Exec { work: work.collect(), watches, database, is_aborted: false })
}

/// Whether a command concerns the connection or the server and no data. It waits until the transaction is carried out: one that is
/// aborted changes nothing. SELECT does not wait, because the commands behind it depend on it.
fn concerns_connection(command: &Command) -> bool {
    let is_setting = matches!(command.verb, Verb::ConfigGet | Verb::ConfigSet | Verb::ConfigResetStat | Verb::Info);
    command.verb != Verb::Select && (command.group == Group::Connection || is_setting)
}

/// Does what a transaction that was carried out left for afterwards.
pub(crate) fn do_afterwards(door: &Door, session: &mut Session, exec: &Exec, answer: Plan) -> Plan {
    let Plan::Array(mut answers) = answer else { return answer };
    for (work, answer) in exec.work.iter().zip(&mut answers) {
        if let Work::Afterwards(command, request) = work
            && let Some(reply) = super::without_data(door, session, command, request)
        {
            *answer = reply.into();
        }
    }
    Plan::Array(answers)
}

/// Keeps a request for EXEC.
pub(crate) fn queue(door: &Door, session: &mut Session, request: Request) -> Reply {
    let transaction = &mut session.transaction;
    let Some(queued) = &mut transaction.queued else { return Reply::error("ERR EXEC without MULTI") };
    transaction.queued_bytes += request.size();
    let limits = door.keyspace.limits();
    if queued.len() >= limits.events_max || transaction.queued_bytes > limits.bytes_max {
        transaction.is_spoilt = true;
        let text = format!(
            "ERR a transaction has at most {} commands and {} bytes here, so that it can be recorded as one; split it",
            limits.events_max, limits.bytes_max
        );
        return Reply::Error(text.into());
    }
    queued.push(request);
    Reply::Simple("QUEUED")
}

/// Watches keys from now on.
pub(super) fn watch(context: &mut Context<'_>, keys: &[Key], watches: &Watches) -> Answered {
    context.need(keys)?;
    let mut watches = watches.lock().expect("no holder of this lock panics");
    for key in keys {
        context.slot(key)?;
        if !watches.contains_key(key) {
            let name = bytes::Bytes::copy_from_slice(&key.name);
            watches.insert(Key { name, ..*key }, context.stamp(key).expect("it was looked at"));
        }
    }
    Ok(Reply::OK.into())
}

/// Carries out all of a transaction, or, if something has to be read first, nothing of it.
pub(super) fn carry_out(context: &mut Context<'_>, exec: &mut Exec) -> Answered {
    let Exec { work, watches, is_aborted, .. } = exec;
    *is_aborted = false;
    let watched: Vec<Key> = watches.lock().expect("no holder of this lock panics").keys().cloned().collect();
    context.need(&watched)?;
    let is_overtaken = |(key, stamp): (&Key, &u64)| context.stamp(key) != Some(*stamp);
    if watches.lock().expect("no holder of this lock panics").iter().any(is_overtaken) {
        *is_aborted = true;
        unwatch(watches);
        return Ok(Reply::NullArray.into());
    }
    let data = || work.iter().filter_map(|one| if let Work::Data(data) = one { Some(data) } else { None });
    let unknown = context.state.unknown(data().flat_map(Data::names));
    if !unknown.is_empty() {
        return Err(Stop::Load(unknown));
    }
    let bytes: usize = data().map(|data| data.request.size()).sum();
    if !context.has_room(work.len(), bytes) {
        return Err(Stop::Full);
    }
    let mark = context.begin();
    if data().all(is_complete_by_key) {
        context.undo = None;
    }
    context.is_exec = true;
    let mut answers = Vec::with_capacity(work.len());
    for one in work {
        let answer = match one {
            Work::Data(data) => {
                context.database = data.database;
                super::with_data(context, data.command.verb, &data.request, &mut data.resume)
            }
            Work::Ready(reply) => Ok(reply.clone().into()),
            Work::Afterwards(..) | Work::Own(_) | Work::Exec(..) | Work::Watch(..) | Work::Unwatch(..) => Ok(Reply::OK.into()),
        };
        match answer {
            Ok(answer) => answers.push(answer),
            Err(Stop::Answer(reply)) => answers.push(reply.into()),
            Err(Stop::Block(..)) => answers.push(Reply::NullArray.into()),
            Err(stop @ (Stop::Load(_) | Stop::Full)) => {
                context.take_back(&mark);
                return Err(stop);
            }
        }
    }
    context.undo = None;
    unwatch(watches);
    Ok(Plan::Array(answers))
}

/// Forgets what is watched.
pub(super) fn unwatch(watches: &Watches) {
    watches.lock().expect("no holder of this lock panics").clear();
}

/// Whether a command needs nothing but what stands at its keys, so that it can't be held up in the middle of a transaction.
fn is_complete_by_key(data: &Data) -> bool {
    match data.command.group {
        Group::String | Group::Bitmap | Group::Hash => true,
        Group::Stream => match data.command.verb {
            Verb::XAdd => !data
                .request
                .iter()
                .skip(2)
                .take(2)
                .any(|option| option.eq_ignore_ascii_case(b"minid") || option.eq_ignore_ascii_case(b"nomkstream")),
            Verb::XLen | Verb::XRange | Verb::XRevRange | Verb::XAck => true,
            _ => false,
        },
        Group::Generic => matches!(data.command.verb, Verb::Del | Verb::Unlink | Verb::Exists | Verb::Type | Verb::Expire | Verb::Ttl),
        _ => false,
    }
}
