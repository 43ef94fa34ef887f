//! Groups: any number of consumers, in any number of processes, share the work, and the events of one key stay in order.
//!
//! The keys are spread over a fixed number of lanes. A lane belongs to one member at a time, and its record says who that is and what
//! is done. Every write of it expects the record as its owner last wrote it, so that an owner who was replaced, however long it slept,
//! can't change it any more.

mod consumer;
mod groups;
mod hand;
mod keeper;
mod lane;
mod reader;
mod record;
mod shared;

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use uuid::Uuid;

use self::record::{GroupRecords, LaneRecord};
use self::shared::Shared;
use super::backoff::Backoff;
use super::handlers::{Handled, Handlers};
use super::processor::OnFailure;
use super::registry::{self, Kind};
use super::start::StartFrom;
use crate::error::{Error, Result};
use crate::{EventType, Query, RecordVersion, RecordedEvent, SharedStore};

pub use consumer::{Consumer, Delivery, Load};
pub use groups::{GroupState, Groups, HeldKey, MemberState};

/// What events are kept in order by.
#[derive(Clone)]
enum KeyOf {
    Stream,
    Named(String, Arc<dyn Fn(&RecordedEvent) -> String + Send + Sync>),
}

/// How a consumer goes about it.
#[derive(Clone, Copy)]
struct Settings {
    lease: Duration,
    acknowledge_within: Duration,
    window: usize,
    poll_interval: Duration,
}

/// A group of consumers that share a subscription. [`Group::run_until`] runs handlers; [`Group::join`] leaves the loop to you.
///
/// An event is handled at least once. The events of one stream, or of another key that you name, are handled one at a time and in order;
/// those of other keys go on in parallel, also past one that fails. An event that is parked holds its key up until it is replayed or
/// skipped, so that nothing overtakes it.
///
/// ```
/// # use factum::{connect, EventStoreExt, ExpectedVersion, Group, NewEvent, StreamId};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> factum::Result<()> {
/// # let store = connect("memory:").await?;
/// # store.append_to(&StreamId::new("Order-1")?, ExpectedVersion::Any, vec![NewEvent::json("OrderPlaced", &1)?]).await?;
/// let consumer = Group::new(store, "letters").join().await?;
/// if let Some(delivery) = consumer.next().await? {
///     println!("thank you for {}", delivery.event().stream);
///     delivery.ack()?; // or nack, or park; dropping it puts it back
/// }
/// consumer.stop().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Group {
    store: SharedStore,
    name: String,
    query: Option<Query>,
    from: StartFrom,
    key: KeyOf,
    lanes: u16,
    settings: Settings,
    handlers: Handlers,
    at_once: usize,
    backoff: Backoff,
    on_failure: OnFailure,
}

impl Group {
    /// The most lanes that a group can have.
    pub const LANES_MAX: u16 = 1_024;

    /// A group over every event, in order by stream, from the beginning.
    pub fn new(store: SharedStore, name: impl Into<String>) -> Self {
        Self {
            store,
            name: name.into(),
            query: None,
            from: StartFrom::default(),
            key: KeyOf::Stream,
            lanes: 16,
            settings: Settings {
                lease: Duration::from_secs(10),
                acknowledge_within: Duration::from_millis(200),
                window: 1_024,
                poll_interval: Duration::from_secs(1),
            },
            handlers: Handlers::default(),
            at_once: 16,
            backoff: Backoff { attempts_max: 10, ..Backoff::default() },
            on_failure: OnFailure::Park,
        }
    }

    /// Only what matches `query`. All members say the same.
    #[must_use]
    pub fn query(mut self, query: Query) -> Self {
        self.query = Some(query);
        self
    }

    /// Begins there; for whoever makes the group.
    #[must_use]
    pub fn from(mut self, from: StartFrom) -> Self {
        self.from = from;
        self
    }

    /// Keeps events in order that have the same key, instead of those of the same stream. All members use the same function, and say so
    /// by its name.
    #[must_use]
    pub fn key(mut self, name: impl Into<String>, key: impl Fn(&RecordedEvent) -> String + Send + Sync + 'static) -> Self {
        self.key = KeyOf::Named(name.into(), Arc::new(key));
        self
    }

    /// Over how many lanes the keys are spread, which is also how many processes can have work; for whoever makes the group. 16 unless
    /// said otherwise.
    #[must_use]
    pub fn lanes(mut self, lanes: u16) -> Self {
        self.lanes = lanes;
        self
    }

    /// After how long without a sign of life a member's lanes are taken over. All members say the same. 10 seconds unless said otherwise.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.settings.lease = lease;
        self
    }

    /// How long an acknowledgement may wait to be written together with others. 200 milliseconds unless said otherwise.
    #[must_use]
    pub fn acknowledge_within(mut self, time: Duration) -> Self {
        self.settings.acknowledge_within = time;
        self
    }

    /// How many events a process keeps in memory, at most.
    #[must_use]
    pub fn window(mut self, events: usize) -> Self {
        self.settings.window = events.max(1);
        self
    }

    /// How long to wait at most before looking again without a wake-up.
    #[must_use]
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.settings.poll_interval = interval;
        self
    }

    /// Handles the events of one type, in [`Group::run_until`].
    ///
    /// # Errors
    /// [`Error::Invalid`] if that is no event type, or has a handler already.
    pub fn on<F, H>(mut self, event_type: impl AsRef<str>, handler: F) -> Result<Self>
    where
        F: Fn(RecordedEvent) -> H + Send + Sync + 'static,
        H: Future<Output = Handled> + Send + 'static,
    {
        self.handlers.on(EventType::new(event_type)?, handler)?;
        Ok(self)
    }

    /// Handles the events of all other types.
    #[must_use]
    pub fn otherwise<F, H>(mut self, handler: F) -> Self
    where
        F: Fn(RecordedEvent) -> H + Send + Sync + 'static,
        H: Future<Output = Handled> + Send + 'static,
    {
        self.handlers.otherwise(handler);
        self
    }

    /// How many events this process handles at once, each of another key.
    #[must_use]
    pub fn at_once(mut self, events: usize) -> Self {
        self.at_once = events.max(1);
        self
    }

    /// How often an event is tried, and how long its key waits in between; other keys don't wait.
    #[must_use]
    pub fn retry(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// What becomes of an event that fails every time. It is parked unless said otherwise.
    #[must_use]
    pub fn on_failure(mut self, on_failure: OnFailure) -> Self {
        self.on_failure = on_failure;
        self
    }

    /// Joins the group, making it if there is none.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the group has another query or key, or the number of lanes is none; and what the store says.
    pub async fn join(self) -> Result<Consumer> {
        if self.lanes == 0 || self.lanes > Self::LANES_MAX {
            return Err(Error::invalid(format!("a group has 1 to {} lanes, not {}", Self::LANES_MAX, self.lanes)));
        }
        if self.settings.lease < Duration::from_millis(20) {
            return Err(Error::invalid(format!(
                "a lease of {:?} is over before it can be renewed; use 20 ms or more",
                self.settings.lease
            )));
        }
        let records = GroupRecords::new(&self.store, &self.name)?;
        registry::register(&self.store, Kind::Group, &self.name).await?;
        let has_handlers = self.handlers.types().is_none_or(|types| !types.is_empty());
        let of_handlers = || self.handlers.types().filter(|_| has_handlers).map_or_else(Query::all, Query::types);
        let query = self.query.clone().unwrap_or_else(of_handlers);
        let lanes = self.make(&records, &query).await?;
        let member = format!("{}-{}", std::process::id(), Uuid::now_v7().simple());
        let shared = Shared::new(self.store.clone(), records, self.name, member, query, self.key, lanes, self.settings);
        Ok(Consumer::start(shared))
    }

    /// Makes the group's records if they are not there, and says how many lanes it has.
    async fn make(&self, records: &GroupRecords, query: &Query) -> Result<u16> {
        let key = match &self.key {
            KeyOf::Stream => "stream",
            KeyOf::Named(name, _) => name,
        };
        if records.group.get().await?.is_none() {
            // The lanes first: a group whose record is there is whole.
            let read = self.from.resolve(&*self.store).await?;
            for number in 0..self.lanes {
                match records.lane(number)?.set(RecordVersion::NONE, &LaneRecord { read, ..LaneRecord::default() }).await {
                    Ok(_) | Err(Error::RecordConflict { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        let define = |group: &mut record::GroupRecord| {
            let is_new = group.lanes == 0;
            if is_new {
                (group.lanes, group.key, group.query) = (self.lanes, key.to_owned(), query.clone());
            }
            Some((group.lanes, group.key == key && group.query == *query, group.key.clone()))
        };
        let (lanes, is_same, known_key) = records.group.update(define).await?.expect("it always says something");
        if !is_same {
            return Err(Error::invalid(format!(
                "group {} was made with another query, or another key ({known_key}, not {key}); its members must agree, so give this one \
                 another name",
                self.name
            )));
        }
        Ok(lanes)
    }

    /// Joins the group and runs the handlers until `stop` is ready. What is in hand is finished, acknowledged, and the lanes given back.
    ///
    /// # Errors
    /// [`Error::HandlerFailed`] if an event fails every time and is to stop the reader; as [`Group::join`]; and what the store says.
    pub async fn run_until(self, stop: impl Future) -> Result<()> {
        let runner =
            Runner { handlers: self.handlers.clone(), backoff: self.backoff, on_failure: self.on_failure, name: self.name.clone() };
        let at_once = self.at_once;
        let consumer = self.join().await?;
        let mut workers: FuturesUnordered<_> = (0..at_once).map(|_| runner.work(&consumer)).collect();
        let mut stop = std::pin::pin!(stop);
        let outcome = loop {
            tokio::select! {
                ended = workers.next() => match ended {
                    Some(Ok(())) => {}
                    Some(Err(error)) => break Err(error),
                    None => break Ok(()),
                },
                _ = &mut stop => {
                    let drain = async { while let Some(ended) = workers.next().await { ended?; } Ok(()) };
                    let (drained, stopped) = tokio::join!(drain, consumer.stop());
                    return drained.and(stopped);
                }
            }
        };
        drop(workers);
        outcome.and(consumer.stop().await)
    }
}

/// Runs handlers over what a consumer gives.
struct Runner {
    handlers: Handlers,
    backoff: Backoff,
    on_failure: OnFailure,
    name: String,
}

impl Runner {
    async fn work(&self, consumer: &Consumer) -> Result<()> {
        while let Some(delivery) = consumer.next().await? {
            let attempt = delivery.attempt();
            if delivery.is_suspect() && !self.backoff.allows(attempt - 1) && self.on_failure == OnFailure::Park {
                tracing::warn!(group = self.name, position = %delivery.event().position, attempt, "an event that ends processes is parked");
                match delivery.park("each process that had it in hand ended without a word") {
                    Ok(()) | Err(Error::HandedOver { .. }) => continue,
                    Err(error) => return Err(error),
                }
            }
            let noted = match self.handlers.handle(&self.name, delivery.event()).await {
                Ok(()) => delivery.ack(),
                Err(error) => {
                    tracing::warn!(group = self.name, position = %delivery.event().position, attempt, %error, "a handler failed");
                    if self.backoff.allows(attempt) {
                        delivery.nack(self.backoff.pause(attempt), &error.to_string())
                    } else if self.on_failure == OnFailure::Park {
                        delivery.park(&error.to_string())
                    } else {
                        return Err(Error::handler_failed(&self.name, delivery.event(), attempt, error));
                    }
                }
            };
            match noted {
                // Whoever has the key now gets the event again.
                Ok(()) | Err(Error::HandedOver { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Group").field("name", &self.name).finish_non_exhaustive()
    }
}
