//! The embedded log of Factum: synchronous, bytes in and out.
//!
//! It knows entries and keys, not events: an entry is some bytes at a position, found again under the keys that an [`Indexer`]
//! names for it. One thread at a time writes ([`Engine`]), in batches with one sync each; any number reads ([`Snapshot`]), without waiting for it.
//! The log is the only truth; every other file can be deleted and is made again. The files are drawn in `docs/format.md`.

#![expect(
    clippy::cast_possible_truncation,
    reason = "hashes and checksums are cut down on purpose; sizes from outside are checked where they come in"
)]

mod ahead;
mod compaction;
mod desk;
pub mod disk;
mod engine;
mod error;
mod follower;
mod frame;
#[cfg(feature = "fuzzing")]
pub mod fuzz;
mod index;
mod keeper;
mod key;
mod live;
mod open;
mod read;
mod replay;
mod salvage;
mod segment;
mod sequence;
mod shared;
#[cfg(test)]
mod simulation;
mod terms;
mod unreadable;
mod verify;
mod walk;
mod writer;

pub use compaction::{Compacted, dead_bytes};
pub use engine::Engine;
pub use error::{Error, Result};
pub use follower::Follower;
pub use frame::{Draft, Entry, RecordEntry};
pub use index::Looked;
pub use key::{Key, KeyMaker, Kind, ScopedKeys};
pub use read::{Snapshot, Take};
pub use salvage::{Salvaged, salvage};
pub use sequence::{Sequence, Wanted};
pub use shared::{Indexer, Options};
pub use terms::Terms;
pub use verify::{Problem, Progress, Report, verify};
pub use writer::{Decision, Failure, Pending, Proposal};
