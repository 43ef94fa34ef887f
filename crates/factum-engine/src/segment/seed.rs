//! Working out a segment's seed from its frames, when its header is damaged: without the seed no frame in it could be told from noise.
//!
//! CRC is linear: with the data fixed, what a seed changes in the checksum is a matrix times the seed. A frame gives data and
//! checksum, so it gives the seed; that a body matches with it too shows that it is the right one.

use std::borrow::Cow;

use crate::disk::DiskFile;
use crate::frame::{self, ALIGNMENT, Frame, HEADER_BYTES, Header};

use super::SEGMENT_HEADER_BYTES;

/// How far into the segment a whole frame is looked for, in bytes.
const LOOK_BYTES: usize = if cfg!(any(test, feature = "fuzzing")) { 64 << 10 } else { 4 << 20 };

/// The seed of the segment in `file`, if there is a whole frame near its beginning. `believed` is what its header says.
pub(super) fn find(file: &dyn DiskFile, believed: u32) -> Option<u32> {
    let mut bytes = vec![0; LOOK_BYTES];
    let read = file.read(0, &mut bytes).ok()?;
    bytes.truncate(read);
    (SEGMENT_HEADER_BYTES..bytes.len()).step_by(ALIGNMENT).find_map(|offset| {
        let rest = bytes.get(offset..offset + HEADER_BYTES).map(|_| &bytes[offset..])?;
        let header = Header::read(rest)?;
        let frame = rest.get(..header.bytes)?;
        let is_whole = |seed: &u32| Frame::check(Cow::Borrowed(frame), *seed).is_ok_and(|frame| frame.check_bodies().is_ok());
        Some(believed).filter(is_whole).or_else(|| solve(&frame[..header.bodies_at()], header.checksum).filter(is_whole))
    })
}

/// The seed with which a frame's header and table have this checksum.
fn solve(head: &[u8], checksum: u32) -> Option<u32> {
    let without = frame::head_checksum(0, head);
    // Gauss: each row is a seed and what it changes in the checksum, reduced to have a highest bit of its own.
    let mut rows: Vec<(u32, u32)> = Vec::with_capacity(32);
    for bit in 0..32 {
        let seed = 1 << bit;
        let row = reduce(&rows, (seed, frame::head_checksum(seed, head) ^ without));
        if row.1 == 0 {
            return None;
        }
        rows.push(row);
    }
    let (seed, rest) = reduce(&rows, (0, checksum ^ without));
    (rest == 0).then_some(seed)
}

fn reduce(rows: &[(u32, u32)], mut row: (u32, u32)) -> (u32, u32) {
    loop {
        let same_bit = rows.iter().find(|other| row.1 != 0 && other.1.leading_zeros() == row.1.leading_zeros());
        let Some(other) = same_bit else { return row };
        row = (row.0 ^ other.0, row.1 ^ other.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_follows_from_a_checksum() {
        for seed in [0, 1, 0x8000_0000, 0xdead_beef, u32::MAX] {
            for bytes in [40, 48, 400] {
                let head: Vec<u8> = (0..bytes).map(|byte: u16| (byte * 7) as u8).collect();
                assert_eq!(solve(&head, frame::head_checksum(seed, &head)), Some(seed));
            }
        }
    }
}
