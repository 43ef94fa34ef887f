//! The codec: typed events to what a store keeps, and back through the upcasters.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Event, Shape, Upcasters, variant};
use crate::error::{Error, Result};
use crate::metadata::{self, Keys};
use crate::{EventType, NewEvent, RecordedEvent, Tag};

/// Writes typed events for a store, and reads them back in the shape of today.
///
/// The version of the schema stands in the metadata as `schema_version`; version 1 is not written down.
///
/// ```
/// # use factum::{connect, Codec, Event, EventStoreExt, ExpectedVersion, StreamId, Uuid};
/// # use serde::{Deserialize, Serialize};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> factum::Result<()> {
/// # let store = connect("memory:").await?;
/// # let order = StreamId::new("Order-1")?;
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// enum OrderEvent {
///     OrderPlaced { total: u32 },
///     OrderPaid,
/// }
/// impl Event for OrderEvent {}
///
/// let codec = Codec::<OrderEvent>::new();
/// let placed = codec.encode(&OrderEvent::OrderPlaced { total: 42 }, Uuid::now_v7())?;
/// store.append_to(&order, ExpectedVersion::NoStream, vec![placed]).await?;
/// let recorded = &store.load(&order).await?[0];
/// assert_eq!(codec.decode(recorded)?, [OrderEvent::OrderPlaced { total: 42 }]);
/// # Ok(())
/// # }
/// ```
pub struct Codec<E> {
    types: Arc<Types>,
    unknown: UnknownTypes<E>,
    events: PhantomData<fn() -> E>,
}

/// What a [`Codec`] does with an event whose type is not one of its own.
pub enum UnknownTypes<E> {
    /// Fail: for a state that decisions rest on.
    Fail,
    /// Read nothing: for a reader that is about some of a stream's events.
    Skip,
    /// Make an event of what is stored: for an enum with a variant for it, `#[serde(skip)] Other(Shape)`.
    Pass(fn(Shape) -> E),
}

struct Types {
    /// The types of today, and the versions of their schemas. They are few: looking them through is quicker than a hash.
    today: Vec<(&'static str, u32)>,
    upcasters: Upcasters,
}

impl<E: Event> Codec<E> {
    /// The codec of `E`, which fails on unknown types.
    ///
    /// # Panics
    /// If `E` is not an enum or struct as [`Event`] says, or a schema version between two others has no step.
    pub fn new() -> Self {
        Self::with(UnknownTypes::Fail)
    }

    /// The codec of `E`, which does that with unknown types.
    ///
    /// # Panics
    /// As [`Codec::new`].
    pub fn with(unknown: UnknownTypes<E>) -> Self {
        let names = variant::names::<E>().unwrap_or_else(|reason| panic!("{reason}"));
        let upcasters = E::upcasters();
        if let Some((event_type, version)) = upcasters.gap() {
            panic!("{}: no upcaster leads on from version {version} of {event_type}", std::any::type_name::<E>());
        }
        let today = names.into_iter().map(|name| (name, upcasters.current_version(name))).collect();
        Self { types: Arc::new(Types { today, upcasters }), unknown, events: PhantomData }
    }

    /// The types of `E`'s events today.
    pub fn types(&self) -> impl Iterator<Item = &'static str> {
        self.types.today.iter().map(|(name, _)| *name)
    }

    /// Whether events of that type, as stored, are read: it is one of today, or upcasters lead to one.
    pub fn knows(&self, event_type: &str) -> bool {
        self.types.current(event_type).is_some() || self.types.upcasters.has_steps(event_type)
    }

    /// The event as a store takes it, with that id.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it can't be written as JSON, or one of its tags is none.
    pub fn encode(&self, event: &E, id: Uuid) -> Result<NewEvent> {
        let (name, data) = variant::write(event)
            .map_err(|error| Error::invalid(format!("an event of {} can't be written: {error}", std::any::type_name::<E>())))?;
        let tags = event.tags().into_iter().map(Tag::try_from).collect::<Result<_>>()?;
        let metadata = match self.types.current(name).unwrap_or(1) {
            1 => Bytes::new(),
            version => metadata::with_keys(Bytes::new(), [(metadata::SCHEMA_VERSION, json!(version))]),
        };
        Ok(NewEvent { id, event_type: EventType::new(name)?, data: data.into(), metadata, tags, occurred_at: None })
    }

    /// The event in the shape of today: one event, or several or none, where an upcaster says so or its type is unknown.
    ///
    /// # Errors
    /// [`Error::Invalid`], naming stream, version and type, if the data is not of the shape that its type has, an upcaster fails, a newer
    /// program has stored it, or its type is unknown and that is to fail.
    pub fn decode(&self, recorded: &RecordedEvent) -> Result<Vec<E>> {
        let mut events = Vec::with_capacity(1);
        self.decode_each(recorded, |event| events.push(event))?;
        Ok(events)
    }

    /// Does the same as [`Codec::decode`], one event after the other.
    pub(crate) fn decode_each(&self, recorded: &RecordedEvent, mut then: impl FnMut(E)) -> Result<()> {
        let name = recorded.event_type.as_str();
        let upcasters = &self.types.upcasters;
        let today = self.types.current(name);
        if today.is_none() && !upcasters.has_steps(name) {
            return match self.unknown {
                UnknownTypes::Skip => Ok(()),
                UnknownTypes::Fail => Err(unreadable(recorded, unknown::<E>(name))),
                UnknownTypes::Pass(event) => {
                    then(event(stored(recorded)?));
                    Ok(())
                }
            };
        }
        let version = schema_version(recorded);
        let current = today.unwrap_or_else(|| upcasters.current_version(name));
        if version > current {
            let reason = format!("its schema version is {version}, this program knows it up to {current}; use a newer program");
            return Err(unreadable(recorded, reason));
        }
        if today.is_some() && version == current {
            let mut json = serde_json::Deserializer::from_slice(&recorded.data);
            then(variant::read(name, &mut json).and_then(|event| json.end().map(|()| event)).map_err(|error| unreadable(recorded, error))?);
            return Ok(());
        }
        for shape in upcasters.upcast(stored(recorded)?).map_err(|reason| unreadable(recorded, reason))? {
            let Shape { event_type, schema_version, .. } = &shape;
            if self.types.current(event_type).is_some() {
                let name = event_type.clone();
                let today = format_args!("made by upcasters into version {schema_version} of {event_type}").to_string();
                let event = variant::read(&name, shape.data).map_err(|error| unreadable(recorded, format!("{today}: {error}")))?;
                then(event);
                continue;
            }
            match self.unknown {
                UnknownTypes::Skip => {}
                UnknownTypes::Fail => {
                    return Err(unreadable(recorded, format!("upcasters lead to {event_type}: {}", unknown::<E>(event_type))));
                }
                UnknownTypes::Pass(event) => then(event(shape)),
            }
        }
        Ok(())
    }

    #[cfg(feature = "testing")]
    pub(crate) fn upcasters(&self) -> &Upcasters {
        &self.types.upcasters
    }
}

impl Types {
    /// The version of a type's schema today, if it is one of today's types.
    fn current(&self, event_type: &str) -> Option<u32> {
        self.today.iter().find(|(name, _)| *name == event_type).map(|(_, version)| *version)
    }
}

impl<E: Event> Default for Codec<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E> Clone for Codec<E> {
    fn clone(&self) -> Self {
        Self { types: self.types.clone(), unknown: self.unknown, events: PhantomData }
    }
}

impl<E> fmt::Debug for Codec<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Codec").field("types", &self.types.today).field("upcasters", &self.types.upcasters).finish_non_exhaustive()
    }
}

impl<E> Clone for UnknownTypes<E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for UnknownTypes<E> {}

/// The version of the schema that an event was stored in.
fn schema_version(recorded: &RecordedEvent) -> u32 {
    if recorded.metadata.is_empty() { 1 } else { Keys::of(&recorded.metadata).schema_version.unwrap_or(1) }
}

fn stored(recorded: &RecordedEvent) -> Result<Shape> {
    let data: Value = serde_json::from_slice(&recorded.data).map_err(|error| unreadable(recorded, error))?;
    Ok(Shape::new(recorded.event_type.as_str(), data).at_version(schema_version(recorded)))
}

fn unknown<E>(event_type: &str) -> String {
    format!(
        "{event_type} is no event of {}; add it there, give it an upcaster, or choose what becomes of unknown types",
        std::any::type_name::<E>()
    )
}

fn unreadable(recorded: &RecordedEvent, reason: impl fmt::Display) -> Error {
    let RecordedEvent { stream, version, event_type, .. } = recorded;
    Error::invalid(format!("{stream} version {version} ({event_type}) can't be read: {reason}"))
}
