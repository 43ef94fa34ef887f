//! The store in memory: the shortest correct one. Read it first; it says in code what the contract says in words.
//!
//! One mutex makes every append atomic and every position visible in order: the log is a vector, a position is an index into it
//! plus one, a stream is the list of its events' positions.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};
use jiff::Timestamp;
use tokio::sync::watch;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::store::{Admission, Ledger, Place, admit, admit_record, admit_truncation, check_record, check_shape};
use crate::{
    Append, Capabilities, Direction, EventStore, EventStream, GlobalPosition, Idempotency, InfoStream, Limits, ListStreams, Query, ReadLog,
    ReadStream, Receipt, Record, RecordName, RecordVersion, RecordWrite, RecordedEvent, Stats, StreamId, StreamInfo, StreamReceipt,
    StreamVersion, Support,
};

/// A store in the memory of this process, gone with it.
#[derive(Debug)]
pub struct Memory {
    state: Mutex<State>,
    /// The head, for those who wait for it; `None` once the store is closed.
    head: watch::Sender<Option<GlobalPosition>>,
    limits: Limits,
}

#[derive(Debug, Default)]
struct State {
    /// The event at position p is at index p - 1.
    log: Vec<RecordedEvent>,
    streams: HashMap<StreamId, StreamState>,
    /// Stream ids in the order of their first events.
    created: Vec<StreamId>,
    records: HashMap<RecordName, (RecordVersion, Option<Bytes>)>,
    closed: bool,
}

#[derive(Debug, Default)]
struct StreamState {
    /// The index in the log of the event with version v is at v - 1.
    events: Vec<usize>,
    by_id: HashMap<Uuid, usize>,
    /// How many of the first events are truncated.
    truncated: u64,
}

impl Memory {
    /// An empty store.
    pub fn new() -> Self {
        Self::with_limits(Limits::default())
    }

    /// An empty store with other limits.
    pub fn with_limits(limits: Limits) -> Self {
        Self { state: Mutex::default(), head: watch::Sender::new(Some(GlobalPosition::START)), limits }
    }

    fn state(&self) -> Result<MutexGuard<'_, State>> {
        let state = self.state.lock().expect("no holder of this lock panics");
        if state.closed {
            return Err(Error::Unavailable { reason: "the store is closed; open it again".to_owned(), source: None });
        }
        Ok(state)
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    fn head(&self) -> GlobalPosition {
        self.log.last().map(|event| event.position).unwrap_or_default()
    }

    fn is_readable(&self, event: &RecordedEvent) -> bool {
        event.version.get() > self.streams[&event.stream].truncated
    }

    fn info(&self, id: &StreamId) -> Option<StreamInfo> {
        let stream = self.streams.get(id)?;
        Some(StreamInfo {
            stream: id.clone(),
            version: StreamVersion::new(stream.events.len() as u64),
            first_version: StreamVersion::new(stream.truncated + 1),
        })
    }

    /// Adds an append's events to the log, and writes its records.
    fn record(&mut self, append: Append, versions: &[StreamVersion], records: Vec<Option<RecordVersion>>) -> Receipt {
        // The clock may go back; what is recorded may not.
        let now = self.log.last().map_or_else(Timestamp::now, |last| last.recorded_at.max(Timestamp::now()));
        let mut receipts = Vec::with_capacity(append.streams.len());
        for (part, before) in append.streams.into_iter().zip(versions) {
            if *before == StreamVersion::NONE {
                self.created.push(part.stream.clone());
            }
            let stream = self.streams.entry(part.stream.clone()).or_default();
            let first_position = self.log.len() as u64 + 1;
            for event in part.events {
                stream.by_id.insert(event.id, self.log.len());
                stream.events.push(self.log.len());
                self.log.push(RecordedEvent {
                    position: GlobalPosition::from_number(self.log.len() as u64 + 1),
                    stream: part.stream.clone(),
                    version: StreamVersion::new(stream.events.len() as u64),
                    id: event.id,
                    event_type: event.event_type,
                    recorded_at: now,
                    occurred_at: event.occurred_at,
                    data: event.data,
                    metadata: event.metadata,
                    tags: event.tags,
                });
            }
            receipts.push(StreamReceipt {
                stream: part.stream,
                first_version: before.plus(1),
                last_version: StreamVersion::new(stream.events.len() as u64),
                first_position: GlobalPosition::from_number(first_position),
                last_position: GlobalPosition::from_number(self.log.len() as u64),
            });
        }
        let writes = append.records.into_iter().zip(records);
        let records = writes.map(|(write, version)| self.write(write, version)).collect();
        Receipt { streams: receipts, records, duplicate: false }
    }

    /// Gives a record its next version, if it gets one.
    fn write(&mut self, write: RecordWrite, version: Option<RecordVersion>) -> RecordVersion {
        let Some(version) = version else { return RecordVersion::NONE };
        self.records.insert(write.name, (version, write.value));
        version
    }
}

impl Ledger for State {
    fn version(&self, stream: &StreamId, _part: usize) -> Result<StreamVersion> {
        Ok(StreamVersion::new(self.streams.get(stream).map_or(0, |stream| stream.events.len() as u64)))
    }

    fn find(&self, stream: &StreamId, id: Uuid, _place: Place) -> Result<Option<RecordedEvent>> {
        let index = self.streams.get(stream).and_then(|stream| stream.by_id.get(&id));
        Ok(index.map(|index| &self.log[*index]).filter(|event| self.is_readable(event)).cloned())
    }

    fn match_after(&self, query: &Query, after: GlobalPosition) -> Result<Option<GlobalPosition>> {
        let newer = self.log.iter().rev().take_while(|event| event.position > after);
        Ok(newer.filter(|event| query.matches_event(event)).map(|event| event.position).next())
    }

    fn standing(&self, name: &RecordName, _number: usize) -> Result<(u64, bool)> {
        Ok(self.records.get(name).map_or((0, false), |(version, value)| (version.get(), value.is_some())))
    }
}

#[async_trait]
impl EventStore for Memory {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            store: "memory",
            durability: "none: gone with the process",
            multi_stream_append: Support::Yes,
            records_in_append: Support::Yes,
            appends_in_order: Support::Yes,
            conditions: Support::Yes,
            idempotency: Idempotency::Forever,
            contiguous_positions: Support::Yes,
            monotonic_log_time: Support::Yes,
            indexed_queries: Support::No("it looks at every event"),
            truncate: Support::Yes,
            persistent: Support::No("it is in memory"),
            limits: self.limits,
        }
    }

    async fn append(&self, append: Append) -> Result<Receipt> {
        check_shape(&append, &self.limits)?;
        let mut state = self.state()?;
        match admit(&append, &*state)? {
            Admission::Duplicate(receipt) => Ok(receipt),
            Admission::Fresh { versions, records } => {
                let receipt = state.record(append, &versions, records);
                self.head.send_replace(Some(state.head()));
                Ok(receipt)
            }
        }
    }

    fn read_stream(&self, stream: &StreamId, options: ReadStream) -> EventStream {
        let events = self.state().map(|state| {
            let Some(info) = state.info(stream) else { return Vec::new() };
            let from = options.from.unwrap_or_default().max(info.first_version).get();
            let to = options.to.unwrap_or(info.version).min(info.version).get();
            let versions = from..=to;
            let event = |version: u64| state.log[state.streams[stream].events[as_index(version)]].clone();
            let limit = options.limit.map_or(usize::MAX, as_count);
            match options.direction {
                Direction::Forward => versions.take(limit).map(event).collect(),
                Direction::Backward => versions.rev().take(limit).map(event).collect(),
            }
        });
        lazily(events)
    }

    fn read_log(&self, options: ReadLog) -> EventStream {
        let events = self.state().map(|state| {
            let ReadLog { after, up_to, query, direction, limit } = options;
            let wanted = |event: &&RecordedEvent| {
                event.position > after
                    && up_to.is_none_or(|up_to| event.position <= up_to)
                    && state.is_readable(event)
                    && query.matches_event(event)
            };
            let limit = limit.map_or(usize::MAX, as_count);
            match direction {
                Direction::Forward => state.log.iter().filter(wanted).take(limit).cloned().collect(),
                Direction::Backward => state.log.iter().rev().filter(wanted).take(limit).cloned().collect(),
            }
        });
        lazily(events)
    }

    async fn head(&self) -> Result<GlobalPosition> {
        Ok(self.state()?.head())
    }

    async fn wait_after(&self, position: GlobalPosition) -> Result<()> {
        let mut head = self.head.subscribe();
        head.wait_for(|head| head.is_none_or(|head| head > position)).await.map(drop).expect("the sender lives as long as the store");
        self.state().map(drop)
    }

    async fn stream(&self, stream: &StreamId) -> Result<Option<StreamInfo>> {
        Ok(self.state()?.info(stream))
    }

    fn streams(&self, options: ListStreams) -> InfoStream {
        let ListStreams { category, limit } = options;
        let streams = self.state().map(|state| {
            let of_category = |id: &&StreamId| category.as_ref().is_none_or(|category| category.as_str() == id.category_str());
            let listed = state.created.iter().filter(of_category).take(limit.map_or(usize::MAX, as_count));
            listed.map(|id| state.info(id).expect("it was created")).collect()
        });
        lazily(streams)
    }

    async fn truncate_before(&self, id: &StreamId, before: StreamVersion) -> Result<StreamInfo> {
        let mut state = self.state()?;
        let (version, first) = state.info(id).map(|info| (info.version, info.first_version)).unwrap_or_default();
        let first = admit_truncation(id, version, first, before)?;
        state.streams.get_mut(id).expect("it exists").truncated = first.get() - 1;
        Ok(state.info(id).expect("it exists"))
    }

    async fn record(&self, name: &RecordName) -> Result<Option<Record>> {
        let state = self.state()?;
        let Some((version, Some(value))) = state.records.get(name) else { return Ok(None) };
        Ok(Some(Record { version: *version, value: value.clone() }))
    }

    async fn write_record(&self, write: RecordWrite) -> Result<RecordVersion> {
        check_record(&write, self.limits.record_bytes_max)?;
        let mut state = self.state()?;
        let (written, is_there) = state.standing(&write.name, 0)?;
        let version = admit_record(&write, written, is_there)?;
        Ok(state.write(write, version))
    }

    async fn stats(&self) -> Result<Stats> {
        let state = self.state()?;
        let mut categories = BTreeMap::new();
        let mut types = BTreeMap::new();
        for event in &state.log {
            *categories.entry(event.stream.category_str().to_owned()).or_default() += 1;
            *types.entry(event.event_type.as_str().to_owned()).or_default() += 1;
        }
        Ok(Stats {
            store: "memory".to_owned(),
            events: state.log.len() as u64,
            streams: state.created.len() as u64,
            names_cut: categories.len() > Stats::NAMES_MAX || types.len() > Stats::NAMES_MAX,
            categories: categories.into_iter().take(Stats::NAMES_MAX).collect(),
            types: types.into_iter().take(Stats::NAMES_MAX).collect(),
            head: state.head(),
            first_recorded_at: state.log.first().map(|event| event.recorded_at),
            last_recorded_at: state.log.last().map(|event| event.recorded_at),
            ..Stats::default()
        })
    }

    async fn close(&self) -> Result<()> {
        self.state()?.closed = true;
        // Those who wait look up, and see that it is closed.
        self.head.send_replace(None);
        Ok(())
    }
}

/// Gives out what was found; cloning an event shares its bytes, so what waits here is small.
fn lazily<T: Send + 'static>(found: Result<Vec<T>>) -> stream::BoxStream<'static, Result<T>> {
    match found {
        Ok(items) => stream::iter(items.into_iter().map(Ok)).boxed(),
        Err(error) => stream::once(async { Err(error) }).boxed(),
    }
}

fn as_index(version: u64) -> usize {
    as_count(version) - 1
}

fn as_count(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
