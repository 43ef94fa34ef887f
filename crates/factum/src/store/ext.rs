//! Conveniences over the contract, the same for every store.

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;

use crate::error::{Error, Result};
use crate::{
    Append, Direction, EventStore, ExpectedVersion, NewEvent, ReadStream, Receipt, RecordedEvent, StreamId, StreamInfo, StreamVersion,
};

/// What can be made of [`EventStore`]'s few methods.
#[async_trait]
pub trait EventStoreExt: EventStore {
    /// Appends `events` to one stream.
    ///
    /// # Errors
    /// As [`EventStore::append`].
    async fn append_to(&self, stream: &StreamId, expected: ExpectedVersion, events: Vec<NewEvent>) -> Result<Receipt> {
        self.append(Append::to(stream.clone(), events).expecting(expected)).await
    }

    /// Reads all of a stream into memory; for streams that are known to be short.
    ///
    /// # Errors
    /// As [`EventStore::read_stream`].
    async fn load(&self, stream: &StreamId) -> Result<Vec<RecordedEvent>> {
        self.read_stream(stream, ReadStream::default()).try_collect().await
    }

    /// The stream's version, [`StreamVersion::NONE`] if it has no events.
    ///
    /// # Errors
    /// As [`EventStore::stream`].
    async fn version(&self, stream: &StreamId) -> Result<StreamVersion> {
        Ok(self.stream(stream).await?.map(|info| info.version).unwrap_or_default())
    }

    /// The stream's last event, if it has one that can be read.
    ///
    /// # Errors
    /// As [`EventStore::read_stream`].
    async fn last_event(&self, stream: &StreamId) -> Result<Option<RecordedEvent>> {
        let options = ReadStream { direction: Direction::Backward, limit: Some(1), ..ReadStream::default() };
        self.read_stream(stream, options).next().await.transpose()
    }

    /// Truncates a stream so that its last `count` events remain.
    ///
    /// # Errors
    /// As [`EventStore::truncate_before`].
    async fn truncate_to_last(&self, stream: &StreamId, count: u64) -> Result<StreamInfo> {
        let version = self.version(stream).await?;
        self.truncate_before(stream, StreamVersion::new(version.get().saturating_sub(count) + 1)).await
    }

    /// Truncates a stream so that no event recorded before `instant` remains.
    ///
    /// # Errors
    /// As [`EventStore::truncate_before`]; [`Error::Invalid`] if the stream does not exist.
    async fn truncate_older_than(&self, stream: &StreamId, instant: Timestamp) -> Result<StreamInfo> {
        let Some(info) = self.stream(stream).await? else {
            return Err(Error::invalid(format!("stream {stream} does not exist")));
        };
        let mut events = self.read_stream(stream, ReadStream::default());
        let mut before = info.version.plus(1);
        while let Some(event) = events.try_next().await? {
            if event.recorded_at >= instant {
                before = event.version;
                break;
            }
        }
        self.truncate_before(stream, before).await
    }
}

impl<S: EventStore + ?Sized> EventStoreExt for S {}
