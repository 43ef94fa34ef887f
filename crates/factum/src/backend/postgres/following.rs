//! The end of the log as readers may see it, and waking those who wait there.
//!
//! An event's position is made of its transaction's id, and transactions commit in any order. So readers stop at the *horizon*: the first
//! position that a transaction still under way may use. Everything below it is settled. A horizon that was read before the rows are is
//! never too high for them, and that is the one rule here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use sqlx::Row;
use sqlx::postgres::PgListener;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use super::database::{Database, read};
use super::error::{closed, unavailable};
use super::row;
use crate::GlobalPosition;
use crate::error::Result;

/// How long a reader waits for what this process was told is recorded, when another transaction holds the horizon back.
const SETTLING_MAX: Duration = Duration::from_secs(2);
/// How long a waiting store does not look by itself at most: NOTIFY is a hint and may be missed.
const LOOK_INTERVAL_MAX: Duration = Duration::from_secs(1);
const LOOK_INTERVAL_MIN: Duration = Duration::from_millis(50);
/// So soon it looks again when there are events behind the horizon, and then ever later.
const HIDDEN_INTERVAL_MIN: Duration = Duration::from_millis(1);
/// Notifications are at least so far apart: each one locks the whole cluster for a moment.
const NOTIFY_INTERVAL: Duration = Duration::from_millis(10);

/// What a store knows of the end of the log.
#[derive(Debug)]
pub(super) struct Following {
    /// The last position that is known to be visible; `None` once the store is closed.
    head: watch::Sender<Option<GlobalPosition>>,
    /// The highest horizon seen.
    horizon: AtomicI64,
    /// The highest position that callers were told of, or that was given out before the store was opened.
    promised: AtomicI64,
    /// Up to where waiting for the horizon was given up.
    given_up: AtomicI64,
    waiting: AtomicUsize,
    /// Somebody waits, or there may be something new.
    look: Arc<Notify>,
    /// Something was recorded here that others should hear of,
    recorded: Arc<Notify>,
    /// and that was said already.
    to_tell: AtomicBool,
    tasks: std::sync::Mutex<Vec<AbortHandle>>,
}

/// The end of the log at one moment.
struct End {
    horizon: i64,
    /// The last position below the horizon.
    head: i64,
    /// Whether there are events behind the horizon.
    hides: bool,
}

impl Following {
    pub(super) fn new(seen: i64) -> Self {
        Self {
            head: watch::Sender::new(Some(GlobalPosition::START)),
            horizon: AtomicI64::new(0),
            promised: AtomicI64::new(seen),
            given_up: AtomicI64::new(0),
            waiting: AtomicUsize::new(0),
            look: Arc::default(),
            recorded: Arc::default(),
            to_tell: AtomicBool::new(false),
            tasks: std::sync::Mutex::default(),
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.head.borrow().is_none()
    }

    /// Wakes those who wait, to find it closed, and stops what goes on by itself.
    pub(super) fn close(&self) {
        self.head.send_replace(None);
        self.stop();
    }

    pub(super) fn stop(&self) {
        for task in self.tasks.lock().expect("no holder of this lock panics").drain(..) {
            task.abort();
        }
    }

    /// A caller is about to be told that this position is recorded.
    pub(super) fn promise(&self, position: GlobalPosition) {
        self.promised.fetch_max(row::number(position.number()), Ordering::SeqCst);
        // Who begins to wait after this looks by itself.
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.look.notify_one();
        }
        // Waking a task takes as long as a fourth of an append.
        if !self.to_tell.swap(true, Ordering::SeqCst) {
            self.recorded.notify_one();
        }
    }

    fn saw(&self, end: &End) {
        self.horizon.fetch_max(end.horizon, Ordering::SeqCst);
        let seen = row::position(end.head);
        self.head.send_if_modified(|head| {
            let is_new = head.is_some_and(|head| head < seen);
            if is_new {
                *head = Some(seen);
            }
            is_new
        });
    }
}

/// Begins to watch the end of the log for those who wait, and to tell other processes of what is recorded.
pub(super) fn start(database: &Arc<Database>) {
    let tasks = [
        tokio::spawn(watch_end(Arc::downgrade(database))).abort_handle(),
        tokio::spawn(listen(Arc::downgrade(database))).abort_handle(),
        tokio::spawn(notify(Arc::downgrade(database))).abort_handle(),
    ];
    database.following.tasks.lock().expect("no holder of this lock panics").extend(tasks);
}

impl Database {
    /// The last position that a reader can see.
    pub(super) async fn head(&self) -> Result<GlobalPosition> {
        Ok(row::position(self.settled().await?.head))
    }

    /// The position up to which everything is settled; what is recorded later comes behind it.
    pub(super) async fn settled_to(&self) -> Result<i64> {
        Ok(self.settled().await?.horizon - 1)
    }

    /// Whether everything up to this position is known to be settled.
    pub(super) fn is_settled(&self, position: i64) -> bool {
        position < self.following.horizon.load(Ordering::SeqCst)
    }

    /// The end of the log, with what callers of this process were told is recorded. A transaction that began before and is still under
    /// way hides that; it is waited for, but not for ever.
    async fn settled(&self) -> Result<End> {
        let following = &self.following;
        let promised = following.promised.load(Ordering::SeqCst);
        let begun = Instant::now();
        let mut pause = Duration::from_micros(300);
        loop {
            let end = self.end().await?;
            if end.horizon > promised || promised <= following.given_up.load(Ordering::SeqCst) {
                return Ok(end);
            }
            if begun.elapsed() > SETTLING_MAX {
                following.given_up.fetch_max(promised, Ordering::SeqCst);
                tracing::warn!("a long transaction hides new events from readers of the log; `factum stats` names it");
                return Ok(end);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }

    async fn end(&self) -> Result<End> {
        let look = "SELECT h.horizon,
                           coalesce((SELECT max(e.position) FROM {s}.events e WHERE e.position < h.horizon), 0),
                           EXISTS (SELECT FROM {s}.events e WHERE e.position >= h.horizon)
                    FROM (SELECT base + (pg_snapshot_xmin(pg_current_snapshot())::text::bigint << 20) AS horizon FROM {s}.meta OFFSET 0) h";
        let row = read!(self, |connection| sqlx::query(self.names.sql(look)).fetch_one(connection));
        let end = (|| Ok(End { horizon: row.try_get(0)?, head: row.try_get(1)?, hides: row.try_get(2)? }))().map_err(unavailable)?;
        self.following.saw(&end);
        Ok(end)
    }

    pub(super) async fn wait_after(&self, position: GlobalPosition) -> Result<()> {
        let following = &self.following;
        let mut head = following.head.subscribe();
        let _waiting = Waiting::new(following);
        following.look.notify_one();
        let ended = head.wait_for(|head| head.is_none_or(|head| head > position)).await;
        if ended.expect("the sender lives as long as the store").is_none() { Err(closed()) } else { Ok(()) }
    }
}

/// Somebody who waits; as long as there is one, the end of the log is watched.
struct Waiting<'a>(&'a Following);

impl<'a> Waiting<'a> {
    fn new(following: &'a Following) -> Self {
        following.waiting.fetch_add(1, Ordering::SeqCst);
        Self(following)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Looks at the end of the log whenever there may be something new and somebody waits for it.
async fn watch_end(database: std::sync::Weak<Database>) {
    let mut pause = LOOK_INTERVAL_MIN;
    let mut hidden_pause = HIDDEN_INTERVAL_MIN;
    loop {
        let Some(open) = database.upgrade() else { return };
        let hides = if open.following.waiting.load(Ordering::SeqCst) == 0 {
            None
        } else {
            // A server that is gone for long is looked for again: whoever waits looks as well, and hears why.
            Some(open.end().await.is_ok_and(|end| end.hides))
        };
        let look = open.following.look.clone();
        drop(open);
        match hides {
            None => look.notified().await,
            Some(hides) => {
                let wait = if hides { hidden_pause } else { pause };
                (pause, hidden_pause) = match (timeout(wait, look.notified()).await, hides) {
                    (Ok(()), _) => (LOOK_INTERVAL_MIN, HIDDEN_INTERVAL_MIN),
                    (Err(_), true) => (LOOK_INTERVAL_MIN, (hidden_pause * 2).min(LOOK_INTERVAL_MIN)),
                    (Err(_), false) => ((pause * 2).min(LOOK_INTERVAL_MAX), HIDDEN_INTERVAL_MIN),
                };
            }
        }
    }
}

/// Hears what other processes recorded.
async fn listen(database: std::sync::Weak<Database>) {
    loop {
        let Some(open) = database.upgrade() else { return };
        let (pool, channel, look) = (open.kept.pool.clone(), open.names.channel(), open.following.look.clone());
        drop(open);
        if let Ok(mut listener) = PgListener::connect_with(&pool).await
            && listener.listen(&channel).await.is_ok()
        {
            // It connects again by itself where it can; what was missed meanwhile is found by looking.
            while listener.try_recv().await.is_ok() {
                look.notify_one();
            }
        }
        tokio::time::sleep(LOOK_INTERVAL_MAX).await;
    }
}

/// Tells other processes, soon after something was recorded and not too often.
async fn notify(database: std::sync::Weak<Database>) {
    loop {
        let Some(recorded) = database.upgrade().map(|open| open.following.recorded.clone()) else { return };
        // The store is not held while this waits, so that one that is dropped ends.
        recorded.notified().await;
        let Some(open) = database.upgrade() else { return };
        open.following.to_tell.store(false, Ordering::SeqCst);
        let tell = "SELECT set_config('synchronous_commit', 'off', true), pg_notify($1, '')";
        if let Ok(mut connection) = open.kept.pool.acquire().await {
            // A hint that is lost costs a moment; the store that listens looks by itself.
            let _ = sqlx::query(tell).bind(open.names.channel()).execute(&mut *connection).await;
        }
        drop(open);
        tokio::time::sleep(NOTIFY_INTERVAL).await;
    }
}
