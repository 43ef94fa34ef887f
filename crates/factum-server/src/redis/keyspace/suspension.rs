//! While it is not certain that this server is the only one on its store, nothing is answered from memory.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use factum::Error;

use super::Keyspace;
use super::batch::Failure;

impl Keyspace {
    /// Drops all that is known, and reads nothing more into memory until [`Keyspace::resume`]. What is on its way to the store stays so: it
    /// says what it expects.
    pub(crate) fn suspend(&self) {
        self.is_suspended.store(true, Ordering::Release);
        let mut state = self.lock();
        self.give_up(&mut state, &Failure::Failed(Arc::new(suspended())));
        tracing::error!("nothing is answered until it is certain again that no other server has taken over the store");
    }

    /// Goes on.
    pub(crate) fn resume(&self) {
        self.is_suspended.store(false, Ordering::Release);
    }

    /// Whether nothing is answered now.
    pub(crate) fn is_suspended(&self) -> bool {
        self.is_suspended.load(Ordering::Acquire)
    }

    pub(super) fn refuse_if_suspended(&self) -> factum::Result<()> {
        if self.is_suspended() { Err(suspended()) } else { Ok(()) }
    }
}

fn suspended() -> Error {
    let reason = "this server could not reach its store for some seconds, and another may have taken over; it goes on by itself, or ends";
    Error::Unavailable { reason: reason.to_owned(), source: None }
}
