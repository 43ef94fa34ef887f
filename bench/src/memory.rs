//! The memory of its own that a store with many streams needs, page cache and mapped files aside.

use crate::report::{Figure, Report, Row};
use crate::workbench::Workbench;
use crate::{Outcome, child};

/// Wanted with 10 million streams, and more streams should not need more.
const BOUND: Figure = Figure::Bytes(500e6);

pub(crate) fn measure(workbench: &mut Workbench, report: &mut Report) -> Outcome {
    let Some(large) = workbench.large()? else { return Ok(()) };
    let streams = workbench.arguments.streams;
    let looking = child::open_and_weigh(&large.url, streams)?;
    for (name, bytes) in [("while they are filled", large.memory_while_filled), ("while heads are looked up", looking)] {
        let name = format!("memory with {} M streams, {name}", streams as f64 / 1e6);
        report.add(Row::new(name, Figure::Bytes(bytes as f64)).beside("bound", BOUND).at_least(1.0));
        report.add(Row::new("the same per stream", Figure::Bytes(bytes as f64 / streams as f64)));
    }
    Ok(())
}
