//! What one handle of a consumer has taken ahead, and what it has acknowledged: so that where handlers are quick, most events are handed out
//! and acknowledged without a look at the lanes, which all handles share.
//!
//! Nothing waits here for a handle that is busy. Whoever finds nothing to do takes what others have taken ahead, and notes what they have
//! acknowledged; so does whoever does something when that has lain for a while, and the keeper before it writes.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::lane::Taken;
use super::shared::{Handle, Place, Shared, State};
use crate::{GlobalPosition, StreamVersion};

/// So many events a handle takes ahead at most, and so many acknowledgements it keeps to itself.
const AHEAD_MAX: usize = 32;
/// A handle takes ahead if what it had taken before was handled within this time.
const QUICK: Duration = Duration::from_millis(1);
/// What has lain for so long is anybody's.
const OLD: Duration = Duration::from_millis(10);
/// So many other handles are looked at each time.
const LOOKS_MAX: usize = 4;

/// One handle's.
pub(super) struct Hand {
    pub(super) shared: Handle,
    held: Arc<Mutex<Held>>,
}

/// What it holds. Whoever locks the lanes as well locks those first.
#[derive(Default)]
pub(super) struct Held {
    /// Events to be handed out, each of another key. In their lanes they are in hand.
    ahead: VecDeque<(Place, Taken)>,
    /// Until when they may be.
    valid_until: Option<Instant>,
    /// When they were taken, and how many may be the next time.
    taken_at: Option<Instant>,
    ahead_max: usize,
    /// What is acknowledged, and not noted in the lanes yet.
    done: Vec<Done>,
}

/// An event that is done.
struct Done {
    place: Place,
    position: GlobalPosition,
    version: StreamVersion,
}

impl Hand {
    pub(super) fn new(shared: Handle) -> Arc<Self> {
        let held = Arc::<Mutex<Held>>::default();
        shared.state().hands.push(held.clone());
        Arc::new(Self { shared, held })
    }

    /// The next event of those that were taken ahead, and how many lanes had been lost when it was handed out.
    pub(super) fn next(&self) -> Option<(Place, Taken, u64)> {
        let mut held = lock(&self.held);
        if held.ahead.is_empty() || held.valid_until.is_none_or(|until| Instant::now() >= until) {
            return None;
        }
        let (place, taken) = held.ahead.pop_front()?;
        Some((place, taken, self.shared.losses.load(Ordering::SeqCst)))
    }

    /// An event to hand out, if there is one and we may.
    pub(super) fn take(&self, state: &mut State) -> Option<(Place, Taken, u64)> {
        let (place, taken) = self.shared.take(state, &self.held)?;
        Some((place, taken, self.shared.losses.load(Ordering::SeqCst)))
    }

    /// Acknowledges an event, to be noted in its lane soon; `false` if a lane was lost since it was handed out, which may be its own.
    pub(super) fn acknowledge(&self, place: &Place, position: GlobalPosition, version: StreamVersion, losses: u64) -> bool {
        let is_full = {
            let mut held = lock(&self.held);
            if self.shared.losses.load(Ordering::SeqCst) != losses {
                return false;
            }
            held.done.push(Done { place: place.clone(), position, version });
            held.done.len() >= AHEAD_MAX
        };
        // Whoever waits from now on looks here first.
        if is_full || self.shared.waiting.load(Ordering::SeqCst) > 0 {
            let mut state = self.shared.state();
            self.shared.note(&mut state, &mut lock(&self.held));
        }
        self.shared.tell_news();
        true
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.hands.retain(|held| !Arc::ptr_eq(held, &self.held));
        let held = &mut lock(&self.held);
        self.shared.note(&mut state, held);
        self.shared.put_back(&mut state, held);
    }
}

impl Shared {
    /// An event to hand out, if there is one and we may; and some more for the same handle, if it is quick.
    fn take(&self, state: &mut State, own: &Mutex<Held>) -> Option<(Place, Taken)> {
        let now = Instant::now();
        self.note(state, &mut lock(own));
        if state.stopping || state.valid_until.is_none_or(|until| now >= until) {
            self.put_back(state, &mut lock(own));
            return None;
        }
        self.look_at_others(state, now);
        let first = match self.take_ready(state, now, false) {
            Some(first) => first,
            None => {
                self.gather(state);
                self.take_ready(state, now, false)?
            }
        };
        let held = &mut lock(own);
        if held.ahead.is_empty() {
            let was_quick = held.taken_at.is_some_and(|at| now.duration_since(at) < QUICK);
            held.ahead_max = if was_quick { (held.ahead_max * 2).clamp(1, AHEAD_MAX) } else { 0 };
            (held.taken_at, held.valid_until) = (Some(now), state.valid_until);
            let fair = state.ready() / state.hands.len().max(1);
            for _ in 0..held.ahead_max.min(fair) {
                let Some(taken) = self.take_ready(state, now, true) else { break };
                held.ahead.push_back(taken);
            }
        }
        if self.gives_room(state) {
            self.room.notify_one();
        }
        Some(first)
    }

    /// Takes from a few of the others what has lain with them.
    fn look_at_others(&self, state: &mut State, now: Instant) {
        for _ in 0..state.hands.len().min(LOOKS_MAX) {
            state.next_look = (state.next_look + 1) % state.hands.len();
            let held = state.hands[state.next_look].clone();
            // Whoever has it locked is about to do something with it.
            let Ok(mut held) = held.try_lock() else { continue };
            let is_old = held.taken_at.is_none_or(|at| now.duration_since(at) >= OLD);
            if is_old {
                self.note(state, &mut held);
                self.put_back(state, &mut held);
            }
        }
    }

    /// Takes what all handles have acknowledged, and what they have taken ahead.
    pub(super) fn gather(&self, state: &mut State) {
        for held in state.hands.clone() {
            let held = &mut lock(&held);
            self.note(state, held);
            self.put_back(state, held);
        }
    }

    /// Notes in the lanes what all handles have acknowledged, and says how many events they have taken ahead.
    pub(super) fn note_all(&self, state: &mut State) -> usize {
        let mut ahead = 0;
        for held in state.hands.clone() {
            let held = &mut lock(&held);
            self.note(state, held);
            ahead += held.ahead.len();
        }
        ahead
    }

    /// Notes what a handle has acknowledged. What belonged to a lane that is lost is handled again by whoever has that now.
    fn note(&self, state: &mut State, held: &mut Held) {
        let mut is_left = false;
        for Done { place, position, version } in held.done.drain(..) {
            let Some(lane) = state.lanes.get_mut(&place.lane).filter(|lane| lane.token == place.token) else { continue };
            let then = lane.done(&place.key, position, version);
            is_left |= lane.is_left();
            self.then(state, place, then);
        }
        if is_left || state.stopping {
            self.work.notify_one();
        }
    }

    /// Puts back what a handle has taken ahead.
    fn put_back(&self, state: &mut State, held: &mut Held) {
        for (place, Taken { event, .. }) in held.ahead.drain(..).rev() {
            let Some(lane) = state.lanes.get_mut(&place.lane).filter(|lane| lane.token == place.token) else { continue };
            let then = lane.put_back(&place.key, event);
            state.queued += 1;
            self.then(state, place, then);
        }
    }
}

fn lock(held: &Mutex<Held>) -> MutexGuard<'_, Held> {
    held.lock().expect("no holder of this lock panics")
}
