//! A disk with sectors that can't be read any more.

#[path = "support/opening.rs"]
mod opening;
mod support;

use std::borrow::Cow;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use factum_engine::disk::{Disk, DiskFile};
use factum_engine::{Indexer, Options, salvage, verify};
use opening::{Opening, Wrap};
use support::{Words, append, follow, open, payloads};

/// The real disk, on which some bytes of files with one name can't be read.
#[derive(Debug)]
struct Failing {
    name: &'static str,
    bytes: Range<u64>,
}

#[derive(Debug)]
struct FailingFile {
    file: Arc<dyn DiskFile>,
    bytes: Range<u64>,
}

impl FailingFile {
    fn touch(&self, offset: u64, bytes: usize) -> io::Result<()> {
        let end = offset + bytes as u64;
        if offset < self.bytes.end && self.bytes.start < end { Err(io::Error::from_raw_os_error(5)) } else { Ok(()) }
    }
}

impl DiskFile for FailingFile {
    fn view(&self, offset: u64, bytes: usize) -> io::Result<Cow<'_, [u8]>> {
        self.touch(offset, bytes)?;
        self.file.view(offset, bytes)
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.touch(offset, buffer.len())?;
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
        self.file.prefetch(offset, bytes);
    }
}

impl Wrap for Failing {
    fn wrap(&self, path: &Path, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        if path.ends_with(self.name) { Arc::new(FailingFile { file, bytes: self.bytes.clone() }) } else { file }
    }
}

/// Salvaging used to give up the rest of a file behind the first sector that could not be read.
#[test]
fn what_lies_around_bad_sectors_is_reported_and_copied_out() {
    let old = tempfile::tempdir().expect("a directory");
    let engine = open(old.path(), Options::default()).expect("it opens");
    let payload = |index: usize| format!("s{} t entry {index} {}", index % 7, "x".repeat(200));
    for index in 0..2_000 {
        append(&engine, &[&payload(index)], &[]).expect("it is recorded");
    }
    engine.close();
    drop(engine);
    let indexer: Arc<dyn Indexer> = Arc::new(Words);
    let segment = "0000000001.seg";
    let size = std::fs::metadata(old.path().join("log").join(segment)).expect("it is there").len();
    let last_block = (size - 9) & !4_095;
    for bytes in [98_304..102_400, 196_608..212_992, 0..4_096, last_block..last_block + 4_096] {
        let (at, length) = (bytes.start, bytes.end - bytes.start);
        let disk: Arc<dyn Disk> = Arc::new(Opening(Failing { name: segment, bytes: bytes.clone() }));
        let report = verify(&disk, old.path(), &indexer, &mut |_, _| {}).expect("there is a log");
        let unreadable = report.problems.iter().find(|problem| problem.what.contains(&format!("can't read {length} bytes")));
        let unreadable = unreadable.unwrap_or_else(|| panic!("{bytes:?}: {report:?}"));
        assert_eq!(unreadable.offset, Some(at), "{bytes:?}");
        assert!(unreadable.what.contains("replace the disk"), "{unreadable:?}");

        let new = tempfile::tempdir().expect("a directory");
        let salvaged = salvage(&disk, old.path(), new.path(), &indexer, &mut |_, _| {}).expect("there is a log");
        assert!(salvaged.problems.contains(unreadable), "{bytes:?}: {salvaged:?}");
        let kept = payloads(&follow(new.path()).expect("it opens").snapshot().expect("whole"), 0);
        // A frame here takes some 270 bytes; one that begins before the stretch or ends behind it is lost with it.
        let lost = 2_000 - kept.len() as u64;
        assert!(lost > 0 && lost <= length / 256 + 2, "{bytes:?}: {lost} lost");
        let mut expected = (0..2_000).map(payload).filter(|payload| kept.binary_search(payload).is_ok() || kept.contains(payload));
        assert!(kept.iter().all(|payload| expected.next().as_ref() == Some(payload)), "{bytes:?}: in order, as they were");
    }
}
