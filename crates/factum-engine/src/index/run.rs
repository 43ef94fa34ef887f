//! Runs: the index files. A run is sorted and never changes; it covers the frames between two places of the log.
//!
//! A search reads a filter block, and if that says "perhaps", one block per level of a tree of keys. Nothing is kept in memory but
//! which blocks have been checked against their checksums.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::block::{self, BLOCK_BYTES, BlockKind, Leaf, LeafEntry, Values};
use super::filter::{self, FILTER_BLOCK_BYTES, Section};
use super::noted::Noted;
use super::postings::{between, take_rising};
use crate::disk::{Access, Disk, DiskFile};
use crate::error::{Error, Result};
use crate::frame::{u32_at, u64_at};
use crate::key::{Key, Kind};
use crate::segment::Location;

pub(crate) const FORMAT: u32 = 1;
const MAGIC: [u8; 8] = *b"FACTUMIX";
const SECTION_BYTES: usize = 32;
const SECTIONS_AT: usize = 128;
/// More levels than these have more keys than there are.
const LEVELS_MAX: u32 = 8;
pub(crate) const SECTIONS_MAX: usize = (BLOCK_BYTES - SECTIONS_AT) / SECTION_BYTES;

/// What a run says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunHeader {
    pub(crate) store: [u8; 16],
    /// It covers the frames from here on,
    pub(crate) from: Location,
    /// up to here, exclusive,
    pub(crate) to: Location,
    /// which hold the positions after this one
    pub(crate) after: u64,
    /// up to and with this one.
    pub(crate) last: u64,
    /// When the last frame that it covers was recorded.
    pub(crate) last_time: u64,
    /// The block at which a search begins, and how many levels of inner blocks there are.
    pub(crate) root: u32,
    pub(crate) levels: u32,
    /// The first block behind leaves and postings.
    pub(crate) inner_from: u32,
    /// Where the filter begins, in bytes.
    pub(crate) filter_at: u64,
    /// The file's size in bytes.
    pub(crate) bytes: u64,
    pub(crate) sections: Vec<Section>,
}

impl RunHeader {
    pub(crate) fn to_block(&self) -> Vec<u8> {
        let mut bytes = vec![0; BLOCK_BYTES];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.store);
        let numbers = [self.from.0, self.to.0, self.after, self.last, self.last_time, self.filter_at, self.bytes];
        for (index, number) in numbers.into_iter().enumerate() {
            bytes[32 + index * 8..40 + index * 8].copy_from_slice(&number.to_le_bytes());
        }
        let counts = [self.root, self.levels, self.inner_from, u32::try_from(self.sections.len()).expect("few kinds")];
        for (index, number) in counts.into_iter().enumerate() {
            bytes[96 + index * 4..100 + index * 4].copy_from_slice(&number.to_le_bytes());
        }
        for (index, section) in self.sections.iter().enumerate() {
            let at = SECTIONS_AT + index * SECTION_BYTES;
            for (field, number) in [section.kind.0.into(), section.first, section.blocks, section.keys].into_iter().enumerate() {
                bytes[at + field * 8..at + 8 + field * 8].copy_from_slice(&u64::to_le_bytes(number));
            }
        }
        let checksum = crc32c::crc32c(&bytes);
        bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    pub(crate) fn read(file: &Path, bytes: &[u8]) -> Result<Self> {
        if bytes.len() != BLOCK_BYTES || bytes[0..8] != MAGIC {
            return Err(Error::corrupt(file, 0, "this is not an index file"));
        }
        let found = u32_at(bytes, 8).unwrap_or(0);
        if found > FORMAT {
            return Err(Error::FutureFormat { file: file.to_owned(), found, known: FORMAT });
        }
        let mut unsigned = bytes.to_vec();
        unsigned[12..16].fill(0);
        if u32_at(bytes, 12) != Some(crc32c::crc32c(&unsigned)) {
            return Err(Error::corrupt(file, 0, "the index file's header does not match its checksum"));
        }
        let number = |index: usize| u64_at(bytes, 32 + index * 8).unwrap_or(0);
        let count = |index: usize| u32_at(bytes, 96 + index * 4).unwrap_or(0);
        let sections = count(3) as usize;
        let section = |index: usize| {
            let field = |field: usize| u64_at(bytes, SECTIONS_AT + index * SECTION_BYTES + field * 8).unwrap_or(0);
            Section { kind: Kind(field(0) as u8), first: field(1), blocks: field(2), keys: field(3) }
        };
        let header = Self {
            store: bytes[16..32].try_into().expect("sixteen bytes"),
            from: Location(number(0)),
            to: Location(number(1)),
            after: number(2),
            last: number(3),
            last_time: number(4),
            filter_at: number(5),
            bytes: number(6),
            root: count(0),
            levels: count(1),
            inner_from: count(2),
            sections: (0..sections.min(SECTIONS_MAX)).map(section).collect(),
        };
        let sensible = sections <= SECTIONS_MAX && header.is_sensible();
        sensible.then_some(header).ok_or_else(|| Error::corrupt(file, 0, "the index file's header makes no sense"))
    }

    /// Whether its numbers fit together; everything that reads the file relies on that.
    fn is_sensible(&self) -> bool {
        let blocks = self.filter_at / BLOCK_BYTES as u64;
        let filter_blocks = self.bytes.saturating_sub(self.filter_at) / FILTER_BLOCK_BYTES as u64;
        let fits = |section: &Section| section.first.checked_add(section.blocks).is_some_and(|end| end <= filter_blocks);
        self.from < self.to
            && self.after <= self.last
            && self.filter_at.is_multiple_of(BLOCK_BYTES as u64)
            && self.filter_at <= self.bytes
            && u64::from(self.root) < blocks
            && u64::from(self.inner_from) <= blocks
            && self.levels <= LEVELS_MAX
            && self.sections.iter().all(fits)
    }

    /// What the values of keys of this kind are counted from in this run.
    pub(crate) fn origin(&self, kind: Kind) -> u64 {
        if kind.is_record() { self.from.0 } else { self.after }
    }
}

/// An open run.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) path: PathBuf,
    pub(crate) header: RunHeader,
    file: Arc<dyn DiskFile>,
    /// Which blocks, and which blocks of the filter, have been checked against their checksums since the run was opened.
    checked: Noted,
    checked_filter: Noted,
    /// Which blocks the disk has been asked for before anyone waited for them.
    asked: Noted,
}

/// A key's part of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// How many values the key had before this run.
    pub(crate) base: u64,
    /// How many it has in this run.
    pub(crate) count: u64,
}

impl Run {
    pub(crate) fn open(disk: &dyn Disk, path: &Path) -> Result<Self> {
        let file = disk.open(path, Access::Read, 0).map_err(Error::io("can't open", path))?;
        let mut block = vec![0; BLOCK_BYTES];
        let read = file.read(0, &mut block).map_err(Error::io("can't read", path))?;
        let header = RunHeader::read(path, &block[..read])?;
        if file.size().map_err(Error::io("can't read", path))? != header.bytes {
            return Err(Error::corrupt(path, None, "the index file is not as long as it was"));
        }
        // What every search goes through is small; reading it begins now.
        let inner_at = u64::from(header.inner_from) * BLOCK_BYTES as u64;
        file.prefetch(inner_at, header.filter_at.saturating_sub(inner_at));
        let blocks = header.bytes / BLOCK_BYTES as u64;
        let checked_filter = Noted::new((header.bytes - header.filter_at) / FILTER_BLOCK_BYTES as u64);
        Ok(Self { path: path.to_owned(), header, file, checked: Noted::new(blocks), checked_filter, asked: Noted::new(blocks) })
    }

    /// How many keys of a kind it has.
    pub(crate) fn keys(&self, kind: Kind) -> u64 {
        self.section(kind).map_or(0, |section| section.keys)
    }

    fn section(&self, kind: Kind) -> Option<&Section> {
        self.header.sections.iter().find(|section| section.kind == kind && section.blocks > 0)
    }

    /// Begins to bring the block that `key` would be in into memory, unless it was asked for or looked at since the run was opened; tells
    /// whether it did. A search that follows goes there without the filter, which may be on the disk as well.
    pub(crate) fn ask_for(&self, key: Key) -> Result<bool> {
        if self.section(key.kind()).is_none() {
            return Ok(false);
        }
        let number = self.leaf_of(key)?;
        let is_far = !self.checked.has(number.into()) && !self.asked.has(number.into());
        if is_far {
            self.asked.add(number.into());
            self.file.prefetch(u64::from(number) * BLOCK_BYTES as u64, BLOCK_BYTES as u64);
        }
        Ok(is_far)
    }

    /// How many values `key` has here and before; `None` if it has none here.
    pub(crate) fn find(&self, key: Key) -> Result<Option<Found>> {
        self.with_entry(key, |entry| Ok(Found { base: entry.base, count: entry.count }))
    }

    /// Tells the places of those of these keys that have a value here.
    pub(crate) fn known(&self, keys: &[Key], mut tell: impl FnMut(usize)) -> Result<()> {
        for (place, key) in keys.iter().enumerate() {
            if self.find(*key)?.is_some() {
                tell(place);
            }
        }
        Ok(())
    }

    /// The values of `key` that are after `after` and up to `up_to`: the lowest `limit` of them if `lowest`, else the highest, rising.
    pub(crate) fn values(&self, key: Key, after: u64, up_to: u64, lowest: bool, limit: usize) -> Result<Vec<u64>> {
        let found = self.with_entry(key, |entry| match entry.values {
            Values::Inline(bytes) => {
                let values = self.inline(key, entry.count, bytes)?;
                Ok(cut(between(&values, after, up_to), lowest, limit).to_vec())
            }
            Values::Blocks { first_block, blocks, .. } if !self.has_blocks(first_block, blocks) => Err(self.nonsense(first_block)),
            Values::Blocks { first_block, blocks, .. } => self.values_in_blocks(first_block, blocks, (after, up_to), lowest, limit),
        })?;
        Ok(found.unwrap_or_default())
    }

    /// `limit` values of `key` from the one with this index in the run on.
    pub(crate) fn values_from_index(&self, key: Key, index: u64, limit: usize) -> Result<Vec<u64>> {
        let start = usize::try_from(index).unwrap_or(usize::MAX);
        let found = self.with_entry(key, |entry| match entry.values {
            Values::Inline(bytes) => {
                let values = self.inline(key, entry.count, bytes)?;
                Ok(values.into_iter().skip(start).take(limit).collect())
            }
            Values::Blocks { first_block, blocks, .. } if !self.has_blocks(first_block, blocks) => Err(self.nonsense(first_block)),
            Values::Blocks { first_block, blocks, .. } => {
                let begin = self.last_block_at_or_before(first_block, blocks, |(first_index, _)| first_index <= index)?;
                let mut values = Vec::new();
                let mut skip = None;
                for block in begin..first_block + blocks {
                    let bytes = self.block(block)?;
                    if skip.is_none() {
                        let (first_index, _) = block::posting_first(&bytes).ok_or_else(|| self.nonsense(block))?;
                        skip = Some(usize::try_from(index.saturating_sub(first_index)).unwrap_or(usize::MAX));
                    }
                    block::posting_values(&bytes, &mut values).ok_or_else(|| self.nonsense(block))?;
                    if values.len().saturating_sub(skip.unwrap_or(0)) >= limit {
                        break;
                    }
                }
                Ok(values.into_iter().skip(skip.unwrap_or(0)).take(limit).collect())
            }
        })?;
        Ok(found.unwrap_or_default())
    }

    /// Calls `visit` with each key in order, what is known of it, and the cursor that has its values.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(Key, Found, &RunCursor<'_>) -> Result<()>) -> Result<()> {
        let mut cursor = RunCursor::new(self)?;
        while let Some((key, found)) = cursor.head {
            visit(key, found, &cursor)?;
            cursor.advance()?;
        }
        Ok(())
    }

    /// Checks every block, and that each list can be read.
    pub(crate) fn check(&self) -> Result<()> {
        for number in 1..(self.header.filter_at / BLOCK_BYTES as u64) as u32 {
            self.block(number)?;
        }
        for number in 0..(self.header.bytes - self.header.filter_at) / FILTER_BLOCK_BYTES as u64 {
            let at = self.header.filter_at + number * FILTER_BLOCK_BYTES as u64;
            let filter = self.file.view(at, FILTER_BLOCK_BYTES).map_err(Error::io("can't read", &self.path))?;
            filter::check(&filter, number).map_err(|what| Error::corrupt(&self.path, at, what))?;
        }
        self.for_each(|_, _, cursor| cursor.each_value(|_| Ok(())))
    }

    fn with_entry<T>(&self, key: Key, use_entry: impl FnOnce(LeafEntry<'_>) -> Result<T>) -> Result<Option<T>> {
        if !self.may_have(key)? {
            return Ok(None);
        }
        let number = self.leaf_of(key)?;
        let block = self.block(number)?;
        if block::kind_of(&block) != Some(BlockKind::Leaf) {
            return Err(self.nonsense(number));
        }
        let leaf = Leaf::new(&block).ok_or_else(|| self.nonsense(number))?;
        let entry = leaf.find(key).map_err(|what| Error::corrupt(&self.path, u64::from(number) * BLOCK_BYTES as u64, what))?;
        entry.map(use_entry).transpose()
    }

    /// The leaf in which `key` is, if it is in any.
    fn leaf_of(&self, key: Key) -> Result<u32> {
        let mut number = self.header.root;
        for _ in 0..self.header.levels {
            let block = self.block(number)?;
            number = block::inner_find(&block, key).ok_or_else(|| self.nonsense(number))?;
        }
        Ok(number)
    }

    /// Touches the filter's bits of those of these keys that are asked for after a position that lies before this run's end. The number says
    /// nothing.
    pub(crate) fn glance(&self, keys: &[(Key, u64)]) -> u64 {
        let byte = |key: Key| {
            let number = self.section(key.kind())?.block_of(key);
            self.file.view(self.header.filter_at + number * FILTER_BLOCK_BYTES as u64, 1).ok()?.first().copied()
        };
        let asked = keys.iter().filter(|(_, after)| self.header.last > *after);
        asked.filter_map(|(key, _)| byte(*key)).fold(0, |seen, byte| seen ^ u64::from(byte))
    }

    /// Whether the filter lets the key pass; most keys that are not here it does not.
    fn may_have(&self, key: Key) -> Result<bool> {
        let Some(section) = self.section(key.kind()) else { return Ok(false) };
        let number = section.block_of(key);
        // The filter spares reading a leaf. If that is on its way already, reading the filter would only add to it.
        if !self.checked_filter.has(number) && self.asked.has(self.leaf_of(key)?.into()) {
            return Ok(true);
        }
        let at = self.header.filter_at + number * FILTER_BLOCK_BYTES as u64;
        let filter = self.file.view(at, FILTER_BLOCK_BYTES).map_err(Error::io("can't read", &self.path))?;
        if !self.checked_filter.is_whole(number, || filter::check(&filter, number).is_ok()) {
            return Err(Error::corrupt(&self.path, at, "a filter block's checksum does not match"));
        }
        Ok(filter::may_have(&filter, key))
    }

    fn inline(&self, key: Key, count: u64, bytes: &[u8]) -> Result<Vec<u64>> {
        let mut values = Vec::with_capacity(usize::try_from(count).unwrap_or(usize::MAX).min(bytes.len()));
        self.inline_into(key, count, bytes, &mut values)?;
        Ok(values)
    }

    fn inline_into(&self, key: Key, count: u64, mut bytes: &[u8], values: &mut Vec<u64>) -> Result<()> {
        take_rising(&mut bytes, self.header.origin(key.kind()), usize::try_from(count).unwrap_or(usize::MAX), values)
            .ok_or_else(|| Error::corrupt(&self.path, None, "a list of the index makes no sense"))
    }

    fn values_in_blocks(&self, first: u32, blocks: u32, (after, up_to): (u64, u64), lowest: bool, limit: usize) -> Result<Vec<u64>> {
        let mut values = Vec::new();
        if lowest {
            let begin = self.last_block_at_or_before(first, blocks, |(_, value)| value <= after.saturating_add(1))?;
            for number in begin..first + blocks {
                let mut part = Vec::new();
                block::posting_values(&self.block(number)?, &mut part).ok_or_else(|| self.nonsense(number))?;
                values.extend_from_slice(between(&part, after, up_to));
                if values.len() >= limit || part.last().is_none_or(|last| *last >= up_to) {
                    break;
                }
            }
            values.truncate(limit);
            return Ok(values);
        }
        let end = self.last_block_at_or_before(first, blocks, |(_, value)| value <= up_to)?;
        let mut parts = Vec::new();
        let mut have = 0;
        for number in (first..=end).rev() {
            let mut part = Vec::new();
            block::posting_values(&self.block(number)?, &mut part).ok_or_else(|| self.nonsense(number))?;
            let wanted = between(&part, after, up_to).to_vec();
            have += wanted.len();
            parts.push(wanted);
            if have >= limit || part.first().is_none_or(|first| *first <= after) {
                break;
            }
        }
        values.extend(parts.into_iter().rev().flatten());
        Ok(values.split_off(values.len().saturating_sub(limit)))
    }

    /// The last of a list's blocks for whose first index and value `holds` is true; the first one if there is none.
    fn last_block_at_or_before(&self, first: u32, blocks: u32, holds: impl Fn((u64, u64)) -> bool) -> Result<u32> {
        let (mut low, mut high) = (first, first + blocks);
        while low + 1 < high {
            let middle = low.midpoint(high);
            let head = block::posting_first(&self.block(middle)?).ok_or_else(|| self.nonsense(middle))?;
            if holds(head) { low = middle } else { high = middle }
        }
        Ok(low)
    }

    fn block(&self, number: u32) -> Result<Cow<'_, [u8]>> {
        let at = u64::from(number) * BLOCK_BYTES as u64;
        if at + BLOCK_BYTES as u64 > self.header.filter_at {
            return Err(self.nonsense(number));
        }
        let bytes = self.file.view(at, BLOCK_BYTES).map_err(Error::io("can't read", &self.path))?;
        if !self.checked.is_whole(number.into(), || block::is_whole(&bytes, number)) {
            return Err(Error::corrupt(&self.path, at, "an index block's checksum does not match"));
        }
        Ok(bytes)
    }

    /// Whether so many blocks of a list can begin there.
    fn has_blocks(&self, first: u32, blocks: u32) -> bool {
        blocks > 0 && first.checked_add(blocks).is_some_and(|end| end <= self.header.inner_from)
    }

    fn nonsense(&self, number: u32) -> Error {
        Error::corrupt(&self.path, u64::from(number) * BLOCK_BYTES as u64, "an index block makes no sense")
    }
}

/// The lowest or highest `limit` of some values.
pub(crate) fn cut<T>(values: &[T], lowest: bool, limit: usize) -> &[T] {
    let count = values.len().min(limit);
    if lowest { &values[..count] } else { &values[values.len() - count..] }
}

/// Walks a run in the order of its keys, block by block.
#[derive(Debug)]
pub(crate) struct RunCursor<'r> {
    run: &'r Run,
    next_block: u32,
    leaf: Vec<(Key, Found, Place)>,
    /// The values that stand in the leaf.
    values: Vec<u64>,
    at: usize,
    /// The key at hand, `None` at the end.
    pub(crate) head: Option<(Key, Found)>,
}

/// Where a key's values are.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// Among those of the leaf, from one index to another.
    Here(usize, usize),
    /// In so many blocks from the first.
    Blocks(u32, u32),
}

impl<'r> RunCursor<'r> {
    pub(crate) fn new(run: &'r Run) -> Result<Self> {
        let mut cursor = Self { run, next_block: 1, leaf: Vec::new(), values: Vec::new(), at: 0, head: None };
        cursor.load()?;
        Ok(cursor)
    }

    pub(crate) fn advance(&mut self) -> Result<()> {
        self.at += 1;
        self.load()
    }

    /// Visits the values of the key at hand, rising.
    pub(crate) fn each_value(&self, mut visit: impl FnMut(u64) -> Result<()>) -> Result<()> {
        match self.leaf.get(self.at).map(|(_, _, place)| *place) {
            None => Ok(()),
            Some(Place::Here(begin, end)) => self.values[begin..end].iter().try_for_each(|value| visit(*value)),
            Some(Place::Blocks(first, blocks)) => {
                let mut values = Vec::new();
                for number in first..first + blocks {
                    values.clear();
                    block::posting_values(&self.run.block(number)?, &mut values).ok_or_else(|| self.run.nonsense(number))?;
                    values.iter().try_for_each(|value| visit(*value))?;
                }
                Ok(())
            }
        }
    }

    fn load(&mut self) -> Result<()> {
        while self.at >= self.leaf.len() && self.next_block < self.run.header.inner_from {
            let number = self.next_block;
            self.next_block += 1;
            let bytes = self.run.block(number)?;
            if block::kind_of(&bytes) != Some(BlockKind::Leaf) {
                continue;
            }
            self.leaf.clear();
            self.values.clear();
            self.at = 0;
            for entry in Leaf::iterate(&bytes).ok_or_else(|| self.run.nonsense(number))? {
                let entry = entry.ok_or_else(|| self.run.nonsense(number))?;
                let place = match entry.values {
                    Values::Inline(values) => {
                        let begin = self.values.len();
                        self.run.inline_into(entry.key, entry.count, values, &mut self.values)?;
                        Place::Here(begin, self.values.len())
                    }
                    Values::Blocks { first_block, blocks, .. } => {
                        if !self.run.has_blocks(first_block, blocks) {
                            return Err(self.run.nonsense(number));
                        }
                        Place::Blocks(first_block, blocks)
                    }
                };
                self.leaf.push((entry.key, Found { base: entry.base, count: entry.count }, place));
            }
        }
        self.head = self.leaf.get(self.at).map(|(key, found, _)| (*key, *found));
        Ok(())
    }
}
