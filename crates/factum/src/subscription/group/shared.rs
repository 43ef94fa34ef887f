//! What the handles and the background tasks of one consumer process share: its lanes, and what can be handed out of them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::KeyOf;
use super::hand::Held;
use super::lane::{Care, Key, Lane, Taken, Then};
use super::record::{GroupRecords, lane_of};
use crate::error::Error;
use crate::{GlobalPosition, Query, RecordedEvent, SharedStore};

/// So many events are given to the lanes at once.
const CHUNK: usize = 256;

/// What a group does, and with what.
pub(super) struct Shared {
    pub(super) store: SharedStore,
    pub(super) name: String,
    pub(super) member: String,
    pub(super) query: Query,
    pub(super) key: KeyOf,
    pub(super) lanes: u16,
    pub(super) lease: Duration,
    pub(super) acknowledge_within: Duration,
    pub(super) window: usize,
    pub(super) poll_interval: Duration,
    pub(super) records: GroupRecords,
    state: Mutex<State>,
    /// How many handles wait for something to be handed out.
    pub(super) waiting: AtomicUsize,
    /// How many lanes were taken over by others.
    pub(super) losses: AtomicU64,
    /// Something was acknowledged since the keeper last looked.
    has_news: AtomicBool,
    /// Something can be handed out, or the end has come.
    pub(super) ready: Notify,
    /// The keeper has something to do.
    pub(super) work: Notify,
    /// There is room for more events, or other lanes to read for.
    pub(super) room: Notify,
    /// Keys have to be read.
    pub(super) load: Notify,
    /// Records were written, or lanes lost.
    pub(super) written: Notify,
}

/// A key in one of our lanes, as long as the lane is ours.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) lane: u16,
    pub(super) token: u64,
    pub(super) key: Key,
}

/// An event that the reader came upon.
pub(super) struct Found {
    lane: u16,
    key: Key,
    event: RecordedEvent,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) lanes: BTreeMap<u16, Lane>,
    ready: VecDeque<Place>,
    /// Keys whose event is to be handed out while no other such event is; and whether one is.
    suspects: VecDeque<Place>,
    has_suspect: bool,
    /// What the handles hold, and which of them was looked at last.
    pub(super) hands: Vec<Arc<Mutex<Held>>>,
    pub(super) next_look: usize,
    /// How many events are in the queues of all lanes.
    pub(super) queued: usize,
    /// The reader waits for room for more events.
    wants_room: bool,
    pub(super) loads: Vec<Place>,
    timers: BinaryHeap<Reverse<(Instant, Place)>>,
    /// Goes up when there are other lanes to read for.
    pub(super) generation: u64,
    /// Until when the others take us for alive; nothing is handed out after it.
    pub(super) valid_until: Option<Instant>,
    pub(super) stopping: bool,
    pub(super) failed: Option<Error>,
    /// Somebody waits for what is acknowledged to be written.
    pub(super) is_urgent: bool,
    pub(super) head: GlobalPosition,
}

impl Shared {
    #[expect(clippy::too_many_arguments, reason = "it is made in one place")]
    pub(super) fn new(
        store: SharedStore,
        records: GroupRecords,
        name: String,
        member: String,
        query: Query,
        key: KeyOf,
        lanes: u16,
        settings: super::Settings,
    ) -> Self {
        Self {
            store,
            name,
            member,
            query,
            key,
            lanes,
            lease: settings.lease,
            acknowledge_within: settings.acknowledge_within,
            window: settings.window,
            poll_interval: settings.poll_interval,
            records,
            state: Mutex::default(),
            waiting: AtomicUsize::new(0),
            losses: AtomicU64::new(0),
            has_news: AtomicBool::new(false),
            ready: Notify::new(),
            work: Notify::new(),
            room: Notify::new(),
            load: Notify::new(),
            written: Notify::new(),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    pub(super) fn key_of(&self, event: &RecordedEvent) -> Key {
        match &self.key {
            KeyOf::Stream => Key::from(event.stream.as_str()),
            KeyOf::Named(_, key) => Key::from(key(event)),
        }
    }

    pub(super) fn is_by_stream(&self) -> bool {
        matches!(self.key, KeyOf::Stream)
    }

    /// Finds out where an event belongs, before anybody is kept waiting for that.
    pub(super) fn find(&self, event: RecordedEvent) -> Found {
        let key = self.key_of(&event);
        Found { lane: lane_of(&key, self.lanes), key, event }
    }

    /// Puts what the reader came upon where it belongs; `false` if the lanes are others now and it has to read again.
    pub(super) fn distribute(&self, generation: u64, events: &mut Vec<Found>, position: GlobalPosition, head: GlobalPosition) -> bool {
        let by_stream = self.is_by_stream();
        let mut state = self.state();
        if state.generation != generation {
            return false;
        }
        let state = &mut *state;
        let mut woken = 0;
        for Found { lane: number, key, event } in events.drain(..) {
            let Some(lane) = state.lanes.get_mut(&number).filter(|lane| event.position > lane.read) else { continue };
            if lane.accept(key.clone(), event, by_stream) == Then::Ready {
                state.ready.push_back(Place { lane: number, token: lane.token, key });
                woken += 1;
            }
        }
        state.lanes.values_mut().for_each(|lane| lane.passed(position));
        state.head = head;
        state.count();
        self.wake_for(woken);
        true
    }

    /// Does what a change of a key asks for.
    pub(super) fn then(&self, state: &mut State, place: Place, then: Then) {
        match then {
            Then::Nothing => {}
            Then::Ready => {
                state.ready.push_back(place);
                self.wake_for(1);
            }
            Then::Load => {
                state.loads.push(place);
                self.load.notify_one();
            }
        }
    }

    /// Wakes one handle for each key that has become ready, and none that does not wait.
    fn wake_for(&self, keys: usize) {
        (0..keys.min(self.waiting.load(Ordering::SeqCst))).for_each(|_| self.ready.notify_one());
    }

    /// Tells the keeper that something was acknowledged, if it does not know.
    pub(super) fn tell_news(&self) {
        if !self.has_news.load(Ordering::SeqCst) && !self.has_news.swap(true, Ordering::SeqCst) {
            self.work.notify_one();
        }
    }

    /// The keeper looks what was acknowledged: what is from here on is news again.
    pub(super) fn hear_news(&self, state: &mut State) {
        self.has_news.store(false, Ordering::SeqCst);
        self.note_all(state);
    }

    /// Changes a lane, if it is still ours, and does what its key asks for.
    pub(super) fn change(&self, place: &Place, change: impl FnOnce(&mut Lane) -> Then) -> bool {
        let mut guard = self.state();
        let state = &mut *guard;
        let Some(lane) = state.lanes.get_mut(&place.lane).filter(|lane| lane.token == place.token) else { return false };
        let (queued, changes) = (lane.queued, lane.changes);
        let then = change(lane);
        state.queued = state.queued + lane.queued - queued;
        let is_news = lane.changes > changes;
        let is_work = lane.is_left() || state.stopping;
        match then {
            Then::Nothing => {}
            Then::Ready | Then::Load => self.then(state, place.clone(), then),
        }
        let is_room = self.gives_room(state);
        drop(guard);
        if is_news {
            self.tell_news();
        }
        if is_work {
            self.work.notify_one();
        }
        if is_room {
            self.room.notify_one();
        }
        true
    }

    /// How many more events the reader may bring; none until that is worth its while.
    pub(super) fn room(&self, state: &State) -> usize {
        let room = self.window.saturating_sub(state.queued);
        if room < (self.window / 8).clamp(1, CHUNK) { 0 } else { room.min(CHUNK) }
    }

    /// Whether the reader is to be woken, because there is room now that it waits for.
    pub(super) fn gives_room(&self, state: &mut State) -> bool {
        let is_room = state.wants_room && self.room(state) > 0;
        state.wants_room &= !is_room;
        is_room
    }

    /// Takes the next event that is ready in hand; only one that may be kept for a while, if it is to be.
    pub(super) fn take_ready(&self, state: &mut State, now: Instant, ahead: bool) -> Option<(Place, Taken)> {
        while let Some(place) = state.ready.pop_front() {
            let Some(lane) = state.lanes.get_mut(&place.lane).filter(|lane| lane.token == place.token) else { continue };
            if ahead && !lane.is_carefree(&place.key, now) {
                state.ready.push_front(place);
                return None;
            }
            if state.has_suspect && lane.is_suspect(&place.key) {
                state.suspects.push_back(place);
                continue;
            }
            if let Some(taken) = lane.take(&place.key, now) {
                state.queued -= 1;
                state.has_suspect |= taken.care == Care::Alone;
                return Some((place, taken));
            }
        }
        None
    }

    /// The event that was to be handed out alone no longer is in hand.
    pub(super) fn suspect_is_gone(&self) {
        let mut guard = self.state();
        let state = &mut *guard;
        state.has_suspect = false;
        let keys = state.suspects.len();
        state.ready.append(&mut state.suspects);
        self.wake_for(keys);
    }

    /// Waits until something may be there to be handed out. What becomes ready after `look` has found nothing is not missed.
    pub(super) async fn wait_for_ready<T>(&self, look: impl FnOnce(&mut State) -> Option<T>) -> Option<T> {
        let ready = self.ready.notified();
        let mut ready = std::pin::pin!(ready);
        ready.as_mut().enable();
        let _waiting = {
            let mut state = self.state();
            // Counted before looking: what others acknowledge and keep to themselves is found by the look, or they see that somebody waits.
            let waiting = Waiting::new(self);
            if let Some(found) = look(&mut state) {
                return Some(found);
            }
            waiting
        };
        ready.await;
        None
    }

    /// Wakes a key up at some moment.
    pub(super) fn wake_at(state: &mut State, until: Instant, place: Place) {
        state.timers.push(Reverse((until, place)));
    }

    /// Releases the keys whose moment has come, and says when the next one's will.
    pub(super) fn release_due(&self, now: Instant) -> Option<Instant> {
        let mut guard = self.state();
        let state = &mut *guard;
        while let Some(Reverse((until, _))) = state.timers.peek() {
            if *until > now {
                return Some(*until);
            }
            let Some(Reverse((_, place))) = state.timers.pop() else { break };
            let Some(lane) = state.lanes.get_mut(&place.lane).filter(|lane| lane.token == place.token) else { continue };
            let then = lane.release(&place.key, now);
            self.then(state, place, then);
        }
        None
    }

    /// Ends everything with an error.
    pub(super) fn fail(&self, error: Error) {
        self.state().failed.get_or_insert(error);
        self.wake_all();
    }

    pub(super) fn wake_all(&self) {
        self.ready.notify_waiters();
        self.written.notify_waiters();
        self.work.notify_one();
        self.room.notify_one();
        self.load.notify_one();
    }
}

impl State {
    /// Adds a lane that was taken over.
    pub(super) fn add(&mut self, number: u16, lane: Lane) {
        let token = lane.token;
        for (key, until) in lane.waiting() {
            self.timers.push(Reverse((until, Place { lane: number, token, key: key.clone() })));
        }
        self.lanes.insert(number, lane);
        self.generation += 1;
        self.count();
    }

    /// Lets go of a lane.
    pub(super) fn remove(&mut self, number: u16) {
        self.lanes.remove(&number);
        self.generation += 1;
        self.count();
    }

    fn count(&mut self) {
        self.queued = self.lanes.values().map(|lane| lane.queued).sum();
    }

    /// How many keys have something to be handed out, about.
    pub(super) fn ready(&self) -> usize {
        self.ready.len()
    }

    /// How many events wait in memory.
    pub(super) fn queued(&self) -> usize {
        self.queued
    }

    /// The reader waits from here on until there is room.
    pub(super) fn wait_for_room(&mut self) {
        self.wants_room = true;
    }

    pub(super) fn in_hand(&self) -> usize {
        self.lanes.values().map(|lane| lane.in_hand).sum()
    }
}

/// A handle that waits, which is counted until it no longer does.
struct Waiting<'a> {
    shared: &'a Shared,
}

impl<'a> Waiting<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.waiting.fetch_add(1, Ordering::SeqCst);
        Self { shared }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.shared.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Shared by everyone who needs it.
pub(super) type Handle = Arc<Shared>;
