//! Short keys that have one value in a table, as nearly all ids do, and what that one is.
//!
//! They lie in parts by how they begin, so that they come out in order part by part.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::BuildHasherDefault;

use super::memtable::KeyHasher;
use crate::key::Key;

const PARTS: usize = 64;

/// Values by short keys.
#[derive(Debug)]
pub(crate) struct Singles {
    parts: [HashMap<u64, u32, BuildHasherDefault<KeyHasher>>; PARTS],
}

/// What became of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placed {
    /// The key is new.
    New,
    /// The key had that value.
    Known,
    /// The key has another value, this one, and can't have both here.
    Second(u32),
}

impl Default for Singles {
    fn default() -> Self {
        Self { parts: std::array::from_fn(|_| HashMap::default()) }
    }
}

impl Singles {
    /// Makes room for so many keys, so that they need not be moved as they become more.
    pub(crate) fn reserve(&mut self, keys: usize) {
        self.parts.iter_mut().for_each(|part| part.reserve(keys.div_ceil(PARTS)));
    }

    pub(crate) fn len(&self) -> usize {
        self.parts.iter().map(HashMap::len).sum()
    }

    #[inline]
    pub(crate) fn get(&self, short: u64) -> Option<u32> {
        self.parts[part_of(short)].get(&short).copied()
    }

    #[inline]
    pub(crate) fn place(&mut self, short: u64, value: u32) -> Placed {
        match self.parts[part_of(short)].entry(short) {
            Entry::Vacant(unseen) => {
                unseen.insert(value);
                Placed::New
            }
            Entry::Occupied(seen) if *seen.get() == value => Placed::Known,
            Entry::Occupied(seen) => Placed::Second(*seen.get()),
        }
    }

    pub(crate) fn remove(&mut self, short: u64) -> Option<u32> {
        self.parts[part_of(short)].remove(&short)
    }

    /// Forgets all keys with a higher value.
    pub(crate) fn cut_off(&mut self, highest: u32) {
        self.parts.iter_mut().for_each(|part| part.retain(|_, value| *value <= highest));
    }

    /// All keys in order, with their values.
    pub(crate) fn sorted(&self) -> Vec<(Key, u32)> {
        let mut sorted: Vec<(u64, u32)> = Vec::with_capacity(self.len());
        for part in &self.parts {
            let begin = sorted.len();
            sorted.extend(part.iter().map(|(short, value)| (*short, *value)));
            sorted[begin..].sort_unstable();
        }
        // Parts are in order among keys of one kind only.
        if !sorted.is_sorted() {
            sorted.sort_unstable();
        }
        sorted.into_iter().map(|(short, value)| (Key::from_short(short), value)).collect()
    }
}

/// The part of a short key, by the bits that follow its kind.
#[inline]
fn part_of(short: u64) -> usize {
    (short >> 50) as usize % PARTS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{KeyMaker, Kind};

    #[test]
    fn keys_of_several_kinds_come_out_in_order() {
        let keys = KeyMaker::new([3; 16]);
        let mut singles = Singles::default();
        let made: Vec<Key> = (0..2_000u32).map(|name| keys.short_key(Kind(4 + (name % 3) as u8), b"", &name.to_le_bytes())).collect();
        for (key, value) in made.iter().zip(0..) {
            let short = key.as_short().expect("it is short");
            assert_eq!(singles.place(short, value), Placed::New);
            assert_eq!((singles.place(short, value), singles.place(short, 7_000)), (Placed::Known, Placed::Second(value)));
        }
        let mut expected: Vec<(Key, u32)> = made.iter().copied().zip(0..).collect();
        expected.sort_unstable();
        assert_eq!(singles.sorted(), expected);
        singles.cut_off(999);
        assert_eq!((singles.len(), singles.get(made[999].as_short().expect("it is short"))), (1_000, Some(999)));
    }
}
