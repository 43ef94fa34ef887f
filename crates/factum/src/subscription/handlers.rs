//! What is done with an event: a handler for each type, and one for the rest.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use futures::future::BoxFuture;
use tracing::Instrument;

use crate::error::{Error, Result, Source};
use crate::{Codec, Event, EventType, RecordedEvent, causation, telemetry};

/// What a handler comes to. Any error will do, also a text: `Err("no such customer".into())`.
pub type Handled = std::result::Result<(), Source>;

/// A handler of typed events: what `codec` makes of a recorded event, today's shape of whatever shape it was stored in.
///
/// ```
/// # use factum::{Codec, Event, Processor, typed};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)]
/// # enum OrderEvent { OrderPlaced { cents: u64 } }
/// # impl Event for OrderEvent {}
/// # async fn run(store: factum::SharedStore) -> factum::Result<()> {
/// let handler = typed(Codec::new(), |event: OrderEvent, recorded| async move {
///     let OrderEvent::OrderPlaced { cents } = event;
///     println!("{} is worth {cents} cents", recorded.stream);
///     Ok(())
/// });
/// Processor::new(store, "worth").on("OrderPlaced", handler)?.run_to_end().await
/// # }
/// ```
pub fn typed<E, F, H>(codec: Codec<E>, handler: F) -> impl Fn(RecordedEvent) -> BoxFuture<'static, Handled> + Send + Sync + 'static
where
    E: Event,
    F: Fn(E, RecordedEvent) -> H + Send + Sync + 'static,
    H: Future<Output = Handled> + Send + 'static,
{
    let (codec, handler) = (Arc::new(codec), Arc::new(handler));
    move |recorded| {
        let (codec, handler) = (codec.clone(), handler.clone());
        Box::pin(async move {
            for event in codec.decode(&recorded)? {
                handler(event, recorded.clone()).await?;
            }
            Ok(())
        })
    }
}

type Handler = Arc<dyn Fn(RecordedEvent) -> BoxFuture<'static, Handled> + Send + Sync>;

/// Handlers by event type.
#[derive(Clone, Default)]
pub(crate) struct Handlers {
    by_type: HashMap<EventType, Handler>,
    otherwise: Option<Handler>,
}

impl Handlers {
    /// The handler of one type.
    pub(crate) fn on<F, H>(&mut self, event_type: EventType, handler: F) -> Result<()>
    where
        F: Fn(RecordedEvent) -> H + Send + Sync + 'static,
        H: Future<Output = Handled> + Send + 'static,
    {
        match self.by_type.insert(event_type.clone(), boxed(handler)) {
            None => Ok(()),
            Some(_) => Err(Error::invalid(format!("{event_type} has two handlers; an event is handled once"))),
        }
    }

    /// The handler of every other type.
    pub(crate) fn otherwise<F, H>(&mut self, handler: F)
    where
        F: Fn(RecordedEvent) -> H + Send + Sync + 'static,
        H: Future<Output = Handled> + Send + 'static,
    {
        self.otherwise = Some(boxed(handler));
    }

    /// Handles an event, as something that it causes. One that no handler is for is passed by.
    pub(crate) async fn handle(&self, reader: &str, event: &RecordedEvent) -> Handled {
        let Some(handler) = self.by_type.get(&event.event_type).or(self.otherwise.as_ref()) else { return Ok(()) };
        let outcome = tracing::field::Empty;
        let span = tracing::debug_span!("handle", reader, stream = %event.stream, position = %event.position, outcome);
        let begun = Instant::now();
        let handled = causation::caused_by(event, handler(event.clone())).instrument(span.clone()).await;
        let outcome = if handled.is_ok() { telemetry::Handled::Done } else { telemetry::Handled::Failed };
        span.record("outcome", outcome.said());
        telemetry::handled(reader, outcome, begun.elapsed());
        handled
    }

    /// The types that are handled, `None` for all.
    pub(crate) fn types(&self) -> Option<Vec<EventType>> {
        self.otherwise.is_none().then(|| {
            let mut types: Vec<_> = self.by_type.keys().cloned().collect();
            types.sort_unstable();
            types
        })
    }
}

fn boxed<F, H>(handler: F) -> Handler
where
    F: Fn(RecordedEvent) -> H + Send + Sync + 'static,
    H: Future<Output = Handled> + Send + 'static,
{
    Arc::new(move |event| Box::pin(handler(event)))
}
