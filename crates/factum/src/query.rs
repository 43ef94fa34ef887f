//! Queries: which events a read, a subscription or a condition asks for.

use serde::{Deserialize, Serialize};

use crate::{Category, EventType, RecordedEvent, StreamId, Tag};

/// Which events: those that match at least one of the items. A query without items matches every event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Query {
    /// The alternatives.
    pub items: Vec<QueryItem>,
}

/// One alternative of a [`Query`]: an event matches when all that is given here holds of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct QueryItem {
    /// Its stream is of this category.
    pub category: Option<Category>,
    /// Its stream's id begins with this text.
    pub stream_prefix: Option<String>,
    /// It is of one of these types; empty for any.
    pub types: Vec<EventType>,
    /// It carries all of these tags.
    pub tags: Vec<Tag>,
}

impl Query {
    /// Every event.
    pub fn all() -> Self {
        Self::default()
    }

    /// The events that match `item`.
    pub fn item(item: QueryItem) -> Self {
        Self { items: vec![item] }
    }

    /// The events of the streams of one category.
    pub fn category(category: Category) -> Self {
        Self::item(QueryItem { category: Some(category), ..QueryItem::default() })
    }

    /// The events that carry all of `tags`.
    pub fn tags(tags: impl IntoIterator<Item = Tag>) -> Self {
        Self::item(QueryItem { tags: tags.into_iter().collect(), ..QueryItem::default() })
    }

    /// The events of one of `types`.
    pub fn types(types: impl IntoIterator<Item = EventType>) -> Self {
        Self::item(QueryItem { types: types.into_iter().collect(), ..QueryItem::default() })
    }

    /// These events and those that match `item`.
    #[must_use]
    pub fn or(mut self, item: QueryItem) -> Self {
        self.items.push(item);
        self
    }

    /// Whether every event matches, whatever it is.
    pub fn is_all(&self) -> bool {
        self.items.is_empty() || self.items.iter().any(|item| *item == QueryItem::default())
    }

    /// Whether an event of this stream, type and tags matches: the definition that every store must agree with.
    pub fn matches(&self, stream: &StreamId, event_type: &EventType, tags: &[Tag]) -> bool {
        self.items.is_empty() || self.items.iter().any(|item| item.matches(stream, event_type, tags))
    }

    /// Whether `event` matches.
    pub fn matches_event(&self, event: &RecordedEvent) -> bool {
        self.matches(&event.stream, &event.event_type, &event.tags)
    }
}

impl QueryItem {
    fn matches(&self, stream: &StreamId, event_type: &EventType, tags: &[Tag]) -> bool {
        self.category.as_ref().is_none_or(|category| category.as_str() == stream.category_str())
            && self.stream_prefix.as_ref().is_none_or(|prefix| stream.as_str().starts_with(prefix.as_str()))
            && (self.types.is_empty() || self.types.contains(event_type))
            && self.tags.iter().all(|tag| tags.contains(tag))
    }
}
