//! Posting lists: rising numbers, written as the differences between them in variable-length integers (LEB128).

/// Appends `value` to `out`, seven bits a byte, the lowest first.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Takes a number from the front of `bytes`; `None` if there is none.
pub(crate) fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(first & 0x7f);
        if shift == 63 && bits > 1 {
            return None;
        }
        value |= bits << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Reads `count` rising numbers, each given as its distance from the one before, the first from `origin`, into `out`.
pub(crate) fn take_rising(bytes: &mut &[u8], origin: u64, count: usize, out: &mut Vec<u64>) -> Option<()> {
    // A number takes at least a byte: a count that lies does not make us take memory for it.
    if count > bytes.len() {
        return None;
    }
    let mut last = origin;
    for _ in 0..count {
        last = last.checked_add(take_varint(bytes)?)?;
        out.push(last);
    }
    Some(())
}

/// The part of `values` (rising) that is after `after` and up to `up_to`.
pub(crate) fn between(values: &[u64], after: u64, up_to: u64) -> &[u64] {
    let start = values.partition_point(|value| *value <= after);
    let end = values.partition_point(|value| *value <= up_to);
    &values[start..end.max(start)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_they_were_written() {
        for value in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            let mut rest = &bytes[..];
            assert_eq!(take_varint(&mut rest), Some(value));
            assert!(rest.is_empty());
            assert_eq!(take_varint(&mut &bytes[..bytes.len() - 1]), None);
        }
        assert_eq!(take_varint(&mut &[0xff; 11][..]), None);
    }

    #[test]
    fn between_is_exclusive_below_and_inclusive_above() {
        assert_eq!(between(&[1, 3, 5, 7], 1, 5), [3, 5]);
        assert_eq!(between(&[1, 3, 5, 7], 7, 5), [0u64; 0]);
    }
}
