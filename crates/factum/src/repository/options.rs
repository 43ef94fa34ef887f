//! What a command may be given besides, and what is told of it when it is done.

use serde_json::{Map, Value};

use crate::{Receipt, StreamVersion};

/// How to run one command; the default is plainly.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CommandOptions {
    /// An id that the caller gives the command, such as that of a request or a message: a command with the same key and the same stream
    /// happens once. It is remembered by the events that it recorded, for as long as they are not truncated; a command by which nothing
    /// happened is decided again.
    pub key: Option<String>,
    /// The version that the caller has seen; at any other the command is a conflict.
    pub expected: Option<StreamVersion>,
    /// What the events' metadata says besides.
    pub metadata: Map<String, Value>,
}

impl CommandOptions {
    /// A command with that key.
    pub fn key(key: impl Into<String>) -> Self {
        Self { key: Some(key.into()), ..Self::default() }
    }

    /// A command of one who has seen that version.
    pub fn expecting(version: StreamVersion) -> Self {
        Self { expected: Some(version), ..Self::default() }
    }

    /// The same, with one more piece of metadata.
    #[must_use]
    pub fn with_metadata(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }
}

/// What a command did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executed<R = ()> {
    /// What the decision replied.
    pub reply: R,
    /// What was recorded; `None` where nothing happened.
    pub receipt: Option<Receipt>,
    /// The version of the stream after it.
    pub version: StreamVersion,
    /// How many conflicts it met on its way.
    pub conflicts: u32,
}

impl<R> Executed<R> {
    /// Whether it had been done before, by a command of the same key; then this is what the first one did.
    pub fn is_duplicate(&self) -> bool {
        self.receipt.as_ref().is_some_and(|receipt| receipt.duplicate)
    }
}

/// What becomes of a command, or a question, where a stream's beginning was truncated and no snapshot covers it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TruncatedStreams {
    /// It is an error: a state folded from the rest may be wrong.
    #[default]
    Refuse,
    /// The state is folded from the rest: for deciders whose newest events say all, such as a balance carried forward.
    FoldTheRest,
}
