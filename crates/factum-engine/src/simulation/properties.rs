//! What must hold of a log, whatever happened to it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::chance::Chance;
use super::model::{Append, Cuts, Model, Record};
use super::words::{Words, record_key};
use crate::key::KeyMaker;
use crate::read::{Snapshot, Take};
use crate::segment::Scan;
use crate::shared::Indexer;

/// Everything in the log, frame by frame.
pub(crate) fn appends(snapshot: &Snapshot) -> Vec<Append> {
    let mut appends = Vec::new();
    for segment in &snapshot.view.segments {
        let mut scan = Scan::new(segment, segment.first_frame());
        while let Some((_, frame)) = scan.next_whole(segment.end()).expect("the log is whole") {
            let entry = |index| {
                let entry = frame.entry(index).expect("a whole entry");
                (entry.number, entry.payload.to_vec())
            };
            let record = |index| {
                let record = frame.record(index).expect("a whole record");
                Record { name: record.name.to_vec(), version: record.version, value: record.value.map(<[u8]>::to_vec) }
            };
            appends.push(Append {
                id: 0,
                position: frame.header.position,
                time: Some(frame.header.time),
                entries: (0..frame.header.entries).map(entry).collect(),
                records: (0..frame.header.records).map(record).collect(),
            });
        }
    }
    appends
}

/// What was found is what was appended: all that was acknowledged, with the same bytes, numbers, positions and times, and
/// then perhaps some of what was not, whole and in order. Only what is dead may be missing. Times that were not known are from now on.
/// Returns how many of the model's appends are there.
pub(crate) fn agree(model: &mut Model, found: &[Append]) -> usize {
    let cuts = Cuts::of(found.iter().flat_map(|append| &append.records));
    let mut newest: BTreeMap<&[u8], u64> = BTreeMap::new();
    for record in found.iter().flat_map(|append| &append.records) {
        newest.insert(&record.name, record.version);
    }
    let is_dead = |record: &Record| newest.get(&record.name[..]).is_some_and(|newest| *newest > record.version);
    let mut there = 0;
    let mut time = 0;
    for found in found {
        assert!(found.time >= Some(time), "time goes back at position {}", found.position);
        time = found.time.unwrap_or(0);
        loop {
            let expected = model.appends.get_mut(there).unwrap_or_else(|| panic!("{found:?} was never decided"));
            there += 1;
            if is_rest_of(found, expected, &cuts, is_dead) {
                expected.time = found.time;
                break;
            }
            let is_dead = expected.entries.is_empty() && expected.records.iter().all(is_dead);
            assert!(is_dead, "an append is not as it was: {expected:?}, and found was {found:?}");
        }
    }
    assert!(there >= model.acknowledged, "{} appends were acknowledged, and {there} are there", model.acknowledged);
    there
}

/// Whether what was found is an append, of which only what is dead may be missing.
fn is_rest_of(found: &Append, append: &Append, cuts: &Cuts, is_dead: impl Fn(&Record) -> bool) -> bool {
    let entries = |append: &Append| {
        let entries = append.entries.iter().map(|(number, payload)| (*number, cuts.of_interest(*number, payload)));
        entries.collect::<Vec<_>>()
    };
    let mut records = found.records.iter().peekable();
    let all_records = append.records.iter().all(|record| records.next_if(|found| *found == record).is_some() || is_dead(record));
    let is_same_time = append.time.is_none() || append.time == found.time;
    found.position == append.position && is_same_time && entries(found) == entries(append) && all_records && records.next().is_none()
}

/// The model as it was when its last position was this one, as far as entries go.
pub(crate) fn up_to(model: &Model, last: u64) -> Model {
    let mut shown = model.durable();
    while shown.appends.last().is_some_and(|append| append.position + append.entries.len() as u64 > last + 1) {
        shown.appends.pop();
    }
    shown.acknowledged = shown.appends.len();
    shown
}

/// All entries, read in one go.
pub(crate) fn entries_agree(snapshot: &Snapshot, model: &Model) {
    let cuts = model.cuts();
    let expected: Vec<_> =
        model.entries().map(|(position, _, (number, payload))| (position, *number, cuts.of_interest(*number, payload))).collect();
    assert_eq!(snapshot.last(), expected.len() as u64, "positions are contiguous from 1");
    assert_eq!(forward(snapshot, 0, u64::MAX, &cuts), expected);
}

fn forward(snapshot: &Snapshot, after: u64, up_to: u64, cuts: &Cuts) -> Vec<(u64, u64, Vec<u8>)> {
    let mut found = Vec::new();
    let read = snapshot.forward(after, up_to, |entry| {
        found.push((entry.position, entry.number, cuts.of_interest(entry.number, entry.payload)));
        ControlFlow::Continue(())
    });
    read.expect("the log is whole");
    found
}

/// Everything that can be asked of a snapshot is answered as the model says.
pub(crate) fn reads_agree(snapshot: &Snapshot, keys: &KeyMaker, model: &Model, chance: &mut Chance) {
    entries_agree(snapshot, model);
    let cuts = model.cuts();
    let last = snapshot.last();
    let mut all = model
        .entries()
        .map(|(position, append, (number, payload))| (position, *number, cuts.of_interest(*number, payload), append.time))
        .collect::<Vec<_>>();
    let (after, up_to) = (chance.below(last + 2), chance.below(last + 2));
    let in_range = |position: u64| position > after && position <= up_to;
    let part: Vec<_> =
        all.iter().filter(|entry| in_range(entry.0)).map(|(position, number, payload, _)| (*position, *number, payload.clone())).collect();
    assert_eq!(forward(snapshot, after, up_to, &cuts), part);
    let mut backward = Vec::new();
    let read = snapshot.backward(after, up_to, |entry| {
        backward.push((entry.position, entry.number, cuts.of_interest(entry.number, entry.payload)));
        ControlFlow::Continue(())
    });
    read.expect("the log is whole");
    backward.reverse();
    assert_eq!(backward, part);
    for _ in 0..5.min(all.len()) {
        let (position, number, payload, time) = &all[chance.index(all.len())];
        let found = snapshot
            .entry(*position, |entry| (entry.position, entry.number, cuts.of_interest(entry.number, entry.payload), Some(entry.time)));
        let found = found.expect("the log is whole");
        assert_eq!(found, (*position, *number, payload.clone(), time.or(found.3)));
    }
    while all.len() > 8 {
        all.swap_remove(chance.index(all.len()));
    }
    let scattered: Vec<u64> = all.iter().map(|(position, ..)| *position).collect();
    let mut found = Vec::new();
    let read = snapshot.entries(&scattered, |entry| {
        found.push((entry.position, cuts.of_interest(entry.number, entry.payload)));
        ControlFlow::Continue(())
    });
    read.expect("the log is whole");
    assert_eq!(found, all.into_iter().map(|(position, _, payload, _)| (position, payload)).collect::<Vec<_>>());
    index_agrees(snapshot, keys, model, chance);
}

/// The index agrees with the log about every key.
fn index_agrees(snapshot: &Snapshot, keys: &KeyMaker, model: &Model, chance: &mut Chance) {
    let expected = model.expected(keys);
    let last = snapshot.last();
    for (key, positions) in &expected.positions {
        assert_eq!(&snapshot.positions(*key, 0, u64::MAX, Take::Lowest, usize::MAX).expect("whole"), positions, "{key:?}");
        let count = positions.len() as u64;
        if expected.sequences.contains(key) {
            assert_eq!(snapshot.count(*key).expect("whole"), count, "{key:?}");
            let (from, to) = (1 + chance.below(count + 1), chance.below(count + 2));
            let part = positions.get(from as usize - 1..(to.min(count) as usize)).unwrap_or_default();
            assert_eq!(snapshot.numbered(*key, from, to).expect("whole"), part, "numbers {from} to {to} of {key:?}");
        } else {
            assert_eq!(snapshot.total(*key).expect("whole"), count, "{key:?}");
        }
        let (after, up_to, limit) = (chance.below(last + 2), chance.below(last + 2), chance.index(6));
        let part: Vec<u64> = positions.iter().copied().filter(|position| *position > after && *position <= up_to).collect();
        let lowest = snapshot.positions(*key, after, up_to, Take::Lowest, limit).expect("whole");
        assert_eq!(lowest, part[..limit.min(part.len())], "{key:?} from {after} to {up_to}");
        let highest = snapshot.positions(*key, after, up_to, Take::Highest, limit).expect("whole");
        assert_eq!(highest, part[part.len().saturating_sub(limit)..], "{key:?} from {after} to {up_to}");
    }
    let never = Words.terms(keys, b"never never never ! ").expect("five words");
    for key in [never.sequence, never.labels[0], never.labels[1]] {
        assert_eq!(snapshot.count(key).expect("whole"), 0);
        assert_eq!(snapshot.positions(key, 0, u64::MAX, Take::Highest, 9).expect("whole"), [0; 0]);
    }
    let names = expected.records.keys().cloned().chain([b"never".to_vec(), b"one".to_vec()]);
    for name in names {
        let found = snapshot.record(record_key(keys, &name), &name, |record| Record {
            name: record.name.to_vec(),
            version: record.version,
            value: record.value.map(<[u8]>::to_vec),
        });
        assert_eq!(found.expect("whole").as_ref(), expected.records.get(&name), "the newest value of the record {name:?}");
    }
}
