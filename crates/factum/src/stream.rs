//! Streams: their ids, categories, versions, and what an append expects of them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::text::text_type;

text_type! {
    /// The name of a stream, such as `Order-123`: 1 to 1,024 bytes of UTF-8 without control characters.
    StreamId, "stream id", 1_024
}

#[cfg(any(feature = "embedded", feature = "postgres"))]
crate::text::trusted!(StreamId);

text_type! {
    /// The kind of a stream: the text before the first `-` of its id, or the whole id where there is none.
    Category, "category", 1_024
}

impl StreamId {
    /// The stream's category: `Order` for `Order-123`.
    ///
    /// An id that begins with `-` has no text before it, so the whole id is its category.
    pub fn category(&self) -> Category {
        Category(self.category_str().into())
    }

    /// The text of the stream's category, without making a [`Category`] of it.
    pub fn category_str(&self) -> &str {
        category_of(self.as_str())
    }
}

/// The category of the stream with this id.
pub(crate) fn category_of(stream: &str) -> &str {
    match stream.split_once('-') {
        Some((category, _)) if !category.is_empty() => category,
        _ => stream,
    }
}

/// How many events a stream has had: its first event is version 1, an empty stream is at 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StreamVersion(u64);

impl StreamVersion {
    /// The version of a stream without events.
    pub const NONE: Self = Self(0);
    /// The version of a stream's first event.
    pub const FIRST: Self = Self(1);

    /// The version with this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The version `events` later; a caller may expect any version, so it stops at the highest there is.
    #[must_use]
    pub const fn plus(self, events: u64) -> Self {
        Self(self.0.saturating_add(events))
    }
}

impl fmt::Display for StreamVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What an append expects of a stream before it; anything else is a conflict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ExpectedVersion {
    /// Whatever is there.
    #[default]
    Any,
    /// The stream has no event yet. The same as `Exact(0)`.
    NoStream,
    /// The stream has at least one event.
    StreamExists,
    /// The stream is at exactly this version.
    Exact(StreamVersion),
}

impl ExpectedVersion {
    /// The stream is at exactly version `number`.
    pub const fn exact(number: u64) -> Self {
        Self::Exact(StreamVersion::new(number))
    }

    /// The one version that is accepted, if there is only one.
    pub const fn pinned(self) -> Option<StreamVersion> {
        match self {
            Self::NoStream => Some(StreamVersion::NONE),
            Self::Exact(version) => Some(version),
            Self::Any | Self::StreamExists => None,
        }
    }

    /// Whether a stream at `actual` is as expected.
    pub fn accepts(self, actual: StreamVersion) -> bool {
        match self {
            Self::Any => true,
            Self::NoStream => actual == StreamVersion::NONE,
            Self::StreamExists => actual > StreamVersion::NONE,
            Self::Exact(version) => actual == version,
        }
    }
}

impl fmt::Display for ExpectedVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any version"),
            Self::NoStream => f.write_str("no stream"),
            Self::StreamExists => f.write_str("an existing stream"),
            Self::Exact(version) => write!(f, "version {version}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn category_is_the_text_before_the_first_dash() {
        for (id, category) in [("Order-123", "Order"), ("Order-1-2", "Order"), ("settings", "settings"), ("-odd", "-odd")] {
            assert_eq!(StreamId::new(id).expect("valid").category(), category);
        }
    }

    #[test]
    fn exact_zero_and_no_stream_mean_the_same() {
        for version in 0..3 {
            let version = StreamVersion::new(version);
            assert_eq!(ExpectedVersion::NoStream.accepts(version), ExpectedVersion::exact(0).accepts(version));
        }
        assert_eq!(ExpectedVersion::NoStream.pinned(), ExpectedVersion::exact(0).pinned());
    }
}
