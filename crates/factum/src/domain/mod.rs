//! The domain model: typed events and how they are stored, decisions, aggregates. It reads no clock and does no I/O.

mod aggregate;
mod codec;
mod decider;
mod event;
mod upcaster;
mod variant;

pub use aggregate::{Aggregate, Object, Recorder};
pub use codec::{Codec, UnknownTypes};
pub use decider::{Decider, Decision};
pub use event::Event;
pub use upcaster::{IntoShapes, Shape, Upcasters};
