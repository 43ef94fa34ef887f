//! Segments: the files of the log. Each begins with a header, and then one frame follows another.

mod anchors;
mod compaction;
mod scan;
mod seed;

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::disk::{Access, Disk, DiskFile};
use crate::error::{Error, Result};
use crate::frame::{self, Entry, Frame, HEADER_BYTES, Header, SLOT_BYTES, damaged, u32_at, u64_at};

pub(crate) use anchors::{Anchor, Anchors, Covered, PAGE_BYTES, sidecar_path, write_whole};
pub(crate) use compaction::Compaction;
pub(crate) use scan::{FIRST_FRAME, Scan, Step};

/// The format of segments that this version writes, and the latest that it reads. Format 1 knew no compaction.
pub(crate) const FORMAT: u32 = 2;
const MAGIC: [u8; 8] = *b"FACTUMLG";
/// A segment's header, in bytes; the first frame follows.
pub(crate) const SEGMENT_HEADER_BYTES: usize = 64;

/// A frame's place in the log: its segment's number and its offset in it. Places sort as frames were written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Location(pub(crate) u64);

impl Location {
    pub(crate) fn new(segment: u32, offset: u64) -> Self {
        assert!(offset < 1 << 32, "a segment is shorter than 4 GiB");
        Self(u64::from(segment) << 32 | offset)
    }

    pub(crate) const fn segment(self) -> u32 {
        (self.0 >> 32) as u32
    }

    pub(crate) const fn offset(self) -> u64 {
        self.0 & 0xffff_ffff
    }
}

/// What a segment says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// Which store it belongs to; also the secret of its keys.
    pub(crate) store: [u8; 16],
    /// Segments are numbered from 1.
    pub(crate) number: u32,
    /// What this segment's checksums begin with.
    pub(crate) seed: u32,
    /// The position of the first entry in it.
    pub(crate) first_position: u64,
    /// Where the last frame of the segment before ends, 0 in the first segment.
    pub(crate) previous_end: u64,
}

impl SegmentHeader {
    pub(crate) fn to_bytes(self) -> [u8; SEGMENT_HEADER_BYTES] {
        self.signed(false)
    }

    fn signed(self, is_compacted: bool) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.store);
        bytes[32..36].copy_from_slice(&self.number.to_le_bytes());
        bytes[36..40].copy_from_slice(&self.seed.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.first_position.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.previous_end.to_le_bytes());
        bytes[56] = is_compacted.into();
        let checksum = crc32c::crc32c(&bytes);
        bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    pub(crate) fn read(file: &Path, bytes: &[u8]) -> Result<Self> {
        if bytes.len() < SEGMENT_HEADER_BYTES || bytes[0..8] != MAGIC {
            return Err(Error::corrupt(file, 0, "this is not a segment of a log"));
        }
        let found = u32_at(bytes, 8).unwrap_or(0);
        if found > FORMAT {
            return Err(Error::FutureFormat { file: file.to_owned(), found, known: FORMAT });
        }
        let mut unsigned: [u8; SEGMENT_HEADER_BYTES] = bytes[..SEGMENT_HEADER_BYTES].try_into().expect("it is that long");
        unsigned[12..16].fill(0);
        if u32_at(bytes, 12) != Some(crc32c::crc32c(&unsigned)) {
            return Err(Error::corrupt(file, 0, "the segment's header does not match its checksum"));
        }
        Ok(Self::parse(&unsigned))
    }

    fn parse(bytes: &[u8; SEGMENT_HEADER_BYTES]) -> Self {
        Self {
            store: bytes[16..32].try_into().expect("sixteen bytes"),
            number: u32_at(bytes, 32).unwrap_or(0),
            seed: u32_at(bytes, 36).unwrap_or(0),
            first_position: u64_at(bytes, 40).unwrap_or(0),
            previous_end: u64_at(bytes, 48).unwrap_or(0),
        }
    }
}

/// An open segment.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) path: PathBuf,
    pub(crate) header: SegmentHeader,
    pub(crate) file: Arc<dyn DiskFile>,
    /// Set if it was compacted.
    pub(crate) compaction: Option<Compaction>,
    /// Where the last whole frame ends that may be read.
    end: AtomicU64,
    pub(crate) anchors: Anchors,
}

/// The file of the segment with this number.
pub(crate) fn segment_path(directory: &Path, number: u32) -> PathBuf {
    directory.join(format!("{number:010}.seg"))
}

impl Segment {
    /// Opens an existing segment. Nothing in it can be read until [`Segment::set_end`], unless it was compacted.
    pub(crate) fn open(disk: &Arc<dyn Disk>, path: &Path, access: Access, bytes_max: u64) -> Result<Self> {
        let file = disk.open(path, access, bytes_max).map_err(Error::io("can't open", path))?;
        Self::of_file(disk, path, file)
    }

    /// The segment that an open file is.
    pub(crate) fn of_file(disk: &Arc<dyn Disk>, path: &Path, file: Arc<dyn DiskFile>) -> Result<Self> {
        let mut bytes = [0; Compaction::FIRST_FRAME as usize];
        let read = file.read(0, &mut bytes).map_err(Error::io("can't read", path))?;
        let header = SegmentHeader::read(path, &bytes[..read])?;
        let mut compaction = None;
        if u32_at(&bytes, 8) != Some(1) && bytes[56] == 1 {
            let second = Compaction::read(&bytes[SEGMENT_HEADER_BYTES..read], header.number, header.seed);
            let second =
                second.ok_or_else(|| Error::corrupt(path, SEGMENT_HEADER_BYTES as u64, "the segment's second header is damaged"))?;
            let size = file.size().map_err(Error::io("can't read", path))?;
            if size < second.end {
                return Err(Error::corrupt(path, size, format!("the last {} bytes of the segment are missing", second.end - size)));
            }
            compaction = Some(second);
        }
        Ok(Self::new(disk, path, header, file, compaction))
    }

    fn new(disk: &Arc<dyn Disk>, path: &Path, header: SegmentHeader, file: Arc<dyn DiskFile>, compaction: Option<Compaction>) -> Self {
        let end = compaction.map_or(FIRST_FRAME, |compaction| compaction.end);
        let anchors = Anchors::new(sidecar_path(path));
        Self { disk: Arc::clone(disk), path: path.to_owned(), header, file, compaction, end: AtomicU64::new(end), anchors }
    }

    /// The segment that a file is whose header is damaged, to save what can be saved. Nothing it says of other things is believed, and its seed only
    /// if frames prove it right.
    pub(crate) fn of_damaged(disk: &Arc<dyn Disk>, path: &Path, file: Arc<dyn DiskFile>) -> Result<Self> {
        let mut bytes = [0; Compaction::FIRST_FRAME as usize];
        file.read(0, &mut bytes).map_err(Error::io("can't read", path))?;
        let parsed = SegmentHeader::parse(bytes.first_chunk().expect("it is longer than a header"));
        let mut header = SegmentHeader { first_position: 0, previous_end: 0, ..parsed };
        header.seed = seed::find(&*file, header.seed).unwrap_or(header.seed);
        let name = path.file_stem().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
        header.number = name.unwrap_or(header.number);
        let compaction = Compaction::read(&bytes[SEGMENT_HEADER_BYTES..], header.number, header.seed);
        Ok(Self::new(disk, path, header, file, compaction))
    }

    /// Makes a new segment, durably: it is there whole or not at all.
    pub(crate) fn create(disk: &Arc<dyn Disk>, directory: &Path, header: SegmentHeader, bytes_max: u64) -> Result<Self> {
        let path = segment_path(directory, header.number);
        let temporary = path.with_extension("new");
        let file = disk.open(&temporary, Access::Create, bytes_max).map_err(Error::io("can't make", &temporary))?;
        file.write(0, &header.to_bytes()).map_err(Error::io("can't write", &temporary))?;
        file.sync().map_err(Error::io("can't sync", &temporary))?;
        disk.rename(&temporary, &path).map_err(Error::io("can't rename", &temporary))?;
        disk.sync_directory(directory).map_err(Error::io("can't sync", directory))?;
        Ok(Self::new(disk, &path, header, file, None))
    }

    /// The two headers of the segment that is to replace this one.
    pub(crate) fn compacted_headers(&self, seed: u32, compaction: Compaction) -> Vec<u8> {
        let header = SegmentHeader { seed, ..self.header };
        [header.signed(true), compaction.to_bytes(header.number, seed)].concat()
    }

    /// The same segment, whose file has another name now.
    pub(crate) fn renamed(self, path: &Path) -> Self {
        Self { path: path.to_owned(), anchors: self.anchors.beside(path), ..self }
    }

    /// The place up to which the log was durable when it was decided what to leave out of this segment; none if nothing was.
    pub(crate) fn decided_at(&self) -> Location {
        self.compaction.map(|compaction| compaction.decided_at).unwrap_or_default()
    }

    /// Where the first frame begins.
    pub(crate) fn first_frame(&self) -> u64 {
        if self.compaction.is_some() { Compaction::FIRST_FRAME } else { FIRST_FRAME }
    }

    /// Where the last frame ended when it was written: where places in this segment end.
    pub(crate) fn written_end(&self) -> u64 {
        self.compaction.map_or_else(|| self.end(), |compaction| compaction.written_end)
    }

    /// Where the frame was written that is at `offset` now: its place.
    pub(crate) fn place_of(&self, offset: u64, header: &Header) -> u64 {
        if self.compaction.is_some() { header.behind.into() } else { offset }
    }

    /// Where the first frame is now that was written at `written` or behind it; the end if there is none.
    pub(crate) fn offset_of(&self, written: u64) -> Result<u64> {
        if self.compaction.is_none() {
            return Ok(written);
        }
        let is_before = |anchor: Anchor| Ok(anchor.offset < self.end() && u64::from(self.header_at(anchor.offset)?.behind) <= written);
        let mut offset = self.anchors.last_where(self, is_before)?.0.offset;
        while offset < self.end() {
            let header = self.header_at(offset)?;
            if u64::from(header.behind) >= written {
                break;
            }
            offset += header.bytes as u64;
        }
        Ok(offset)
    }

    /// The frame that was written at this place.
    pub(crate) fn frame_written_at(&self, written: u64) -> Result<(u64, Frame<'_>)> {
        let offset = self.offset_of(written)?;
        let frame = self.frame_at(offset)?;
        if self.place_of(offset, &frame.header) != written {
            return Err(damaged(&self.path, offset)("a record is not where the index says"));
        }
        Ok((offset, frame))
    }

    pub(crate) fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    /// Lets readers see frames up to there. A compacted segment knows its end.
    pub(crate) fn set_end(&self, end: u64) {
        debug_assert!(self.compaction.is_none_or(|compaction| compaction.end == end), "a compacted segment has its end");
        self.end.store(end, Ordering::Release);
    }

    /// The segment's bytes up to its end, where the file is mapped.
    pub(crate) fn mapped(&self) -> Option<Bytes> {
        let mapped = Mapped { file: Arc::clone(&self.file), end: usize::try_from(self.end()).ok()? };
        mapped.get().is_some().then(|| Bytes::from_owner(mapped))
    }

    pub(crate) fn io(&self, what: &'static str) -> impl FnOnce(std::io::Error) -> Error {
        Error::io(what, &self.path)
    }

    /// The header of the frame at `offset`, which must be where one begins.
    pub(crate) fn header_at(&self, offset: u64) -> Result<Header> {
        let bytes = self.file.view(offset, HEADER_BYTES).map_err(self.io("can't read"))?;
        Header::read(&bytes).ok_or_else(|| damaged(&self.path, offset)("there is no frame"))
    }

    /// The frame at `offset`, its header and table checked.
    pub(crate) fn frame_at(&self, offset: u64) -> Result<Frame<'_>> {
        let header = self.header_at(offset)?;
        if offset + header.bytes as u64 > self.end() {
            return Err(damaged(&self.path, offset)("a frame reaches beyond the end of the log"));
        }
        let bytes = self.file.view(offset, header.bytes).map_err(self.io("can't read"))?;
        Frame::check(bytes, self.header.seed).map_err(damaged(&self.path, offset))
    }

    /// Reads the one entry with this index of the frame at `offset`, and no other.
    pub(crate) fn entry_at<T>(&self, offset: u64, header: &Header, index: usize, read: impl FnOnce(Entry<'_>) -> T) -> Result<T> {
        let table_end = HEADER_BYTES + (index + 1) * SLOT_BYTES;
        let table = self.file.view(offset + HEADER_BYTES as u64, table_end - HEADER_BYTES).map_err(self.io("can't read"))?;
        let end = frame::entry_end(&table, index).filter(|end| *end <= header.bytes);
        let end = end.ok_or_else(|| damaged(&self.path, offset)("the frame's table makes no sense"))?;
        let bytes: Cow<'_, [u8]> = self.file.view(offset, end.max(table_end)).map_err(self.io("can't read"))?;
        let entry = frame::entry_alone(&bytes, header, index, self.header.seed).map_err(damaged(&self.path, offset))?;
        Ok(read(entry))
    }

    /// The last anchor at or before the frame that holds `position`.
    pub(crate) fn anchor_before(&self, position: u64) -> Result<Anchor> {
        self.anchors.before(self, position)
    }
}

/// The frames of a mapped file, as long as someone keeps a part of them.
struct Mapped {
    file: Arc<dyn DiskFile>,
    end: usize,
}

impl Mapped {
    fn get(&self) -> Option<&[u8]> {
        match self.file.view(0, self.end) {
            Ok(Cow::Borrowed(bytes)) => Some(bytes),
            _ => None,
        }
    }
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        self.get().unwrap_or_default()
    }
}
