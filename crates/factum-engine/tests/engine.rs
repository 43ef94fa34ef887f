//! The engine on real files.

mod support;

use std::sync::Arc;

use factum_engine::disk::{Disk, RealDisk};
use factum_engine::{Decision, Engine, Error, Failure, Indexer, Key, KeyMaker, Options, Pending, Proposal, Take, Terms, verify};
use support::{ALL_STREAMS, ALL_TYPES, RECORD, STREAM, TYPE, Words, append, append_by, follow, open, payloads};

fn small() -> Options {
    Options { segment_bytes_max: 16 << 10, memtable_bytes_max: 20 << 10, fill_ahead: true, dead_percent_max: 50 }
}

#[test]
fn what_was_appended_is_there_after_opening_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut expected = Vec::new();
    for round in 0..4 {
        let engine = open(directory.path(), small()).expect("it opens");
        assert_eq!(payloads(&engine.snapshot(), 0), expected);
        for index in 0..300 {
            let (stream, event_type) = (index % 7, index % 3);
            let payload = format!("s{stream} t{event_type} round {round} number {index}");
            let record = format!("value {round} {index}");
            append(&engine, &[&payload, &payload], &[("last", Some(&record))]).expect("it is recorded");
            expected.extend([payload.clone(), payload]);
        }
        let snapshot = engine.snapshot();
        assert_eq!(snapshot.last(), expected.len() as u64);
        assert_eq!(payloads(&snapshot, 0), expected);
        let of_stream = snapshot.count(engine.keys().key(STREAM, b"s3")).expect("whole");
        assert_eq!(of_stream, expected.iter().filter(|payload| payload.starts_with("s3 ")).count() as u64);
        let numbered = snapshot.numbered(engine.keys().key(STREAM, b"s3"), 5, 8).expect("whole");
        let mut numbers = Vec::new();
        snapshot
            .entries(&numbered, |entry| {
                numbers.push(entry.number);
                std::ops::ControlFlow::Continue(())
            })
            .expect("whole");
        assert_eq!(numbers, [5, 6, 7, 8]);
        let types = snapshot.positions(engine.keys().key(ALL_TYPES, b""), 0, u64::MAX, Take::Lowest, 100).expect("whole");
        assert_eq!(types, [1, 3, 5]);
        let streams = snapshot.positions(engine.keys().key(ALL_STREAMS, b""), 0, u64::MAX, Take::Highest, 2).expect("whole");
        assert_eq!(streams, [11, 13]);
        let of_type = snapshot.positions(engine.keys().key(TYPE, b"t1"), 3, 1000, Take::Lowest, 3).expect("whole");
        assert_eq!(of_type, [4, 9, 10]);
        let record = snapshot.record(engine.keys().key(RECORD, b"last"), b"last", |record| record.value.map(<[u8]>::to_vec));
        assert_eq!(record.expect("whole"), Some(Some(format!("value {round} 299").into_bytes())));
        let mut backward = Vec::new();
        snapshot
            .backward(10, 500, |entry| {
                backward.push(entry.position);
                std::ops::ControlFlow::Continue(())
            })
            .expect("whole");
        assert_eq!(backward, (11..=500).rev().collect::<Vec<_>>());
        engine.close();
    }
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let indexer: Arc<dyn Indexer> = Arc::new(Words);
    let report = verify(&disk, directory.path(), &indexer, &mut |_, _| {}).expect("there is a log");
    assert_eq!(report.problems, []);
    assert_eq!(report.entries, expected.len() as u64);
    assert!(report.segments > 5, "{report:?}");
    std::fs::remove_dir_all(directory.path().join("index")).expect("there is an index");
    let engine = open(directory.path(), small()).expect("it opens");
    assert_eq!(payloads(&engine.snapshot(), 1000), expected[1000..]);
    assert_eq!(engine.snapshot().count(engine.keys().key(STREAM, b"s3")).expect("whole"), 4 * 2 * 43);
}

#[test]
fn a_second_writer_is_told_who_has_it_and_a_reader_reads_along() {
    let directory = tempfile::tempdir().expect("a directory");
    let engine = open(directory.path(), small()).expect("it opens");
    let Err(Error::Locked { holder, .. }) = open(directory.path(), small()) else { panic!("it opened twice") };
    assert!(holder.contains(&format!("process {}", std::process::id())), "{holder}");
    append(&engine, &["a t 0"], &[]).expect("it is recorded");
    let follower = follow(directory.path()).expect("it opens");
    for index in 1..2_000 {
        append(&engine, &[&format!("a t {index}")], &[]).expect("it is recorded");
        if index % 97 == 0 {
            assert_eq!(follower.snapshot().expect("whole").last(), index + 1);
        }
    }
    assert_eq!(payloads(&follower.snapshot().expect("whole"), 0), payloads(&engine.snapshot(), 0));
}

#[test]
fn callers_who_write_themselves_and_the_writer_take_turns() {
    let directory = tempfile::tempdir().expect("a directory");
    let engine = open(directory.path(), small()).expect("it opens");
    let (threads, each) = (6, 150);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let engine = &engine;
            scope.spawn(move || {
                let mut last = 0;
                for number in 0..each {
                    let propose = if (thread + number) % 3 == 0 { Engine::propose } else { Engine::propose_here };
                    let payload = format!("s{thread} t {number}");
                    let position = append_by(engine, propose, &[&payload, &payload], &[]).expect("it is recorded");
                    assert!(position > last && engine.snapshot().last() > position, "it is there when it is answered");
                    last = position;
                }
            });
        }
    });
    // Alone, with a writer that sleeps most of the time.
    for number in 0..each {
        append_by(&engine, Engine::propose_here, &[&format!("alone t {number}")], &[]).expect("it is recorded");
    }
    engine.close();
    let refused = append_by(&engine, Engine::propose_here, &["alone t 0"], &[]);
    assert!(matches!(refused, Err(Failure::NotRecorded(Error::Closed))), "{refused:?}");
    drop(engine);
    let all = payloads(&open(directory.path(), small()).expect("it opens").snapshot(), 0);
    let of = |stream: &str| all.iter().filter(|payload| payload.split(' ').next() == Some(stream)).cloned().collect::<Vec<_>>();
    for thread in 0..threads {
        let twice = |number| std::iter::repeat_n(format!("s{thread} t {number}"), 2);
        assert_eq!(of(&format!("s{thread}")), (0..each).flat_map(twice).collect::<Vec<_>>());
    }
    assert_eq!(of("alone"), (0..each).map(|number| format!("alone t {number}")).collect::<Vec<_>>());
}

/// A proposal with a bug ended the writer's thread: whoever came later waited for ever, and so did closing.
#[test]
fn when_the_writer_is_gone_nobody_waits_for_it() {
    struct Bug;
    impl Proposal for Bug {
        fn decide(&mut self, _log: &Pending<'_>) -> Decision {
            panic!("a bug, on purpose");
        }

        fn settle(self: Box<Self>, _outcome: Result<(), Failure>) {}
    }
    for propose in [Engine::propose, Engine::propose_here] {
        let directory = tempfile::tempdir().expect("a directory");
        let engine = open(directory.path(), small()).expect("it opens");
        append(&engine, &["a t 1"], &[]).expect("it is recorded");
        propose(&engine, Box::new(Bug));
        let refused = std::iter::repeat_with(|| append_by(&engine, propose, &["a t 2"], &[])).find(Result::is_err);
        assert!(matches!(refused, Some(Err(Failure::NotRecorded(Error::Closed)))), "{refused:?}");
        assert_eq!(payloads(&engine.snapshot(), 0)[0], "a t 1", "reading goes on");
        engine.close();
        drop(engine);
        assert_eq!(payloads(&open(directory.path(), small()).expect("it opens").snapshot(), 0)[0], "a t 1");
    }
}

/// The index could not be written; the writer waited for that to end, and closing waited for the writer, for ever.
#[test]
fn a_store_that_cannot_write_its_index_refuses_appends_and_still_closes() {
    let directory = tempfile::tempdir().expect("a directory");
    let engine = open(directory.path(), small()).expect("it opens");
    std::fs::remove_dir_all(directory.path().join("index")).expect("it can be removed");
    std::fs::write(directory.path().join("index"), "in the way").expect("it can be written");
    let mut recorded = Vec::new();
    let failure = loop {
        let payload = format!("s{} t x", recorded.len());
        match append(&engine, &[&payload], &[]) {
            Ok(_) => recorded.push(payload),
            Err(failure) => break failure,
        }
        assert!(recorded.len() < 100_000, "the index takes more and more memory");
    };
    assert!(matches!(failure, Failure::NotRecorded(Error::Io { .. })), "{failure:?}");
    assert_eq!(payloads(&engine.snapshot(), 0), recorded, "reading goes on");
    std::fs::remove_file(directory.path().join("index")).expect("it can be removed");
    std::fs::create_dir(directory.path().join("index")).expect("it can be made");
    let again = std::iter::repeat_with(|| append(&engine, &["s t y"], &[])).find(Result::is_ok);
    assert!(again.is_some(), "it works again once it can");
    // A run may be written there just now.
    while std::fs::remove_dir_all(directory.path().join("index")).is_err() {
        std::thread::yield_now();
    }
    engine.close();
    drop(engine);
    assert_eq!(payloads(&open(directory.path(), small()).expect("it opens").snapshot(), 0)[..recorded.len()], recorded);
}

/// Another idea of keys than the log's index was made with: to whoever has it, that index is wrong.
struct Otherwise {
    terms: bool,
}

impl Indexer for Otherwise {
    fn terms(&self, keys: &KeyMaker, payload: &[u8]) -> Option<Terms> {
        let terms = Words.terms(keys, payload)?;
        Some(if self.terms { Terms { sequence: keys.key(STREAM, b"another"), ..terms } } else { terms })
    }

    fn record_key(&self, keys: &KeyMaker, name: &[u8]) -> Option<Key> {
        Words.record_key(keys, if self.terms { name } else { b"another" })
    }
}

#[test]
fn an_index_that_does_not_agree_with_the_log_is_noticed() {
    let directory = tempfile::tempdir().expect("a directory");
    let engine = open(directory.path(), small()).expect("it opens");
    for index in 0..50 {
        append(&engine, &[&format!("s t {index}")], &[("last", Some("value")), ("other", Some("value"))]).expect("it is recorded");
    }
    engine.close();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    for (terms, about) in [(true, "about position"), (false, "about record \"last\"")] {
        let indexer: Arc<dyn Indexer> = Arc::new(Otherwise { terms });
        let report = verify(&disk, directory.path(), &indexer, &mut |_, _| {}).expect("there is a log");
        assert!(report.problems.iter().any(|problem| problem.what.contains(about)), "{report:?}");
    }
}
