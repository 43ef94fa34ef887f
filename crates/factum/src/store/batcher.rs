//! The batcher: appends of many callers, sent to a server together.
//!
//! What arrives while a batch is under way makes the next one. So there is no timer and nothing to tune: one caller alone waits for
//! nobody, and the more callers there are, the more share a round trip and a commit. Every store behind a network uses it.
//!
//! Who is alone sends on their own task, which saves two changes of tasks. Where there were several lately, a batch lets all callers that
//! are ready come before it takes them: otherwise the first who was answered would go alone, and all others wait for that.

use std::collections::{HashSet, VecDeque};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use futures::FutureExt;
use tokio::sync::{Semaphore, oneshot, watch};

use crate::error::{Error, Result};
use crate::{Append, Receipt, RecordName, StreamId};

/// What sends a batch.
#[async_trait]
pub(crate) trait SendBatch: Send + Sync + 'static {
    /// Sends these appends in one round trip, and gives one answer for each, in their order.
    ///
    /// No two of them touch the same stream or record, and no other batch that is under way touches one of theirs. What goes wrong with
    /// one must not touch the others.
    async fn send_batch(&self, batch: Vec<Append>) -> Vec<Result<Receipt>>;

    /// Whether this append goes in a batch of its own.
    fn goes_alone(&self, append: &Append) -> bool {
        let _ = append;
        false
    }
}

/// How much goes together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchLimits {
    /// Batches under way at the same time.
    pub(crate) in_flight_max: usize,
    /// Events and records of one batch; an append that has more goes alone.
    pub(crate) events_max: usize,
    /// Data, metadata and values of one batch, in bytes; an append that has more goes alone.
    pub(crate) bytes_max: usize,
    /// Appends that wait at most; who comes then waits until there is room.
    pub(crate) queue_max: usize,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self { in_flight_max: 2, events_max: 2_000, bytes_max: 4 << 20, queue_max: 4_096 }
    }
}

/// Gathers appends and hands them on in batches.
///
/// Appends to the same stream are handed on in the order in which they came, each after the one before was answered. A caller that goes
/// away takes its append along if it was not sent yet, and is otherwise not noticed.
pub(crate) struct Batcher<S> {
    shared: Arc<Shared<S>>,
}

struct Shared<S> {
    sender: S,
    limits: BatchLimits,
    state: Mutex<State>,
    /// Room in the queue.
    room: Semaphore,
    /// How many batches are under way.
    in_flight: watch::Sender<usize>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Waiting>,
    /// What the batches under way touch.
    busy: HashSet<Touched>,
    in_flight: usize,
    /// A batch is about to be gathered.
    gathering: bool,
    /// The last batch had more than one append: there are several callers.
    crowded: bool,
    closed: bool,
}

struct Waiting {
    append: Append,
    touches: Vec<Touched>,
    size: Size,
    alone: bool,
    answer: oneshot::Sender<Result<Receipt>>,
}

/// What two appends must not touch at the same time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Touched {
    Stream(StreamId),
    Record(RecordName),
}

#[derive(Clone, Copy, Default)]
struct Size {
    events: usize,
    bytes: usize,
}

impl<S: SendBatch> Batcher<S> {
    pub(crate) fn new(sender: S, limits: BatchLimits) -> Self {
        let room = Semaphore::new(limits.queue_max);
        let shared = Shared { sender, limits, state: Mutex::default(), room, in_flight: watch::Sender::new(0) };
        Self { shared: Arc::new(shared) }
    }

    /// Hands an append on and waits for its answer.
    pub(crate) async fn append(&self, append: Append) -> Result<Receipt> {
        let append = match Shared::straight(&self.shared, append)? {
            Ok(straight) => return straight.await,
            Err(append) => append,
        };
        // The permit goes back when the append leaves the queue.
        self.shared.room.acquire().await.map_err(|_closed| closed())?.forget();
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting::new(append, &self.shared, answer);
        {
            let mut state = self.shared.state();
            if state.closed {
                return Err(closed());
            }
            state.queue.push_back(waiting);
        }
        Shared::begin(&self.shared);
        match answered.await {
            Ok(outcome) => outcome,
            // The runtime that sent the batch has ended, or the sender panicked.
            Err(_gone) => Err(stopped()),
        }
    }

    /// Takes no more appends, and returns when all that it has taken are answered.
    pub(crate) async fn close(&self) {
        self.shared.state().closed = true;
        self.shared.room.close();
        let mut in_flight = self.shared.in_flight.subscribe();
        // As long as something is in the queue a batch is under way or about to be, because the end of one begins the next.
        let drained = in_flight.wait_for(|count| *count == 0).await;
        drained.map(drop).expect("the batcher holds the sender");
    }
}

impl<S: SendBatch> Shared<S> {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    /// Begins to send an append on the task of its caller, if nobody else is there; gives it back otherwise.
    fn straight(shared: &Arc<Self>, append: Append) -> Result<std::result::Result<Straight, Append>> {
        let touches = {
            let mut state = shared.state();
            if state.closed {
                return Err(closed());
            }
            if state.crowded || state.gathering || state.in_flight > 0 || !state.queue.is_empty() {
                return Ok(Err(append));
            }
            let touches = touches(&append);
            state.busy.extend(touches.iter().cloned());
            state.in_flight = 1;
            shared.publish(&state);
            touches
        };
        let underway = Underway { shared: shared.clone(), touches };
        Ok(Ok(Straight(Some(Box::pin(underway.run_one(append))))))
    }

    /// Begins a batch, if one may begin; and then the next.
    fn begin(shared: &Arc<Self>) {
        {
            let mut state = shared.state();
            if state.gathering || state.queue.is_empty() || state.in_flight >= shared.limits.in_flight_max {
                return;
            }
            state.gathering = true;
            shared.publish(&state);
        }
        let gathering = Gathering { shared: shared.clone(), is_over: false };
        tokio::spawn(async move {
            // Those who are ready come first.
            tokio::task::yield_now().await;
            let shared = gathering.shared.clone();
            let batch = gathering.end();
            if let Some(batch) = batch {
                let touches = batch.iter().flat_map(|waiting| waiting.touches.clone()).collect();
                let underway = Underway { shared: shared.clone(), touches };
                Self::begin(&shared);
                underway.run(batch).await;
            }
        });
    }

    /// Ends the gathering: takes the next batch out of the queue, if one may begin. Both at once, so that a batch that ends, or an append that
    /// comes, either counts here or begins another gathering.
    fn next_batch(&self) -> Option<Vec<Waiting>> {
        let mut state = self.state();
        state.gathering = false;
        let batch = self.take_batch(&mut state);
        self.publish(&state);
        batch
    }

    fn take_batch(&self, state: &mut State) -> Option<Vec<Waiting>> {
        if state.in_flight >= self.limits.in_flight_max {
            return None;
        }
        let gone = state.queue.len();
        state.queue.retain(|waiting| !waiting.answer.is_closed());
        let gone = gone - state.queue.len();
        let batch = state.gather(&self.limits);
        self.room.add_permits(gone + batch.len());
        if batch.is_empty() {
            return None;
        }
        state.busy.extend(batch.iter().flat_map(|waiting| waiting.touches.iter().cloned()));
        state.crowded = batch.len() > 1 || !state.queue.is_empty();
        state.in_flight += 1;
        Some(batch)
    }

    /// Says how many batches are under way; one that is about to be gathered counts.
    fn publish(&self, state: &State) {
        self.in_flight.send_replace(state.in_flight + usize::from(state.gathering));
    }
}

impl State {
    /// The appends that can go together: each the first of those that wait for its streams, and none that waits for a batch under way.
    fn gather(&mut self, limits: &BatchLimits) -> Vec<Waiting> {
        let mut batch: Vec<Waiting> = Vec::new();
        let mut size = Size::default();
        let mut passed_over: HashSet<Touched> = HashSet::new();
        let mut index = 0;
        while let Some(waiting) = self.queue.get(index) {
            let free = waiting.touches.iter().all(|touched| !self.busy.contains(touched) && !passed_over.contains(touched));
            let together = size.plus(waiting.size);
            let fits = batch.is_empty() || (!waiting.alone && together.within(limits));
            if free && fits {
                let waiting = self.queue.remove(index).expect("it was just there");
                passed_over.extend(waiting.touches.iter().cloned());
                let is_full = waiting.alone || !together.within(limits);
                size = together;
                batch.push(waiting);
                if is_full {
                    break;
                }
                continue;
            }
            if free && !waiting.alone {
                // The batch is full.
                break;
            }
            passed_over.extend(waiting.touches.iter().cloned());
            index += 1;
        }
        batch
    }
}

/// A batch under way. Dropping it, whatever the reason, lets the next one begin.
struct Underway<S: SendBatch> {
    shared: Arc<Shared<S>>,
    touches: Vec<Touched>,
}

impl<S: SendBatch> Underway<S> {
    async fn run_one(self, append: Append) -> Result<Receipt> {
        let sent = AssertUnwindSafe(self.shared.sender.send_batch(vec![append])).catch_unwind().await;
        let outcome = sent.ok().and_then(|mut outcomes| outcomes.pop());
        outcome.unwrap_or_else(|| Err(stopped()))
    }

    async fn run(self, batch: Vec<Waiting>) {
        let (appends, answers): (Vec<_>, Vec<_>) = batch.into_iter().map(|waiting| (waiting.append, waiting.answer)).unzip();
        let outcomes = self.shared.sender.send_batch(appends).await;
        debug_assert_eq!(outcomes.len(), answers.len(), "every append is answered");
        // Whoever hears of its append and sends another must not find its stream busy with the first.
        drop(self);
        for (answer, outcome) in answers.into_iter().zip(outcomes) {
            // Whoever asked may have gone.
            let _ = answer.send(outcome);
        }
    }
}

impl<S: SendBatch> Drop for Underway<S> {
    fn drop(&mut self) {
        {
            let mut state = self.shared.state();
            state.in_flight -= 1;
            for touched in &self.touches {
                state.busy.remove(touched);
            }
        }
        // While the runtime shuts down there is nothing left to begin with.
        if tokio::runtime::Handle::try_current().is_ok() {
            Shared::begin(&self.shared);
        }
        self.shared.publish(&self.shared.state());
    }
}

/// An append that is sent on the task of its caller. If the caller goes away it is sent to its end all the same, by a task.
struct Straight(Option<Pin<Box<dyn Future<Output = Result<Receipt>> + Send>>>);

impl Future for Straight {
    type Output = Result<Receipt>;

    fn poll(mut self: Pin<&mut Self>, context: &mut std::task::Context<'_>) -> std::task::Poll<Self::Output> {
        let future = self.0.as_mut().expect("it is not asked again after it has answered");
        let outcome = std::task::ready!(future.as_mut().poll(context));
        self.0 = None;
        std::task::Poll::Ready(outcome)
    }
}

impl Drop for Straight {
    fn drop(&mut self) {
        if let (Some(future), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(future);
        }
    }
}

/// A batch that is about to be gathered. If it is dropped before it is, another may be.
struct Gathering<S: SendBatch> {
    shared: Arc<Shared<S>>,
    is_over: bool,
}

impl<S: SendBatch> Gathering<S> {
    fn end(mut self) -> Option<Vec<Waiting>> {
        self.is_over = true;
        self.shared.next_batch()
    }
}

impl<S: SendBatch> Drop for Gathering<S> {
    fn drop(&mut self) {
        if !self.is_over {
            let mut state = self.shared.state();
            state.gathering = false;
            self.shared.publish(&state);
        }
    }
}

impl Waiting {
    fn new<S: SendBatch>(append: Append, shared: &Shared<S>, answer: oneshot::Sender<Result<Receipt>>) -> Self {
        let touches = touches(&append);
        let size = Size::of(&append);
        let alone = shared.sender.goes_alone(&append);
        Self { append, touches, size, alone, answer }
    }
}

impl Size {
    fn of(append: &Append) -> Self {
        let events = append.streams.iter().flat_map(|part| &part.events).map(|event| event.data.len() + event.metadata.len());
        let records = append.records.iter().map(|write| write.value.as_ref().map_or(0, |value| value.len()));
        Self { events: append.events() + append.records.len(), bytes: events.chain(records).sum() }
    }

    fn plus(self, other: Self) -> Self {
        Self { events: self.events + other.events, bytes: self.bytes + other.bytes }
    }

    fn within(self, limits: &BatchLimits) -> bool {
        self.events <= limits.events_max && self.bytes <= limits.bytes_max
    }
}

impl<S> std::fmt::Debug for Batcher<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batcher").field("limits", &self.shared.limits).finish_non_exhaustive()
    }
}

fn touches(append: &Append) -> Vec<Touched> {
    let streams = append.streams.iter().map(|part| Touched::Stream(part.stream.clone()));
    streams.chain(append.records.iter().map(|write| Touched::Record(write.name.clone()))).collect()
}

fn stopped() -> Error {
    Error::OutcomeUnknown { reason: "sending was stopped".to_owned(), source: None }
}

fn closed() -> Error {
    Error::Unavailable { reason: "the store is closed; open it again".to_owned(), source: None }
}

#[cfg(test)]
mod tests;
