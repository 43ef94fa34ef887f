//! Events: proposed by the user, recorded by the store.

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::text::text_type;
use crate::{GlobalPosition, StreamId, StreamVersion, Tag, causation};

text_type! {
    /// The name of a kind of event, such as `OrderPlaced`: 1 to 255 bytes.
    EventType, "event type", 255
}

#[cfg(any(feature = "embedded", feature = "postgres"))]
crate::text::trusted!(EventType);

/// An event as the user proposes it.
///
/// `data` and `metadata` are bytes to the store; Factum's own tools write and expect JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// Unique within its stream; the same id with the same content is recorded once.
    pub id: Uuid,
    /// What happened.
    pub event_type: EventType,
    /// The facts.
    pub data: Bytes,
    /// Facts about the recording (who, which request); empty where there are none.
    pub metadata: Bytes,
    /// Labels for queries across streams, at most [`NewEvent::TAGS_MAX`].
    pub tags: Vec<Tag>,
    /// When it happened, where that is not when it is recorded.
    pub occurred_at: Option<Timestamp>,
}

impl NewEvent {
    /// The most tags that one event carries.
    pub const TAGS_MAX: usize = 16;

    /// An event with a new id and no tags; its metadata is empty but for the [`causation`] of the scope it is made in.
    pub fn new(event_type: EventType, data: impl Into<Bytes>) -> Self {
        Self {
            id: Uuid::now_v7(),
            event_type,
            data: data.into(),
            metadata: causation::stamp(Bytes::new()),
            tags: Vec::new(),
            occurred_at: None,
        }
    }

    /// An event with a new id whose data is `data` in JSON.
    ///
    /// # Errors
    /// [`Error::Invalid`] if `event_type` is not one, or `data` can't be written as JSON.
    pub fn json(event_type: impl AsRef<str>, data: &impl Serialize) -> Result<Self> {
        let bytes = serde_json::to_vec(data).map_err(|error| Error::invalid(format!("event data can't be written as JSON: {error}")))?;
        Ok(Self::new(EventType::new(event_type)?, bytes))
    }

    /// The same event with this id.
    #[must_use]
    pub fn with_id(mut self, id: Uuid) -> Self {
        self.id = id;
        self
    }

    /// The same event with this metadata, to which the [`causation`] of the scope is added if it is a JSON object.
    #[must_use]
    pub fn with_metadata(mut self, metadata: impl Into<Bytes>) -> Self {
        self.metadata = causation::stamp(metadata.into());
        self
    }

    /// The same event with one tag more.
    #[must_use]
    pub fn with_tag(mut self, tag: Tag) -> Self {
        self.tags.push(tag);
        self
    }

    /// The same event, said to have happened at `occurred_at`.
    #[must_use]
    pub fn with_occurred_at(mut self, occurred_at: Timestamp) -> Self {
        self.occurred_at = Some(occurred_at);
        self
    }
}

/// An event as the store keeps it: durable, and never changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedEvent {
    /// Its place in the order of the whole store.
    pub position: GlobalPosition,
    /// The stream it belongs to.
    pub stream: StreamId,
    /// Its place in its stream.
    pub version: StreamVersion,
    /// Unique within its stream.
    pub id: Uuid,
    /// What happened.
    pub event_type: EventType,
    /// When the store recorded it; never goes back within a stream.
    pub recorded_at: Timestamp,
    /// When it happened, as its writer said; `None` where the writer said nothing.
    pub occurred_at: Option<Timestamp>,
    /// The facts.
    pub data: Bytes,
    /// Facts about the recording; empty where there are none.
    pub metadata: Bytes,
    /// Labels for queries across streams.
    pub tags: Vec<Tag>,
}

impl RecordedEvent {
    /// When it happened: `occurred_at`, or `recorded_at` where the writer gave none.
    pub fn happened_at(&self) -> Timestamp {
        self.occurred_at.unwrap_or(self.recorded_at)
    }

    /// Whether `proposed` says the same as this event: type, data and metadata.
    pub fn has_content_of(&self, proposed: &NewEvent) -> bool {
        self.event_type == proposed.event_type && self.data == proposed.data && self.metadata == proposed.metadata
    }

    /// The data, read as JSON.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the data is not JSON of that shape.
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.data).map_err(|error| {
            let Self { stream, version, event_type, .. } = self;
            Error::invalid(format!("the data of {event_type} ({stream} version {version}) is not as asked for: {error}"))
        })
    }
}
