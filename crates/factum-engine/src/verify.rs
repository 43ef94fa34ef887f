//! Verifying: every byte of the log against its checksum, the order of frames, and the index against the log.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::follower::Follower;
use crate::index::memtable::Memtable;
use crate::index::run::Run;
use crate::key::{Key, KeyMaker};
use crate::read::{Snapshot, Take};
use crate::segment::Location;
use crate::shared::{Indexer, Options, Paths};
use crate::terms::Terms;
use crate::walk::Walk;

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

/// Called with how many bytes have been looked at, and how many there are.
pub type Progress<'p> = &'p mut dyn FnMut(u64, u64);

/// The number of keys that are compared with the index at a time.
const COMPARE_BYTES: usize = 64 << 20;
/// Stands for the base of a key whose entries are not numbered.
const UNNUMBERED: u64 = 1 << 63;

impl Problem {
    pub(crate) fn of(error: Error) -> Self {
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

/// Compares the index with the log: each entry is found under all of its keys, with its number, and nothing else is found; each record is
/// where it was written last.
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
        let checked = Run::open(&**disk, &paths.index.join(name)).and_then(|run| run.check());
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
    let keys = follower.keys();
    let mut bytes = 0;
    let mut failure = None;
    let walked = snapshot.forward(0, u64::MAX, |entry| {
        bytes += entry.payload.len() as u64;
        progress(bytes);
        let terms = indexer.terms(&keys, entry.payload);
        let terms = terms.ok_or_else(|| Error::corrupt(Path::new("log"), None, "an entry makes no sense"));
        match terms.and_then(|terms| compare.add(&terms, entry.position, entry.number)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failure = Some(error);
                ControlFlow::Break(())
            }
        }
    });
    let finished = walked.and(failure.map_or(Ok(()), Err)).and_then(|()| compare.finish());
    let finished = finished.and_then(|()| compare.records(&**indexer, &keys));
    if let Err(error) = finished {
        report.problems.push(Problem::of(error));
    }
    Ok(())
}

/// Collects what the log says and compares it, a part at a time, with what the index says.
struct Compare<'c> {
    snapshot: &'c Snapshot,
    table: Memtable,
    report: &'c mut Report,
    index: PathBuf,
}

impl Compare<'_> {
    fn add(&mut self, terms: &Terms, position: u64, number: u64) -> Result<()> {
        // The base of a sequence is the number in front of its first entry in this part.
        let (due, _) = self.table.add(terms.sequence, position, || Ok::<u64, Error>(number.saturating_sub(1)))?;
        if due != number {
            self.disagree(format!("the entry at position {position} has number {number} in its sequence, and {due} was due"));
        }
        let lists = if number == 1 { &terms.first_of_sequence[..] } else { &[] };
        for key in terms.labels.iter().chain(lists) {
            self.table.add(*key, position, || Ok::<u64, Error>(UNNUMBERED))?;
        }
        for (label, list) in terms.first_of_label {
            let (_, new_here) = self.table.add(label, position, || Ok::<u64, Error>(UNNUMBERED))?;
            if new_here && self.snapshot.positions(label, 0, position - 1, Take::Lowest, 1)?.is_empty() {
                self.table.add(list, position, || Ok::<u64, Error>(UNNUMBERED))?;
            }
        }
        self.table.extend(Location::default(), position, 0);
        if self.table.bytes() > COMPARE_BYTES { self.finish() } else { Ok(()) }
    }

    fn records(&mut self, indexer: &dyn Indexer, keys: &KeyMaker) -> Result<()> {
        let snapshot = self.snapshot;
        let mut failure = None;
        snapshot.record_writes(|place, record| {
            match is_found(snapshot, indexer.record_key(keys, record.name), record.name, place) {
                Ok(true) => {}
                Ok(false) => {
                    let name = String::from_utf8_lossy(record.name);
                    self.disagree(format!(
                        "the index does not agree with the log about record {name:?}; delete the index, it is made again"
                    ));
                }
                Err(error) => failure = Some(error),
            }
            if failure.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        failure.map_or(Ok(()), Err)
    }

    fn disagree(&mut self, what: String) {
        self.report.problems.push(Problem { file: self.index.clone(), offset: None, what });
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
                self.disagree(what);
            }
            Ok(())
        })
    }
}

/// Whether the index finds a record that was written at `place`: there, or where it was written later.
fn is_found(snapshot: &Snapshot, key: Option<Key>, name: &[u8], place: Location) -> Result<bool> {
    let Some(key) = key else { return Ok(false) };
    let is_late_enough = snapshot.record_place(key)?.is_some_and(|found| found >= place);
    Ok(is_late_enough && snapshot.record(key, name, |_| ())?.is_some())
}
