//! The contract: what every store does.

mod admission;
#[cfg(any(test, feature = "postgres", feature = "redis"))]
mod batcher;
mod capabilities;
mod ext;
mod options;
mod stats;

use async_trait::async_trait;
use futures::stream::BoxStream;

use crate::error::Result;
use crate::{Append, GlobalPosition, Receipt, Record, RecordName, RecordVersion, RecordWrite, RecordedEvent, StreamId, StreamVersion};

pub(crate) use admission::{Admission, Ledger, Place, admit, admit_record, admit_truncation, check_record, check_shape};
#[cfg(any(feature = "postgres", feature = "redis"))]
pub(crate) use batcher::{BatchLimits, Batcher, SendBatch};
pub use capabilities::{Capabilities, Idempotency, Limits, Support};
pub use ext::EventStoreExt;
pub use options::{Direction, ListStreams, ReadLog, ReadStream};
pub use stats::Stats;

/// Events, read lazily: memory stays bounded however many there are, and a slow reader slows only itself.
pub type EventStream = BoxStream<'static, Result<RecordedEvent>>;

/// Streams, listed lazily.
pub type InfoStream = BoxStream<'static, Result<StreamInfo>>;

/// What a store knows of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamInfo {
    /// Which stream.
    pub stream: StreamId,
    /// How many events it has had.
    pub version: StreamVersion,
    /// The first version that can still be read; [`StreamVersion::FIRST`] unless it was truncated.
    pub first_version: StreamVersion,
}

/// An event store.
///
/// Every implementation keeps the contract that the conformance table checks; what a store can't do it says in its
/// [`Capabilities`] and refuses with [`Error::Unsupported`](crate::Error::Unsupported), never by doing less. All methods may be called
/// concurrently.
#[async_trait]
pub trait EventStore: Send + Sync {
    /// What this store does, and its limits. Constant while it is open.
    fn capabilities(&self) -> Capabilities;

    /// Records an append: all of it, or nothing.
    ///
    /// # Behavior
    /// - When it returns, the events are as durable as the store promises, and every later read sees them.
    /// - Versions in a stream are contiguous from 1; positions increase in the order of the append's streams and events.
    /// - Its records are written with its events, or neither: a record that is not at the version expected is a
    ///   [`RecordConflict`](crate::Error::RecordConflict) and nothing changes. A duplicate writes no record.
    /// - A stream that is not as expected is a [`Conflict`](crate::Error::Conflict) with its actual version; a condition that does not
    ///   hold is [`ConditionFailed`](crate::Error::ConditionFailed). Nothing changes then.
    /// - The same append again (the same ids with the same type, data and metadata, where it put them) gives the first receipt,
    ///   marked as a duplicate. The same id with other content is [`IdReused`](crate::Error::IdReused). Some of the ids but not all is a
    ///   conflict. Ids are per stream; the same id in two streams is two events. Ids of truncated events are forgotten.
    /// - [`OutcomeUnknown`](crate::Error::OutcomeUnknown) where the caller can't know the outcome; sending the same again is always safe,
    ///   except that an append of records alone, which has no ids, is recognised only by the versions that it expects.
    async fn append(&self, append: Append) -> Result<Receipt>;

    /// Appends as [`EventStore::append`], for a caller who has nothing else to do on this thread until it returns: a store may use the thread
    /// to wait for a quick disk itself, instead of having another one do that.
    async fn append_alone(&self, append: Append) -> Result<Receipt> {
        self.append(append).await
    }

    /// Reads one stream. A stream that does not exist, or has no events in the range, gives none.
    ///
    /// # Behavior
    /// - Sees every append that returned before the call; later ones it may see or not.
    /// - Truncated events are not read.
    fn read_stream(&self, stream: &StreamId, options: ReadStream) -> EventStream;

    /// Reads the whole log, or what matches a query, in the order of positions.
    ///
    /// # Behavior
    /// - Once it has given out position p, no event at or below p appears later, to anyone who reads after p.
    /// - Forwards it ends at the end of the log as it was at some moment after the call; it does not wait for more.
    fn read_log(&self, options: ReadLog) -> EventStream;

    /// The position of the last event that a reader can see, [`GlobalPosition::START`] if there is none. It never goes back:
    /// truncating leaves it where it was.
    async fn head(&self) -> Result<GlobalPosition>;

    /// Returns when there may be events after `position`: at once if there are, else when something is recorded.
    ///
    /// A hint, and no more: it may return without cause, and a store may miss a wake-up. Whoever waits looks again from time to
    /// time, as [`Subscription`](crate::Subscription) does. Cancelling it loses nothing.
    async fn wait_after(&self, position: GlobalPosition) -> Result<()>;

    /// What is known of a stream, `None` if it never had an event.
    async fn stream(&self, stream: &StreamId) -> Result<Option<StreamInfo>>;

    /// Lists streams in the order of their first events.
    fn streams(&self, options: ListStreams) -> InfoStream;

    /// Makes a stream's events below version `before` unreadable, for every reader, for ever.
    ///
    /// # Behavior
    /// - Durable when it returns. The stream keeps its version, its later events keep theirs.
    /// - It never brings events back: a smaller `before` than an earlier one changes nothing. `before` may be at most one
    ///   past the stream's version, which empties it; beyond that, and for a stream that does not exist, it is
    ///   [`Error::Invalid`](crate::Error::Invalid).
    async fn truncate_before(&self, stream: &StreamId, before: StreamVersion) -> Result<StreamInfo>;

    /// Reads a record, `None` if it is not there.
    async fn record(&self, name: &RecordName) -> Result<Option<Record>>;

    /// Writes or removes a record, and returns its new version.
    ///
    /// # Behavior
    /// - Durable when it returns. Of several concurrent writes that expect the same version exactly one succeeds; the others get
    ///   [`RecordConflict`](crate::Error::RecordConflict) with the actual version.
    /// - Removing what is not there changes nothing and returns [`RecordVersion::NONE`].
    async fn write_record(&self, write: RecordWrite) -> Result<RecordVersion>;

    /// Counts and sizes.
    async fn stats(&self) -> Result<Stats>;

    /// Finishes what is under way and lets go of the store. Later calls are [`Unavailable`](crate::Error::Unavailable).
    async fn close(&self) -> Result<()>;
}
