//! Compaction: complete segments in which much is dead are replaced by smaller files, one at a time, in the background.
//!
//! A segment is weighed when it is complete, if there are records in it. It is weighed again each time the log behind it has become twice as
//! long, if enough of it is records, and when truncations suggest that enough of it died. So a log that is only added to costs little, and
//! one whose records are overwritten stays small.

mod dead;
mod notes;
mod pace;
mod rewrite;

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::read::Snapshot;
use crate::segment::Segment;
use crate::shared::Shared;
use notes::Notes;
pub use notes::dead_bytes;
pub(crate) use pace::Pace;
pub(crate) use rewrite::{Weight, rewrite, weigh};

/// How often it looks whether there is something to do.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How long it rests after it failed: the disk is full, say.
const RETRY: Duration = Duration::from_secs(30);
/// Less than this is not worth a new file, in bytes.
const WORTH_BYTES: u64 = if cfg!(test) { 1 } else { 4 << 10 };
/// So much room on the disk is left to the writer, in bytes.
const ROOM_BYTES_MIN: u64 = 64 << 20;

/// Compacts the segments of one open log.
#[derive(Debug)]
pub(crate) struct Compactor {
    shared: Arc<Shared>,
    state: Mutex<State>,
    wake: Condvar,
    /// Held by whoever compacts: one at a time.
    work: Mutex<Notes>,
}

#[derive(Debug, Default)]
struct State {
    /// A segment is complete.
    called: bool,
    closed: bool,
}

/// What compacting at once did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Files of the log.
    pub segments: u64,
    /// How many of them were made smaller.
    pub compacted: u64,
    /// Bytes of the log's files before,
    pub bytes_before: u64,
    /// and after.
    pub bytes_after: u64,
}

impl Compactor {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let notes = Notes::read(&shared);
        Self { shared, state: Mutex::default(), wake: Condvar::new(), work: Mutex::new(notes) }
    }

    /// The compactor's thread.
    pub(crate) fn run(&self) {
        let mut rests_until: Option<Instant> = None;
        loop {
            {
                let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                let quiet = |state: &mut State| !state.called && !state.closed;
                let (mut state, _) = self.wake.wait_timeout_while(state, LOOK_INTERVAL, quiet).unwrap_or_else(PoisonError::into_inner);
                if state.closed {
                    break;
                }
                state.called = false;
            }
            if rests_until.is_some_and(|until| Instant::now() < until) {
                continue;
            }
            rests_until = None;
            if let Err(error) = self.round(&mut Pace::slow(&self.shared.closing)) {
                tracing::debug!(%error, "nothing could be compacted; it is tried again");
                rests_until = Some(Instant::now() + RETRY);
            }
        }
        self.keep_notes();
    }

    /// Keeps what is known for the next time that the log is opened.
    pub(crate) fn keep_notes(&self) {
        self.work.lock().unwrap_or_else(PoisonError::into_inner).write(&self.shared);
    }

    /// Tells the thread that a segment is complete.
    pub(crate) fn call(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).called = true;
        self.wake.notify_all();
    }

    /// Ends the thread.
    pub(crate) fn stop(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.wake.notify_all();
    }

    /// Weighs the segments that are due, and compacts those that are worth it.
    pub(crate) fn round(&self, pace: &mut Pace<'_>) -> Result<()> {
        let shared = &*self.shared;
        let mut notes = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        let snapshot = shared.snapshot();
        if shared.options.dead_percent_max >= 100 {
            return Ok(());
        }
        complete(&snapshot).for_each(|segment| notes.note_if_immortal(segment, &snapshot));
        notes.follow(shared, &snapshot)?;
        for segment in complete(&snapshot) {
            if !notes.is_due(segment, &snapshot, shared.options.dead_percent_max) {
                continue;
            }
            match self.look_at(segment, &snapshot, &mut notes, pace) {
                Ok(true) => {}
                // What is known now is kept when the log is closed.
                Ok(false) => return Ok(()),
                Err(error @ Error::Corrupt { .. }) => {
                    // What is damaged is not touched. It is looked at again when the log is much longer.
                    tracing::warn!(%error, "a segment of the log can't be compacted, because it is damaged; verify the store");
                    notes.note(segment, &snapshot, Weight::default());
                }
                Err(error) => return Err(error),
            }
        }
        notes.write_if_weighed(shared);
        Ok(())
    }

    /// Weighs one segment, and compacts it if that is worth it; false if it was stopped before it was done.
    fn look_at(&self, segment: &Arc<Segment>, snapshot: &Snapshot, notes: &mut Notes, pace: &mut Pace<'_>) -> Result<bool> {
        let shared = &*self.shared;
        let Some(weight) = weigh(shared, segment, pace)? else { return Ok(false) };
        if !weight.exceeds(shared.options.dead_percent_max) || weight.dead < WORTH_BYTES {
            notes.note(segment, snapshot, weight);
            return Ok(true);
        }
        if shared.disk.room(&shared.paths.log).is_some_and(|room| room < weight.live + ROOM_BYTES_MIN) {
            return Err(Error::Full { path: segment.path.clone() });
        }
        let Some((compacted, left)) = rewrite(shared, segment, pace)? else { return Ok(false) };
        tracing::debug!(segment = %segment.path.display(), dead = weight.dead, live = weight.live, "a segment was compacted");
        notes.note(&compacted, snapshot, left);
        Ok(true)
    }

    /// Whether so much of the segment that is being written is dead that it is worth ending it.
    pub(crate) fn is_worth_sealing(&self, dead_percent_max: u8) -> Result<bool> {
        let snapshot = self.shared.snapshot();
        let Some(active) = snapshot.view.segments.last() else { return Ok(false) };
        let weight = weigh(&self.shared, active, &mut Pace::quick(&self.shared.closing, &mut |_| {}))?.ok_or(Error::Closed)?;
        Ok(weight.exceeds(dead_percent_max) && weight.dead >= WORTH_BYTES)
    }

    /// Compacts every complete segment of which more is dead than so much, now and without rests.
    pub(crate) fn compact(&self, dead_percent_max: u8, progress: &mut dyn FnMut(u64, u64)) -> Result<Compacted> {
        let shared = &*self.shared;
        let mut notes = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        let snapshot = shared.snapshot();
        let bytes = |segments: &[Arc<Segment>]| segments.iter().map(|segment| segment.end()).sum::<u64>();
        let total = bytes(&snapshot.view.segments);
        let (mut done, mut count) = (0, 0);
        for segment in complete(&snapshot) {
            let mut within = 0;
            let mut told = |bytes| {
                within += bytes;
                progress((done + within).min(done + segment.end()), total);
            };
            let mut pace = Pace::quick(&shared.closing, &mut told);
            let weight = weigh(shared, segment, &mut pace)?.ok_or(Error::Closed)?;
            notes.note(segment, &snapshot, weight);
            if weight.exceeds(dead_percent_max) && weight.dead >= WORTH_BYTES {
                let (compacted, left) = rewrite(shared, segment, &mut pace)?.ok_or(Error::Closed)?;
                notes.note(&compacted, &snapshot, left);
                count += 1;
            }
            done += segment.end();
        }
        progress(total, total);
        let bytes_after = bytes(&shared.view().segments);
        Ok(Compacted { segments: snapshot.view.segments.len() as u64, compacted: count, bytes_before: total, bytes_after })
    }
}

/// The segments that no one writes to any more.
fn complete(snapshot: &Snapshot) -> impl Iterator<Item = &Arc<Segment>> {
    let active = snapshot.end.segment();
    snapshot.view.segments.iter().filter(move |segment| segment.header.number < active)
}
