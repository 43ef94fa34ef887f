//! Where reads come from: the log of this process, or one that another process writes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use factum_engine::{Engine, Follower, Proposal, Snapshot};
use tokio::sync::watch;

use super::error::{closed, read_only};
use super::payload::Keys;
use crate::error::Result;

/// How often a reader beside a writer looks whether there is more.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// An open log.
#[derive(Debug)]
pub(super) struct Source {
    log: Log,
    keys: Keys,
    closed: AtomicBool,
    /// The last durable position; only in the process that writes.
    head: watch::Receiver<u64>,
}

#[derive(Debug)]
pub(super) enum Log {
    Own(Engine),
    /// Another process may be writing it.
    Followed(Follower),
}

impl Source {
    pub(super) fn new(log: Log, head: watch::Receiver<u64>) -> Self {
        let keys = Keys::new(match &log {
            Log::Own(engine) => engine.keys().clone(),
            Log::Followed(follower) => follower.keys(),
        });
        Self { log, keys, closed: AtomicBool::new(false), head }
    }

    pub(super) fn keys(&self) -> &Keys {
        &self.keys
    }

    pub(super) fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) { Err(closed()) } else { Ok(()) }
    }

    pub(super) fn snapshot(&self) -> Result<Snapshot> {
        self.check_open()?;
        match &self.log {
            Log::Own(engine) => Ok(engine.snapshot()),
            Log::Followed(follower) => Ok(follower.snapshot()?),
        }
    }

    pub(super) fn check_writable(&self) -> Result<()> {
        self.check_open()?;
        match &self.log {
            Log::Own(_) => Ok(()),
            Log::Followed(_) => Err(read_only()),
        }
    }

    /// Hands a proposal to the writer. The caller has checked that there is one.
    pub(super) fn propose(&self, proposal: Box<dyn Proposal>) {
        match &self.log {
            Log::Own(engine) => engine.propose(proposal),
            Log::Followed(_) => unreachable!("checked before"),
        }
    }

    /// As [`Source::propose`], for a caller who has nothing else to do until the answer is there.
    pub(super) fn propose_here(&self, proposal: Box<dyn Proposal>) {
        match &self.log {
            Log::Own(engine) => engine.propose_here(proposal),
            Log::Followed(_) => unreachable!("checked before"),
        }
    }

    pub(super) async fn wait_after(&self, position: u64) -> Result<()> {
        let mut head = self.head.clone();
        loop {
            if self.snapshot()?.last() > position {
                return Ok(());
            }
            match &self.log {
                // The sender lives on the writer's thread, which ends when the store is closed.
                Log::Own(_) => head.changed().await.map_err(|_| closed())?,
                Log::Followed(_) => tokio::time::sleep(LOOK_INTERVAL).await,
            }
        }
    }

    /// Ends the log's threads, and waits for them.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        match &self.log {
            Log::Own(engine) => engine.close(),
            Log::Followed(_) => {}
        }
    }
}
