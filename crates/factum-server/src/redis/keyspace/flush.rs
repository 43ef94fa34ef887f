//! One batch after the other goes to the store, as one append each; while one is on its way the next gathers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use factum::{Error, Receipt};
use tokio::sync::oneshot;

use super::batch::{Failure, Sealed, Waiter, Written};
use super::state::State;
use super::{Keyspace, Waiting};

/// How often the log says that appends go on failing.
const SAID_AGAIN: Duration = Duration::from_secs(10);

impl Keyspace {
    /// Sends batches for ever.
    pub(super) async fn flush(self: Arc<Self>) {
        loop {
            self.sent.notified().await;
            let mut has_waited = false;
            while let Some(Sealed { append, written, is_small }) = self.next_batch() {
                let result = if append.streams.is_empty() && append.records.is_empty() {
                    Ok(None)
                } else {
                    let events: usize = append.streams.iter().map(|stream| stream.events.len()).sum();
                    self.appends.fetch_add(1, Ordering::Relaxed);
                    self.appended_events.fetch_add(events as u64, Ordering::Relaxed);
                    // Nobody came while another batch was on its way, so nobody is kept from anything while this thread waits for the disk.
                    if is_small && !has_waited {
                        self.store.append_alone(append).await.map(Some)
                    } else {
                        self.store.append(append).await.map(Some)
                    }
                };
                has_waited = true;
                self.complete(result, written);
            }
        }
    }

    fn next_batch(&self) -> Option<Sealed> {
        let mut state = self.lock();
        if state.closed.is_empty() && state.open.is_empty() && state.open.waiters.is_empty() {
            return None;
        }
        Some(state.seal())
    }

    fn complete(&self, result: factum::Result<Option<Receipt>>, written: Vec<Written>) {
        let mut state = self.lock();
        let waiters = state.sent.take().unwrap_or_default();
        state.is_settling = false;
        match result {
            Ok(receipt) => {
                if receipt.is_some() && self.is_refused.swap(false, Ordering::Relaxed) {
                    tracing::info!("the store records again what clients ask for");
                }
                state.durable = state.open_number - 1 - state.closed.len() as u64;
                if let Some(receipt) = receipt {
                    state.note_positions(&receipt);
                    state.note_versions(written, receipt.records);
                }
                state.evict(self.options.cache_bytes_max);
                drop(state);
                tell(waiters, &Ok(()));
            }
            Err(error) => {
                let failure = match error {
                    // Someone else wrote: nothing of it was recorded, and with what they wrote it can be carried out again.
                    Error::Conflict(_) | Error::RecordConflict { .. } => Failure::Overtaken,
                    error => {
                        self.note_failure(&mut state, &error);
                        Failure::Failed(Arc::new(error))
                    }
                };
                // What was carried out since builds on it.
                state.forget();
                let later = std::mem::take(&mut state.open.waiters);
                state.durable = state.open_number;
                state.open_number += 1;
                drop(state);
                tell(waiters, &Err(failure.clone()));
                tell(later, &Err(failure));
            }
        }
    }

    /// Says that an append failed: the first time, and then from time to time, because clients try again, and a full disk has no room for
    /// the log of that either.
    fn note_failure(&self, state: &mut State, error: &Error) {
        let failed = self.failed_appends.fetch_add(1, Ordering::Relaxed) + 1;
        let is_first = !self.is_refused.swap(true, Ordering::Relaxed);
        if is_first || state.failure_said.is_none_or(|said| said.elapsed() >= SAID_AGAIN) {
            state.failure_said = Some(Instant::now());
            tracing::error!(%error, failed, "what clients asked for was not recorded");
        }
    }

    /// Returns when everything that was carried out is durable, or has failed.
    pub(super) async fn settle_all(&self) -> factum::Result<()> {
        let waiting = {
            let mut state = self.lock();
            let number = if state.open.is_empty() { state.open_number - 1 } else { state.open_number };
            state.waiter(number)
        };
        let Some(waiting) = waiting else { return Ok(()) };
        self.sent.notify_one();
        match waiting.await {
            Ok(Err(Failure::Failed(error))) => Err(Error::Unavailable { reason: error.to_string(), source: None }),
            _ => Ok(()),
        }
    }

    /// Gives up what was carried out and is not on its way yet, because a bug stopped a command half-way. All who wait for it are told, and so
    /// is whoever waits for what this returns. What is known is read from the store again.
    pub(crate) fn abandon(&self, state: &mut State) -> Waiting {
        let (sender, receiver) = oneshot::channel();
        state.open.waiters.push(sender);
        self.give_up(state, &Failure::Bug);
        receiver
    }

    /// Drops what is known and was not sent, and tells those who wait for it why.
    pub(super) fn give_up(&self, state: &mut State, why: &Failure) {
        state.forget();
        state.is_settling = state.sent.is_some();
        tell(std::mem::take(&mut state.open.waiters), &Err(why.clone()));
    }

    /// Has the open batch sent as soon as the one before it is durable.
    pub(crate) fn send(&self) {
        self.sent.notify_one();
    }
}

impl State {
    /// Waits for a batch; `None` if it is durable.
    pub(crate) fn waiter(&mut self, number: u64) -> Option<Waiting> {
        if number <= self.durable {
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        let before_open = usize::try_from(self.open_number.saturating_sub(number)).unwrap_or(usize::MAX);
        let waiters = match (&mut self.sent, self.closed.len().checked_sub(before_open)) {
            (_, Some(place)) if before_open > 0 => &mut self.closed[place].waiters,
            (Some(waiters), _) if before_open > 0 => waiters,
            _ => &mut self.open.waiters,
        };
        waiters.push(sender);
        Some(receiver)
    }
}

fn tell(waiters: Vec<Waiter>, outcome: &Result<(), Failure>) {
    for waiter in waiters {
        // Whoever waited may have gone.
        let _ = waiter.send(outcome.clone());
    }
}
