//! Two texts that should be the same, and are not.

use serde::Serialize;
use similar::TextDiff;

use crate::domain::{Codec, Event};

/// A message that shows what differs, `None` if nothing does.
pub(super) fn between(expected: &str, actual: &str) -> Option<String> {
    if expected == actual {
        return None;
    }
    let difference = TextDiff::from_lines(expected, actual);
    Some(difference.unified_diff().context_radius(8).header("expected", "actual").to_string())
}

/// Events as a person reads them: each its type, then its data.
pub(super) fn shown<'e, E: Event>(codec: &Codec<E>, events: impl IntoIterator<Item = &'e E>) -> String {
    let mut text = String::new();
    for event in events {
        let stored = codec.encode(event, uuid::Uuid::nil()).unwrap_or_else(|error| panic!("{error}"));
        let data: serde_json::Value = serde_json::from_slice(&stored.data).expect("it was written as JSON");
        text.push_str(&format!("{} {}\n", stored.event_type, pretty(&data)));
    }
    if text.is_empty() { "nothing\n".to_owned() } else { text }
}

pub(super) fn pretty(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).expect("a JSON value can be written")
}
