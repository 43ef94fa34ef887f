//! The index's files and tables against the shortest thing that does the same.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use proptest::prelude::*;

use super::block::INLINE_BYTES_MAX;
use super::filter::{self, FILTER_BLOCK_BYTES};
use super::memtable::Memtable;
use super::merge::{self, FAN_IN};
use super::run::{Found, Run, RunHeader};
use super::run_writer::RunWriter;
use crate::disk::{Disk, RealDisk};
use crate::key::{Key, KeyMaker, Kind};
use crate::segment::Location;

/// What a run should hold: of each key how many values it had before, and its values.
type Lists = BTreeMap<Key, (u64, Vec<u64>)>;

const POSITIONS: u64 = 20_000;

fn keys() -> KeyMaker {
    KeyMaker::new([3; 16])
}

fn header(after: u64, last: u64) -> RunHeader {
    RunHeader {
        store: [3; 16],
        from: Location::new(1, 64 + after * 8),
        to: Location::new(1, 64 + last * 8),
        after,
        last,
        last_time: last,
        root: 0,
        levels: 0,
        inner_from: 0,
        filter_at: 0,
        bytes: 0,
        sections: Vec::new(),
    }
}

fn write(disk: &dyn Disk, directory: &Path, header: RunHeader, lists: &Lists) -> Run {
    let path = merge::run_path(directory, header.from, header.to);
    let mut writer = RunWriter::new(disk, &path, header).expect("there is room");
    for (key, (base, values)) in lists {
        writer.begin(*key, *base).expect("there is room");
        values.iter().for_each(|value| writer.value(*value).expect("there is room"));
    }
    Run::open(disk, &writer.finish().expect("there is room")).expect("it was just written")
}

fn agrees(run: &Run, lists: &Lists) {
    run.check().expect("whole");
    let mut all = Lists::new();
    run.for_each(|key, found, cursor| {
        let mut values = Vec::new();
        cursor.each_value(|value| {
            values.push(value);
            Ok(())
        })?;
        assert_eq!(found.count, values.len() as u64);
        all.insert(key, (found.base, values));
        Ok(())
    })
    .expect("whole");
    assert_eq!(&all, lists);
    for (key, (base, values)) in lists {
        let count = values.len() as u64;
        assert_eq!(run.find(*key).expect("whole"), Some(Found { base: *base, count }));
        let (low, high) = (values[values.len() / 3], values[values.len() * 2 / 3]);
        let part: Vec<u64> = values.iter().copied().filter(|value| *value > low && *value <= high).collect();
        for limit in [0, 1, 7, usize::MAX] {
            let lowest = &part[..limit.min(part.len())];
            assert_eq!(run.values(*key, low, high, true, limit).expect("whole"), lowest);
            let highest = &part[part.len().saturating_sub(limit)..];
            assert_eq!(run.values(*key, low, high, false, limit).expect("whole"), highest);
            for index in [0, count / 2, count - 1, count, count + 1] {
                let from = values.iter().copied().skip(usize::try_from(index).expect("small")).take(limit).collect::<Vec<_>>();
                assert_eq!(run.values_from_index(*key, index, limit).expect("whole"), from, "{limit} from {index}");
            }
        }
    }
    for number in 0..200u32 {
        let key = keys().key(Kind(9), &number.to_le_bytes());
        assert_eq!(run.find(key).expect("whole"), None, "a key that was never added");
    }
}

/// Lists of all kinds: short and full keys, one value and many, dense ones too long to stand beside their key, places of records.
fn lists(from: u64, to: u64) -> impl Strategy<Value = Lists> {
    let key = (0..7u8, 0..60u16).prop_map(|(kind, name)| match kind {
        0 => keys().key(Kind(0x80), &name.to_le_bytes()),
        1 => keys().key(Kind(0x81), &name.to_le_bytes()),
        2 | 3 => keys().short_key(Kind(2), b"scope", &name.to_le_bytes()),
        kind => keys().key(Kind(kind), &name.to_le_bytes()),
    });
    let values = prop_oneof![
        4 => proptest::collection::btree_set(from + 1..=to, 1..5),
        2 => proptest::collection::btree_set(from + 1..=to, 1..300),
        1 => (from + 1..to, 1..3u64).prop_map(move |(start, step)| (start..=to).step_by(step as usize).collect()),
    ];
    proptest::collection::btree_map(key, (0..3u64, values), 0..120).prop_map(move |lists| {
        let list = |(key, (base, values)): (Key, (u64, std::collections::BTreeSet<u64>))| {
            let places = || values.last().map(|last| Location::new(1, 64 + last * 8).0).into_iter().collect();
            (key, if key.kind().is_record() { (0, places()) } else { (base, values.into_iter().collect()) })
        };
        lists.into_iter().map(list).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_run_is_read_as_it_was_written(lists in lists(0, POSITIONS)) {
        let directory = tempfile::tempdir().expect("a directory");
        agrees(&write(&RealDisk, directory.path(), header(0, POSITIONS), &lists), &lists);
    }

    #[test]
    fn a_merged_run_is_its_parts_one_after_another(
        first in lists(0, 5_000), second in lists(5_000, 5_100), third in lists(5_100, POSITIONS),
    ) {
        let directory = tempfile::tempdir().expect("a directory");
        let mut merged = Lists::new();
        let mut runs = Vec::new();
        for (mut lists, (after, last)) in [first, second, third].into_iter().zip([(0, 5_000), (5_000, 5_100), (5_100, POSITIONS)]) {
            for (key, (base, values)) in &mut lists {
                if let Some((before, earlier)) = merged.get(key) {
                    *base = before + earlier.len() as u64;
                }
                let (_, all) = merged.entry(*key).or_insert((*base, Vec::new()));
                if key.kind().is_record() {
                    *base = 0;
                    all.clear();
                }
                all.extend_from_slice(values);
            }
            runs.push(Arc::new(write(&RealDisk, directory.path(), header(after, last), &lists)));
        }
        let run = merge::merge(&RealDisk, directory.path(), &runs, &AtomicBool::new(false)).expect("there is room").expect("nobody stops it");
        prop_assert_eq!((run.header.after, run.header.last, run.header.last_time), (0, POSITIONS, POSITIONS));
        agrees(&run, &merged);
    }

    #[test]
    fn what_is_taken_back_was_never_there(
        kept in proptest::collection::vec((0..20u8, any::<bool>()), 0..60), taken in proptest::collection::vec((0..30u8, any::<bool>()), 0..60),
    ) {
        let place = |position: u64| Location::new(1, 64 + position * 8);
        let fill = |table: &Memtable, appends: &[(u8, bool)], from: u64| {
            for ((name, is_record), position) in appends.iter().zip(from..) {
                if *is_record {
                    table.add_record(keys().key(Kind(0x80), &[*name]), place(position));
                } else {
                    table.add(keys().key(Kind(1), &[*name]), position, || Ok::<u64, Infallible>(0)).expect("nothing fails");
                    table.add_all(keys().key(Kind(2), b"all"), &[position]);
                }
                table.extend(place(position + 1), position, position);
            }
        };
        let (expected, table) = (Memtable::new(place(1), 0, 0), Memtable::new(place(1), 0, 0));
        fill(&expected, &kept, 1);
        fill(&table, &kept, 1);
        let last = kept.len() as u64;
        fill(&table, &taken, last + 1);
        table.take_back(last, place(last + 1), last);
        let content = |table: &Memtable| {
            let mut content = Vec::new();
            let all = table.for_each_sorted(|key, base, values| {
                content.push((key, base, values.to_vec()));
                Ok::<(), Infallible>(())
            });
            all.expect("nothing fails");
            (content, table.to(), table.last(), table.last_time(), table.has_records(Kind(0x80)))
        };
        prop_assert_eq!(content(&table), content(&expected));
    }
}

#[test]
fn a_long_list_has_blocks_of_its_own() {
    let directory = tempfile::tempdir().expect("a directory");
    for count in [INLINE_BYTES_MAX as u64 - 1, INLINE_BYTES_MAX as u64, INLINE_BYTES_MAX as u64 + 1, 4_000, 4_076, 4_077, 12_229, POSITIONS]
    {
        let dense = (keys().key(Kind(4), b"dense"), (2, (1..=count).collect()));
        let beside = (keys().key(Kind(4), b"beside"), (0, vec![count]));
        let lists = Lists::from([dense, beside]);
        agrees(&write(&RealDisk, directory.path(), header(0, POSITIONS), &lists), &lists);
    }
}

#[test]
fn many_keys_make_a_tree_of_several_levels() {
    let directory = tempfile::tempdir().expect("a directory");
    let lists: Lists =
        (0..50_000u32).map(|number| (keys().key(Kind(1), &number.to_le_bytes()), (0, vec![u64::from(number % 1_000) + 1]))).collect();
    let run = write(&RealDisk, directory.path(), header(0, POSITIONS), &lists);
    assert!(run.header.levels > 1, "{:?}", run.header);
    run.check().expect("whole");
    for (key, (base, values)) in &lists {
        assert_eq!(run.find(*key).expect("whole"), Some(Found { base: *base, count: 1 }));
        assert_eq!(&run.values(*key, 0, u64::MAX, true, 9).expect("whole"), values);
    }
}

#[test]
fn a_run_without_keys_finds_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    agrees(&write(&RealDisk, directory.path(), header(0, 1), &Lists::new()), &Lists::new());
}

#[test]
fn a_filter_is_rarely_wrong() {
    for keys_in in [10u32, 48, 500, 20_000] {
        let mut sorted: Vec<Key> = (0..keys_in).map(|number| keys().key(Kind(1), &number.to_le_bytes())).collect();
        sorted.sort_unstable();
        let section = filter::lay_out(&[(Kind(1), keys_in.into())])[0];
        let mut blocks = vec![[0; FILTER_BLOCK_BYTES]; usize::try_from(section.blocks).expect("few")];
        let block_of = |key: Key| usize::try_from(section.block_of(key)).expect("few");
        sorted.iter().for_each(|key| filter::set(&mut blocks[block_of(*key)], *key));
        (0..).zip(&mut blocks).for_each(|(number, block)| filter::seal(block, number));
        let may_have = |key: Key| filter::may_have(&blocks[block_of(key)], key);
        assert!(sorted.iter().all(|key| may_have(*key)), "a key that is there is never denied");
        let wrong = (0..20_000u32).filter(|number| may_have(keys().key(Kind(1), &(number + keys_in).to_le_bytes()))).count();
        assert!(wrong < 600, "{wrong} of 20,000 with {keys_in} keys");
    }
}

#[test]
fn there_are_never_many_runs() {
    let directory = tempfile::tempdir().expect("a directory");
    let stop = AtomicBool::new(false);
    let mut runs: Vec<Arc<Run>> = Vec::new();
    for number in 0..300 {
        let (after, last) = (number * 10, number * 10 + 10);
        let lists = Lists::from([(keys().key(Kind(1), b"a"), (after, (after + 1..=last).collect()))]);
        runs.push(Arc::new(write(&RealDisk, directory.path(), header(after, last), &lists)));
        while let Some(range) = merge::choose(&runs) {
            let merged =
                merge::merge(&RealDisk, directory.path(), &runs[range.clone()], &stop).expect("there is room").expect("nobody stops it");
            runs.splice(range, [Arc::new(merged)]);
        }
        assert!(runs.len() < FAN_IN * 3, "{} runs after {number}", runs.len());
        assert!(runs.windows(2).all(|pair| pair[0].header.to == pair[1].header.from), "together they cover the log");
    }
}
