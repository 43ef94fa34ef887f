//! A processor: a subscription that runs your handlers, remembers how far it came, tries again, and puts aside what it can't handle.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::backoff::Backoff;
use super::handlers::{Handled, Handlers};
use super::parked::{Keep, Parked, ParkedEvent};
use super::registry::{self, Kind};
use super::start::StartFrom;
use super::{Checkpoints, Fence, Subscription, SubscriptionOptions};
use crate::error::{Error, Result};
use crate::{EventStore, EventType, GlobalPosition, Query, RecordedEvent, SharedStore, telemetry};

/// When a processor writes down how far it came. What it handled since is handled again after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckpointPolicy {
    /// After each event.
    EachEvent,
    /// After so many events, and after so long, whichever comes first.
    Every {
        /// So many events.
        events: u64,
        /// So long.
        time: Duration,
    },
}

impl Default for CheckpointPolicy {
    fn default() -> Self {
        Self::Every { events: 100, time: Duration::from_secs(1) }
    }
}

/// What becomes of an event that fails every time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// The reader stops in front of it, with an error.
    #[default]
    Stop,
    /// It is put aside, to be looked at and replayed, and the reader goes on.
    Park,
}

/// How far a processor is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The last position handled.
    pub position: GlobalPosition,
    /// The last position of the store, when it was last looked at. At the position, the processor has caught up.
    pub head: GlobalPosition,
    /// Events handled since it was started.
    pub handled: u64,
    /// Attempts that failed since it was started.
    pub failed_attempts: u64,
    /// Events put aside since it was started.
    pub parked: u64,
    /// When the event in hand, or the last one, was recorded: with a position before the head, how old the news is.
    pub recorded_at: Option<Timestamp>,
}

/// Reads [`Progress`] while the processor runs.
#[derive(Clone, Debug, Default)]
pub struct ProgressReader(Arc<Mutex<Progress>>);

impl ProgressReader {
    /// How far it is now.
    pub fn now(&self) -> Progress {
        *self.0.lock().expect("no holder of this lock panics")
    }

    fn change(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.0.lock().expect("no holder of this lock panics"));
    }
}

/// A named subscription with handlers. It is begun with [`Processor::run_until`].
///
/// One event is handled at a time, in the order of the log, so a slow handler holds back its own processor and nobody else. Each event is
/// handled at least once; after a crash those since the last checkpoint come again. Of two processors of one name the later one
/// goes on and the earlier one ends with [`Error::Fenced`].
///
/// ```
/// # use factum::{connect, EventStoreExt, ExpectedVersion, NewEvent, Processor, StreamId};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> factum::Result<()> {
/// # let store = connect("memory:").await?;
/// # store.append_to(&StreamId::new("Order-1")?, ExpectedVersion::Any, vec![NewEvent::json("OrderPlaced", &1)?]).await?;
/// let mut letters = Processor::new(store, "letters").on("OrderPlaced", |event| async move {
///     println!("thank you for {}", event.stream);
///     Ok(())
/// })?;
/// letters.run_to_end().await?; // or run_until(tokio::signal::ctrl_c())
/// # assert_eq!(letters.progress().now().handled, 1);
/// # Ok(())
/// # }
/// ```
pub struct Processor {
    store: SharedStore,
    name: String,
    query: Option<Query>,
    from: StartFrom,
    handlers: Handlers,
    checkpoints: CheckpointPolicy,
    backoff: Backoff,
    on_failure: OnFailure,
    poll_interval: Duration,
    progress: ProgressReader,
}

/// Why waiting ended.
#[expect(clippy::large_enum_variant, reason = "it is taken apart at once; a box would cost an allocation for each event")]
enum Next {
    Event(RecordedEvent),
    /// Nothing that matches, up to the position where the subscription is.
    CaughtUp,
    Stop,
}

/// What running needs besides.
struct Run {
    subscription: Subscription,
    fence: Fence,
    parked: Parked,
    /// The checkpoint as it is written, and when that was.
    written: GlobalPosition,
    written_at: Instant,
    events_since: u64,
    looked_for_replays: Option<Instant>,
}

impl Processor {
    /// A processor that follows every event, from the beginning, with no handler yet.
    pub fn new(store: SharedStore, name: impl Into<String>) -> Self {
        Self {
            store,
            name: name.into(),
            query: None,
            from: StartFrom::default(),
            handlers: Handlers::default(),
            checkpoints: CheckpointPolicy::default(),
            backoff: Backoff::default(),
            on_failure: OnFailure::default(),
            poll_interval: Duration::from_secs(1),
            progress: ProgressReader::default(),
        }
    }

    /// Follows only what matches `query`. Without one it follows the types that it has handlers for.
    #[must_use]
    pub fn query(mut self, query: Query) -> Self {
        self.query = Some(query);
        self
    }

    /// Begins there, the first time.
    #[must_use]
    pub fn from(mut self, from: StartFrom) -> Self {
        self.from = from;
        self
    }

    /// Handles the events of one type.
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

    /// When it writes its checkpoint.
    #[must_use]
    pub fn checkpoint(mut self, policy: CheckpointPolicy) -> Self {
        self.checkpoints = policy;
        self
    }

    /// How often an event is tried.
    #[must_use]
    pub fn retry(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// What becomes of an event that fails every time.
    #[must_use]
    pub fn on_failure(mut self, on_failure: OnFailure) -> Self {
        self.on_failure = on_failure;
        self
    }

    /// How long to wait at most before looking again without a wake-up.
    #[must_use]
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = interval;
        self
    }

    /// Reads how far it is, also while it runs.
    pub fn progress(&self) -> ProgressReader {
        self.progress.clone()
    }

    /// Handles what there is and what comes, until `stop` is ready. The event in hand is finished, and the checkpoint written.
    ///
    /// A store that is unavailable is waited for. Dropping this future instead loses nothing: events since the last checkpoint come again.
    ///
    /// # Errors
    /// [`Error::HandlerFailed`] if an event fails every time and is not to be parked; [`Error::Fenced`] if another processor of this name
    /// was started; and what the store says.
    pub async fn run_until(&mut self, stop: impl Future) -> Result<()> {
        let stop = std::pin::pin!(stop);
        self.run(stop, true).await
    }

    /// Handles everything that is there now, and returns.
    ///
    /// # Errors
    /// As [`Processor::run_until`].
    pub async fn run_to_end(&mut self) -> Result<()> {
        self.run(std::pin::pin!(std::future::pending::<()>()), false).await
    }

    async fn run<S: Future>(&mut self, mut stop: std::pin::Pin<&mut S>, live: bool) -> Result<()> {
        let mut run = self.begin().await?;
        loop {
            match self.replay(&mut run).await {
                Ok(()) => {}
                Err(error) if live && error.is_retryable() => {
                    tracing::warn!(subscription = self.name, %error, "whether parked events are to be replayed is not known now");
                }
                Err(error) => return Err(error),
            }
            match self.next(&mut run, stop.as_mut(), live).await? {
                Next::Event(event) => {
                    if !self.handle(&mut run, &event, stop.as_mut(), live).await? {
                        return self.write(&mut run).await;
                    }
                }
                Next::CaughtUp if live => {}
                Next::CaughtUp | Next::Stop => return self.write(&mut run).await,
            }
        }
    }

    async fn begin(&self) -> Result<Run> {
        registry::register(&self.store, Kind::Subscription, &self.name).await?;
        let checkpoints = Checkpoints::new(self.store.clone());
        let from = match checkpoints.get(&self.name).await? {
            Some(_) => GlobalPosition::START,
            None => self.from.resolve(&*self.store).await?,
        };
        let checkpoint = checkpoints.take_from(&self.name, from).await?;
        let query = self.query.clone().unwrap_or_else(|| self.handlers.types().map_or_else(Query::all, Query::types));
        let options = SubscriptionOptions { after: checkpoint.position, query, poll_interval: self.poll_interval };
        self.progress.change(|progress| *progress = Progress { position: checkpoint.position, ..Progress::default() });
        Ok(Run {
            subscription: Subscription::new(self.store.clone(), options),
            fence: checkpoint.fence,
            parked: Parked::new(&self.store, &self.name)?,
            written: checkpoint.position,
            written_at: Instant::now(),
            events_since: 0,
            looked_for_replays: None,
        })
    }

    /// The next event, or why there is none. While it waits it writes the checkpoint that is due.
    async fn next<S: Future>(&self, run: &mut Run, mut stop: std::pin::Pin<&mut S>, live: bool) -> Result<Next> {
        let mut failures = 0;
        loop {
            let found = tokio::select! {
                biased;
                _ = stop.as_mut() => return Ok(Next::Stop),
                found = run.subscription.next_recorded() => found,
            };
            match found {
                Ok(Some(event)) => return Ok(Next::Event(event)),
                Ok(None) => {}
                // A server that restarts is waited for.
                Err(error) if error.is_retryable() && live => {
                    failures += 1;
                    tracing::warn!(subscription = self.name, %error, "reading failed; trying again");
                    tokio::select! {
                        _ = stop.as_mut() => return Ok(Next::Stop),
                        () = tokio::time::sleep(STORE.pause(failures)) => continue,
                    }
                }
                Err(error) => return Err(error),
            }
            let position = run.subscription.position();
            self.progress.change(|progress| (progress.position, progress.head) = (position, position));
            if !live {
                return Ok(Next::CaughtUp);
            }
            let until_due = if position > run.written { self.time().saturating_sub(run.written_at.elapsed()) } else { self.poll_interval };
            if until_due.is_zero() {
                match self.write_due(run, stop.as_mut(), live).await? {
                    true => continue,
                    false => return Ok(Next::Stop),
                }
            }
            tokio::select! {
                biased;
                _ = stop.as_mut() => return Ok(Next::Stop),
                woken = self.store.wait_after(position) => woken.or_else(|error| if error.is_retryable() { Ok(()) } else { Err(error) })?,
                () = tokio::time::sleep(until_due.min(self.poll_interval)) => return Ok(Next::CaughtUp),
            }
        }
    }

    /// Handles one event until it is done; `false` if it was asked to stop before that.
    async fn handle<S: Future>(&self, run: &mut Run, event: &RecordedEvent, mut stop: std::pin::Pin<&mut S>, live: bool) -> Result<bool> {
        self.progress.change(|progress| {
            progress.recorded_at = Some(event.recorded_at);
            progress.head = run.subscription.head();
        });
        let mut failures = 0;
        while let Err(error) = self.handlers.handle(&self.name, event).await {
            failures += 1;
            self.progress.change(|progress| progress.failed_attempts += 1);
            tracing::warn!(subscription = self.name, position = %event.position, attempt = failures, %error, "a handler failed");
            report_lag(&*self.store, &self.name, self.progress.now().position).await;
            if self.backoff.allows(failures) {
                tokio::select! {
                    biased;
                    _ = stop.as_mut() => return Ok(false),
                    () = tokio::time::sleep(self.backoff.pause(failures)) => continue,
                }
            }
            match self.on_failure {
                OnFailure::Stop => {
                    self.write(run).await?;
                    return Err(Error::handler_failed(&self.name, event, failures, error));
                }
                OnFailure::Park => {
                    let parked = ParkedEvent::new(event, failures, &error.to_string());
                    if !self.park(&run.parked, &parked).await? {
                        self.write(run).await?;
                        return Err(run.parked.full());
                    }
                    self.progress.change(|progress| progress.parked += 1);
                    telemetry::parked(&self.name);
                    break;
                }
            }
        }
        run.events_since += 1;
        self.progress.change(|progress| (progress.position, progress.handled) = (event.position, progress.handled + 1));
        let due = match self.checkpoints {
            CheckpointPolicy::EachEvent => true,
            CheckpointPolicy::Every { events, time } => run.events_since >= events || run.written_at.elapsed() >= time,
        };
        if due { self.write_due(run, stop, live).await } else { Ok(true) }
    }

    /// Puts an event aside; `false` if there are too many already.
    async fn park(&self, aside: &Parked, event: &ParkedEvent) -> Result<bool> {
        let mut failures = 0;
        loop {
            match aside.add(event).await {
                Err(error) if error.is_retryable() && STORE.allows(failures + 1) => {
                    failures += 1;
                    tokio::time::sleep(STORE.pause(failures)).await;
                }
                outcome => return outcome,
            }
        }
    }

    /// Writes the checkpoint. While it is live, a store that can't be reached is waited for; one that can be read, and not written for long, needs
    /// somebody. `false` if it was asked to stop meanwhile.
    async fn write_due<S: Future>(&self, run: &mut Run, mut stop: std::pin::Pin<&mut S>, live: bool) -> Result<bool> {
        let mut failures = 0;
        let mut is_reachable = false;
        loop {
            match self.write(run).await {
                Ok(()) => return Ok(true),
                Err(error) if live && error.is_retryable() && !is_reachable => {
                    failures += 1;
                    tracing::warn!(subscription = self.name, %error, "the checkpoint can't be written; trying again");
                    is_reachable = self.store.head().await.is_ok();
                }
                Err(error) => return Err(error),
            }
            tokio::select! {
                biased;
                _ = stop.as_mut() => return Ok(false),
                () = tokio::time::sleep(STORE.pause(failures)) => {}
            }
        }
    }

    /// Writes the checkpoint, if it moved. Where the processor is does not depend on the subscription, which may be an event ahead.
    async fn write(&self, run: &mut Run) -> Result<()> {
        let position = self.progress.now().position;
        if position > run.written {
            let checkpoints = Checkpoints::new(self.store.clone());
            let mut failures = 0;
            while let Err(error) = checkpoints.advance(&self.name, run.fence, position).await {
                failures += 1;
                if !error.is_retryable() || !STORE.allows(failures) {
                    return Err(error);
                }
                tokio::time::sleep(STORE.pause(failures)).await;
            }
            run.written = position;
        }
        report_lag(&*self.store, &self.name, position).await;
        (run.written_at, run.events_since) = (Instant::now(), 0);
        Ok(())
    }

    /// Handles again what somebody asked for.
    async fn replay(&self, run: &mut Run) -> Result<()> {
        if run.looked_for_replays.is_some_and(|looked| looked.elapsed() < REPLAY_INTERVAL) {
            return Ok(());
        }
        run.looked_for_replays = Some(Instant::now());
        for parked in run.parked.list().await?.into_iter().filter(|parked| parked.replay) {
            let outcome = match parked.event(&*self.store).await? {
                Some(event) => self.handlers.handle(&self.name, &event).await,
                None => Ok(()),
            };
            let keep = |entry: &mut ParkedEvent| match &outcome {
                Ok(()) => Keep::No,
                Err(error) => {
                    *entry = ParkedEvent { replay: false, attempts: parked.attempts + 1, reason: error.to_string(), ..parked.clone() };
                    Keep::Yes
                }
            };
            run.parked.change(parked.position, keep).await?;
        }
        Ok(())
    }

    /// How long a checkpoint may lag behind where nothing but foreign events comes.
    fn time(&self) -> Duration {
        match self.checkpoints {
            CheckpointPolicy::EachEvent => Duration::from_secs(1),
            CheckpointPolicy::Every { time, .. } => time,
        }
    }
}

/// Says how far a reader is behind the end of the log: in events, where positions have no gaps.
pub(crate) async fn report_lag(store: &dyn EventStore, reader: &str, position: GlobalPosition) {
    if telemetry::IS_ON
        && let Ok(head) = store.head().await
    {
        telemetry::lag(reader, head.number().saturating_sub(position.number()));
    }
}

/// How often a processor looks whether a parked event is to be handled again.
const REPLAY_INTERVAL: Duration = Duration::from_secs(1);

/// How a store that is unavailable is tried again.
pub(crate) const STORE: Backoff = Backoff { attempts_max: 12, first: Duration::from_millis(20), longest: Duration::from_secs(5) };

impl std::fmt::Debug for Processor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Processor").field("name", &self.name).finish_non_exhaustive()
    }
}
