//! Keeping: what is done in the background so that opening, searching and memory stay small. None of it moves an event.

use std::sync::{Arc, PoisonError};

use crate::error::Result;
use crate::index::merge;
use crate::segment::{Covered, Location};
use crate::shared::Shared;

/// Writes the oldest full table to a run; false if there is none.
pub(crate) fn flush(shared: &Shared) -> Result<bool> {
    let view = shared.view();
    let Some(table) = view.tables.frozen.first() else { return Ok(false) };
    let run = Arc::new(merge::flush(&*shared.disk, &shared.paths.index, shared.store, table)?);
    shared.change_view(|view| {
        assert!(Arc::ptr_eq(&view.tables.frozen[0], table), "only one thread flushes, in order");
        view.tables.frozen.remove(0);
        view.tables.runs.push(run);
    });
    let covered = Covered { end: table.to().offset(), next_position: table.last() + 1, last_time: table.last_time() };
    note_anchors(shared, table.to(), covered)?;
    Ok(true)
}

/// Writes the anchors of the segment that is being written as far as they are needed no more, so that opening begins there.
fn note_anchors(shared: &Shared, to: Location, covered: Covered) -> Result<()> {
    let _sealing = shared.sealing.lock().unwrap_or_else(PoisonError::into_inner);
    let view = shared.view();
    match view.segments.last() {
        Some(active) if active.header.number == to.segment() => active.anchors.write_sidecar(active, covered),
        _ => Ok(()),
    }
}

/// Writes the anchors of one complete segment to its sidecar, if one is missing; false if there is none.
pub(crate) fn seal(shared: &Shared) -> Result<bool> {
    let _sealing = shared.sealing.lock().unwrap_or_else(PoisonError::into_inner);
    let view = shared.view();
    let complete = view.segments.windows(2).rfind(|pair| !pair[0].anchors.is_sealed());
    let Some([segment, next]) = complete else { return Ok(false) };
    if !segment.anchors.open_sidecar(segment) {
        let covered = Covered { end: segment.end(), next_position: next.header.first_position, last_time: 0 };
        segment.anchors.write_sidecar(segment, covered)?;
        segment.anchors.open_sidecar(segment);
    }
    Ok(segment.anchors.is_sealed())
}

/// Merges some runs into one; false if there is nothing to merge.
pub(crate) fn merge(shared: &Shared) -> Result<bool> {
    let view = shared.view();
    let Some(range) = merge::choose(&view.tables.runs) else { return Ok(false) };
    let parts = &view.tables.runs[range];
    let Some(merged) = merge::merge(&*shared.disk, &shared.paths.index, parts, &shared.closing)? else { return Ok(false) };
    let merged = Arc::new(merged);
    shared.change_view(|view| {
        let runs = &mut view.tables.runs;
        let start = runs.iter().position(|run| Arc::ptr_eq(run, &parts[0])).expect("only one thread merges, and flushing adds behind");
        runs.splice(start..start + parts.len(), [merged]);
    });
    for part in parts {
        // What can't be removed now is found to be superfluous when the log is opened.
        let _ = shared.disk.remove(&part.path);
    }
    Ok(true)
}
