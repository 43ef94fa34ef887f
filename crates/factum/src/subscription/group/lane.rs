//! A lane in the memory of its owner: which keys have something left, what may be handed out, and what its record says of that.
//!
//! Nothing here waits or asks a store. A key is in one of four states: something of it can be handed out, something is in hand, it is
//! held up, or what comes next has to be read again because it was not kept.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use smol_str::SmolStr;

use super::record::{Cursor, LaneRecord, Order};
use crate::subscription::parked::ParkedEvent;
use crate::{GlobalPosition, RecordVersion, RecordedEvent, StreamVersion};

pub(super) type Key = SmolStr;

/// Each event is looked up three times by its key; this hash is quicker than the standard one.
type Keys = HashMap<Key, KeyState, foldhash::fast::RandomState>;

/// So many events of one key are kept in memory; what comes after them is read again later.
pub(super) const KEY_EVENTS_MAX: usize = 128;

/// So many empty queues are kept, of so many events at most.
const SPARE_MAX: usize = 64;
const SPARE_EVENTS_MAX: usize = 8;

pub(super) struct Lane {
    pub(super) token: u64,
    /// The record's version, which the next write expects.
    pub(super) version: RecordVersion,
    /// Every event of this lane up to here is done, or its key is in `keys`.
    pub(super) read: GlobalPosition,
    /// Up to where somebody had read before us: until we are there, what is not in `keys` is done.
    known: GlobalPosition,
    pub(super) keys: Keys,
    pub(super) in_hand: usize,
    /// Until then it is written down of each event that it will be in hand.
    careful_until: Option<Instant>,
    /// Empty queues of keys that are gone, for the next ones.
    spare: Vec<VecDeque<RecordedEvent>>,
    /// How many wait to hear that what they did is written.
    awaited: usize,
    /// How many events are in the queues of all keys.
    pub(super) queued: usize,
    /// It is to be given up as soon as nothing is in hand.
    pub(super) is_leaving: bool,
    /// Goes up with each change that the record does not have; and how far the record is.
    pub(super) changes: u64,
    pub(super) progress: Arc<Progress>,
    written_read: GlobalPosition,
}

pub(super) struct KeyState {
    /// The next events, without the one in hand.
    queue: VecDeque<RecordedEvent>,
    /// There may be more at or below `read`, behind those in the queue.
    has_more: bool,
    state: State,
    /// The last event that is done, or something before the first that is not.
    pub(super) after: GlobalPosition,
    pub(super) next_version: Option<u64>,
    attempts: u32,
    /// The event in hand is known to be, by the record or soon.
    is_begun: bool,
    /// A process has ended with the first event in hand.
    is_suspect: bool,
    /// It was behind when the lane was taken over, and the reader has not come to where the lane was then. Until it has, the key stays
    /// here even if nothing of it is left, because the reader takes an unknown key's events for done.
    resuming: bool,
}

enum State {
    /// Nothing is in hand; what is in the queue can be.
    Ready,
    InHand,
    /// Held up by its first event; until then, or until somebody says so.
    Held {
        event: Box<ParkedEvent>,
        until: Option<Instant>,
    },
    /// The next events are being read.
    Loading {
        missed: bool,
    },
}

/// How many of a lane's changes its record has. It outlives the lane, for those who wait.
#[derive(Debug, Default)]
pub(super) struct Progress {
    written: AtomicU64,
    /// Those that it may have: the answer to a write did not come.
    perhaps: AtomicU64,
}

/// What somebody waits for.
pub(super) struct Awaited {
    changes: u64,
    progress: Arc<Progress>,
}

impl Progress {
    /// A write of so many changes was not answered.
    pub(super) fn is_unsure(&self, changes: u64) {
        self.perhaps.fetch_max(changes, Ordering::SeqCst);
    }
}

impl Awaited {
    pub(super) fn is_written(&self) -> bool {
        self.changes <= self.progress.written.load(Ordering::SeqCst)
    }

    /// Whether it may be written, although nobody can tell.
    pub(super) fn is_perhaps_written(&self) -> bool {
        self.changes <= self.progress.perhaps.load(Ordering::SeqCst)
    }
}

/// What comes next for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    Nothing,
    /// It has something to be handed out.
    Ready,
    /// Its next events have to be read.
    Load,
}

/// An event to be handed out.
pub(super) struct Taken {
    pub(super) event: RecordedEvent,
    /// How often it was tried before.
    pub(super) attempts: u32,
    pub(super) care: Care,
}

/// How an event is handed out, after an owner of the lane has ended without a word: its handler may have been the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Care {
    None,
    /// It is written down first that it will be in hand.
    Written,
    /// The same, and no other such event is in hand at the time: a process has ended with it in hand.
    Alone,
}

impl Lane {
    /// The lane as its record says, now that it is ours. Keys that are held up come with the moment when they no longer are.
    ///
    /// Whoever had it before and did not give it back may have ended because of an event, which is looked out for `careful_until` then.
    pub(super) fn taken_over(record: &LaneRecord, version: RecordVersion, now: Instant, careful_until: Option<Instant>) -> Self {
        let keys: Keys = record.keys.iter().map(|cursor| (Key::from(cursor.key.as_str()), KeyState::of(cursor, now))).collect();
        let behind = keys.values().filter(|key| matches!(key.state, State::Ready)).map(|key| key.after).min();
        Self {
            token: record.token,
            version,
            read: behind.map_or(record.read, |after| after.min(record.read)),
            known: record.read,
            keys,
            in_hand: 0,
            spare: Vec::new(),
            careful_until,
            awaited: 0,
            queued: 0,
            is_leaving: false,
            changes: 0,
            progress: Arc::default(),
            written_read: record.read,
        }
    }

    /// An event that the reader came upon, behind `read`.
    pub(super) fn accept(&mut self, key: Key, event: RecordedEvent, by_stream: bool) -> Then {
        let is_known = event.position <= self.known;
        match self.keys.entry(key) {
            Entry::Vacant(_) if is_known => Then::Nothing,
            Entry::Vacant(place) => {
                let next_version = by_stream.then(|| event.version.get());
                let mut queue = self.spare.pop().unwrap_or_default();
                queue.push_back(event);
                place.insert(KeyState {
                    after: self.read.max(self.known),
                    queue,
                    has_more: false,
                    state: State::Ready,
                    next_version,
                    attempts: 0,
                    is_begun: false,
                    is_suspect: false,
                    resuming: false,
                });
                self.queued += 1;
                Then::Ready
            }
            Entry::Occupied(mut place) => {
                let key = place.get_mut();
                let before = key.queue.len();
                let then = key.accept(event);
                self.queued += key.queue.len() - before;
                then
            }
        }
    }

    /// The reader has come to `position`. What is behind it and in no queue is done.
    pub(super) fn passed(&mut self, position: GlobalPosition) {
        let was_behind = self.read < self.known;
        self.read = self.read.max(position);
        if was_behind && self.read >= self.known {
            self.keys.values_mut().for_each(|key| key.resuming = false);
            let before = self.keys.len();
            self.keys.retain(|_, key| !key.is_done());
            // The record still has them.
            self.changes += u64::from(self.keys.len() < before);
        }
    }

    /// Whether the next event of a key is handed out without more ado.
    pub(super) fn is_carefree(&self, key: &Key, now: Instant) -> bool {
        !self.is_careful(now) && !self.is_suspect(key)
    }

    fn is_careful(&self, now: Instant) -> bool {
        self.careful_until.is_some_and(|until| now < until)
    }

    /// Takes the next event of a key in hand, if there is one.
    pub(super) fn take(&mut self, key: &Key, now: Instant) -> Option<Taken> {
        let is_careful = self.is_careful(now);
        let state = self.keys.get_mut(key)?;
        if !matches!(state.state, State::Ready) || self.is_leaving {
            return None;
        }
        let event = state.queue.pop_front()?;
        (state.state, state.is_begun) = (State::InHand, false);
        self.in_hand += 1;
        self.queued -= 1;
        let care = match (state.is_suspect, is_careful) {
            (true, _) => Care::Alone,
            (false, true) => Care::Written,
            (false, false) => Care::None,
        };
        Some(Taken { event, attempts: state.attempts, care })
    }

    /// Whether a process has ended with the next event of a key in hand.
    pub(super) fn is_suspect(&self, key: &Key) -> bool {
        self.keys.get(key).is_some_and(|state| state.is_suspect)
    }

    /// The event in hand is to be written down as such. Somebody waits for that.
    pub(super) fn begin(&mut self, key: &Key) -> Awaited {
        if let Some(state) = self.keys.get_mut(key) {
            state.is_begun = true;
        }
        self.changes += 1;
        self.awaited()
    }

    /// Somebody waits to hear that everything up to now is written.
    pub(super) fn awaited(&mut self) -> Awaited {
        self.awaited += 1;
        Awaited { changes: self.changes, progress: self.progress.clone() }
    }

    /// Somebody no longer waits.
    pub(super) fn is_heard(&mut self) {
        self.awaited -= 1;
    }

    /// The event in hand is done.
    pub(super) fn done(&mut self, key: &Key, position: GlobalPosition, version: StreamVersion) -> Then {
        self.in_hand -= 1;
        self.changes += 1;
        self.go_on_after(key, |state| state.pass(position, version.get()))
    }

    /// The event in hand goes back to where it was.
    pub(super) fn put_back(&mut self, key: &Key, event: RecordedEvent) -> Then {
        self.in_hand -= 1;
        let Some(state) = self.keys.get_mut(key) else { return Then::Nothing };
        state.queue.push_front(event);
        self.queued += 1;
        self.go_on(key)
    }

    /// The event in hand holds its key up. Its other events need not be kept meanwhile.
    pub(super) fn hold(&mut self, key: &Key, event: &RecordedEvent, reason: &str, until: Option<Instant>) {
        self.in_hand -= 1;
        self.changes += 1;
        let Some(state) = self.keys.get_mut(key) else { return };
        state.attempts += 1;
        state.is_suspect = false;
        self.queued -= state.hold(ParkedEvent::new(event, state.attempts, reason), until);
    }

    /// A moment has come that a key was waiting for.
    pub(super) fn release(&mut self, key: &Key, now: Instant) -> Then {
        let Some(state) = self.keys.get_mut(key) else { return Then::Nothing };
        match state.state {
            State::Held { until: Some(until), .. } if until <= now => state.load(),
            _ => Then::Nothing,
        }
    }

    /// The next events of a key have been read; `is_all` says whether there are no more up to where the lane was read then.
    pub(super) fn loaded(&mut self, key: &Key, events: Vec<RecordedEvent>, is_all: bool) -> Then {
        let Some(state) = self.keys.get_mut(key) else { return Then::Nothing };
        let State::Loading { missed } = state.state else { return Then::Nothing };
        self.queued += events.len();
        state.queue = events.into();
        state.has_more = missed || !is_all;
        state.state = State::Ready;
        self.changes += 1;
        self.go_on(key)
    }

    /// Reading the next events failed: it is to be tried again.
    pub(super) fn not_loaded(&self, key: &Key) -> Then {
        self.keys.get(key).filter(|state| matches!(state.state, State::Loading { .. })).map_or(Then::Nothing, |_| Then::Load)
    }

    fn go_on(&mut self, key: &Key) -> Then {
        self.go_on_after(key, |_| {})
    }

    /// Changes a key, and says what comes next for it; it is looked up once, because this happens for each event.
    fn go_on_after(&mut self, key: &Key, change: impl FnOnce(&mut KeyState)) -> Then {
        let Entry::Occupied(mut place) = self.keys.entry(key.clone()) else { return Then::Nothing };
        let state = place.get_mut();
        change(state);
        state.state = State::Ready;
        if !state.queue.is_empty() {
            return Then::Ready;
        }
        if state.has_more {
            return state.load();
        }
        if state.is_done() {
            let queue = place.remove().queue;
            if self.spare.len() < SPARE_MAX && queue.capacity() <= SPARE_EVENTS_MAX {
                self.spare.push(queue);
            }
        }
        Then::Nothing
    }

    /// Does what somebody wants done with keys that are held up.
    pub(super) fn obey(&mut self, record: &LaneRecord) -> Vec<(Key, Then)> {
        let mut then = Vec::new();
        for cursor in &record.keys {
            let (Some(order), Some((key, state))) = (&cursor.order, self.keys.get_key_value(cursor.key.as_str())) else { continue };
            let (key, State::Held { event, .. }) = (key.clone(), &state.state) else { continue };
            // An order that has been carried out is for an event that is no longer the first.
            if cursor.event.as_ref().is_none_or(|wanted| wanted.position != event.position) {
                continue;
            }
            let event = event.clone();
            let state = self.keys.get_mut(&key).expect("it has just been found");
            self.changes += 1;
            match order {
                Order::Replay => then.push((key, state.load())),
                Order::Skip => {
                    state.pass(event.position, event.version);
                    then.push((key, state.load()));
                }
                Order::Park(reason) => {
                    state.state = State::Held { event: Box::new(ParkedEvent { reason: reason.clone(), ..*event }), until: None };
                }
            }
        }
        then
    }

    /// What the record is to say.
    pub(super) fn record(&self, owner: Option<&str>, now: Instant) -> LaneRecord {
        let mut keys: Vec<Cursor> = self.keys.iter().map(|(key, state)| state.cursor(key, now)).collect();
        keys.sort_unstable_by(|one, other| one.after.cmp(&other.after).then_with(|| one.key.cmp(&other.key)));
        LaneRecord { owner: owner.map(str::to_owned), token: self.token, read: self.read.max(self.known), keys }
    }

    /// The record says what was true when there had been so many changes.
    pub(super) fn wrote(&mut self, version: RecordVersion, changes: u64, read: GlobalPosition) {
        (self.version, self.written_read) = (version, read);
        self.progress.written.store(changes, Ordering::SeqCst);
    }

    /// Whether nobody has anything to do with it any more: nothing is in hand, and nobody waits for it to be written.
    pub(super) fn is_idle(&self) -> bool {
        self.in_hand == 0 && self.awaited == 0
    }

    /// Whether it is to be given up, and can be.
    pub(super) fn is_left(&self) -> bool {
        self.is_leaving && self.is_idle()
    }

    /// Whether there is progress that the record does not have: of events, or only of reading past what is none of ours.
    pub(super) fn is_changed(&self) -> bool {
        self.changes > self.progress.written.load(Ordering::SeqCst)
    }

    pub(super) fn is_read_further(&self) -> bool {
        self.is_changed() || self.read > self.written_read
    }

    /// The keys that wait for a moment, and which.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (&Key, Instant)> {
        self.keys.iter().filter_map(|(key, state)| match &state.state {
            State::Held { until: Some(until), .. } => Some((key, *until)),
            _ => None,
        })
    }

    /// Everything up to here is done, but for keys that are held up.
    pub(super) fn position(&self) -> GlobalPosition {
        let open = self.keys.values().filter(|state| !matches!(state.state, State::Held { .. })).map(|state| state.after).min();
        let read = self.read.max(self.known);
        open.map_or(read, |after| after.min(read))
    }

    /// How many events are parked.
    pub(super) fn parked(&self) -> usize {
        self.keys.values().filter(|state| matches!(state.state, State::Held { until: None, .. })).count()
    }
}

impl KeyState {
    fn of(cursor: &Cursor, now: Instant) -> Self {
        let held = cursor.event.clone().filter(|_| cursor.parked || cursor.wait.is_some());
        let until = cursor.wait.filter(|_| !cursor.parked).map(|wait| now + Duration::from_millis(wait));
        Self {
            queue: VecDeque::new(),
            has_more: held.is_some(),
            state: held.map_or(State::Ready, |event| State::Held { event: Box::new(event), until }),
            after: cursor.after,
            next_version: cursor.next_version,
            // In the record of an owner that left in order nothing is in hand.
            attempts: cursor.attempts + u32::from(cursor.begun),
            is_begun: false,
            is_suspect: cursor.suspect || cursor.begun,
            resuming: true,
        }
    }

    fn accept(&mut self, event: RecordedEvent) -> Then {
        if event.position <= self.after {
            return Then::Nothing;
        }
        match &mut self.state {
            State::Held { .. } => self.has_more = true,
            State::Loading { missed } => *missed = true,
            State::Ready | State::InHand if self.has_more || self.queue.len() >= KEY_EVENTS_MAX => self.has_more = true,
            State::InHand => self.queue.push_back(event),
            State::Ready => {
                self.queue.push_back(event);
                if self.queue.len() == 1 {
                    return Then::Ready;
                }
            }
        }
        Then::Nothing
    }

    /// Everything up to here is done.
    fn pass(&mut self, position: GlobalPosition, version: u64) {
        self.after = position;
        (self.attempts, self.is_suspect) = (0, false);
        self.next_version = self.next_version.map(|_| version + 1);
    }

    fn hold(&mut self, event: ParkedEvent, until: Option<Instant>) -> usize {
        self.state = State::Held { event: Box::new(event), until };
        self.has_more = true;
        std::mem::take(&mut self.queue).len()
    }

    fn load(&mut self) -> Then {
        self.state = State::Loading { missed: false };
        Then::Load
    }

    fn is_done(&self) -> bool {
        matches!(self.state, State::Ready) && self.queue.is_empty() && !self.has_more && !self.resuming
    }

    fn cursor(&self, key: &Key, now: Instant) -> Cursor {
        let (event, until) = match &self.state {
            State::Held { event, until } => (Some((**event).clone()), Some(*until)),
            State::Ready | State::InHand | State::Loading { .. } => (None, None),
        };
        let wait = until.flatten().map(|until| u64::try_from(until.saturating_duration_since(now).as_millis()).unwrap_or(u64::MAX));
        Cursor {
            key: key.to_string(),
            after: self.after,
            next_version: self.next_version,
            attempts: self.attempts,
            begun: self.is_begun && matches!(self.state, State::InHand),
            suspect: self.is_suspect,
            wait,
            parked: until == Some(None),
            event,
            order: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EventType, StreamId, StreamVersion, Timestamp, Uuid};

    fn event(stream: &str, position: u64) -> RecordedEvent {
        RecordedEvent {
            position: GlobalPosition::from_number(position),
            stream: StreamId::new(stream).expect("valid"),
            version: StreamVersion::new(position),
            id: Uuid::nil(),
            event_type: EventType::new("T").expect("valid"),
            recorded_at: Timestamp::UNIX_EPOCH,
            occurred_at: None,
            data: bytes::Bytes::new(),
            metadata: bytes::Bytes::new(),
            tags: Vec::new(),
        }
    }

    /// The bug: a lane was taken over in which a key's last event was done, and its record still had the key. Its new owner forgot the key once it
    /// had read up to where the lane was, which was no change to be written. So the record, and with it the group, stayed behind for ever.
    #[test]
    fn a_key_with_nothing_left_leaves_the_record_too() {
        let at = GlobalPosition::from_number;
        let cursor = Cursor {
            key: "done".to_owned(),
            after: at(4),
            next_version: Some(5),
            attempts: 0,
            begun: false,
            suspect: false,
            wait: None,
            event: None,
            parked: false,
            order: None,
        };
        let (now, record) = (Instant::now(), LaneRecord { owner: None, token: 1, read: at(9), keys: vec![cursor] });
        let mut lane = Lane::taken_over(&record, RecordVersion::new(1), now, None);
        assert!(!lane.is_changed());
        lane.passed(at(8));
        assert!(!lane.is_changed());
        lane.passed(at(9));
        assert!(lane.is_changed());
        assert_eq!(lane.record(None, now), LaneRecord { owner: None, token: 1, read: at(9), keys: Vec::new() });
        assert_eq!(lane.position(), at(9));
    }

    /// The bug: a lane was taken over that had read up to 9. One of its keys was behind, at 2, so the new owner read again from there. Another
    /// one waited for its next attempt, at 4. Its wait was over while the reader was still at 3: nothing of it was found up to there, it was
    /// taken for done, and its events between 4 and 9 were passed over.
    #[test]
    fn a_key_that_waited_is_not_forgotten_while_its_lane_is_read_again() {
        let now = Instant::now();
        let at = GlobalPosition::from_number;
        let cursor = |key: &str, after, waits| Cursor {
            key: key.to_owned(),
            after: at(after),
            next_version: None,
            attempts: 0,
            begun: false,
            suspect: false,
            wait: waits,
            event: waits.map(|_| ParkedEvent::new(&event(key, after + 1), 1, "not yet")),
            parked: false,
            order: None,
        };
        let keys = vec![cursor("behind", 2, None), cursor("waits", 4, Some(0))];
        let record = LaneRecord { owner: None, token: 1, read: at(9), keys };
        let mut lane = Lane::taken_over(&record, RecordVersion::new(1), now, None);
        let (behind, waits) = (Key::from("behind"), Key::from("waits"));
        assert_eq!(lane.read, at(2));
        assert_eq!(lane.accept(behind.clone(), event("behind", 3), false), Then::Ready);
        lane.passed(at(3));
        assert_eq!(lane.release(&waits, now), Then::Load);
        assert_eq!(lane.loaded(&waits, Vec::new(), true), Then::Nothing);
        assert_eq!(lane.record(None, now).read, at(9));
        assert_eq!(lane.accept(waits.clone(), event("waits", 5), false), Then::Ready);
        assert_eq!(lane.accept(waits.clone(), event("waits", 8), false), Then::Nothing);
        assert_eq!(lane.accept(Key::from("done"), event("done", 6), false), Then::Nothing);
        lane.passed(at(9));
        for (key, position) in [(&waits, 5), (&behind, 3), (&waits, 8)] {
            let taken = lane.take(key, now).expect("it is ready").event;
            assert_eq!(taken.position, at(position));
            lane.done(key, taken.position, taken.version);
        }
        assert_eq!(lane.record(None, now), LaneRecord { owner: None, token: 1, read: at(9), keys: Vec::new() });
    }
}
