//! Many events in order: atomic appends of some hundred events, many of them under way at once, so that one sync to disk serves thousands.
//!
//! Because the next appends are sent before the last ones are answered, each says which version it expects of its streams: where one is
//! refused, those behind it that touch the same streams are refused as well, so that no stream's events ever change places.
//!
//! Where events may have been recorded before, as when an import is resumed, only one append is under way at a time, and it expects
//! nothing: what is there already is a duplicate, and an append of which only a part is there is taken apart. With each append that
//! turns out to be new, more are sent at once.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::task::Poll;

use factum::{
    Append, Capabilities, Error, EventStore, EventStoreExt, ExpectedVersion, GlobalPosition, NewEvent, Receipt, StreamAppend, StreamId,
    StreamReceipt, StreamVersion,
};
use foldhash::fast::RandomState;
use futures::FutureExt;
use futures::future::BoxFuture;

/// An event to record, and where it comes from.
#[derive(Clone, Debug)]
pub(crate) struct Proposal {
    /// The number of the input's line, or the source's position: what a refusal names.
    pub(crate) origin: u64,
    /// Where it belongs.
    pub(crate) stream: StreamId,
    /// The event.
    pub(crate) event: NewEvent,
}

/// An event that the store refused.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// Where it comes from.
    pub(crate) origin: u64,
    /// Why.
    pub(crate) error: Error,
}

/// What to do about an append that is not as the store expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnConflict {
    /// Stop: the streams must hold exactly what this sequence put there.
    Stop,
    /// Append what is new whatever is there, and stop at the first event that can't be.
    SortOutUntilRefused,
    /// Append what is new whatever is there, and note what can't be.
    SortOutAll,
}

/// Appends events in the order in which they are pushed.
pub(crate) struct Sequence<'s> {
    store: &'s dyn EventStore,
    on_conflict: OnConflict,
    limits: Limits,
    /// The streams seen so far: where they are in `versions`.
    known: HashMap<StreamId, usize, RandomState>,
    /// The streams seen so far, as they are once the batch and everything under way have been recorded.
    versions: Vec<StreamVersion>,
    /// Whether a stream that has not been seen is looked up; else it has no events, as the whole store had none.
    look_up: bool,
    /// How many appends may be under way now.
    appends_at_once: usize,
    batch: Batch,
    under_way: VecDeque<UnderWay<'s>>,
    events_under_way: usize,
    /// How many events have been recorded now.
    pub(crate) recorded: u64,
    /// How many had been recorded before.
    pub(crate) duplicates: u64,
    /// What the store refused.
    pub(crate) refused: Vec<Refusal>,
    /// Where what was pushed stands, if anyone asks.
    pub(crate) receipts: Option<Vec<Standing>>,
}

/// Where some events that came one after another stand, durably.
#[derive(Debug)]
pub(crate) struct Standing {
    /// Where the first and the last come from.
    pub(crate) origins: [u64; 2],
    /// What the store said of them.
    pub(crate) receipt: StreamReceipt,
    /// Whether they had been recorded before.
    pub(crate) duplicate: bool,
}

/// What one append, and all that is under way, may hold.
#[derive(Clone, Copy, Debug)]
struct Limits {
    append_events: usize,
    append_bytes: usize,
    /// Whether an append may touch more than one stream.
    many_streams: bool,
    events_under_way: usize,
    /// One, where the store might change the order of several.
    appends_at_once: usize,
}

impl Limits {
    fn of(store: &dyn EventStore) -> Self {
        let Capabilities { limits, multi_stream_append, appends_in_order, .. } = store.capabilities();
        let at_most = |wanted: usize, max: u64| usize::try_from(max).map_or(wanted, |max| wanted.min(max));
        Self {
            append_events: at_most(512, limits.append_events_max),
            append_bytes: at_most(1 << 20, limits.append_bytes_max),
            many_streams: multi_stream_append.is_yes(),
            events_under_way: 8_192,
            appends_at_once: if appends_in_order.is_yes() { APPENDS_AT_ONCE_MAX } else { 1 },
        }
    }
}

/// The next append, as it gathers.
#[derive(Debug, Default)]
struct Batch {
    parts: Vec<StreamAppend>,
    /// Where the last part's stream is in `versions`.
    last: usize,
    /// Where each event comes from, in the same order.
    origins: Vec<u64>,
    bytes: usize,
}

struct UnderWay<'s> {
    batch: Batch,
    outcome: BoxFuture<'s, Result<Receipt, Error>>,
}

impl<'s> Sequence<'s> {
    /// A sequence into `store`.
    ///
    /// # Errors
    /// What the store says when it is asked whether it is empty.
    pub(crate) async fn new(store: &'s dyn EventStore, on_conflict: OnConflict) -> Result<Self, Error> {
        Ok(Self {
            store,
            on_conflict,
            limits: Limits::of(store),
            known: HashMap::default(),
            versions: Vec::new(),
            look_up: store.head().await? > GlobalPosition::START,
            appends_at_once: 1,
            batch: Batch::default(),
            under_way: VecDeque::new(),
            events_under_way: 0,
            recorded: 0,
            duplicates: 0,
            refused: Vec::new(),
            receipts: None,
        })
    }

    /// Adds an event. It has been recorded when [`finish`](Self::finish) returns.
    ///
    /// # Errors
    /// What keeps the store from recording anything at all; a single event that it does not take is in `refused`.
    pub(crate) async fn push(&mut self, proposal: Proposal) -> Result<(), Error> {
        let Proposal { origin, stream, event } = proposal;
        if !self.batch.has_room_for(&stream, size(&event), &self.limits) {
            self.send().await?;
        }
        if !self.batch.ends_with(&stream) {
            self.begin_part(stream).await?;
        }
        let version = &mut self.versions[self.batch.last];
        *version = version.plus(1);
        self.batch.add(origin, event);
        Ok(())
    }

    /// Waits until everything that was pushed is recorded or refused.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub(crate) async fn finish(&mut self) -> Result<(), Error> {
        self.send().await?;
        while !self.under_way.is_empty() {
            self.settle_first().await?;
        }
        Ok(())
    }

    /// Says that `stream` is at `version`, so that it need not be found out.
    pub(crate) fn know(&mut self, stream: StreamId, version: StreamVersion) {
        match self.known.get(&stream) {
            Some(index) => self.versions[*index] = version,
            None => _ = self.remember(stream, version),
        }
    }

    fn remember(&mut self, stream: StreamId, version: StreamVersion) -> usize {
        self.versions.push(version);
        let index = self.versions.len() - 1;
        self.known.insert(stream, index);
        index
    }

    /// Goes on with events of another stream.
    async fn begin_part(&mut self, stream: StreamId) -> Result<(), Error> {
        let index = match self.known.get(&stream) {
            Some(index) => *index,
            None => {
                let version = if self.look_up { self.store.version(&stream).await? } else { StreamVersion::NONE };
                self.remember(stream.clone(), version)
            }
        };
        // Most parts are of one event.
        let part = StreamAppend { stream, expected: ExpectedVersion::Exact(self.versions[index]), events: Vec::with_capacity(1) };
        self.batch.parts.push(part);
        self.batch.last = index;
        Ok(())
    }

    /// Sends the batch on its way, and waits for older ones while too much is under way.
    async fn send(&mut self) -> Result<(), Error> {
        if self.batch.origins.is_empty() {
            return Ok(());
        }
        let batch = std::mem::take(&mut self.batch);
        if self.appends_at_once == 1 && self.on_conflict != OnConflict::Stop {
            return self.append_piecewise(batch.into_proposals()).await;
        }
        self.events_under_way += batch.origins.len();
        let mut outcome = self.store.append(Append { streams: batch.parts.clone(), ..Append::default() });
        // The first poll hands the append to the store; this is what makes the order in which they are sent that in which they arrive.
        let outcome = match futures::poll!(&mut outcome) {
            Poll::Ready(outcome) => futures::future::ready(outcome).boxed(),
            Poll::Pending => outcome,
        };
        self.under_way.push_back(UnderWay { batch, outcome });
        while self.events_under_way > self.limits.events_under_way || self.under_way.len() >= self.appends_at_once {
            self.settle_first().await?;
        }
        if self.known.len() > STREAMS_KNOWN_MAX {
            while !self.under_way.is_empty() {
                self.settle_first().await?;
            }
            self.forget();
        }
        Ok(())
    }

    /// Forgets the streams seen so far, when nothing is under way: they are looked up when they come again.
    fn forget(&mut self) {
        self.known.clear();
        self.versions.clear();
        self.look_up = true;
    }

    async fn settle_first(&mut self) -> Result<(), Error> {
        let Some(UnderWay { batch, outcome }) = self.under_way.pop_front() else { return Ok(()) };
        self.events_under_way -= batch.origins.len();
        match outcome.await {
            Ok(receipt) => {
                self.count(&batch.origins, receipt);
                Ok(())
            }
            Err(error) => self.sort_out(batch, error).await,
        }
    }

    /// Notes what became of the events that come from there.
    fn count(&mut self, origins: &[u64], receipt: Receipt) {
        let duplicate = receipt.duplicate;
        if duplicate {
            self.duplicates += origins.len() as u64;
        } else {
            self.recorded += origins.len() as u64;
            self.appends_at_once = (self.appends_at_once * 2).min(self.limits.appends_at_once);
        }
        let Some(receipts) = &mut self.receipts else { return };
        let mut rest = origins;
        for receipt in receipt.streams {
            let events = receipt.last_version.get() - receipt.first_version.get() + 1;
            let (part, others) = rest.split_at(usize::try_from(events).expect("they were in memory"));
            rest = others;
            receipts.push(Standing { origins: [part[0], part[part.len() - 1]], receipt, duplicate });
        }
    }

    /// Waits for everything under way, then appends what was refused piece by piece.
    async fn sort_out(&mut self, batch: Batch, error: Error) -> Result<(), Error> {
        let mut refused = vec![(batch, error)];
        while let Some(UnderWay { batch, outcome }) = self.under_way.pop_front() {
            match outcome.await {
                Ok(receipt) => self.count(&batch.origins, receipt),
                Err(error) => refused.push((batch, error)),
            }
        }
        self.events_under_way = 0;
        let is_final = |error: &Error| self.on_conflict == OnConflict::Stop || !is_refusal(error);
        if let Some(index) = refused.iter().position(|(_, error)| is_final(error)) {
            return Err(refused.swap_remove(index).1);
        }
        for (batch, _) in refused {
            self.append_piecewise(batch.into_proposals()).await?;
            if self.is_stopped() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether an event was refused and nothing more is to be recorded.
    fn is_stopped(&self) -> bool {
        self.on_conflict == OnConflict::SortOutUntilRefused && !self.refused.is_empty()
    }

    /// Appends in order, whatever is there, when nothing is under way: all at once if that goes, else each half by itself, down to
    /// single events.
    async fn append_piecewise(&mut self, proposals: Vec<Proposal>) -> Result<(), Error> {
        let whole: Range<usize> = 0..proposals.len();
        let mut pieces = Vec::from([whole]);
        while let Some(piece) = pieces.pop() {
            match self.store.append(append_of(&proposals[piece.clone()])).await {
                Ok(receipt) => {
                    if receipt.duplicate {
                        self.begin_again();
                    } else {
                        receipt.streams.iter().for_each(|part| self.know(part.stream.clone(), part.last_version));
                    }
                    let origins: Vec<_> = proposals[piece].iter().map(|proposal| proposal.origin).collect();
                    self.count(&origins, receipt);
                }
                Err(error) if !is_refusal(&error) => return Err(error),
                Err(_) if piece.len() > 1 => {
                    let middle = piece.start + piece.len() / 2;
                    pieces.push(middle..piece.end);
                    pieces.push(piece.start..middle);
                }
                Err(error) => {
                    self.begin_again();
                    self.refused.push(Refusal { origin: proposals[piece.start].origin, error });
                    if self.is_stopped() {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// Goes on one append at a time, since not everything is new.
    fn begin_again(&mut self) {
        self.appends_at_once = 1;
        self.forget();
    }
}

/// How many appends may be under way at once.
const APPENDS_AT_ONCE_MAX: usize = 512;

/// How many streams are remembered: some 100 bytes each.
const STREAMS_KNOWN_MAX: usize = 1_000_000;

impl Batch {
    fn has_room_for(&self, stream: &StreamId, bytes: usize, limits: &Limits) -> bool {
        let fits = self.origins.len() < limits.append_events && self.bytes + bytes <= limits.append_bytes;
        self.origins.is_empty() || (fits && (limits.many_streams || self.ends_with(stream)))
    }

    fn ends_with(&self, stream: &StreamId) -> bool {
        self.parts.last().is_some_and(|last| last.stream == *stream)
    }

    fn add(&mut self, origin: u64, event: NewEvent) {
        self.origins.push(origin);
        self.bytes += size(&event);
        self.parts.last_mut().expect("a part was begun").events.push(event);
    }

    fn into_proposals(self) -> Vec<Proposal> {
        let events = self.parts.into_iter().flat_map(|part| part.events.into_iter().map(move |event| (part.stream.clone(), event)));
        events.zip(self.origins).map(|((stream, event), origin)| Proposal { origin, stream, event }).collect()
    }
}

/// One append of some of a batch's events, which may follow on anything.
fn append_of(proposals: &[Proposal]) -> Append {
    let mut append = Append::default();
    for Proposal { stream, event, .. } in proposals {
        match append.streams.last_mut().filter(|last| last.stream == *stream) {
            Some(last) => last.events.push(event.clone()),
            None => append = append.and_to(stream.clone(), ExpectedVersion::Any, [event.clone()]),
        }
    }
    append
}

/// Whether the store refuses these events, and may take others.
fn is_refusal(error: &Error) -> bool {
    matches!(error, Error::Conflict(_) | Error::IdReused { .. } | Error::Invalid { .. } | Error::PayloadTooLarge { .. })
}

fn size(event: &NewEvent) -> usize {
    event.data.len() + event.metadata.len() + 64
}

#[cfg(test)]
mod tests;
