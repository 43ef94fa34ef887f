//! Repositories and boundaries through the public API: conflicts, repeats, snapshots, questions about the past.

mod account;
mod boundary;
mod causation;
mod conflicts;
mod faults;
mod model;
mod objects;
mod questions;
mod repeats;
mod snapshots;
mod truncation;

/// An empty store in memory.
async fn memory() -> factum::SharedStore {
    factum::connect("memory:").await.expect("it opens")
}
