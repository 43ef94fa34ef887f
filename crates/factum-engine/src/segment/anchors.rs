//! Anchors: for every page of a segment, where the first frame in it begins and which position it has. They turn a position into an
//! offset.
//!
//! For the segment being written they are in memory; for the others they are in a file beside the segment (a sidecar), which
//! can be deleted: it is made again from the frames.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, RwLock};

use super::{Scan, Segment};
use crate::disk::{Access, Disk, DiskFile};
use crate::error::{Error, Result};
use crate::frame::{u32_at, u64_at};

/// An anchor is set for the first frame that begins in each page of so many bytes: what lies between two of them is read at once.
pub(crate) const PAGE_BYTES: u64 = if cfg!(test) { 400 } else { 4_096 };
const MAGIC: [u8; 8] = *b"FACTUMAN";
const FORMAT: u32 = 1;
const HEADER_BYTES: usize = 56;
const ANCHOR_BYTES: usize = 8;

/// Where a frame begins, and the position of its first entry (or of the next one, if it has none).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Anchor {
    pub(crate) offset: u64,
    pub(crate) position: u64,
}

/// A segment's anchors, wherever they are.
#[derive(Debug)]
pub(crate) struct Anchors {
    sidecar: PathBuf,
    /// Of the segment being written, and of one whose sidecar is missing.
    growing: RwLock<Vec<Anchor>>,
    /// Of a segment that is complete.
    sealed: OnceLock<Sealed>,
}

#[derive(Debug)]
struct Sealed {
    file: Arc<dyn DiskFile>,
    first_position: u64,
    count: usize,
}

/// What a sidecar says of its segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Covered {
    /// Frames up to this offset have their anchors here.
    pub(crate) end: u64,
    /// The position of the entry after the last covered one.
    pub(crate) next_position: u64,
    /// When the last covered frame was recorded.
    pub(crate) last_time: u64,
}

/// The file of a segment's anchors.
pub(crate) fn sidecar_path(segment: &Path) -> PathBuf {
    segment.with_extension("anchors")
}

impl Anchors {
    /// The anchors of an existing segment; found when they are first asked for.
    pub(crate) fn new(sidecar: PathBuf) -> Self {
        Self { sidecar, growing: RwLock::default(), sealed: OnceLock::new() }
    }

    /// The same anchors, of a segment whose file has another name now.
    pub(crate) fn beside(self, segment: &Path) -> Self {
        Self { sidecar: sidecar_path(segment), ..self }
    }

    /// Notes a frame, if it is the first of its page. Frames come in order.
    pub(crate) fn note(&self, offset: u64, position: u64) {
        note(&mut self.growing.write().expect("no holder of this lock panics"), offset, position);
    }

    /// Begins again with what a sidecar holds.
    pub(crate) fn restore(&self, anchors: Vec<Anchor>) {
        *self.growing.write().expect("no holder of this lock panics") = anchors;
    }

    /// Whether they are in a file.
    pub(crate) fn is_sealed(&self) -> bool {
        self.sealed.get().is_some()
    }

    /// The last anchor at or before the frame that holds `position`.
    pub(crate) fn before(&self, segment: &Segment, position: u64) -> Result<Anchor> {
        self.around(segment, position).map(|(before, _)| before)
    }

    /// The last anchor at or before the frame that holds `position`, and the next one.
    pub(crate) fn around(&self, segment: &Segment, position: u64) -> Result<(Anchor, Option<Anchor>)> {
        self.last_near(segment, Some(position), |anchor| Ok(anchor.position <= position))
    }

    /// The last anchor that is so, where all anchors in front of one that is so are so too, and the next one. If none is so, the first is
    /// the segment's beginning.
    pub(crate) fn last_where(&self, segment: &Segment, is_so: impl Fn(Anchor) -> Result<bool>) -> Result<(Anchor, Option<Anchor>)> {
        self.last_near(segment, None, is_so)
    }

    /// As [`last_where`](Self::last_where). It is likely to be near the anchor of a position, if that is given.
    fn last_near(&self, segment: &Segment, near: Option<u64>, is_so: impl Fn(Anchor) -> Result<bool>) -> Result<(Anchor, Option<Anchor>)> {
        let beginning = Anchor { offset: segment.first_frame(), position: segment.header.first_position };
        if let Some(sealed) = self.sealed.get() {
            let get = |index| sealed.get(index).map_err(Error::io("can't read", &self.sidecar));
            return last_of(beginning, sealed.count, near, get, is_so);
        }
        {
            let growing = self.growing.read().expect("no holder of this lock panics");
            if !growing.is_empty() {
                return last_of(beginning, growing.len(), near, |index| Ok(growing[index]), is_so);
            }
        }
        if self.open_sidecar(segment) {
            return self.last_near(segment, near, is_so);
        }
        self.build(segment)?;
        let growing = self.growing.read().expect("no holder of this lock panics");
        last_of(beginning, growing.len(), near, |index| Ok(growing[index]), is_so)
    }

    /// Uses the sidecar if it is there, whole, and covers the segment up to its end.
    pub(crate) fn open_sidecar(&self, segment: &Segment) -> bool {
        let Some((file, covered, count)) = read_sidecar(&*segment.disk, &self.sidecar, segment) else { return false };
        if covered.end != segment.end() {
            return false;
        }
        // Somebody else may have been quicker.
        let _ = self.sealed.set(Sealed { file, first_position: segment.header.first_position, count });
        self.growing.write().expect("no holder of this lock panics").clear();
        true
    }

    /// Makes the anchors from the frames.
    fn build(&self, segment: &Segment) -> Result<()> {
        let mut anchors = Vec::new();
        let mut scan = Scan::new(segment, segment.first_frame());
        while let Some((offset, frame)) = scan.next_whole(segment.end())? {
            note(&mut anchors, offset, frame.header.position);
        }
        *self.growing.write().expect("no holder of this lock panics") = anchors;
        Ok(())
    }

    /// Writes the sidecar, durably, whole or not at all. It covers the segment up to `covered`.
    pub(crate) fn write_sidecar(&self, segment: &Segment, covered: Covered) -> Result<()> {
        if self.sealed.get().is_some() {
            return Ok(());
        }
        if self.growing.read().expect("no holder of this lock panics").is_empty() && covered.end > segment.first_frame() {
            self.build(segment)?;
        }
        let anchors = self.growing.read().expect("no holder of this lock panics").clone();
        let anchors: Vec<Anchor> = anchors.into_iter().filter(|anchor| anchor.offset < covered.end).collect();
        let mut bytes = vec![0; HEADER_BYTES];
        for anchor in &anchors {
            let behind = anchor.position - segment.header.first_position;
            let (Ok(offset), Ok(behind)) = (u32::try_from(anchor.offset), u32::try_from(behind)) else {
                unreachable!("a segment is shorter than 4 GiB, and an entry longer than a byte");
            };
            bytes.extend_from_slice(&offset.to_le_bytes());
            bytes.extend_from_slice(&behind.to_le_bytes());
        }
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        bytes[16..20].copy_from_slice(&segment.header.number.to_le_bytes());
        bytes[20..24].copy_from_slice(&segment.header.seed.to_le_bytes());
        bytes[24..32].copy_from_slice(&covered.end.to_le_bytes());
        bytes[32..40].copy_from_slice(&covered.next_position.to_le_bytes());
        bytes[40..48].copy_from_slice(&covered.last_time.to_le_bytes());
        bytes[48..56].copy_from_slice(&(anchors.len() as u64).to_le_bytes());
        let checksum = crc32c::crc32c(&bytes);
        bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
        write_whole(&*segment.disk, &self.sidecar, &bytes)
    }

    /// What the sidecar covers and its anchors, if it is there and whole.
    pub(crate) fn checkpoint(&self, segment: &Segment) -> Option<(Covered, Vec<Anchor>)> {
        let (file, covered, count) = read_sidecar(&*segment.disk, &self.sidecar, segment)?;
        let sealed = Sealed { file, first_position: segment.header.first_position, count };
        let anchors = (0..count).map(|index| sealed.get(index)).collect::<std::io::Result<Vec<_>>>().ok()?;
        Some((covered, anchors))
    }
}

impl Sealed {
    fn get(&self, index: usize) -> std::io::Result<Anchor> {
        let bytes = self.file.view((HEADER_BYTES + index * ANCHOR_BYTES) as u64, ANCHOR_BYTES)?;
        let (offset, behind) = (u32_at(&bytes, 0).unwrap_or(0), u32_at(&bytes, 4).unwrap_or(0));
        Ok(Anchor { offset: offset.into(), position: self.first_position + u64::from(behind) })
    }
}

/// The last of `count` anchors, which `get` gets, that is so, and the next one; `beginning` if none is so.
fn last_of(
    beginning: Anchor,
    count: usize,
    near: Option<u64>,
    get: impl Fn(usize) -> Result<Anchor>,
    is_so: impl Fn(Anchor) -> Result<bool>,
) -> Result<(Anchor, Option<Anchor>)> {
    let (mut low, mut high) = (0, count);
    if let (Some(position), Some(last)) = (near, count.checked_sub(1)) {
        // Entries are of much the same size: where it would be if they all were is close by, and fewer places are looked at on the way.
        let all = get(last)?.position.saturating_sub(beginning.position);
        let behind = position.saturating_sub(beginning.position).min(all);
        // In a segment there are fewer than 2^32 positions, and fewer than 2^20 pages.
        let mut at = usize::try_from(behind.saturating_mul(last as u64) / all.max(1)).map_or(last, |guess| guess.min(last));
        let goes_up = is_so(get(at)?)?;
        let mut is_here = goes_up;
        for step in (0..).map(|doubled| 1 << doubled) {
            if is_here {
                low = at + 1
            } else {
                high = at
            }
            let next = if goes_up { Some(at + step).filter(|next| *next < count) } else { at.checked_sub(step) };
            match next {
                Some(next) if is_here == goes_up => at = next,
                _ => break,
            }
            is_here = is_so(get(at)?)?;
        }
    }
    while low < high {
        let middle = low.midpoint(high);
        if is_so(get(middle)?)? { low = middle + 1 } else { high = middle }
    }
    let last = low.checked_sub(1).map_or(Ok(beginning), &get)?;
    let next = if low < count { Some(get(low)?) } else { None };
    Ok((last, next))
}

fn note(anchors: &mut Vec<Anchor>, offset: u64, position: u64) {
    if anchors.last().is_none_or(|last| offset / PAGE_BYTES > last.offset / PAGE_BYTES) {
        anchors.push(Anchor { offset, position });
    }
}

/// Opens a sidecar and checks all of it; `None` if it is not there or not this segment's or damaged, and must be made again.
fn read_sidecar(disk: &dyn Disk, path: &Path, segment: &Segment) -> Option<(Arc<dyn DiskFile>, Covered, usize)> {
    let file = disk.open(path, Access::Read, 0).ok()?;
    let bytes = file.size().ok().and_then(|bytes| usize::try_from(bytes).ok())?;
    file.prefetch(0, bytes as u64);
    let mut head: [u8; HEADER_BYTES] = file.view(0, bytes.min(HEADER_BYTES)).ok()?.as_ref().try_into().ok()?;
    let checksum = u32_at(&head, 12)?;
    head[12..16].fill(0);
    let rest = file.view(HEADER_BYTES as u64, bytes - HEADER_BYTES).ok()?;
    let count = rest.len() / ANCHOR_BYTES;
    let genuine = head[0..8] == MAGIC
        && u32_at(&head, 8) == Some(FORMAT)
        && crc32c::crc32c_append(crc32c::crc32c(&head), &rest) == checksum
        && u32_at(&head, 16) == Some(segment.header.number)
        && u32_at(&head, 20) == Some(segment.header.seed)
        && u64_at(&head, 48) == Some(count as u64);
    let covered = Covered { end: u64_at(&head, 24)?, next_position: u64_at(&head, 32)?, last_time: u64_at(&head, 40)? };
    drop(rest);
    genuine.then_some((file, covered, count))
}

/// Writes a file so that it is there whole or not at all.
pub(crate) fn write_whole(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = path.with_extension("new");
    let file = disk.open(&temporary, Access::Create, bytes.len() as u64).map_err(Error::io("can't make", &temporary))?;
    file.write(0, bytes).map_err(Error::io("can't write", &temporary))?;
    file.sync().map_err(Error::io("can't sync", &temporary))?;
    disk.rename(&temporary, path).map_err(Error::io("can't rename", &temporary))?;
    let directory = path.parent().expect("a file is in a directory");
    disk.sync_directory(directory).map_err(Error::io("can't sync", directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Positions that rise evenly, unevenly, in leaps, or not at all where a page holds records only.
    #[test]
    fn an_anchor_is_found_from_wherever_the_search_begins() {
        let beginning = Anchor { offset: 64, position: 100 };
        for (count, step) in [(0, 1), (1, 1), (2, 9), (40, 1), (40, 0), (300, 7), (300, 0)] {
            for leaps in [1, 13] {
                let mut position = 100;
                let mut next = |index: u64| {
                    position += if leaps > 1 && index.is_multiple_of(leaps) { 1_000 } else { step + index * leaps % 3 };
                    Anchor { offset: 64 + index * PAGE_BYTES, position }
                };
                let anchors: Vec<Anchor> = (0..count).map(&mut next).collect();
                let last = anchors.last().map_or(100, |last| last.position);
                for wanted in (0..200).chain(anchors.iter().flat_map(|anchor| anchor.position - 1..anchor.position + 2)) {
                    let end = anchors.partition_point(|anchor| anchor.position <= wanted);
                    let expected = (end.checked_sub(1).map_or(beginning, |last| anchors[last]), anchors.get(end).copied());
                    for near in [None, Some(wanted), Some(0), Some(last), Some(u64::MAX)] {
                        let found =
                            last_of(beginning, anchors.len(), near, |index| Ok(anchors[index]), |anchor| Ok(anchor.position <= wanted));
                        assert_eq!(found.expect("nothing fails"), expected, "{wanted} near {near:?} in {anchors:?}");
                    }
                }
            }
        }
    }
}
