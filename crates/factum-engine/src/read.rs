//! Reading: a snapshot of the log, which never waits for the writer and never sees what is not durable.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::frame::{Entry, Frame, Header, RecordEntry, damaged};
use crate::index::{Looked, Tables};
use crate::key::{Key, Kind};
use crate::segment::{Location, PAGE_BYTES, Segment};
use crate::sequence::Wanted;

/// A read that takes longer than this came from the disk and not from memory.
pub(crate) const COLD: Duration = Duration::from_micros(15);
/// How far ahead a walk through the log is brought into memory.
const PREFETCH_AHEAD_BYTES: u64 = 4 << 20;
/// The next entry wanted may be so many frames further for it to be worth walking there.
const WALK_POSITIONS: u64 = 16;

/// The log's files and index as they are at one moment.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) segments: Vec<Arc<Segment>>,
    pub(crate) tables: Tables,
}

/// The log as it was at one moment, up to its durable end. Cheap to take; files that have been replaced stay open while one is held.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub(crate) view: Arc<View>,
    pub(crate) last: u64,
    pub(crate) end: Location,
}

/// Which end of a list of positions to take from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// The lowest.
    Lowest,
    /// The highest.
    Highest,
}

/// Where an entry is.
#[derive(Clone, Copy, Debug)]
struct Place {
    segment: usize,
    offset: u64,
    header: Header,
}

impl Snapshot {
    /// The position of the last durable entry, 0 if there is none.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// How many entries the sequence `key` has had.
    ///
    /// # Errors
    /// [`Error::Corrupt`] and what the disk says.
    pub fn count(&self, key: Key) -> Result<u64> {
        self.view.tables.count(key, self.last)
    }

    /// How many entries are found under a key that is not a sequence's.
    ///
    /// # Errors
    /// As [`Snapshot::count`].
    pub fn total(&self, key: Key) -> Result<u64> {
        self.view.tables.total(key, self.last)
    }

    /// The positions found under `key`, after `after` and up to `up_to`, rising: at most `limit`, from the end that `take` says.
    ///
    /// # Errors
    /// As [`Snapshot::count`].
    pub fn positions(&self, key: Key, after: u64, up_to: u64, take: Take, limit: usize) -> Result<Vec<u64>> {
        self.view.tables.values(key, (after, up_to.min(self.last)), take == Take::Lowest, limit)
    }

    /// The positions of a sequence's entries from number `from` to number `to`, rising.
    ///
    /// # Errors
    /// As [`Snapshot::count`].
    pub fn numbered(&self, key: Key, from: u64, to: u64) -> Result<Vec<u64>> {
        self.view.tables.numbered(key, from, to, self.last)
    }

    /// Begins what [`Pending::known_within`](crate::Pending::known_within) does: looks where nothing changes any more, so that the
    /// writer need not.
    ///
    /// # Errors
    /// As [`Snapshot::count`].
    pub fn look_up_within(&self, sequence: Key, keys: &[Key]) -> Result<Looked> {
        self.view.tables.look_up_within(sequence, keys)
    }

    /// Reads the newest write to a record; `read` gets it only if its name is `name`.
    ///
    /// # Errors
    /// As [`Snapshot::count`].
    pub fn record<T>(&self, key: Key, name: &[u8], read: impl FnOnce(RecordEntry<'_>) -> T) -> Result<Option<T>> {
        match self.view.tables.newest_record(key, self.end.0.saturating_sub(1))? {
            Some(place) => record_at(&self.view, Location(place), name).map(|record| record.map(|frame| frame.read(read))),
            None => Ok(None),
        }
    }

    /// Visits every write to a record with its place, in order, until `visit` has enough.
    pub(crate) fn record_writes(&self, mut visit: impl FnMut(Location, RecordEntry<'_>) -> ControlFlow<()>) -> Result<()> {
        for segment in &self.view.segments {
            let mapped = segment.mapped();
            let mut walk = Walk::new(segment, mapped.as_deref(), segment.first_frame());
            while let Some((at, frame)) = walk.next_frame()? {
                let place = Location::new(segment.header.number, segment.place_of(at, &frame.header));
                if place >= self.end {
                    return Ok(());
                }
                for index in 0..frame.header.records {
                    if visit(place, frame.record(index).map_err(damaged(&segment.path, at))?).is_break() {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// The place of the frame that wrote a record last, as the index knows it.
    pub(crate) fn record_place(&self, key: Key) -> Result<Option<Location>> {
        Ok(self.view.tables.newest_record(key, self.end.0.saturating_sub(1))?.map(Location))
    }

    /// Whether there is any record of this kind.
    pub fn has_records(&self, kind: Kind) -> bool {
        self.view.tables.has_records(kind)
    }

    /// Reads one entry.
    ///
    /// # Errors
    /// As [`Snapshot::count`].
    ///
    /// # Panics
    /// If the position is 0 or after [`Snapshot::last`].
    pub fn entry<T>(&self, position: u64, read: impl FnOnce(Entry<'_>) -> T) -> Result<T> {
        assert!(position > 0 && position <= self.last, "the position is one of the log's");
        entry(&self.view, position, read)
    }

    /// Reads entries at scattered positions, in the order given. If they come from the disk, all are asked of it before the first is
    /// waited for.
    ///
    /// # Errors
    /// As [`Snapshot::count`].
    ///
    /// # Panics
    /// As [`Snapshot::entry`].
    pub fn entries<'p>(&self, wanted: impl Into<Wanted<'p>>, mut visit: impl FnMut(Entry<'_>) -> ControlFlow<()>) -> Result<()> {
        let Wanted { positions, are_cold } = wanted.into();
        if are_cold {
            self.prefetch(positions)?;
        }
        let mut near: Option<Place> = None;
        let mut mapped: Option<(usize, Option<Bytes>)> = None;
        let mut begun = (positions.len() >= 3 && !are_cold).then(Instant::now);
        for (index, position) in positions.iter().enumerate() {
            assert!(*position > 0 && *position <= self.last, "the position is one of the log's");
            let place = locate(&self.view, *position, near)?;
            let segment = &self.view.segments[place.segment];
            let in_frame = in_frame(&place.header, *position);
            if mapped.as_ref().is_none_or(|(segment, _)| *segment != place.segment) {
                mapped = Some((place.segment, segment.mapped()));
            }
            let mapped = mapped.as_ref().and_then(|(_, mapped)| mapped.as_ref());
            let flow = segment.entry_at(place.offset, &place.header, in_frame, |entry| visit(Entry { mapped, ..entry }))?;
            if flow.is_break() {
                break;
            }
            near = Some(place);
            if let Some(before) = begun {
                let now = Instant::now();
                let is_cold = now - before > COLD;
                if is_cold {
                    self.prefetch(&positions[index + 1..])?;
                }
                begun = (!is_cold).then_some(now);
            }
        }
        Ok(())
    }

    /// Asks the disk for the entries at these positions, and does not wait.
    pub(crate) fn prefetch(&self, positions: &[u64]) -> Result<()> {
        let mut last = (usize::MAX, u64::MAX);
        for position in positions {
            let (index, segment) = segment_of(&self.view, *position)?;
            let (anchor, next) = segment.anchors.around(segment, *position)?;
            let page = anchor.offset / PAGE_BYTES;
            // What begins last in a page may end in the next one.
            let is_last = next.is_none_or(|next| next.position <= position + 1);
            let end = (page + if is_last { 2 } else { 1 }) * PAGE_BYTES;
            if last != (index, end) {
                segment.file.prefetch(anchor.offset, end - anchor.offset);
                last = (index, end);
            }
        }
        Ok(())
    }

    /// Reads the entries after `after` and up to `up_to` in order, until `visit` has enough.
    ///
    /// # Errors
    /// As [`Snapshot::count`].
    pub fn forward(&self, after: u64, up_to: u64, mut visit: impl FnMut(Entry<'_>) -> ControlFlow<()>) -> Result<()> {
        let up_to = up_to.min(self.last);
        if after >= up_to {
            return Ok(());
        }
        let place = locate(&self.view, after + 1, None)?;
        let mut offset = Some(place.offset);
        for segment in &self.view.segments[place.segment..] {
            let mapped = segment.mapped();
            let begin = offset.take().unwrap_or_else(|| segment.first_frame());
            let mut walk = Walk::new(segment, mapped.as_deref(), begin);
            while let Some((at, frame)) = walk.next_frame()? {
                if frame.header.position > up_to {
                    return Ok(());
                }
                let first = in_frame(&frame.header, frame.header.position.max(after + 1));
                for index in first..frame.header.entries {
                    let entry = frame.entry(index).map_err(damaged(&segment.path, at))?;
                    if entry.position > up_to || visit(Entry { mapped: mapped.as_ref(), ..entry }).is_break() {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// Reads the entries after `after` and up to `up_to` from the last to the first, until `visit` has enough.
    ///
    /// # Errors
    /// As [`Snapshot::count`].
    pub fn backward(&self, after: u64, up_to: u64, mut visit: impl FnMut(Entry<'_>) -> ControlFlow<()>) -> Result<()> {
        let mut up_to = up_to.min(self.last);
        while up_to > after {
            // A few frames forward from the anchor, then those backward.
            let (_, segment) = segment_of(&self.view, up_to)?;
            let anchor = segment.anchor_before(up_to)?;
            let mut offset = anchor.offset;
            let mut frames = Vec::new();
            while offset < segment.end() {
                let frame = segment.frame_at(offset)?;
                if frame.header.position > up_to {
                    break;
                }
                let next = offset + frame.header.bytes as u64;
                frames.push((offset, frame));
                offset = next;
            }
            let mut lowest = None;
            for (offset, frame) in frames.iter().rev() {
                for index in (0..frame.header.entries).rev() {
                    let position = frame.header.position + index as u64;
                    if position > up_to {
                        continue;
                    }
                    if position <= after {
                        return Ok(());
                    }
                    lowest = Some(position);
                    if visit(frame.entry(index).map_err(damaged(&segment.path, *offset))?).is_break() {
                        return Ok(());
                    }
                }
            }
            let lowest = lowest.ok_or_else(|| damaged(&segment.path, anchor.offset)("an entry is not where it should be"))?;
            up_to = lowest - 1;
        }
        Ok(())
    }
}

/// A walk from frame to frame of a segment.
struct Walk<'s> {
    segment: &'s Segment,
    /// The segment's bytes up to its end, where they are mapped.
    mapped: Option<&'s [u8]>,
    end: u64,
    offset: u64,
    /// Up to here the file was brought into memory.
    prefetched: u64,
}

impl<'s> Walk<'s> {
    fn new(segment: &'s Segment, mapped: Option<&'s [u8]>, offset: u64) -> Self {
        // If the first bytes are slow to come, so are the next ones.
        let begun = Instant::now();
        let touched = segment.file.view(offset, 1).map(|bytes| std::hint::black_box(bytes[0]));
        let cold = touched.is_ok() && begun.elapsed() > COLD;
        let prefetched = if cold { offset } else { offset.next_multiple_of(PREFETCH_AHEAD_BYTES) };
        // The segment may have grown since it was mapped; what is behind the mapping is for the next walk.
        let end = mapped.map_or_else(|| segment.end(), |mapped| mapped.len() as u64);
        Self { segment, mapped, end, offset, prefetched }
    }

    /// The next frame, its header and table checked, and where it is.
    fn next_frame(&mut self) -> Result<Option<(u64, Frame<'s>)>> {
        let at = self.offset;
        if at >= self.end {
            return Ok(None);
        }
        if at >= self.prefetched || (self.prefetched - at < PREFETCH_AHEAD_BYTES / 2 && self.prefetched < self.end) {
            self.segment.file.prefetch(self.prefetched, PREFETCH_AHEAD_BYTES.min(self.end.saturating_sub(self.prefetched)));
            self.prefetched += PREFETCH_AHEAD_BYTES;
        }
        let rest = self.mapped.and_then(|mapped| mapped.get(usize::try_from(at).ok()?..));
        let frame = match rest {
            Some(rest) => Frame::check_first(rest, self.segment.header.seed).map_err(damaged(&self.segment.path, at))?,
            None => self.segment.frame_at(at)?,
        };
        self.offset = at + frame.header.bytes as u64;
        Ok(Some((at, frame)))
    }
}

/// A frame that holds a record wanted.
pub(crate) struct RecordFrame<'v> {
    frame: crate::frame::Frame<'v>,
    index: usize,
}

impl RecordFrame<'_> {
    pub(crate) fn read<T>(&self, read: impl FnOnce(RecordEntry<'_>) -> T) -> T {
        read(self.frame.record(self.index).expect("it has been checked"))
    }
}

/// The newest write to the record `name` in the frame at `place`.
pub(crate) fn record_at<'v>(view: &'v View, place: Location, name: &[u8]) -> Result<Option<RecordFrame<'v>>> {
    let segment = view.segments.iter().find(|segment| segment.header.number == place.segment());
    let Some(segment) = segment else {
        let file = view.segments.first().map(|segment| segment.path.clone()).unwrap_or_default();
        return Err(Error::corrupt(&file, None, format!("the index refers to segment {}, which is not there", place.segment())));
    };
    let (offset, frame) = segment.frame_written_at(place.offset())?;
    for index in (0..frame.header.records).rev() {
        let record = frame.record(index).map_err(damaged(&segment.path, offset))?;
        if record.name == name {
            return Ok(Some(RecordFrame { frame, index }));
        }
    }
    Ok(None)
}

/// Reads one entry that is written, whether or not it is durable.
pub(crate) fn entry<T>(view: &View, position: u64, read: impl FnOnce(Entry<'_>) -> T) -> Result<T> {
    let place = locate(view, position, None)?;
    view.segments[place.segment].entry_at(place.offset, &place.header, in_frame(&place.header, position), read)
}

fn in_frame(header: &Header, position: u64) -> usize {
    usize::try_from(position - header.position).expect("a frame has few entries")
}

fn segment_of(view: &View, position: u64) -> Result<(usize, &Segment)> {
    let after = view.segments.partition_point(|segment| segment.header.first_position <= position);
    // Of several segments that begin with the same position, the earlier ones hold records only.
    let index = after.checked_sub(1).ok_or_else(|| Error::corrupt(std::path::Path::new("log"), None, "the log has no beginning"))?;
    Ok((index, &view.segments[index]))
}

/// Finds the frame that holds `position`, walking from `near` if that is close by.
fn locate(view: &View, position: u64, near: Option<Place>) -> Result<Place> {
    if let Some(near) = near
        && near.header.position <= position
        && position < near.header.next_position() + WALK_POSITIONS
        && view.segments.get(near.segment + 1).is_none_or(|next| position < next.header.first_position)
    {
        return walk(view, near.segment, near.offset, position);
    }
    let (index, segment) = segment_of(view, position)?;
    walk(view, index, segment.anchor_before(position)?.offset, position)
}

fn walk(view: &View, index: usize, mut offset: u64, position: u64) -> Result<Place> {
    let segment = &view.segments[index];
    while offset < segment.end() {
        let header = segment.header_at(offset)?;
        if header.position > position {
            break;
        }
        if position < header.next_position() {
            return Ok(Place { segment: index, offset, header });
        }
        offset += header.bytes as u64;
    }
    Err(damaged(&segment.path, offset)("an entry is not where it should be"))
}
