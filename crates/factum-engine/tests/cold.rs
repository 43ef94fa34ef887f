//! A disk that takes its time: what a reader asks it for, and when.

#[path = "support/opening.rs"]
mod opening;
mod support;

use std::borrow::Cow;
use std::collections::HashSet;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use factum_engine::disk::DiskFile;
use factum_engine::{Follower, Options};
use opening::{Opening, Wrap};
use support::{STREAM, Words, append, follow, open, payloads};

const PAGE_BYTES: u64 = 4_096;
const MAPPING_BYTES_MIN: usize = 1 << 16;

/// What happened to a page of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Asked(PathBuf, u64),
    Read(PathBuf, u64),
}

/// The real disk, each page of which takes a while when it is read first.
#[derive(Clone, Debug, Default)]
struct Slow(Arc<Mutex<Vec<Step>>>);

#[derive(Debug)]
struct SlowFile {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    read: Mutex<HashSet<u64>>,
    disk: Slow,
}

impl SlowFile {
    fn note(&self, offset: u64, bytes: u64, step: impl Fn(PathBuf, u64) -> Step) {
        let mut steps = self.disk.0.lock().expect("not poisoned");
        steps.extend((offset / PAGE_BYTES..(offset + bytes).div_ceil(PAGE_BYTES)).map(|page| step(self.path.clone(), page)));
    }
}

impl DiskFile for SlowFile {
    fn view(&self, offset: u64, bytes: usize) -> io::Result<Cow<'_, [u8]>> {
        // So much at once is the mapping itself, of which nothing is read.
        if bytes < MAPPING_BYTES_MIN && self.read.lock().expect("not poisoned").insert(offset / PAGE_BYTES) {
            std::thread::sleep(Duration::from_micros(100));
            self.note(offset, bytes as u64, Step::Read);
        }
        self.file.view(offset, bytes)
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(offset, buffer)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write(offset, bytes)
    }

    fn begin_sync(&self, offset: u64, bytes: u64) {
        self.file.begin_sync(offset, bytes);
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.file.truncate(bytes)
    }

    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn prefetch(&self, offset: u64, bytes: u64) {
        self.note(offset, bytes, Step::Asked);
        self.file.prefetch(offset, bytes);
    }
}

impl Wrap for Slow {
    fn wrap(&self, path: &Path, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(SlowFile { file, path: path.to_owned(), read: Mutex::default(), disk: self.clone() })
    }
}

/// A stream that was not in memory was looked for in one part of the index after another, and its first event was waited for before the
/// others were asked for.
#[test]
fn what_a_cold_sequence_takes_is_asked_for_before_anything_is_waited_for() {
    let directory = tempfile::tempdir().expect("a directory");
    let options = Options { memtable_bytes_max: 50 << 10, ..Options::default() };
    let engine = open(directory.path(), options).expect("it opens");
    let payload = |index: usize| format!("s{} t entry {index} {}", index % 40, "x".repeat(200));
    for first in (0..2_000).step_by(20) {
        let payloads: Vec<String> = (first..first + 20).map(payload).collect();
        append(&engine, &payloads.iter().map(String::as_str).collect::<Vec<_>>(), &[]).expect("it is recorded");
    }
    engine.close();
    drop(engine);

    let mut expected = payloads(&follow(directory.path()).expect("it opens").snapshot().expect("whole"), 0);
    expected.retain(|payload| payload.starts_with("s3 "));
    let disk = Slow::default();
    let log = Follower::open(Arc::new(Opening(disk.clone())), directory.path(), Options::default(), Arc::new(Words)).expect("it opens");
    let snapshot = log.snapshot().expect("whole");
    disk.0.lock().expect("not poisoned").clear();
    let sequence = snapshot.sequence(log.keys().key(STREAM, b"s3")).expect("whole");
    assert_eq!(sequence.count(), 50);
    let positions = sequence.numbered(1, 50).expect("whole");
    let mut read = Vec::new();
    let visit = |entry: factum_engine::Entry<'_>| {
        read.push(String::from_utf8(entry.payload.to_vec()).expect("text"));
        ControlFlow::Continue(())
    };
    snapshot.entries(sequence.wanted(&positions), visit).expect("whole");
    assert_eq!(read, expected);

    let steps = disk.0.lock().expect("not poisoned").clone();
    for kind in ["run", "seg"] {
        let is_kind = |path: &Path| path.extension().is_some_and(|extension| extension == kind);
        let asked: Vec<(usize, Step)> = steps
            .iter()
            .enumerate()
            .filter_map(|(at, step)| match step {
                Step::Asked(path, page) if is_kind(path) => Some((at, Step::Read(path.clone(), *page))),
                _ => None,
            })
            .collect();
        // What is asked for is found by what is in memory, or by what was asked for before, and read after all of it was asked for.
        let last_asked = asked.last().unwrap_or_else(|| panic!("nothing was asked of a {kind}: {steps:?}")).0;
        let first_read = steps.iter().position(|step| asked.iter().any(|(_, read)| read == step));
        assert!(first_read.is_some_and(|first_read| first_read > last_asked), "{kind}: {steps:?}");
        let read: Vec<&Step> = steps.iter().filter(|step| matches!(step, Step::Read(path, _) if is_kind(path))).collect();
        let waited = read.iter().filter(|step| !asked.iter().any(|(_, read)| read == **step)).count();
        // A search goes through the blocks above, which are in memory from the opening on.
        assert!(if kind == "run" { waited <= asked.len() } else { waited == 0 }, "{kind}: {steps:?}");
    }
}
