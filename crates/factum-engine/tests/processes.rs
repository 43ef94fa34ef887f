//! Several threads and several processes with one store.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use factum_engine::{Error, Options};
use support::{STREAM, TYPE, append, follow, open, payloads};

const SMALL: Options = Options { segment_bytes_max: 32 << 10, memtable_bytes_max: 30 << 10, fill_ahead: true, dead_percent_max: 50 };

#[test]
fn many_threads_append_while_others_read() {
    let directory = tempfile::tempdir().expect("a directory");
    let engine = open(directory.path(), SMALL).expect("it opens");
    let (done, acknowledged) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                let (engine, acknowledged) = (&engine, &acknowledged);
                scope.spawn(move || {
                    for index in 0..250 {
                        let payload = format!("s{writer} t{} {index}", index % 3);
                        let value = format!("{writer} {index}");
                        let position = append(engine, &[&payload], &[(&format!("r{writer}"), Some(&value))]).expect("it is recorded");
                        acknowledged.fetch_max(position, Ordering::Relaxed);
                        let snapshot = engine.snapshot();
                        assert!(snapshot.last() >= position, "who was answered sees it");
                        snapshot.entry(position, |entry| assert_eq!(entry.payload, payload.as_bytes())).expect("whole");
                        let key = engine.keys().key(STREAM, format!("s{writer}").as_bytes());
                        assert_eq!(snapshot.count(key).expect("whole"), index + 1);
                        let record = engine.keys().key(support::RECORD, format!("r{writer}").as_bytes());
                        let found = snapshot.record(record, format!("r{writer}").as_bytes(), |record| record.value.map(<[u8]>::to_vec));
                        assert_eq!(found.expect("whole"), Some(Some(value.into_bytes())));
                    }
                })
            })
            .collect();
        for _ in 0..3 {
            let (engine, done, acknowledged) = (&engine, &done, &acknowledged);
            scope.spawn(move || {
                let mut last = 0;
                while !done.load(Ordering::Relaxed) {
                    let at_least = acknowledged.load(Ordering::Relaxed);
                    let snapshot = engine.snapshot();
                    assert!(snapshot.last() >= at_least.max(last), "the end does not go back");
                    last = snapshot.last();
                    assert_eq!(payloads(&snapshot, 0).len() as u64, last, "positions have no gaps");
                    assert_eq!(snapshot.total(engine.keys().key(TYPE, b"any")).expect("whole"), last, "the index shows what the log shows");
                    let counts =
                        (0..8).map(|writer| snapshot.count(engine.keys().key(STREAM, format!("s{writer}").as_bytes())).expect("whole"));
                    assert_eq!(counts.sum::<u64>(), last, "nothing is counted that is not shown");
                }
            });
        }
        for writer in writers {
            writer.join().expect("no writer fails");
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(engine.snapshot().last(), 2_000);
    let own = |writer: usize| (0..250).map(move |index| format!("s{writer} t{} {index}", index % 3)).collect::<Vec<_>>();
    let all = payloads(&engine.snapshot(), 0);
    for writer in 0..8 {
        let of_writer: Vec<_> = all.iter().filter(|payload| payload.starts_with(&format!("s{writer} "))).cloned().collect();
        assert_eq!(of_writer, own(writer), "each thread's appends are in its order");
    }
}

/// A process that opens the store and appends until it is killed, and prints each position that was acknowledged.
fn appending_process(directory: &Path) -> Child {
    let program = std::env::current_exe().expect("it runs");
    let mut command = Command::new(program);
    command.args(["--ignored", "--exact", "appends_until_it_is_killed", "--nocapture", "--quiet"]).env("FACTUM_APPEND_TO", directory);
    command.stdout(Stdio::piped()).spawn().expect("it starts")
}

#[test]
#[ignore = "runs in a process of its own"]
fn appends_until_it_is_killed() {
    let Some(directory) = std::env::var_os("FACTUM_APPEND_TO") else { return };
    let engine = open(Path::new(&directory), SMALL).expect("it opens");
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let engine = &engine;
            scope.spawn(move || {
                for index in 0.. {
                    let payload = format!("s{writer} t {index} {}", "x".repeat(index % 300));
                    let Ok(position) = append(engine, &[&payload], &[]) else { return };
                    let told = writeln!(std::io::stdout().lock(), "acknowledged {position} {payload}");
                    if told.is_err() {
                        return;
                    }
                }
            });
        }
    });
}

/// What a process said until it was killed: positions and payloads.
fn acknowledged(lines: impl Iterator<Item = String>) -> Vec<(u64, String)> {
    let parse = |line: String| {
        let (position, payload) = line.strip_prefix("acknowledged ")?.split_once(' ')?;
        Some((position.parse().ok()?, payload.to_owned()))
    };
    lines.filter_map(parse).collect()
}

#[test]
fn what_a_killed_process_was_told_is_there_and_its_lock_is_not() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut told = Vec::new();
    for round in 0..6 {
        let mut process = appending_process(directory.path());
        let mut lines = BufReader::new(process.stdout.take().expect("it is piped")).lines().map_while(Result::ok);
        let part = acknowledged(lines.by_ref().take(150 + round * 37));
        assert!(!part.is_empty(), "it appends");
        told.extend(part);
        if round == 0 {
            let Err(Error::Locked { holder, .. }) = open(directory.path(), SMALL) else { panic!("it opened beside another process") };
            assert!(holder.contains(&process.id().to_string()), "{holder}");
        }
        process.kill().expect("it runs");
        told.extend(acknowledged(lines));
        process.wait().expect("it was started");
        if round % 2 == 0 {
            let follower = follow(directory.path()).expect("it opens");
            is_there(&told, &payloads(&follower.snapshot().expect("whole"), 0));
        }
        let begun = Instant::now();
        let engine = open(directory.path(), SMALL).expect("the lock went with the process");
        assert!(begun.elapsed() < Duration::from_secs(60), "opening took {:?}", begun.elapsed());
        is_there(&told, &payloads(&engine.snapshot(), 0));
    }
}

fn is_there(told: &[(u64, String)], payloads: &[String]) {
    for (position, payload) in told {
        let at = usize::try_from(*position - 1).expect("it is small");
        // The last line may have been cut off.
        assert!(payloads.get(at).is_some_and(|found| found.starts_with(payload.as_str())), "position {position} was acknowledged");
    }
}

#[test]
fn a_second_process_reads_along_over_new_segments_and_merged_runs() {
    let directory = tempfile::tempdir().expect("a directory");
    drop(open(directory.path(), SMALL).expect("it opens"));
    let mut process = appending_process(directory.path());
    let mut lines = BufReader::new(process.stdout.take().expect("it is piped")).lines().map_while(Result::ok);
    let follower = follow(directory.path()).expect("it opens");
    let (mut told, mut seen) = (Vec::new(), Vec::new());
    for round in 0..25 {
        told.extend(acknowledged(lines.by_ref().take(60)));
        let snapshot = follower.snapshot().expect("whole");
        seen.extend(payloads(&snapshot, seen.len() as u64));
        is_there(&told, &seen);
        assert_eq!(snapshot.total(follower.keys().key(TYPE, b"t")).expect("whole"), seen.len() as u64);
        if round % 5 == 0 {
            let another = follow(directory.path()).expect("it opens");
            let all = payloads(&another.snapshot().expect("whole"), 0);
            assert_eq!(all[..seen.len()], seen);
        }
    }
    process.kill().expect("it runs");
    process.wait().expect("it was started");
    let engine = open(directory.path(), SMALL).expect("it opens");
    assert_eq!(payloads(&engine.snapshot(), 0)[..seen.len()], seen, "what was shown stays");
}

#[test]
fn opening_after_a_clean_stop_is_quick() {
    let directory = tempfile::tempdir().expect("a directory");
    {
        let engine = open(directory.path(), Options::default()).expect("it opens");
        let payload = format!("s t {}", "x".repeat(5_000));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        append(&engine, &[&payload, &payload], &[]).expect("it is recorded");
                    }
                });
            }
        });
    }
    let quickest = (0..3)
        .map(|_| {
            let begun = Instant::now();
            let engine = open(directory.path(), Options::default()).expect("it opens");
            let elapsed = begun.elapsed();
            assert_eq!(engine.snapshot().last(), 8_000);
            elapsed
        })
        .min();
    assert!(quickest < Some(Duration::from_millis(100)), "it took {quickest:?}");
}
