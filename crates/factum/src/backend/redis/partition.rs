//! One partition: a log and its streams in the keys of one hash tag. A store on one server is usually one of these.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use redis::Value;

use super::appending::{self, Appender, Numbers, Place};
use super::entries;
use super::error::{closed, unreadable};
use super::keys::Keys;
use super::library::{Call, Library};
use super::link::{Confirmation, Link, Repeat};
use super::listening::Listener;
use super::paging;
use super::reading::{InfoPager, Listed, LogPager, StreamPager};
use super::servers::Servers;
use super::url::RedisOptions;
use crate::backend::partitioned;
use crate::error::{Error, Result};
use crate::store::{BatchLimits, Batcher, check_record, check_shape};
use crate::{
    Append, Capabilities, EventStore, EventStream, GlobalPosition, InfoStream, ListStreams, ReadLog, ReadStream, Receipt, Record,
    RecordName, RecordVersion, RecordWrite, Stats, StreamId, StreamInfo, StreamVersion,
};

/// One call at a time, because the server syncs once for each; and not too long ones, because it does nothing else meanwhile.
const BATCHES: BatchLimits = BatchLimits { in_flight_max: 1, events_max: 500, bytes_max: 4 << 20, queue_max: 4_096 };

/// A partition of a store that is open.
#[derive(Debug)]
pub(super) struct Partition {
    servers: Arc<Servers>,
    keys: Keys,
    place: Place,
    capabilities: Capabilities,
    appends: Batcher<Arc<Appender>>,
    writing: Arc<Link>,
    reading: Link,
    confirms: bool,
    listener: Listener,
    /// The height that this process knows the log has come to, in any partition: what it appends stands above.
    height: Arc<AtomicU64>,
    closed: AtomicBool,
}

/// A partition behind a handle, as the store that it is.
#[derive(Clone, Debug)]
pub(super) struct PartitionStore(pub(super) Arc<Partition>);

impl Partition {
    pub(super) fn new(
        servers: &Arc<Servers>,
        options: &RedisOptions,
        place: Place,
        height: &Arc<AtomicU64>,
        capabilities: Capabilities,
    ) -> Self {
        let keys = Keys::new(&options.name, place.partition);
        let confirmation = (options.wait > 0).then(|| Confirmation { replicas: options.wait, key: keys.meta() });
        let confirms = confirmation.is_some();
        let writing = Arc::new(Link::new(Arc::clone(servers), keys.log(), confirmation));
        let appender = Arc::new(Appender {
            servers: Arc::clone(servers),
            link: Arc::clone(&writing),
            log: keys.log().to_owned(),
            place,
            height: Arc::clone(height),
        });
        Self {
            appends: Batcher::new(appender, BATCHES),
            writing,
            confirms,
            reading: Link::new(Arc::clone(servers), keys.log(), None),
            listener: Listener::new(),
            servers: Arc::clone(servers),
            keys,
            place,
            capabilities,
            height: Arc::clone(height),
            closed: AtomicBool::new(false),
        }
    }

    pub(super) fn keys(&self) -> &Keys {
        &self.keys
    }

    pub(super) fn place(&self) -> Place {
        self.place
    }

    pub(super) fn kind(&self) -> &'static str {
        self.capabilities.store
    }

    pub(super) fn library(&self) -> &Library {
        self.servers.library()
    }

    pub(super) fn reading(&self) -> &Link {
        &self.reading
    }

    pub(super) fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) { Err(closed()) } else { Ok(()) }
    }

    /// Whether replicas confirm appends. Then the log is read as far as they have it: what a failover may take back nobody has seen.
    pub(super) fn confirms(&self) -> bool {
        self.confirms
    }

    /// The position of its last event. Where replicas confirm appends, they have confirmed it.
    pub(super) async fn head(&self) -> Result<GlobalPosition> {
        self.check_open()?;
        let mut cmd = redis::cmd("HGET");
        cmd.arg(self.keys.meta()).arg("head");
        let link = if self.confirms { &*self.writing } else { &self.reading };
        match link.command(cmd, Repeat::Harmless).await? {
            Value::Nil => Ok(GlobalPosition::START),
            Value::BulkString(digits) => entries::number(&digits).map(GlobalPosition::from_number).ok_or_else(|| unreadable("a position")),
            _ => Err(unreadable("a position")),
        }
    }

    /// What is known of each of these streams.
    pub(super) async fn infos(&self, streams: &[StreamId]) -> Result<Vec<Option<Listed>>> {
        if streams.is_empty() {
            return Ok(Vec::new());
        }
        let command = |stream: &StreamId| {
            let mut cmd = redis::cmd("HMGET");
            cmd.arg(self.keys.ids(stream)).arg("version").arg("first").arg("begun");
            cmd
        };
        let answers = self.reading.commands(streams.iter().map(command).collect(), Repeat::Harmless).await;
        streams.iter().zip(answers).map(|(stream, answer)| info(stream, &answer?)).collect()
    }

    /// Truncates a little; gives from where on the stream can be read then, and whether that is what was asked for.
    async fn truncate_some(&self, stream: &StreamId, before: StreamVersion) -> Result<(StreamInfo, bool)> {
        let mut request = self.library().call(Call::Truncate, self.keys.log());
        request.arg(stream.as_str()).arg(before.get());
        let answer = Numbers::of(self.writing.command(request.into_cmd(), Repeat::Harmless).await?)?;
        match answer.at(0)? {
            0 => Err(Error::invalid(format!("stream {stream} does not exist; there is nothing to truncate"))),
            1 => {
                let version = StreamVersion::new(answer.at(1)?);
                let max = version.plus(1);
                Err(Error::invalid(format!("stream {stream} is at version {version}; truncate before {max} at most")))
            }
            _ => {
                let first_version = StreamVersion::new(answer.at(2)?);
                let info = StreamInfo { stream: stream.clone(), version: StreamVersion::new(answer.at(1)?), first_version };
                Ok((info, first_version >= before))
            }
        }
    }

    fn reached(&self, position: GlobalPosition) {
        self.height.fetch_max(self.place.height(position), Ordering::AcqRel);
    }
}

fn info(stream: &StreamId, answer: &Value) -> Result<Option<Listed>> {
    let Value::Array(fields) = answer else { return Err(unreadable("what is known of a stream")) };
    let field = |index: usize| match fields.get(index) {
        Some(Value::BulkString(digits)) => entries::number(digits),
        _ => None,
    };
    Ok(field(0).map(|version| Listed {
        info: StreamInfo {
            stream: stream.clone(),
            version: StreamVersion::new(version),
            first_version: field(1).map_or(StreamVersion::FIRST, StreamVersion::new),
        },
        begun: GlobalPosition::from_number(field(2).unwrap_or_default()),
    }))
}

#[async_trait]
impl EventStore for PartitionStore {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities.clone()
    }

    async fn append(&self, append: Append) -> Result<Receipt> {
        check_shape(&append, &self.0.capabilities.limits)?;
        self.0.check_open()?;
        let receipt = self.0.appends.append(append).await?;
        self.0.listener.heard_of(receipt.last_position());
        Ok(receipt)
    }

    fn read_stream(&self, stream: &StreamId, options: ReadStream) -> EventStream {
        paging::stream(StreamPager::new(Arc::clone(&self.0), stream.clone(), options), options.limit)
    }

    fn read_log(&self, options: ReadLog) -> EventStream {
        let limit = options.limit;
        paging::stream(LogPager::new(Arc::clone(&self.0), options), limit)
    }

    async fn head(&self) -> Result<GlobalPosition> {
        self.0.head().await
    }

    async fn wait_after(&self, position: GlobalPosition) -> Result<()> {
        self.0.check_open()?;
        self.0.listener.wait_after(&self.0.servers, &self.0.keys, position).await
    }

    async fn stream(&self, stream: &StreamId) -> Result<Option<StreamInfo>> {
        self.0.check_open()?;
        let found = self.0.infos(std::slice::from_ref(stream)).await?.pop().flatten();
        Ok(found.map(|listed| listed.info))
    }

    fn streams(&self, options: ListStreams) -> InfoStream {
        partitioned::Partition::listed(self, options).map(|listed| listed.map(|(_, info)| info)).boxed()
    }

    async fn truncate_before(&self, stream: &StreamId, before: StreamVersion) -> Result<StreamInfo> {
        self.0.check_open()?;
        loop {
            let (info, done) = self.0.truncate_some(stream, before).await?;
            if done {
                return Ok(info);
            }
        }
    }

    async fn record(&self, name: &RecordName) -> Result<Option<Record>> {
        self.0.check_open()?;
        let mut cmd = redis::cmd("HMGET");
        cmd.arg(self.0.keys.record(name)).arg("version").arg("value");
        let Value::Array(fields) = self.0.reading.command(cmd, Repeat::Harmless).await? else { return Err(unreadable("a record")) };
        match <[Value; 2]>::try_from(fields) {
            Ok([Value::BulkString(version), Value::BulkString(value)]) => {
                let version = entries::number(&version).ok_or_else(|| unreadable("a record's version"))?;
                Ok(Some(Record { version: RecordVersion::new(version), value: value.into() }))
            }
            Ok(_) => Ok(None),
            Err(_) => Err(unreadable("a record")),
        }
    }

    async fn write_record(&self, write: RecordWrite) -> Result<RecordVersion> {
        check_record(&write, self.0.capabilities.limits.record_bytes_max)?;
        self.0.check_open()?;
        let mut request = self.0.library().call(Call::Record, self.0.keys.log());
        appending::add_record(&mut request, &write);
        appending::record_version(&write, self.0.writing.command(request.into_cmd(), Repeat::Never).await?)
    }

    async fn stats(&self) -> Result<Stats> {
        self.0.check_open()?;
        super::stats::stats(&self.0).await
    }

    async fn close(&self) -> Result<()> {
        self.0.check_open()?;
        self.0.closed.store(true, Ordering::Release);
        self.0.appends.close().await;
        self.0.listener.close();
        self.0.writing.close().await;
        self.0.reading.close().await;
        Ok(())
    }
}

#[async_trait]
impl partitioned::Partition for PartitionStore {
    async fn close_up_to(&self, position: GlobalPosition) -> Result<()> {
        self.0.check_open()?;
        let mut request = self.0.library().call(Call::Close, self.0.keys.log());
        request.arg(self.0.place.height(position));
        self.0.writing.command(request.into_cmd(), Repeat::Harmless).await?;
        self.0.reached(position);
        Ok(())
    }

    fn listed(&self, options: ListStreams) -> BoxStream<'static, Result<(GlobalPosition, StreamInfo)>> {
        let ListStreams { category, limit } = options;
        let listed = paging::stream(InfoPager::new(Arc::clone(&self.0), category.as_ref()), limit);
        listed.map(|listed| listed.map(|Listed { info, begun }| (begun, info))).boxed()
    }
}
