//! Entry ids: two numbers, milliseconds and a sequence, which also lie in the id of the event.

use uuid::Uuid;

/// The id of an entry, as in `1700000000000-0`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct EntryId {
    pub(crate) ms: u64,
    pub(crate) seq: u64,
}

/// The longest id: two numbers of 20 digits, and a dash.
pub(crate) const TEXT_BYTES_MAX: usize = 41;
/// How many bits of a [`Uuid`] tell which life of its key an event belongs to.
const GENERATION_BITS: u32 = 26;
/// The highest number that milliseconds and sequence may each have to lie in a [`Uuid`].
const PART_MAX: u64 = (1 << 48) - 1;

impl EntryId {
    pub(crate) const MIN: Self = Self { ms: 0, seq: 0 };
    pub(crate) const MAX: Self = Self { ms: u64::MAX, seq: u64::MAX };

    pub(crate) const fn new(ms: u64, seq: u64) -> Self {
        Self { ms, seq }
    }

    /// The id right behind this one, if there is one.
    pub(crate) fn next(self) -> Option<Self> {
        match self.seq.checked_add(1) {
            Some(seq) => Some(Self { ms: self.ms, seq }),
            None => Some(Self { ms: self.ms.checked_add(1)?, seq: 0 }),
        }
    }

    /// The id right before this one, if there is one.
    pub(crate) fn previous(self) -> Option<Self> {
        match self.seq.checked_sub(1) {
            Some(seq) => Some(Self { ms: self.ms, seq }),
            None => Some(Self { ms: self.ms.checked_sub(1)?, seq: u64::MAX }),
        }
    }

    /// Reads `ms-seq`, or `ms` alone with `missing_seq` for the rest, as generously as Redis, whose C reads up to the first zero byte.
    pub(crate) fn parse(text: &[u8], missing_seq: u64) -> Option<Self> {
        if text.len() > 127 {
            return None;
        }
        let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
        match text.iter().position(|byte| *byte == b'-') {
            Some(dash) => Some(Self { ms: number(&text[..dash])?, seq: number(&text[dash + 1..])? }),
            None => Some(Self { ms: number(text)?, seq: missing_seq }),
        }
    }

    /// The id as clients see it.
    pub(crate) fn text(self) -> bytes::Bytes {
        bytes::Bytes::copy_from_slice(self.digits(&mut [0; TEXT_BYTES_MAX]))
    }

    /// The id as clients see it, at the end of a place for it.
    pub(crate) fn digits(self, place: &mut [u8; TEXT_BYTES_MAX]) -> &[u8] {
        let dash = write_number(self.seq, place) - 1;
        place[dash] = b'-';
        let start = write_number(self.ms, &mut place[..dash]);
        &place[start..]
    }

    /// The id of an event that is this entry, where the numbers fit.
    pub(crate) fn uuid(self, generation: u32) -> Option<Uuid> {
        if self.ms > PART_MAX || self.seq > PART_MAX || u64::from(generation) >> GENERATION_BITS != 0 {
            return None;
        }
        let low = (self.seq & ((1 << 36) - 1)) << GENERATION_BITS | u64::from(generation);
        let bits = u128::from(self.ms) << 80 | 8 << 76 | u128::from(self.seq >> 36) << 64 | 2 << 62 | u128::from(low);
        Some(Uuid::from_u128(bits))
    }

    /// The entry id that lies in an event's id, if one does.
    pub(crate) fn of_uuid(uuid: Uuid) -> Option<Self> {
        let bits = uuid.as_u128();
        if bits >> 76 & 15 != 8 || bits >> 62 & 3 != 2 {
            return None;
        }
        let part = |bits: u128| u64::try_from(bits & u128::from(PART_MAX)).expect("48 bits");
        let seq = (bits >> 64 & 0xfff) << 36 | (bits & ((1 << 62) - 1)) >> GENERATION_BITS;
        Some(Self { ms: part(bits >> 80), seq: part(seq) })
    }
}

/// A number as C's `strtoull` reads it: behind white space, and with a sign. Redis refuses what is plainly negative and takes a minus
/// behind white space, which then counts from the other end.
fn number(text: &[u8]) -> Option<u64> {
    let trimmed = match text.iter().position(|byte| !matches!(byte, b' ' | b'\t'..=b'\r')) {
        Some(begin) => &text[begin..],
        None => return None,
    };
    let (is_negative, digits) = match trimmed {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().try_fold(0_u64, |number, digit| number.checked_mul(10)?.checked_add(u64::from(digit - b'0')))?;
    match is_negative {
        false => Some(number),
        // Plain and small enough for its own reading of signed numbers: refused.
        true if trimmed.len() == text.len() && digits[0] != b'0' && number <= 1 << 63 => None,
        true => Some(number.wrapping_neg()),
    }
}

/// Writes a number at the end of a place, and says where it begins.
fn write_number(mut number: u64, place: &mut [u8]) -> usize {
    let mut start = place.len();
    loop {
        start -= 1;
        place[start] = b"0123456789"[(number % 10) as usize];
        number /= 10;
        if number == 0 {
            return start;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_lies_in_the_id_of_its_event() {
        for id in [EntryId::new(0, 1), EntryId::new(1_700_000_000_000, 0), EntryId::new(PART_MAX, PART_MAX), EntryId::new(5, 1 << 40)] {
            for generation in [0, 1, (1 << GENERATION_BITS) - 1] {
                assert_eq!(EntryId::of_uuid(id.uuid(generation).expect("it fits")), Some(id));
            }
        }
        assert_eq!(EntryId::new(1 << 48, 0).uuid(0), None);
        assert_ne!(EntryId::new(1, 1).uuid(0), EntryId::new(1, 1).uuid(1));
        assert_eq!(EntryId::of_uuid(Uuid::now_v7()), None);
    }

    #[test]
    fn ids_are_read_and_written() {
        assert_eq!(EntryId::parse(b"5-07", 0), Some(EntryId::new(5, 7)));
        assert_eq!(EntryId::parse(b"5", 9), Some(EntryId::new(5, 9)));
        assert_eq!(EntryId::parse(b" 5-+7", 0), Some(EntryId::new(5, 7)));
        assert_eq!(EntryId::parse(b"5- -1", 0), Some(EntryId::new(5, u64::MAX)));
        assert_eq!(EntryId::parse(b"5-1\0-9", 0), Some(EntryId::new(5, 1)));
        for wrong in ["", "-", "5-", "-5", "a", "5--1", "5- ", "5 -1", "5-5-5", "18446744073709551616-0"] {
            assert_eq!(EntryId::parse(wrong.as_bytes(), 0), None, "{wrong}");
        }
        assert_eq!(EntryId::MAX.text(), "18446744073709551615-18446744073709551615");
        assert_eq!(EntryId::new(0, u64::MAX).next(), Some(EntryId::new(1, 0)));
        assert_eq!(EntryId::MAX.next(), None);
        assert_eq!(EntryId::MIN.previous(), None);
    }
}
