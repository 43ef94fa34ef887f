//! Salvaging: copying what is whole of a damaged log to a new one.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use crate::disk::{Access, Disk, DiskFile, Lock};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::frame::{Draft, Frame};
use crate::key::{Key, KeyMaker};
use crate::shared::{Indexer, Options};
use crate::verify::{Problem, Progress};
use crate::walk::Walk;
use crate::writer::{Decision, Failure, Pending, Proposal};

/// So many bytes are read before the first of them are durable in the new log.
const BYTES_ON_THEIR_WAY_MAX: usize = 16 << 20;

/// What salvaging did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Salvaged {
    /// Entries that were copied.
    pub entries: u64,
    /// Writes to records that were copied.
    pub records: u64,
    /// Entries that have another number in their sequence than they had, because others in front of them are lost.
    pub renumbered: u64,
    /// Bytes between whole frames that could not be read as frames.
    pub lost_bytes: u64,
    /// What was wrong with the old log.
    pub problems: Vec<Problem>,
}

/// Copies every whole frame of the log in `from` to a new log in `to`. Positions there have no gaps; times stay as they were.
///
/// # Errors
/// [`Error::Missing`] if there is no log; what making the new one says.
pub fn salvage(disk: &Arc<dyn Disk>, from: &Path, to: &Path, indexer: &Arc<dyn Indexer>, progress: Progress<'_>) -> Result<Salvaged> {
    let walk = Walk::begin(disk, from)?;
    let clock = Arc::new(PastClock { disk: Arc::clone(disk), now: AtomicU64::new(0) });
    let past: Arc<dyn Disk> = Arc::<PastClock>::clone(&clock);
    if disk.list(&to.join("log")).is_ok_and(|files| !files.is_empty()) {
        return Err(Error::corrupt(to, None, "there is a store already; salvage into a directory of its own"));
    }
    let engine = Engine::open(past, to, true, Options::default(), Arc::clone(indexer), |_| {})?;
    let mut salvaged = Salvaged { problems: walk.problems.clone(), ..Salvaged::default() };
    let (mut done, mut kept) = (0, 0);
    let (answer, answered) = channel();
    let mut copies = Copies { engine: &engine, clock, answer, answered, bytes: 0, renumbered: 0, renumbered_sequences: Arc::default() };
    let mut senseless = Vec::new();
    let between = walk.run(
        |segment, offset, frame| {
            let (draft, numbers) = match copy_of(frame, engine.keys(), &**indexer) {
                Ok(copy) => copy,
                Err(what) => {
                    senseless.push(Problem { file: segment.path.clone(), offset: Some(offset), what: what.to_owned() });
                    return Ok(());
                }
            };
            salvaged.entries += frame.header.entries as u64;
            salvaged.records += frame.header.records as u64;
            copies.add(frame, draft, numbers)?;
            kept += frame.header.bytes as u64;
            done = kept;
            progress(done, walk.total);
            Ok(())
        },
        &mut Vec::new(),
    )?;
    copies.wait_until(0)?;
    salvaged.renumbered = copies.renumbered;
    engine.close();
    salvaged.lost_bytes = lost_bytes(&walk, kept);
    salvaged.problems.extend(between);
    salvaged.problems.append(&mut senseless);
    progress(walk.total, walk.total);
    Ok(salvaged)
}

fn lost_bytes(walk: &Walk, kept: u64) -> u64 {
    let mut bytes = 0;
    for (index, segment) in walk.segments.iter().enumerate() {
        let known = walk.known_end(segment, walk.segments.get(index + 1).map(|next| &**next));
        let first = segment.first_frame();
        bytes += known.or_else(|| walk.marked_end(segment)).unwrap_or(first).saturating_sub(first);
    }
    bytes.saturating_sub(kept)
}

/// What a frame says of sequences.
#[derive(Default)]
struct Sequences {
    /// Those of its entries, and the numbers that these had.
    numbers: Vec<(Key, u64)>,
    /// Those that its records hide the beginnings of, and the first numbers not hidden.
    hidden: Vec<(Key, u64)>,
}

/// A frame's entries and records as a draft for another log, and the numbers that the entries had.
fn copy_of(frame: &Frame<'_>, keys: &KeyMaker, indexer: &dyn Indexer) -> Result<(Draft, Sequences), &'static str> {
    let mut draft = Draft::default();
    let mut sequences = Sequences::default();
    for index in 0..frame.header.entries {
        let entry = frame.entry(index)?;
        let terms = indexer.terms(keys, entry.payload).ok_or("an entry makes no sense")?;
        sequences.numbers.push((terms.sequence, entry.number));
        draft.entry(&terms, |body| body.extend_from_slice(entry.payload));
    }
    for index in 0..frame.header.records {
        let record = frame.record(index)?;
        let key = indexer.record_key(keys, record.name).ok_or("a record makes no sense")?;
        draft.record(key, record.name, record.version, record.value);
        sequences.hidden.extend(record.value.and_then(|value| indexer.hides(keys, record.name, value)));
    }
    Ok((draft, sequences))
}

/// Frames on their way to the new log. Many are, so that they share syncs.
struct Copies<'e> {
    engine: &'e Engine,
    clock: Arc<PastClock>,
    answer: Sender<Result<Copied>>,
    answered: Receiver<Result<Copied>>,
    bytes: usize,
    renumbered: u64,
    renumbered_sequences: Arc<Mutex<HashSet<Key>>>,
}

/// What became of a frame.
struct Copied {
    bytes: usize,
    /// How many of its entries got another number than they had.
    renumbered: u64,
}

impl Copies<'_> {
    fn add(&mut self, frame: &Frame<'_>, draft: Draft, sequences: Sequences) -> Result<()> {
        let (bytes, time) = (frame.header.bytes, frame.header.time);
        self.wait_until(BYTES_ON_THEIR_WAY_MAX.saturating_sub(bytes))?;
        self.bytes += bytes;
        let copied = Ok(Copied { bytes, renumbered: 0 });
        let (clock, answer, renumbered) = (Arc::clone(&self.clock), self.answer.clone(), Arc::clone(&self.renumbered_sequences));
        self.engine.propose(Box::new(Copying { draft: Some(draft), sequences, renumbered, time, clock, copied, answer }));
        Ok(())
    }

    /// Waits until no more than so many bytes are on their way.
    fn wait_until(&mut self, bytes_max: usize) -> Result<()> {
        while self.bytes > bytes_max {
            let copied = self.answered.recv().unwrap_or(Err(Error::Closed))?;
            self.bytes -= copied.bytes;
            self.renumbered += copied.renumbered;
        }
        Ok(())
    }
}

struct Copying {
    draft: Option<Draft>,
    sequences: Sequences,
    /// Sequences that have entries with other numbers than they had.
    renumbered: Arc<Mutex<HashSet<Key>>>,
    time: u64,
    clock: Arc<PastClock>,
    copied: Result<Copied>,
    answer: Sender<Result<Copied>>,
}

impl Copying {
    /// Counts the entries that get another number than they had.
    fn renumber(&self, log: &Pending<'_>) -> Result<u64> {
        let mut added = HashMap::new();
        let mut renumbered = self.renumbered.lock().unwrap_or_else(PoisonError::into_inner);
        self.sequences.numbers.iter().try_fold(0, |count, (key, number)| {
            let before = added.entry(*key).or_insert(0);
            *before += 1;
            if log.count(*key)? + *before == *number {
                return Ok(count);
            }
            renumbered.insert(*key);
            Ok(count + 1)
        })
    }

    /// Whether a record would hide what it did not hide in the old log.
    fn would_hide_more(&self, log: &Pending<'_>) -> bool {
        let renumbered = self.renumbered.lock().unwrap_or_else(PoisonError::into_inner);
        self.sequences.hidden.iter().any(|(key, first)| renumbered.contains(key) || log.count(*key).is_ok_and(|count| *first > count + 1))
    }
}

impl Proposal for Copying {
    fn decide(&mut self, log: &Pending<'_>) -> Decision {
        self.clock.now.store(self.time, Ordering::Release);
        let renumbered = self.renumber(log);
        if self.sequences.numbers.is_empty() && self.would_hide_more(log) {
            return Decision::Nothing;
        }
        match (renumbered, &mut self.copied) {
            (Ok(renumbered), Ok(copied)) => copied.renumbered = renumbered,
            (Err(error), copied) => *copied = Err(error),
            (Ok(_), Err(_)) => unreachable!("it is decided once"),
        }
        self.draft.take().map_or(Decision::Nothing, Decision::Record)
    }

    fn settle(self: Box<Self>, outcome: Result<(), Failure>) {
        let result = match outcome {
            Ok(()) => self.copied,
            Err(Failure::NotRecorded(error) | Failure::Unknown(error)) => Err(error),
        };
        // Whoever asked has gone if this fails.
        let _ = self.answer.send(result);
    }
}

/// A disk with a clock that is set by hand, so that what is copied keeps its time.
#[derive(Debug)]
struct PastClock {
    disk: Arc<dyn Disk>,
    now: AtomicU64,
}

impl Disk for PastClock {
    fn open(&self, path: &Path, access: Access, bytes_max: u64) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open(path, access, bytes_max)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<(String, u64)>> {
        self.disk.list(directory)
    }

    fn create_directory(&self, directory: &Path) -> io::Result<()> {
        self.disk.create_directory(directory)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        self.disk.sync_directory(directory)
    }

    fn lock(&self, path: &Path, holder: &str) -> io::Result<Result<Lock, String>> {
        self.disk.lock(path, holder)
    }

    fn lock_out(&self, path: &Path) -> io::Result<Option<Lock>> {
        self.disk.lock_out(path)
    }

    fn now(&self) -> u64 {
        self.now.load(Ordering::Acquire)
    }

    fn boot(&self) -> Option<u32> {
        self.disk.boot()
    }

    fn random(&self) -> [u8; 16] {
        self.disk.random()
    }
}
