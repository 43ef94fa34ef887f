//! What a power failure leaves of a simulated disk.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::chance::Chance;
use super::disk::{Change, Content, SECTOR_BYTES, SimulatedDisk, sectors};

/// What is kept of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    Nothing,
    Everything,
    /// Each sector or not, each truncation or not, the first few changes of names; what is lost may have become garbage.
    Random,
    /// What was written last, and not what was written first.
    Last,
    /// What a sync that failed has done: some sectors, and sizes, which file systems keep in a journal and stop without.
    AfterFailedSync,
}

impl Kept {
    pub(crate) const AFTER_POWER_FAILURE: [Self; 4] = [Self::Nothing, Self::Everything, Self::Random, Self::Last];
}

impl SimulatedDisk {
    /// The disk after a power failure.
    pub(crate) fn after_power_failure(&self, kept: Kept, seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let state = self.state();
        let mut names = state.durable_names.clone();
        let mut left: BTreeMap<PathBuf, usize> = BTreeMap::new();
        for change in &state.name_changes {
            *left.entry(change.directory().to_owned()).or_default() += 1;
        }
        for count in left.values_mut() {
            *count = match kept {
                Kept::Nothing => 0,
                Kept::Everything => *count,
                Kept::Random | Kept::Last | Kept::AfterFailedSync => chance.index(*count + 1),
            };
        }
        for change in &state.name_changes {
            let left = left.get_mut(change.directory()).expect("just counted");
            if *left > 0 {
                *left -= 1;
                change.apply(&mut names);
            }
        }
        let files = names.into_iter().map(|(path, file)| (path, survivors(&state.files[file], kept, &mut chance))).collect();
        let directories = state.directories.clone();
        drop(state);
        Self::of(files, directories, chance.next(), self.now())
    }
}

/// A file's content if power fails now.
pub(super) fn survivors(content: &Content, kept: Kept, chance: &mut Chance) -> Vec<u8> {
    if kept == Kept::Nothing || content.unsynced.is_empty() {
        return content.durable.clone();
    }
    // Of the changes to a sector the first few are kept: later content never reaches the disk without the earlier.
    let mut kept_of: BTreeMap<u64, usize> = BTreeMap::new();
    for (index, change) in content.unsynced.iter().enumerate() {
        for sector in sectors(change) {
            kept_of.insert(sector, index + 1);
        }
    }
    let sectors_lost_first = chance.index(kept_of.len() + 1);
    for (order, count) in kept_of.values_mut().enumerate() {
        *count = match kept {
            Kept::Nothing => 0,
            Kept::Everything => *count,
            Kept::Random | Kept::AfterFailedSync if chance.one_in(3) => chance.index(*count + 1),
            Kept::Random | Kept::AfterFailedSync => *count * chance.index(2),
            Kept::Last if order < sectors_lost_first => 0,
            Kept::Last => *count,
        };
    }
    let garbage = matches!(kept, Kept::Random | Kept::AfterFailedSync) && chance.one_in(4);
    let mut survivors = content.durable.clone();
    for (index, change) in content.unsynced.iter().enumerate() {
        if let Change::Truncate { .. } = change {
            if kept == Kept::Everything || kept == Kept::AfterFailedSync || chance.one_in(2) {
                change.apply(&mut survivors, (0, u64::MAX));
            }
            continue;
        }
        for sector in sectors(change) {
            let range = (sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES);
            if index < kept_of[&sector] {
                change.apply(&mut survivors, range);
            } else if garbage && chance.one_in(8) {
                garbled(change, chance).apply(&mut survivors, range);
            }
        }
    }
    survivors
}

/// The same change with other bytes.
fn garbled(change: &Change, chance: &mut Chance) -> Change {
    match change {
        Change::Write { offset, bytes } => Change::Write { offset: *offset, bytes: bytes.iter().map(|_| chance.next() as u8).collect() },
        Change::Truncate { bytes } => Change::Truncate { bytes: *bytes },
    }
}
