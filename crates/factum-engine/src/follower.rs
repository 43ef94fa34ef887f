//! Reading along: a log opened read-only, in a process that does not write it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::disk::{Access, Disk};
use crate::error::{Error, Result};
use crate::key::KeyMaker;
use crate::live::{self, Mark};
use crate::open::{self, Mode, follow};
use crate::read::Snapshot;
use crate::replay::Replay;
use crate::segment::{Segment, segment_path};
use crate::shared::{Indexer, Options, Shared};

/// A log opened to read, beside a process that writes it or without one. It changes nothing on disk.
#[derive(Debug)]
pub struct Follower {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    options: Options,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    shared: Arc<Shared>,
    /// When the newest part of the index takes more memory than this, the index files are looked at again, in bytes.
    memtable_bytes_max: usize,
    /// Set while it takes in what is new. If that fails half-way, the log is opened again.
    torn: bool,
}

impl Follower {
    /// Opens the log in `directory`.
    ///
    /// # Errors
    /// [`Error::Missing`] if there is none, [`Error::Corrupt`] if it is damaged, and what the disk says.
    pub fn open(disk: Arc<dyn Disk>, directory: &Path, options: Options, indexer: Arc<dyn Indexer>) -> Result<Self> {
        let state = State::open(&disk, directory, options, indexer)?;
        Ok(Self { disk, directory: directory.to_owned(), options, state: Mutex::new(state) })
    }

    /// The log as it is now, as far as it is durable.
    ///
    /// # Errors
    /// As [`Follower::open`].
    pub fn snapshot(&self) -> Result<Snapshot> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mark = live::read(&*self.disk, &self.directory).filter(|mark| mark.store == state.shared.store);
        if let Some(mark) = mark
            && mark.end > state.shared.snapshot().end
        {
            if state.torn {
                self.open_again(&mut state)?;
            }
            state.torn = true;
            let segments = state.shared.view().segments.len();
            if let Err(error) = catch_up(&self.disk, &state.shared, mark) {
                // A file that was opened may have been replaced since.
                tracing::debug!(%error, "what is new could not be taken in; the log is opened again");
                self.open_again(&mut state)?;
                catch_up(&self.disk, &state.shared, mark)?;
            }
            state.torn = false;
            // If this fails now, the files that were replaced take up their space for a while.
            if state.shared.view().segments.len() > segments
                && let Err(error) = let_go(&self.disk, &state.shared)
            {
                tracing::debug!(%error, "segments that were compacted could not be looked at");
            }
            let too_large = state.shared.view().tables.active.bytes() > state.memtable_bytes_max;
            // If this fails now, it takes more memory for a while.
            if too_large && let Err(error) = self.open_again(&mut state) {
                tracing::debug!(%error, "the index files could not be looked at again");
            }
        }
        Ok(state.shared.snapshot())
    }

    /// Makes keys for this log.
    pub fn keys(&self) -> KeyMaker {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).shared.keys.clone()
    }

    fn open_again(&self, state: &mut State) -> Result<()> {
        let shown = state.shared.snapshot().end;
        let opened = State::open(&self.disk, &self.directory, self.options, Arc::clone(&state.shared.indexer))?;
        // What was shown stays. If less is there, it will say so when it is read.
        if opened.shared.snapshot().end >= shown {
            *state = opened;
        }
        Ok(())
    }
}

impl State {
    fn open(disk: &Arc<dyn Disk>, directory: &Path, options: Options, indexer: Arc<dyn Indexer>) -> Result<Self> {
        let shared = open::open(disk, directory, Mode::Read, false, options, indexer)?.shared;
        let memtable_bytes_max = next_limit(&shared, &options);
        Ok(Self { shared, memtable_bytes_max, torn: false })
    }
}

/// Takes in what has become durable since the last time.
fn catch_up(disk: &Arc<dyn Disk>, shared: &Shared, mark: Mark) -> Result<()> {
    if mark.end <= shared.snapshot().end {
        return Ok(());
    }
    let mut replay = Replay::go_on(shared);
    let mut from = shared.snapshot().end.offset();
    loop {
        let view = shared.view();
        let active = view.segments.last().expect("a log has a segment");
        if active.header.number == mark.end.segment() {
            replay.take_range(active, from, mark.end.offset())?;
            break;
        }
        let path = segment_path(&shared.paths.log, active.header.number + 1);
        let next = Segment::open(disk, &path, Access::Read, shared.segment_capacity())?;
        if next.compaction.is_some_and(|compaction| compaction.decided_at > mark.end) {
            // It lacks what was superseded since: what was asked for would not be found.
            return Err(Error::corrupt(&path, None, "the segment was compacted after the log was looked at"));
        }
        follow(active, &next)?;
        let complete = active.end();
        replay.take_range(active, from, complete)?;
        from = next.first_frame();
        shared.change_view(|view| view.segments.push(Arc::new(next)));
    }
    let table = &shared.view().tables.active;
    if table.last() != mark.last {
        let what = format!("it is said to be durable up to position {}, and ends at {}", mark.last, table.last());
        return Err(Error::corrupt(&shared.paths.log, None, what));
    }
    shared.publish(mark.last, mark.end);
    Ok(())
}

/// Lets go of the files of segments that were compacted since they were opened: as long as someone has them they take up their space.
fn let_go(disk: &Arc<dyn Disk>, shared: &Shared) -> Result<()> {
    let files = disk.list(&shared.paths.log).map_err(Error::io("can't list", &shared.paths.log))?;
    let files: HashMap<String, u64> = files.into_iter().collect();
    let Snapshot { view, end, .. } = shared.snapshot();
    for (index, segment) in view.segments.iter().enumerate().take(view.segments.len() - 1) {
        let name = segment.path.file_name().unwrap_or_default().to_string_lossy();
        let bytes = segment.file.size().map_err(segment.io("can't read"))?;
        if files.get(&*name).is_none_or(|now| *now == bytes) {
            continue;
        }
        let replaced = Segment::open(disk, &segment.path, Access::Read, 0)?;
        let fits = replaced.compaction.is_some_and(|compaction| compaction.written_end == segment.written_end());
        // What lacks something that is still shown waits for the next time.
        if fits && replaced.decided_at() <= end {
            shared.change_view(|view| view.segments[index] = Arc::new(replaced));
        }
    }
    Ok(())
}

/// When to look at the index files again: not at once, if no one writes any.
fn next_limit(shared: &Shared, options: &Options) -> usize {
    (shared.view().tables.active.bytes() + options.memtable_bytes_max) * 2
}
