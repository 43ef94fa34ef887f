//! Keys: fixed-size stand-ins for names, so that the index holds no names.
//!
//! A key is a kind and 120 bits of SipHash-1-3 (Aumasson and Bernstein, 2012, in its 128-bit form) under a secret of the store. Two
//! names share a key with a chance of about n² / 2^121, which for 10^10 names is below 10^-16, and nobody who does not know the secret
//! can look for such a pair.

use std::fmt;
use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher13};

/// What a key stands for. The caller numbers its own kinds; the number is the key's first byte, so that kinds sort together.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind(pub u8);

impl Kind {
    /// Kinds from here on are of records: of several values under one key only the newest counts.
    pub const FIRST_OF_RECORDS: Self = Self(0x80);

    /// Whether keys of this kind are of records.
    pub const fn is_record(self) -> bool {
        self.0 >= Self::FIRST_OF_RECORDS.0
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kind({:#04x})", self.0)
    }
}

/// A name of some kind, as the index knows it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(u128);

impl Key {
    /// The kind it was made with.
    pub const fn kind(self) -> Kind {
        Kind(self.to_bytes()[0])
    }

    /// The bytes, in the order in which keys sort.
    pub(crate) const fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    pub(crate) const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }

    /// The 64 bits behind the kind: evenly spread over keys of one kind, and in their order.
    pub(crate) const fn spread(self) -> u64 {
        (self.0 >> 56) as u64
    }

    /// What a short key consists of; `None` of a key that is not one.
    pub(crate) const fn as_short(self) -> Option<u64> {
        if self.0 as u64 == 0 { Some((self.0 >> 64) as u64) } else { None }
    }

    /// The short key that consists of this.
    pub(crate) const fn from_short(short: u64) -> Self {
        Self((short as u128) << 64)
    }

    /// 64 bits for hash tables and filters, independent of the order.
    pub(crate) const fn scrambled(self) -> u64 {
        let mut x = self.spread() ^ (self.0 as u64).rotate_left(29);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:032x})", self.0)
    }
}

/// Makes keys, with the secret of one store.
#[derive(Clone, Debug)]
pub struct KeyMaker {
    hasher: SipHasher13,
}

impl KeyMaker {
    /// For the store with this secret.
    pub fn new(secret: [u8; 16]) -> Self {
        Self { hasher: SipHasher13::new_with_key(&secret) }
    }

    /// The key of `name`.
    pub fn key(&self, kind: Kind, name: &[u8]) -> Key {
        Self::finish(kind, self.hash(kind, name), u128::MAX >> 8)
    }

    /// The key of the pair of `scope` and `name`, shortened to 56 bits to keep the index small. Names can share a short key, if rarely:
    /// whoever looks one up checks what it finds.
    pub fn short_key(&self, kind: Kind, scope: &[u8], name: &[u8]) -> Key {
        self.scoped(kind, scope).short_key(name)
    }

    /// Makes the short keys of pairs that all have this scope.
    pub fn scoped(&self, kind: Kind, scope: &[u8]) -> ScopedKeys {
        ScopedKeys { kind, hasher: self.hash(kind, scope) }
    }

    fn hash(&self, kind: Kind, name: &[u8]) -> SipHasher13 {
        let mut hasher = self.hasher;
        // One long write takes half the time of several short ones.
        let mut head = [0; 64];
        head[0] = kind.0;
        head[1..9].copy_from_slice(&(name.len() as u64).to_le_bytes());
        if let Some(room) = head.get_mut(9..9 + name.len()) {
            room.copy_from_slice(name);
            hasher.write(&head[..9 + name.len()]);
        } else {
            hasher.write(&head[..9]);
            hasher.write(name);
        }
        hasher
    }

    fn finish(kind: Kind, hasher: SipHasher13, mask: u128) -> Key {
        Key((u128::from(kind.0) << 120) | (hasher.finish128().as_u128() & mask))
    }
}

/// Makes the short keys of pairs that have the first name in common.
#[derive(Clone, Debug)]
pub struct ScopedKeys {
    kind: Kind,
    hasher: SipHasher13,
}

impl ScopedKeys {
    /// As [`KeyMaker::short_key`].
    pub fn short_key(&self, name: &[u8]) -> Key {
        let mut hasher = self.hasher;
        hasher.write(name);
        KeyMaker::finish(self.kind, hasher, (u128::MAX >> 8) & (u128::MAX << 64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_by_kind_name_and_secret() {
        let maker = KeyMaker::new([1; 16]);
        let key = maker.key(Kind(1), b"Order-1");
        assert_eq!(key, maker.key(Kind(1), b"Order-1"));
        assert_eq!(key.kind(), Kind(1));
        assert_ne!(key, maker.key(Kind(2), b"Order-1"));
        assert_ne!(key, maker.key(Kind(1), b"Order-2"));
        assert_ne!(key, KeyMaker::new([2; 16]).key(Kind(1), b"Order-1"));
        assert_ne!(maker.short_key(Kind(3), b"a", b"bc"), maker.short_key(Kind(3), b"ab", b"c"));
        assert_eq!(Key::from_bytes(key.to_bytes()), key);
    }
}
