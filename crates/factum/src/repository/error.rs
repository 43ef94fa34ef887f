//! Why a command was not done.

use std::fmt;

use crate::{Error, StreamId, StreamVersion};

/// Why a command was not done, by what the caller does about it.
#[derive(Debug)]
#[non_exhaustive]
pub enum CommandError<E> {
    /// The domain refused it: tell whoever asked. Nothing was recorded.
    Refused(E),

    /// Others were faster, as often as it was tried: try again later, or allow more attempts. Nothing was recorded.
    Contended {
        /// Which stream.
        stream: StreamId,
        /// How often it was tried.
        attempts: u32,
        /// The last conflict.
        conflict: Error,
    },

    /// The key belongs to another command that was done before: give this one a key of its own. Nothing was recorded.
    KeyReused {
        /// Which stream.
        stream: StreamId,
        /// Which key.
        key: String,
        /// The version of the first event that the other command recorded.
        version: StreamVersion,
    },

    /// The store says so; see [`Error`].
    Store(Error),
}

impl<E> CommandError<E> {
    /// The refusal, if it is one.
    pub fn refused(self) -> Option<E> {
        match self {
            Self::Refused(error) => Some(error),
            Self::Contended { .. } | Self::KeyReused { .. } | Self::Store(_) => None,
        }
    }
}

impl<E> From<Error> for CommandError<E> {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

impl<E: fmt::Display> fmt::Display for CommandError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) => write!(f, "refused: {error}"),
            Self::Contended { stream, attempts, conflict } => {
                write!(f, "{stream} was changed by others during each of {attempts} attempts; try again later (the last: {conflict})")
            }
            Self::KeyReused { stream, key, version } => {
                write!(f, "the key {key:?} belongs to another command, recorded in {stream} at version {version}; use a key of its own")
            }
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for CommandError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Refused(_) | Self::KeyReused { .. } => None,
            Self::Contended { conflict, .. } => Some(conflict),
            Self::Store(error) => error.source(),
        }
    }
}
