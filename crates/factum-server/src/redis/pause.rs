//! CLIENT PAUSE: for a while requests wait, all of them or those that write.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// What has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Paused {
    /// Whatever changes data.
    Writes,
    /// Everything.
    All,
}

/// Whether clients wait, and until when.
#[derive(Debug, Default)]
pub(crate) struct Pause {
    /// Looked at before each request.
    is_on: AtomicBool,
    until: Mutex<Option<(Instant, Paused)>>,
    ended: Notify,
}

impl Pause {
    /// Lets clients wait. Of what was asked for before, the later end and the stricter kind stay.
    pub(crate) fn begin(&self, until: Instant, what: Paused) {
        let mut current = self.lock();
        let before = current.filter(|(end, _)| *end > Instant::now());
        *current = Some(before.map_or((until, what), |(end, kind)| (end.max(until), kind.max(what))));
        self.is_on.store(true, Ordering::Release);
        self.ended.notify_waiters();
    }

    /// Lets clients go on.
    pub(crate) fn end(&self) {
        *self.lock() = None;
        self.is_on.store(false, Ordering::Release);
        self.ended.notify_waiters();
    }

    /// What has to wait now, if anything.
    pub(crate) fn now(&self) -> Option<Paused> {
        if !self.is_on.load(Ordering::Acquire) {
            return None;
        }
        let mut current = self.lock();
        let paused = current.filter(|(end, _)| *end > Instant::now()).map(|(_, what)| what);
        if paused.is_none() {
            *current = None;
            self.is_on.store(false, Ordering::Release);
        }
        paused
    }

    /// Returns when that may have changed.
    pub(crate) async fn changed(&self) {
        let ended = self.ended.notified();
        let Some((until, _)) = *self.lock() else { return };
        // Over, or asked for anew.
        let _ = timeout_at(until, ended).await;
    }

    fn lock(&self) -> MutexGuard<'_, Option<(Instant, Paused)>> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
