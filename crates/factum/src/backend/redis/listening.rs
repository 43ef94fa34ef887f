//! Wake-ups: a connection of its own waits at the end of a partition's log, and tells everyone here how far the log has come.
//!
//! It is begun by the first who waits. It never hands events on; readers read.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis::Value;
use redis::aio::MultiplexedConnection;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::entries;
use super::error::{Failure, closed, unreadable};
use super::keys::Keys;
use super::servers::{Servers, ask};
use crate::GlobalPosition;
use crate::error::Result;

/// How long the server is asked to wait; a connection that was cut without a word is noticed after that.
const BLOCK: Duration = Duration::from_secs(5);

/// The longest pause before another connection is tried.
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// Tells how far a partition's log has come.
#[derive(Debug)]
pub(super) struct Listener {
    /// The last position that was heard of, `None` once the store is closed.
    head: watch::Sender<Option<u64>>,
    task: Mutex<Option<JoinHandle<()>>>,
    closed: AtomicBool,
}

impl Listener {
    pub(super) fn new() -> Self {
        Self { head: watch::Sender::new(Some(0)), task: Mutex::default(), closed: AtomicBool::new(false) }
    }

    /// Returns when the log has come further than `position`.
    pub(super) async fn wait_after(&self, servers: &Arc<Servers>, keys: &Keys, position: GlobalPosition) -> Result<()> {
        let mut head = self.head.subscribe();
        self.begin(servers, keys);
        let heard = head.wait_for(|head| head.is_none_or(|head| head > position.number())).await;
        match heard.map(|head| *head) {
            Ok(Some(_)) => Ok(()),
            Ok(None) | Err(_) => Err(closed()),
        }
    }

    /// What this process itself recorded wakes up those who wait here, too.
    pub(super) fn heard_of(&self, position: GlobalPosition) {
        hear(&self.head, position.number());
    }

    fn begin(&self, servers: &Arc<Servers>, keys: &Keys) {
        let mut task = self.task.lock().expect("no holder of this lock panics");
        if task.is_none() && !self.closed.load(Ordering::SeqCst) {
            *task = Some(tokio::spawn(listen(Arc::clone(servers), keys.clone(), self.head.clone())));
        }
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        if let Some(task) = self.task.lock().expect("no holder of this lock panics").take() {
            task.abort();
        }
        self.head.send_replace(None);
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.close();
    }
}

fn hear(head: &watch::Sender<Option<u64>>, position: u64) {
    head.send_if_modified(|known| match known {
        Some(known) if *known < position => {
            *known = position;
            true
        }
        _ => false,
    });
}

/// Listens until it is stopped, through as many connections as it takes.
async fn listen(servers: Arc<Servers>, keys: Keys, head: watch::Sender<Option<u64>>) {
    let mut pause = Duration::from_millis(5);
    loop {
        let heard_before = *head.borrow();
        let failure = listen_once(&servers, &keys, &head).await;
        tracing::debug!(?failure, log = keys.log(), "the connection that waits for events was lost; another one is made");
        pause = if *head.borrow() == heard_before { (pause * 2).min(PAUSE_MAX) } else { Duration::from_millis(5) };
        tokio::time::sleep(pause).await;
    }
}

/// Listens on one connection until it fails.
async fn listen_once(servers: &Servers, keys: &Keys, head: &watch::Sender<Option<u64>>) -> Failure {
    let mut connection = match servers.connect(keys.log(), BLOCK + servers.timeout()).await {
        Ok(connection) => connection,
        Err(failure) => return failure,
    };
    loop {
        let last = match last_position(&mut connection, keys).await {
            Ok(last) => last,
            Err(failure) => return failure,
        };
        hear(head, last);
        let mut wait = redis::cmd("XREAD");
        wait.arg("COUNT").arg(1).arg("BLOCK").arg(u64::try_from(BLOCK.as_millis()).expect("some seconds"));
        wait.arg("STREAMS").arg(keys.log()).arg(format!("{last}-0"));
        if let Err(failure) = ask(&mut connection, &wait).await {
            return failure;
        }
    }
}

async fn last_position(connection: &mut MultiplexedConnection, keys: &Keys) -> Result<u64, Failure> {
    match ask(connection, redis::cmd("HGET").arg(keys.meta()).arg("head")).await? {
        Value::Nil => Ok(0),
        Value::BulkString(digits) => entries::number(&digits).ok_or_else(|| Failure::Refused(unreadable("a position"))),
        _ => Err(Failure::Refused(unreadable("a position"))),
    }
}
