//! Opening a log: which files there are, where it ends, what a crash left behind, and what the index does not know yet.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use crate::disk::{Access, Disk};
use crate::error::{Error, Result};
use crate::frame::{Frame, damaged};
use crate::index::adding;
use crate::index::memtable::Memtable;
use crate::index::run::Run;
use crate::index::{Tables, merge};
use crate::key::KeyMaker;
use crate::live::{self, Mark};
use crate::read::View;
use crate::segment::{FIRST_FRAME, Location, Scan, Segment, SegmentHeader, Step, segment_path};
use crate::shared::{Indexer, Options, Paths, Published, Shared};
use crate::terms::Listing;

/// How much is written at once when the end of the log is written once more.
const REWRITE_BYTES: usize = 1 << 20;

/// Offsets in a segment have 32 bits, and a frame may be the last to fit.
const SEGMENT_BYTES_LIMIT: u64 = 2 << 30;
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

/// Reads the frames that the index does not cover yet, and finds the end of the log.
pub(crate) struct Replay<'s> {
    shared: &'s Shared,
    mode: Mode,
    beside_writer: bool,
    /// The position that the next frame must have; `None` while that is not known.
    expected: Option<u64>,
    /// The earliest time that the next frame may have.
    time: u64,
    /// The keys of the frame at hand, and the numbers that it says.
    listing: Listing,
    numbers: Vec<u64>,
}

impl<'s> Replay<'s> {
    pub(crate) fn new(shared: &'s Shared, mode: Mode, beside_writer: bool) -> Self {
        Self { shared, mode, beside_writer, expected: None, time: 0, listing: Listing::default(), numbers: Vec::new() }
    }

    /// Goes on behind the last frame that the index covers.
    pub(crate) fn go_on(shared: &'s Shared) -> Self {
        let table = &shared.view().tables.active;
        Self { expected: Some(table.last() + 1), time: table.last_time(), ..Self::new(shared, Mode::Read, true) }
    }

    /// Takes in a segment's frames from one offset to another, which must be there.
    pub(crate) fn take_range(&mut self, segment: &Segment, from: u64, to: u64) -> Result<()> {
        let mut scan = Scan::new(segment, from);
        while let Some((offset, frame)) = scan.next_whole(to)? {
            segment.anchors.note(offset, frame.header.position);
            self.take(segment, offset, &frame)?;
        }
        segment.set_end(to);
        Ok(())
    }

    /// Returns when the last frame was recorded.
    fn run(mut self, mark: Option<Mark>) -> Result<u64> {
        let view = self.shared.view();
        let from = view.tables.active.from;
        self.time = view.tables.active.last_time();
        let Some(first) = view.segments.iter().position(|segment| segment.header.number == from.segment()) else {
            return Err(Error::corrupt(
                &self.shared.paths.log,
                None,
                "the index covers more than there is; segments of the log are missing",
            ));
        };
        let last = view.segments.len() - 1;
        for segment in &view.segments[first..last] {
            let is_first = segment.header.number == from.segment();
            if is_first && from.offset() > segment.written_end() {
                return Err(damaged(&segment.path, segment.end())("the index covers more than there is"));
            }
            let offset = if is_first { segment.offset_of(from.offset())? } else { segment.first_frame() };
            self.expected = Some(view.tables.active.last() + 1).filter(|_| is_first);
            self.expected.get_or_insert(segment.header.first_position);
            let mut scan = Scan::new(segment, offset);
            while let Some((offset, frame)) = scan.next_whole(segment.end())? {
                self.take(segment, offset, &frame)?;
            }
            let follower = &view.segments[(segment.header.number) as usize];
            if self.expected != Some(follower.header.first_position) {
                return Err(Error::corrupt(&follower.path, 0, "the segment does not go on where the one before it ends"));
            }
        }
        let active = &view.segments[last];
        let end = self.run_active(active, from, mark)?;
        self.shared.publish(self.shared.view().tables.active.last(), Location::new(active.header.number, end));
        Ok(self.time)
    }

    /// Reads the last segment, and repairs its end if this is the writer. Returns where it ends.
    fn run_active(&mut self, active: &Segment, from: Location, mark: Option<Mark>) -> Result<u64> {
        let indexed_to = if active.header.number == from.segment() { from.offset() } else { FIRST_FRAME };
        let mut begin = (FIRST_FRAME, active.header.first_position);
        let bytes = active.file.size().map_err(active.io("can't read"))?;
        // The anchors, as far as they go, spare reading the frames again, unless the index needs them.
        let checkpoint = active.anchors.checkpoint(active).filter(|(covered, _)| covered.end <= bytes && covered.end <= indexed_to);
        if let Some((covered, anchors)) = checkpoint {
            begin = (covered.end, covered.next_position);
            self.time = covered.last_time;
            active.anchors.restore(anchors);
        } else if begin.0 < indexed_to {
            // The frames in front of what the index covers are older than its end.
            self.time = 0;
        }
        self.expected = Some(begin.1);
        let limit = match mark {
            _ if self.mode == Mode::Write => {
                self.make_durable(active, mark)?;
                u64::MAX
            }
            // Beside a writer, and after one that was killed, what is behind the mark may never become durable.
            Some(mark) if self.beside_writer || mark.boot.is_some() && mark.boot == self.shared.boot => {
                if mark.end.segment() == active.header.number { mark.end.offset().max(indexed_to) } else { indexed_to }
            }
            // A writer that has just begun has set no mark yet. What the index covers is durable.
            None if self.beside_writer => indexed_to,
            Some(_) | None => u64::MAX,
        };
        // What was compacted proves that the log was durable up to where that was decided, as the mark does.
        let decided_at = self.shared.view().segments.iter().map(|segment| segment.decided_at()).max().unwrap_or_default();
        let limit = if decided_at.segment() == active.header.number { limit.max(decided_at.offset()) } else { limit };
        let mut scan = Scan::new(active, begin.0);
        let problem = loop {
            if scan.offset() >= limit {
                active.set_end(scan.offset());
                return Ok(scan.offset());
            }
            match scan.step()? {
                Step::Frame(offset, frame) => {
                    active.anchors.note(offset, frame.header.position);
                    if offset >= indexed_to {
                        self.take(active, offset, &frame)?;
                    } else {
                        self.check_order(active, offset, &frame)?;
                    }
                }
                Step::Nothing => break "there is nothing",
                Step::Broken(what) => break what,
            }
        };
        let end = scan.offset();
        if end < indexed_to {
            return Err(Error::corrupt(
                &active.path,
                end,
                format!("{problem}, but the index covers more; acknowledged entries are missing"),
            ));
        }
        if let Some(mark) = mark
            && mark.end > Location::new(active.header.number, end)
        {
            let what = format!("{problem}, but the log was durable up to position {}; acknowledged entries are missing", mark.last);
            return Err(Error::corrupt(&active.path, end, what));
        }
        if decided_at > Location::new(active.header.number, end) {
            let what = format!("{problem}, but a segment was compacted when the log was longer; acknowledged entries are missing");
            return Err(Error::corrupt(&active.path, end, what));
        }
        let tail = scan.tail(problem)?;
        active.set_end(end);
        if self.mode == Mode::Write
            && let Some((first, last)) = tail.torn
        {
            tracing::info!(segment = %active.path.display(), at = end, bytes = last - first, "removing a batch that a crash cut off");
            active.file.truncate(end).map_err(active.io("can't shorten"))?;
            active.file.sync().map_err(active.io("can't sync"))?;
        }
        Ok(end)
    }

    /// Makes what is there durable: so far it may only be in the system's memory, and what is indexed may never be lost.
    fn make_durable(&self, active: &Segment, mark: Option<Mark>) -> Result<()> {
        if let Some(mark) = mark
            && (mark.boot == self.shared.boot)
        {
            let marked = if mark.end.segment() == active.header.number { mark.end.offset() } else { FIRST_FRAME };
            rewrite(active, marked)?;
        }
        active.file.sync().map_err(active.io("can't sync"))?;
        let directory = &self.shared.paths.log;
        self.shared.disk.sync_directory(directory).map_err(Error::io("can't sync", directory))
    }

    /// Adds a frame to the index, and writes the index out if that fills its table.
    pub(crate) fn take(&mut self, segment: &Segment, offset: u64, frame: &Frame<'_>) -> Result<()> {
        self.check_order(segment, offset, frame)?;
        let view = self.shared.view();
        let table = &view.tables.active;
        let written = segment.place_of(offset, &frame.header);
        let place = Location::new(segment.header.number, written);
        self.listing.clear();
        self.numbers.clear();
        for index in 0..frame.header.entries {
            let entry = frame.entry(index).map_err(damaged(&segment.path, offset))?;
            let terms = self.shared.indexer.terms(&self.shared.keys, entry.payload);
            let terms = terms.ok_or_else(|| damaged(&segment.path, offset)("an entry makes no sense"))?;
            self.listing.add(&terms);
            self.numbers.push(entry.number);
        }
        let numbers = adding::add(table, &view.tables, &self.listing, frame.header.position)?;
        for (index, (due, found)) in numbers.into_iter().zip(self.numbers.drain(..)).enumerate() {
            if due != found {
                let position = frame.header.position + index as u64;
                let what = format!("the entry at position {position} has number {found}, and {due} was due");
                return Err(Error::corrupt(&segment.path, offset, what));
            }
        }
        for index in 0..frame.header.records {
            let record = frame.record(index).map_err(damaged(&segment.path, offset))?;
            let key = self.shared.indexer.record_key(&self.shared.keys, record.name);
            let key = key.ok_or_else(|| damaged(&segment.path, offset)("a record makes no sense"))?;
            table.add_record(key, place);
        }
        // Frames get no longer, so this is no further than where it ended when it was written.
        let to = Location::new(segment.header.number, written + frame.header.bytes as u64);
        table.extend(to, frame.header.next_position() - 1, self.time);
        if table.bytes() > self.shared.options.memtable_bytes_max {
            self.write_out(to)?;
        }
        Ok(())
    }

    /// Makes room in memory: the writer writes a run; a reader has to keep what no run covers yet.
    fn write_out(&self, to: Location) -> Result<()> {
        if self.mode == Mode::Read {
            return Ok(());
        }
        let view = self.shared.view();
        let table = &view.tables.active;
        let run = Arc::new(merge::flush(&*self.shared.disk, &self.shared.paths.index, self.shared.store, table)?);
        let fresh = Arc::new(Memtable::new(to, table.last(), table.last_time()));
        self.shared.change_view(|view| {
            view.tables.runs.push(run);
            view.tables.active = fresh;
        });
        Ok(())
    }

    fn check_order(&mut self, segment: &Segment, offset: u64, frame: &Frame<'_>) -> Result<()> {
        if let Some(expected) = self.expected
            && frame.header.position != expected
        {
            let what = format!("the frame begins with position {}, and {expected} was due", frame.header.position);
            return Err(Error::corrupt(&segment.path, offset, what));
        }
        if frame.header.time < self.time {
            return Err(damaged(&segment.path, offset)("the frame was recorded before the one in front of it"));
        }
        self.expected = Some(frame.header.next_position());
        self.time = frame.header.time;
        Ok(())
    }
}

/// Writes the end of the log once more. After a sync that failed, the system holds what it could not write for written: without this, a
/// sync would say that all is well, and the next power failure would take it.
fn rewrite(segment: &Segment, from: u64) -> Result<()> {
    let mut buffer = vec![0; REWRITE_BYTES];
    let mut offset = from;
    loop {
        let bytes = segment.file.read(offset, &mut buffer).map_err(segment.io("can't read"))?;
        if bytes == 0 {
            return Ok(());
        }
        segment.file.write(offset, &buffer[..bytes]).map_err(segment.io("can't write"))?;
        offset += bytes as u64;
    }
}
