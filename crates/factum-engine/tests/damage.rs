//! Damaged files: whatever happens to a store's bytes, it is reported or healed, and never read as something else.

mod support;

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use factum_engine::disk::{Disk, RealDisk};
use factum_engine::{Engine, Error, Indexer, Options, Report, Salvaged, Snapshot, Take, salvage, verify};
use support::{ALL_STREAMS, RECORD, STREAM, TYPE, Words, append, follow, open};
use tempfile::TempDir;

const OPTIONS: Options = Options { segment_bytes_max: 64 << 10, memtable_bytes_max: 30 << 10, fill_ahead: false, dead_percent_max: 50 };

/// What is done to a file.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Flip { bit: usize },
    Zero { from: usize, bytes: usize },
    Truncate { bytes: usize },
    Remove,
}

impl Damage {
    /// False if it makes no difference.
    fn apply(self, file: &Path) -> bool {
        let before = fs::read(file).expect("it is there");
        let mut bytes = before.clone();
        match self {
            Self::Flip { bit } => bytes[bit / 8] ^= 1 << (bit % 8),
            Self::Zero { from, bytes: count } => {
                let end = bytes.len().min(from + count);
                bytes[from..end].fill(0);
            }
            Self::Truncate { bytes: count } => bytes.truncate(count),
            Self::Remove => {
                fs::remove_file(file).expect("it can be removed");
                return true;
            }
        }
        fs::write(file, &bytes).expect("it can be written");
        bytes != before
    }

    /// The first byte it touches.
    fn offset(self) -> u64 {
        match self {
            Self::Flip { bit } => bit as u64 / 8,
            Self::Zero { from, .. } => from as u64,
            Self::Truncate { bytes } => bytes as u64,
            Self::Remove => 0,
        }
    }
}

/// A store that was closed, and what is in it.
struct Sample {
    directory: TempDir,
    payloads: Vec<Vec<u8>>,
    /// Its files, relative to it.
    files: Vec<PathBuf>,
}

impl Sample {
    fn new() -> Self {
        Self::of(|_| {})
    }

    /// A store whose complete files were compacted.
    fn compacted() -> Self {
        Self::of(|engine| {
            let compacted = engine.compact(0, &mut |_, _| {}).expect("nothing is damaged");
            assert!(compacted.compacted > 1, "{compacted:?}");
        })
    }

    fn of(last: impl FnOnce(&Engine)) -> Self {
        let directory = folder();
        let mut all = Vec::new();
        {
            let engine = open(directory.path(), OPTIONS).expect("it opens");
            for index in 0..500 {
                let payloads: Vec<String> =
                    (0..4).map(|part| format!("s{} t{} {index}.{part} {}", index % 97, index % 5, "x".repeat(index % 60))).collect();
                let value = format!("value {index}");
                let records = [("checkpoint", Some(&*value)), (if index % 2 == 0 { "even" } else { "odd" }, Some(&*value))];
                append(&engine, &payloads.iter().map(String::as_str).collect::<Vec<_>>(), &records[..index % 3]).expect("it is recorded");
                all.extend(payloads.into_iter().map(String::into_bytes));
            }
            last(&engine);
        }
        let mut files = Vec::new();
        for part in ["log", "index", ""] {
            for entry in fs::read_dir(directory.path().join(part)).expect("it is there") {
                let path = entry.expect("it is there").path();
                if path.is_file() && !path.ends_with("lock") {
                    files.push(path.strip_prefix(directory.path()).expect("it is inside").to_owned());
                }
            }
        }
        files.sort();
        Self { directory, payloads: all, files }
    }

    fn files(&self, extension: &str) -> Vec<PathBuf> {
        let files: Vec<PathBuf> = self.files.iter().filter(|file| file.extension().is_some_and(|has| has == extension)).cloned().collect();
        assert!(files.len() > 1, "{extension}: {files:?}");
        files
    }

    fn bytes(&self, file: &Path) -> usize {
        usize::try_from(fs::metadata(self.directory.path().join(file)).expect("it is there").len()).expect("it is short")
    }

    /// A copy of the store with this done to it; `None` if that makes no difference.
    fn damaged(&self, file: &Path, damage: Damage) -> Option<TempDir> {
        let copy = folder();
        for part in ["log", "index"] {
            fs::create_dir(copy.path().join(part)).expect("it can be made");
        }
        for file in &self.files {
            fs::copy(self.directory.path().join(file), copy.path().join(file)).expect("it can be copied");
        }
        damage.apply(&copy.path().join(file)).then_some(copy)
    }

    /// Reads everything in every way. What can be read is right; `Err` is what can't.
    fn read(&self, snapshot: &Snapshot, keys: &factum_engine::KeyMaker) -> Vec<Error> {
        let mut errors = Vec::new();
        let last = self.payloads.len() as u64;
        assert_eq!(snapshot.last(), last, "the end of the log is known");
        let expected = |position: u64| &self.payloads[usize::try_from(position - 1).expect("it is small")][..];
        let mut next = 1;
        let read = snapshot.forward(0, u64::MAX, |entry| {
            assert_eq!((entry.position, entry.payload), (next, expected(next)));
            next += 1;
            ControlFlow::Continue(())
        });
        assert!(read.is_err() || next == last + 1, "reading ended in silence before position {next}");
        errors.extend(read.err());
        next = last;
        let read = snapshot.backward(0, u64::MAX, |entry| {
            assert_eq!((entry.position, entry.payload), (next, expected(next)));
            next -= 1;
            ControlFlow::Continue(())
        });
        assert!(read.is_err() || next == 0, "reading ended in silence behind position {next}");
        errors.extend(read.err());
        for position in (1..=last).step_by(3) {
            let read = snapshot.entry(position, |entry| assert_eq!((entry.position, entry.payload), (position, expected(position))));
            errors.extend(read.err());
        }
        for stream in 0..97 {
            let name = format!("s{stream}");
            let of_stream = |payload: &[u8]| payload.starts_with(format!("{name} ").as_bytes());
            let positions: Vec<u64> = (1..=last).filter(|position| of_stream(expected(*position))).collect();
            let key = keys.key(STREAM, name.as_bytes());
            check(snapshot.count(key), &(positions.len() as u64), &mut errors);
            check(snapshot.numbered(key, 3, 7), &positions[2..7].to_vec(), &mut errors);
            check(snapshot.positions(key, 0, u64::MAX, Take::Lowest, usize::MAX), &positions, &mut errors);
        }
        check(snapshot.total(keys.key(TYPE, b"any")), &last, &mut errors);
        check(snapshot.positions(keys.key(TYPE, b"any"), 7, 1_990, Take::Highest, 1_790), &(201..=1_990).collect(), &mut errors);
        check(snapshot.total(keys.key(ALL_STREAMS, b"")), &97, &mut errors);
        check(snapshot.count(keys.key(STREAM, b"never")), &0, &mut errors);
        let newest = [("checkpoint", 499), ("even", 494), ("odd", 497)];
        for (name, index) in newest {
            let value = snapshot.record(keys.key(RECORD, name.as_bytes()), name.as_bytes(), |record| record.value.map(<[u8]>::to_vec));
            check(value, &Some(Some(format!("value {index}").into_bytes())), &mut errors);
        }
        errors
    }

    /// Opens the store in all ways and reads it.
    fn examine(&self, directory: &Path) -> Findings {
        let report = verified(directory);
        let follower = follow(directory);
        let reading_along = match &follower {
            Ok(follower) => follower.snapshot().map_or_else(|error| vec![error], |snapshot| self.read(&snapshot, &follower.keys())),
            Err(_) => Vec::new(),
        };
        let reading_along = follower.err().into_iter().chain(reading_along).collect();
        let salvaged_to = folder();
        let salvaged = salvage(&disk(), directory, salvaged_to.path(), &indexer(), &mut |_, _| {});
        let salvaged = salvaged.map(|salvaged| (salvaged, self.salvaged(salvaged_to.path())));
        let writing = match open(directory, OPTIONS) {
            Ok(engine) => self.read(&engine.snapshot(), engine.keys()),
            Err(error) => vec![error],
        };
        Findings { report, reading_along, writing, salvaged }
    }

    /// The entries of a store that was salvaged are some of the sample's, in their order. Returns how many there are.
    fn salvaged(&self, directory: &Path) -> usize {
        let Ok(follower) = follow(directory) else { return 0 };
        let salvaged = support::payloads(&follower.snapshot().expect("it is whole"), 0);
        let mut originals = self.payloads.iter();
        for payload in &salvaged {
            assert!(originals.any(|original| original == payload.as_bytes()), "{payload} was never appended, or not there");
        }
        assert_eq!(verified(directory).map(|report| report.problems).expect("there is a store"), []);
        salvaged.len()
    }
}

/// A temporary folder; in memory where that can be, because nothing here depends on a disk and everything is copied a thousand times.
fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory")
}

/// What was found out about a damaged store.
struct Findings {
    report: Result<Report, Error>,
    reading_along: Vec<Error>,
    writing: Vec<Error>,
    salvaged: Result<(Salvaged, usize), Error>,
}

fn check<T: PartialEq + std::fmt::Debug>(found: Result<T, Error>, expected: &T, errors: &mut Vec<Error>) {
    match found {
        Ok(found) => assert_eq!(&found, expected),
        Err(error) => errors.push(error),
    }
}

fn disk() -> Arc<dyn Disk> {
    Arc::new(RealDisk)
}

fn indexer() -> Arc<dyn Indexer> {
    Arc::new(Words)
}

fn verified(directory: &Path) -> Result<Report, Error> {
    verify(&disk(), directory, &indexer(), &mut |_, _| {})
}

/// Some of everything that can be done to a file of this size, most of it at places that matter.
fn damages(bytes: usize, places: &[usize]) -> Vec<Damage> {
    let mut damages = vec![Damage::Truncate { bytes: 0 }, Damage::Truncate { bytes: bytes - 1 }, Damage::Truncate { bytes: bytes / 2 }];
    let scattered = (0..12).map(|part| part * bytes / 12 + part);
    for (index, at) in places.iter().copied().chain(scattered).filter(|at| *at < bytes).enumerate() {
        damages.push(Damage::Flip { bit: at * 8 + index % 8 });
        if index % 3 == 0 {
            damages.push(Damage::Zero { from: at, bytes: [1, 8, 64, 600, 5_000][index / 3 % 5] });
            damages.push(Damage::Truncate { bytes: at });
        }
    }
    damages.push(Damage::Zero { from: 0, bytes });
    damages.push(Damage::Flip { bit: bytes * 8 - 1 });
    damages
}

/// Each field of a segment's header and of its first frame, and the last frame's end.
const PLACES_IN_SEGMENT: [usize; 24] =
    [0, 9, 13, 20, 33, 37, 41, 49, 56, 64, 68, 73, 81, 88, 92, 94, 97, 100, 104, 108, 127, 129, 140, 200];

#[test]
fn damage_to_the_log_is_reported_with_its_place_and_never_read() {
    damage_to_the_log(&Sample::new(), 64);
}

#[test]
fn damage_to_a_compacted_log_is_reported_with_its_place_and_never_read() {
    damage_to_the_log(&Sample::compacted(), 128);
}

/// Damages a log in many ways, whose complete segments have so many bytes of headers.
fn damage_to_the_log(sample: &Sample, header_bytes: u64) {
    let segments = sample.files("seg");
    let (first, last) = (&segments[0], &segments[segments.len() - 1]);
    for segment in [first, &segments[segments.len() / 2], last] {
        // The last one is never compacted.
        let header_bytes = if segment == last { 64 } else { header_bytes };
        let bytes = sample.bytes(segment);
        for damage in damages(bytes, &PLACES_IN_SEGMENT) {
            let Some(copy) = sample.damaged(segment, damage) else { continue };
            let told = format!("{} {damage:?}", segment.display());
            let findings = sample.examine(copy.path());
            let place = copy.path().join(segment);
            let report = match findings.report {
                Ok(report) => report,
                // A version that is not known is not looked into.
                Err(Error::FutureFormat { .. }) => continue,
                Err(error) => panic!("{told}: {error}"),
            };
            let in_place = report.problems.iter().any(|problem| {
                let at = problem.offset.is_none_or(|offset| offset <= damage.offset());
                problem.file == place && at || !matches!(damage, Damage::Flip { .. }) && problem.file.parent() == place.parent()
            });
            assert!(in_place, "{told}: {:?}", report.problems);
            for error in findings.reading_along.iter().chain(&findings.writing) {
                assert!(!matches!(error, Error::Missing { .. } | Error::Locked { .. }), "{told}: {error}");
            }
            let (salvaged, entries) = findings.salvaged.expect(&told);
            assert_eq!(salvaged.entries, entries as u64, "{told}");
            if matches!(damage, Damage::Flip { .. }) {
                let lost = if damage.offset() < header_bytes { 0 } else { 4 };
                assert!(entries + lost >= sample.payloads.len(), "{told}: {entries} of {} were saved", sample.payloads.len());
            }
        }
    }
}

#[test]
fn a_missing_segment_is_noticed() {
    missing_segments(&Sample::new());
    missing_segments(&Sample::compacted());
}

fn missing_segments(sample: &Sample) {
    for segment in sample.files("seg") {
        let copy = sample.damaged(&segment, Damage::Remove).expect("it makes a difference");
        let findings = sample.examine(copy.path());
        assert_ne!(findings.report.expect("there is a log").problems, [], "{}", segment.display());
        for error in [&findings.reading_along[0], &findings.writing[0]] {
            assert!(matches!(error, Error::Corrupt { .. }), "{}: {error}", segment.display());
        }
        assert!(findings.salvaged.expect("it can be salvaged").1 > 0);
    }
}

#[test]
fn damage_to_the_index_is_reported_or_healed() {
    let sample = Sample::new();
    for run in sample.files("run") {
        let bytes = sample.bytes(&run);
        // The header's fields, each kind of block, and the filter at the end.
        let mut places = vec![0, 9, 13, 20, 33, 41, 49, 57, 65, 73, 81, 89, 97, 101, 105, 109, 130, 3_000];
        places.extend((4_096..bytes).step_by(4_096).flat_map(|block| [block + 1, block + 4, block + 6, block + 300, block + 4_090]));
        places.extend([bytes - 100, bytes - 64, bytes - 30, bytes - 2]);
        let step = 1 + places.len() / 30;
        let places: Vec<usize> = places.into_iter().step_by(step).collect();
        for damage in damages(bytes, &places).into_iter().chain([Damage::Remove]) {
            let Some(copy) = sample.damaged(&run, damage) else { continue };
            let told = format!("{} {damage:?}", run.display());
            let Findings { report, reading_along, writing, salvaged } = sample.examine(copy.path());
            match report {
                Ok(report) if matches!(damage, Damage::Remove) => assert_eq!(report.problems, [], "{told}"),
                Ok(report) => assert!(report.problems.iter().any(|problem| problem.file == copy.path().join(&run)), "{told}: {report:?}"),
                Err(error) => assert!(matches!(error, Error::FutureFormat { .. }), "{told}: {error}"),
            }
            for error in reading_along.iter().chain(&writing) {
                let of_run = matches!(error, Error::Corrupt { file, .. } if file.ends_with(&run));
                assert!(of_run || matches!(error, Error::FutureFormat { .. } | Error::Io { .. }), "{told}: {error}");
            }
            assert_eq!(salvaged.expect(&told).1, sample.payloads.len(), "{told}: the log is whole");
            fs::remove_dir_all(copy.path().join("index")).expect("it can be removed");
            let engine = open(copy.path(), OPTIONS).expect("it opens");
            assert!(sample.read(&engine.snapshot(), engine.keys()).is_empty(), "{told}: an index that is missing is made again");
        }
    }
}

#[test]
fn damage_to_what_is_only_convenient_is_healed_in_silence() {
    let sample = Sample::new();
    let mut files = sample.files("anchors");
    files.extend(["live".into(), "index/weights".into()]);
    for file in files {
        let places: Vec<usize> = (0..64).step_by(3).collect();
        for damage in damages(sample.bytes(&file), &places).into_iter().chain([Damage::Remove]) {
            let Some(copy) = sample.damaged(&file, damage) else { continue };
            let told = format!("{} {damage:?}", file.display());
            let findings = sample.examine(copy.path());
            assert_eq!(findings.report.expect(&told).problems, [], "{told}");
            let errors: Vec<String> = findings.reading_along.iter().chain(&findings.writing).map(Error::to_string).collect();
            assert!(errors.is_empty(), "{told}: {errors:?}");
            assert_eq!(findings.salvaged.expect(&told).1, sample.payloads.len(), "{told}");
        }
    }
}
