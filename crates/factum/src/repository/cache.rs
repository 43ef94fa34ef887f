//! Hot states: the ones that commands have used last, kept in memory.
//!
//! A state in here may be behind the store and is never trusted: an append expects its version, and an answer without an append looks at
//! the store first.

use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard};

use lru::LruCache;

use super::basis::Ground;
use crate::{StreamId, StreamVersion};

pub(super) struct HotStates<S> {
    /// `None` where none are kept.
    states: Option<Mutex<LruCache<StreamId, Ground<S>>>>,
}

impl<S> HotStates<S> {
    pub(super) fn new(states_max: usize) -> Self {
        Self { states: NonZeroUsize::new(states_max).map(|max| Mutex::new(LruCache::new(max))) }
    }

    pub(super) fn get(&self, stream: &StreamId) -> Option<Ground<S>> {
        self.lock()?.get(stream).cloned()
    }

    /// Keeps a state. Of two that come at once the later version is kept.
    pub(super) fn keep(&self, stream: &StreamId, ground: &Ground<S>) {
        let Some(mut states) = self.lock() else { return };
        let ground = Ground { is_fresh: false, replayed: 0, ..ground.clone() };
        match states.get_mut(stream) {
            Some(kept) if kept.version > ground.version => {}
            Some(kept) => *kept = ground,
            None => drop(states.put(stream.clone(), ground)),
        }
    }

    /// Forgets the state at that version, which has been superseded or turned out to be none of the stream's.
    pub(super) fn forget(&self, stream: &StreamId, version: StreamVersion) {
        if let Some(mut states) = self.lock()
            && states.peek(stream).is_some_and(|kept| kept.version == version)
        {
            drop(states.pop(stream));
        }
    }

    fn lock(&self) -> Option<MutexGuard<'_, LruCache<StreamId, Ground<S>>>> {
        Some(self.states.as_ref()?.lock().expect("no holder of this lock panics"))
    }
}
