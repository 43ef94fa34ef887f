//! Walking over all frames of a log that are whole, whatever else is broken; for verifying and salvaging.

use std::path::Path;
use std::sync::Arc;

use crate::disk::{Access, Disk, Lock};
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::live;
use crate::open::{Mode, open_segments};
use crate::segment::{FIRST_FRAME, Location, Scan, Segment, Step, segment_path};
use crate::shared::Paths;
use crate::unreadable::Unreadable;
use crate::verify::Problem;

/// A walk over all frames that are whole, whatever else is broken.
pub(crate) struct Walk {
    pub(crate) segments: Vec<Arc<Segment>>,
    /// Their files.
    files: Vec<Arc<Unreadable>>,
    pub(crate) problems: Vec<Problem>,
    /// The size of the log's files, in bytes.
    pub(crate) total: u64,
    pub(crate) mark: Option<live::Mark>,
    beside_writer: bool,
    _locked_out: Option<Lock>,
}

impl Walk {
    pub(crate) fn begin(disk: &Arc<dyn Disk>, directory: &Path) -> Result<Self> {
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
        let mut readable = Vec::new();
        for number in numbers {
            let path = segment_path(&paths.log, number);
            let opened = disk.open(&path, Access::Read, 0).map_err(Error::io("can't open", &path)).and_then(|file| {
                let file = Arc::new(Unreadable::new(file));
                let segment = Segment::of_file(disk, &path, file.clone()).or_else(|_| Segment::of_damaged(disk, &path, file.clone()))?;
                Ok((segment, file))
            });
            match opened {
                Ok((segment, file)) => {
                    segments.push(Arc::new(segment));
                    readable.push(file);
                }
                Err(error) => problems.push(Problem::of(error)),
            }
        }
        let total = files.iter().filter(|(name, _)| name.ends_with(".seg")).map(|(_, bytes)| bytes).sum();
        Ok(Self { segments, files: readable, problems, total, mark, beside_writer, _locked_out: locked_out })
    }

    /// Where a complete segment's frames end.
    pub(crate) fn known_end(&self, segment: &Segment, next: Option<&Segment>) -> Option<u64> {
        let compacted = segment.compaction.map(|compaction| compaction.end);
        compacted.or(next.map(|next| next.header.previous_end).filter(|end| *end > 0))
    }

    /// Up to where a segment was durable, as far as the live mark and compacted segments know.
    pub(crate) fn marked_end(&self, segment: &Segment) -> Option<u64> {
        let decided = self.segments.iter().filter_map(|segment| segment.compaction.map(|compaction| compaction.decided_at));
        let ends = self.mark.map(|mark| mark.end).into_iter().chain(decided);
        ends.filter(|end| end.segment() == segment.header.number).map(Location::offset).max()
    }

    /// Visits every whole frame in order, and returns what stands between them.
    pub(crate) fn run(
        &self,
        mut visit: impl FnMut(&Segment, u64, &Frame<'_>) -> Result<()>,
        notes: &mut Vec<String>,
    ) -> Result<Vec<Problem>> {
        let mut problems = Vec::new();
        for (index, segment) in self.segments.iter().enumerate() {
            let next = self.segments.get(index + 1).filter(|next| next.header.number == segment.header.number + 1);
            let known_end = self.known_end(segment, next.map(|next| &**next));
            let durable_end = known_end.or(self.marked_end(segment));
            let limit =
                if self.beside_writer && next.is_none() { durable_end.unwrap_or(FIRST_FRAME) } else { known_end.unwrap_or(u64::MAX) };
            self.run_segment(segment, limit, durable_end, &mut visit, notes, &mut problems)?;
            problems.extend(self.files[index].stretches().into_iter().map(|(offset, bytes, why)| Problem {
                file: segment.path.clone(),
                offset: Some(offset),
                what: format!("the disk can't read {bytes} bytes: {why}; copy out what is whole, and replace the disk"),
            }));
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
        let mut scan = Scan::new(segment, segment.first_frame());
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
