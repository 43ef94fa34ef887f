//! Typed events: what serde knows of a type is enough, the rest has defaults.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Upcasters;

/// The events of one kind of stream, as the user's own type.
///
/// An enum has one event type per variant, a struct is one event type. The types are named as serde names them, so
/// `#[serde(rename = "…")]` and `#[serde(rename_all = "…")]` say otherwise; the variant's fields are the event's data, as JSON. Enums keep
/// serde's default form: no `#[serde(tag)]` and no `#[serde(untagged)]`.
///
/// ```
/// use factum::{Codec, Event, Uuid};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// enum OrderEvent {
///     OrderPlaced { customer: String, total: u32 },
///     #[serde(rename = "OrderSent")]
///     Shipped,
/// }
///
/// impl Event for OrderEvent {
///     fn tags(&self) -> Vec<String> {
///         match self {
///             Self::OrderPlaced { customer, .. } => vec![format!("customer:{customer}")],
///             Self::Shipped => Vec::new(),
///         }
///     }
/// }
///
/// let codec = Codec::<OrderEvent>::new();
/// let stored = codec.encode(&OrderEvent::OrderPlaced { customer: "ann".into(), total: 42 }, Uuid::nil())?;
/// assert_eq!(stored.event_type, "OrderPlaced");
/// assert_eq!(stored.data, r#"{"customer":"ann","total":42}"#);
/// assert_eq!(codec.encode(&OrderEvent::Shipped, Uuid::nil())?.event_type, "OrderSent");
/// # Ok::<(), factum::Error>(())
/// ```
pub trait Event: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Labels for queries across streams, such as `course:42`; 1 to 255 bytes each, at most 16.
    fn tags(&self) -> Vec<String> {
        Vec::new()
    }

    /// How shapes that were stored earlier become those of today. An event's schema version is 1, and one more for each step.
    fn upcasters() -> Upcasters {
        Upcasters::new()
    }
}
