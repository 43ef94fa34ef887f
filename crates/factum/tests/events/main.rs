//! Typed events through the public API: how they are stored and read, schema evolution, causation.

mod causation;
mod codec;
mod evolution;
