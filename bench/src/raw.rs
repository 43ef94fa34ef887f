//! Reading the log below the contract: the engine's entries as they stand in the mapped files, checksums compared, nothing decoded.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use factum_engine::disk::RealDisk;
use factum_engine::{Follower, Indexer, Key, KeyMaker, Options, Terms};

use crate::Outcome;

/// Knows nothing of what is in the log, and need not: a log that was stopped cleanly has its index written.
struct Blind;

impl Indexer for Blind {
    fn terms(&self, _keys: &KeyMaker, _payload: &[u8]) -> Option<Terms> {
        None
    }

    fn record_key(&self, _keys: &KeyMaker, _name: &[u8]) -> Option<Key> {
        None
    }
}

/// How many entries per second are read, all in order, out of a store that was closed.
pub(crate) fn rate(folder: &Path) -> Outcome<f64> {
    let log = Follower::open(Arc::new(RealDisk), folder, Options::default(), Arc::new(Blind))?.snapshot()?;
    let start = Instant::now();
    let mut count = 0;
    log.forward(0, log.last(), |entry| {
        std::hint::black_box(entry.payload);
        count += 1;
        ControlFlow::Continue(())
    })?;
    Ok(f64::from(count) / start.elapsed().as_secs_f64())
}
