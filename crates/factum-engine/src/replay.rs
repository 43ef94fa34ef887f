//! Replaying the end of the log: what the index does not know yet, where the log ends, and what a crash left behind it.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::frame::{Frame, damaged};
use crate::index::memtable::Memtable;
use crate::index::{adding, merge};
use crate::live::Mark;
use crate::open::Mode;
use crate::segment::{FIRST_FRAME, Location, Scan, Segment, Step};
use crate::shared::Shared;
use crate::terms::Listing;

/// How much is written at once when the end of the log is written once more.
const REWRITE_BYTES: usize = 1 << 20;

/// Reads the frames that the index does not cover yet, and finds the end of the log.
pub(crate) struct Replay<'s> {
    shared: &'s Shared,
    mode: Mode,
    beside_writer: bool,
    /// The position that the next frame must have; `None` while that is not known.
    expected: Option<u64>,
    /// The earliest time that the next frame may have.
    time: u64,
    /// The keys of the frame at hand, and the numbers that it says.
    listing: Listing,
    numbers: Vec<u64>,
}

impl<'s> Replay<'s> {
    pub(crate) fn new(shared: &'s Shared, mode: Mode, beside_writer: bool) -> Self {
        Self { shared, mode, beside_writer, expected: None, time: 0, listing: Listing::default(), numbers: Vec::new() }
    }

    /// Goes on behind the last frame that the index covers.
    pub(crate) fn go_on(shared: &'s Shared) -> Self {
        let table = &shared.view().tables.active;
        Self { expected: Some(table.last() + 1), time: table.last_time(), ..Self::new(shared, Mode::Read, true) }
    }

    /// Takes in a segment's frames from one offset to another, which must be there.
    pub(crate) fn take_range(&mut self, segment: &Segment, from: u64, to: u64) -> Result<()> {
        let mut scan = Scan::new(segment, from);
        while let Some((offset, frame)) = scan.next_whole(to)? {
            segment.anchors.note(offset, frame.header.position);
            self.take(segment, offset, &frame)?;
        }
        segment.set_end(to);
        Ok(())
    }

    /// Returns when the last frame was recorded.
    pub(crate) fn run(mut self, mark: Option<Mark>) -> Result<u64> {
        let view = self.shared.view();
        let from = view.tables.active.from;
        self.time = view.tables.active.last_time();
        let Some(first) = view.segments.iter().position(|segment| segment.header.number == from.segment()) else {
            return Err(Error::corrupt(
                &self.shared.paths.log,
                None,
                "the index covers more than there is; segments of the log are missing",
            ));
        };
        let last = view.segments.len() - 1;
        for segment in &view.segments[first..last] {
            let is_first = segment.header.number == from.segment();
            if is_first && from.offset() > segment.written_end() {
                return Err(damaged(&segment.path, segment.end())("the index covers more than there is"));
            }
            let offset = if is_first { segment.offset_of(from.offset())? } else { segment.first_frame() };
            self.expected = Some(view.tables.active.last() + 1).filter(|_| is_first);
            self.expected.get_or_insert(segment.header.first_position);
            let mut scan = Scan::new(segment, offset);
            while let Some((offset, frame)) = scan.next_whole(segment.end())? {
                self.take(segment, offset, &frame)?;
            }
            let follower = &view.segments[(segment.header.number) as usize];
            if self.expected != Some(follower.header.first_position) {
                return Err(Error::corrupt(&follower.path, 0, "the segment does not go on where the one before it ends"));
            }
        }
        let active = &view.segments[last];
        let end = self.run_active(active, from, mark)?;
        self.shared.publish(self.shared.view().tables.active.last(), Location::new(active.header.number, end));
        Ok(self.time)
    }

    /// Reads the last segment, and repairs its end if this is the writer. Returns where it ends.
    fn run_active(&mut self, active: &Segment, from: Location, mark: Option<Mark>) -> Result<u64> {
        let indexed_to = if active.header.number == from.segment() { from.offset() } else { FIRST_FRAME };
        let mut begin = (FIRST_FRAME, active.header.first_position);
        let bytes = active.file.size().map_err(active.io("can't read"))?;
        // The anchors, as far as they go, spare reading the frames again, unless the index needs them.
        let checkpoint = active.anchors.checkpoint(active).filter(|(covered, _)| covered.end <= bytes && covered.end <= indexed_to);
        if let Some((covered, anchors)) = checkpoint {
            begin = (covered.end, covered.next_position);
            self.time = covered.last_time;
            active.anchors.restore(anchors);
        } else if begin.0 < indexed_to {
            // The frames in front of what the index covers are older than its end.
            self.time = 0;
        }
        self.expected = Some(begin.1);
        let limit = match mark {
            _ if self.mode == Mode::Write => {
                self.make_durable(active, mark)?;
                u64::MAX
            }
            // Beside a writer, and after one that was killed, what is behind the mark may never become durable.
            Some(mark) if self.beside_writer || mark.boot.is_some() && mark.boot == self.shared.boot => {
                if mark.end.segment() == active.header.number { mark.end.offset().max(indexed_to) } else { indexed_to }
            }
            // A writer that has just begun has set no mark yet. What the index covers is durable.
            None if self.beside_writer => indexed_to,
            Some(_) | None => u64::MAX,
        };
        // What was compacted proves that the log was durable up to where that was decided, as the mark does.
        let decided_at = self.shared.view().segments.iter().map(|segment| segment.decided_at()).max().unwrap_or_default();
        let limit = if decided_at.segment() == active.header.number { limit.max(decided_at.offset()) } else { limit };
        let mut scan = Scan::new(active, begin.0);
        let problem = loop {
            if scan.offset() >= limit {
                active.set_end(scan.offset());
                return Ok(scan.offset());
            }
            match scan.step()? {
                Step::Frame(offset, frame) => {
                    active.anchors.note(offset, frame.header.position);
                    if offset >= indexed_to {
                        self.take(active, offset, &frame)?;
                    } else {
                        self.check_order(active, offset, &frame)?;
                    }
                }
                Step::Nothing => break "there is nothing",
                Step::Broken(what) => break what,
            }
        };
        let end = scan.offset();
        if end < indexed_to {
            return Err(Error::corrupt(
                &active.path,
                end,
                format!("{problem}, but the index covers more; acknowledged entries are missing"),
            ));
        }
        if let Some(mark) = mark
            && mark.end > Location::new(active.header.number, end)
        {
            let what = format!("{problem}, but the log was durable up to position {}; acknowledged entries are missing", mark.last);
            return Err(Error::corrupt(&active.path, end, what));
        }
        if decided_at > Location::new(active.header.number, end) {
            let what = format!("{problem}, but a segment was compacted when the log was longer; acknowledged entries are missing");
            return Err(Error::corrupt(&active.path, end, what));
        }
        let tail = scan.tail(problem)?;
        active.set_end(end);
        if self.mode == Mode::Write
            && let Some((first, last)) = tail.torn
        {
            tracing::info!(segment = %active.path.display(), at = end, bytes = last - first, "removing a batch that a crash cut off");
            active.file.truncate(end).map_err(active.io("can't shorten"))?;
            active.file.sync().map_err(active.io("can't sync"))?;
        }
        Ok(end)
    }

    /// Makes what is there durable: so far it may only be in the system's memory, and what is indexed may never be lost.
    fn make_durable(&self, active: &Segment, mark: Option<Mark>) -> Result<()> {
        if let Some(mark) = mark
            && (mark.boot == self.shared.boot)
        {
            let marked = if mark.end.segment() == active.header.number { mark.end.offset() } else { FIRST_FRAME };
            rewrite(active, marked)?;
        }
        active.file.sync().map_err(active.io("can't sync"))?;
        let directory = &self.shared.paths.log;
        self.shared.disk.sync_directory(directory).map_err(Error::io("can't sync", directory))
    }

    /// Adds a frame to the index, and writes the index out if that fills its table.
    pub(crate) fn take(&mut self, segment: &Segment, offset: u64, frame: &Frame<'_>) -> Result<()> {
        self.check_order(segment, offset, frame)?;
        let view = self.shared.view();
        let table = &view.tables.active;
        let written = segment.place_of(offset, &frame.header);
        let place = Location::new(segment.header.number, written);
        self.listing.clear();
        self.numbers.clear();
        for index in 0..frame.header.entries {
            let entry = frame.entry(index).map_err(damaged(&segment.path, offset))?;
            let terms = self.shared.indexer.terms(&self.shared.keys, entry.payload);
            let terms = terms.ok_or_else(|| damaged(&segment.path, offset)("an entry makes no sense"))?;
            self.listing.add(&terms);
            self.numbers.push(entry.number);
        }
        let numbers = adding::add(table, &view.tables, &self.listing, frame.header.position)?;
        for (index, (due, found)) in numbers.into_iter().zip(self.numbers.drain(..)).enumerate() {
            if due != found {
                let position = frame.header.position + index as u64;
                let what = format!("the entry at position {position} has number {found}, and {due} was due");
                return Err(Error::corrupt(&segment.path, offset, what));
            }
        }
        for index in 0..frame.header.records {
            let record = frame.record(index).map_err(damaged(&segment.path, offset))?;
            let key = self.shared.indexer.record_key(&self.shared.keys, record.name);
            let key = key.ok_or_else(|| damaged(&segment.path, offset)("a record makes no sense"))?;
            table.add_record(key, place);
        }
        // Frames get no longer, so this is no further than where it ended when it was written.
        let to = Location::new(segment.header.number, written + frame.header.bytes as u64);
        table.extend(to, frame.header.next_position() - 1, self.time);
        if table.is_full(self.shared.options.memtable_bytes_max) {
            self.write_out(to)?;
        }
        Ok(())
    }

    /// Makes room in memory: the writer writes a run; a reader has to keep what no run covers yet.
    fn write_out(&self, to: Location) -> Result<()> {
        if self.mode == Mode::Read {
            return Ok(());
        }
        let view = self.shared.view();
        let table = &view.tables.active;
        let run = Arc::new(merge::flush(&*self.shared.disk, &self.shared.paths.index, self.shared.store, table)?);
        let fresh = Arc::new(Memtable::new(to, table.last(), table.last_time()));
        self.shared.change_view(|view| {
            view.tables.runs.push(run);
            view.tables.active = fresh;
        });
        Ok(())
    }

    fn check_order(&mut self, segment: &Segment, offset: u64, frame: &Frame<'_>) -> Result<()> {
        if let Some(expected) = self.expected
            && frame.header.position != expected
        {
            let what = format!("the frame begins with position {}, and {expected} was due", frame.header.position);
            return Err(Error::corrupt(&segment.path, offset, what));
        }
        if frame.header.time < self.time {
            return Err(damaged(&segment.path, offset)("the frame was recorded before the one in front of it"));
        }
        self.expected = Some(frame.header.next_position());
        self.time = frame.header.time;
        Ok(())
    }
}

/// Writes the end of the log once more. After a sync that failed, the system holds what it could not write for written: without this, a
/// sync would say that all is well, and the next power failure would take it.
fn rewrite(segment: &Segment, from: u64) -> Result<()> {
    let mut buffer = vec![0; REWRITE_BYTES];
    let mut offset = from;
    loop {
        let bytes = segment.file.read(offset, &mut buffer).map_err(segment.io("can't read"))?;
        if bytes == 0 {
            return Ok(());
        }
        segment.file.write(offset, &buffer[..bytes]).map_err(segment.io("can't write"))?;
        offset += bytes as u64;
    }
}
