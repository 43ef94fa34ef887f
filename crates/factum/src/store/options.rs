//! What a read asks for.

use crate::{Category, GlobalPosition, Query, StreamVersion};

/// Which way to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// Oldest first.
    #[default]
    Forward,
    /// Newest first.
    Backward,
}

/// How to read one stream; the default is all of it, forwards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadStream {
    /// The lowest version to read, inclusive; `None` from the first.
    pub from: Option<StreamVersion>,
    /// The highest version to read, inclusive; `None` to the last.
    pub to: Option<StreamVersion>,
    /// Which way. Backwards it begins at `to`.
    pub direction: Direction,
    /// At most so many events.
    pub limit: Option<u64>,
}

/// How to read the log; the default is all of it, forwards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadLog {
    /// Only events after this position, exclusive, whichever way it is read.
    pub after: GlobalPosition,
    /// Only events up to this position, inclusive; `None` to the end.
    pub up_to: Option<GlobalPosition>,
    /// Which events.
    pub query: Query,
    /// Which way. Backwards it begins at `up_to`.
    pub direction: Direction,
    /// At most so many events.
    pub limit: Option<u64>,
}

/// Which streams to list; the default is all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListStreams {
    /// Only those of this category.
    pub category: Option<Category>,
    /// At most so many.
    pub limit: Option<u64>,
}
