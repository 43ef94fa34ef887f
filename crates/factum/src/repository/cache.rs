//! Hot states: the ones that commands have used last, kept in memory.
//!
//! A state in here may be behind the store and is never trusted: an append expects its version, or that its query finds nothing new, and
//! an answer without an append looks at the store first.

use std::hash::Hash;
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard};

use lru::LruCache;

use super::basis::Ground;
use crate::{StreamId, StreamVersion};

/// States by what they are of: a stream, or what a query finds.
pub(super) struct HotStates<S, K = StreamId> {
    /// `None` where none are kept.
    states: Option<Mutex<LruCache<K, Ground<S>>>>,
}

impl<S, K: Clone + Eq + Hash> HotStates<S, K> {
    pub(super) fn new(states_max: usize) -> Self {
        Self { states: NonZeroUsize::new(states_max).map(|max| Mutex::new(LruCache::new(max))) }
    }

    pub(super) fn get(&self, stream: &K) -> Option<Ground<S>> {
        self.lock()?.get(stream).cloned()
    }

    /// Keeps a state of a stream. Of two that come at once the later version is kept.
    pub(super) fn keep(&self, stream: &K, ground: &Ground<S>) {
        self.keep_unless(stream, ground, |kept| kept.version > ground.version);
    }

    /// Keeps a state of a query. Of two that come at once the one that was looked at later is kept.
    pub(super) fn keep_latest(&self, query: &K, ground: &Ground<S>) {
        self.keep_unless(query, ground, |kept| kept.after > ground.after);
    }

    fn keep_unless(&self, key: &K, ground: &Ground<S>, is_later: impl FnOnce(&Ground<S>) -> bool) {
        let Some(mut states) = self.lock() else { return };
        let ground = Ground { is_fresh: false, replayed: 0, ..ground.clone() };
        match states.get_mut(key) {
            Some(kept) if is_later(kept) => {}
            Some(kept) => *kept = ground,
            None => drop(states.put(key.clone(), ground)),
        }
    }

    /// Forgets the state at that version, which has been superseded or turned out to be none of the stream's.
    pub(super) fn forget(&self, stream: &K, version: StreamVersion) {
        if let Some(mut states) = self.lock()
            && states.peek(stream).is_some_and(|kept| kept.version == version)
        {
            drop(states.pop(stream));
        }
    }

    fn lock(&self) -> Option<MutexGuard<'_, LruCache<K, Ground<S>>>> {
        Some(self.states.as_ref()?.lock().expect("no holder of this lock panics"))
    }
}
