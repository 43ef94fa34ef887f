//! Given what has happened, when this is asked for, then that happens.

use std::fmt;

use futures::TryStreamExt;
use uuid::Uuid;

use super::{at_once, difference};
use crate::backend::Memory;
use crate::domain::{Aggregate, Codec, Decider, Object};
use crate::repository::{CommandError, CommandOptions, Executed, Repository, TruncatedStreams};
use crate::{EventStoreExt, ExpectedVersion, SharedStore};

/// What has happened, in a stream of a store in memory.
pub struct Given<D: Decider> {
    repository: Repository<D>,
    /// The store, and how many events were given.
    events: u64,
}

/// What became of a command.
pub struct Then<D: Decider, R> {
    codec: Codec<D::Event>,
    outcome: Result<Done<D, R>, D::Error>,
}

struct Done<D: Decider, R> {
    events: Vec<D::Event>,
    reply: R,
    state: D::State,
}

/// The one stream that a test is about.
const ID: &str = "1";

/// These events have happened, to a decider.
///
/// # Panics
/// If they can't be stored and read.
#[track_caller]
pub fn given<D: Decider>(events: impl IntoIterator<Item = D::Event>) -> Given<D> {
    let store: SharedStore = std::sync::Arc::new(Memory::new());
    let (repository, codec) = (Repository::<D>::new(store.clone()).truncated(TruncatedStreams::Refuse), Codec::<D::Event>::new());
    let stored = events.into_iter().map(|event| codec.encode(&event, Uuid::now_v7())).collect::<Result<Vec<_>, _>>();
    let stored = stored.unwrap_or_else(|error| panic!("what is given can't be stored: {error}"));
    let events = stored.len() as u64;
    if events > 0 {
        let stream = repository.stream(ID).unwrap_or_else(|error| panic!("{error}"));
        let append = at_once(store.append_to(&stream, ExpectedVersion::NoStream, stored));
        append.unwrap_or_else(|error| panic!("what is given can't be stored: {error}"));
    }
    Given { repository, events }
}

/// These events have happened, to an aggregate in object style.
///
/// # Panics
/// If they can't be stored and read.
#[track_caller]
pub fn given_object<A: Aggregate>(events: impl IntoIterator<Item = A::Event>) -> Given<Object<A>> {
    given(events)
}

impl<D: Decider> Given<D> {
    /// This is asked for.
    ///
    /// # Panics
    /// If what is given can't be read, or if the decision is another one when it is made again.
    #[track_caller]
    pub fn when(self, command: D::Command) -> Then<D, D::Reply> {
        let run = || at_once(self.repository.execute_with(ID, &command, CommandOptions::key("the command of this test")));
        self.then(run)
    }

    /// The state that what is given comes to.
    ///
    /// # Panics
    /// If the state is another one; it says what differs.
    #[track_caller]
    pub fn then_state(self, expected: D::State) -> Self
    where
        D::State: PartialEq + fmt::Debug,
    {
        let loaded = at_once(self.repository.get(ID)).unwrap_or_else(|error| panic!("what is given can't be read: {error}"));
        same("state", &expected, &loaded.map(|loaded| loaded.state).unwrap_or_default());
        self
    }

    /// Runs a command twice, which must be the same as once, and looks at what it has left.
    #[track_caller]
    fn then<R>(&self, run: impl Fn() -> Result<Executed<R>, CommandError<D::Error>>) -> Then<D, R> {
        let codec = Codec::new();
        let reply = match run() {
            Ok(executed) => executed.reply,
            Err(CommandError::Refused(error)) => return Then { codec, outcome: Err(error) },
            Err(error) => panic!("the command failed: {}", said(&error)),
        };
        match run() {
            Ok(_) => {}
            Err(CommandError::KeyReused { .. }) => panic!(
                "the same state and command gave two decisions; a decision reads no clock and no chance, they come in with the command"
            ),
            Err(CommandError::Refused(_)) => panic!("the same state and command gave events, then a refusal"),
            Err(error) => panic!("the command failed when it was repeated: {}", said(&error)),
        }
        let history = self.repository.history(ID).unwrap_or_else(|error| panic!("{error}"));
        let history: Vec<_> = at_once(history.try_collect()).unwrap_or_else(|error| panic!("what was recorded can't be read: {error}"));
        let new = history.into_iter().filter(|entry| entry.recorded.version.get() > self.events);
        let state = at_once(self.repository.get(ID)).unwrap_or_else(|error| panic!("{error}"));
        let state = state.map(|loaded| loaded.state).unwrap_or_default();
        Then { codec, outcome: Ok(Done { events: new.flat_map(|entry| entry.events).collect(), reply, state }) }
    }
}

impl<A: Aggregate> Given<Object<A>> {
    /// This method is called.
    ///
    /// # Panics
    /// As [`Given::when`].
    #[track_caller]
    pub fn when_called<R: Send>(self, method: impl Fn(&mut A) -> Result<R, A::Error> + Send + Sync) -> Then<Object<A>, R> {
        let run = || at_once(self.repository.call_with(ID, CommandOptions::key("the command of this test"), &method));
        self.then(run)
    }
}

impl<D: Decider, R> Then<D, R> {
    /// These events happen, and no others.
    ///
    /// # Panics
    /// If others do, or it was refused; it says what differs.
    #[track_caller]
    pub fn then_events(self, expected: impl IntoIterator<Item = D::Event>) -> Self
    where
        D::Error: fmt::Debug,
    {
        let expected: Vec<_> = expected.into_iter().collect();
        let expected = difference::shown(&self.codec, &expected);
        let done = match &self.outcome {
            Ok(done) => done,
            Err(refusal) => panic!("it was refused ({refusal:?}), where this was expected to happen:\n{expected}"),
        };
        if let Some(difference) = difference::between(&expected, &difference::shown(&self.codec, &done.events)) {
            panic!("other events happened:\n{difference}");
        }
        self
    }

    /// Nothing happens, and it is not refused.
    ///
    /// # Panics
    /// If something does, or it was refused.
    #[track_caller]
    pub fn then_nothing(self) -> Self
    where
        D::Error: fmt::Debug,
    {
        self.then_events([])
    }

    /// Whoever asked is told this.
    ///
    /// # Panics
    /// If they are told something else, or it was refused.
    #[track_caller]
    pub fn then_reply(self, expected: R) -> Self
    where
        R: PartialEq + fmt::Debug,
        D::Error: fmt::Debug,
    {
        let done = match &self.outcome {
            Ok(done) => done,
            Err(refusal) => panic!("it was refused ({refusal:?}), where the reply was expected to be {expected:?}"),
        };
        same("reply", &expected, &done.reply);
        self
    }

    /// The state is this afterwards.
    ///
    /// # Panics
    /// If it is another one, or it was refused.
    #[track_caller]
    pub fn then_state(self, expected: D::State) -> Self
    where
        D::State: PartialEq + fmt::Debug,
        D::Error: fmt::Debug,
    {
        let done = match &self.outcome {
            Ok(done) => done,
            Err(refusal) => panic!("it was refused ({refusal:?}), where the state was expected to be {expected:?}"),
        };
        same("state", &expected, &done.state);
        self
    }

    /// It is refused, for this reason.
    ///
    /// # Panics
    /// If it is not, or for another reason.
    #[track_caller]
    pub fn then_refused(self, expected: D::Error)
    where
        D::Error: PartialEq + fmt::Debug,
    {
        match &self.outcome {
            Err(error) => same("refusal", &expected, error),
            Ok(done) => panic!("it was not refused, but this happened:\n{}", difference::shown(&self.codec, &done.events)),
        }
    }
}

#[track_caller]
fn same<T: PartialEq + fmt::Debug>(what: &str, expected: &T, actual: &T) {
    if expected != actual {
        let lines = |value: &T| format!("{value:#?}\n");
        let difference = difference::between(&lines(expected), &lines(actual));
        panic!("the {what} is another:\n{}", difference.unwrap_or_else(|| format!("{expected:?} and {actual:?} are not equal")));
    }
}

/// An error of the repository, whose refusals need not be printable.
fn said<E>(error: &CommandError<E>) -> String {
    match error {
        CommandError::Refused(_) => "it was refused".to_owned(),
        CommandError::Contended { conflict, .. } => conflict.to_string(),
        CommandError::KeyReused { stream, .. } => format!("its key belongs to another command in {stream}"),
        CommandError::Store(error) => error.to_string(),
    }
}

impl<D: Decider> fmt::Debug for Given<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Given").field("category", &D::CATEGORY).field("events", &self.events).finish_non_exhaustive()
    }
}

impl<D: Decider, R> fmt::Debug for Then<D, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Then").field("is_refused", &self.outcome.is_err()).finish_non_exhaustive()
    }
}
