//! What others append to the same store is noticed: another door, or a program that uses the library.
//!
//! Nothing rests on this for correctness of writes, because every append says what it expects. It is for those who wait, and so that what is
//! known of a stream does not stay behind.

use std::sync::Arc;
use std::time::Duration;

use factum::{EventStream, GlobalPosition, ReadLog, Receipt, RecordedEvent};
use futures::TryStreamExt;

use super::key::Key;
use super::state::{Load, Missed, State};
use super::{Keyspace, now};

/// Our own appends are answered soon after the log shows them; until then they would look like those of others.
const PAUSE: Duration = Duration::from_millis(10);
/// After a failure, or with something left to do.
const AGAIN: Duration = Duration::from_millis(250);
/// How often expired keys are looked for.
const SWEEP: Duration = Duration::from_secs(1);
/// How many expired keys are removed at a time.
const SWEPT_MAX: usize = 200;

impl Keyspace {
    /// Follows the log for ever.
    pub(super) async fn tail(self: Arc<Self>) {
        let Ok(head) = self.store.head().await else { return };
        {
            let mut state = self.lock();
            state.looked_to = state.looked_to.max(head);
        }
        // Keys whose streams went on while something of ours was on its way to them.
        let mut behind: Vec<Key> = Vec::new();
        loop {
            let looked_to = self.lock().looked_to;
            let waited = if behind.is_empty() {
                self.store.wait_after(looked_to).await
            } else {
                tokio::time::sleep(AGAIN).await;
                Ok(())
            };
            tokio::time::sleep(if waited.is_ok() { PAUSE } else { AGAIN }).await;
            behind.retain(|key| !self.lock().drop_if_settled(key));
            let looked_to = self.lock().looked_to;
            match self.store.head().await {
                Ok(head) if head > looked_to => {
                    let log = self.store.read_log(ReadLog { after: looked_to, up_to: Some(head), ..ReadLog::default() });
                    if let Err(error) = self.look_at(log, &mut behind).await {
                        tracing::warn!(%error, "can't look at what others appended; trying again");
                    }
                }
                _ => {}
            }
        }
    }

    /// Someone appended to the streams at these keys, past what is known here.
    pub(crate) async fn was_appended_to(&self, keys: &[Key]) {
        for key in keys {
            // If something of ours is on its way to the same stream, it fails and is carried out again.
            while !self.lock().drop_if_settled(key) {
                if self.settle_all().await.is_err() {
                    break;
                }
            }
            self.lock().signal(key);
        }
    }

    async fn look_at(&self, mut log: EventStream, behind: &mut Vec<Key>) -> factum::Result<()> {
        while let Some(event) = log.try_next().await? {
            let mut state = self.lock();
            if let Some(key) = Key::of_stream(&event.stream)
                && state.is_behind(&key, &event)
                && !state.drop_if_settled(&key)
                && !behind.contains(&key)
            {
                behind.push(key);
            }
            state.looked_to = state.looked_to.max(event.position);
        }
        Ok(())
    }

    /// Removes keys that have expired, where their names are known.
    pub(super) async fn sweep(self: Arc<Self>) {
        loop {
            tokio::time::sleep(SWEEP).await;
            if self.options.pause.now().is_some() {
                continue;
            }
            let expired = self.lock().names.as_ref().map(|names| names.expired(now(), SWEPT_MAX)).unwrap_or_default();
            if expired.is_empty() {
                continue;
            }
            let loads = expired.iter().cloned().map(Load::Slot).collect();
            if self.load(loads).await.is_err() {
                continue;
            }
            let mut state = self.lock();
            let mut context = self.context(&mut state, now());
            for key in &expired {
                // Whoever looks at a key that has expired removes it.
                let _ = context.slot(key);
            }
            drop(state);
            self.send();
        }
    }
}

impl State {
    /// Notes where our own events stand, so that they need not be looked at.
    pub(super) fn note_positions(&mut self, receipt: &Receipt) {
        let next = |position: GlobalPosition| position.number() + 1;
        if let Some(first) = receipt.streams.first()
            && first.first_position.number() == next(self.looked_to)
        {
            self.looked_to = receipt.last_position();
        }
    }

    /// Whether an event is one that is not known here, and someone should look again.
    fn is_behind(&mut self, key: &Key, event: &RecordedEvent) -> bool {
        let version = event.version.get();
        let is_behind = match self.slots.get(key) {
            Some(slot) => slot.stream.as_ref().is_none_or(|stream| stream.version < version),
            // It may be being read, from before.
            None => self.loading.remove(key).is_some() || self.blocked.contains_key(key),
        };
        if is_behind || !self.slots.contains_key(key) {
            self.named(Missed::Stream(key.clone(), version));
        }
        if is_behind {
            self.signal(key);
        }
        is_behind
    }

    /// Drops what is known of a key, unless something of it is on its way.
    fn drop_if_settled(&mut self, key: &Key) -> bool {
        let durable = self.durable;
        match self.slots.get(key) {
            Some(slot) if slot.is_dirty || slot.changed_in > durable => false,
            Some(slot) => {
                self.bytes -= slot.size;
                self.slots.remove(key);
                self.signal(key);
                true
            }
            None => true,
        }
    }
}
