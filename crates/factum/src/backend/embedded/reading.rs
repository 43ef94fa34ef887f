//! Reading streams, the log, and lists of streams.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use factum_engine::{Entry, Snapshot, Wanted};

use super::pages::{Page, Pager};
use super::payload::{Decoder, Keys, Parts, TRUNCATION, senseless};
use super::selection::Selection;
use super::source::Source;
use crate::error::Result;
use crate::text::Trusted;
use crate::{Category, Direction, ReadLog, ReadStream, RecordedEvent, StreamId, StreamInfo, StreamVersion};

/// A page ends when its events have so many bytes, even if more were asked for.
const PAGE_BYTES_MAX: usize = 1 << 20;
/// A page ends when so many events have been looked at, even if none was wanted.
const PAGE_VISITS_MAX: usize = 16_384;
/// If a query selects more than one event in so many, reading all of them is quicker than picking.
const DENSE: u64 = 6;
/// So few events are read rather than looked up.
const SHORT_RANGE: u64 = 64;

/// The first version of a stream that can be read, from the record that says so.
pub(super) fn first_version(snapshot: &Snapshot, keys: &Keys, stream: &str) -> Result<u64> {
    if !snapshot.has_records(TRUNCATION) {
        return Ok(1);
    }
    let (key, name) = keys.truncation(stream);
    let version = snapshot.record(key, &name, |record| truncation_of(record.value))?;
    Ok(version.unwrap_or(1))
}

/// What a truncation's record says.
pub(super) fn truncation_of(value: Option<&[u8]>) -> u64 {
    value.and_then(|value| value.try_into().ok()).map_or(1, u64::from_le_bytes)
}

/// What is known of a stream, `None` if it has no events.
pub(super) fn info(snapshot: &Snapshot, keys: &Keys, stream: &StreamId) -> Result<Option<StreamInfo>> {
    let version = snapshot.count(keys.stream(stream.as_str()))?;
    if version == 0 {
        return Ok(None);
    }
    let first_version = StreamVersion::new(first_version(snapshot, keys, stream.as_str())?);
    Ok(Some(StreamInfo { stream: stream.clone(), version: StreamVersion::new(version), first_version }))
}

/// Reads one stream.
pub(super) struct StreamPager {
    source: Arc<Source>,
    stream: StreamId,
    /// Versions still to be read, both inclusive.
    from: u64,
    to: u64,
    direction: Direction,
    decoder: Decoder,
}

impl StreamPager {
    pub(super) fn new(source: Arc<Source>, stream: StreamId, options: ReadStream) -> Self {
        let from = options.from.map_or(1, StreamVersion::get).max(1);
        let to = options.to.map_or(u64::MAX, StreamVersion::get);
        Self { source, stream, from, to, direction: options.direction, decoder: Decoder::default() }
    }
}

impl Pager for StreamPager {
    type Item = RecordedEvent;

    fn page(&mut self, items: usize) -> Result<Page<RecordedEvent>> {
        let snapshot = self.source.snapshot()?;
        let keys = self.source.keys();
        let stream = snapshot.sequence(keys.stream(self.stream.as_str()))?;
        // What is appended while it is read belongs to another read.
        self.to = self.to.min(stream.count());
        self.from = self.from.max(first_version(&snapshot, keys, self.stream.as_str())?);
        if self.from > self.to {
            return Ok(Page::end());
        }
        let more = items as u64 - 1;
        let (from, to) = match self.direction {
            Direction::Forward => (self.from, self.to.min(self.from.saturating_add(more))),
            Direction::Backward => (self.from.max(self.to.saturating_sub(more)), self.to),
        };
        let mut positions = stream.numbered(from, to)?;
        if self.direction == Direction::Backward {
            positions.reverse();
        }
        if positions.len() as u64 != to - from + 1 {
            let reason =
                format!("the index has {} of the {} events of {} from version {from}", positions.len(), to - from + 1, self.stream);
            return Err(crate::Error::Corrupt { reason, source: None });
        }
        let mut last = None;
        let wanted = stream.wanted(&positions);
        let events = read_at(&snapshot, wanted, &mut self.decoder, |entry| last = Some(entry.number), |_| true)?;
        if let Some(last) = last {
            match self.direction {
                Direction::Forward => self.from = last + 1,
                Direction::Backward => self.to = last - 1,
            }
        }
        Ok(Page { items: events, ended: self.from > self.to })
    }
}

/// Reads events at scattered positions, those that are wanted, up to a page's worth of bytes. `passed` is told of each that was looked at.
fn read_at(
    snapshot: &Snapshot,
    positions: Wanted<'_>,
    decoder: &mut Decoder,
    mut passed: impl FnMut(&Entry<'_>),
    mut wanted: impl FnMut(&RecordedEvent) -> bool,
) -> Result<Vec<RecordedEvent>> {
    let mut events = Vec::with_capacity(positions.count());
    let mut bytes = 0;
    let mut failure = None;
    snapshot.entries(positions, |entry| {
        bytes += entry.payload.len();
        passed(&entry);
        match decoder.event(&entry) {
            Ok(Some(event)) => {
                if wanted(&event) {
                    events.push(event);
                }
            }
            Ok(None) => {}
            Err(error) => {
                failure = Some(error);
                return ControlFlow::Break(());
            }
        }
        if bytes >= PAGE_BYTES_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    failure.map_or(Ok(events), Err)
}

/// Reads the log.
pub(super) struct LogPager {
    source: Arc<Source>,
    options: ReadLog,
    /// Positions still to be read: after the first and up to the second. The second is known from the first page on.
    after: u64,
    up_to: u64,
    begun: bool,
    /// How to find what matches; `None` to look at everything.
    selection: Option<Selection>,
    decoder: Decoder,
}

impl LogPager {
    pub(super) fn new(source: Arc<Source>, options: ReadLog) -> Self {
        let after = options.after.number();
        let up_to = options.up_to.map_or(u64::MAX, |up_to| up_to.number());
        Self { source, options, after, up_to, begun: false, selection: None, decoder: Decoder::default() }
    }

    fn begin(&mut self, snapshot: &Snapshot) -> Result<()> {
        self.begun = true;
        self.up_to = self.up_to.min(snapshot.last());
        let range = self.up_to.saturating_sub(self.after);
        if range > SHORT_RANGE {
            self.selection = Selection::of(&self.options.query, self.source.keys());
            if let Some(selection) = &self.selection
                && selection.estimate(snapshot)? > snapshot.last() / DENSE
            {
                self.selection = None;
            }
        }
        Ok(())
    }

    /// Goes on behind this position.
    fn pass(&mut self, position: u64) {
        match self.options.direction {
            Direction::Forward => self.after = position,
            Direction::Backward => self.up_to = position - 1,
        }
    }

    fn picked_page(&mut self, snapshot: &Snapshot, truncations: &mut Truncations<'_>, items: usize) -> Result<Page<RecordedEvent>> {
        let selection = self.selection.as_ref().expect("the page is picked by a selection");
        let positions = selection.positions(snapshot, (self.after, self.up_to), self.options.direction, items)?;
        if positions.is_empty() {
            return Ok(Page::end());
        }
        let mut failure = None;
        let mut passed = 0;
        let query = &self.options.query;
        let pass = |entry: &Entry<'_>| passed = entry.position;
        let events = read_at(snapshot, (&positions).into(), &mut self.decoder, pass, |event| {
            query.matches_event(event) && truncations.is_readable(event, &mut failure)
        })?;
        if let Some(error) = failure {
            return Err(error);
        }
        self.pass(passed);
        Ok(Page { items: events, ended: false })
    }

    fn walked_page(&mut self, snapshot: &Snapshot, truncations: &mut Truncations<'_>, items: usize) -> Result<Page<RecordedEvent>> {
        let mut events = Vec::with_capacity(items);
        let (mut bytes, mut visits, mut passed) = (0, 0, None);
        let mut failure = None;
        let all = self.options.query.is_all();
        let (query, decoder) = (&self.options.query, &mut self.decoder);
        let visit = |entry: Entry<'_>| {
            passed = Some(entry.position);
            visits += 1;
            let Some(parts) = Parts::read(entry.payload) else {
                failure = Some(senseless(entry.position));
                return ControlFlow::Break(());
            };
            if parts.is_husk || !all && !may_match(query, &parts) {
                return if visits < PAGE_VISITS_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) };
            }
            match decoder.event_of(&entry, &parts) {
                Ok(event) => {
                    if (all || query.matches_event(&event)) && truncations.is_readable(&event, &mut failure) {
                        bytes += entry.payload.len();
                        events.push(event);
                    }
                }
                Err(error) => failure = Some(error),
            }
            let full = events.len() >= items || bytes >= PAGE_BYTES_MAX || visits >= PAGE_VISITS_MAX;
            if full || failure.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        match self.options.direction {
            Direction::Forward => snapshot.forward(self.after, self.up_to, visit)?,
            Direction::Backward => snapshot.backward(self.after, self.up_to, visit)?,
        }
        if let Some(error) = failure {
            return Err(error);
        }
        if let Some(position) = passed {
            self.pass(position);
        }
        Ok(Page { items: events, ended: self.after >= self.up_to })
    }
}

/// Whether an event with these parts can match: a look at the bytes, before an event is made of them.
fn may_match(query: &crate::Query, parts: &Parts<'_>) -> bool {
    query.items.iter().any(|item| {
        item.types.is_empty() && item.category.is_none()
            || item.types.iter().any(|event_type| *event_type == *parts.event_type)
            || item.category.as_ref().is_some_and(|category| *category == *crate::stream::category_of(parts.stream))
    })
}

impl Pager for LogPager {
    type Item = RecordedEvent;

    fn page(&mut self, items: usize) -> Result<Page<RecordedEvent>> {
        let source = Arc::clone(&self.source);
        let snapshot = source.snapshot()?;
        if !self.begun {
            self.begin(&snapshot)?;
        }
        if self.after >= self.up_to {
            return Ok(Page::end());
        }
        let mut truncations = Truncations::new(&snapshot, source.keys());
        if self.selection.is_some() {
            self.picked_page(&snapshot, &mut truncations, items)
        } else {
            self.walked_page(&snapshot, &mut truncations, items)
        }
    }

    /// Where every event is looked at, positions say where a part of them begins and ends.
    fn split(mut self, items: usize) -> (Self, Option<Self>) {
        let items = items as u64;
        if !self.begun || self.selection.is_some() || self.up_to.saturating_sub(self.after) <= items {
            return (self, None);
        }
        let mut rest = Self { begun: true, ..Self::new(Arc::clone(&self.source), self.options.clone()) };
        (rest.after, rest.up_to) = (self.after, self.up_to);
        match self.options.direction {
            Direction::Forward => (self.up_to, rest.after) = (self.after + items, self.after + items),
            Direction::Backward => (self.after, rest.up_to) = (self.up_to - items, self.up_to - items),
        }
        (self, Some(rest))
    }
}

/// How far streams are truncated, as far as one page needs to know.
struct Truncations<'s> {
    snapshot: &'s Snapshot,
    keys: &'s Keys,
    any: bool,
    known: HashMap<StreamId, u64>,
}

impl<'s> Truncations<'s> {
    fn new(snapshot: &'s Snapshot, keys: &'s Keys) -> Self {
        Self { snapshot, keys, any: snapshot.has_records(TRUNCATION), known: HashMap::new() }
    }

    fn is_readable(&mut self, event: &RecordedEvent, failure: &mut Option<crate::Error>) -> bool {
        if !self.any {
            return true;
        }
        let first = match self.known.get(&event.stream) {
            Some(first) => *first,
            None => match first_version(self.snapshot, self.keys, event.stream.as_str()) {
                Ok(first) => *self.known.entry(event.stream.clone()).or_insert(first),
                Err(error) => {
                    *failure = Some(error);
                    return false;
                }
            },
        };
        event.version.get() >= first
    }
}

/// Lists streams, in the order of their first events.
pub(super) struct InfoPager {
    source: Arc<Source>,
    category: Option<Category>,
    after: u64,
}

impl InfoPager {
    pub(super) fn new(source: Arc<Source>, category: Option<Category>) -> Self {
        Self { source, category, after: 0 }
    }
}

impl Pager for InfoPager {
    type Item = StreamInfo;

    fn page(&mut self, items: usize) -> Result<Page<StreamInfo>> {
        let snapshot = self.source.snapshot()?;
        let keys = self.source.keys();
        let key = self.category.as_ref().map_or_else(|| keys.streams(), |category| keys.streams_of(category.as_str()));
        let positions = snapshot.positions(key, self.after, u64::MAX, factum_engine::Take::Lowest, items)?;
        let mut infos = Vec::with_capacity(positions.len());
        let mut failure = None;
        snapshot.entries(&positions, |entry| {
            self.after = entry.position;
            let info = match Parts::read(entry.payload) {
                Some(parts) => info(&snapshot, keys, &StreamId::trusted(parts.stream)),
                None => Err(senseless(entry.position)),
            };
            match info {
                Ok(info) => infos.extend(info),
                Err(error) => failure = Some(error),
            }
            if failure.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        let ended = positions.len() < items;
        failure.map_or(Ok(Page { items: infos, ended }), Err)
    }
}
