//! Appends: one atomic request over streams and records, and its receipt.

use crate::{ExpectedVersion, GlobalPosition, NewEvent, Query, RecordVersion, RecordWrite, StreamId, StreamVersion};

/// One atomic request: all of its events are recorded and all of its records written, or none.
///
/// ```
/// # use factum::{Append, ExpectedVersion, NewEvent, StreamId};
/// let order = StreamId::new("Order-1")?;
/// let append = Append::to(order, [NewEvent::json("OrderPlaced", &"a book")?]).expecting(ExpectedVersion::NoStream);
/// assert_eq!(append.events(), 1);
/// # Ok::<(), factum::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Append {
    /// What it adds to streams; events take positions in this order. A stream may come again: a later part follows the earlier ones,
    /// and what it expects is the stream as they left it.
    pub streams: Vec<StreamAppend>,
    /// Records that are written with the events, each at most once.
    pub records: Vec<RecordWrite>,
    /// What must hold of the whole store besides.
    pub condition: Option<Condition>,
}

/// What an [`Append`] adds to one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamAppend {
    /// Which stream.
    pub stream: StreamId,
    /// What is expected of it before.
    pub expected: ExpectedVersion,
    /// The events, in order; at least one, each with an id that no other of the append's events for this stream has.
    pub events: Vec<NewEvent>,
}

/// "Nothing matching this query was recorded after that position": a consistency boundary that is not a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// What must not have happened.
    pub none_of: Query,
    /// Since when: the last position that the decision took into account, [`GlobalPosition::START`] for ever.
    pub after: GlobalPosition,
}

impl Append {
    /// Appends `events` to one stream, whatever its version.
    pub fn to(stream: StreamId, events: impl IntoIterator<Item = NewEvent>) -> Self {
        Self::default().and_to(stream, ExpectedVersion::Any, events)
    }

    /// The same append with one stream more.
    #[must_use]
    pub fn and_to(mut self, stream: StreamId, expected: ExpectedVersion, events: impl IntoIterator<Item = NewEvent>) -> Self {
        self.streams.push(StreamAppend { stream, expected, events: events.into_iter().collect() });
        self
    }

    /// The same append, expecting this of the stream that was added last.
    #[must_use]
    pub fn expecting(mut self, expected: ExpectedVersion) -> Self {
        if let Some(last) = self.streams.last_mut() {
            last.expected = expected;
        }
        self
    }

    /// The same append, writing a record too.
    #[must_use]
    pub fn and_record(mut self, write: RecordWrite) -> Self {
        self.records.push(write);
        self
    }

    /// The same append under a condition.
    #[must_use]
    pub fn on_condition(mut self, condition: Condition) -> Self {
        self.condition = Some(condition);
        self
    }

    /// How many events it has, over all streams.
    pub fn events(&self) -> usize {
        self.streams.iter().map(|stream| stream.events.len()).sum()
    }
}

/// What an append did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// One entry per stream, or part of one, in the order of the append.
    pub streams: Vec<StreamReceipt>,
    /// The new versions of its records, in its order; none for a duplicate, which leaves records as they are.
    pub records: Vec<RecordVersion>,
    /// Whether the same append had been recorded before; then this is what the first one did.
    pub duplicate: bool,
}

/// Where an append's events of one stream stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamReceipt {
    /// Which stream.
    pub stream: StreamId,
    /// The version of its first new event.
    pub first_version: StreamVersion,
    /// The version of its last new event.
    pub last_version: StreamVersion,
    /// The position of its first new event.
    pub first_position: GlobalPosition,
    /// The position of its last new event.
    pub last_position: GlobalPosition,
}

impl Receipt {
    /// The last position of the append: a reader that has come this far has seen all of it.
    pub fn last_position(&self) -> GlobalPosition {
        self.streams.iter().map(|stream| stream.last_position).max().unwrap_or_default()
    }

    /// The version of the last event of the append's first part.
    pub fn last_version(&self) -> StreamVersion {
        self.streams.first().map(|stream| stream.last_version).unwrap_or_default()
    }
}
