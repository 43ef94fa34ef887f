//! How fast background work goes: it rests as long as it works, so that it never takes more than half of a disk or a core.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// After so many bytes it rests.
const PIECE_BYTES: usize = 1 << 20;
/// It rests no longer than this at a time, so that it soon notices that it is to stop.
const REST_MAX: Duration = Duration::from_millis(50);

/// Paces work, and says when to stop.
pub(crate) struct Pace<'p> {
    stop: &'p AtomicBool,
    rests: bool,
    piece: usize,
    begun: Instant,
    /// Told of all bytes that were worked through.
    told: Option<&'p mut dyn FnMut(u64)>,
}

impl<'p> Pace<'p> {
    /// Until `stop` is set; at a slow pace.
    pub(crate) fn slow(stop: &'p AtomicBool) -> Self {
        Self { stop, rests: true, piece: 0, begun: Instant::now(), told: None }
    }

    /// Until `stop` is set; without rests, and telling how many bytes were worked through.
    pub(crate) fn quick(stop: &'p AtomicBool, told: &'p mut dyn FnMut(u64)) -> Self {
        Self { stop, rests: false, piece: 0, begun: Instant::now(), told: Some(told) }
    }

    /// So many bytes more were worked through; false if it is to stop.
    pub(crate) fn keep(&mut self, bytes: usize) -> bool {
        if let Some(told) = &mut self.told {
            told(bytes as u64);
        }
        self.piece += bytes;
        if self.rests && self.piece >= PIECE_BYTES {
            std::thread::sleep(self.begun.elapsed().min(REST_MAX));
            (self.piece, self.begun) = (0, Instant::now());
        }
        !self.stop.load(Ordering::Relaxed)
    }
}
