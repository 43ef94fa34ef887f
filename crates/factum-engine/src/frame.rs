//! Frames: one atomic unit of the log each. The layout is drawn in `docs/format.md`.
//!
//! A frame's checksum covers its header and its table; the table has a checksum for each body. So a whole frame can be told from
//! a torn one, and one body can be checked without reading the others. Checksums begin with a seed of the segment, so that bytes left
//! over from another file never look valid.

use std::borrow::Cow;

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::key::Key;
use crate::terms::{Listing, Terms};

/// A frame's header, in bytes.
pub(crate) const HEADER_BYTES: usize = 32;
/// A frame's entry in the table of bodies, in bytes.
pub(crate) const SLOT_BYTES: usize = 8;
/// What stands before each entry's payload: its number in its sequence.
pub(crate) const NUMBER_BYTES: usize = 8;
/// Frames begin at multiples of this.
pub(crate) const ALIGNMENT: usize = 8;
/// The longest frame, in bytes; a longer length is not one.
pub(crate) const FRAME_BYTES_MAX: usize = 192 << 20;
/// What stands before a record's name: version, flags, length of the name.
const RECORD_HEADER_BYTES: usize = 8 + 2 + 2;
const REMOVED: u16 = 1;

/// A frame as proposed: bodies, and under which keys they are to be found.
#[derive(Debug, Default)]
pub struct Draft {
    /// The bodies one after another, each entry with room for its number before its payload.
    bodies: Vec<u8>,
    /// Where each entry's body ends.
    ends: Vec<usize>,
    listing: Listing,
    records: Vec<DraftRecord>,
}

#[derive(Clone, Debug)]
pub(crate) struct DraftRecord {
    pub(crate) end: usize,
    pub(crate) key: Key,
}

impl Draft {
    /// A draft with room for that many bytes of payload.
    pub fn with_capacity(bytes: usize, entries: usize) -> Self {
        Self {
            bodies: Vec::with_capacity(bytes + entries * NUMBER_BYTES),
            ends: Vec::with_capacity(entries),
            listing: Listing::with_capacity(entries),
            records: Vec::new(),
        }
    }

    /// Adds an entry, whose payload `write` appends to the buffer it is given.
    #[inline]
    pub fn entry(&mut self, terms: &Terms, write: impl FnOnce(&mut Vec<u8>)) {
        self.bodies.extend_from_slice(&[0; NUMBER_BYTES]);
        write(&mut self.bodies);
        self.ends.push(self.bodies.len());
        self.listing.add(terms);
    }

    /// Adds a write to a record; `value` is `None` to remove it. All entries must have been added before.
    ///
    /// # Panics
    /// If the name is longer than 65,535 bytes.
    pub fn record(&mut self, key: Key, name: &[u8], version: u64, value: Option<&[u8]>) {
        assert!(key.kind().is_record(), "records have keys of record kinds");
        self.bodies.extend_from_slice(&version.to_le_bytes());
        self.bodies.extend_from_slice(&(if value.is_none() { REMOVED } else { 0 }).to_le_bytes());
        self.bodies.extend_from_slice(&u16::try_from(name.len()).expect("a record's name is short").to_le_bytes());
        self.bodies.extend_from_slice(name);
        self.bodies.extend_from_slice(value.unwrap_or_default());
        self.records.push(DraftRecord { end: self.bodies.len(), key });
    }

    /// How many entries it has.
    pub fn entries(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty() && self.records.is_empty()
    }

    /// Under which keys the entries are to be found.
    pub(crate) fn listing(&self) -> &Listing {
        &self.listing
    }

    pub(crate) fn record_keys(&self) -> impl Iterator<Item = Key> {
        self.records.iter().map(|record| record.key)
    }

    /// The size of the frame it becomes, in bytes.
    pub(crate) fn frame_bytes(&self) -> usize {
        let slots = self.ends.len() + self.records.len();
        (HEADER_BYTES + slots * SLOT_BYTES + self.bodies.len()).next_multiple_of(ALIGNMENT)
    }

    /// Appends the frame to `out`. `numbers` are the entries' numbers in their sequences.
    pub(crate) fn write_frame(&self, place: &Place, numbers: &[u64], out: &mut Vec<u8>) {
        assert_eq!(numbers.len(), self.ends.len(), "each entry has a number");
        let start = out.len();
        let slots = self.ends.len() + self.records.len();
        let bodies_at = HEADER_BYTES + slots * SLOT_BYTES;
        let bytes = self.frame_bytes();
        assert!(bytes <= FRAME_BYTES_MAX, "an append is smaller than a frame may be");
        out.resize(start + bodies_at, 0);
        out.extend_from_slice(&self.bodies);
        out.resize(start + bytes, 0);
        let frame = &mut out[start..];
        let mut body_at = bodies_at;
        for (end, number) in self.ends.iter().zip(numbers) {
            frame[body_at..body_at + NUMBER_BYTES].copy_from_slice(&number.to_le_bytes());
            body_at = bodies_at + end;
        }
        let ends = self.ends.iter().copied().chain(self.records.iter().map(|record| record.end));
        write_head(place, (self.ends.len(), self.records.len()), ends, frame);
    }
}

/// Appends a frame of bodies that were in one before: those of entries, numbers included, and then those of records.
pub(crate) fn write_bodies(place: &Place, entries: &[impl AsRef<[u8]>], records: &[&[u8]], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + HEADER_BYTES + (entries.len() + records.len()) * SLOT_BYTES, 0);
    let bodies_at = out.len();
    let mut ends = Vec::with_capacity(entries.len() + records.len());
    for body in entries.iter().map(AsRef::as_ref).chain(records.iter().copied()) {
        out.extend_from_slice(body);
        ends.push(out.len() - bodies_at);
    }
    out.resize(start + (out.len() - start).next_multiple_of(ALIGNMENT), 0);
    write_head(place, (entries.len(), records.len()), ends.into_iter(), &mut out[start..]);
}

/// Writes a frame's header and table before its bodies, which end where `ends` says, counted from the first.
fn write_head(place: &Place, (entries, records): (usize, usize), ends: impl Iterator<Item = usize>, frame: &mut [u8]) {
    let bodies_at = HEADER_BYTES + (entries + records) * SLOT_BYTES;
    let mut body_at = bodies_at;
    for (slot, end) in ends.enumerate() {
        let end = bodies_at + end;
        let checksum = body_checksum(place.seed, place.position, place.time, body_place(slot, entries), &frame[body_at..end]);
        let at = HEADER_BYTES + slot * SLOT_BYTES;
        frame[at..at + 4].copy_from_slice(&narrow(end).to_le_bytes());
        frame[at + 4..at + 8].copy_from_slice(&checksum.to_le_bytes());
        body_at = end;
    }
    let bytes = narrow(frame.len());
    frame[0..4].copy_from_slice(&bytes.to_le_bytes());
    frame[8..16].copy_from_slice(&place.position.to_le_bytes());
    frame[16..24].copy_from_slice(&place.time.to_le_bytes());
    frame[24..28].copy_from_slice(&place.behind.to_le_bytes());
    frame[28..30].copy_from_slice(&u16::try_from(entries).expect("an append has few entries").to_le_bytes());
    frame[30..32].copy_from_slice(&u16::try_from(records).expect("an append has few records").to_le_bytes());
    let checksum = head_checksum(place.seed, &frame[..bodies_at]);
    frame[4..8].copy_from_slice(&checksum.to_le_bytes());
}

/// What a frame says of itself besides its bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) seed: u32,
    /// The position of its first entry, or that of the next entry if it has none.
    pub(crate) position: u64,
    /// When it was recorded, in microseconds since 1970.
    pub(crate) time: u64,
    /// How many bytes before it the batch begins that it was written in. In a compacted segment: where it began in the segment as it was
    /// written.
    pub(crate) behind: u32,
}

/// A frame's header, read and checked for sense, but not against its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) bytes: usize,
    pub(crate) checksum: u32,
    pub(crate) position: u64,
    pub(crate) time: u64,
    pub(crate) behind: u32,
    pub(crate) entries: usize,
    pub(crate) records: usize,
}

impl Header {
    /// Reads the first [`HEADER_BYTES`] of a frame; `None` if they can't be those of one.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let header = Self {
            bytes: u32_at(bytes, 0)? as usize,
            checksum: u32_at(bytes, 4)?,
            position: u64_at(bytes, 8)?,
            time: u64_at(bytes, 16)?,
            behind: u32_at(bytes, 24)?,
            entries: u16_at(bytes, 28)?.into(),
            records: u16_at(bytes, 30)?.into(),
        };
        let sensible = header.bytes.is_multiple_of(ALIGNMENT)
            && header.bytes <= FRAME_BYTES_MAX
            && header.slots() > 0
            && header.bodies_at() <= header.bytes
            && header.position.checked_add(header.entries as u64).is_some();
        sensible.then_some(header)
    }

    pub(crate) const fn slots(&self) -> usize {
        self.entries + self.records
    }

    /// Where the bodies begin.
    pub(crate) const fn bodies_at(&self) -> usize {
        HEADER_BYTES + self.slots() * SLOT_BYTES
    }

    /// The position of the entry that follows this frame's.
    pub(crate) const fn next_position(&self) -> u64 {
        self.position + self.entries as u64
    }
}

/// A whole frame whose header and table have been checked.
#[derive(Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) header: Header,
    seed: u32,
    bytes: Cow<'a, [u8]>,
}

/// One entry of the log, as it is read.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Its position: 1 for the log's first entry, and then without gaps.
    pub position: u64,
    /// When it was recorded, in microseconds since 1970.
    pub time: u64,
    /// Its number in its sequence, from 1.
    pub number: u64,
    /// What was appended.
    pub payload: &'a [u8],
    /// The mapped file that the payload is in, if it is.
    pub(crate) mapped: Option<&'a Bytes>,
}

impl Entry<'_> {
    /// A part of the payload, to keep: without copying it where the log's file is mapped. What is kept so holds on to the mapping,
    /// which is address space and not memory.
    pub fn keep(&self, part: &[u8]) -> Bytes {
        let mapped = self.mapped.filter(|mapped| {
            let (whole, part) = (mapped.as_ptr_range(), part.as_ptr_range());
            whole.start <= part.start && part.end <= whole.end
        });
        match mapped {
            Some(mapped) if !part.is_empty() => mapped.slice_ref(part),
            _ => Bytes::copy_from_slice(part),
        }
    }
}

/// One write to a record, as it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordEntry<'a> {
    /// The record's name.
    pub name: &'a [u8],
    /// The version that this write made.
    pub version: u64,
    /// The value, `None` if it was removed.
    pub value: Option<&'a [u8]>,
}

impl<'a> Frame<'a> {
    /// Checks a frame's header and table; says what is wrong if they are not as written.
    pub(crate) fn check(bytes: Cow<'a, [u8]>, seed: u32) -> Result<Self, &'static str> {
        let header = Header::read(&bytes).ok_or("there is no frame")?;
        if bytes.len() != header.bytes {
            return Err("the frame is cut off");
        }
        check_head(&header, &bytes, seed)?;
        Ok(Self { header, seed, bytes })
    }

    /// As [`check`](Self::check), of the frame that `bytes` begin with.
    pub(crate) fn check_first(bytes: &'a [u8], seed: u32) -> Result<Self, &'static str> {
        let header = Header::read(bytes).ok_or("there is no frame")?;
        let bytes = bytes.get(..header.bytes).ok_or("the frame is cut off")?;
        check_head(&header, bytes, seed)?;
        Ok(Self { header, seed, bytes: Cow::Borrowed(bytes) })
    }

    /// Checks all of the frame's bodies.
    pub(crate) fn check_bodies(&self) -> Result<(), &'static str> {
        for slot in 0..self.header.slots() {
            self.body(slot)?;
        }
        for record in 0..self.header.records {
            self.record(record)?;
        }
        Ok(())
    }

    /// The entry with this index in the frame.
    pub(crate) fn entry(&self, index: usize) -> Result<Entry<'_>, &'static str> {
        assert!(index < self.header.entries, "the entry is one of the frame's");
        let body = self.body(index)?;
        let (number, payload) = body.split_at(NUMBER_BYTES);
        Ok(Entry {
            position: self.header.position + index as u64,
            time: self.header.time,
            number: u64::from_le_bytes(number.try_into().expect("it has eight bytes")),
            payload,
            mapped: None,
        })
    }

    /// The record with this index in the frame.
    pub(crate) fn record(&self, index: usize) -> Result<RecordEntry<'_>, &'static str> {
        assert!(index < self.header.records, "the record is one of the frame's");
        let body = self.body(self.header.entries + index)?;
        let flags = u16_at(body, 8).ok_or("a record is cut off")?;
        let name_bytes = usize::from(u16_at(body, 10).ok_or("a record is cut off")?);
        let rest = &body[RECORD_HEADER_BYTES..];
        if name_bytes > rest.len() || flags & !REMOVED != 0 {
            return Err("a record makes no sense");
        }
        let (name, value) = rest.split_at(name_bytes);
        let version = u64_at(body, 0).ok_or("a record is cut off")?;
        Ok(RecordEntry { name, version, value: (flags & REMOVED == 0).then_some(value) })
    }

    /// A body as it stands there, by its slot: the entries' first, then the records'.
    pub(crate) fn body(&self, slot: usize) -> Result<&[u8], &'static str> {
        let at = HEADER_BYTES + slot * SLOT_BYTES;
        let start = if slot == 0 { self.header.bodies_at() } else { u32_at(&self.bytes, at - SLOT_BYTES).unwrap_or(0) as usize };
        let end = u32_at(&self.bytes, at).unwrap_or(0) as usize;
        let checksum = u32_at(&self.bytes, at + 4).unwrap_or(0);
        let body = &self.bytes[start..end];
        let place = body_place(slot, self.header.entries);
        if body_checksum(self.seed, self.header.position, self.header.time, place, body) != checksum {
            return Err("an entry's checksum does not match");
        }
        Ok(body)
    }
}

/// Checks a frame's header and table.
fn check_head(header: &Header, bytes: &[u8], seed: u32) -> Result<(), &'static str> {
    if head_checksum(seed, &bytes[..header.bodies_at()]) != header.checksum {
        return Err("the frame's checksum does not match");
    }
    let mut end = header.bodies_at();
    for slot in 0..header.slots() {
        let next = u32_at(bytes, HEADER_BYTES + slot * SLOT_BYTES).ok_or("the frame's table is cut off")? as usize;
        let body_min = if slot < header.entries { NUMBER_BYTES } else { RECORD_HEADER_BYTES };
        if next < end + body_min || next > header.bytes {
            return Err("the frame's table makes no sense");
        }
        end = next;
    }
    if bytes[end..].iter().any(|byte| *byte != 0) || header.bytes - end >= ALIGNMENT {
        return Err("there are bytes behind the frame's last body");
    }
    Ok(())
}

/// Checks and reads one entry of a frame without checking the frame's other entries. `bytes` begins with the frame's header.
pub(crate) fn entry_alone<'a>(bytes: &'a [u8], header: &Header, index: usize, seed: u32) -> Result<Entry<'a>, &'static str> {
    let at = HEADER_BYTES + index * SLOT_BYTES;
    let start = if index == 0 { Some(header.bodies_at()) } else { u32_at(bytes, at - SLOT_BYTES).map(|end| end as usize) };
    let end = u32_at(bytes, at).map(|end| end as usize);
    let checksum = u32_at(bytes, at + 4);
    let (Some(start), Some(end), Some(checksum)) = (start, end, checksum) else { return Err("the frame's table is cut off") };
    let body = bytes.get(start..end).filter(|body| body.len() >= NUMBER_BYTES).ok_or("the frame's table makes no sense")?;
    if body_checksum(seed, header.position, header.time, index as u64, body) != checksum {
        return Err("an entry's checksum does not match");
    }
    let (number, payload) = body.split_at(NUMBER_BYTES);
    let number = u64::from_le_bytes(number.try_into().expect("it has eight bytes"));
    Ok(Entry { position: header.position + index as u64, time: header.time, number, payload, mapped: None })
}

/// Whether a header and table are as they were written. `head` is that long.
pub(crate) fn is_head(head: &[u8], seed: u32) -> bool {
    head.len() >= HEADER_BYTES && u32_at(head, 4) == Some(head_checksum(seed, head))
}

/// Where the body of an entry ends, from the table; to know how much of a frame to read.
pub(crate) fn entry_end(table: &[u8], index: usize) -> Option<usize> {
    u32_at(table, index * SLOT_BYTES).map(|end| end as usize)
}

/// The checksum of a frame's header and table, without the checksum itself.
pub(crate) fn head_checksum(seed: u32, head: &[u8]) -> u32 {
    let length = crc32c::crc32c_append(seed, &head[..4]);
    crc32c::crc32c_append(length, &head[8..])
}

/// The checksum of a body, which also depends on what the header says of it: so an entry can be checked without the frame's table.
fn body_checksum(seed: u32, position: u64, time: u64, body_place: u64, body: &[u8]) -> u32 {
    let place = (position ^ time.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(body_place);
    crc32c::crc32c_append(seed ^ (place >> 32) as u32 ^ place as u32, body)
}

/// A body's place for its checksum: an entry's slot, a record's counted down from the highest number. So a record is never taken for an
/// entry, even where the number of entries is damaged.
const fn body_place(slot: usize, entries: usize) -> u64 {
    if slot < entries { slot as u64 } else { !((slot - entries) as u64) }
}

fn narrow(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("a frame is shorter than 4 GiB")
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// Turns what a check found into an error about a file.
pub(crate) fn damaged(file: &std::path::Path, offset: u64) -> impl FnOnce(&'static str) -> Error {
    move |what| Error::corrupt(file, offset, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{KeyMaker, Kind};

    fn frame() -> (Place, Vec<u8>) {
        let keys = KeyMaker::new([7; 16]);
        let key = keys.key(Kind(1), b"a");
        let terms = Terms { sequence: key, first_of_sequence: [key; 2], labels: Default::default(), first_of_label: [(key, key); 2] };
        let mut draft = Draft::default();
        draft.entry(&terms, |body| body.extend_from_slice(b"first"));
        draft.entry(&terms, |_| {});
        draft.record(keys.key(Kind(0x80), b"name"), b"name", 3, Some(b"value"));
        draft.record(keys.key(Kind(0x80), b"gone"), b"gone", 4, None);
        let place = Place { seed: 99, position: 12, time: 34, behind: 56 };
        let mut bytes = Vec::new();
        draft.write_frame(&place, &[5, 6], &mut bytes);
        assert_eq!(bytes.len(), draft.frame_bytes());
        (place, bytes)
    }

    #[test]
    fn a_frame_is_read_as_it_was_written() {
        let (place, bytes) = frame();
        let frame = Frame::check(Cow::Borrowed(&bytes), place.seed).expect("whole");
        frame.check_bodies().expect("whole");
        let entry = frame.entry(0).expect("whole");
        assert_eq!((entry.position, entry.time, entry.number, entry.payload), (12, 34, 5, &b"first"[..]));
        let alone = entry_alone(&bytes, &frame.header, 1, place.seed).expect("whole");
        assert_eq!((alone.position, alone.number, alone.payload), (13, 6, &b""[..]));
        assert_eq!(frame.record(0), Ok(RecordEntry { name: b"name", version: 3, value: Some(b"value") }));
        assert_eq!(frame.record(1), Ok(RecordEntry { name: b"gone", version: 4, value: None }));
    }

    #[test]
    fn any_changed_bit_is_noticed() {
        let (place, bytes) = frame();
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let whole = Frame::check(Cow::Borrowed(&changed), place.seed).and_then(|frame| frame.check_bodies());
            assert!(whole.is_err(), "bit {bit} of {}", bytes.len() * 8);
        }
        for length in 0..bytes.len() {
            assert!(Frame::check(Cow::Borrowed(&bytes[..length]), place.seed).is_err(), "cut at {length}");
        }
        assert!(Frame::check(Cow::Borrowed(&bytes), place.seed + 1).is_err(), "another segment's frame");
    }
}
