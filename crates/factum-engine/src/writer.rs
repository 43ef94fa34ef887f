//! The writer: takes proposals in batches, decides each, writes one batch with one sync, and only then answers.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::ahead::Ahead;
use crate::error::{Error, Result};
use crate::frame::{ALIGNMENT, Draft, Entry, Frame, Place, RecordEntry, damaged};
use crate::index::memtable::Memtable;
use crate::index::{Looked, adding};
use crate::key::Key;
use crate::live::{Live, Mark};
use crate::read::{self, Take, View};
use crate::segment::{Location, Segment, SegmentHeader};
use crate::shared::Shared;

/// A batch is written out when it is this long, even if more proposals wait, in bytes.
const BATCH_BYTES_MAX: usize = if cfg!(test) { 3 << 10 } else { 16 << 20 };
/// Bytes of a large batch go to the file in pieces of this size, while the rest is still being made.
const PIECE_BYTES: usize = if cfg!(test) { 300 } else { 128 << 10 };

/// A request to the log.
pub trait Proposal: Send {
    /// Decides what to record. Called once, on the writer's thread; between this and the recording nothing else happens to the log.
    fn decide(&mut self, log: &Pending<'_>) -> Decision;

    /// Called once, when what was decided is durable, or failed. Answers that rest on what was seen in `decide` may be given from here on,
    /// and not before: what was seen was not yet durable.
    fn settle(self: Box<Self>, outcome: Result<(), Failure>);
}

/// What a proposal comes to.
#[derive(Debug)]
pub enum Decision {
    /// Record this.
    Record(Draft),
    /// Record nothing: it was refused, or had been recorded before.
    Nothing,
    /// Record nothing, and begin a new segment, so that the one there is can be compacted.
    Seal,
}

/// Why a proposal failed.
#[derive(Debug)]
pub enum Failure {
    /// Nothing of it was recorded.
    NotRecorded(Error),
    /// It may have been recorded or not.
    Unknown(Error),
}

/// The log as a proposal sees it: with everything decided before, durable or not.
#[derive(Debug)]
pub struct Pending<'w> {
    writer: &'w Writer,
    view: &'w View,
}

#[derive(Debug)]
pub(crate) struct Writer {
    shared: Arc<Shared>,
    live: Live,
    ahead: Arc<Ahead>,
    active: Arc<Segment>,
    table: Arc<Memtable>,
    /// Where the last durable frame ends in the active segment, the last durable position, and when it was recorded.
    end: u64,
    last: u64,
    time: u64,
    batch: Batch,
    /// Set when a sync failed: nothing is written any more.
    poisoned: Option<String>,
    /// A next segment was begun and may be there: nothing may be added to this one.
    rolling: bool,
}

/// Frames that are being put together, and whom to answer when they are durable.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    /// How many of the bytes are in the file.
    written: usize,
    /// Of each frame the position of its first entry, and where in `bytes` it begins.
    frames: Vec<(u64, usize)>,
    proposals: Vec<Box<dyn Proposal>>,
    last: u64,
    time: u64,
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch").field("frames", &self.frames.len()).field("bytes", &self.bytes.len()).finish_non_exhaustive()
    }
}

impl Writer {
    /// Goes on where the log ends: at the end of the last segment, which is as durable as it will get.
    pub(crate) fn new(shared: Arc<Shared>, live: Live, time: u64) -> Self {
        let snapshot = shared.snapshot();
        let active = Arc::clone(snapshot.view.segments.last().expect("a log has a segment"));
        let table = Arc::clone(&snapshot.view.tables.active);
        let (end, last) = (snapshot.end.offset(), snapshot.last);
        let ahead = Arc::new(Ahead::new(Arc::clone(&shared)));
        ahead.begin(&active, end);
        let batch = Batch { last, time, ..Batch::default() };
        let writer = Self { shared, live, ahead, active, table, end, last, time, batch, poisoned: None, rolling: false };
        writer.set_mark();
        writer
    }

    pub(crate) fn ahead(&self) -> &Arc<Ahead> {
        &self.ahead
    }

    /// Decides and records proposals, in order, and settles them all.
    pub(crate) fn commit(&mut self, proposals: &mut VecDeque<Box<dyn Proposal>>) {
        while let Some(mut proposal) = proposals.pop_front() {
            match self.take_in(&mut *proposal) {
                Ok(()) => self.batch.proposals.push(proposal),
                Err(error) => proposal.settle(Err(Failure::NotRecorded(error))),
            }
        }
        // Whoever waits for this batch has been told if it failed.
        let _ = self.finish_batch();
    }

    /// Decides a proposal and adds what it records to the batch.
    fn take_in(&mut self, proposal: &mut dyn Proposal) -> Result<()> {
        self.check_usable()?;
        let view = self.shared.view();
        let draft = match proposal.decide(&Pending { writer: self, view: &view }) {
            Decision::Record(draft) => draft,
            Decision::Nothing => return Ok(()),
            Decision::Seal => return self.seal(),
        };
        if draft.is_empty() {
            return Ok(());
        }
        let bytes = draft.frame_bytes();
        if self.batch.bytes.len() + bytes > BATCH_BYTES_MAX || !self.has_room(bytes) {
            // If the batch fails, what was decided on top of it is void.
            self.finish_batch()?;
        }
        if self.rolling || !self.has_room(bytes) {
            self.roll()?;
        }
        self.place(&draft, &self.shared.view())
    }

    fn check_usable(&self) -> Result<()> {
        self.poisoned.as_ref().map_or(Ok(()), |reason| Err(Error::Poisoned { reason: reason.clone() }))
    }

    /// Writes nothing any more: what is on the disk is not known, and only opening the log again finds out.
    fn poison(&mut self, reason: String) -> Error {
        tracing::error!(%reason, "the log takes no more appends");
        self.poisoned = Some(reason.clone());
        Error::Poisoned { reason }
    }

    fn has_room(&self, bytes: usize) -> bool {
        let end = self.end + (self.batch.bytes.len() + bytes) as u64;
        let is_empty = self.end + self.batch.bytes.len() as u64 == crate::segment::FIRST_FRAME;
        end <= self.shared.options.segment_bytes_max || is_empty
    }

    /// Adds a frame to the batch and to the index.
    fn place(&mut self, draft: &Draft, view: &View) -> Result<()> {
        let (before_last, before_time) = (self.batch.last, self.batch.time);
        let at = self.batch.bytes.len();
        let before_to = Location::new(self.active.header.number, self.end + at as u64);
        let position = before_last + 1;
        // The clock may go back; what is recorded may not.
        let time = self.shared.disk.now().max(before_time);
        let numbers = match index_frame(&self.table, view, draft, position, before_to) {
            Ok(numbers) => numbers,
            Err(error) => {
                self.table.take_back(before_last, before_to, before_time);
                return Err(error);
            }
        };
        let behind = u32::try_from(at).expect("a batch is shorter than 4 GiB");
        draft.write_frame(&Place { seed: self.active.header.seed, position, time, behind }, &numbers, &mut self.batch.bytes);
        self.batch.frames.push((position, at));
        self.batch.last += draft.entries() as u64;
        self.batch.time = time;
        let to = Location::new(self.active.header.number, self.end + self.batch.bytes.len() as u64);
        self.table.extend(to, self.batch.last, time);
        if self.batch.bytes.len() - self.batch.written >= PIECE_BYTES {
            // If this fails, finishing the batch tries again and says so.
            let _ = self.write_out();
        }
        Ok(())
    }

    fn durable_end(&self) -> Location {
        Location::new(self.active.header.number, self.end)
    }

    fn set_mark(&self) {
        self.live.set(Mark { store: self.shared.store, end: self.durable_end(), last: self.last, boot: self.shared.boot });
    }

    /// Brings the batch's bytes to the file, not yet to the disk.
    fn write_out(&mut self) -> Result<()> {
        let bytes = &self.batch.bytes[self.batch.written..];
        let offset = self.end + self.batch.written as u64;
        self.ahead.claim(offset + bytes.len() as u64);
        self.active.file.write(offset, bytes).map_err(self.active.io("can't write"))?;
        if bytes.len() >= PIECE_BYTES {
            self.active.file.begin_sync(offset, bytes.len() as u64);
        }
        self.batch.written = self.batch.bytes.len();
        Ok(())
    }

    /// Makes the batch durable and answers everyone in it.
    fn finish_batch(&mut self) -> Result<()> {
        let outcome = if self.batch.bytes.is_empty() { Ok(()) } else { self.write_and_sync() };
        let proposals = std::mem::take(&mut self.batch.proposals);
        for proposal in proposals {
            proposal.settle(match &outcome {
                Ok(()) => Ok(()),
                Err(Failure::NotRecorded(error)) => Err(Failure::NotRecorded(error.again())),
                Err(Failure::Unknown(error)) => Err(Failure::Unknown(error.again())),
            });
        }
        match outcome {
            Ok(()) if self.table.is_full(self.shared.options.memtable_bytes_max) => {
                let full = Arc::clone(&self.table);
                self.freeze_table();
                self.table.reserve_as(&full);
                self.table.remember_from(&full);
            }
            Ok(()) => {}
            Err(Failure::NotRecorded(error) | Failure::Unknown(error)) => return Err(error),
        }
        Ok(())
    }

    fn write_and_sync(&mut self) -> Result<(), Failure> {
        if let Err(error) = self.write_out() {
            self.take_back();
            // A part may be in the file, whole frames even. It has to go before anyone is told that nothing was recorded.
            return Err(match self.clean() {
                Ok(()) => Failure::NotRecorded(error),
                Err(unclean) => Failure::Unknown(self.poison(format!("{error}, and then {unclean}"))),
            });
        }
        if let Err(error) = self.active.file.sync() {
            self.take_back();
            return Err(Failure::Unknown(self.poison(format!("can't sync {}: {error}", self.active.path.display()))));
        }
        for (position, at) in &self.batch.frames {
            self.active.anchors.note(self.end + *at as u64, *position);
        }
        let bytes = self.batch.bytes.len() as u64;
        (self.end, self.last, self.time) = (self.end + bytes, self.batch.last, self.batch.time);
        self.batch.clear();
        self.active.set_end(self.end);
        self.shared.publish(self.last, self.durable_end());
        self.set_mark();
        self.ahead.note(self.end, bytes);
        Ok(())
    }

    /// Forgets the batch: in memory nothing of it remains.
    fn take_back(&mut self) {
        self.table.take_back(self.last, self.durable_end(), self.time);
        self.batch.clear();
        (self.batch.last, self.batch.time) = (self.last, self.time);
    }

    /// Removes what a failed batch may have left in the file.
    fn clean(&self) -> Result<()> {
        self.ahead.restart(&self.active, self.end, || {
            self.active.file.truncate(self.end).map_err(self.active.io("can't shorten"))?;
            self.active.file.sync().map_err(self.active.io("can't sync"))
        })
    }

    /// Ends the active segment, unless nothing is in it.
    fn seal(&mut self) -> Result<()> {
        self.finish_batch()?;
        if self.rolling || self.end > crate::segment::FIRST_FRAME { self.roll() } else { Ok(()) }
    }

    /// Ends the active segment and begins the next one.
    fn roll(&mut self) -> Result<()> {
        // The next segment says where this one ends. Once it may be there, an entry added here would be lost.
        self.rolling = true;
        match self.begin_next() {
            // Tried again with the next append.
            Err(error @ Error::Full { .. }) => Err(error),
            Err(error) => Err(self.poison(error.to_string())),
            Ok(()) => {
                self.rolling = false;
                Ok(())
            }
        }
    }

    fn begin_next(&mut self) -> Result<()> {
        let mut seed = [0; 4];
        seed.copy_from_slice(&self.shared.disk.random()[..4]);
        let header = SegmentHeader {
            store: self.shared.store,
            number: self.active.header.number + 1,
            seed: u32::from_le_bytes(seed),
            first_position: self.last + 1,
            previous_end: self.end,
        };
        let next = Segment::create(&self.shared.disk, &self.shared.paths.log, header, self.shared.segment_capacity())?;
        let next = Arc::new(next);
        self.ahead.begin(&next, crate::segment::FIRST_FRAME);
        // What was filled ahead is not needed any more; if this fails it only takes up room.
        let _ = self.active.file.truncate(self.end);
        self.shared.change_view(|view| view.segments.push(Arc::clone(&next)));
        self.active = next;
        self.end = crate::segment::FIRST_FRAME;
        self.table.extend(self.durable_end(), self.last, self.time);
        self.shared.publish(self.last, self.durable_end());
        self.set_mark();
        Ok(())
    }

    /// Puts a fresh table before the full one, which is then written out in the background.
    pub(crate) fn freeze_table(&mut self) {
        let fresh = Arc::new(Memtable::new(self.durable_end(), self.last, self.time));
        let full = std::mem::replace(&mut self.table, Arc::clone(&fresh));
        self.shared.change_view(|view| {
            view.tables.active = fresh;
            if !full.is_empty() {
                view.tables.frozen.push(full);
            }
        });
    }

    /// Leaves the log so that it opens at once: nothing to scan, nothing filled ahead.
    pub(crate) fn stop(&mut self) {
        self.freeze_table();
        if self.poisoned.is_none() {
            self.ahead.stop();
            let shortened = self.active.file.truncate(self.end).and_then(|()| self.active.file.sync());
            if let Err(error) = shortened {
                tracing::warn!(%error, "the space filled ahead could not be given back");
            }
            self.live.sync();
        }
    }
}

impl Batch {
    fn clear(&mut self) {
        self.bytes.clear();
        // A batch that was unusually large does not keep its memory.
        self.bytes.shrink_to(BATCH_BYTES_MAX / 4);
        self.frames.clear();
        self.written = 0;
    }
}

/// Adds a frame's keys to the index, and returns the numbers of its entries in their sequences.
fn index_frame(table: &Memtable, view: &View, draft: &Draft, first_position: u64, place: Location) -> Result<Vec<u64>> {
    let numbers = adding::add(table, &view.tables, draft.listing(), first_position)?;
    for key in draft.record_keys() {
        table.add_record(key, place);
    }
    Ok(numbers)
}

impl Pending<'_> {
    /// The position that the next entry recorded gets.
    pub fn next_position(&self) -> u64 {
        self.writer.batch.last + 1
    }

    /// How many entries the sequence `key` has had.
    ///
    /// # Errors
    /// [`Error::Corrupt`] and what the disk says.
    pub fn count(&self, key: Key) -> Result<u64> {
        self.view.tables.count_all(key)
    }

    /// The positions found under `key`, after `after` and up to `up_to`, rising: at most `limit`, from the end that `take` says.
    ///
    /// # Errors
    /// As [`Pending::count`].
    pub fn positions(&self, key: Key, after: u64, up_to: u64, take: Take, limit: usize) -> Result<Vec<u64>> {
        self.view.tables.values(key, (after, up_to), take == Take::Lowest, limit)
    }

    /// Says that these sequences, and keys of theirs, will be asked for: looking at all of them at once is quicker than at one after the
    /// other.
    pub fn look_ahead<'k>(&self, parts: impl Iterator<Item = (Key, &'k [Key])> + Clone) {
        self.view.tables.look_ahead(parts);
    }

    /// Which of these keys any entry can be found under, by their places among them, rising, where only entries of one sequence can have
    /// them. `looked` is what [`Snapshot::look_up_within`](crate::Snapshot::look_up_within) found of the same keys, if it was asked.
    ///
    /// # Errors
    /// As [`Pending::count`].
    pub fn known_within(&self, sequence: Key, keys: &[Key], looked: &Looked) -> Result<Vec<usize>> {
        self.view.tables.known_within(sequence, keys, looked)
    }

    /// The positions found under `key`, rising, where only entries of one sequence can have that key.
    ///
    /// # Errors
    /// As [`Pending::count`].
    pub fn positions_within(&self, sequence: Key, key: Key) -> Result<Vec<u64>> {
        self.view.tables.values_within(sequence, key)
    }

    /// Reads one entry.
    ///
    /// # Errors
    /// As [`Pending::count`].
    pub fn entry<T>(&self, position: u64, read: impl FnOnce(Entry<'_>) -> T) -> Result<T> {
        if position <= self.writer.last {
            return read::entry(self.view, position, read);
        }
        let frames = &self.writer.batch.frames;
        // Frames that hold records only have the position of the entry that follows; the last one with it has the entry.
        let index = frames.partition_point(|(first, _)| *first <= position) - 1;
        let frame = self.frame_in_batch(frames[index].1)?;
        let in_frame = usize::try_from(position - frame.header.position).expect("a frame has few entries");
        frame.entry(in_frame).map(read).map_err(damaged(&self.writer.active.path, self.writer.end))
    }

    /// Reads the newest write to a record; `read` gets it only if its name is `name`.
    ///
    /// # Errors
    /// As [`Pending::count`].
    pub fn record<T>(&self, key: Key, name: &[u8], read: impl FnOnce(RecordEntry<'_>) -> T) -> Result<Option<T>> {
        let Some(place) = self.view.tables.newest_record(key, u64::MAX)?.map(Location) else { return Ok(None) };
        if place < self.writer.durable_end() {
            return Ok(read::record_at(self.view, place, name)?.map(|frame| frame.read(read)));
        }
        let at = usize::try_from(place.offset() - self.writer.end).expect("it is in the batch");
        let frame = self.frame_in_batch(at)?;
        for index in (0..frame.header.records).rev() {
            let record = frame.record(index).map_err(damaged(&self.writer.active.path, place.offset()))?;
            if record.name == name {
                return Ok(Some(read(record)));
            }
        }
        Ok(None)
    }

    fn frame_in_batch(&self, at: usize) -> Result<Frame<'_>> {
        let bytes = &self.writer.batch.bytes[at..];
        let header = crate::frame::Header::read(bytes).expect("it was just written");
        debug_assert!(header.bytes.is_multiple_of(ALIGNMENT));
        Frame::check(bytes[..header.bytes].into(), self.writer.active.header.seed)
            .map_err(damaged(&self.writer.active.path, self.writer.end + at as u64))
    }
}
