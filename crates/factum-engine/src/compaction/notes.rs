//! What the compactor remembers of each segment, so that it need not read the log again and again. It is kept in a small file of the
//! index, which is no truth: without it every segment is weighed once more.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use super::rewrite::Weight;
use crate::disk::{Access, Disk};
use crate::error::Result;
use crate::frame::{damaged, u32_at, u64_at};
use crate::index::memtable::Memtable;
use crate::index::run::Run;
use crate::key::{Key, Kind};
use crate::read::Snapshot;
use crate::segment::{Location, Segment, write_whole};
use crate::shared::{Paths, Shared};

const MAGIC: [u8; 8] = *b"FACTUMWT";
const FORMAT: u32 = 1;
const HEADER_BYTES: usize = 56;
const NOTE_BYTES: usize = 48;
/// Of so many sequences it is remembered how far their truncations were counted.
const REMEMBERED_MAX: usize = 1 << 16;

/// What is remembered.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    segments: BTreeMap<u32, Note>,
    /// The log was looked through for truncations from here
    followed_from: Location,
    /// up to here.
    followed: Location,
    /// Of sequences, the first number not hidden by what was looked at.
    counted: HashMap<Key, u64>,
    /// Whether a segment was weighed that the file does not know of, or something was truncated.
    weighed: bool,
    truncated: bool,
}

/// What is remembered of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Note {
    /// It is of the file with this seed.
    seed: u32,
    /// The number of the log's last segment when it was weighed.
    weighed_at: u32,
    weight: Weight,
    /// About how many bytes have been hidden in it since.
    suspected: u64,
}

impl Notes {
    /// Nothing is known of the log yet. Without records nothing in it was ever truncated.
    fn begin(snapshot: &Snapshot) -> Self {
        let from = if has_records(snapshot, Location::default(), snapshot.end) { snapshot.end } else { Location::default() };
        Self { followed_from: from, followed: snapshot.end, weighed: true, ..Self::default() }
    }

    /// Notes of a segment that was never weighed that nothing in it is dead, if that is known without reading it: there is no record in it, and
    /// truncations are counted.
    pub(super) fn note_if_immortal(&mut self, segment: &Segment, snapshot: &Snapshot) {
        let number = segment.header.number;
        let (from, to) = (Location::new(number, 0), Location::new(number + 1, 0));
        if !self.segments.contains_key(&number) && from >= self.followed_from && !has_records(snapshot, from, to) {
            let weight = Weight { live: segment.end() - segment.first_frame(), ..Weight::default() };
            self.note(segment, snapshot, weight);
        }
    }

    /// Notes what a segment weighs.
    pub(super) fn note(&mut self, segment: &Segment, snapshot: &Snapshot, weight: Weight) {
        let note = Note { seed: segment.header.seed, weighed_at: snapshot.end.segment(), weight, suspected: 0 };
        self.segments.insert(segment.header.number, note);
        self.weighed = true;
    }

    /// Whether a segment is to be weighed.
    pub(super) fn is_due(&self, segment: &Segment, snapshot: &Snapshot, dead_percent_max: u8) -> bool {
        let number = segment.header.number;
        let Some(note) = self.segments.get(&number).filter(|note| note.seed == segment.header.seed) else { return true };
        let has_doubled = snapshot.end.segment().saturating_sub(number) >= note.weighed_at.saturating_sub(number).saturating_mul(2);
        let perhaps = note.weight.with_dead(note.suspected + if has_doubled { note.weight.records } else { 0 });
        (has_doubled || note.suspected > 0) && perhaps.exceeds(dead_percent_max)
    }

    /// Looks through what is new in the log for records that hide entries, and counts what they hid, about, where it is.
    pub(super) fn follow(&mut self, shared: &Shared, snapshot: &Snapshot) -> Result<()> {
        if self.followed == snapshot.end {
            return Ok(());
        }
        let mut hidden: HashMap<Key, u64> = HashMap::new();
        for segment in &snapshot.view.segments {
            let number = segment.header.number;
            let to = Location::new(number + 1, 0).min(snapshot.end);
            if number < self.followed.segment() || !has_records(snapshot, self.followed, to) {
                continue;
            }
            let mut offset = segment.first_frame();
            if number == self.followed.segment() {
                offset = segment.offset_of(self.followed.offset())?;
            }
            let end = if number == snapshot.end.segment() { snapshot.end.offset() } else { segment.end() };
            while offset < end {
                let header = segment.header_at(offset)?;
                if header.records > 0 {
                    let frame = segment.frame_at(offset)?;
                    for index in 0..header.records {
                        let record = frame.record(index).map_err(damaged(&segment.path, offset))?;
                        let hides = record.value.and_then(|value| shared.indexer.hides(&shared.keys, record.name, value));
                        hidden.extend(hides);
                    }
                }
                offset += header.bytes as u64;
            }
        }
        self.truncated |= !hidden.is_empty();
        for (sequence, first) in hidden {
            self.suspect(snapshot, sequence, first)?;
        }
        self.followed = snapshot.end;
        Ok(())
    }

    /// Counts entries of a sequence that were hidden: as if all entries of a segment had one size.
    fn suspect(&mut self, snapshot: &Snapshot, sequence: Key, first: u64) -> Result<()> {
        let from = self.counted.get(&sequence).copied().unwrap_or(1);
        if from >= first {
            return Ok(());
        }
        if self.counted.len() >= REMEMBERED_MAX {
            self.counted.clear();
        }
        self.counted.insert(sequence, first);
        let positions = snapshot.numbered(sequence, from, first - 1)?;
        let mut rest = &positions[..];
        for pair in snapshot.view.segments.windows(2) {
            let (number, begin, end) = (pair[0].header.number, pair[0].header.first_position, pair[1].header.first_position);
            let here = rest.partition_point(|position| *position < end);
            if let Some(note) = self.segments.get_mut(&number)
                && here > 0
            {
                note.suspected += note.weight.live / (end - begin).max(1) * here as u64;
            }
            rest = &rest[here..];
        }
        Ok(())
    }

    /// What was remembered when the log was closed; nothing if that is not known.
    pub(super) fn read(shared: &Shared) -> Self {
        // A log that ends before what was looked at is another log, or was salvaged.
        let fits = |(store, notes): &([u8; 16], Self)| *store == shared.store && notes.followed <= shared.snapshot().end;
        read(&*shared.disk, &shared.paths).filter(fits).map_or_else(|| Self::begin(&shared.snapshot()), |(_, notes)| notes)
    }

    /// Keeps what is remembered, if segments were weighed.
    pub(super) fn write_if_weighed(&mut self, shared: &Shared) {
        if self.weighed {
            self.write(shared);
        }
    }

    /// Keeps what is remembered. If it can't be written, it is found out again the next time.
    pub(super) fn write(&mut self, shared: &Shared) {
        if !self.weighed && !self.truncated {
            return;
        }
        (self.weighed, self.truncated) = (false, false);
        let mut bytes = vec![0; HEADER_BYTES];
        for (number, note) in &self.segments {
            for number in [*number, note.seed, note.weighed_at, 0] {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
            for number in [note.weight.live, note.weight.records, note.weight.dead, note.suspected] {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
        }
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        bytes[16..32].copy_from_slice(&shared.store);
        bytes[32..40].copy_from_slice(&self.followed_from.0.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.followed.0.to_le_bytes());
        bytes[48..56].copy_from_slice(&(self.segments.len() as u64).to_le_bytes());
        let checksum = crc32c::crc32c(&bytes);
        bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
        if let Err(error) = write_whole(&*shared.disk, &notes_path(&shared.paths), &bytes) {
            tracing::debug!(%error, "what was weighed could not be kept");
        }
    }
}

/// About how many bytes of the log in `directory` are dead, as far as its complete files were weighed; `None` if none ever was.
pub fn dead_bytes(disk: &dyn Disk, directory: &Path) -> Option<u64> {
    let (_, notes) = read(disk, &Paths::new(directory))?;
    Some(notes.segments.values().map(|note| note.weight.dead + note.suspected.min(note.weight.live)).sum())
}

fn notes_path(paths: &Paths) -> PathBuf {
    paths.index.join("weights")
}

/// Reads the notes, and of which store they are.
fn read(disk: &dyn Disk, paths: &Paths) -> Option<([u8; 16], Notes)> {
    let file = disk.open(&notes_path(paths), Access::Read, 0).ok()?;
    let mut bytes = vec![0; usize::try_from(file.size().ok()?).ok()?];
    let read = file.read(0, &mut bytes).ok()?;
    bytes.truncate(read);
    let checksum = u32_at(&bytes, 12)?;
    bytes.get_mut(12..16)?.fill(0);
    let count = u64_at(&bytes, 48)?;
    let rest = bytes.get(HEADER_BYTES..)?;
    let is_whole = rest.len().is_multiple_of(NOTE_BYTES) && (rest.len() / NOTE_BYTES) as u64 == count;
    if bytes[0..8] != MAGIC || u32_at(&bytes, 8) != Some(FORMAT) || crc32c::crc32c(&bytes) != checksum || !is_whole {
        return None;
    }
    let note = |bytes: &[u8]| {
        let weight = Weight { live: u64_at(bytes, 16)?, records: u64_at(bytes, 24)?, dead: u64_at(bytes, 32)? };
        Some((u32_at(bytes, 0)?, Note { seed: u32_at(bytes, 4)?, weighed_at: u32_at(bytes, 8)?, weight, suspected: u64_at(bytes, 40)? }))
    };
    let segments = rest.chunks(NOTE_BYTES).map(note).collect::<Option<_>>()?;
    let (followed_from, followed) = (Location(u64_at(&bytes, 32)?), Location(u64_at(&bytes, 40)?));
    let notes = Notes { segments, followed_from, followed, ..Notes::default() };
    Some((bytes[16..32].try_into().ok()?, notes))
}

/// Whether there may be a record between two places.
fn has_records(snapshot: &Snapshot, from: Location, to: Location) -> bool {
    let tables = &snapshot.view.tables;
    let in_memory = |table: &Memtable| {
        let kinds = Kind::FIRST_OF_RECORDS.0..=u8::MAX;
        table.from < to && table.to() > from && kinds.into_iter().any(|kind| table.has_records(Kind(kind)))
    };
    let in_run = |run: &Run| {
        let sections = &run.header.sections;
        run.header.from < to && run.header.to > from && sections.iter().any(|section| section.kind.is_record() && section.keys > 0)
    };
    tables.runs.iter().any(|run| in_run(run)) || tables.frozen.iter().chain([&tables.active]).any(|table| in_memory(table))
}
