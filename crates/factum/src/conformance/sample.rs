//! Streams, events and queries to try things with.

use uuid::Uuid;

use super::check::Verdict;
use super::stage::Stage;
use crate::{Category, EventType, NewEvent, Query, QueryItem, RecordName, RecordedEvent, StreamId, StreamVersion, Tag};

pub(super) fn stream(id: &str) -> StreamId {
    StreamId::new(id).expect("a valid stream id")
}

pub(super) fn category(text: &str) -> Category {
    Category::new(text).expect("a valid category")
}

pub(super) fn event_type(text: &str) -> EventType {
    EventType::new(text).expect("a valid event type")
}

pub(super) fn tag(text: &str) -> Tag {
    Tag::new(text).expect("a valid tag")
}

pub(super) fn record_name(text: &str) -> RecordName {
    RecordName::new(text).expect("a valid record name")
}

pub(super) const fn version(number: u64) -> StreamVersion {
    StreamVersion::new(number)
}

/// A new event with this text as its data.
pub(super) fn event(data: &str) -> NewEvent {
    typed("Noted", data)
}

pub(super) fn typed(event_type: &str, data: &str) -> NewEvent {
    NewEvent::new(self::event_type(event_type), data.to_owned())
}

pub(super) fn tagged<const N: usize>(event_type: &str, data: &str, tags: [&str; N]) -> NewEvent {
    tags.into_iter().map(tag).fold(typed(event_type, data), NewEvent::with_tag)
}

/// New events with the numbers from 1 as their data.
pub(super) fn events(count: u64) -> Vec<NewEvent> {
    (1..=count).map(|number| event(&number.to_string())).collect()
}

pub(super) fn ids(events: &[RecordedEvent]) -> Vec<Uuid> {
    events.iter().map(|event| event.id).collect()
}

pub(super) fn new_ids(events: &[NewEvent]) -> Vec<Uuid> {
    events.iter().map(|event| event.id).collect()
}

pub(super) fn versions(events: &[RecordedEvent]) -> Vec<u64> {
    events.iter().map(|event| event.version.get()).collect()
}

/// Fills a store with some forty events whose streams, types and tags resemble each other, and gives them as they are read.
pub(super) async fn landscape(stage: &Stage) -> Verdict<Vec<RecordedEvent>> {
    let streams = ["Order-1", "Order-10", "Order", "order-1", "Orders-1", "Order-1-2", "-odd", "Kunde-é1", "Kunde-éa", "settings"];
    for round in 0..2u32 {
        for (index, id) in (0u32..).zip(streams) {
            let tags: &[&str] = match (index + round) % 5 {
                0 => &[],
                1 => &["course:4"],
                2 => &["course:42"],
                3 => &["student:7", "course:42"],
                _ => &["course:42", "student:7", "course:4"],
            };
            let name = ["Placed", "Paid", "Place"][(index + 2 * round) as usize % 3];
            let first = tags.iter().map(|text| tag(text)).fold(typed(name, id), NewEvent::with_tag);
            stage.record(&stream(id), &[first, typed("Paid", "and paid")]).await?;
        }
    }
    stage.log().await
}

/// Queries over that landscape, by name: each kind of filter, alone and together.
pub(super) fn queries() -> Vec<(&'static str, Query)> {
    let tags = |texts: &[&str]| Query::tags(texts.iter().map(|text| tag(text)));
    let prefix = |text: &str| QueryItem { stream_prefix: Some(text.to_owned()), ..QueryItem::default() };
    vec![
        ("everything", Query::all()),
        ("an item that asks nothing", Query::item(QueryItem::default())),
        ("category", Query::category(category("Order"))),
        ("category of an id that begins with a dash", Query::category(category("-odd"))),
        ("category of an id without a dash", Query::category(category("settings"))),
        ("category of no stream", Query::category(category("Order-1"))),
        ("type", Query::types([event_type("Place")])),
        ("one of two types", Query::types([event_type("Placed"), event_type("Place")])),
        ("type in another case", Query::types([event_type("placed")])),
        ("tag", tags(&["course:42"])),
        ("tag that begins like another", tags(&["course:4"])),
        ("two tags, in another order than the event's", tags(&["course:42", "student:7"])),
        ("three tags", tags(&["course:4", "course:42", "student:7"])),
        ("tag of no event", tags(&["course"])),
        ("two tags, one of no event", tags(&["course:42", "nobody"])),
        ("prefix", Query::item(prefix("Order-1"))),
        ("prefix that is a whole id", Query::item(prefix("settings"))),
        ("prefix with more than ASCII", Query::item(prefix("Kunde-é"))),
        ("empty prefix", Query::item(prefix(""))),
        ("prefix of no stream", Query::item(prefix("Order-12"))),
        ("two items", Query::category(category("Kunde")).or(QueryItem { tags: vec![tag("course:4")], ..QueryItem::default() })),
        ("items that overlap", tags(&["course:42"]).or(QueryItem { tags: vec![tag("student:7")], ..QueryItem::default() })),
        ("items of which one asks nothing", tags(&["nobody"]).or(QueryItem::default())),
        (
            "all kinds at once",
            Query::item(QueryItem {
                category: Some(category("Order")),
                stream_prefix: Some("Order-1".to_owned()),
                types: vec![event_type("Paid"), event_type("Placed")],
                tags: vec![tag("course:42")],
            })
            .or(prefix("Kunde-éa")),
        ),
    ]
}
