//! Verifying, compacting and salvaging an embedded store, by its directory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use factum_engine::disk::{Disk, RealDisk};
use factum_engine::{Engine, Follower, Indexer, Options};

use super::payload::{EventIndexer, Keys};
use crate::error::{Error, Result};

/// A store that is compacted by hand is rid of all files of which more is dead than this, in percent: each is written anew as a whole.
const DEAD_PERCENT_MAX: u8 = 10;

/// How far a verification has come, or a compaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifyProgress {
    /// Bytes looked at.
    pub bytes: u64,
    /// Bytes to look at.
    pub bytes_total: u64,
}

/// What a verification found. The store is as it should be if there are no problems.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Events that are whole.
    pub events: u64,
    /// Streams; 0 if the index could not be read.
    pub streams: u64,
    /// Files of the log.
    pub segments: u64,
    /// Bytes of the log that are whole.
    pub bytes: u64,
    /// Files of the index.
    pub index_files: u64,
    /// Everything that is wrong.
    pub problems: Vec<Problem>,
    /// What is not wrong but worth knowing.
    pub notes: Vec<String>,
}

/// Something in a store that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// In which file.
    pub file: PathBuf,
    /// Where in it, in bytes.
    pub offset: Option<u64>,
    /// What is wrong.
    pub what: String,
}

/// What a salvage did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SalvageReport {
    /// Events that were copied.
    pub events: u64,
    /// Events that have another version than they had, because others in front of them are lost.
    pub renumbered: u64,
    /// Bytes of the log that are lost.
    pub lost_bytes: u64,
    /// What was wrong with the old store.
    pub problems: Vec<Problem>,
}

/// What a compaction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompactReport {
    /// Files of the log.
    pub segments: u64,
    /// How many of them were replaced by smaller ones.
    pub compacted: u64,
    /// Bytes of the log before.
    pub bytes_before: u64,
    /// Bytes of the log after.
    pub bytes_after: u64,
}

/// Looks at every byte of the store in `directory`: checksums, order, versions, and the index against the log. Changes nothing, and
/// works while another process writes.
///
/// # Errors
/// [`Error::Unavailable`] if there is no store. What is wrong with one that is there is in the report.
pub fn verify(directory: &Path, progress: &mut dyn FnMut(VerifyProgress)) -> Result<VerifyReport> {
    let (disk, indexer) = means();
    let mut tell = |bytes, bytes_total| progress(VerifyProgress { bytes, bytes_total });
    let report = factum_engine::verify(&disk, directory, &indexer, &mut tell)?;
    let problems: Vec<Problem> = report.problems.into_iter().map(Problem::from).collect();
    let streams = if problems.is_empty() {
        let follower = Follower::open(disk, directory, Options::default(), indexer)?;
        follower.snapshot()?.total(Keys::new(follower.keys()).streams())?
    } else {
        0
    };
    Ok(VerifyReport {
        events: report.entries,
        streams,
        segments: report.segments,
        bytes: report.bytes,
        index_files: report.index_files,
        problems,
        notes: report.notes,
    })
}

/// Gives back what overwritten records and truncated events take up in the store in `directory`, at once and to the last file. A store that
/// is open to write does that in the background, where it is worth it; another process must not have it open to write.
///
/// # Errors
/// [`Error::Unavailable`] if there is no store, if another process writes to it, or if the disk has no room for the smaller files beside
/// the larger ones; [`Error::Corrupt`] if it is damaged. What was compacted until then stays so.
pub fn compact(directory: &Path, progress: &mut dyn FnMut(VerifyProgress)) -> Result<CompactReport> {
    let (disk, indexer) = means();
    let options = Options { dead_percent_max: 100, ..Options::default() };
    let engine = Engine::open(disk, directory, false, options, indexer, |_| {})?;
    let mut tell = |bytes, bytes_total| progress(VerifyProgress { bytes, bytes_total });
    let factum_engine::Compacted { segments, compacted, bytes_before, bytes_after } = engine.compact(DEAD_PERCENT_MAX, &mut tell)?;
    engine.close();
    Ok(CompactReport { segments, compacted, bytes_before, bytes_after })
}

/// Copies everything that is whole in the store in `directory` to a new store in `to`. Streams, ids, times and content stay as they were;
/// positions, and versions behind a loss, are given anew.
///
/// # Errors
/// [`Error::Unavailable`] if there is no store, [`Error::Invalid`] if there is one in `to`.
pub fn salvage(directory: &Path, to: &Path, progress: &mut dyn FnMut(VerifyProgress)) -> Result<SalvageReport> {
    let (disk, indexer) = means();
    if disk.list(&to.join("log")).is_ok_and(|files| !files.is_empty()) {
        return Err(Error::invalid(format!("there is a store in {} already; salvage into a directory of its own", to.display())));
    }
    let mut tell = |bytes, bytes_total| progress(VerifyProgress { bytes, bytes_total });
    let salvaged = factum_engine::salvage(&disk, directory, to, &indexer, &mut tell)?;
    Ok(SalvageReport {
        events: salvaged.entries,
        renumbered: salvaged.renumbered,
        lost_bytes: salvaged.lost_bytes,
        problems: salvaged.problems.into_iter().map(Problem::from).collect(),
    })
}

fn means() -> (Arc<dyn Disk>, Arc<dyn Indexer>) {
    (Arc::new(RealDisk), Arc::new(EventIndexer::default()))
}

impl From<factum_engine::Problem> for Problem {
    fn from(problem: factum_engine::Problem) -> Self {
        let factum_engine::Problem { file, offset, what } = problem;
        Self { file, offset, what }
    }
}
