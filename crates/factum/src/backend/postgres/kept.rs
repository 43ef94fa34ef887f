//! Connections at hand: a pool asks the server after each use whether a connection still lives, which for a short request is half of all
//! that is to be done. So a few are kept here between requests, and asked only when they were idle for long. Nothing is kept while someone
//! waits for the pool: all of a small pool would be here, and whoever waits would wait for ever.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{Connection, PgPool, Postgres};
use tokio::time::Instant;

/// So many are kept; the others go back to the pool.
const KEPT_MAX: usize = 4;
/// A connection that was idle for so long is asked whether it still lives.
const IDLE_TRUSTED: Duration = Duration::from_secs(1);

/// A pool, and the connections of it that are at hand.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) pool: PgPool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    idle: Vec<(PoolConnection<Postgres>, Instant)>,
    /// How many wait for the pool.
    waiting: usize,
    closed: bool,
}

impl Kept {
    pub(super) fn new(pool: PgPool) -> Self {
        Self { pool, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    /// A connection at hand, or one of the pool.
    pub(super) async fn borrow(&self) -> sqlx::Result<PoolConnection<Postgres>> {
        loop {
            let Some((mut connection, since)) = self.take() else {
                let _waits = Waits(self);
                return self.pool.acquire().await;
            };
            if since.elapsed() < IDLE_TRUSTED || connection.ping().await.is_ok() {
                return Ok(connection);
            }
        }
    }

    /// A connection at hand. If there is none, the caller is counted as waiting, and says with [`Waits`] when it no longer does.
    fn take(&self) -> Option<(PoolConnection<Postgres>, Instant)> {
        let mut state = self.state();
        let taken = state.idle.pop();
        state.waiting += usize::from(taken.is_none());
        taken
    }

    /// Takes back a connection that has done well; any other is dropped, and the pool looks after it.
    pub(super) fn give_back(&self, connection: PoolConnection<Postgres>) {
        let mut state = self.state();
        if !state.closed && state.waiting == 0 && state.idle.len() < KEPT_MAX {
            state.idle.push((connection, Instant::now()));
        }
    }

    /// Closes all of them, and keeps none from now on.
    pub(super) async fn close(&self) {
        let idle = {
            let mut state = self.state();
            state.closed = true;
            std::mem::take(&mut state.idle)
        };
        drop(idle);
        self.pool.close().await;
    }
}

/// Someone who waits for the pool.
struct Waits<'k>(&'k Kept);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.state().waiting -= 1;
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // A pool takes connections back in a task, and there may be no runtime any more.
        for (connection, _) in self.state().idle.drain(..) {
            drop(connection.detach());
        }
    }
}
