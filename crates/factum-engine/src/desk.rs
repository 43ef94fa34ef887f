//! Where proposals are carried out: at a desk that the writer's thread has, or for a moment a caller who has nothing else to do.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::compaction::Compactor;
use crate::shared::Shared;
use crate::writer::{Proposal, Writer};

/// A caller waits for the disk itself only while the disk is as quick as this.
const QUICK: Duration = Duration::from_micros(500);

/// The writer, and who has to hear of what it did.
pub(crate) struct Desk {
    writer: Writer,
    shared: Arc<Shared>,
    compactor: Arc<Compactor>,
    on_durable: Box<dyn Fn(u64) + Send>,
    /// The last position and the segment that were told.
    told: u64,
    segment: u32,
    /// How long it took last.
    took: Duration,
}

impl Desk {
    pub(crate) fn new(writer: Writer, shared: &Arc<Shared>, compactor: &Arc<Compactor>, on_durable: impl Fn(u64) + Send + 'static) -> Self {
        let snapshot = shared.snapshot();
        Self {
            writer,
            shared: Arc::clone(shared),
            compactor: Arc::clone(compactor),
            on_durable: Box::new(on_durable),
            told: snapshot.last(),
            segment: snapshot.end.segment(),
            took: Duration::ZERO,
        }
    }

    /// Carries proposals out, and settles them all. Says whether tables wait to be written out.
    pub(crate) fn commit(&mut self, proposals: &mut VecDeque<Box<dyn Proposal>>) -> bool {
        let begun = Instant::now();
        self.writer.commit(proposals);
        self.took = begun.elapsed();
        let snapshot = self.shared.snapshot();
        if snapshot.last() > self.told {
            self.told = snapshot.last();
            (self.on_durable)(self.told);
        }
        if snapshot.end.segment() > self.segment {
            self.segment = snapshot.end.segment();
            self.compactor.call();
        }
        self.has_full_tables()
    }

    fn has_full_tables(&self) -> bool {
        !self.shared.view().tables.frozen.is_empty()
    }

    /// Leaves the log so that it opens at once. Where that fails, opening takes longer, and nothing else.
    pub(crate) fn leave(mut self) {
        self.writer.ahead().stop();
        self.writer.stop();
    }
}

/// The desk, which one at a time has, until the log is closed.
#[derive(Clone)]
pub(crate) struct SharedDesk(Arc<Mutex<Option<Desk>>>);

/// The desk, for a caller.
pub(crate) struct Visit<'d>(MutexGuard<'d, Option<Desk>>);

impl std::fmt::Debug for SharedDesk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedDesk").finish_non_exhaustive()
    }
}

impl SharedDesk {
    pub(crate) fn new(desk: Desk) -> Self {
        Self(Arc::new(Mutex::new(Some(desk))))
    }

    /// As [`Desk::commit`], for the writer's thread. `None` if the desk is no more.
    pub(crate) fn commit(&self, proposals: &mut VecDeque<Box<dyn Proposal>>) -> Option<bool> {
        let mut desk = self.0.lock().ok()?;
        Some(desk.as_mut()?.commit(proposals))
    }

    /// The desk, if nobody has it, and a caller would not wait there for long.
    pub(crate) fn visit(&self) -> Option<Visit<'_>> {
        let desk = self.0.try_lock().ok()?;
        let is_quick = desk.as_ref().is_some_and(|desk| desk.took < QUICK && !desk.has_full_tables());
        is_quick.then_some(Visit(desk))
    }

    /// There is none any more. What a bug has left half done is not carried on.
    pub(crate) fn remove(&self) -> Option<Desk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Visit<'_> {
    /// Carries a proposal out, and settles it, as [`Desk::commit`].
    pub(crate) fn commit(mut self, proposal: Box<dyn Proposal>) -> bool {
        let Some(desk) = self.0.as_mut() else { return false };
        // A bug ends the writer, as it does on its own thread, and not the caller, who hears that the proposal was dropped.
        let committed = catch_unwind(AssertUnwindSafe(|| desk.commit(&mut VecDeque::from([proposal]))));
        committed.unwrap_or_else(|_| {
            *self.0 = None;
            false
        })
    }
}
