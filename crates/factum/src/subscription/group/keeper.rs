//! Keeping a place in the group: heartbeats, a fair share of the lanes, and what is done written to their records.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures::future::join_all;
use jiff::Timestamp;

use super::lane::{Awaited, Lane, Progress, Then};
use super::record::{LaneRecord, MemberEntry};
use super::shared::{Handle, Place, Shared};
use crate::error::{Error, Result};
use crate::{GlobalPosition, RecordVersion, telemetry};

/// A heartbeat comes so many times in a lease.
const BEATS_PER_LEASE: u32 = 4;

/// What a consumer process has seen of the others, by its own clock.
pub(super) struct Keeper {
    shared: Handle,
    /// The beats of each member, and since when they are that many.
    seen: HashMap<String, (u64, Instant)>,
    next_beat: Instant,
    next_write: Option<Instant>,
}

impl Keeper {
    pub(super) fn new(shared: Handle) -> Self {
        Self { shared, seen: HashMap::new(), next_beat: Instant::now(), next_write: None }
    }

    /// Keeps the place until the consumer is stopped, and then gives it back.
    pub(super) async fn run(mut self) {
        loop {
            match self.turn().await {
                Ok(true) => return self.shared.wake_all(),
                Ok(false) => {}
                Err(error) if error.is_retryable() => {
                    tracing::warn!(group = self.shared.name, %error, "the group's records can't be reached; trying again");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(error) => return self.shared.fail(error),
            }
        }
    }

    /// Waits for something to do and does it; `true` once everything is given back.
    async fn turn(&mut self) -> Result<bool> {
        let next_release = self.shared.release_due(Instant::now());
        let deadline = [Some(self.next_beat), self.next_write, next_release].into_iter().flatten().min().unwrap_or(self.next_beat);
        let is_urgent = {
            let state = self.shared.state();
            let is_left = state.lanes.values().any(Lane::is_left);
            state.is_urgent || is_left || state.stopping
        };
        if !is_urgent && deadline > Instant::now() {
            // Whatever wakes it up, the next turn looks again.
            _ = tokio::time::timeout_at(deadline.into(), self.shared.work.notified()).await;
        }
        let now = Instant::now();
        if self.shared.state().stopping {
            return self.leave().await;
        }
        if now >= self.next_beat {
            self.beat().await?;
            self.next_beat = now + self.shared.lease / BEATS_PER_LEASE;
        }
        let (is_urgent, is_changed) = {
            let mut state = self.shared.state();
            // Until it is to be written, one thing that is acknowledged is news, and what follows is not.
            if self.next_write.is_none() {
                self.shared.hear_news(&mut state);
            } else {
                self.shared.note_all(&mut state);
            }
            let is_left = state.lanes.values().any(Lane::is_left);
            (std::mem::take(&mut state.is_urgent) || is_left, state.lanes.values().any(Lane::is_changed))
        };
        if is_urgent || self.next_write.is_some_and(|due| now >= due) {
            self.next_write = None;
            self.write(Which::Changed).await?;
        } else if is_changed && self.next_write.is_none() {
            self.next_write = Some(now + self.shared.acknowledge_within);
        }
        Ok(false)
    }

    /// Says that this member is alive, removes those that are not, and sees to its share of the lanes.
    async fn beat(&mut self) -> Result<()> {
        let begun = Instant::now();
        let (shared, seen) = (self.shared.clone(), &mut self.seen);
        let beat = |group: &mut super::record::GroupRecord| {
            for (name, member) in &group.members {
                let known = seen.entry(name.clone()).or_insert((member.beats, begun));
                if known.0 != member.beats {
                    *known = (member.beats, begun);
                }
            }
            let is_dead = |name: &String| seen.get(name).is_some_and(|(_, since)| begun.duration_since(*since) > shared.lease);
            group.members.retain(|name, _| *name == shared.member || !is_dead(name));
            let own = group.members.entry(shared.member.clone()).or_insert(MemberEntry { beats: 0, seen_at: Timestamp::now() });
            (own.beats, own.seen_at) = (own.beats + 1, Timestamp::now());
            Some(group.members.keys().cloned().collect::<Vec<_>>())
        };
        let members = self.shared.records.group.update(beat).await?.unwrap_or_default();
        self.seen.retain(|name, _| members.contains(name));
        self.shared.state().valid_until = Some(begun + self.shared.lease);
        self.share(&members).await?;
        // What was only read past is written seldom: it saves reading, and nothing depends on it.
        self.write(Which::ReadFurther).await?;
        self.report_lag().await;
        self.shared.ready.notify_waiters();
        Ok(())
    }

    /// Says how far behind the end of the log the lanes of this member are.
    async fn report_lag(&self) {
        let position = self.shared.state().lanes.values().map(Lane::position).min();
        if telemetry::IS_ON
            && let Some(position) = position
            && let Ok(head) = self.shared.store.head().await
        {
            telemetry::lag(&self.shared.name, head.number().saturating_sub(position.number()));
        }
    }

    /// Takes lanes that are free while there are fewer than its share, and gives up those that are more.
    async fn share(&self, members: &[String]) -> Result<()> {
        let shared = &self.shared;
        let rank = members.iter().position(|name| *name == shared.member).unwrap_or_default();
        let (each, left) = (usize::from(shared.lanes) / members.len().max(1), usize::from(shared.lanes) % members.len().max(1));
        let share = each + usize::from(rank < left);
        let lanes = join_all((0..shared.lanes).map(|number| async move { (number, self.look(number).await) })).await;
        let mut free = Vec::new();
        for (number, record) in lanes {
            let (version, record) = record?.unwrap_or_default();
            let is_ours = record.owner.as_deref() == Some(&shared.member);
            let is_held = {
                let mut state = shared.state();
                let held = state.lanes.get(&number).map(|lane| (lane.token, lane.version));
                match held {
                    Some((token, known)) if is_ours && token == record.token => {
                        if version > known {
                            self.obey(&mut state, number, version, &record);
                        }
                        true
                    }
                    Some(_) => {
                        self.lose(&mut state, number);
                        false
                    }
                    None => false,
                }
            };
            // A lane that names us, and that we don't have, is one whose taking over we never heard the end of.
            if !is_held && (is_ours || record.owner.as_ref().is_none_or(|owner| !members.contains(owner))) {
                free.push((number, version, record));
            }
        }
        let held = {
            let mut state = shared.state();
            let mut held: Vec<u16> = state.lanes.iter().filter(|(_, lane)| !lane.is_leaving).map(|(number, _)| *number).collect();
            held.sort_unstable();
            for number in held.drain(held.len().min(share)..) {
                if let Some(lane) = state.lanes.get_mut(&number) {
                    lane.is_leaving = true;
                }
            }
            if state.lanes.values().any(|lane| lane.is_leaving) {
                shared.gather(&mut state);
            }
            held.len()
        };
        // Members begin at different ends, so that they seldom try to take the same one.
        let begin = if free.is_empty() { 0 } else { (rank * each.max(1)) % free.len() };
        free.rotate_left(begin);
        let wanted = free.into_iter().take(share.saturating_sub(held));
        for taken in join_all(wanted.map(|(number, version, record)| self.take(number, version, record))).await {
            taken?;
        }
        Ok(())
    }

    async fn look(&self, number: u16) -> Result<Option<(RecordVersion, LaneRecord)>> {
        self.shared.records.lane(number)?.get().await
    }

    /// Takes a lane over. From here on no earlier owner can write to it.
    async fn take(&self, number: u16, version: RecordVersion, record: LaneRecord) -> Result<()> {
        let was_left = record.owner.is_none();
        let taken = LaneRecord { owner: Some(self.shared.member.clone()), token: record.token + 1, ..record };
        match self.shared.records.lane(number)?.set(version, &taken).await {
            Ok(version) => {
                let now = Instant::now();
                let lane = Lane::taken_over(&taken, version, now, (!was_left).then(|| now + self.shared.lease));
                let mut state = self.shared.state();
                state.add(number, lane);
                let lane = state.lanes.get_mut(&number).expect("it has just been added");
                let then = lane.obey(&taken);
                let token = lane.token;
                for (key, then) in then {
                    self.shared.then(&mut state, Place { lane: number, token, key }, then);
                }
                drop(state);
                self.shared.room.notify_one();
                Ok(())
            }
            // Somebody else was quicker.
            Err(Error::RecordConflict { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The record was changed from outside, and the lane is still ours.
    fn obey(&self, state: &mut super::shared::State, number: u16, version: RecordVersion, record: &LaneRecord) {
        let Some(lane) = state.lanes.get_mut(&number) else { return };
        lane.version = version;
        let (then, token) = (lane.obey(record), lane.token);
        for (key, then) in then {
            self.shared.then(state, Place { lane: number, token, key }, then);
        }
    }

    /// The lane belongs to somebody else: what is in hand of it will not be acknowledged.
    fn lose(&self, state: &mut super::shared::State, number: u16) {
        tracing::info!(group = self.shared.name, lane = number, "a lane was taken over by another consumer");
        // In this order: what is acknowledged after this is compared with what is lost, and nothing of it is taken ahead any more.
        self.shared.gather(state);
        self.shared.losses.fetch_add(1, Ordering::SeqCst);
        state.remove(number);
        self.shared.written.notify_waiters();
        self.shared.room.notify_one();
    }

    /// Writes the records of lanes, and lets go of those that are to be given up.
    async fn write(&self, which: Which) -> Result<()> {
        let now = Instant::now();
        let writes: Vec<_> = {
            let mut state = self.shared.state();
            self.shared.hear_news(&mut state);
            let due = |lane: &&Lane| match which {
                Which::All => true,
                Which::Changed => lane.is_changed() || lane.is_left(),
                Which::ReadFurther => lane.is_read_further() || lane.is_left(),
            };
            let numbered = state.lanes.iter().filter(|(_, lane)| due(lane));
            let write = numbered.map(|(number, lane)| {
                let is_last = lane.is_idle() && (lane.is_leaving || which == Which::All);
                let record = lane.record((!is_last).then_some(&self.shared.member), now);
                let progress = lane.progress.clone();
                Write { number: *number, version: lane.version, changes: lane.changes, progress, read: lane.read, is_last, record }
            });
            write.collect()
        };
        let outcomes = join_all(writes.iter().map(|write| self.write_one(write))).await;
        self.shared.written.notify_waiters();
        outcomes.into_iter().collect()
    }

    async fn write_one(&self, write: &Write) -> Result<()> {
        let lane = self.shared.records.lane(write.number)?;
        let outcome = lane.set(write.version, &write.record).await;
        if let Err(Error::OutcomeUnknown { .. }) = outcome {
            write.progress.is_unsure(write.changes);
        }
        let found = match outcome {
            Ok(version) => {
                let mut state = self.shared.state();
                if write.is_last {
                    state.remove(write.number);
                    // What waited in it makes room for others.
                    self.shared.room.notify_one();
                } else if let Some(lane) = state.lanes.get_mut(&write.number) {
                    lane.wrote(version, write.changes, write.read);
                }
                return Ok(());
            }
            Err(Error::RecordConflict { .. } | Error::OutcomeUnknown { .. }) => lane.get().await?,
            Err(error) => return Err(error),
        };
        // Either somebody took the lane, or asked for something, or our own write arrived and its answer did not.
        let (version, record) = found.unwrap_or_default();
        let mut state = self.shared.state();
        if record.token == write.record.token && record.owner.as_deref() == Some(&self.shared.member) {
            self.obey(&mut state, write.number, version, &record);
            state.is_urgent = true;
        } else {
            self.lose(&mut state, write.number);
        }
        Ok(())
    }

    /// Once nothing is in hand: writes everything, gives the lanes back, and leaves the group.
    async fn leave(&mut self) -> Result<bool> {
        if !self.shared.state().lanes.values().all(Lane::is_idle) {
            // Handlers still work, or wait for what they did to be written: the place is kept for them.
            self.write(Which::Changed).await?;
            if self.shared.state().lanes.values().all(Lane::is_idle) {
                return Ok(false);
            }
            let until = self.next_beat.max(Instant::now());
            _ = tokio::time::timeout_at(until.into(), self.shared.work.notified()).await;
            if Instant::now() >= self.next_beat {
                self.next_beat = Instant::now() + self.shared.lease / BEATS_PER_LEASE;
                self.beat().await?;
            }
            return Ok(false);
        }
        self.write(Which::All).await?;
        if !self.shared.state().lanes.is_empty() {
            return Ok(false);
        }
        let member = &self.shared.member;
        self.shared.records.group.update(|group| group.members.remove(member)).await?;
        Ok(true)
    }
}

/// Which lanes are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    All,
    Changed,
    ReadFurther,
}

/// A record to be written.
struct Write {
    number: u16,
    version: RecordVersion,
    changes: u64,
    progress: Arc<Progress>,
    read: GlobalPosition,
    is_last: bool,
    record: LaneRecord,
}

impl Shared {
    /// Waits until what was done of a lane so far is in its record; an error if the lane is lost before that. The lane counts the waiting
    /// since it was done, so that it is not given up in between.
    pub(super) async fn wait_until_written(&self, place: &Place, awaited: Awaited) -> Result<()> {
        let _waits = Waits { shared: self, place };
        loop {
            let written = self.written.notified();
            let mut written = std::pin::pin!(written);
            written.as_mut().enable();
            {
                let mut state = self.state();
                // It counts even if the lane was lost since.
                if awaited.is_written() {
                    return Ok(());
                }
                let is_ours = state.lanes.get(&place.lane).is_some_and(|lane| lane.token == place.token);
                if !is_ours && awaited.is_perhaps_written() {
                    let reason = "whether it was acknowledged before its key was handed over, the store did not say".to_owned();
                    return Err(Error::OutcomeUnknown { reason, source: None });
                }
                if !is_ours || state.failed.is_some() {
                    return Err(self.handed_over(place));
                }
                state.is_urgent = true;
            }
            self.work.notify_one();
            written.await;
        }
    }

    pub(super) fn handed_over(&self, place: &Place) -> Error {
        Error::HandedOver { group: self.name.clone(), key: place.key.to_string() }
    }
}

/// Somebody who waits; while there is one, the lane is not given up.
struct Waits<'a> {
    shared: &'a Shared,
    place: &'a Place,
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.shared.change(self.place, |lane| {
            lane.is_heard();
            Then::Nothing
        });
    }
}
