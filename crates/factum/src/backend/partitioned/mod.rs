//! One store made of several, each with a log of its own: streams are placed by their names, and reads merge the logs.
//!
//! A position is a height in a partition's log and the partition's number, in one number. Each append takes the next height of its own
//! partition, so partitions need not ask each other. Whoever reads first *closes* all of them up to the highest position there is: no
//! partition gives out a position at or below it from then on. So what has been read is final, one position says how far a reader came in
//! every partition, and nobody skips.

mod merging;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures::future::{select_all, try_join_all};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};

use crate::error::{Error, Result};
use crate::{
    Append, Capabilities, Direction, EventStore, EventStream, GlobalPosition, InfoStream, ListStreams, ReadLog, ReadStream, Receipt,
    Record, RecordName, RecordVersion, RecordWrite, Stats, StreamId, StreamInfo, StreamVersion, Support,
};

/// What a partition does besides being a store: its positions are among those of the others, and its log can be closed up to one.
#[async_trait]
pub(crate) trait Partition: EventStore {
    /// When this returns, no event that is recorded later has a position at or below `position`, whoever records it.
    async fn close_up_to(&self, position: GlobalPosition) -> Result<()>;

    /// Lists streams in the order of their first events, with the positions of these.
    fn listed(&self, options: ListStreams) -> BoxStream<'static, Result<(GlobalPosition, StreamInfo)>>;
}

/// A store made of partitions.
pub(crate) struct Partitioned<P> {
    shared: Arc<Shared<P>>,
    /// Which partition, of so many, a name belongs to.
    place: fn(&str, u32) -> u32,
}

struct Shared<P> {
    partitions: Vec<P>,
    /// Up to where this process has closed them all.
    closed: AtomicU64,
}

impl<P: Partition + 'static> Partitioned<P> {
    pub(crate) fn new(partitions: Vec<P>, place: fn(&str, u32) -> u32) -> Self {
        Self { shared: Arc::new(Shared { partitions, closed: AtomicU64::new(0) }), place }
    }

    fn number_of(&self, name: &str) -> usize {
        let count = u32::try_from(self.shared.partitions.len()).expect("there are few partitions");
        (self.place)(name, count) as usize
    }

    fn of(&self, name: &str) -> &P {
        &self.shared.partitions[self.number_of(name)]
    }

    /// The one partition that an append concerns.
    fn of_append(&self, append: &Append) -> Result<&P> {
        if append.condition.is_some() {
            return Err(unsupported("an append under a condition", CONDITIONS));
        }
        if !append.records.is_empty() {
            return Err(unsupported("an append that writes records", RECORDS));
        }
        let mut streams = append.streams.iter().map(|part| &part.stream);
        let Some(first) = streams.next() else { return Ok(&self.shared.partitions[0]) };
        let number = self.number_of(first.as_str());
        match streams.find(|stream| self.number_of(stream.as_str()) != number) {
            None => Ok(&self.shared.partitions[number]),
            Some(other) => {
                let what = format!(
                    "an append over streams of two partitions ({first} in {number}, {other} in {})",
                    self.number_of(other.as_str())
                );
                Err(unsupported(&what, MULTI_STREAM))
            }
        }
    }
}

const MULTI_STREAM: &str = "only within one partition; a text in braces keeps streams together, as in Order-{7} and Line-{7}-1";
const CONDITIONS: &str = "no partition knows what the others record";
const RECORDS: &str = "records may be in another partition than the events";

fn unsupported(feature: &str, reason: &str) -> Error {
    Error::Unsupported {
        feature: feature.to_owned(),
        store: "a store with several partitions".to_owned(),
        instead: format!("{reason}; a store with one partition can"),
    }
}

impl<P: Partition> Shared<P> {
    /// Closes all partitions up to the last position that there is, and returns it.
    async fn head(&self) -> Result<GlobalPosition> {
        let heads = try_join_all(self.partitions.iter().map(EventStore::head)).await?;
        let head = heads.into_iter().max().unwrap_or_default();
        self.close_up_to(head).await?;
        Ok(head)
    }

    async fn close_up_to(&self, position: GlobalPosition) -> Result<()> {
        if self.closed.load(Ordering::Acquire) < position.number() {
            try_join_all(self.partitions.iter().map(|partition| partition.close_up_to(position))).await?;
            self.closed.fetch_max(position.number(), Ordering::AcqRel);
        }
        Ok(())
    }

    /// Reads all partitions, and gives their events in the order of positions.
    async fn read_log(self: Arc<Self>, read: ReadLog) -> Result<EventStream> {
        let closed = GlobalPosition::from_number(self.closed.load(Ordering::Acquire));
        let up_to = match read.up_to {
            Some(up_to) if up_to <= closed => up_to,
            up_to => {
                let head = self.head().await?;
                up_to.map_or(head, |up_to| up_to.min(head))
            }
        };
        let read = ReadLog { up_to: Some(up_to), ..read };
        let logs = self.partitions.iter().map(|partition| partition.read_log(read.clone())).collect();
        let (direction, limit) = (read.direction, read.limit);
        let merged = merging::merge(logs, move |event| match direction {
            Direction::Forward => event.position.number(),
            Direction::Backward => u64::MAX - event.position.number(),
        });
        Ok(limited(merged, limit))
    }
}

fn limited<T: Send + 'static>(items: BoxStream<'static, Result<T>>, limit: Option<u64>) -> BoxStream<'static, Result<T>> {
    match limit.and_then(|limit| usize::try_from(limit).ok()) {
        Some(limit) => items.take(limit).boxed(),
        None => items,
    }
}

#[async_trait]
impl<P: Partition + 'static> EventStore for Partitioned<P> {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            multi_stream_append: Support::No(MULTI_STREAM),
            records_in_append: Support::No(RECORDS),
            conditions: Support::No(CONDITIONS),
            contiguous_positions: Support::No("each partition numbers for itself"),
            monotonic_log_time: Support::No("partitions record at the same time, by several clocks"),
            ..self.shared.partitions[0].capabilities()
        }
    }

    async fn append(&self, append: Append) -> Result<Receipt> {
        self.of_append(&append)?.append(append).await
    }

    fn read_stream(&self, stream: &StreamId, options: ReadStream) -> EventStream {
        self.of(stream.as_str()).read_stream(stream, options)
    }

    fn read_log(&self, options: ReadLog) -> EventStream {
        let shared = Arc::clone(&self.shared);
        stream::once(shared.read_log(options)).try_flatten().boxed()
    }

    async fn head(&self) -> Result<GlobalPosition> {
        self.shared.head().await
    }

    async fn wait_after(&self, position: GlobalPosition) -> Result<()> {
        let waits = self.shared.partitions.iter().map(|partition| partition.wait_after(position));
        select_all(waits).await.0
    }

    async fn stream(&self, stream: &StreamId) -> Result<Option<StreamInfo>> {
        self.of(stream.as_str()).stream(stream).await
    }

    fn streams(&self, options: ListStreams) -> InfoStream {
        let limit = options.limit;
        let lists = self.shared.partitions.iter().map(|partition| partition.listed(options.clone())).collect();
        let merged = merging::merge(lists, |(begun, _)| begun.number());
        limited(merged.map_ok(|(_, info)| info).boxed(), limit)
    }

    async fn truncate_before(&self, stream: &StreamId, before: StreamVersion) -> Result<StreamInfo> {
        self.of(stream.as_str()).truncate_before(stream, before).await
    }

    async fn record(&self, name: &RecordName) -> Result<Option<Record>> {
        self.of(name.as_str()).record(name).await
    }

    async fn write_record(&self, write: RecordWrite) -> Result<RecordVersion> {
        self.of(write.name.as_str()).write_record(write).await
    }

    async fn stats(&self) -> Result<Stats> {
        let parts = try_join_all(self.shared.partitions.iter().map(EventStore::stats)).await?;
        Ok(parts.into_iter().reduce(merging::add).unwrap_or_default())
    }

    async fn close(&self) -> Result<()> {
        // All are closed, whatever the first says.
        let mut outcome = Ok(());
        for partition in &self.shared.partitions {
            outcome = outcome.and(partition.close().await);
        }
        outcome
    }
}
