//! What Factum says of itself while it works: metrics for OpenTelemetry, with the feature `opentelemetry`; without it, nothing.
//!
//! The names stand in `docs/observability.md`. Attributes are of few values (a category, a reader's name), never a stream.

#[cfg(feature = "opentelemetry")]
mod instruments;
#[cfg(not(feature = "opentelemetry"))]
mod silence;

#[cfg(feature = "opentelemetry")]
use instruments as meter;
#[cfg(not(feature = "opentelemetry"))]
use silence as meter;

pub(crate) use meter::{appended, conflict, folded, handled, lag, loaded, parked};

/// Whether anybody is told; what only serves that need not be found out otherwise.
pub(crate) const IS_ON: bool = cfg!(feature = "opentelemetry");

/// Where a state was taken from before what is new was folded into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LoadedFrom {
    /// The beginning of the stream.
    Events,
    /// A snapshot.
    Snapshot,
    /// The states kept in memory.
    Cache,
}

/// What became of an event that a handler was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handled {
    /// It is done.
    Done,
    /// It failed, and will be tried again, parked, or is what the reader stops at.
    Failed,
}

impl Handled {
    /// As spans and metrics say it.
    pub(crate) const fn said(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }
}
