//! What an event belongs to, and what it follows from: two ids in the metadata that flow by themselves.
//!
//! A *correlation id* is the same for all that came of one request, a *causation id* is the id of the event that was handled when this
//! one was recorded. Whatever runs in a scope ([`scope`], [`correlated`], [`caused_by`]) stamps the events it makes: [`NewEvent`]
//! reads the scope when it is made. They stand in the metadata as `correlation_id` and `causation_id`, beside what the user put there;
//! keys that are there already are kept. An event without a correlation id is the beginning of one, under its own id.
//!
//! A scope belongs to a task. What a handler spawns as a task of its own gets it by `scope(causation::current(), …)`.
//!
//! ```
//! # use factum::{causation, connect, Error, EventStoreExt, ExpectedVersion, NewEvent, StreamId};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> factum::Result<()> {
//! # let store = connect("memory:").await?;
//! let request = causation::CorrelationId::new("request-7")?;
//! causation::correlated(request.clone(), async {
//!     let placed = NewEvent::json("OrderPlaced", &"a book")?;
//!     store.append_to(&StreamId::new("Order-1")?, ExpectedVersion::NoStream, vec![placed]).await
//! })
//! .await?;
//! let placed = &store.load(&StreamId::new("Order-1")?).await?[0];
//!
//! // A handler of that event, and what it records.
//! let followed = causation::caused_by(placed, async { NewEvent::json("InvoiceSent", &1) }).await?;
//! let written: serde_json::Value = serde_json::from_slice(&followed.metadata).expect("it is JSON");
//! assert_eq!(written["correlation_id"], "request-7");
//! assert_eq!(written["causation_id"], placed.id.to_string());
//! # Ok(())
//! # }
//! ```

use std::future::Future;

use bytes::Bytes;
use serde_json::json;
use uuid::Uuid;

use crate::metadata::{self, Keys};
use crate::text::text_type;
use crate::{NewEvent, RecordedEvent};

text_type! {
    /// What ties together all that came of one request: an id of yours, such as that of an HTTP request, or of the first event.
    CorrelationId, "correlation id", 255
}

/// What events belong to, and follow from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Causation {
    /// What they belong to.
    pub correlation_id: CorrelationId,
    /// The id of the event they follow from; `None` where they follow from a request.
    pub causation_id: Option<Uuid>,
}

tokio::task_local! {
    static CURRENT: Causation;
}

impl From<Uuid> for CorrelationId {
    fn from(id: Uuid) -> Self {
        Self::new(id.hyphenated().encode_lower(&mut Uuid::encode_buffer())).expect("an event id is a short text")
    }
}

/// The causation that new events get here, if this runs in a scope.
pub fn current() -> Option<Causation> {
    CURRENT.try_with(Clone::clone).ok()
}

/// Runs `future` so that the events it makes carry `causation`. With `None` it runs as it is.
pub async fn scope<F: Future>(causation: impl Into<Option<Causation>>, future: F) -> F::Output {
    match causation.into() {
        Some(causation) => CURRENT.scope(causation, future).await,
        None => future.await,
    }
}

/// Runs `future` so that the events it makes belong to `correlation_id`: for the beginning, where a request comes in.
pub async fn correlated<F: Future>(correlation_id: CorrelationId, future: F) -> F::Output {
    scope(Causation { correlation_id, causation_id: None }, future).await
}

/// Runs `future` so that the events it makes follow from `event`: for whoever handles events. Subscriptions, groups and projections run
/// their handlers so.
pub async fn caused_by<F: Future>(event: &RecordedEvent, future: F) -> F::Output {
    scope(following(event), future).await
}

/// What follows from `event`: the same correlation id (its own id, if it has none), and its id as the cause.
pub fn following(event: &RecordedEvent) -> Causation {
    let correlation_id = Keys::of(&event.metadata).correlation_id.unwrap_or_else(|| event.id.into());
    Causation { correlation_id, causation_id: Some(event.id) }
}

/// What `event` carries; `None` if it has no correlation id.
pub fn of(event: &RecordedEvent) -> Option<Causation> {
    let keys = Keys::of(&event.metadata);
    Some(Causation { correlation_id: keys.correlation_id?, causation_id: keys.causation_id })
}

/// The metadata, with the causation of the scope that this runs in.
pub(crate) fn stamp(metadata: Bytes) -> Bytes {
    match CURRENT.try_with(Clone::clone) {
        Ok(causation) => causation.added_to(metadata),
        Err(_no_scope) => metadata,
    }
}

impl Causation {
    fn added_to(&self, metadata: Bytes) -> Bytes {
        let correlation = (metadata::CORRELATION_ID, json!(self.correlation_id));
        let causation = self.causation_id.map(|id| (metadata::CAUSATION_ID, json!(id)));
        metadata::with_keys(metadata, [correlation].into_iter().chain(causation))
    }
}

/// Ties together events that are recorded at once outside of any scope: they belong to the first.
pub(crate) fn tie(events: &mut [NewEvent]) {
    if let Some((first, others)) = events.split_first_mut()
        && Keys::of(&first.metadata).correlation_id.is_none()
    {
        let causation = Causation { correlation_id: first.id.into(), causation_id: None };
        for event in others {
            event.metadata = causation.added_to(std::mem::take(&mut event.metadata));
        }
    }
}
