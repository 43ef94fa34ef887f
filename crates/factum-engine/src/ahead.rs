//! Filling ahead: zeros are written behind the log's end before the log gets there, because syncing bytes that are already in a file
//! takes half the time of syncing a file that grows.
//!
//! It is a matter of speed only. The writer claims the bytes it is about to write; whoever fills writes zeros only where nothing was claimed.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use crate::disk::{Access, DiskFile};
use crate::error::Result;
use crate::segment::Segment;
use crate::shared::Shared;

// The simulation fills small pieces, so that much happens at their edges.
const PIECE_BYTES: u64 = if cfg!(test) { 1 << 10 } else { 512 << 10 };
static PIECE: [u8; PIECE_BYTES as usize] = [0; PIECE_BYTES as usize];
/// Batches larger than this gain nothing: the bytes take longer than the growing.
const SMALL_BATCH_BYTES: u64 = 64 << 10;
/// So many small batches in a row are worth filling ahead for.
const SMALL_BATCHES: u32 = if cfg!(test) { 1 } else { 8 };

#[derive(Debug)]
pub(crate) struct Ahead {
    shared: Arc<Shared>,
    state: Mutex<State>,
    wake: Condvar,
    /// Up to here the file is claimed or filled. Only rises while a segment is active, so the writer can look without the lock.
    frontier: AtomicU64,
    end: AtomicU64,
    small_batches: AtomicU32,
}

#[derive(Debug, Default)]
struct State {
    /// The segment's file, opened once more: the system tells each opener of a failed sync once, and the writer must be told.
    file: Option<Arc<dyn DiskFile>>,
    stopped: bool,
}

impl Ahead {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            state: Mutex::default(),
            wake: Condvar::new(),
            frontier: AtomicU64::new(0),
            end: AtomicU64::new(0),
            small_batches: AtomicU32::new(0),
        }
    }

    /// Goes over to another segment, whose data ends here.
    pub(crate) fn begin(&self, segment: &Arc<Segment>, end: u64) {
        let mut state = self.state.lock().expect("no holder of this lock panics");
        let bytes = segment.file.size().unwrap_or(end);
        self.frontier.store(bytes.max(end), Ordering::Release);
        self.end.store(end, Ordering::Release);
        state.file = self.shared.options.fill_ahead.then(|| self.shared.disk.open(&segment.path, Access::Write, 0).ok()).flatten();
    }

    /// Runs `shorten`, which cuts the segment's file off at `end`, while no one fills.
    pub(crate) fn restart(&self, segment: &Arc<Segment>, end: u64, shorten: impl FnOnce() -> Result<()>) -> Result<()> {
        let _state = self.state.lock().expect("no holder of this lock panics");
        shorten()?;
        self.frontier.store(segment.file.size().unwrap_or(end), Ordering::Release);
        Ok(())
    }

    /// The writer is about to write up to `end`.
    pub(crate) fn claim(&self, end: u64) {
        if end > self.frontier.load(Ordering::Acquire) {
            let _state = self.state.lock().expect("no holder of this lock panics");
            self.frontier.fetch_max(end, Ordering::AcqRel);
        }
    }

    /// The writer has synced a batch of so many bytes, up to `end`.
    pub(crate) fn note(&self, end: u64, batch_bytes: u64) {
        self.end.store(end, Ordering::Release);
        if batch_bytes > SMALL_BATCH_BYTES {
            self.small_batches.store(0, Ordering::Relaxed);
            return;
        }
        let small = self.small_batches.load(Ordering::Relaxed);
        if small < SMALL_BATCHES {
            self.small_batches.store(small + 1, Ordering::Relaxed);
        } else if self.wanted(2) {
            self.wake.notify_one();
        }
    }

    /// Whether less than a part of what should be filled ahead is.
    fn wanted(&self, part: u64) -> bool {
        let (end, frontier) = (self.end.load(Ordering::Acquire), self.frontier.load(Ordering::Acquire));
        let ahead = (end / 4).clamp(1 << 20, 16 << 20) / part;
        self.shared.options.fill_ahead
            && self.small_batches.load(Ordering::Relaxed) >= SMALL_BATCHES
            && frontier < end + ahead
            && frontier + PIECE_BYTES <= self.shared.options.segment_bytes_max
    }

    /// Fills one piece, if one is wanted. Failing is no harm.
    pub(crate) fn fill(&self) -> bool {
        let file = {
            let state = self.state.lock().expect("no holder of this lock panics");
            let Some(file) = state.file.as_ref().filter(|_| !state.stopped && self.wanted(1)) else { return false };
            let frontier = self.frontier.load(Ordering::Acquire);
            if file.write(frontier, &PIECE).is_err() {
                return false;
            }
            self.frontier.store(frontier + PIECE_BYTES, Ordering::Release);
            Arc::clone(file)
        };
        file.sync().is_ok()
    }

    /// Waits until filling may be wanted; false when it is over.
    pub(crate) fn wait(&self) -> bool {
        let state = self.state.lock().expect("no holder of this lock panics");
        if state.stopped {
            return false;
        }
        // A wake-up that is missed only delays: look again from time to time.
        let waited = self.wake.wait_timeout(state, std::time::Duration::from_secs(1)).expect("no holder of this lock panics");
        !waited.0.stopped
    }

    pub(crate) fn stop(&self) {
        self.state.lock().expect("no holder of this lock panics").stopped = true;
        self.wake.notify_all();
    }
}
