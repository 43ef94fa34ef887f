//! Adding a frame's keys to the newest part of the index.

use super::Tables;
use super::memtable::Memtable;
use crate::error::{Error, Result};
use crate::frame::Terms;
use crate::key::Key;

/// So many different labels that a frame's entries have in common are collected before they are added.
const COMMON_MAX: usize = 8;

/// Adds the keys of entries that follow one another.
///
/// The labels that entries have in common (their category, their type) are added at the end, all positions at once.
#[derive(Debug)]
pub(crate) struct Adding<'t> {
    table: &'t Memtable,
    tables: &'t Tables,
    /// Label, the list of all such labels, and the positions to be added under the label.
    common: Vec<(Key, Key, Vec<u64>)>,
}

impl<'t> Adding<'t> {
    /// Adds to `table`, which is the active one of `tables`.
    pub(crate) fn new(table: &'t Memtable, tables: &'t Tables) -> Self {
        Self { table, tables, common: Vec::new() }
    }

    /// Adds an entry, and returns its number in its sequence.
    pub(crate) fn entry(&mut self, terms: &Terms, position: u64) -> Result<u64> {
        let (number, _) = self.table.add(terms.sequence, position, || Ok::<_, Error>(self.tables.before_active(terms.sequence)?.count))?;
        if number == 1 {
            for list in terms.first_of_sequence {
                self.table.add_all(list, &[position]);
            }
        }
        for label in &terms.labels {
            self.table.add_all(*label, &[position]);
        }
        for (label, list) in terms.first_of_label {
            match self.common.iter_mut().find(|(common, ..)| *common == label) {
                Some((.., positions)) => positions.push(position),
                None => {
                    if self.common.len() == COMMON_MAX {
                        self.finish()?;
                    }
                    self.common.push((label, list, vec![position]));
                }
            }
        }
        Ok(number)
    }

    /// Adds what has been collected.
    pub(crate) fn finish(&mut self) -> Result<(), Error> {
        for (label, list, positions) in self.common.drain(..) {
            if self.table.add_all(label, &positions) && !self.tables.is_known_before_active(label)? {
                self.table.add_all(list, &positions[..1]);
            }
        }
        Ok(())
    }
}
