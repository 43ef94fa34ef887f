//! Metadata as Factum's own tools write it: a JSON object, in which a few keys are ours and all others the user's.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::causation::CorrelationId;

/// The schema that an event's data was written in; version 1 is not written down.
pub(crate) const SCHEMA_VERSION: &str = "schema_version";
/// What an event belongs to.
pub(crate) const CORRELATION_ID: &str = "correlation_id";
/// The id of the event that it follows from.
pub(crate) const CAUSATION_ID: &str = "causation_id";

/// The keys that are ours, as far as they are there and readable.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    pub(crate) schema_version: Option<u32>,
    pub(crate) correlation_id: Option<CorrelationId>,
    pub(crate) causation_id: Option<Uuid>,
}

/// The same as they stand in the JSON. What is not as we write it is the user's, and none of ours.
#[derive(Deserialize)]
struct Written {
    schema_version: Option<Value>,
    correlation_id: Option<Value>,
    causation_id: Option<Value>,
}

impl Keys {
    /// Reads them out of metadata, which may be anything.
    pub(crate) fn of(metadata: &[u8]) -> Self {
        if metadata.first() != Some(&b'{') {
            return Self::default();
        }
        let Ok(written) = serde_json::from_slice::<Written>(metadata) else { return Self::default() };
        Self {
            schema_version: written.schema_version.and_then(|value| u32::try_from(value.as_u64()?).ok()),
            correlation_id: written.correlation_id.and_then(|value| CorrelationId::new(value.as_str()?).ok()),
            causation_id: written.causation_id.and_then(|value| value.as_str()?.parse().ok()),
        }
    }
}

/// The metadata with these keys added; those that it has already stay as they are. What is not a JSON object is left as it is.
pub(crate) fn with_keys<'k>(metadata: Bytes, keys: impl IntoIterator<Item = (&'k str, Value)>) -> Bytes {
    let mut keys = keys.into_iter().peekable();
    if keys.peek().is_none() {
        return metadata;
    }
    let mut object = if metadata.is_empty() {
        Map::new()
    } else {
        match serde_json::from_slice::<Map<String, Value>>(&metadata) {
            Ok(object) => object,
            Err(_not_an_object) => return metadata,
        }
    };
    let before = object.len();
    for (key, value) in keys {
        object.entry(key).or_insert(value);
    }
    if object.len() == before { metadata } else { serde_json::to_vec(&object).expect("a JSON object can be written").into() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_users_metadata_is_kept() {
        let add = |metadata: &'static str| with_keys(Bytes::from_static(metadata.as_bytes()), [(CORRELATION_ID, json!("a"))]);
        assert_eq!(add(""), r#"{"correlation_id":"a"}"#);
        assert_eq!(add(r#"{"user":"ann"}"#), r#"{"correlation_id":"a","user":"ann"}"#);
        assert_eq!(add(r#"{"correlation_id": "mine"}"#), r#"{"correlation_id": "mine"}"#);
        assert_eq!(add("not JSON"), "not JSON");
        assert_eq!(add("[1]"), "[1]");
    }

    #[test]
    fn metadata_of_others_is_no_error() {
        for bytes in ["", "{", "[]", "\u{0}", r#"{"schema_version":"two","correlation_id":7,"causation_id":"x"}"#] {
            let Keys { schema_version, correlation_id, causation_id } = Keys::of(bytes.as_bytes());
            assert_eq!((schema_version, correlation_id, causation_id), (None, None, None), "{bytes}");
        }
    }
}
