//! Verifying: every byte of the log against its checksum, the order of frames, and the index against the log. And salvaging: copying
//! what is whole to a new log.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::disk::{Access, Disk, DiskFile, Lock};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::follower::Follower;
use crate::frame::{Draft, Frame};
use crate::index::memtable::Memtable;
use crate::index::run::Run;
use crate::key::Key;
use crate::live;
use crate::open::{Mode, open_segments};
use crate::read::{Snapshot, Take};
use crate::segment::{FIRST_FRAME, Location, Scan, Segment, Step, segment_path};
use crate::shared::{Indexer, Options, Paths};
use crate::writer::{Decision, Failure, Pending, Proposal};

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// In which file.
    pub file: PathBuf,
    /// Where in it, in bytes.
    pub offset: Option<u64>,
    /// What is wrong.
    pub what: String,
}

/// What verifying found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Whole entries.
    pub entries: u64,
    /// Whole frames.
    pub frames: u64,
    /// Segments of the log.
    pub segments: u64,
    /// Bytes of frames.
    pub bytes: u64,
    /// Index files.
    pub index_files: u64,
    /// Everything that is wrong; empty if the log is as it should be.
    pub problems: Vec<Problem>,
    /// What is not wrong but worth knowing, such as a torn tail that opening will remove.
    pub notes: Vec<String>,
}

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

/// Called with how many bytes have been looked at, and how many there are.
pub type Progress<'p> = &'p mut dyn FnMut(u64, u64);

/// The number of keys that are compared with the index at a time.
const COMPARE_BYTES: usize = 64 << 20;
/// Stands for the base of a key whose entries are not numbered.
const UNNUMBERED: u64 = 1 << 63;

impl Problem {
    fn of(error: Error) -> Self {
        match error {
            Error::Corrupt { file, offset, what } => Self { file, offset, what },
            Error::Io { ref file, .. } => Self { file: file.clone(), offset: None, what: error.to_string() },
            other => Self { file: PathBuf::new(), offset: None, what: other.to_string() },
        }
    }
}

/// Checks every byte of the log in `directory`, and its index. Changes nothing; a process may be writing meanwhile.
///
/// # Errors
/// [`Error::Missing`] if there is no log. What is wrong with one that is there is in the report.
pub fn verify(disk: &Arc<dyn Disk>, directory: &Path, indexer: &Arc<dyn Indexer>, progress: Progress<'_>) -> Result<Report> {
    let mut report = Report::default();
    let walk = Walk::begin(disk, directory)?;
    report.segments = walk.segments.len() as u64;
    report.problems.extend(walk.problems.iter().cloned());
    let mut done = 0;
    let total = walk.total * 2;
    let mut next_position = Some(1);
    let mut last_time = 0;
    let mut order = Vec::new();
    let ends = walk.run(
        |segment, offset, frame| {
            let header = &frame.header;
            if next_position.is_some_and(|next| next != header.position) {
                let what = format!("the frame begins with position {}, and {} was due", header.position, next_position.unwrap_or(1));
                order.push(Problem { file: segment.path.clone(), offset: Some(offset), what });
            }
            if header.time < last_time {
                let what = "the frame was recorded before the one in front of it".to_owned();
                order.push(Problem { file: segment.path.clone(), offset: Some(offset), what });
            }
            (next_position, last_time) = (Some(header.next_position()), header.time);
            report.entries += header.entries as u64;
            report.frames += 1;
            report.bytes += header.bytes as u64;
            done += header.bytes as u64;
            progress(done, total);
            Ok(())
        },
        &mut report.notes,
    )?;
    report.problems.extend(ends);
    report.problems.append(&mut order);
    if report.problems.is_empty() {
        verify_index(disk, directory, indexer, &mut report, &mut |bytes| progress(total / 2 + bytes, total))?;
    } else {
        report.notes.push("the index was not compared, because the log is damaged".to_owned());
    }
    progress(total, total);
    Ok(report)
}

/// Compares the index with the log: each entry is found under all of its keys, with its number, and nothing else is found.
fn verify_index(
    disk: &Arc<dyn Disk>,
    directory: &Path,
    indexer: &Arc<dyn Indexer>,
    report: &mut Report,
    progress: &mut dyn FnMut(u64),
) -> Result<()> {
    let paths = Paths::new(directory);
    let files = disk.list(&paths.index).unwrap_or_default();
    for (name, _) in files.iter().filter(|(name, _)| name.ends_with(".run")) {
        report.index_files += 1;
        let checked = Run::open(&**disk, &paths.index.join(name))
            .and_then(|run| run.for_each(|_, _, mut values| (&mut values).try_for_each(|value| value.map(drop))));
        match checked {
            Err(error) if error.is_missing_file() => {}
            Err(error) => report.problems.push(Problem::of(error)),
            Ok(()) => {}
        }
    }
    if !report.problems.is_empty() {
        report
            .notes
            .push("the log itself is whole: delete the damaged index files, they are made again when the store is opened".to_owned());
        return Ok(());
    }
    let follower = match Follower::open(Arc::clone(disk), directory, Options::default(), Arc::clone(indexer)) {
        Ok(follower) => follower,
        Err(error) => {
            report.problems.push(Problem::of(error));
            return Ok(());
        }
    };
    let snapshot = follower.snapshot()?;
    let mut compare = Compare { snapshot: &snapshot, table: Memtable::new(Location::default(), 0, 0), report, index: paths.index };
    let mut bytes = 0;
    let mut failure = None;
    let walked = snapshot.forward(0, u64::MAX, |entry| {
        let keys = follower_keys(indexer, &follower, entry.payload);
        bytes += entry.payload.len() as u64;
        progress(bytes);
        match keys.and_then(|keys| compare.add(&keys, entry.position, entry.number)) {
            Ok(()) => std::ops::ControlFlow::Continue(()),
            Err(error) => {
                failure = Some(error);
                std::ops::ControlFlow::Break(())
            }
        }
    });
    let finished = walked.and(failure.map_or(Ok(()), Err)).and_then(|()| compare.finish());
    if let Err(error) = finished {
        report.problems.push(Problem::of(error));
    }
    Ok(())
}

/// The keys that an entry must be found under, the sequence's first.
fn follower_keys(indexer: &Arc<dyn Indexer>, follower: &Follower, payload: &[u8]) -> Result<Vec<Key>> {
    let terms = indexer.terms(&follower.keys(), payload);
    let terms = terms.ok_or_else(|| Error::corrupt(Path::new("log"), None, "an entry makes no sense"))?;
    let labels = terms.labels.iter().copied().chain(terms.first_of_label.iter().map(|(label, _)| *label));
    Ok(std::iter::once(terms.sequence).chain(labels).collect())
}

/// Collects what the log says and compares it, a part at a time, with what the index says.
struct Compare<'c> {
    snapshot: &'c Snapshot,
    table: Memtable,
    report: &'c mut Report,
    index: PathBuf,
}

impl Compare<'_> {
    fn add(&mut self, keys: &[Key], position: u64, number: u64) -> Result<()> {
        // The base of a sequence is the number in front of its first entry in this part.
        self.table.add(keys[0], position, || Ok::<u64, Error>(number - 1))?;
        for key in &keys[1..] {
            self.table.add(*key, position, || Ok::<u64, Error>(UNNUMBERED))?;
        }
        self.table.extend(Location::default(), position, 0);
        if self.table.bytes() > COMPARE_BYTES { self.finish() } else { Ok(()) }
    }

    fn finish(&mut self) -> Result<()> {
        let next = Memtable::new(Location::default(), self.table.last(), 0);
        let table = std::mem::replace(&mut self.table, next);
        table.for_each_sorted(|key, base, positions| {
            let (Some(first), Some(last)) = (positions.first(), positions.last()) else { return Ok(()) };
            let found = if base == UNNUMBERED {
                self.snapshot.positions(key, first - 1, *last, Take::Lowest, usize::MAX)?
            } else {
                self.snapshot.numbered(key, base + 1, base + positions.len() as u64)?
            };
            if found != positions {
                let position = positions.iter().zip(&found).find(|(a, b)| a != b).map_or(*first, |(a, _)| *a);
                let what = format!("the index does not agree with the log about position {position}; delete the index, it is made again");
                self.report.problems.push(Problem { file: self.index.clone(), offset: None, what });
            }
            Ok(())
        })
    }
}

/// A walk over all frames that are whole, whatever else is broken.
struct Walk {
    segments: Vec<Arc<Segment>>,
    problems: Vec<Problem>,
    total: u64,
    mark: Option<live::Mark>,
    beside_writer: bool,
    _locked_out: Option<Lock>,
}

impl Walk {
    fn begin(disk: &Arc<dyn Disk>, directory: &Path) -> Result<Self> {
        let paths = Paths::new(directory);
        let locked_out = disk.lock_out(&paths.lock()).map_err(Error::io("can't look at", &paths.lock()))?;
        let beside_writer = locked_out.is_none();
        let mark = live::read(&**disk, directory);
        let files = disk.list(&paths.log).map_err(|_| Error::Missing { path: directory.to_owned() })?;
        let mut problems = Vec::new();
        let mut numbers: Vec<u32> = files.iter().filter_map(|(name, _)| name.strip_suffix(".seg")?.parse().ok()).collect();
        numbers.sort_unstable();
        if numbers.is_empty() {
            return Err(Error::Missing { path: directory.to_owned() });
        }
        // What opening finds wrong first, it says.
        if let Err(error) = open_segments(disk, &paths, Mode::Read, 0) {
            match error {
                Error::FutureFormat { .. } => return Err(error),
                error => problems.push(Problem::of(error)),
            }
        }
        let mut segments: Vec<Arc<Segment>> = Vec::new();
        for number in numbers {
            let path = segment_path(&paths.log, number);
            match Segment::open(disk, &path, Access::Read, 0).or_else(|_| Segment::open_damaged(disk, &path)) {
                Ok(segment) => segments.push(Arc::new(segment)),
                Err(error) => problems.push(Problem::of(error)),
            }
        }
        let total = files.iter().filter(|(name, _)| name.ends_with(".seg")).map(|(_, bytes)| bytes).sum();
        Ok(Self { segments, problems, total, mark, beside_writer, _locked_out: locked_out })
    }

    /// Visits every whole frame in order, and returns what stands between them.
    fn run(&self, mut visit: impl FnMut(&Segment, u64, &Frame<'_>) -> Result<()>, notes: &mut Vec<String>) -> Result<Vec<Problem>> {
        let mut problems = Vec::new();
        for (index, segment) in self.segments.iter().enumerate() {
            let next = self.segments.get(index + 1).filter(|next| next.header.number == segment.header.number + 1);
            let mark = self.mark.filter(|mark| mark.end.segment() == segment.header.number);
            let known_end = next.map(|next| next.header.previous_end).filter(|end| *end > 0);
            let durable_end = known_end.or(mark.map(|mark| mark.end.offset()));
            let limit =
                if self.beside_writer && next.is_none() { durable_end.unwrap_or(FIRST_FRAME) } else { known_end.unwrap_or(u64::MAX) };
            self.run_segment(segment, limit, durable_end, &mut visit, notes, &mut problems)?;
        }
        Ok(problems)
    }

    fn run_segment(
        &self,
        segment: &Segment,
        limit: u64,
        durable_end: Option<u64>,
        visit: &mut impl FnMut(&Segment, u64, &Frame<'_>) -> Result<()>,
        notes: &mut Vec<String>,
        problems: &mut Vec<Problem>,
    ) -> Result<()> {
        let mut problem = |offset: u64, what: String| problems.push(Problem { file: segment.path.clone(), offset: Some(offset), what });
        let mut scan = Scan::new(segment, FIRST_FRAME);
        while scan.offset() < limit {
            let offset = scan.offset();
            let what = match scan.step() {
                Ok(Step::Frame(offset, frame)) => {
                    visit(segment, offset, &frame)?;
                    continue;
                }
                Ok(Step::Nothing) => "there are no frames where there should be some",
                Ok(Step::Broken(what)) => what,
                Err(error) => {
                    problems.push(Problem::of(error));
                    return Ok(());
                }
            };
            // A whole frame further on, or an end that is known to be further on, makes this damage.
            match scan.find_next()? {
                Some(next) => problem(offset, format!("{what}; the next whole frame begins {} bytes further on", next - offset)),
                None if durable_end.is_some_and(|end| end > offset) => {
                    let missing = durable_end.unwrap_or(offset) - offset;
                    problem(offset, format!("{what}; {missing} bytes of acknowledged entries are missing"));
                    return Ok(());
                }
                None => {
                    if what != "there are no frames where there should be some" {
                        notes.push(format!("{} ends at byte {offset} with a batch that was cut off before it was acknowledged; opening the store removes it", segment.path.display()));
                    }
                    return Ok(());
                }
            }
        }
        Ok(())
    }
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
    let mut senseless = Vec::new();
    let between = walk.run(
        |segment, offset, frame| {
            clock.now.store(frame.header.time, Ordering::Release);
            let (draft, numbers) = match copy_of(frame, engine.keys(), &**indexer) {
                Ok(copy) => copy,
                Err(what) => {
                    senseless.push(Problem { file: segment.path.clone(), offset: Some(offset), what: what.to_owned() });
                    return Ok(());
                }
            };
            salvaged.entries += frame.header.entries as u64;
            salvaged.records += frame.header.records as u64;
            salvaged.renumbered += record(&engine, draft, numbers)?;
            kept += frame.header.bytes as u64;
            done = kept;
            progress(done, walk.total);
            Ok(())
        },
        &mut Vec::new(),
    )?;
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
        let known = walk.segments.get(index + 1).map(|next| next.header.previous_end).filter(|end| *end > 0);
        let marked = walk.mark.filter(|mark| mark.end.segment() == segment.header.number).map(|mark| mark.end.offset());
        bytes += known.or(marked).unwrap_or(FIRST_FRAME).saturating_sub(FIRST_FRAME);
    }
    bytes.saturating_sub(kept)
}

/// A frame's entries and records as a draft for another log, and the numbers that the entries had.
fn copy_of(frame: &Frame<'_>, keys: &crate::key::KeyMaker, indexer: &dyn Indexer) -> Result<(Draft, Vec<(Key, u64)>), &'static str> {
    let mut draft = Draft::default();
    let mut numbers = Vec::new();
    for index in 0..frame.header.entries {
        let entry = frame.entry(index)?;
        let terms = indexer.terms(keys, entry.payload).ok_or("an entry makes no sense")?;
        numbers.push((terms.sequence, entry.number));
        draft.entry(terms, |body| body.extend_from_slice(entry.payload));
    }
    for index in 0..frame.header.records {
        let record = frame.record(index)?;
        let key = indexer.record_key(keys, record.name).ok_or("a record makes no sense")?;
        draft.record(key, record.name, record.version, record.value);
    }
    Ok((draft, numbers))
}

/// Records a draft and returns how many of its entries got another number than they had.
fn record(engine: &Engine, draft: Draft, numbers: Vec<(Key, u64)>) -> Result<u64> {
    let (answer, answered) = std::sync::mpsc::sync_channel(1);
    engine.propose(Box::new(Copying { draft: Some(draft), numbers, renumbered: Ok(0), answer }));
    match answered.recv() {
        Ok(result) => result,
        Err(_) => Err(Error::Closed),
    }
}

struct Copying {
    draft: Option<Draft>,
    numbers: Vec<(Key, u64)>,
    renumbered: Result<u64>,
    answer: std::sync::mpsc::SyncSender<Result<u64>>,
}

impl Proposal for Copying {
    fn decide(&mut self, log: &Pending<'_>) -> Decision {
        let mut added = std::collections::HashMap::new();
        self.renumbered = self.numbers.iter().try_fold(0, |renumbered, (key, number)| {
            let before = added.entry(*key).or_insert(0);
            *before += 1;
            Ok(renumbered + u64::from(log.count(*key)? + *before != *number))
        });
        self.draft.take().map_or(Decision::Nothing, Decision::Record)
    }

    fn settle(self: Box<Self>, outcome: Result<(), Failure>) {
        let result = match outcome {
            Ok(()) => self.renumbered,
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
    fn open(&self, path: &Path, access: Access, bytes_max: u64) -> std::io::Result<Arc<dyn DiskFile>> {
        self.disk.open(path, access, bytes_max)
    }

    fn list(&self, directory: &Path) -> std::io::Result<Vec<(String, u64)>> {
        self.disk.list(directory)
    }

    fn create_directory(&self, directory: &Path) -> std::io::Result<()> {
        self.disk.create_directory(directory)
    }

    fn rename(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> std::io::Result<()> {
        self.disk.remove(path)
    }

    fn sync_directory(&self, directory: &Path) -> std::io::Result<()> {
        self.disk.sync_directory(directory)
    }

    fn lock(&self, path: &Path, holder: &str) -> std::io::Result<Result<Lock, String>> {
        self.disk.lock(path, holder)
    }

    fn lock_out(&self, path: &Path) -> std::io::Result<Option<Lock>> {
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
