//! Walking a segment frame by frame, checking every byte, and telling a torn tail from damage.
//!
//! It reads through the system, not through the map, so that a failing disk is an error and not a crash.

use std::borrow::Cow;

use super::{SEGMENT_HEADER_BYTES, Segment};
use crate::error::{Error, Result};
use crate::frame::{self, ALIGNMENT, Frame, HEADER_BYTES, Header, damaged};

/// How much is read at once; little in tests, so that frames often lie across the edge.
const CHUNK_BYTES: usize = if cfg!(any(test, feature = "fuzzing")) { 1 << 10 } else { 1 << 20 };

/// Walks a segment.
#[derive(Debug)]
pub(crate) struct Scan<'s> {
    segment: &'s Segment,
    /// Where the next frame should begin.
    offset: u64,
    buffer: Vec<u8>,
    /// Where in the file the buffer begins.
    buffer_at: u64,
    /// How much of the buffer is read.
    filled: usize,
}

/// What stands where a frame should.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    /// A whole frame.
    Frame(u64, Frame<'a>),
    /// Nothing: zeros, or the end of the file.
    Nothing,
    /// Something that is not a whole frame, and why.
    Broken(&'static str),
}

/// How the last segment of a log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tail {
    /// Where the last whole frame ends.
    pub(crate) end: u64,
    /// Bytes behind it that are not zero and have to be, as a range: what is left of a batch that was never acknowledged.
    pub(crate) torn: Option<(u64, u64)>,
}

impl<'s> Scan<'s> {
    pub(crate) fn new(segment: &'s Segment, offset: u64) -> Self {
        Self { segment, offset, buffer: Vec::new(), buffer_at: offset, filled: 0 }
    }

    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next frame, checked in all its parts, of those that end at or before `end`. Anything else before `end` is damage.
    pub(crate) fn next_whole(&mut self, end: u64) -> Result<Option<(u64, Frame<'_>)>> {
        if self.offset >= end {
            return Ok(None);
        }
        let (segment, offset) = (self.segment, self.offset);
        match self.step()? {
            Step::Frame(offset, frame) if offset + frame.header.bytes as u64 <= end => Ok(Some((offset, frame))),
            Step::Frame(..) => Err(damaged(&segment.path, offset)("a frame reaches beyond the end of the log")),
            Step::Nothing => Err(damaged(&segment.path, offset)("there are no frames where there should be some")),
            Step::Broken(what) => Err(damaged(&segment.path, offset)(what)),
        }
    }

    /// What stands at the scan's offset; goes on behind it if that is a frame.
    pub(crate) fn step(&mut self) -> Result<Step<'_>> {
        let offset = self.offset;
        if self.fill(HEADER_BYTES)? < HEADER_BYTES {
            let rest = &self.buffer[self.start()..self.filled];
            return Ok(if rest.iter().all(|byte| *byte == 0) { Step::Nothing } else { Step::Broken("the file ends within a frame") });
        }
        let start = self.start();
        let head = &self.buffer[start..start + HEADER_BYTES];
        if head.iter().all(|byte| *byte == 0) {
            return Ok(Step::Nothing);
        }
        let Some(header) = Header::read(head) else { return Ok(Step::Broken("there is no frame")) };
        // A length that lies takes no memory.
        let is_beyond =
            header.bytes > CHUNK_BYTES && self.segment.file.size().map_err(self.segment.io("can't read"))? < offset + header.bytes as u64;
        if is_beyond || self.fill(header.bytes)? < header.bytes {
            return Ok(Step::Broken("the file ends within a frame"));
        }
        let start = self.start();
        let bytes = &self.buffer[start..start + header.bytes];
        let frame = match Frame::check(Cow::Borrowed(bytes), self.segment.header.seed) {
            Ok(frame) => frame,
            Err(what) => return Ok(Step::Broken(what)),
        };
        if let Err(what) = frame.check_bodies() {
            return Ok(Step::Broken(what));
        }
        self.offset += header.bytes as u64;
        Ok(Step::Frame(offset, frame))
    }

    /// Looks behind the last whole frame of the log's last segment.
    ///
    /// A batch is written and synced as a whole, and the next one only then. So if what is broken belonged to the last batch,
    /// nothing that began behind it is whole; a whole frame of a batch that began later proves that what is broken had been synced, and
    /// may have been acknowledged. That is damage, and it is reported; only the other is a torn tail.
    pub(crate) fn tail(mut self, what: &'static str) -> Result<Tail> {
        let end = self.offset;
        let mut torn: Option<(u64, u64)> = None;
        let mut at = end;
        loop {
            self.offset = at;
            let have = self.fill(CHUNK_BYTES)?;
            let start = self.start();
            let chunk = &self.buffer[start..start + have];
            if chunk.is_empty() {
                break;
            }
            for (index, word) in chunk.chunks(ALIGNMENT).enumerate() {
                if word.iter().all(|byte| *byte == 0) {
                    continue;
                }
                let word_at = at + (index * ALIGNMENT) as u64;
                torn = Some((torn.map_or(word_at, |(from, _)| from), word_at + word.len() as u64));
                if let Some(header) = Header::read(chunk.get(index * ALIGNMENT..).unwrap_or_default())
                    && word_at > end
                    && word_at.saturating_sub(header.behind.into()) > end
                    && self.is_frame(word_at, &header)?
                {
                    let file = &self.segment.path;
                    return Err(Error::corrupt(file, end, format!("{what}, but the log goes on behind it at byte {word_at}")));
                }
            }
            // The last header of a chunk may reach into the next one.
            let step = if have < CHUNK_BYTES { have } else { have - HEADER_BYTES };
            at += step.next_multiple_of(ALIGNMENT) as u64;
            if have < CHUNK_BYTES {
                break;
            }
        }
        Ok(Tail { end, torn })
    }

    /// Goes to the next place behind the scan's offset where a whole frame begins; `None` if there is none.
    pub(crate) fn find_next(&mut self) -> Result<Option<u64>> {
        let mut at = self.offset + ALIGNMENT as u64;
        loop {
            self.offset = at;
            let have = self.fill(CHUNK_BYTES)?;
            let start = self.start();
            let chunk = &self.buffer[start..start + have];
            for index in (0..have.saturating_sub(HEADER_BYTES - 1)).step_by(ALIGNMENT) {
                let Some(header) = Header::read(&chunk[index..]) else { continue };
                let found = at + index as u64;
                if self.is_frame(found, &header)? {
                    self.offset = found;
                    return Ok(Some(found));
                }
            }
            if have < CHUNK_BYTES {
                self.offset = at;
                return Ok(None);
            }
            at += (have - HEADER_BYTES) as u64;
        }
    }

    /// Whether a frame of this segment begins there: its header and table are as they were written.
    fn is_frame(&self, offset: u64, header: &Header) -> Result<bool> {
        let file = &self.segment.file;
        let io = || self.segment.io("can't read");
        // Much looks like a header and is none. Reading little of it is enough to see that, mostly.
        let mut first_end = [0; 4];
        let read = file.read(offset + HEADER_BYTES as u64, &mut first_end).map_err(io())?;
        let first_end = u32::from_le_bytes(first_end) as usize;
        if read < 4 || first_end < header.bodies_at() || first_end > header.bytes {
            return Ok(false);
        }
        let mut head = vec![0; header.bodies_at()];
        let read = file.read(offset, &mut head).map_err(io())?;
        let is_head = read == head.len() && frame::is_head(&head, self.segment.header.seed);
        Ok(is_head && offset + header.bytes as u64 <= file.size().map_err(io())?)
    }

    fn start(&self) -> usize {
        usize::try_from(self.offset - self.buffer_at).expect("the buffer begins at most a chunk before")
    }

    /// Has at least `bytes` from the scan's offset on in the buffer, if the file has that many. Returns how many there are, at most `bytes`.
    fn fill(&mut self, bytes: usize) -> Result<usize> {
        if self.offset < self.buffer_at || self.offset > self.buffer_at + self.filled as u64 {
            (self.buffer_at, self.filled) = (self.offset, 0);
        }
        let start = self.start();
        if self.filled - start < bytes {
            self.buffer.copy_within(start..self.filled, 0);
            (self.buffer_at, self.filled) = (self.offset, self.filled - start);
            if self.buffer.len() < bytes.max(CHUNK_BYTES) {
                self.buffer.resize(bytes.max(CHUNK_BYTES), 0);
            }
            let read = self.segment.file.read(self.buffer_at + self.filled as u64, &mut self.buffer[self.filled..]);
            self.filled += read.map_err(self.segment.io("can't read"))?;
        }
        Ok((self.filled - self.start()).min(bytes))
    }
}

/// The first offset at which a frame can begin.
pub(crate) const FIRST_FRAME: u64 = SEGMENT_HEADER_BYTES as u64;
