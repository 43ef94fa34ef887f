//! The store that bugs are planted in: in memory, but kept on a shelf while it is closed, so that it can be opened again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::future::{Either, select};
use futures::{StreamExt, stream};
use tokio::sync::watch;

use crate::backend::Memory;
use crate::conformance::Subject;
use crate::{
    Append, Capabilities, Error, EventStore, EventStream, GlobalPosition, InfoStream, ListStreams, ReadLog, ReadStream, Receipt, Record,
    RecordName, RecordVersion, RecordWrite, Result, SharedStore, Stats, StreamId, StreamInfo, StreamVersion, Support,
};

/// Stores in memory, by place, with what is planted in each when it is opened.
pub(in crate::conformance) struct Shelf {
    name: &'static str,
    plant: fn(SharedStore, u64) -> SharedStore,
    kept: Mutex<HashMap<String, (Arc<Memory>, u64)>>,
}

impl Shelf {
    pub(super) fn with(name: &'static str, plant: fn(SharedStore, u64) -> SharedStore) -> Self {
        Self { name, plant, kept: Mutex::default() }
    }
}

#[async_trait]
impl Subject for Shelf {
    fn name(&self) -> &str {
        self.name
    }

    async fn open(&self, place: &str) -> Result<SharedStore> {
        let mut kept = self.kept.lock().expect("no holder of this lock panics");
        let (memory, openings) = kept.entry(place.to_owned()).or_default();
        *openings += 1;
        let opened = Opened { memory: memory.clone(), closed: watch::Sender::new(false) };
        Ok((self.plant)(Arc::new(opened), *openings))
    }

    async fn discard(&self, place: &str) {
        self.kept.lock().expect("no holder of this lock panics").remove(place);
    }
}

/// A store in memory that outlives its closing.
struct Opened {
    memory: Arc<Memory>,
    closed: watch::Sender<bool>,
}

impl Opened {
    fn memory(&self) -> Result<&Memory> {
        if *self.closed.borrow() { Err(closed()) } else { Ok(&self.memory) }
    }

    fn stream_of<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Memory) -> stream::BoxStream<'static, Result<T>>,
    ) -> stream::BoxStream<'static, Result<T>> {
        match self.memory() {
            Ok(memory) => read(memory),
            Err(error) => stream::once(async { Err(error) }).boxed(),
        }
    }
}

fn closed() -> Error {
    Error::Unavailable { reason: "the store is closed; open it again".to_owned(), source: None }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl EventStore for Opened {
    fn capabilities(&self) -> Capabilities {
        Capabilities { persistent: Support::Yes, ..self.memory.capabilities() }
    }

    async fn append(&self, append: Append) -> Result<Receipt> {
        self.memory()?.append(append).await
    }

    async fn append_alone(&self, append: Append) -> Result<Receipt> {
        self.append(append).await
    }

    fn read_stream(&self, stream: &StreamId, options: ReadStream) -> EventStream {
        self.stream_of(|memory| memory.read_stream(stream, options))
    }

    fn read_log(&self, options: ReadLog) -> EventStream {
        self.stream_of(|memory| memory.read_log(options))
    }

    async fn head(&self) -> Result<GlobalPosition> {
        self.memory()?.head().await
    }

    async fn wait_after(&self, position: GlobalPosition) -> Result<()> {
        let mut closing = self.closed.subscribe();
        let closing = std::pin::pin!(closing.wait_for(|closed| *closed));
        match select(closing, self.memory()?.wait_after(position)).await {
            Either::Left(_) => Err(closed()),
            Either::Right((woken, _)) => woken,
        }
    }

    async fn stream(&self, stream: &StreamId) -> Result<Option<StreamInfo>> {
        self.memory()?.stream(stream).await
    }

    fn streams(&self, options: ListStreams) -> InfoStream {
        self.stream_of(|memory| memory.streams(options))
    }

    async fn truncate_before(&self, stream: &StreamId, before: StreamVersion) -> Result<StreamInfo> {
        self.memory()?.truncate_before(stream, before).await
    }

    async fn record(&self, name: &RecordName) -> Result<Option<Record>> {
        self.memory()?.record(name).await
    }

    async fn write_record(&self, write: RecordWrite) -> Result<RecordVersion> {
        self.memory()?.write_record(write).await
    }

    async fn stats(&self) -> Result<Stats> {
        self.memory()?.stats().await
    }

    async fn close(&self) -> Result<()> {
        self.memory()?;
        self.closed.send_replace(true);
        Ok(())
    }
}
