//! Requests on their way through the door: what can be answered at once is, the rest is made ready to be carried out under the lock.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use foldhash::fast::RandomState;
use tokio::time::Instant;

use super::commands::table::{self, Command, Verb};
use super::commands::{self};
use super::door::Door;
use super::entry::EntryId;
use super::keyspace::Key;
use super::pause::Paused;
use super::resp::{Protocol, Reply, Request};
use super::session::{Replies, Session};

/// A request, ready to be carried out.
#[derive(Debug)]
pub(crate) struct Unit {
    pub(crate) work: Work,
    /// In which version of the protocol it is answered.
    pub(crate) protocol: Protocol,
    /// Whether the client wants an answer.
    pub(crate) is_wanted: bool,
    pub(crate) command: Option<&'static Command>,
}

impl Unit {
    /// Whether it changes nothing, so that it does not matter what can't be recorded.
    pub(crate) fn only_reads(&self) -> bool {
        matches!(self.work, Work::Data(_)) && self.command.is_some_and(|command| command.is(table::READONLY))
    }
}

/// What is to be done for a request.
#[derive(Debug)]
pub(crate) enum Work {
    /// Nothing more.
    Ready(Reply),
    /// A command on data.
    Data(Data),
    /// A command that goes to the store itself.
    Own(Data),
    /// In a transaction: what concerns the connection or the server, once the transaction is carried out.
    Afterwards(&'static Command, Request),
    /// All of these, as one.
    Exec(Exec),
    /// The keys are watched from here on.
    Watch(Vec<Key>, Watches),
    /// No key is watched any more, and this is the answer.
    Unwatch(Watches, Reply),
}

/// A transaction.
#[derive(Debug)]
pub(crate) struct Exec {
    pub(crate) work: Vec<Work>,
    pub(crate) watches: Watches,
    /// The database that was chosen before it.
    pub(crate) database: u32,
    /// A key that was watched had changed, so nothing was done.
    pub(crate) is_aborted: bool,
}

/// A command on data.
#[derive(Debug)]
pub(crate) struct Data {
    pub(crate) command: &'static Command,
    pub(crate) request: Request,
    pub(crate) database: u32,
    pub(crate) resume: Resume,
}

/// What a command that waits keeps from one try to the next.
#[derive(Clone, Debug, Default)]
pub(crate) struct Resume {
    /// The ids that `$` and the like stood for when it came.
    pub(crate) ids: Option<Vec<EntryId>>,
    /// When it ends without anything; `Some(None)` for never.
    pub(crate) deadline: Option<Option<Instant>>,
    /// Its time is over.
    pub(crate) is_over: bool,
}

/// The keys that a connection watches, and what they were known by.
pub(crate) type Watches = Arc<Mutex<HashMap<Key, u64, RandomState>>>;

impl Data {
    /// The keys that it names.
    pub(crate) fn keys(&self) -> impl Iterator<Item = Key> {
        let places = self.command.key_places(&self.request);
        places.into_iter().map(|place| Key { database: self.database, name: self.request.bytes(place) })
    }

    /// The databases and names of these keys.
    pub(crate) fn names(&self) -> impl Iterator<Item = (u32, &[u8])> {
        let places = self.command.key_places(&self.request);
        places.into_iter().map(|place| (self.database, &self.request[place]))
    }

    fn may_block(&self) -> bool {
        self.command.is(table::BLOCKING) && self.request.iter().skip(1).any(|argument| argument.eq_ignore_ascii_case(b"block"))
    }
}

/// So many requests are carried out under one lock.
const UNITS_MAX: usize = 1_024;

/// Takes requests off the front that can be carried out together. One that may wait comes alone, so that the answers before it are sent first.
pub(crate) fn take(door: &Door, session: &mut Session, requests: &mut VecDeque<Request>) -> Vec<Unit> {
    let mut units = Vec::with_capacity(requests.len().min(UNITS_MAX));
    while units.len() < UNITS_MAX
        && !session.is_ending
        && let Some(request) = requests.pop_front()
    {
        if is_held(door, session, &request) {
            requests.push_front(request);
            break;
        }
        let (command, work) = match table::look_up(&request) {
            Ok(command) => {
                session.last_command = command.name;
                (Some(command), prepare(door, session, command, request))
            }
            Err(error) if request[0].eq_ignore_ascii_case(b"exec") => (None, commands::abort(session, &error)),
            Err(error) => {
                session.transaction.is_spoilt = true;
                (None, Work::Ready(error))
            }
        };
        if let Work::Data(data) | Work::Own(data) = &work
            && data.may_block()
            && !units.is_empty()
        {
            requests.push_front(data.request.clone());
            break;
        }
        // What comes after a transaction that concerns the connection depends on whether it was carried out.
        let ends = match &work {
            Work::Data(data) | Work::Own(data) => data.may_block(),
            Work::Exec(exec) => exec.database != session.database || exec.work.iter().any(|work| matches!(work, Work::Afterwards(..))),
            _ => false,
        };
        units.push(Unit { work, protocol: session.protocol, is_wanted: is_wanted(session), command });
        if ends {
            break;
        }
    }
    units
}

/// Whether a request has to wait, because a client has asked for a pause.
pub(crate) fn is_held(door: &Door, session: &Session, request: &Request) -> bool {
    let Some(paused) = door.pause.now() else { return false };
    let Ok(command) = table::look_up(request) else { return false };
    let writes = || command.is(table::WRITE) || command.verb == Verb::Exec && session.transaction.writes();
    (session.is_authenticated || command.is(table::NO_AUTH)) && (paused == Paused::All || writes())
}

fn prepare(door: &Door, session: &mut Session, command: &'static Command, request: Request) -> Work {
    if !session.is_authenticated && !command.is(table::NO_AUTH) {
        session.transaction.is_spoilt = true;
        return Work::Ready(Reply::error("NOAUTH Authentication required."));
    }
    let is_gathering = session.transaction.queued.is_some();
    if is_memory_full(door, session, command) {
        const FULL: Reply = Reply::error("OOM command not allowed when used memory > 'maxmemory'.");
        if command.verb == Verb::Exec {
            return commands::abort(session, &FULL);
        }
        session.transaction.is_spoilt = true;
        return Work::Ready(FULL);
    }
    match command.verb {
        Verb::Multi | Verb::Exec | Verb::Discard | Verb::Watch | Verb::Unwatch if !is_gathering || command.verb != Verb::Unwatch => {
            commands::transaction(door, session, command.verb, &request)
        }
        Verb::Quit | Verb::Reset => Work::Ready(commands::without_data(door, session, command, &request).expect("they concern no data")),
        _ if is_gathering && command.group == table::Group::Factum => {
            session.transaction.is_spoilt = true;
            Work::Ready(Reply::error("ERR the commands of Factum are appends of their own, and can't be part of a transaction"))
        }
        _ if is_gathering && command.is(table::NO_MULTI) => {
            session.transaction.is_spoilt = true;
            Work::Ready(Reply::error("ERR Command not allowed inside a transaction"))
        }
        _ if is_gathering => Work::Ready(commands::queue(door, session, request)),
        _ => ready(door, session, command, request),
    }
}

/// Whether a command would take memory although more is in use than CONFIG SET maxmemory allows, if it was ever called. In MULTI every
/// command takes some, because it is kept.
fn is_memory_full(door: &Door, session: &Session, command: &Command) -> bool {
    let bytes_max = door.parameters.memory_bytes_max();
    let takes = || match command.verb {
        Verb::Exec => session.transaction.adds(),
        Verb::Discard | Verb::Multi | Verb::Watch | Verb::Quit | Verb::Reset => false,
        _ => session.transaction.queued.is_some() || command.is(table::DENYOOM),
    };
    bytes_max > 0 && takes() && crate::process::own_memory_bytes() > bytes_max
}

/// What is to be done for a request outside of MULTI, or in EXEC.
pub(crate) fn ready(door: &Door, session: &mut Session, command: &'static Command, request: Request) -> Work {
    let sleeps =
        || command.verb == Verb::Debug && door.settings.allow_debug && request.len() == 3 && request[1].eq_ignore_ascii_case(b"sleep");
    if command.verb == Verb::Info || sleeps() {
        return Work::Own(Data { command, request, database: session.database, resume: Resume::default() });
    }
    match commands::without_data(door, session, command, &request) {
        Some(reply) => Work::Ready(reply),
        None if command.group == table::Group::Factum => {
            Work::Own(Data { command, request, database: session.database, resume: Resume::default() })
        }
        None => Work::Data(Data { command, request, database: session.database, resume: Resume::default() }),
    }
}

fn is_wanted(session: &mut Session) -> bool {
    match session.replies {
        Replies::On => return true,
        Replies::Off => {}
        Replies::SkipThisAndNext => session.replies = Replies::SkipNext,
        Replies::SkipNext => session.replies = Replies::On,
    }
    false
}
