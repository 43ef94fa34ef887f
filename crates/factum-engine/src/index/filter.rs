//! Filters: whether a run can have a key at all, for the price of one cache line. A blocked Bloom filter (Putze, Sanders, Singler,
//! 2007): about ten bits a key, all of a key's bits in one block.
//!
//! A key's block is found by the key's rank in the space of keys, so that a sorted run fills its blocks one after another and never
//! needs the filter in memory. Each block has a checksum: a filter that forgot a key would hide events.

use crate::frame::u32_at;
use crate::key::{Key, Kind};

pub(crate) const FILTER_BLOCK_BYTES: usize = 64;
const BITS: u64 = 480;
const BITS_BYTES: usize = 60;
const KEYS_PER_BLOCK: u64 = 48;
const PROBES: u64 = 6;

/// The part of a filter that is for keys of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) kind: Kind,
    /// Its first block, counted in filter blocks from the filter's beginning.
    pub(crate) first: u64,
    pub(crate) blocks: u64,
    /// How many keys of that kind there are.
    pub(crate) keys: u64,
}

/// Lays out a filter for so many keys of each kind.
pub(crate) fn lay_out(keys: &[(Kind, u64)]) -> Vec<Section> {
    let mut first = 0;
    let section = |(kind, keys): &(Kind, u64)| {
        let section = Section { kind: *kind, first, blocks: keys.div_ceil(KEYS_PER_BLOCK), keys: *keys };
        first += section.blocks;
        section
    };
    keys.iter().map(section).collect()
}

impl Section {
    /// The filter block of `key`, counted from the filter's beginning.
    pub(crate) fn block_of(&self, key: Key) -> u64 {
        // The key's 64 bits of rank, scaled to the number of blocks. The first byte of a key is its kind and not among them.
        self.first + ((u128::from(key.spread()) * u128::from(self.blocks)) >> 64) as u64
    }
}

fn bits_of(key: Key) -> impl Iterator<Item = (usize, u8)> {
    let hash = key.scrambled();
    let (start, step) = (hash & 0xffff_ffff, hash >> 32 | 1);
    (0..PROBES).map(move |probe| {
        let bit = start.wrapping_add(probe.wrapping_mul(step)) % BITS;
        ((bit / 8) as usize, 1 << (bit % 8))
    })
}

/// Notes a key in its block.
pub(crate) fn set(block: &mut [u8; FILTER_BLOCK_BYTES], key: Key) {
    for (byte, bit) in bits_of(key) {
        block[byte] |= bit;
    }
}

/// Completes a block.
pub(crate) fn seal(block: &mut [u8; FILTER_BLOCK_BYTES], number: u64) {
    let checksum = checksum(&block[..BITS_BYTES], number);
    block[BITS_BYTES..].copy_from_slice(&checksum.to_le_bytes());
}

/// `Err` if the block is not as it was written.
pub(crate) fn check(block: &[u8], number: u64) -> Result<(), &'static str> {
    if block.len() != FILTER_BLOCK_BYTES || u32_at(block, BITS_BYTES) != Some(checksum(&block[..BITS_BYTES], number)) {
        return Err("a filter block's checksum does not match");
    }
    Ok(())
}

/// Whether the run may have `key`, says its block.
pub(crate) fn may_have(block: &[u8], key: Key) -> bool {
    // All bits are looked at: which of them is the first that is not set can't be foreseen, and a wrong guess takes longer.
    bits_of(key).fold(true, |all, (byte, bit)| all & (block[byte] & bit != 0))
}

fn checksum(bits: &[u8], number: u64) -> u32 {
    crc32c::crc32c_append(number as u32 ^ 0x5bf0_3635, bits)
}
