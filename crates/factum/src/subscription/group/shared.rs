//! What the handles and the background tasks of one consumer process share: its lanes, and what can be handed out of them.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::KeyOf;
use super::lane::{Key, Lane, Taken, Then};
use super::record::{GroupRecords, lane_of};
use crate::error::Error;
use crate::{GlobalPosition, Query, RecordedEvent, SharedStore};

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

#[derive(Default)]
pub(super) struct State {
    pub(super) lanes: HashMap<u16, Lane>,
    ready: VecDeque<Place>,
    pub(super) loads: Vec<Place>,
    timers: BinaryHeap<Reverse<(Instant, Place)>>,
    /// Goes up when there are other lanes to read for.
    pub(super) generation: u64,
    /// Until when the others take us for alive; nothing is handed out after it.
    pub(super) valid_until: Option<Instant>,
    pub(super) stopping: bool,
    pub(super) failed: Option<Error>,
    /// Something was acknowledged since the keeper last looked.
    pub(super) has_news: bool,
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

    /// Puts what the reader came upon where it belongs; `false` if the lanes are others now and it has to read again.
    pub(super) fn distribute(&self, generation: u64, events: &mut Vec<RecordedEvent>, position: GlobalPosition) -> bool {
        let by_stream = self.is_by_stream();
        let mut state = self.state();
        if state.generation != generation {
            return false;
        }
        let state = &mut *state;
        let mut woken = 0;
        for event in events.drain(..) {
            let key = self.key_of(&event);
            let number = lane_of(&key, self.lanes);
            let Some(lane) = state.lanes.get_mut(&number).filter(|lane| event.position > lane.read) else { continue };
            if lane.accept(key.clone(), event, by_stream) == Then::Ready {
                state.ready.push_back(Place { lane: number, token: lane.token, key });
                woken += 1;
            }
        }
        state.lanes.values_mut().for_each(|lane| lane.passed(position));
        state.head = state.head.max(position);
        if woken > 0 {
            self.ready.notify_waiters();
        }
        true
    }

    /// Does what a change of a key asks for.
    pub(super) fn then(&self, state: &mut State, place: Place, then: Then) {
        match then {
            Then::Nothing => {}
            Then::Ready => {
                state.ready.push_back(place);
                self.ready.notify_waiters();
            }
            Then::Load => {
                state.loads.push(place);
                self.load.notify_one();
            }
        }
    }

    /// Changes a lane, if it is still ours, and does what its key asks for.
    pub(super) fn change(&self, place: &Place, change: impl FnOnce(&mut Lane) -> Then) -> bool {
        let mut guard = self.state();
        let state = &mut *guard;
        let Some(lane) = state.lanes.get_mut(&place.lane).filter(|lane| lane.token == place.token) else { return false };
        let then = change(lane);
        let is_left = lane.is_left();
        let is_idle = state.stopping;
        self.then(state, place.clone(), then);
        let has_room = state.has_room(self.window);
        drop(guard);
        if is_left || is_idle {
            self.work.notify_one();
        }
        if has_room {
            self.room.notify_one();
        }
        true
    }

    /// An event to hand out, if there is one and we may.
    pub(super) fn take(&self) -> Option<(Place, Taken)> {
        let mut guard = self.state();
        let state = &mut *guard;
        if state.stopping || state.valid_until.is_none_or(|until| Instant::now() >= until) {
            return None;
        }
        while let Some(place) = state.ready.pop_front() {
            let lane = state.lanes.get_mut(&place.lane).filter(|lane| lane.token == place.token);
            if let Some(taken) = lane.and_then(|lane| lane.take(&place.key)) {
                return Some((place, taken));
            }
        }
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
    }

    pub(super) fn queued(&self) -> usize {
        self.lanes.values().map(|lane| lane.queued).sum()
    }

    pub(super) fn in_hand(&self) -> usize {
        self.lanes.values().map(|lane| lane.in_hand).sum()
    }

    pub(super) fn has_room(&self, window: usize) -> bool {
        self.queued() < window
    }
}

/// Shared by everyone who needs it.
pub(super) type Handle = Arc<Shared>;
