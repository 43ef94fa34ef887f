//! A boundary: decisions that rest on what a query finds, across streams.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::TryStreamExt;
use uuid::Uuid;

use super::basis::{Basis, Deciding, Ground};
use super::cache::HotStates;
use super::error::CommandError;
use super::options::{CommandOptions, Executed};
use super::retry::Retry;
use super::stream_of;
use crate::domain::{Codec, Decider};
use crate::error::{Error, Result};
use crate::telemetry::{self, LoadedFrom};
use crate::{Append, Condition, NewEvent, Query, ReadLog, Receipt, RecordedEvent, SharedStore, StreamId};

/// Runs commands whose rules span streams: the state is folded from the events that a query finds, and what happens is recorded only if
/// nothing else that the query would find was recorded meanwhile.
///
/// Everything that a decision looks at must match the query, and so must what others record that could change it: give events the
/// tags of all they are about. A repository's rules about retries and keys hold here too.
///
/// The store must support conditions ([`Capabilities::conditions`](crate::Capabilities::conditions)). The states of the queries that were
/// used last are kept in memory, at most as many as [`Boundary::caching`] says; each command reads what its query finds since. A state
/// that is kept knows events that were truncated meanwhile.
///
/// ```
/// use factum::{Boundary, Decider, Decision, Event, Query, Tag, connect};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct NameTaken {
///     name: String,
/// }
/// impl Event for NameTaken {
///     fn tags(&self) -> Vec<String> {
///         vec![format!("name:{}", self.name)]
///     }
/// }
///
/// /// No two users have the same name, though each has a stream of their own.
/// struct Names;
/// impl Decider for Names {
///     const CATEGORY: &'static str = "User";
///     type State = bool;
///     type Command = String;
///     type Event = NameTaken;
///     type Reply = ();
///     type Error = &'static str;
///
///     fn decide(is_taken: &bool, name: &String) -> Result<Decision<NameTaken>, &'static str> {
///         if *is_taken { Err("it is taken") } else { Ok(Decision::of([NameTaken { name: name.clone() }])) }
///     }
///
///     fn evolve(is_taken: &mut bool, _: &NameTaken) {
///         *is_taken = true;
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let names = Boundary::<Names>::new(connect("memory:").await?);
/// let ann = || Query::tags([Tag::new("name:ann").expect("it is short")]);
/// names.execute("1", ann(), "ann".to_owned()).await?;
/// let refused = names.execute("2", ann(), "ann".to_owned()).await.expect_err("another has it");
/// assert_eq!(refused.refused(), Some("it is taken"));
/// # Ok(())
/// # }
/// ```
pub struct Boundary<D: Decider> {
    deciding: Deciding<D>,
    hot: HotStates<D::State, Query>,
}

impl<D: Decider> Boundary<D> {
    /// So many states it keeps in memory unless told otherwise.
    pub const HOT_STATES_MAX: usize = 1_000;

    /// The boundary of `D` on `store`.
    ///
    /// # Panics
    /// As [`Codec::new`].
    pub fn new(store: SharedStore) -> Self {
        Self { deciding: Deciding::new(store), hot: HotStates::new(Self::HOT_STATES_MAX) }
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

    /// The same, keeping the states of at most so many queries in memory; 0 keeps none.
    #[must_use]
    pub fn caching(mut self, states_max: usize) -> Self {
        self.hot = HotStates::new(states_max);
        self
    }

    /// Runs a command on the events that `query` finds, and records what happens in the stream of that id.
    ///
    /// # Errors
    /// [`CommandError`], by what to do next.
    pub async fn execute(
        &self,
        id: impl AsRef<str> + Send,
        query: Query,
        command: impl Borrow<D::Command> + Send + Sync,
    ) -> Result<Executed<D::Reply>, CommandError<D::Error>> {
        self.execute_with(id, query, command, CommandOptions::default()).await
    }

    /// Runs a command under options.
    ///
    /// # Errors
    /// As [`Boundary::execute`]; [`Error::Invalid`] if the options expect a version, of which a query has none.
    pub async fn execute_with(
        &self,
        id: impl AsRef<str> + Send,
        query: Query,
        command: impl Borrow<D::Command> + Send + Sync,
        options: CommandOptions,
    ) -> Result<Executed<D::Reply>, CommandError<D::Error>> {
        if options.expected.is_some() {
            return Err(Error::invalid("a command over a query expects no version; leave it out").into());
        }
        let basis = QueryBasis { deciding: &self.deciding, hot: &self.hot, stream: stream_of::<D>(id.as_ref())?, query };
        self.deciding.transact(&basis, &options, |state| D::decide(state, command.borrow())).await
    }

    /// The state that the events make which `query` finds.
    ///
    /// # Errors
    /// As reading from the store; [`Error::Invalid`] if the events can't be read.
    pub async fn state(&self, query: Query) -> Result<D::State> {
        Ok(Arc::unwrap_or_clone(self.deciding.fold_query(Ground::default(), &query).await?.state))
    }
}

impl<D: Decider> Deciding<D> {
    /// Folds what the query finds after `ground` into it.
    async fn fold_query(&self, mut ground: Ground<D::State>, query: &Query) -> Result<Ground<D::State>> {
        let head = self.store.head().await?;
        if head < ground.after {
            // The store was put back to an earlier state.
            ground = Ground { replayed: ground.replayed, ..Ground::default() };
        }
        ground.is_fresh = true;
        if head > ground.after {
            let read = ReadLog { after: ground.after, up_to: Some(head), query: query.clone(), ..ReadLog::default() };
            let mut events = self.store.read_log(read);
            while let Some(event) = events.try_next().await? {
                self.evolve(&mut ground, &event)?;
            }
            ground.after = head;
        }
        Ok(ground)
    }
}

struct QueryBasis<'a, D: Decider> {
    deciding: &'a Deciding<D>,
    hot: &'a HotStates<D::State, Query>,
    stream: StreamId,
    query: Query,
}

#[async_trait]
impl<D: Decider> Basis<D> for QueryBasis<'_, D> {
    fn stream(&self) -> &StreamId {
        &self.stream
    }

    async fn load(&self) -> Result<Ground<D::State>> {
        let kept = self.hot.get(&self.query);
        let from = if kept.is_some() { LoadedFrom::Cache } else { LoadedFrom::Events };
        let ground = self.deciding.fold_query(kept.unwrap_or_default(), &self.query).await?;
        telemetry::loaded(D::CATEGORY, from);
        telemetry::folded(D::CATEGORY, ground.replayed);
        self.hot.keep_latest(&self.query, &ground);
        Ok(ground)
    }

    async fn renew(&self, ground: Ground<D::State>) -> Result<Ground<D::State>> {
        let before = ground.replayed;
        let renewed = self.deciding.fold_query(ground, &self.query).await?;
        telemetry::folded(D::CATEGORY, renewed.replayed - before);
        self.hot.keep_latest(&self.query, &renewed);
        Ok(renewed)
    }

    fn append(&self, ground: &Ground<D::State>, events: Vec<NewEvent>) -> Append {
        let condition = Condition { none_of: self.query.clone(), after: ground.after };
        Append::to(self.stream.clone(), events).on_condition(condition)
    }

    async fn before(&self, event: &RecordedEvent) -> Result<Arc<D::State>> {
        let mut ground = Ground::default();
        let read = ReadLog { up_to: Some(event.position), query: self.query.clone(), ..ReadLog::default() };
        let mut events = self.deciding.store.read_log(read);
        while let Some(earlier) = events.try_next().await? {
            if earlier.position < event.position {
                self.deciding.evolve(&mut ground, &earlier)?;
            }
        }
        Ok(ground.state)
    }

    fn recorded(&self, _: Ground<D::State>, _: &[D::Event], _: Option<Uuid>, _: &Receipt) {}
}

impl<D: Decider> fmt::Debug for Boundary<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Boundary").field("category", &D::CATEGORY).field("retry", &self.deciding.retry).finish_non_exhaustive()
    }
}
