//! The repository: it brings deciders and aggregates together with a store. Load, decide, append; on a conflict load what is new and
//! decide again.

mod basis;
mod boundary;
mod cache;
mod error;
mod folding;
mod key;
mod options;
mod questions;
mod retry;
mod snapshot;
mod stream_basis;
mod transact;
mod turns;

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::domain::{Aggregate, Codec, Decider, Object};
use crate::{EventStore, SharedStore, StreamId};

use basis::Deciding;
use cache::HotStates;
use snapshot::Shelf;
use stream_basis::StreamBasis;

pub use boundary::Boundary;
pub use error::CommandError;
pub use options::{CommandOptions, Executed, TruncatedStreams};
pub use questions::{HistoryEntry, HistoryStream, Loaded};
pub use retry::Retry;
pub use snapshot::Snapshots;

/// Runs a decider's commands, and answers questions about its states, on a store.
///
/// It may be shared and used concurrently, and any number of processes may have one for the same streams: each command's events are
/// recorded only if its stream is as the decision took it to be.
///
/// # Behavior
/// - A conflict is resolved by reading what is new and deciding again, as often as [`Retry`] says; then it is
///   [`CommandError::Contended`].
/// - An outcome that is unknown is resolved by sending the same append again.
/// - A refusal, and a decision that nothing happens, are answers only after the stream was looked at: states from memory are brought up to
///   date first.
/// - A command with a key ([`CommandOptions::key`]) happens once: a repeat, whatever became of the first, gives the first receipt,
///   marked duplicate, and the reply of then, even where the command would be refused by now.
/// - Whoever drops the future of a command does not know whether it happened; with a key they can send it again.
/// - States are kept in memory, at most as many as [`Repository::caching`] says, and in snapshots if there are to be any. Neither is needed.
///
/// ```
/// use factum::{CommandOptions, Repository, Retry, Snapshots, StreamVersion, connect};
/// # use factum::{Decider, Decision, Event};
/// # use serde::{Deserialize, Serialize};
/// # struct Account;
/// # #[derive(Serialize, Deserialize)]
/// # struct Deposited { cents: u64 }
/// # impl Event for Deposited {}
/// # struct Deposit { cents: u64 }
/// # impl Decider for Account {
/// #     const CATEGORY: &'static str = "Account";
/// #     type State = u64;
/// #     type Command = Deposit;
/// #     type Event = Deposited;
/// #     type Reply = u64;
/// #     type Error = std::convert::Infallible;
/// #     fn decide(cents: &u64, command: &Deposit) -> Result<Decision<Deposited, u64>, Self::Error> {
/// #         Ok(Decision::of([Deposited { cents: command.cents }]).reply(cents + command.cents))
/// #     }
/// #     fn evolve(cents: &mut u64, event: &Deposited) { *cents += event.cents }
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = connect("memory:").await?;
/// let accounts = Repository::<Account>::new(store).retrying(Retry::attempts(20)).snapshots(Snapshots::every(100));
///
/// let done = accounts.execute("7", Deposit { cents: 500 }).await?;
/// assert_eq!((done.reply, done.version.get(), done.conflicts), (500, 1, 0));
/// for _ in 0..2 {
///     accounts.execute_with("7", Deposit { cents: 100 }, CommandOptions::key("request-42")).await?;
/// }
/// assert_eq!(accounts.get("7").await?.map(|account| account.state), Some(600));
/// assert_eq!(accounts.get_at("7", StreamVersion::FIRST).await?.state, 500);
/// # Ok(())
/// # }
/// ```
pub struct Repository<D: Decider> {
    deciding: Deciding<D>,
    hot: HotStates<D::State>,
    shelf: Option<Shelf<D::State>>,
    truncated: TruncatedStreams,
}

/// A repository of aggregates.
pub type AggregateRepository<A> = Repository<Object<A>>;

impl<D: Decider> Repository<D> {
    /// So many states it keeps in memory unless told otherwise.
    pub const HOT_STATES_MAX: usize = 1_000;

    /// The repository of `D` on `store`.
    ///
    /// # Panics
    /// As [`Codec::new`].
    pub fn new(store: SharedStore) -> Self {
        Self { deciding: Deciding::new(store), hot: HotStates::new(Self::HOT_STATES_MAX), shelf: None, truncated: TruncatedStreams::Refuse }
    }

    /// The same, reading events with `codec`: for another choice about unknown types.
    #[must_use]
    pub fn reading_with(mut self, codec: Codec<D::Event>) -> Self {
        self.deciding.codec = codec;
        self
    }

    /// The same, meeting conflicts so.
    #[must_use]
    pub fn retrying(mut self, retry: Retry) -> Self {
        self.deciding.retry = retry;
        self
    }

    /// The same, keeping at most so many states in memory; 0 keeps none.
    #[must_use]
    pub fn caching(mut self, states_max: usize) -> Self {
        self.hot = HotStates::new(states_max);
        self
    }

    /// The same, keeping snapshots in the store.
    #[must_use]
    pub fn snapshots(mut self, snapshots: Snapshots) -> Self
    where
        D::State: Serialize + DeserializeOwned,
    {
        self.shelf = Some(Shelf::new(self.deciding.store.clone(), snapshots));
        self
    }

    /// The same, doing that with streams whose beginning was truncated.
    #[must_use]
    pub fn truncated(mut self, truncated: TruncatedStreams) -> Self {
        self.truncated = truncated;
        self
    }

    /// The stream of that id: `Account-7` for `7`.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) if that is no stream id.
    pub fn stream(&self, id: impl AsRef<str>) -> crate::Result<StreamId> {
        stream_of::<D>(id.as_ref())
    }

    /// Runs a command: loads, decides, and records what happens.
    ///
    /// # Errors
    /// [`CommandError`], by what to do next.
    pub async fn execute(
        &self,
        id: impl AsRef<str> + Send,
        command: impl Borrow<D::Command> + Send + Sync,
    ) -> Result<Executed<D::Reply>, CommandError<D::Error>> {
        self.execute_with(id, command, CommandOptions::default()).await
    }

    /// Runs a command under options: with a key, expecting a version, with metadata.
    ///
    /// # Errors
    /// As [`Repository::execute`]; a stream that is not at the version expected is a conflict, and not decided about again.
    pub async fn execute_with(
        &self,
        id: impl AsRef<str> + Send,
        command: impl Borrow<D::Command> + Send + Sync,
        options: CommandOptions,
    ) -> Result<Executed<D::Reply>, CommandError<D::Error>> {
        let stream = self.stream(id)?;
        let basis = StreamBasis { repository: self, stream: &stream };
        self.deciding.transact(&basis, &options, |state| D::decide(state, command.borrow())).await
    }

    /// Waits until the snapshots under way are written, for the end of a program. Without it they may be lost, which costs time and
    /// nothing else.
    pub async fn settle(&self) {
        if let Some(shelf) = &self.shelf {
            shelf.settle().await;
        }
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn EventStore> {
        &self.deciding.store
    }
}

impl<A: Aggregate> Repository<Object<A>> {
    /// Calls a command method on the aggregate, and records what it records. It may be called again, after a conflict.
    ///
    /// # Errors
    /// As [`Repository::execute`].
    pub async fn call<R: Send>(
        &self,
        id: impl AsRef<str> + Send,
        method: impl Fn(&mut A) -> Result<R, A::Error> + Send + Sync,
    ) -> Result<Executed<R>, CommandError<A::Error>> {
        self.call_with(id, CommandOptions::default(), method).await
    }

    /// Calls a command method under options.
    ///
    /// # Errors
    /// As [`Repository::execute_with`].
    pub async fn call_with<R: Send>(
        &self,
        id: impl AsRef<str> + Send,
        options: CommandOptions,
        method: impl Fn(&mut A) -> Result<R, A::Error> + Send + Sync,
    ) -> Result<Executed<R>, CommandError<A::Error>> {
        let stream = self.stream(id)?;
        let basis = StreamBasis { repository: self, stream: &stream };
        self.deciding.transact(&basis, &options, |state| Object::decide_by(state, &method)).await
    }
}

impl<D: Decider> fmt::Debug for Repository<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Repository").field("category", &D::CATEGORY).field("retry", &self.deciding.retry).finish_non_exhaustive()
    }
}

/// The stream of a decider's category and that id.
fn stream_of<D: Decider>(id: &str) -> crate::Result<StreamId> {
    let stream = StreamId::new(format!("{}-{id}", D::CATEGORY))?;
    if stream.category_str() == D::CATEGORY {
        return Ok(stream);
    }
    Err(crate::Error::invalid(format!("{:?} is no category; it is the text before a stream's first -, so it has none itself", D::CATEGORY)))
}
