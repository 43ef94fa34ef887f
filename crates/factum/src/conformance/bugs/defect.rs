//! A defect: a store's method that does something else, over a store that does everything right.

use std::sync::Arc;

use async_trait::async_trait;

use crate::{
    Append, Capabilities, EventStore, EventStream, GlobalPosition, InfoStream, ListStreams, ReadLog, ReadStream, Receipt, Record,
    RecordName, RecordVersion, RecordWrite, Result, SharedStore, Stats, StreamId, StreamInfo, StreamVersion,
};

/// What a broken store does instead of what `sound` does; a method that is not written here is right.
#[async_trait]
pub(super) trait Defect: Send + Sync + 'static {
    fn capabilities(&self, sound: &SharedStore) -> Capabilities {
        sound.capabilities()
    }

    async fn append(&self, sound: &SharedStore, append: Append) -> Result<Receipt> {
        sound.append(append).await
    }

    fn read_stream(&self, sound: &SharedStore, stream: &StreamId, options: ReadStream) -> EventStream {
        sound.read_stream(stream, options)
    }

    fn read_log(&self, sound: &SharedStore, options: ReadLog) -> EventStream {
        sound.read_log(options)
    }

    async fn head(&self, sound: &SharedStore) -> Result<GlobalPosition> {
        sound.head().await
    }

    async fn wait_after(&self, sound: &SharedStore, position: GlobalPosition) -> Result<()> {
        sound.wait_after(position).await
    }

    fn streams(&self, sound: &SharedStore, options: ListStreams) -> InfoStream {
        sound.streams(options)
    }

    async fn truncate_before(&self, sound: &SharedStore, stream: &StreamId, before: StreamVersion) -> Result<StreamInfo> {
        sound.truncate_before(stream, before).await
    }

    async fn record(&self, sound: &SharedStore, name: &RecordName) -> Result<Option<Record>> {
        sound.record(name).await
    }

    async fn write_record(&self, sound: &SharedStore, write: RecordWrite) -> Result<RecordVersion> {
        sound.write_record(write).await
    }

    async fn close(&self, sound: &SharedStore) -> Result<()> {
        sound.close().await
    }
}

/// A store with a defect.
pub(super) struct Defective<D> {
    sound: SharedStore,
    defect: D,
}

/// Plants a defect in a store.
pub(super) fn plant(sound: SharedStore, defect: impl Defect) -> SharedStore {
    Arc::new(Defective { sound, defect })
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<D: Defect> EventStore for Defective<D> {
    fn capabilities(&self) -> Capabilities {
        self.defect.capabilities(&self.sound)
    }

    async fn append(&self, append: Append) -> Result<Receipt> {
        self.defect.append(&self.sound, append).await
    }

    async fn append_alone(&self, append: Append) -> Result<Receipt> {
        self.append(append).await
    }

    fn read_stream(&self, stream: &StreamId, options: ReadStream) -> EventStream {
        self.defect.read_stream(&self.sound, stream, options)
    }

    fn read_log(&self, options: ReadLog) -> EventStream {
        self.defect.read_log(&self.sound, options)
    }

    async fn head(&self) -> Result<GlobalPosition> {
        self.defect.head(&self.sound).await
    }

    async fn wait_after(&self, position: GlobalPosition) -> Result<()> {
        self.defect.wait_after(&self.sound, position).await
    }

    async fn stream(&self, stream: &StreamId) -> Result<Option<StreamInfo>> {
        self.sound.stream(stream).await
    }

    fn streams(&self, options: ListStreams) -> InfoStream {
        self.defect.streams(&self.sound, options)
    }

    async fn truncate_before(&self, stream: &StreamId, before: StreamVersion) -> Result<StreamInfo> {
        self.defect.truncate_before(&self.sound, stream, before).await
    }

    async fn record(&self, name: &RecordName) -> Result<Option<Record>> {
        self.defect.record(&self.sound, name).await
    }

    async fn write_record(&self, write: RecordWrite) -> Result<RecordVersion> {
        self.defect.write_record(&self.sound, write).await
    }

    async fn stats(&self) -> Result<Stats> {
        self.sound.stats().await
    }

    async fn close(&self) -> Result<()> {
        self.defect.close(&self.sound).await
    }
}

/// The row of a bug: its name, the check that catches it, its story, and the defect, which may depend on how often the store was opened.
macro_rules! bug {
    ($name:ident, $caught_by:ident, $story:literal, $defect:expr) => {
        bug!($name, $caught_by, $story, opening _opening => $defect)
    };
    ($name:ident, $caught_by:ident, $story:literal, opening $opening:ident => $defect:expr) => {
        $crate::conformance::bugs::PlantedBug {
            name: stringify!($name),
            story: $story,
            caught_by: stringify!($caught_by),
            plant: |sound, $opening| $crate::conformance::bugs::defect::plant(sound, $defect),
        }
    };
}

pub(super) use bug;
