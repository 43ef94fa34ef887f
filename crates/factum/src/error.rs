//! The contract's errors: each variant is something that a caller does next.

use std::fmt;

use uuid::Uuid;

use crate::{ExpectedVersion, GlobalPosition, RecordName, RecordVersion, RecordedEvent, StreamId, StreamVersion};

/// A result of the contract.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The source of an error, where there is one.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why a store did not do what it was asked, by what the caller does about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A stream is not as the append expected: load it again and decide again. Nothing was changed.
    #[error(transparent)]
    Conflict(Box<Conflict>),

    /// Something that the append's condition rules out has been recorded: read it and decide again. Nothing was changed.
    #[error("condition failed: a matching event was recorded at position {position}; read up to it and decide again")]
    ConditionFailed {
        /// The position of an event that matches.
        position: GlobalPosition,
    },

    /// An event id stands in the stream with other content: give the new event an id of its own. Nothing was changed.
    #[error(
        "event id {id} is already used in stream {stream} at version {recorded}, with other content (proposed again for version \
         {proposed}); use a new id for a new event"
    )]
    IdReused {
        /// Which stream.
        stream: StreamId,
        /// Which id.
        id: Uuid,
        /// The version of the event that has it.
        recorded: StreamVersion,
        /// The version that the proposed event would have had.
        proposed: StreamVersion,
    },

    /// A record is not at the expected version: read it and decide again. Nothing was changed.
    #[error("record {name} is at version {actual}, not {expected}; read it again")]
    RecordConflict {
        /// Which record.
        name: RecordName,
        /// The version that was expected.
        expected: RecordVersion,
        /// The version that it has; [`RecordVersion::NONE`] if it is not there.
        actual: RecordVersion,
    },

    /// Another owner holds a checkpoint: stop, this consumer has been replaced. Nothing was changed.
    #[error("checkpoint {name} now belongs to a later owner (fence {actual}, yours is {fence}); stop this consumer")]
    Fenced {
        /// Which checkpoint.
        name: String,
        /// The caller's fence.
        fence: u64,
        /// The fence of the owner of now.
        actual: u64,
    },

    /// A key of a group belongs to another consumer now, who gets the event again: this acknowledgement counts for nothing. Go on with
    /// the next event.
    #[error(
        "key {key} of group {group} now belongs to another consumer, who gets the event again; this acknowledgement counts for nothing"
    )]
    HandedOver {
        /// Which group.
        group: String,
        /// Which key.
        key: String,
    },

    /// A handler failed every time at one event: repair what it says, then start the reader again. It goes on with this event.
    #[error(
        "{reader} stopped at {stream} version {version} (position {position}), which failed {attempts} times; repair it and start it again"
    )]
    HandlerFailed {
        /// Which subscription, group or projection.
        reader: String,
        /// The stream of the event.
        stream: StreamId,
        /// The version of the event.
        version: StreamVersion,
        /// Its place in the log.
        position: GlobalPosition,
        /// How often it was tried.
        attempts: u32,
        /// What the handler said last.
        #[source]
        source: Source,
    },

    /// It is not known whether the request took effect: send the same request again, that is always safe.
    #[error("the outcome is unknown ({reason}); send the same request again, event ids make that safe")]
    OutcomeUnknown {
        /// What happened.
        reason: String,
        /// The cause, where there is one.
        #[source]
        source: Option<Source>,
    },

    /// The store can't be used now, and nothing was changed: try again later, or do what the reason says.
    #[error("the store is unavailable: {reason}")]
    Unavailable {
        /// What happened and what to do.
        reason: String,
        /// The cause, where there is one.
        #[source]
        source: Option<Source>,
    },

    /// The call itself is wrong: correct it.
    #[error("{reason}")]
    Invalid {
        /// What is wrong.
        reason: String,
    },

    /// An event's data and metadata are larger than the store takes: keep the blob elsewhere and refer to it.
    #[error("the payload has {bytes} bytes, the limit is {bytes_max}; keep large content elsewhere and refer to it")]
    PayloadTooLarge {
        /// The size of data and metadata together, in bytes.
        bytes: u64,
        /// The store's limit, in bytes.
        bytes_max: u64,
    },

    /// What is stored is damaged: run `factum verify`.
    #[error("the store is damaged: {reason}; run `factum verify`")]
    Corrupt {
        /// What is damaged, and where.
        reason: String,
        /// The cause, where there is one.
        #[source]
        source: Option<Source>,
    },

    /// This store can't do that: use one that can.
    #[error("{store} does not support {feature}; {instead}")]
    Unsupported {
        /// What was asked for.
        feature: String,
        /// The store that can't.
        store: String,
        /// Which store can, or what to do.
        instead: String,
    },
}

impl Error {
    /// The call is wrong, for this reason.
    pub fn invalid(reason: impl Into<String>) -> Self {
        Self::Invalid { reason: reason.into() }
    }

    pub(crate) fn handler_failed(reader: &str, event: &RecordedEvent, attempts: u32, source: Source) -> Self {
        let (stream, version, position) = (event.stream.clone(), event.version, event.position);
        Self::HandlerFailed { reader: reader.to_owned(), stream, version, position, attempts, source }
    }

    /// Whether the caller should load again and decide again.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict(_) | Self::ConditionFailed { .. } | Self::IdReused { .. } | Self::RecordConflict { .. })
    }

    /// Whether sending the same request again can help.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::OutcomeUnknown { .. } | Self::Unavailable { .. })
    }
}

impl From<Conflict> for Error {
    fn from(conflict: Conflict) -> Self {
        Self::Conflict(Box::new(conflict))
    }
}

/// A stream was not as an append expected it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Which stream.
    pub stream: StreamId,
    /// What the append expected.
    pub expected: ExpectedVersion,
    /// The version that the stream has.
    pub actual: StreamVersion,
    /// In what way.
    pub reason: ConflictReason,
}

/// In what way a stream was not as expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConflictReason {
    /// The version is another one.
    Version,
    /// Some of the append's events have been recorded before, but not all of it.
    PartlyRecorded {
        /// One that has been.
        id: Uuid,
        /// Where it stands.
        version: StreamVersion,
    },
    /// All of the events have been recorded before, but elsewhere in the stream or in another order than this append would.
    RecordedElsewhere {
        /// One of them.
        id: Uuid,
        /// Where it stands.
        version: StreamVersion,
    },
}

impl std::error::Error for Conflict {}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stream, expected, actual, reason } = self;
        match reason {
            ConflictReason::Version if *actual == StreamVersion::NONE => {
                write!(f, "conflict in stream {stream}: expected {expected}, but it has no events; load it and decide again")
            }
            ConflictReason::Version => {
                write!(f, "conflict in stream {stream}: expected {expected}, but it is at version {actual}; load it and decide again")
            }
            ConflictReason::PartlyRecorded { id, version } => write!(
                f,
                "conflict in stream {stream}: event {id} is already recorded at version {version}, but other events of this append are \
                 not; append only what is new"
            ),
            ConflictReason::RecordedElsewhere { id, version } => write!(
                f,
                "conflict in stream {stream} (at version {actual}): event {id} is already recorded at version {version}, which is not \
                 where this append ({expected}) would put it"
            ),
        }
    }
}
