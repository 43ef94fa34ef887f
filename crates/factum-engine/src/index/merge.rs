//! Making runs: from a full table in memory, and from several smaller runs.
//!
//! Runs merge in tiers: as soon as there are [`FAN_IN`] neighbours of about one size they become one. Merging moves index entries, never
//! events, and each entry once per tier.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::memtable::Memtable;
use super::run::{Run, RunCursor, RunHeader};
use super::run_writer::RunWriter;
use crate::disk::Disk;
use crate::error::Result;
use crate::segment::Location;

/// So many runs become one.
pub(crate) const FAN_IN: usize = if cfg!(test) { 3 } else { 8 };
/// A run covers fewer positions than this, so that 32 bits count the values of a key.
const POSITIONS_MAX: u64 = 1 << 31;

/// The file of the run that covers this part of the log.
pub(crate) fn run_path(directory: &Path, from: Location, to: Location) -> PathBuf {
    directory.join(format!("{:016x}-{:016x}.run", from.0, to.0))
}

fn header(store: [u8; 16], (from, to): (Location, Location), (after, last): (u64, u64), last_time: u64) -> RunHeader {
    RunHeader { store, from, to, after, last, last_time, root: 0, levels: 0, inner_from: 0, filter_at: 0, bytes: 0, sections: Vec::new() }
}

/// Writes a table that no longer changes to a run.
pub(crate) fn flush(disk: &dyn Disk, directory: &Path, store: [u8; 16], table: &Memtable) -> Result<Run> {
    let header = header(store, (table.from, table.to()), (table.after, table.last()), table.last_time());
    let mut writer = RunWriter::new(disk, &run_path(directory, header.from, header.to), header)?;
    table.for_each_sorted(|key, base, values| match values {
        [] => Ok(()),
        [value] => writer.single(key, base, *value),
        values => {
            writer.begin(key, base)?;
            values.iter().try_for_each(|value| writer.value(*value))
        }
    })?;
    Run::open(disk, &writer.finish()?)
}

/// Which neighbouring runs to merge next, if any: the newest [`FAN_IN`] or more of about one size.
pub(crate) fn choose(runs: &[Arc<Run>]) -> Option<std::ops::Range<usize>> {
    let tier = |run: &Arc<Run>| (run.header.bytes / (256 << 10)).max(1).ilog2() / 3;
    let mut end = runs.len();
    while end > 0 {
        let of_tier = tier(&runs[end - 1]);
        let start = runs[..end].iter().rposition(|run| tier(run) > of_tier).map_or(0, |larger| larger + 1);
        let positions = runs[end - 1].header.last - runs[start].header.after;
        if end - start >= FAN_IN && positions < POSITIONS_MAX {
            return Some(start..end);
        }
        end = start;
    }
    None
}

/// Merges neighbouring runs, which are in the order of the log, into one; `None` if it is to stop before it is done.
pub(crate) fn merge(disk: &dyn Disk, directory: &Path, runs: &[Arc<Run>], stop: &AtomicBool) -> Result<Option<Run>> {
    let (first, last) = (&runs[0].header, &runs[runs.len() - 1].header);
    let header = header(first.store, (first.from, last.to), (first.after, last.last), last.last_time);
    let mut writer = RunWriter::new(disk, &run_path(directory, header.from, header.to), header)?;
    let mut cursors = runs.iter().map(|run| RunCursor::new(run)).collect::<Result<Vec<_>>>()?;
    while let Some(key) = cursors.iter().filter_map(|cursor| cursor.head.map(|(key, _)| key)).min() {
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let mut begun = false;
        let newest = cursors.iter().rposition(|cursor| cursor.head.is_some_and(|(head, _)| head == key));
        for (index, cursor) in cursors.iter_mut().enumerate() {
            let Some((head, found)) = cursor.head else { continue };
            if head != key {
                continue;
            }
            // Of a record only the newest place counts.
            if !key.kind().is_record() || Some(index) == newest {
                if !begun {
                    writer.begin(key, found.base)?;
                    begun = true;
                }
                cursor.each_value(|value| writer.value(value))?;
            }
            cursor.advance()?;
        }
    }
    Run::open(disk, &writer.finish()?).map(Some)
}
