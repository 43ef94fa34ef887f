//! The embedded store: one directory, no server. The contract over [`factum_engine`]'s log.

mod appending;
mod error;
mod maintenance;
mod pages;
mod payload;
mod reading;
mod selection;
mod source;
mod stats;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use factum_engine::disk::RealDisk;
use factum_engine::{Engine, Follower, Options};
use tokio::sync::{oneshot, watch};

use crate::error::{Error, Result};
use crate::store::{check_record, check_shape};
use crate::{
    Append, Capabilities, EventStore, EventStream, GlobalPosition, Idempotency, InfoStream, Limits, ListStreams, ReadLog, ReadStream,
    Receipt, Record, RecordName, RecordVersion, RecordWrite, Stats, StreamId, StreamInfo, StreamVersion, Support,
};
use appending::{AppendRequest, Decide, Request, TruncateRequest};
pub use maintenance::{CompactReport, Problem, SalvageReport, VerifyProgress, VerifyReport, compact, salvage, verify};
use payload::EventIndexer;
use reading::{InfoPager, LogPager, StreamPager};
use source::{Log, Source};

/// The most events that an append may have: frames count them in 16 bits.
const APPEND_EVENTS_MAX: u64 = 60_000;
/// The largest payload that an embedded store can be opened to take, in bytes.
const PAYLOAD_BYTES_MAX: u64 = 60 << 20;

/// How to open an embedded store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmbeddedOptions {
    /// Opens beside another process that may be writing, and changes nothing.
    pub read_only: bool,
    /// Makes the store if there is none. A read-only store is never made.
    pub create: bool,
    /// What it takes at most.
    pub limits: Limits,
    /// A file of the log gets no longer than this, in bytes; at most 2 GiB.
    pub segment_bytes_max: u64,
    /// How much memory the newest part of the index may take, in bytes. Twice as much is used while it is written out.
    pub memtable_bytes_max: usize,
    /// Whether the log's file is filled with zeros ahead of the writer: syncing takes half the time then, and twice as much is written.
    pub fill_ahead: bool,
    /// A file of the log that is complete is replaced by a smaller one, in the background, when more of its bytes are dead than this, in
    /// percent: values of records that were overwritten, and the content of truncated events. Never at 100.
    pub dead_percent_max: u8,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        let Options { segment_bytes_max, memtable_bytes_max, fill_ahead, dead_percent_max } = Options::default();
        let limits = Limits::default();
        Self { read_only: false, create: true, limits, segment_bytes_max, memtable_bytes_max, fill_ahead, dead_percent_max }
    }
}

/// An event store in a directory. One process writes it, any number read along.
///
/// An append returns when `fdatasync` has. Dropping the store, or [`EventStore::close`], leaves it so that it opens at once; being
/// killed only makes the next opening take a little longer.
#[derive(Debug)]
pub struct Embedded {
    directory: PathBuf,
    limits: Limits,
    source: Arc<Source>,
}

impl Embedded {
    /// Opens the store in `directory`.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if there is none and `create` is false, or another process writes to it (which, it says);
    /// [`Error::Corrupt`] if it is damaged.
    pub fn open(directory: impl AsRef<Path>, options: EmbeddedOptions) -> Result<Self> {
        let directory = directory.as_ref();
        let EmbeddedOptions { read_only, create, limits, segment_bytes_max, memtable_bytes_max, fill_ahead, dead_percent_max } = options;
        check_limits(&limits)?;
        let segment_bytes_max = segment_bytes_max.clamp(1 << 16, 1 << 31);
        let options = Options { segment_bytes_max, memtable_bytes_max, fill_ahead, dead_percent_max };
        let (head, watched) = watch::channel(0);
        let (disk, indexer) = (Arc::new(RealDisk), Arc::new(EventIndexer::default()));
        let log = if read_only {
            Log::Followed(Follower::open(disk, directory, options, indexer)?)
        } else {
            let on_durable = move |position| {
                head.send_replace(position);
            };
            Log::Own(Engine::open(disk, directory, create, options, indexer, on_durable)?)
        };
        Ok(Self { directory: directory.to_owned(), limits, source: Arc::new(Source::new(log, watched)) })
    }

    /// Opens the store that the part of a `file:` URL behind the colon names.
    pub(crate) fn from_url(rest: &str) -> Result<Self> {
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        // `file:///a` and `file:/a` are one place, `file:a` is relative.
        let path = path.strip_prefix("//").unwrap_or(path);
        if path.is_empty() {
            return Err(Error::invalid("file: needs a path, as in file:./factum-data"));
        }
        let mut options = EmbeddedOptions::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "read_only" => options.read_only = truth(name, value)?,
                "create" => options.create = truth(name, value)?,
                "fill_ahead" => options.fill_ahead = truth(name, value)?,
                "append_events_max" => options.limits.append_events_max = number(name, value, APPEND_EVENTS_MAX)?,
                "payload_bytes_max" => options.limits.payload_bytes_max = number(name, value, PAYLOAD_BYTES_MAX)?,
                "dead_percent_max" => options.dead_percent_max = u8::try_from(number(name, value, 100)?).unwrap_or(100),
                _ => {
                    let known = "read_only, create, fill_ahead, append_events_max, payload_bytes_max, dead_percent_max";
                    return Err(Error::invalid(format!("file: has no option {name:?}; it has {known}")));
                }
            }
        }
        Self::open(path, options)
    }

    /// An append, ready to be proposed.
    fn prepare(&self, append: Append) -> Result<AppendRequest> {
        check_shape(&append, &self.limits)?;
        self.source.check_writable()?;
        let mut request = AppendRequest::new(append, self.source.keys());
        request.look_up(&self.source)?;
        Ok(request)
    }

    async fn request<D: Decide>(&self, decide: D) -> Result<D::Answer> {
        let (request, answer) = Request::new(decide, self.source.keys().clone());
        self.source.propose(request);
        wait_for(answer).await
    }
}

/// Checks that what the limits allow fits into the log's units.
fn check_limits(limits: &Limits) -> Result<()> {
    let Limits { payload_bytes_max, append_events_max, append_bytes_max, record_bytes_max } = *limits;
    let checks = [
        ("payload_bytes_max", payload_bytes_max, PAYLOAD_BYTES_MAX),
        ("append_events_max", append_events_max, APPEND_EVENTS_MAX),
        ("append_bytes_max", append_bytes_max, 128 << 20),
        ("record_bytes_max", record_bytes_max, 128 << 20),
    ];
    match checks.iter().find(|(_, asked, max)| asked > max) {
        Some((name, asked, max)) => Err(Error::invalid(format!("{name} is {asked}, and an embedded store takes at most {max}"))),
        None => Ok(()),
    }
}

/// Waits for the writer's answer. It gives one to everyone, unless it panicked.
async fn wait_for<T, D>(answer: oneshot::Receiver<(Result<T>, D)>) -> Result<T> {
    match answer.await {
        Ok((answer, _request)) => answer,
        Err(_) => Err(Error::OutcomeUnknown { reason: "the log's writer has stopped".to_owned(), source: None }),
    }
}

fn truth(name: &str, value: &str) -> Result<bool> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Error::invalid(format!("{name} is true or false, not {value:?}"))),
    }
}

fn number(name: &str, value: &str, max: u64) -> Result<u64> {
    let parsed = value.parse().ok().filter(|number| (1..=max).contains(number));
    parsed.ok_or_else(|| Error::invalid(format!("{name} is a number from 1 to {max}, not {value:?}")))
}

#[async_trait]
impl EventStore for Embedded {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            store: "file",
            durability: "on disk before the answer: fdatasync has returned",
            multi_stream_append: Support::Yes,
            records_in_append: Support::Yes,
            appends_in_order: Support::Yes,
            conditions: Support::Yes,
            idempotency: Idempotency::Forever,
            contiguous_positions: Support::Yes,
            monotonic_log_time: Support::Yes,
            indexed_queries: Support::Yes,
            truncate: Support::Yes,
            persistent: Support::Yes,
            limits: self.limits,
        }
    }

    async fn append(&self, append: Append) -> Result<Receipt> {
        self.request(self.prepare(append)?).await
    }

    async fn append_alone(&self, append: Append) -> Result<Receipt> {
        let (request, answer) = Request::new(self.prepare(append)?, self.source.keys().clone());
        self.source.propose_here(request);
        wait_for(answer).await
    }

    fn read_stream(&self, stream: &StreamId, options: ReadStream) -> EventStream {
        pages::stream(StreamPager::new(Arc::clone(&self.source), stream.clone(), options), options.limit)
    }

    fn read_log(&self, options: ReadLog) -> EventStream {
        let limit = options.limit;
        pages::stream(LogPager::new(Arc::clone(&self.source), options), limit)
    }

    async fn head(&self) -> Result<GlobalPosition> {
        Ok(GlobalPosition::from_number(self.source.snapshot()?.last()))
    }

    async fn wait_after(&self, position: GlobalPosition) -> Result<()> {
        self.source.wait_after(position.number()).await
    }

    async fn stream(&self, stream: &StreamId) -> Result<Option<StreamInfo>> {
        reading::info(&self.source.snapshot()?, self.source.keys(), stream)
    }

    fn streams(&self, options: ListStreams) -> InfoStream {
        pages::stream(InfoPager::new(Arc::clone(&self.source), options.category), options.limit)
    }

    async fn truncate_before(&self, stream: &StreamId, before: StreamVersion) -> Result<StreamInfo> {
        self.source.check_writable()?;
        self.request(TruncateRequest { stream: stream.clone(), before }).await
    }

    async fn record(&self, name: &RecordName) -> Result<Option<Record>> {
        let (key, engine_name) = self.source.keys().record(name.as_str());
        let record = self.source.snapshot()?.record(key, &engine_name, |record| {
            let version = RecordVersion::new(record.version);
            record.value.map(|value| Record { version, value: Bytes::copy_from_slice(value) })
        })?;
        Ok(record.flatten())
    }

    async fn write_record(&self, write: RecordWrite) -> Result<RecordVersion> {
        check_record(&write, self.limits.record_bytes_max)?;
        self.source.check_writable()?;
        self.request(write).await
    }

    async fn stats(&self) -> Result<Stats> {
        stats::stats(&self.source, &self.directory)
    }

    async fn close(&self) -> Result<()> {
        self.source.check_open()?;
        let source = Arc::clone(&self.source);
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => runtime
                .spawn_blocking(move || source.close())
                .await
                .map_err(|error| Error::Unavailable { reason: "closing was stopped".to_owned(), source: Some(error.into()) }),
            Err(_) => {
                source.close();
                Ok(())
            }
        }
    }
}
