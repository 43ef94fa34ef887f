//! The memory of its own that a store with many streams needs, page cache and mapped files aside.

use crate::report::{Figure, Report, Row};
use crate::workbench::Workbench;
use crate::{Outcome, child};

/// 500 MB for 10 million streams.
const BYTES_PER_STREAM_MAX: f64 = 50.0;

pub(crate) fn measure(workbench: &mut Workbench, report: &mut Report) -> Outcome {
    let Some(large) = workbench.large()? else { return Ok(()) };
    let streams = workbench.arguments.streams;
    let looking = child::open_and_weigh(&large.url, streams)?;
    // A store with few streams may keep what one with many may not.
    let bound = Figure::Bytes(BYTES_PER_STREAM_MAX * f64::max(streams as f64, 1e6));
    for (name, bytes) in [("while they are filled", large.memory_while_filled), ("while heads are looked up", looking)] {
        let name = format!("memory with {} M streams, {name}", streams as f64 / 1e6);
        report.add(Row::new(name, Figure::Bytes(bytes as f64)).beside("bound", bound).at_least(1.0));
        report.add(Row::new("the same per stream", Figure::Bytes(bytes as f64 / streams as f64)));
    }
    Ok(())
}
