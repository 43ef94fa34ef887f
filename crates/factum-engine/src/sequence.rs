//! Reading a sequence that may not be in memory: what it takes is asked of the disk at once, not one thing after another. First the
//! parts of the index that may know of the sequence, then, when they have said where they are, its entries.

use std::time::Instant;

use crate::error::Result;
use crate::key::Key;
use crate::read::{COLD, Snapshot};

/// A sequence, as the index knows it.
#[derive(Clone, Copy, Debug)]
pub struct Sequence<'s> {
    snapshot: &'s Snapshot,
    key: Key,
    count: u64,
    /// Whether the index was not in memory; then its entries are not either.
    is_cold: bool,
}

impl Sequence<'_> {
    /// How many entries it has had.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The positions of its entries from number `from` to number `to`, rising.
    ///
    /// # Errors
    /// As [`Snapshot::count`].
    pub fn numbered(&self, from: u64, to: u64) -> Result<Vec<u64>> {
        self.snapshot.numbered(self.key, from, to)
    }

    /// Positions that [`Sequence::numbered`] gave, to be read by [`Snapshot::entries`].
    pub fn wanted<'p>(&self, positions: &'p [u64]) -> Wanted<'p> {
        Wanted { positions, are_cold: self.is_cold }
    }
}

/// Positions whose entries are to be read.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'p> {
    pub(crate) positions: &'p [u64],
    /// Whether they are not in memory, as far as is known.
    pub(crate) are_cold: bool,
}

impl Wanted<'_> {
    /// How many they are.
    pub fn count(&self) -> usize {
        self.positions.len()
    }
}

impl<'p> From<&'p [u64]> for Wanted<'p> {
    fn from(positions: &'p [u64]) -> Self {
        Self { positions, are_cold: false }
    }
}

impl<'p> From<&'p Vec<u64>> for Wanted<'p> {
    fn from(positions: &'p Vec<u64>) -> Self {
        positions.as_slice().into()
    }
}

impl Snapshot {
    /// The sequence `key`, to read some of it.
    ///
    /// # Errors
    /// As [`Snapshot::count`].
    pub fn sequence(&self, key: Key) -> Result<Sequence<'_>> {
        let begun = Instant::now();
        let asked = self.view.tables.ask_for(key, 0)?;
        let count = self.count(key)?;
        Ok(Sequence { snapshot: self, key, count, is_cold: asked && begun.elapsed() > COLD })
    }
}
