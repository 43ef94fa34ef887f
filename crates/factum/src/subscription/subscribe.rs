//! A subscription: what is there, then what comes, without a gap or a duplicate between the two.
//!
//! There is no hand-over to get wrong: it always reads the log after the last position it gave out. A wake-up from the store only
//! says when to read again, and it reads again from time to time without one.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;

use crate::error::Result;
use crate::{EventStore, EventStream, GlobalPosition, Query, ReadLog, RecordedEvent};

/// From where, and what, to follow.
#[derive(Clone, Debug)]
pub struct SubscriptionOptions {
    /// Events after this position.
    pub after: GlobalPosition,
    /// Which events.
    pub query: Query,
    /// How long to wait at most before looking again without a wake-up.
    pub poll_interval: Duration,
}

impl Default for SubscriptionOptions {
    fn default() -> Self {
        Self { after: GlobalPosition::START, query: Query::all(), poll_interval: Duration::from_secs(1) }
    }
}

/// Follows the log.
///
/// Dropping it ends it. It buffers nothing beyond what the store reads ahead: a slow follower slows only itself.
pub struct Subscription {
    store: Arc<dyn EventStore>,
    options: SubscriptionOptions,
    /// The read under way, and the position up to which it looks at everything.
    reading: Option<(EventStream, GlobalPosition)>,
}

impl Subscription {
    /// Follows `store` as `options` say.
    pub fn new(store: Arc<dyn EventStore>, options: SubscriptionOptions) -> Self {
        Self { store, options, reading: None }
    }

    /// The position up to which everything that matches has been given out: where to go on after a restart.
    pub fn position(&self) -> GlobalPosition {
        self.options.after
    }

    /// The last position of the store, when it was last looked at.
    pub(crate) fn head(&self) -> GlobalPosition {
        self.reading.as_ref().map_or(self.options.after, |(_, head)| *head)
    }

    /// The next event; waits until there is one. Cancelling it loses nothing.
    ///
    /// # Errors
    /// As [`EventStore::read_log`]. After an error the next call goes on where this one stopped.
    pub async fn next(&mut self) -> Result<RecordedEvent> {
        loop {
            if let Some(event) = self.next_recorded().await? {
                return Ok(event);
            }
            let wake_up = self.store.wait_after(self.options.after);
            match tokio::time::timeout(self.options.poll_interval, wake_up).await {
                Ok(woken) => woken?,
                Err(_elapsed) => {}
            }
        }
    }

    /// The next event that is already recorded, `None` once everything up to now has been given out. Cancelling it loses nothing.
    ///
    /// # Errors
    /// As [`EventStore::read_log`].
    pub async fn next_recorded(&mut self) -> Result<Option<RecordedEvent>> {
        if self.reading.is_none() {
            let head = self.store.head().await?;
            if head <= self.options.after {
                return Ok(None);
            }
            let read = ReadLog { after: self.options.after, up_to: Some(head), query: self.options.query.clone(), ..ReadLog::default() };
            self.reading = Some((self.store.read_log(read), head));
        }
        let (events, up_to) = self.reading.as_mut().expect("a read is under way");
        match events.next().await {
            Some(Ok(event)) => {
                self.options.after = event.position;
                Ok(Some(event))
            }
            Some(Err(error)) => {
                self.reading = None;
                Err(error)
            }
            None => {
                // Nothing between the last match and the end of this read matches: the next read need not look at it again.
                self.options.after = self.options.after.max(*up_to);
                self.reading = None;
                Ok(None)
            }
        }
    }
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription").field("options", &self.options).finish_non_exhaustive()
    }
}
