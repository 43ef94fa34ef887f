//! What a compacted segment says of itself, in a second header: how far the log went when it was decided what is dead.
//!
//! Its frames are those of the segment that it replaced, without what is dead, and each says where it began there. So places in the log
//! mean the same before and after, and the index need not know.

use super::{Location, SEGMENT_HEADER_BYTES};
use crate::frame::{u32_at, u64_at};

const MAGIC: [u8; 8] = *b"FACTUMCO";

/// How a segment was compacted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Compaction {
    /// The log was durable up to here when it was decided what is dead: it can't end before.
    pub(crate) decided_at: Location,
    /// Where the last frame ended in the segment as it was written.
    pub(crate) written_end: u64,
    /// Where the last frame ends in this file.
    pub(crate) end: u64,
}

impl Compaction {
    /// The first offset at which a frame can begin in a compacted segment.
    pub(crate) const FIRST_FRAME: u64 = 2 * SEGMENT_HEADER_BYTES as u64;

    /// The second header, of the segment with this number and seed.
    pub(super) fn to_bytes(self, number: u32, seed: u32) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[16..20].copy_from_slice(&number.to_le_bytes());
        bytes[20..24].copy_from_slice(&seed.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.decided_at.0.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.written_end.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.end.to_le_bytes());
        let checksum = crc32c::crc32c(&bytes);
        bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads the second header of the segment with this number and seed; `None` if it is none.
    pub(super) fn read(bytes: &[u8], number: u32, seed: u32) -> Option<Self> {
        let mut unsigned: [u8; SEGMENT_HEADER_BYTES] = bytes.get(..SEGMENT_HEADER_BYTES)?.try_into().ok()?;
        let checksum = u32_at(&unsigned, 12)?;
        unsigned[12..16].fill(0);
        let genuine = unsigned[0..8] == MAGIC
            && crc32c::crc32c(&unsigned) == checksum
            && u32_at(&unsigned, 16) == Some(number)
            && u32_at(&unsigned, 20) == Some(seed);
        let compaction =
            Self { decided_at: Location(u64_at(&unsigned, 24)?), written_end: u64_at(&unsigned, 32)?, end: u64_at(&unsigned, 40)? };
        let sensible = compaction.end >= Self::FIRST_FRAME && compaction.written_end < 1 << 32 && compaction.decided_at.segment() > number;
        (genuine && sensible).then_some(compaction)
    }
}
