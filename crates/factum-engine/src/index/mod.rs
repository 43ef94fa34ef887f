//! The index: under each key the positions of the entries that have it, rising; the place of each record.
//!
//! One structure for streams, categories, types, tags and ids. The newest part is in memory ([`memtable`]), the rest in immutable
//! sorted files ([`run`]); each covers a range of the log, and together they cover all of it, in order. Nothing here is truth: it can be
//! deleted, and is made again from the log.

pub(crate) mod adding;
pub(crate) mod block;
pub(crate) mod filter;
pub(crate) mod memtable;
pub(crate) mod merge;
mod noted;
pub(crate) mod postings;
pub(crate) mod run;
pub(crate) mod run_writer;
mod singles;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::error::Result;
use crate::key::{Key, Kind};
use memtable::{Before, Memtable};
use run::{Found, Run};

/// So many runs are asked for what they have of a sequence before the first of them is waited for.
const RUNS_ASKED: usize = 8;

/// The index as it is at one moment; the tables are in the order of the log.
#[derive(Clone, Debug)]
pub(crate) struct Tables {
    pub(crate) runs: Vec<Arc<Run>>,
    /// Full, and on their way to becoming runs.
    pub(crate) frozen: Vec<Arc<Memtable>>,
    pub(crate) active: Arc<Memtable>,
}

/// Which of some keys were found in the part of the index that no longer changes.
#[derive(Clone, Debug, Default)]
pub struct Looked {
    /// Their places among the keys.
    known: Vec<usize>,
    /// Entries up to this position were looked at.
    up_to: u64,
}

/// One part of the index.
#[derive(Clone, Copy, Debug)]
enum Table<'t> {
    Run(&'t Run),
    Memory(&'t Memtable),
}

impl Table<'_> {
    fn find(self, key: Key, up_to: u64) -> Result<Option<Found>> {
        match self {
            Self::Run(run) => run.find(key),
            Self::Memory(table) if up_to == u64::MAX => Ok(table.find(key)),
            // An entry that is being added is under its keys before the table says that it goes further.
            Self::Memory(table) => Ok(table.find_up_to(key, up_to)),
        }
    }

    fn values(self, key: Key, (after, up_to): (u64, u64), lowest: bool, limit: usize) -> Result<Vec<u64>> {
        match self {
            Self::Run(run) => run.values(key, after, up_to, lowest, limit),
            Self::Memory(table) => Ok(table.values(key, after, up_to, lowest, limit)),
        }
    }

    fn values_from_index(self, key: Key, index: u64, limit: usize) -> Result<Vec<u64>> {
        match self {
            Self::Run(run) => run.values_from_index(key, index, limit),
            Self::Memory(table) => Ok(table.values_from_index(key, index, limit)),
        }
    }

    /// The positions after which, and up to which, it goes.
    fn positions(self) -> (u64, u64) {
        match self {
            Self::Run(run) => (run.header.after, run.header.last),
            Self::Memory(table) => (table.after, table.last()),
        }
    }
}

impl Tables {
    /// All tables, the newest first.
    fn newest_first(&self) -> impl Iterator<Item = Table<'_>> {
        let memory = std::iter::once(&self.active).chain(self.frozen.iter().rev()).map(|table| Table::Memory(table));
        memory.chain(self.runs.iter().rev().map(|run| Table::Run(run)))
    }

    fn oldest_first(&self) -> impl Iterator<Item = Table<'_>> {
        let memory = self.frozen.iter().chain(std::iter::once(&self.active)).map(|table| Table::Memory(table));
        self.runs.iter().map(|run| Table::Run(run)).chain(memory)
    }

    /// How many values a sequence's key has, up to a position.
    pub(crate) fn count(&self, key: Key, up_to: u64) -> Result<u64> {
        for table in self.newest_first() {
            if let Some(found) = table.find(key, up_to)? {
                return Ok(found.base + found.count);
            }
        }
        Ok(0)
    }

    /// How many values a sequence's key has, durable or not; for the writer, who soon asks again.
    pub(crate) fn count_all(&self, key: Key) -> Result<u64> {
        match self.active.find(key) {
            Some(found) => Ok(found.base + found.count),
            None => Ok(self.before_active(key)?.count),
        }
    }

    /// What the tables before the active one have of a sequence.
    pub(crate) fn before_active(&self, key: Key) -> Result<Before> {
        self.active.before(key, || {
            let mut before = Before { count: 0, after: self.active.after };
            for table in self.newest_first().skip(1) {
                let Some(found) = table.find(key, u64::MAX)? else { continue };
                before.count = before.count.max(found.base + found.count);
                (before.after, _) = table.positions();
                if found.base == 0 {
                    break;
                }
            }
            Ok(before)
        })
    }

    /// Whether a key has any value, in the tables before the active one.
    pub(crate) fn is_known_before_active(&self, key: Key) -> Result<bool> {
        for table in self.newest_first().skip(1) {
            if table.find(key, u64::MAX)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// How many values a key has in all tables, up to a position; for keys that are not of sequences.
    pub(crate) fn total(&self, key: Key, up_to: u64) -> Result<u64> {
        let mut total = 0;
        for table in self.oldest_first() {
            total += table.find(key, up_to)?.map_or(0, |found| found.count);
        }
        Ok(total)
    }

    /// The positions of `key` after `after` and up to `up_to`: the lowest `limit` if `lowest`, else the highest, rising.
    pub(crate) fn values(&self, key: Key, (after, up_to): (u64, u64), lowest: bool, limit: usize) -> Result<Vec<u64>> {
        let reaches = |table: &Table<'_>| {
            let (from, to) = table.positions();
            to > after && from < up_to
        };
        let mut values: Vec<u64> = Vec::new();
        if lowest {
            for table in self.oldest_first().filter(reaches) {
                values.append(&mut table.values(key, (after, up_to), true, limit - values.len())?);
                if values.len() >= limit {
                    break;
                }
            }
        } else {
            let mut parts = Vec::new();
            let mut have = 0;
            for table in self.newest_first().filter(reaches) {
                let part = table.values(key, (after, up_to), false, limit - have)?;
                have += part.len();
                parts.push(part);
                if have >= limit {
                    break;
                }
            }
            values.extend(parts.into_iter().rev().flatten());
        }
        Ok(values)
    }

    /// All entries of a sequence are at positions after this one.
    fn before_sequence(&self, sequence: Key) -> Result<u64> {
        match self.active.find(sequence) {
            Some(Found { base: 0, .. }) => Ok(self.active.after),
            _ => Ok(self.before_active(sequence)?.after),
        }
    }

    /// Which of these keys have any position, where only entries of that sequence have them. What was `looked` up is not looked up again.
    pub(crate) fn known_within(&self, sequence: Key, keys: &[Key], looked: &Looked) -> Result<Vec<usize>> {
        let after = self.before_sequence(sequence)?.max(looked.up_to);
        let mut known = known_in(self.newest_first(), keys, after)?;
        known.extend_from_slice(&looked.known);
        known.sort_unstable();
        known.dedup();
        Ok(known)
    }

    /// Looks at what adding to these sequences, and asking for these keys of theirs, is about to need. What of it is not in the processor's
    /// caches is fetched for several at a time so, instead of for each when it is waited for.
    pub(crate) fn look_ahead<'k>(&self, parts: impl Iterator<Item = (Key, &'k [Key])> + Clone) {
        let mut asked = Vec::new();
        let in_memory = self.active.glance(parts, |key, after| asked.push((key, after)));
        std::hint::black_box(self.runs.iter().fold(in_memory, |seen, run| seen ^ run.glance(&asked)));
    }

    /// As [`known_within`](Self::known_within), in the tables that no longer change: what any thread can do beforehand.
    pub(crate) fn look_up_within(&self, sequence: Key, keys: &[Key]) -> Result<Looked> {
        let after = self.before_active(sequence)?.after;
        Ok(Looked { known: known_in(self.newest_first().skip(1), keys, after)?, up_to: self.active.after })
    }

    /// All positions of `key`, rising, where only entries of that sequence have it: tables from before its first entry are not asked.
    pub(crate) fn values_within(&self, sequence: Key, key: Key) -> Result<Vec<u64>> {
        let after = self.before_sequence(sequence)?;
        let mut all = Vec::new();
        for table in self.newest_first() {
            // Tables that were merged since that was remembered may begin before it.
            if table.positions().1 <= after {
                break;
            }
            all.append(&mut table.values(key, (0, u64::MAX), true, usize::MAX)?);
        }
        all.sort_unstable();
        Ok(all)
    }

    /// Begins to bring into memory what the newest runs have of a key, those behind the first `skip`; tells whether anything was not asked
    /// for before.
    pub(crate) fn ask_for(&self, key: Key, skip: usize) -> Result<bool> {
        let mut asked = false;
        for run in self.runs.iter().rev().skip(skip).take(RUNS_ASKED) {
            asked |= run.ask_for(key)?;
        }
        Ok(asked)
    }

    /// The positions of a sequence's entries from number `from` to number `to`, rising, of those up to a position.
    pub(crate) fn numbered(&self, key: Key, from: u64, to: u64, up_to: u64) -> Result<Vec<u64>> {
        let mut parts = Vec::new();
        let in_memory = 1 + self.frozen.len();
        for (number, table) in self.newest_first().enumerate() {
            if number >= in_memory && (number - in_memory).is_multiple_of(RUNS_ASKED) {
                self.ask_for(key, number - in_memory)?;
            }
            let Some(found) = table.find(key, up_to)? else { continue };
            let last = to.min(found.base + found.count);
            let first = from.max(found.base + 1);
            if first <= last {
                let limit = usize::try_from(last - first + 1).unwrap_or(usize::MAX);
                parts.push(table.values_from_index(key, first - found.base - 1, limit)?);
            }
            if found.base < from {
                break;
            }
        }
        Ok(parts.into_iter().rev().flatten().collect())
    }

    /// The places of a record up to `up_to`: only the newest counts.
    pub(crate) fn newest_record(&self, key: Key, up_to: u64) -> Result<Option<u64>> {
        for table in self.newest_first() {
            let places = match table {
                Table::Run(run) => run.values(key, 0, u64::MAX, false, 1)?,
                Table::Memory(table) => table.record_places(key, up_to, 1),
            };
            if let Some(place) = places.last() {
                return Ok(Some(*place));
            }
        }
        Ok(None)
    }

    /// Whether there is any record of this kind.
    pub(crate) fn has_records(&self, kind: Kind) -> bool {
        self.runs.iter().any(|run| run.keys(kind) > 0)
            || self.frozen.iter().chain(std::iter::once(&self.active)).any(|table| table.has_records(kind))
    }
}

/// Which of these keys have any position in the tables that go further than `after`, of tables that come the newest first.
fn known_in<'t>(tables: impl Iterator<Item = Table<'t>>, keys: &[Key], after: u64) -> Result<Vec<usize>> {
    let mut known = Vec::new();
    for table in tables.take_while(|table| table.positions().1 > after) {
        match table {
            Table::Run(run) => run.known(keys, |place| known.push(place))?,
            Table::Memory(table) => table.known(keys, |place| known.push(place)),
        }
    }
    Ok(known)
}

#[cfg(test)]
mod races {
    use super::*;
    use crate::error::Error;
    use crate::key::KeyMaker;
    use crate::segment::Location;

    /// The writer adds an entry's keys one after another. A reader that came in between counted an entry that was not yet durable, and
    /// might never be: it took the table's last position for that of everything in it.
    #[test]
    fn an_entry_that_is_being_added_is_not_counted() {
        let key = KeyMaker::new([0; 16]).key(Kind(1), b"a");
        let table = Memtable::new(Location::new(1, 64), 0, 0);
        table.add(key, 1, || Ok::<u64, Error>(0)).expect("nothing fails");
        table.extend(Location::new(1, 128), 1, 0);
        let tables = Tables { runs: Vec::new(), frozen: Vec::new(), active: Arc::new(table) };
        tables.active.add(key, 2, || Ok::<u64, Error>(0)).expect("nothing fails");
        assert_eq!(tables.count(key, 1).expect("nothing fails"), 1);
        assert_eq!(tables.total(key, 1).expect("nothing fails"), 1);
        assert_eq!(tables.numbered(key, 1, 9, 1).expect("nothing fails"), [1]);
        assert_eq!(tables.count(key, u64::MAX).expect("nothing fails"), 2);
    }

    /// Where a sequence begins was remembered, and then tables were merged: the one that held it began before that, and was not asked any
    /// more. Ids in it were not found, and what had them could be recorded twice.
    #[test]
    fn an_id_is_found_after_the_tables_before_were_merged() {
        let keys = KeyMaker::new([0; 16]);
        let (stream, id) = (keys.key(Kind(1), b"a"), keys.short_key(Kind(5), b"a", b"id"));
        let table = |after: u64, last: u64| {
            let table = Memtable::new(Location::new(1, 64 + after * 8), after, 0);
            table.extend(Location::new(1, 64 + last * 8), last, 0);
            table
        };
        let add = |table: &Memtable| {
            table.add(stream, 15, || Ok::<u64, Error>(0)).expect("nothing fails");
            table.add_labels(&[(id, 0)], 15);
        };
        let (older, newer, merged) = (table(0, 10), table(10, 20), table(0, 20));
        add(&newer);
        add(&merged);
        let mut tables = Tables { runs: Vec::new(), frozen: vec![Arc::new(older), Arc::new(newer)], active: Arc::new(table(20, 20)) };
        assert_eq!(tables.values_within(stream, id).expect("nothing fails"), [15]);
        tables.frozen = vec![Arc::new(merged)];
        assert_eq!(tables.values_within(stream, id).expect("nothing fails"), [15]);
    }

    /// A table that comes after a full one need not ask the files for what that one knew: it says the same.
    #[test]
    fn what_a_full_table_knew_of_sequences_is_what_the_tables_say() {
        let keys = KeyMaker::new([0; 16]);
        let key = |number: u8| keys.key(Kind(1), &[number]);
        let table = |after: u64, rows: &[(u8, u64)], tables: &Tables| {
            let table = Memtable::new(Location::new(1, 64 + after * 8), after, 0);
            for (place, (number, base)) in rows.iter().enumerate() {
                let base_of = || Ok::<u64, Error>(tables.before_active(key(*number))?.count);
                let (count, _) = table.add(key(*number), after + 1 + place as u64, base_of).expect("nothing fails");
                assert_eq!(count, base + 1);
            }
            table.extend(Location::new(1, 64 + (after + 10) * 8), after + 10, 0);
            Arc::new(table)
        };
        let fresh = |after: u64| Arc::new(Memtable::new(Location::new(1, 64 + after * 8), after, 0));
        let mut tables = Tables { runs: Vec::new(), frozen: Vec::new(), active: fresh(0) };
        let first = table(0, &[(0, 0), (1, 0), (0, 1)], &tables);
        tables = Tables { frozen: vec![first], active: fresh(10), ..tables };
        let second = table(10, &[(0, 2), (2, 0), (0, 3)], &tables);
        // What it asked for when it was the active one.
        second.before(key(0), || tables.before_active(key(0))).expect("nothing fails");
        let told = fresh(20);
        told.remember_from(&second);
        let unaware = Tables { frozen: vec![Arc::clone(&tables.frozen[0]), Arc::clone(&second)], active: fresh(20), ..tables };
        let aware = Tables { active: told, ..unaware.clone() };
        for number in 0..4 {
            let say = |tables: &Tables| tables.before_active(key(number)).expect("nothing fails");
            assert_eq!(say(&aware), say(&unaware), "{number}");
        }
        let never = || -> Result<Before> { unreachable!("it is remembered") };
        assert_eq!(aware.active.before(key(0), never).expect("nothing fails"), Before { count: 4, after: 0 });
        assert_eq!(aware.active.before(key(2), never).expect("nothing fails"), Before { count: 1, after: 10 });
    }

    /// Whoever appends looks ids up before the writer does. Meanwhile the table that is written to may be exchanged, and tables may be
    /// merged: what was appended since is found all the same.
    #[test]
    fn what_comes_after_a_look_is_found_and_what_was_found_is_not_forgotten() {
        let keys = KeyMaker::new([0; 16]);
        let (stream, id) = (keys.key(Kind(1), b"a"), |number: u8| keys.short_key(Kind(5), b"a", &[number]));
        let ids: Vec<Key> = (0..6).map(id).collect();
        let table = |after: u64, numbers: &[(u8, u64)]| {
            let table = Memtable::new(Location::new(1, 64 + after * 8), after, 0);
            for (number, position) in numbers {
                table.add(stream, *position, || Ok::<u64, Error>(after / 10)).expect("nothing fails");
                table.add_labels(&[(id(*number), 0)], *position);
            }
            table.extend(Location::new(1, 64 + (after + 10) * 8), after + 10, 0);
            Arc::new(table)
        };
        let (first, second, third) = (table(0, &[(0, 5)]), table(10, &[(1, 15), (2, 16)]), table(20, &[(4, 25)]));
        let tables = Tables { runs: Vec::new(), frozen: vec![Arc::clone(&first)], active: Arc::clone(&second) };
        let looked = tables.look_up_within(stream, &ids).expect("nothing fails");
        let nothing = Looked::default();
        for looked in [&nothing, &looked] {
            assert_eq!(tables.known_within(stream, &ids, looked).expect("nothing fails"), [0, 1, 2]);
        }
        let later = Tables { runs: Vec::new(), frozen: vec![first, second], active: Arc::clone(&third) };
        let merged = table(0, &[(0, 5), (1, 15), (2, 16)]);
        merged.extend(Location::new(1, 64 + 20 * 8), 20, 0);
        let merged = Tables { runs: Vec::new(), frozen: vec![merged], active: third };
        for (tables, looked) in [(&later, &nothing), (&later, &looked), (&merged, &nothing), (&merged, &looked)] {
            assert_eq!(tables.known_within(stream, &ids, looked).expect("nothing fails"), [0, 1, 2, 4]);
        }
    }
}
