//! Aggregates: a domain model in object style, whose methods record events.

use std::fmt;
use std::marker::PhantomData;

use super::{Decider, Decision, Event};

/// A domain model as an object: its command methods check, and record what happens.
///
/// What is recorded is applied at once, so a method that records twice sees its first event. Underneath it is a [`Decider`]
/// ([`Object`]) whose commands are method calls.
///
/// ```
/// use factum::{Aggregate, Event, Recorder};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Default)]
/// struct Door {
///     is_open: bool,
///     recorder: Recorder<DoorEvent>,
/// }
///
/// #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
/// enum DoorEvent {
///     DoorOpened,
///     DoorClosed,
/// }
/// impl Event for DoorEvent {}
///
/// impl Door {
///     fn open(&mut self) -> Result<(), &'static str> {
///         if self.is_open {
///             return Err("the door is open");
///         }
///         self.record(DoorEvent::DoorOpened);
///         Ok(())
///     }
/// }
///
/// impl Aggregate for Door {
///     const CATEGORY: &'static str = "Door";
///     type Event = DoorEvent;
///     type Error = &'static str;
///
///     fn apply(&mut self, event: &DoorEvent) {
///         self.is_open = *event == DoorEvent::DoorOpened;
///     }
///
///     fn recorder(&mut self) -> &mut Recorder<DoorEvent> {
///         &mut self.recorder
///     }
/// }
///
/// let mut door = Door::default();
/// door.open()?;
/// assert_eq!(door.open(), Err("the door is open"));
/// assert_eq!(door.recorder().uncommitted(), [DoorEvent::DoorOpened]);
/// # Ok::<(), &'static str>(())
/// ```
pub trait Aggregate: Default + Clone + Send + Sync + 'static {
    /// The category of its streams: `Order` for streams such as `Order-7`. Without a `-`.
    const CATEGORY: &'static str;

    /// What happens to it.
    type Event: Event;
    /// Why a method refuses.
    type Error: Send;

    /// Applies one event. It can't fail: the event has already happened.
    fn apply(&mut self, event: &Self::Event);

    /// Where it keeps what its methods record.
    fn recorder(&mut self) -> &mut Recorder<Self::Event>;

    /// Records that `event` happens, and applies it: what command methods call.
    fn record(&mut self, event: Self::Event) {
        self.apply(&event);
        self.recorder().uncommitted.push(event);
    }
}

/// The events that an aggregate's methods have recorded and no store has yet.
///
/// It is no part of the aggregate's state: a clone of it is empty, two of them are equal, and in a snapshot it is left out
/// (`#[serde(skip)]`).
pub struct Recorder<E> {
    uncommitted: Vec<E>,
}

impl<E> Recorder<E> {
    /// What was recorded, in order.
    pub fn uncommitted(&self) -> &[E] {
        &self.uncommitted
    }

    /// Takes out what was recorded.
    pub fn take(&mut self) -> Vec<E> {
        std::mem::take(&mut self.uncommitted)
    }
}

impl<E> Default for Recorder<E> {
    fn default() -> Self {
        Self { uncommitted: Vec::new() }
    }
}

impl<E> Clone for Recorder<E> {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl<E> PartialEq for Recorder<E> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<E> Eq for Recorder<E> {}

impl<E> fmt::Debug for Recorder<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recorder({} uncommitted)", self.uncommitted.len())
    }
}

/// The [`Decider`] that an aggregate is underneath: its commands are method calls.
pub struct Object<A>(PhantomData<fn() -> A>);

/// A method call, as a value.
type Call<A> = Box<dyn Fn(&mut A) -> Result<(), <A as Aggregate>::Error> + Send + Sync>;

impl<A: Aggregate> Object<A> {
    /// What `call` decides on an aggregate in that state, which stays as it is.
    pub(crate) fn decide_by<R>(state: &A, call: impl FnOnce(&mut A) -> Result<R, A::Error>) -> Result<Decision<A::Event, R>, A::Error> {
        let mut object = state.clone();
        let reply = call(&mut object)?;
        Ok(Decision { events: object.recorder().take(), reply })
    }
}

impl<A: Aggregate> Decider for Object<A> {
    const CATEGORY: &'static str = A::CATEGORY;
    type State = A;
    type Command = Call<A>;
    type Event = A::Event;
    type Reply = ();
    type Error = A::Error;

    fn decide(state: &A, call: &Call<A>) -> Result<Decision<A::Event>, A::Error> {
        Self::decide_by(state, call)
    }

    fn evolve(state: &mut A, event: &A::Event) {
        state.apply(event);
    }
}
