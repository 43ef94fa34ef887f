//! The bytes of the door's records: numbers of variable length, and bytes behind their length.

use bytes::Bytes;

/// Writes a record's bytes.
#[derive(Debug, Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(u8::try_from(number & 0x7f).expect("seven bits") | 0x80);
            number >>= 7;
        }
        self.0.push(u8::try_from(number).expect("seven bits"));
    }

    /// A number by its difference to another, which may go either way: the sign lies in the last bit.
    pub(super) fn change(&mut self, from: u64, to: u64) {
        let change = to.wrapping_sub(from);
        self.number(if change >> 63 == 0 { change << 1 } else { change.wrapping_neg() << 1 | 1 });
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }
}

/// Reads what a [`Writer`] wrote. Each step is `None` where the bytes end early or make no sense.
#[derive(Debug)]
pub(super) struct Reader {
    rest: Bytes,
}

impl Reader {
    pub(super) fn new(bytes: Bytes) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for (place, byte) in self.rest.iter().enumerate().take(10) {
            number |= u64::from(byte & 0x7f) << (7 * place);
            if *byte < 0x80 {
                let _ = self.rest.split_to(place + 1);
                return Some(number);
            }
        }
        None
    }

    pub(super) fn change(&mut self, from: u64) -> Option<u64> {
        let change = self.number()?;
        Some(if change & 1 == 0 { from.wrapping_add(change >> 1) } else { from.wrapping_sub(change >> 1) })
    }

    pub(super) fn small(&mut self) -> Option<u32> {
        u32::try_from(self.number()?).ok()
    }

    /// A number of things that take at least a byte each.
    pub(super) fn count(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok().filter(|count| *count <= self.rest.len())
    }

    /// Bytes of their own, that do not keep the record in memory.
    pub(super) fn bytes(&mut self) -> Option<Bytes> {
        let length = self.count()?;
        Some(Bytes::copy_from_slice(&self.rest.split_to(length)))
    }

    /// All that is left, in bytes of their own.
    pub(super) fn rest(&mut self) -> Bytes {
        Bytes::copy_from_slice(&std::mem::take(&mut self.rest))
    }
}
