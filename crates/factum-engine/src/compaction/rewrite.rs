//! Compacting one segment: weighing what is dead in it, and writing what is alive to a smaller file that takes its place.

use std::path::Path;
use std::sync::{Arc, PoisonError};

use super::dead::Judge;
use super::pace::Pace;
use crate::disk::Access;
use crate::error::{Error, Result};
use crate::frame::{self, Place};
use crate::segment::{Compaction, Covered, Scan, Segment};
use crate::shared::Shared;

/// So much is written at once.
const PIECE_BYTES: usize = if cfg!(test) { 600 } else { 1 << 20 };

/// How many bytes of a segment's frames are alive, and how many dead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Weight {
    pub(crate) live: u64,
    /// Those of the live bytes that are of records, and die when these are written again.
    pub(crate) records: u64,
    pub(crate) dead: u64,
}

impl Weight {
    /// What it weighs when so many of its live bytes are dead.
    pub(crate) fn with_dead(self, bytes: u64) -> Self {
        let bytes = bytes.min(self.live);
        Self { live: self.live - bytes, dead: self.dead + bytes, ..self }
    }

    /// Whether more than so much of it is dead, in percent.
    pub(crate) fn exceeds(self, dead_percent_max: u8) -> bool {
        u128::from(self.dead) * 100 > u128::from(self.live + self.dead) * u128::from(dead_percent_max)
    }
}

/// Weighs a segment; `None` if it was stopped before it was done.
pub(crate) fn weigh(shared: &Shared, segment: &Segment, pace: &mut Pace<'_>) -> Result<Option<Weight>> {
    let mut judge = Judge::new(shared);
    let mut weight = Weight::default();
    let mut scan = Scan::new(segment, segment.first_frame());
    let end = segment.end();
    while let Some((offset, frame)) = scan.next_whole(end)? {
        let kept = judge.keep(segment, offset, &frame)?;
        weight.live += kept.bytes();
        weight.records += kept.record_bytes();
        weight.dead += (frame.header.bytes as u64).saturating_sub(kept.bytes());
        if !pace.keep(frame.header.bytes) {
            return Ok(None);
        }
    }
    Ok(Some(weight))
}

/// Puts a smaller file in the place of a complete segment's, and shows it to readers who come from now on. `None` if it was stopped before
/// it was done. Whatever fails, one of the two files is there, whole, and both say the same of all that is alive.
pub(crate) fn rewrite(shared: &Shared, segment: &Arc<Segment>, pace: &mut Pace<'_>) -> Result<Option<(Arc<Segment>, Weight)>> {
    let temporary = segment.path.with_extension("seg.new");
    let written = write(shared, segment, &temporary, pace);
    match written {
        Ok(Some((compacted, weight))) => Ok(Some((replace(shared, segment, compacted)?, weight))),
        gave_up => {
            // What can't be removed now is removed when the log is opened.
            let _ = shared.disk.remove(&temporary);
            gave_up.map(|_| None)
        }
    }
}

/// What a walk over frames counts; the same before and after.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    frames: u64,
    records: u64,
    next_position: u64,
}

impl Tally {
    fn count(&mut self, records: usize, next_position: u64) {
        self.frames += 1;
        self.records += records as u64;
        self.next_position = next_position;
    }
}

/// Writes what is alive, durably, under another name, and reads it back.
fn write(shared: &Shared, segment: &Segment, temporary: &Path, pace: &mut Pace<'_>) -> Result<Option<(Segment, Weight)>> {
    let mut judge = Judge::new(shared);
    assert!(judge.decided_at().segment() > segment.header.number, "only a complete segment is compacted");
    let mut seed = [0; 4];
    seed.copy_from_slice(&shared.disk.random()[..4]);
    let seed = u32::from_le_bytes(seed);
    let file = shared.disk.open(temporary, Access::Create, 0).map_err(Error::io("can't make", temporary))?;
    // The headers come last: what they say is not known before.
    let mut compaction = Compaction { decided_at: judge.decided_at(), written_end: segment.written_end(), end: Compaction::FIRST_FRAME };
    let mut tally = Tally { next_position: segment.header.first_position, ..Tally::default() };
    let mut weight = Weight::default();
    let mut bytes = Vec::new();
    let mut write_piece = |bytes: &mut Vec<u8>| {
        file.write(compaction.end, bytes).map_err(Error::io("can't write", temporary))?;
        file.begin_sync(compaction.end, bytes.len() as u64);
        compaction.end += bytes.len() as u64;
        bytes.clear();
        Ok::<(), Error>(())
    };
    let mut scan = Scan::new(segment, segment.first_frame());
    while let Some((offset, frame)) = scan.next_whole(segment.end())? {
        let header = &frame.header;
        let kept = judge.keep(segment, offset, &frame)?;
        if kept.bytes() > 0 {
            let behind = u32::try_from(segment.place_of(offset, header)).expect("a segment is shorter than 4 GiB");
            let place = Place { seed, position: header.position, time: header.time, behind };
            frame::write_bodies(&place, &kept.entries, &kept.records, &mut bytes);
            tally.count(kept.records.len(), header.next_position());
            weight.live += kept.bytes();
            weight.records += kept.record_bytes();
        }
        if bytes.len() >= PIECE_BYTES {
            write_piece(&mut bytes)?;
        }
        if !pace.keep(header.bytes) {
            return Ok(None);
        }
    }
    write_piece(&mut bytes)?;
    file.write(0, &segment.compacted_headers(seed, compaction)).map_err(Error::io("can't write", temporary))?;
    file.sync().map_err(Error::io("can't sync", temporary))?;
    let compacted = Segment::open(&shared.disk, temporary, Access::Read, 0)?;
    let mut found = Tally { next_position: segment.header.first_position, ..Tally::default() };
    let mut scan = Scan::new(&compacted, compacted.first_frame());
    while let Some((offset, frame)) = scan.next_whole(compacted.end())? {
        compacted.anchors.note(offset, frame.header.position);
        found.count(frame.header.records, frame.header.next_position());
        if !pace.keep(frame.header.bytes) {
            return Ok(None);
        }
    }
    if found != tally {
        return Err(Error::corrupt(temporary, None, format!("{found:?} was read back of {tally:?}; the file is thrown away")));
    }
    Ok(Some((compacted, weight)))
}

/// Lets a compacted segment take the place of the one it was made of.
fn replace(shared: &Shared, segment: &Arc<Segment>, compacted: Segment) -> Result<Arc<Segment>> {
    let (path, temporary) = (&segment.path, compacted.path.clone());
    shared.disk.rename(&temporary, path).map_err(Error::io("can't rename", &temporary))?;
    // If this fails, a power failure may bring the old file back: it holds all that this one does.
    if let Err(error) = shared.disk.sync_directory(&shared.paths.log) {
        tracing::debug!(%error, "the directory could not be synced after a segment was compacted");
    }
    let compacted = compacted.renamed(path);
    let _sealing = shared.sealing.lock().unwrap_or_else(PoisonError::into_inner);
    let next = shared.view().segments.get(segment.header.number as usize).map(|next| next.header.first_position);
    let next_position = next.expect("a segment stands behind a complete one");
    let covered = Covered { end: compacted.end(), next_position, last_time: 0 };
    // If this fails, the anchors stay in memory until they could be written.
    if compacted.anchors.write_sidecar(&compacted, covered).is_ok() {
        compacted.anchors.open_sidecar(&compacted);
    }
    let compacted = Arc::new(compacted);
    shared.change_view(|view| {
        let place = &mut view.segments[segment.header.number as usize - 1];
        assert!(Arc::ptr_eq(place, segment), "only one thread compacts");
        *place = Arc::clone(&compacted);
    });
    Ok(compacted)
}
