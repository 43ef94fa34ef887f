//! Opening a log: which files there are, and whether they fit together.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use crate::disk::{Access, Disk};
use crate::error::{Error, Result};
use crate::index::Tables;
use crate::index::memtable::Memtable;
use crate::index::run::Run;
use crate::key::KeyMaker;
use crate::live;
use crate::read::View;
use crate::replay::Replay;
use crate::segment::{FIRST_FRAME, Location, Segment, SegmentHeader, segment_path};
use crate::shared::{Indexer, Options, Paths, Published, Shared};

/// Offsets in a segment have 32 bits, and a frame may be the last to fit.
const SEGMENT_BYTES_LIMIT: u64 = 2 << 30;
/// Of so many complete segments the anchors are opened with the log: up to 2 MiB in all.
const SEGMENTS_AT_HAND: usize = 4;
/// How often a reader looks at files that a writer replaces meanwhile.
const TRIES: u32 = 20;

/// How a log is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// To write: repairs a torn tail, removes what is superfluous, makes what is missing.
    Write,
    /// To read beside a writer: changes nothing.
    Read,
}

/// A log that has been opened.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) shared: Arc<Shared>,
    /// When its last frame was recorded.
    pub(crate) time: u64,
}

/// Opens the log in a directory; makes one if there is none and `create` says so.
pub(crate) fn open(
    disk: &Arc<dyn Disk>,
    root: &Path,
    mode: Mode,
    create: bool,
    options: Options,
    indexer: Arc<dyn Indexer>,
) -> Result<Opened> {
    let paths = Paths::new(root);
    let options = Options { segment_bytes_max: options.segment_bytes_max.min(SEGMENT_BYTES_LIMIT), ..options };
    // Beside a writer only what it has marked as durable may be shown. Without one, what is there stays as it is while we look.
    let locked_out = match mode {
        Mode::Write => None,
        Mode::Read => disk.lock_out(&paths.lock()).map_err(Error::io("can't look at", &paths.lock()))?,
    };
    let beside_writer = mode == Mode::Read && locked_out.is_none();
    // In this order, because a writer may go on meanwhile: the mark goes at least as far as an index that was looked at before, and speaks
    // of no segment that is not there when they are listed after it.
    let runs = match Segment::open(disk, &segment_path(&paths.log, 1), Access::Read, 0) {
        Ok(first) => open_runs(disk, &paths.index, first.header.store, mode)?,
        Err(error) if error.is_missing_file() => Vec::new(),
        Err(error) => return Err(error),
    };
    let mark = live::read(&**disk, root);
    let capacity = options.segment_bytes_max.max(crate::frame::FRAME_BYTES_MAX as u64) + (1 << 20);
    let segments = match open_segments(disk, &paths, mode, capacity)? {
        segments if !segments.is_empty() => segments,
        _ if mode == Mode::Write && create => vec![Arc::new(begin(disk, &paths, capacity)?)],
        _ => return Err(Error::Missing { path: root.to_owned() }),
    };
    let store = segments[0].header.store;
    if mode == Mode::Write {
        create_durably(&**disk, &paths.index)?;
    }
    let (replay_from, after, time) =
        runs.last().map_or((Location::new(1, FIRST_FRAME), 0, 0), |run| (run.header.to, run.header.last, run.header.last_time));
    let table = Arc::new(Memtable::new(replay_from, after, time));
    let view = View { segments, tables: Tables { runs, frozen: Vec::new(), active: table } };
    let published = Published { view: Arc::new(view), last: after, end: replay_from };
    let shared = Arc::new(Shared {
        disk: Arc::clone(disk),
        paths,
        store,
        boot: disk.boot(),
        keys: KeyMaker::new(store),
        options,
        indexer,
        published: std::sync::RwLock::new(published),
        sealing: std::sync::Mutex::default(),
        closing: std::sync::atomic::AtomicBool::new(false),
    });
    let mark = mark.filter(|mark| mark.store == store);
    let time = Replay::new(&shared, mode, beside_writer).run(mark)?;
    // What was written last is what is read first: its anchors are at hand at once. A thread of the writer's opens all others.
    for segment in shared.view().segments.iter().rev().skip(1).take(SEGMENTS_AT_HAND) {
        segment.anchors.open_sidecar(segment);
    }
    Ok(Opened { shared, time })
}

/// Makes a log's first segment.
fn begin(disk: &Arc<dyn Disk>, paths: &Paths, capacity: u64) -> Result<Segment> {
    if disk.list(&paths.index).is_ok_and(|files| files.iter().any(|(name, _)| name.ends_with(".run"))) {
        return Err(Error::corrupt(&paths.log, None, "the log's files are missing, while its index is still there"));
    }
    create_durably(&**disk, &paths.log)?;
    let mut seed = [0; 4];
    seed.copy_from_slice(&disk.random()[..4]);
    let seed = u32::from_le_bytes(seed);
    let header = SegmentHeader { store: disk.random(), number: 1, seed, first_position: 1, previous_end: 0 };
    Segment::create(disk, &paths.log, header, capacity)
}

/// Refuses to make a log in a directory that holds something else.
pub(crate) fn check_free(disk: &dyn Disk, directory: &Path) -> Result<()> {
    let files = disk.list(directory).unwrap_or_default();
    let ours = |name: &str| ["lock", "live"].contains(&name);
    let is_log = disk.list(&directory.join("log")).is_ok();
    match files.iter().find(|(name, _)| !is_log && !ours(name)) {
        Some((file, _)) => Err(Error::NotALog { path: directory.to_owned(), file: file.clone() }),
        None => Ok(()),
    }
}

/// Makes a directory and its parents so that they are still there after a power failure.
pub(crate) fn create_durably(disk: &dyn Disk, directory: &Path) -> Result<()> {
    let parent_of = |path: &Path| match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => Some(parent.to_owned()),
        Some(_) => Some(".".into()),
        None => None,
    };
    let mut parents = Vec::new();
    let mut missing = directory.to_owned();
    while disk.list(&missing).is_err() {
        let Some(parent) = parent_of(&missing) else { break };
        parents.push(parent.clone());
        missing = parent;
    }
    disk.create_directory(directory).map_err(Error::io("can't make", directory))?;
    parents.iter().rev().try_for_each(|parent| disk.sync_directory(parent).map_err(Error::io("can't sync", parent)))
}

/// Opens all segments. They must be whole in number and fit together; how the last one ends is seen later.
pub(crate) fn open_segments(disk: &Arc<dyn Disk>, paths: &Paths, mode: Mode, capacity: u64) -> Result<Vec<Arc<Segment>>> {
    for _ in 0..TRIES {
        let segments = find_segments(disk, paths, mode, capacity)?;
        let last = segments.last().map_or(0, |last| last.header.number);
        let Some(ahead) = segments.iter().find(|segment| segment.decided_at().segment() > last) else { return Ok(segments) };
        if mode == Mode::Write {
            return Err(Error::corrupt(
                &ahead.path,
                None,
                "the segment was compacted when the log was longer; its last segments are missing",
            ));
        }
        // A writer went on, and compacted a segment just as we looked at them: look again.
    }
    Err(Error::corrupt(&paths.log, None, "a segment was compacted when the log was longer; its last segments are missing"))
}

fn find_segments(disk: &Arc<dyn Disk>, paths: &Paths, mode: Mode, capacity: u64) -> Result<Vec<Arc<Segment>>> {
    let files = match disk.list(&paths.log) {
        Ok(files) => files,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("can't list", &paths.log)(error)),
    };
    let mut numbers: Vec<u32> = files.iter().filter_map(|(name, _)| name.strip_suffix(".seg")?.parse().ok()).collect();
    numbers.sort_unstable();
    if mode == Mode::Write {
        for (name, _) in files.iter().filter(|(name, _)| name.ends_with(".new")) {
            let path = paths.log.join(name);
            disk.remove(&path).map_err(Error::io("can't remove", &path))?;
        }
    }
    let mut segments: Vec<Arc<Segment>> = Vec::with_capacity(numbers.len());
    for (index, number) in numbers.iter().enumerate() {
        let path = segment_path(&paths.log, *number);
        if *number as usize != index + 1 {
            let missing = segment_path(&paths.log, u32::try_from(index).unwrap_or(u32::MAX).saturating_add(1));
            return Err(Error::corrupt(&missing, None, "a segment of the log is missing"));
        }
        let access = if mode == Mode::Write && index + 1 == numbers.len() { Access::Write } else { Access::Read };
        // Only the last segment grows.
        let bytes_max = if index + 1 == numbers.len() { capacity } else { 0 };
        let segment = Segment::open(disk, &path, access, bytes_max)?;
        if segment.header.number != *number {
            return Err(Error::corrupt(&path, 0, format!("this is segment {}, not {number}", segment.header.number)));
        }
        if let Some(previous) = segments.last() {
            follow(previous, &segment)?;
        }
        segments.push(Arc::new(segment));
    }
    Ok(segments)
}

/// Checks that a segment goes on where the one before it ends, and says so to that one.
pub(crate) fn follow(previous: &Segment, next: &Segment) -> Result<()> {
    if next.header.store != previous.header.store {
        return Err(Error::corrupt(&next.path, 0, "the segment belongs to another store"));
    }
    if next.header.first_position < previous.header.first_position {
        return Err(Error::corrupt(&next.path, 0, "the segment does not follow the one before it"));
    }
    if let Some(compaction) = previous.compaction {
        let fits = compaction.written_end == next.header.previous_end;
        return if fits {
            Ok(())
        } else {
            Err(Error::corrupt(&previous.path, 0, "the segment ends elsewhere than the one behind it says"))
        };
    }
    let bytes = previous.file.size().map_err(previous.io("can't read"))?;
    if bytes < next.header.previous_end {
        let missing = next.header.previous_end - bytes;
        return Err(Error::corrupt(&previous.path, bytes, format!("the last {missing} bytes of the segment are missing")));
    }
    previous.set_end(next.header.previous_end);
    Ok(())
}

/// Opens the runs that cover the log from its beginning without a gap. Others are superfluous or useless: what they cover is indexed anew.
fn open_runs(disk: &Arc<dyn Disk>, directory: &Path, store: [u8; 16], mode: Mode) -> Result<Vec<Arc<Run>>> {
    let mut tries = 0;
    loop {
        tries += 1;
        match find_runs(disk, directory, store, mode) {
            // A writer merged runs just as we looked at them: look again.
            Err(error) if error.is_missing_file() && tries < TRIES => {}
            found => return found,
        }
    }
}

fn find_runs(disk: &Arc<dyn Disk>, directory: &Path, store: [u8; 16], mode: Mode) -> Result<Vec<Arc<Run>>> {
    let files = match disk.list(directory) {
        Ok(files) => files,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("can't list", directory)(error)),
    };
    let mut candidates = Vec::new();
    let mut useless = Vec::new();
    for (name, _) in files {
        let path = directory.join(&name);
        if !name.ends_with(".run") {
            // What was being written when the process ended; other files are none of ours.
            useless.extend(name.ends_with(".new").then_some(path));
            continue;
        }
        match Run::open(&**disk, &path) {
            Ok(run) if run.header.store == store => candidates.push(Arc::new(run)),
            Err(error @ Error::FutureFormat { .. }) => return Err(error),
            Ok(_) => useless.push(path),
            Err(error) if error.is_missing_file() => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "an index file can't be used and is made again");
                useless.push(path);
            }
        }
    }
    candidates.sort_by_key(|run| (run.header.from, std::cmp::Reverse(run.header.to)));
    let mut runs: Vec<Arc<Run>> = Vec::new();
    let (mut place, mut after) = (Location::new(1, FIRST_FRAME), 0);
    for run in candidates {
        if run.header.from == place && run.header.after == after && run.header.to > place {
            (place, after) = (run.header.to, run.header.last);
            runs.push(run);
        } else {
            useless.push(run.path.clone());
        }
    }
    if mode == Mode::Write {
        for path in useless {
            disk.remove(&path).map_err(Error::io("can't remove", &path))?;
        }
    }
    Ok(runs)
}
