//! Blocks: the 4 KiB pieces that an index file is made of, each with a checksum that also depends on where it stands.

use crate::frame::{u16_at, u32_at, u64_at};
use crate::index::postings::{put_varint, take_rising, take_varint};
use crate::key::Key;

pub(crate) const BLOCK_BYTES: usize = 4_096;
/// What stands at the beginning of each block: checksum, kind, a zero, and the number of its items.
const HEAD_BYTES: usize = 8;
/// In a leaf every so many entries one is written out in full, to begin a search at.
const RESTART_INTERVAL: usize = 16;
/// The longest list of values that is kept beside its key, in bytes; a longer one has blocks of its own.
pub(crate) const INLINE_BYTES_MAX: usize = 1_500;
const INNER_ITEM_BYTES: usize = 20;
const POSTING_HEAD_BYTES: usize = 20;

/// What a block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum BlockKind {
    /// Keys and their short lists.
    Leaf = 1,
    /// A part of a long list.
    Posting = 2,
    /// The first keys of other blocks.
    Inner = 3,
}

/// Completes a block: pads it, and writes its head.
fn seal(mut bytes: Vec<u8>, kind: BlockKind, items: usize, number: u32) -> Vec<u8> {
    assert!(bytes.len() <= BLOCK_BYTES, "a block is not filled beyond its size");
    bytes.resize(BLOCK_BYTES, 0);
    bytes[4] = kind as u8;
    bytes[6..8].copy_from_slice(&u16::try_from(items).expect("an item takes more than a byte").to_le_bytes());
    let checksum = crc32c::crc32c_append(number, &bytes[4..]);
    bytes[0..4].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// Whether a block is as it was written, at this place.
pub(crate) fn is_whole(bytes: &[u8], number: u32) -> bool {
    bytes.len() == BLOCK_BYTES && u32_at(bytes, 0) == Some(crc32c::crc32c_append(number, &bytes[4..]))
}

pub(crate) fn kind_of(bytes: &[u8]) -> Option<BlockKind> {
    match bytes.get(4)? {
        1 => Some(BlockKind::Leaf),
        2 => Some(BlockKind::Posting),
        3 => Some(BlockKind::Inner),
        _ => None,
    }
}

fn items_of(bytes: &[u8]) -> usize {
    u16_at(bytes, 6).unwrap_or(0).into()
}

/// Where a term's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Values<'a> {
    /// Beside the key: the distances between them, the first from the run's origin.
    Inline(&'a [u8]),
    /// In so many blocks from this one on; the lowest and highest value.
    Blocks { first_block: u32, blocks: u32, lowest: u64, highest: u64 },
}

/// One key of a leaf, and what is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LeafEntry<'a> {
    pub(crate) key: Key,
    /// How many values the key had before this run.
    pub(crate) base: u64,
    /// How many it has in this run.
    pub(crate) count: u64,
    pub(crate) values: Values<'a>,
}

/// Collects entries, in the order of their keys, into a leaf.
#[derive(Debug)]
pub(crate) struct LeafBuilder {
    bytes: Vec<u8>,
    restarts: Vec<u16>,
    items: usize,
    last: u128,
    pub(crate) first_key: Option<Key>,
}

impl LeafBuilder {
    pub(crate) fn new() -> Self {
        // An entry that does not fit is written, and taken back.
        let mut bytes = Vec::with_capacity(BLOCK_BYTES + INLINE_BYTES_MAX + 64);
        bytes.resize(HEAD_BYTES, 0);
        Self { bytes, restarts: Vec::with_capacity(32), items: 0, last: 0, first_key: None }
    }

    /// Adds an entry if there is room.
    pub(crate) fn add(&mut self, entry: &LeafEntry<'_>) -> bool {
        let start = self.bytes.len();
        let key = entry.key.to_bytes();
        let bits = u128::from_be_bytes(key);
        let restart = self.items.is_multiple_of(RESTART_INTERVAL);
        let shared = if restart { 0 } else { (bits ^ self.last).leading_zeros() as usize / 8 };
        let suffix_end = (16 - bits.trailing_zeros() as usize / 8).max(shared);
        // Zeros at the end of a key are not written: short keys end in them.
        self.bytes.push(u8::try_from(shared).expect("a key is short"));
        self.bytes.push(u8::try_from(suffix_end - shared).expect("a key is short"));
        self.bytes.extend_from_slice(&key[shared..suffix_end]);
        let (external, has_base) = (matches!(entry.values, Values::Blocks { .. }), entry.base > 0);
        put_varint(&mut self.bytes, entry.count << 2 | u64::from(has_base) << 1 | u64::from(external));
        if has_base {
            put_varint(&mut self.bytes, entry.base);
        }
        match entry.values {
            Values::Inline(values) => {
                if entry.count > 1 {
                    put_varint(&mut self.bytes, values.len() as u64);
                }
                self.bytes.extend_from_slice(values);
            }
            Values::Blocks { first_block, blocks, lowest, highest } => {
                for number in [first_block.into(), blocks.into(), lowest, highest - lowest] {
                    put_varint(&mut self.bytes, number);
                }
            }
        }
        let restarts = self.restarts.len() + usize::from(restart);
        if self.bytes.len() + restarts * 2 + 2 > BLOCK_BYTES {
            self.bytes.truncate(start);
            return false;
        }
        if restart {
            self.restarts.push(u16::try_from(start).expect("a block is short"));
        }
        self.items += 1;
        self.last = bits;
        self.first_key.get_or_insert(entry.key);
        true
    }

    pub(crate) fn seal(mut self, number: u32) -> Vec<u8> {
        let restarts_at = BLOCK_BYTES - 2 - self.restarts.len() * 2;
        self.bytes.resize(restarts_at, 0);
        for restart in &self.restarts {
            self.bytes.extend_from_slice(&restart.to_le_bytes());
        }
        self.bytes.extend_from_slice(&u16::try_from(self.restarts.len()).expect("a block is short").to_le_bytes());
        seal(self.bytes, BlockKind::Leaf, self.items, number)
    }
}

/// A leaf, as it is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leaf<'a> {
    bytes: &'a [u8],
    restarts: &'a [u8],
}

impl<'a> Leaf<'a> {
    pub(crate) fn new(block: &'a [u8]) -> Option<Self> {
        let restarts = usize::from(u16_at(block, BLOCK_BYTES - 2)?);
        let restarts_at = (BLOCK_BYTES - 2).checked_sub(restarts * 2).filter(|at| *at >= HEAD_BYTES)?;
        Some(Self { bytes: block.get(..restarts_at)?, restarts: &block[restarts_at..BLOCK_BYTES - 2] })
    }

    /// The entry of `key`; `Err` if the block makes no sense.
    pub(crate) fn find(&self, key: Key) -> Result<Option<LeafEntry<'a>>, &'static str> {
        if self.restarts.is_empty() {
            return Ok(None);
        }
        // The last restart whose key is at or before the one looked for.
        let (mut low, mut high) = (0, self.restarts.len() / 2);
        while low + 1 < high {
            let middle = low.midpoint(high);
            let at = usize::from(u16_at(self.restarts, middle * 2).unwrap_or(0));
            let mut rest = self.bytes.get(at..).ok_or("a leaf's restarts make no sense")?;
            let entry = take_entry(&mut rest, &mut [0; 16]).ok_or("a leaf is cut off")?;
            if entry.key <= key { low = middle } else { high = middle }
        }
        let mut rest = self.bytes.get(usize::from(u16_at(self.restarts, low * 2).unwrap_or(0))..).unwrap_or_default();
        let mut last = [0; 16];
        for _ in 0..RESTART_INTERVAL {
            let Some(entry) = take_entry(&mut rest, &mut last) else { break };
            if entry.key == key {
                return Ok(Some(entry));
            }
            if entry.key > key {
                break;
            }
        }
        Ok(None)
    }

    /// All entries in order; `None` for one that makes no sense.
    pub(crate) fn iterate(block: &'a [u8]) -> Option<impl Iterator<Item = Option<LeafEntry<'a>>>> {
        let leaf = Self::new(block)?;
        let mut rest = leaf.bytes.get(HEAD_BYTES..)?;
        let mut last = [0; 16];
        Some((0..items_of(block)).map(move |_| take_entry(&mut rest, &mut last)))
    }
}

fn take_entry<'a>(rest: &mut &'a [u8], last: &mut [u8; 16]) -> Option<LeafEntry<'a>> {
    let (shared, suffix) = (usize::from(*rest.first()?), usize::from(*rest.get(1)?));
    let bytes = rest.get(2..2 + suffix)?;
    if shared + suffix > 16 {
        return None;
    }
    last[shared..shared + suffix].copy_from_slice(bytes);
    last[shared + suffix..].fill(0);
    *rest = &rest[2 + suffix..];
    let head = take_varint(rest)?;
    let count = head >> 2;
    let base = if head & 2 != 0 { take_varint(rest)? } else { 0 };
    base.checked_add(count)?;
    let values = if head & 1 != 0 {
        let first_block = u32::try_from(take_varint(rest)?).ok()?;
        let blocks = u32::try_from(take_varint(rest)?).ok()?;
        let lowest = take_varint(rest)?;
        Values::Blocks { first_block, blocks, lowest, highest: lowest.checked_add(take_varint(rest)?)? }
    } else {
        let bytes = if count > 1 {
            usize::try_from(take_varint(rest)?).ok()?
        } else {
            let mut after = *rest;
            take_varint(&mut after)?;
            rest.len() - after.len()
        };
        let values = rest.get(..bytes)?;
        *rest = &rest[bytes..];
        Values::Inline(values)
    };
    (count > 0).then_some(LeafEntry { key: Key::from_bytes(*last), base, count, values })
}

/// Collects values into a posting block.
#[derive(Debug)]
pub(crate) struct PostingBuilder {
    bytes: Vec<u8>,
    items: usize,
    last: u64,
}

impl PostingBuilder {
    /// A block whose first value is the list's value with this index.
    pub(crate) fn new(first_index: u64, first: u64) -> Self {
        let mut bytes = vec![0; HEAD_BYTES];
        bytes.extend_from_slice(&u32::try_from(first_index).expect("a run has fewer than 2^32 values").to_le_bytes());
        bytes.extend_from_slice(&first.to_le_bytes());
        Self { bytes, items: 1, last: first }
    }

    /// Adds the next value if there is room.
    pub(crate) fn add(&mut self, value: u64) -> bool {
        let start = self.bytes.len();
        put_varint(&mut self.bytes, value - self.last);
        if self.bytes.len() > BLOCK_BYTES {
            self.bytes.truncate(start);
            return false;
        }
        (self.items, self.last) = (self.items + 1, value);
        true
    }

    pub(crate) fn seal(self, number: u32) -> Vec<u8> {
        seal(self.bytes, BlockKind::Posting, self.items, number)
    }
}

/// The index in its list, and the value, of a posting block's first value.
pub(crate) fn posting_first(block: &[u8]) -> Option<(u64, u64)> {
    (kind_of(block)? == BlockKind::Posting).then_some(())?;
    Some((u32_at(block, 8)?.into(), u64_at(block, 12)?))
}

/// All values of a posting block.
pub(crate) fn posting_values(block: &[u8], out: &mut Vec<u64>) -> Option<()> {
    let (_, first) = posting_first(block)?;
    out.push(first);
    let mut rest = block.get(POSTING_HEAD_BYTES..)?;
    take_rising(&mut rest, first, items_of(block).checked_sub(1)?, out)
}

/// How many items an inner block holds.
pub(crate) const INNER_ITEMS_MAX: usize = (BLOCK_BYTES - HEAD_BYTES) / INNER_ITEM_BYTES;

/// A block with the first keys of other blocks, and their numbers.
pub(crate) fn inner_block(items: &[(Key, u32)], number: u32) -> Vec<u8> {
    let mut bytes = vec![0; HEAD_BYTES];
    for (key, block) in items {
        bytes.extend_from_slice(&key.to_bytes());
        bytes.extend_from_slice(&block.to_le_bytes());
    }
    seal(bytes, BlockKind::Inner, items.len(), number)
}

/// The block in which `key` is, if it is in any; `None` if the inner block makes no sense.
pub(crate) fn inner_find(block: &[u8], key: Key) -> Option<u32> {
    let items = block.get(HEAD_BYTES..HEAD_BYTES + items_of(block) * INNER_ITEM_BYTES)?;
    let key = key.to_bytes();
    let (mut low, mut high) = (0, items_of(block));
    while low < high {
        let middle = low.midpoint(high);
        let at = middle * INNER_ITEM_BYTES;
        if items[at..at + 16] <= key[..] { low = middle + 1 } else { high = middle }
    }
    // A key before the first one is in no block; any block will say so.
    u32_at(items, low.saturating_sub(1) * INNER_ITEM_BYTES + 16)
}
