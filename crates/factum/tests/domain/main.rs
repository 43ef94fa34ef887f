//! The domain model through the public API: typed events, schema evolution, causation.

mod causation;
mod codec;
mod evolution;
