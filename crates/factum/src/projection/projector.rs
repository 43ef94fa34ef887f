//! Running a projection: read a batch, change the rows and the position together, and see to what fails.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::Instrument;

use super::Projection;
use super::batch::Batch;
use super::target::{Build, Claim, Target};
use crate::error::{Error, Result, Source};
use crate::subscription::processor::{STORE, report_lag};
use crate::subscription::registry::{self, Kind};
use crate::subscription::{Backoff, OnFailure, ParkedEvent};
use crate::telemetry;
use crate::{GlobalPosition, RecordedEvent, SharedStore, Subscription, SubscriptionOptions};

/// Runs one projection into one target.
pub struct Projector<P, T> {
    pub(super) store: SharedStore,
    pub(super) target: T,
    pub(super) projection: Arc<P>,
    pub(super) version: Option<u32>,
    pub(super) batch_events_max: usize,
    backoff: Backoff,
    on_failure: OnFailure,
    poll_interval: Duration,
    is_listed: bool,
}

impl<P, T: Clone> Clone for Projector<P, T> {
    fn clone(&self) -> Self {
        Self { store: self.store.clone(), target: self.target.clone(), projection: self.projection.clone(), ..*self }
    }
}

/// A build that is ours to change.
pub(super) struct Running {
    pub(super) build: Build,
    pub(super) claim: Claim,
    looked_for_replays: Option<Instant>,
}

/// Why a batch could not be applied.
enum Trouble {
    /// The projection says so.
    Projection(Source),
    Store(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

impl Trouble {
    /// What a projection gave back. A store, or rows, that can't be reached at the moment say nothing against the event: it is not parked for that.
    fn of_projection(error: Source) -> Self {
        match error.downcast::<Error>() {
            Ok(error) if error.is_retryable() => Self::Store(*error),
            Ok(error) => Self::Projection(error),
            Err(error) => Self::Projection(error),
        }
    }
}

impl<P, T> Projector<P, T>
where
    T: Target,
    P: Projection<T::Rows>,
{
    /// Runs `projection` over the events of `store` into `target`.
    pub fn new(store: SharedStore, target: T, projection: P) -> Self {
        Self {
            store,
            target,
            projection: Arc::new(projection),
            version: None,
            batch_events_max: 2_000,
            backoff: Backoff::default(),
            on_failure: OnFailure::default(),
            poll_interval: Duration::from_secs(1),
            is_listed: true,
        }
    }

    /// Fills the rows of this version, also where readers see another one. Without it, it goes on with the version that readers see.
    #[must_use]
    pub fn version(mut self, version: u32) -> Self {
        self.version = Some(version);
        self
    }

    /// How many events are applied in one transaction, at most. 2,000 unless said otherwise; fewer where they hold more than 8 MB.
    #[must_use]
    pub fn batch_events_max(mut self, events: usize) -> Self {
        self.batch_events_max = events.max(1);
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

    /// Leaves no trace in the store's list of projections.
    pub(super) fn unlisted(mut self) -> Self {
        self.is_listed = false;
        self
    }

    /// Applies what there is and what comes, until `stop` is ready. Dropping it instead loses nothing and does nothing twice.
    ///
    /// # Errors
    /// [`Error::HandlerFailed`] if an event fails every time and is not to be parked; [`Error::Fenced`] if another one runs this projection
    /// now; and what the store and the target say.
    pub async fn run_until(&self, stop: impl Future) -> Result<()> {
        let run = self.live();
        tokio::select! {
            biased;
            _ = stop => Ok(()),
            ended = run => ended,
        }
    }

    /// Applies everything that is there now, and returns.
    ///
    /// # Errors
    /// As [`Projector::run_until`].
    pub async fn run_to_end(&self) -> Result<()> {
        self.fill(false).await
    }

    /// Fills the rows of one version: with what there is, and, live, with what comes.
    pub(super) async fn fill(&self, live: bool) -> Result<()> {
        let mut running = self.claim().await?;
        let mut failures = 0;
        let options =
            SubscriptionOptions { after: running.claim.position, query: self.projection.query(), poll_interval: self.poll_interval };
        let mut subscription = Subscription::new(self.store.clone(), options);
        let mut batch = Batch::default();
        let mut ahead = None;
        loop {
            if let Err(error) = self.replay(&mut running).await {
                self.outlast(error, &mut failures, live).await?;
            }
            let read = match ahead.take() {
                Some(read) => read,
                None => batch.read(&mut subscription, self.batch_events_max).await,
            };
            let is_end;
            match read {
                Ok(end) => (is_end, failures) = (end, 0),
                Err(error) => {
                    self.outlast(error, &mut failures, live).await?;
                    continue;
                }
            }
            let to = subscription.position();
            if !batch.events.is_empty() || to > running.claim.position {
                if is_end {
                    self.apply_live(&mut running, &batch.events, to, live).await?;
                    batch = Batch::default();
                } else {
                    // While a full batch is written, the next one is read.
                    let mut next = Batch::with_room(batch.events.len());
                    let reading = next.read(&mut subscription, self.batch_events_max);
                    let (applied, read) = tokio::join!(self.apply_live(&mut running, &batch.events, to, live), reading);
                    applied?;
                    (batch, ahead) = (next, Some(read));
                }
                report_lag(&*self.store, self.projection.name(), to).await;
            }
            if is_end && !live {
                return Ok(());
            }
            if is_end {
                let woken = tokio::time::timeout(self.poll_interval, self.store.wait_after(to)).await;
                // A wake-up is a hint, also where it is an error: the next read says what is wrong.
                if let Ok(Err(error)) = woken {
                    tracing::debug!(%error, "waiting for events failed");
                    tokio::time::sleep(STORE.pause(1)).await;
                }
            }
        }
    }

    /// Applies a batch, however long the rows can't be reached while it is live.
    async fn apply_live(&self, running: &mut Running, batch: &[RecordedEvent], to: GlobalPosition, live: bool) -> Result<()> {
        let mut failures = 0;
        loop {
            // Of a batch that was applied one by one, a part may be in the rows.
            let done = batch.partition_point(|event| event.position <= running.claim.position);
            match self.apply(running, &batch[done..], to).await {
                Ok(()) => return Ok(()),
                Err(error) => self.outlast(error, &mut failures, live).await?,
            }
        }
    }

    /// Rests because the store or the rows can't be reached, which is waited for while it is live.
    async fn outlast(&self, error: Error, failures: &mut u32, live: bool) -> Result<()> {
        if !live || !error.is_retryable() {
            return Err(error);
        }
        *failures += 1;
        tracing::warn!(projection = self.projection.name(), %error, "the store or the rows can't be reached; trying again");
        tokio::time::sleep(STORE.pause(*failures)).await;
        Ok(())
    }

    /// Takes the build over, making room for its rows if there are none.
    pub(super) async fn claim(&self) -> Result<Running> {
        let name = self.projection.name().to_owned();
        if self.is_listed {
            registry::register(&self.store, Kind::Projection, &name).await?;
        }
        let version = match self.version {
            Some(version) => version,
            None => self.target.live_version(&name).await?.unwrap_or(1),
        };
        let build = Build { name, version, tables: self.projection.tables().iter().map(|table| (*table).to_owned()).collect() };
        let (mut rows, claim) = self.target.claim(&build).await?;
        if claim.is_new {
            let name = &build.name;
            self.projection.create(&mut rows).await.map_err(|error| Error::Unavailable {
                reason: format!("projection {name} can't make room for its rows: {error}; repair it and start it again"),
                source: Some(error),
            })?;
        }
        self.target.keep(rows).await?;
        Ok(Running { build, claim, looked_for_replays: None })
    }

    /// Applies events and moves the position to `to`; one by one where they fail together.
    pub(super) async fn apply(&self, running: &mut Running, events: &[RecordedEvent], to: GlobalPosition) -> Result<()> {
        match self.try_and_tell(running, events, to).await? {
            Ok(()) => return Ok(()),
            Err(error) if events.len() == 1 => self.apply_one(running, &events[0], to, Some(error)).await?,
            Err(_) => {
                for event in events {
                    self.apply_one(running, event, event.position, None).await?;
                }
            }
        }
        // What lies between the last event and the end of the read matches nothing.
        match self.try_together(running, &[], to).await? {
            Ok(()) => Ok(()),
            Err(error) => Err(Error::Unavailable { reason: format!("nothing could not be applied: {error}"), source: Some(error) }),
        }
    }

    /// Applies one event, again and again if it fails, and sees to it if it always does.
    async fn apply_one(&self, running: &mut Running, event: &RecordedEvent, to: GlobalPosition, failed: Option<Source>) -> Result<()> {
        let name = self.projection.name();
        let mut failures = 0;
        let mut last = failed;
        loop {
            let outcome = match last.take() {
                Some(error) => Err(error),
                None => self.try_and_tell(running, std::slice::from_ref(event), to).await?,
            };
            let Err(error) = outcome else { return Ok(()) };
            failures += 1;
            tracing::warn!(projection = name, position = %event.position, attempt = failures, %error, "an event could not be applied");
            report_lag(&*self.store, name, running.claim.position).await;
            if self.backoff.allows(failures) {
                tokio::time::sleep(self.backoff.pause(failures)).await;
                continue;
            }
            match self.on_failure {
                OnFailure::Stop => return Err(Error::handler_failed(name, event, failures, error)),
                OnFailure::Park => {
                    let parked = ParkedEvent::new(event, failures, &error.to_string());
                    if let Some(mut rows) = self.target.begin(&running.build, running.claim, to).await? {
                        self.target.park(&running.build, &mut rows, &parked).await?;
                        self.target.keep(rows).await?;
                    }
                    running.claim.position = to;
                    telemetry::parked(name);
                    return Ok(());
                }
            }
        }
    }

    /// Applies events in one transaction, and says how long that took.
    async fn try_and_tell(&self, running: &mut Running, events: &[RecordedEvent], to: GlobalPosition) -> Result<Result<(), Source>> {
        if events.is_empty() {
            return self.try_together(running, events, to).await;
        }
        let (reader, outcome) = (self.projection.name(), tracing::field::Empty);
        let span = tracing::debug_span!("project", reader, events = events.len(), position = %to, outcome);
        let begun = Instant::now();
        let outcome = self.try_together(running, events, to).instrument(span.clone()).await?;
        let handled = if outcome.is_ok() { telemetry::Handled::Done } else { telemetry::Handled::Failed };
        span.record("outcome", handled.said());
        telemetry::handled(reader, handled, begun.elapsed());
        Ok(outcome)
    }

    /// Applies events in one transaction. The outer error ends the run, the inner one is the projection's. What the target can't do now is
    /// tried again; an outcome that nobody knows is found out by beginning again, because the rows say where they are.
    async fn try_together(&self, running: &mut Running, events: &[RecordedEvent], to: GlobalPosition) -> Result<Result<(), Source>> {
        if to <= running.claim.position {
            return Ok(Ok(()));
        }
        let mut failures = 0;
        loop {
            match self.transact(running, events, to).await {
                Ok(()) => {
                    running.claim.position = to;
                    return Ok(Ok(()));
                }
                Err(Trouble::Projection(error)) => return Ok(Err(error)),
                Err(Trouble::Store(error)) if error.is_retryable() && STORE.allows(failures + 1) => {
                    failures += 1;
                    tracing::warn!(projection = self.projection.name(), %error, "the rows can't be reached; trying again");
                    tokio::time::sleep(STORE.pause(failures)).await;
                }
                Err(Trouble::Store(error)) => return Err(error),
            }
        }
    }

    async fn transact(&self, running: &Running, events: &[RecordedEvent], to: GlobalPosition) -> Result<(), Trouble> {
        let Some(mut rows) = self.target.begin(&running.build, running.claim, to).await? else { return Ok(()) };
        self.projection.apply_all(events, &mut rows).await.map_err(Trouble::of_projection)?;
        Ok(self.target.keep(rows).await?)
    }

    /// Applies again what somebody asked for.
    async fn replay(&self, running: &mut Running) -> Result<()> {
        if running.looked_for_replays.is_some_and(|looked| looked.elapsed() < REPLAY_INTERVAL) {
            return Ok(());
        }
        running.looked_for_replays = Some(Instant::now());
        let Running { build, claim, .. } = &*running;
        for parked in self.target.parked(build).await?.into_iter().filter(|parked| parked.replay) {
            let event = parked.event(&*self.store).await?;
            // The same position: only the claim is checked.
            let Some(mut rows) = self.target.begin(build, *claim, claim.position).await? else { continue };
            self.target.unpark(build, &mut rows, parked.position).await?;
            let applied = match &event {
                Some(event) => self.projection.apply(event, &mut rows).await,
                None => Ok(()),
            };
            match applied {
                Ok(()) => self.target.keep(rows).await?,
                Err(error) => {
                    tracing::warn!(projection = build.name, position = %parked.position, %error, "a parked event fails again");
                    drop(rows);
                    self.target.ask_for_replay(build, Some(parked.position), false).await?;
                }
            }
        }
        Ok(())
    }

    /// Waits until the rows that readers see hold everything up to `position`, such as a receipt's
    /// [`last_position`](crate::Receipt::last_position): then who wrote it reads it.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if that takes longer than `timeout`; and what the target says.
    pub async fn wait_for(&self, position: GlobalPosition, timeout: Duration) -> Result<()> {
        let begun = Instant::now();
        let mut pause = Duration::from_millis(1);
        loop {
            let at = self.target.position(self.projection.name()).await?;
            if at >= position {
                return Ok(());
            }
            if begun.elapsed() >= timeout {
                let name = self.projection.name();
                return Err(Error::Unavailable {
                    reason: format!("projection {name} is at position {at} after {timeout:?}, not yet at {position}; does it run?"),
                    source: None,
                });
            }
            tokio::time::sleep(pause.min(timeout.saturating_sub(begun.elapsed()))).await;
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }
}

/// How often a projector looks whether a new version is asked for.
pub(super) const ASK_INTERVAL: Duration = Duration::from_secs(1);

/// How often a projector looks whether a parked event is to be applied again.
const REPLAY_INTERVAL: Duration = Duration::from_secs(1);

impl<P, T> std::fmt::Debug for Projector<P, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Projector").field("version", &self.version).finish_non_exhaustive()
    }
}
