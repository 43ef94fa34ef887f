//! What is remembered of each block of an open run: one bit. Of blocks that are not there, which a file may speak of, nothing is.

use std::sync::atomic::{AtomicU64, Ordering};

/// One bit for each of some blocks.
#[derive(Debug)]
pub(super) struct Noted(Vec<AtomicU64>);

impl Noted {
    pub(super) fn new(blocks: u64) -> Self {
        Self((0..=blocks / 64).map(|_| AtomicU64::new(0)).collect())
    }

    pub(super) fn has(&self, number: u64) -> bool {
        self.0.get((number / 64) as usize).is_some_and(|word| word.load(Ordering::Relaxed) & 1 << (number % 64) != 0)
    }

    pub(super) fn add(&self, number: u64) {
        if let Some(word) = self.0.get((number / 64) as usize) {
            word.fetch_or(1 << (number % 64), Ordering::Relaxed);
        }
    }

    /// Whether the block needs no check: it had one, or has it now.
    pub(super) fn is_whole(&self, number: u64, check: impl FnOnce() -> bool) -> bool {
        if self.has(number) {
            return true;
        }
        let is_whole = check();
        if is_whole {
            self.add(number);
        }
        is_whole
    }
}
