//! Adding a frame's keys to the newest part of the index.

use super::Tables;
use super::memtable::Memtable;
use crate::error::{Error, Result};
use crate::key::Key;
use crate::terms::{LabelRow, Listing};

/// So many different labels that a frame's entries have in common are collected before they are added.
const COMMON_MAX: usize = 8;

/// Adds the keys of a frame's entries to `table`, which is the active one of `tables`. The entries have the positions from `first` on.
/// Returns their numbers in their sequences.
pub(crate) fn add(table: &Memtable, tables: &Tables, listing: &Listing, first: u64) -> Result<Vec<u64>> {
    let mut numbers = Vec::with_capacity(listing.entries());
    let mut position = first;
    for row in listing.sequences() {
        let base = || Ok::<_, Error>(tables.before_active(row.key)?.count);
        let (number, _) = table.add_row(row.key, position, row.entries, base)?;
        if number == 1 {
            for list in row.lists {
                table.add_all(list, &[position]);
            }
        }
        numbers.extend(number..number + u64::from(row.entries));
        position += u64::from(row.entries);
    }
    table.add_labels(listing.labels(), first);
    listing.listed().iter().try_for_each(|rows| add_listed(table, tables, rows, first))?;
    Ok(numbers)
}

/// Adds labels whose first entries are listed. Those that entries have in common (their category, their type) are added once, with all
/// positions.
fn add_listed(table: &Memtable, tables: &Tables, rows: &[LabelRow], first: u64) -> Result<()> {
    let mut common: Vec<(Key, Key, Vec<u64>)> = Vec::new();
    for row in rows {
        let begin = first + u64::from(row.first);
        let positions = begin..begin + u64::from(row.entries);
        match common.iter_mut().find(|(label, ..)| *label == row.label) {
            Some((.., collected)) => collected.extend(positions),
            None => {
                if common.len() == COMMON_MAX {
                    add_common(table, tables, &mut common)?;
                }
                common.push((row.label, row.list, positions.collect()));
            }
        }
    }
    add_common(table, tables, &mut common)
}

fn add_common(table: &Memtable, tables: &Tables, common: &mut Vec<(Key, Key, Vec<u64>)>) -> Result<()> {
    for (label, list, positions) in common.drain(..) {
        if table.add_all(label, &positions) && !tables.is_known_before_active(label)? {
            table.add_all(list, &positions[..1]);
        }
    }
    Ok(())
}
