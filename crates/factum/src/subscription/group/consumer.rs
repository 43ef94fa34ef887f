//! A consumer: one process's place in a group, from which events are taken in hand, acknowledged, put back or parked.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::hand::Hand;
use super::keeper::Keeper;
use super::lane::{Awaited, Care, Lane, Taken, Then};
use super::reader;
use super::shared::{Handle, Place, Shared, State};
use crate::error::{Error, Result};
use crate::{RecordedEvent, telemetry};

/// A place in a group. Clones share it: give one to each task that handles events.
///
/// The clones of one consumer read the log once, for all of them. Dropping the last one leaves the group as a crash does: the others
/// take over what it had when the lease is over. [`Consumer::stop`] hands it over at once.
pub struct Consumer {
    shared: Handle,
    hand: Arc<Hand>,
    tasks: Arc<Tasks>,
}

impl Clone for Consumer {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), hand: Hand::new(self.shared.clone()), tasks: self.tasks.clone() }
    }
}

/// The background tasks, which end with the last handle.
struct Tasks {
    keeper: Mutex<Option<tokio::task::JoinHandle<()>>>,
    readers: Mutex<JoinSet<()>>,
}

impl Drop for Tasks {
    fn drop(&mut self) {
        if let Ok(Some(keeper)) = self.keeper.get_mut().map(Option::take) {
            keeper.abort();
        }
    }
}

impl Consumer {
    pub(super) fn start(shared: Shared) -> Self {
        let shared = Arc::new(shared);
        let keeper = tokio::spawn(Keeper::new(shared.clone()).run());
        let mut readers = JoinSet::new();
        readers.spawn(reader::read(shared.clone()));
        readers.spawn(reader::load(shared.clone()));
        Self {
            hand: Hand::new(shared.clone()),
            shared,
            tasks: Arc::new(Tasks { keeper: Mutex::new(Some(keeper)), readers: Mutex::new(readers) }),
        }
    }

    /// The next event; waits until there is one. `None` once the consumer is stopped. Cancelling it loses nothing.
    ///
    /// Of one key there is never more than one event in hand, in the whole group.
    ///
    /// # Errors
    /// What the store says, if that will not pass by itself.
    pub async fn next(&self) -> Result<Option<Delivery>> {
        loop {
            // Whoever always finds something lets the others run, too: the reader, and the keeper of the lease.
            tokio::task::coop::consume_budget().await;
            let delivery = match self.next_ready() {
                Some(delivery) => delivery,
                None => match self.shared.wait_for_ready(|state| self.look(state)).await.transpose()? {
                    Some(Some(delivery)) => delivery,
                    Some(None) => return Ok(None),
                    None => continue,
                },
            };
            if delivery.care == Care::None || delivery.begin().await {
                return Ok(Some(delivery));
            }
        }
    }

    /// What [`Consumer::next`] says now, unless it has to wait.
    fn look(&self, state: &mut State) -> Option<Result<Option<Delivery>>> {
        if let Some(taken) = self.hand.take(state) {
            return Some(Ok(Some(self.deliver(taken))));
        }
        if let Some(error) = state.failed.take() {
            state.failed = Some(Error::Unavailable { reason: format!("the consumer has ended: {error}"), source: None });
            return Some(Err(error));
        }
        state.stopping.then_some(Ok(None))
    }

    /// The next event that can be handed out now. It does not wait to have it written that the event is in hand, as [`Consumer::next`] does
    /// after a process has died.
    pub fn next_ready(&self) -> Option<Delivery> {
        let taken = self.hand.next().or_else(|| self.hand.take(&mut self.shared.state()))?;
        Some(self.deliver(taken))
    }

    fn deliver(&self, (place, Taken { event, attempts, care }, losses): (Place, Taken, u64)) -> Delivery {
        Delivery { hand: self.hand.clone(), place, event: Some(event), attempt: attempts + 1, care, losses }
    }

    /// How many events are in hand, wait in memory, and are parked in this consumer's lanes.
    pub fn load(&self) -> Load {
        let mut state = self.shared.state();
        let ahead = self.shared.note_all(&mut state);
        let position = state.lanes.values().map(|lane| lane.read).min();
        Load {
            lanes: state.lanes.len(),
            in_hand: state.in_hand() - ahead,
            queued: state.queued() + ahead,
            parked: state.lanes.values().map(Lane::parked).sum(),
            position: position.unwrap_or_default(),
            head: state.head,
        }
    }

    /// Leaves the group in order: hands nothing out any more, waits for what is in hand, writes what is acknowledged, and gives its
    /// lanes back, so that others go on at once.
    ///
    /// # Errors
    /// What the store says.
    pub async fn stop(&self) -> Result<()> {
        {
            let mut state = self.shared.state();
            state.stopping = true;
            self.shared.gather(&mut state);
        }
        self.tasks.readers.lock().expect("no holder of this lock panics").abort_all();
        self.shared.wake_all();
        let keeper = self.tasks.keeper.lock().expect("no holder of this lock panics").take();
        if let Some(keeper) = keeper {
            // It only ends with the end; a panic in it is a bug that is not hidden here.
            keeper.await.map_err(|error| Error::Unavailable { reason: format!("the consumer ended: {error}"), source: None })?;
        }
        match self.shared.state().failed.take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

/// What a consumer has to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// The lanes that it has.
    pub lanes: usize,
    /// Events in hand.
    pub in_hand: usize,
    /// Events that wait in memory.
    pub queued: usize,
    /// Events parked in its lanes.
    pub parked: usize,
    /// How far it has read.
    pub position: crate::GlobalPosition,
    /// The last position of the store, when it was last looked at.
    pub head: crate::GlobalPosition,
}

/// An event in hand. Until it is acknowledged, no later event of its key is handed out, here or elsewhere.
///
/// Dropping it puts it back.
pub struct Delivery {
    hand: Arc<Hand>,
    place: Place,
    event: Option<RecordedEvent>,
    attempt: u32,
    care: Care,
    /// How many lanes had been lost when it was handed out.
    losses: u64,
}

impl Delivery {
    /// The event.
    pub fn event(&self) -> &RecordedEvent {
        self.event.as_ref().expect("it is taken out only by what ends the delivery")
    }

    /// Its key, whose events come in order.
    pub fn key(&self) -> &str {
        &self.place.key
    }

    /// Which attempt this is, from 1. The attempts before were negatively acknowledged, or the process that had the event in hand ended
    /// without a word, as far as that is known.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Whether a process has ended without a word while it had this event in hand, perhaps because of it. Such events are handed out one
    /// after the other.
    pub fn is_suspect(&self) -> bool {
        self.care == Care::Alone
    }

    /// Has it written that it is in hand; `false` if its key belongs to somebody else.
    async fn begin(&self) -> bool {
        let mut awaited: Option<Awaited> = None;
        self.hand.shared.change(&self.place, |lane| {
            awaited = Some(lane.begin(&self.place.key));
            Then::Nothing
        });
        match awaited {
            Some(awaited) => self.hand.shared.wait_until_written(&self.place, awaited).await.is_ok(),
            None => false,
        }
    }

    /// The event is done. That is written down within moments; after a crash before that it comes again.
    ///
    /// # Errors
    /// [`Error::HandedOver`] if the key is known to belong to another consumer now, who gets the event again.
    pub fn ack(mut self) -> Result<()> {
        let RecordedEvent { position, version, .. } = *self.event();
        if self.care == Care::None && self.hand.acknowledge(&self.place, position, version, self.losses) {
            self.event = None;
            return Ok(());
        }
        self.done(|_| {})
    }

    /// The event is done, and that is written down when this returns: it never comes again.
    ///
    /// # Errors
    /// [`Error::HandedOver`] if the key belongs to another consumer now: this acknowledgement counts for nothing.
    /// [`Error::OutcomeUnknown`] if it does, and the store did not say whether it had been written before: the event may come again.
    pub async fn ack_durably(mut self) -> Result<()> {
        let awaited = self.done(Lane::awaited)?;
        self.hand.shared.wait_until_written(&self.place, awaited).await
    }

    /// The event could not be handled: it comes again after `delay`, and the others of its key after it.
    ///
    /// # Errors
    /// As [`Delivery::ack`].
    pub fn nack(self, delay: Duration, reason: &str) -> Result<()> {
        self.hold(reason, Some(Instant::now() + delay))
    }

    /// The event can't be handled: it and the others of its key wait until somebody replays or skips it.
    ///
    /// # Errors
    /// As [`Delivery::ack`].
    pub fn park(self, reason: &str) -> Result<()> {
        let shared = self.hand.shared.clone();
        self.hold(reason, None)?;
        telemetry::parked(&shared.name);
        Ok(())
    }

    fn done<T>(&mut self, and: impl FnOnce(&mut Lane) -> T) -> Result<T> {
        let event = self.event.take().expect("it is taken out only once");
        let mut found = None;
        self.hand.shared.change(&self.place, |lane| {
            let then = lane.done(&self.place.key, event.position, event.version);
            found = Some(and(lane));
            then
        });
        found.ok_or_else(|| self.hand.shared.handed_over(&self.place))
    }

    fn hold(mut self, reason: &str, until: Option<Instant>) -> Result<()> {
        let event = self.event.take().expect("it is taken out only once");
        let is_ours = self.hand.shared.change(&self.place, |lane| {
            lane.hold(&self.place.key, &event, reason, until);
            Then::Nothing
        });
        if let Some(until) = until {
            Shared::wake_at(&mut self.hand.shared.state(), until, self.place.clone());
        }
        self.noted(is_ours)
    }

    fn noted(&self, is_ours: bool) -> Result<()> {
        if is_ours { Ok(()) } else { Err(self.hand.shared.handed_over(&self.place)) }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if let Some(event) = self.event.take() {
            self.hand.shared.change(&self.place, |lane| lane.put_back(&self.place.key, event));
        }
        if self.care == Care::Alone {
            self.hand.shared.suspect_is_gone();
        }
    }
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery").field("key", &self.place.key).field("event", &self.event).field("attempt", &self.attempt).finish()
    }
}

impl std::fmt::Debug for Consumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consumer").field("group", &self.shared.name).field("member", &self.shared.member).finish_non_exhaustive()
    }
}
