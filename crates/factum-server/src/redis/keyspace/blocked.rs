//! Connections that wait for a key to change.

use std::sync::Arc;

use tokio::sync::Notify;

use super::Keyspace;
use super::key::Key;
use super::state::State;

/// Someone who waits, until it is dropped.
pub(crate) struct Blocked {
    keyspace: Arc<Keyspace>,
    keys: Vec<Key>,
    number: u64,
    changed: Arc<Notify>,
}

impl Keyspace {
    /// Waits for one of these keys, from this moment on.
    pub(crate) fn block(self: &Arc<Self>, state: &mut State, keys: Vec<Key>) -> Blocked {
        state.stamp += 1;
        let (number, changed) = (state.stamp, Arc::new(Notify::new()));
        for key in &keys {
            state.blocked.entry(key.clone()).or_default().push((number, Arc::clone(&changed)));
        }
        Blocked { keyspace: Arc::clone(self), keys, number, changed }
    }
}

impl Blocked {
    /// Returns when one of the keys has changed.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        let mut state = self.keyspace.lock();
        for key in &self.keys {
            if let Some(waiting) = state.blocked.get_mut(key) {
                waiting.retain(|(number, _)| *number != self.number);
                if waiting.is_empty() {
                    state.blocked.remove(key);
                }
            }
        }
    }
}
