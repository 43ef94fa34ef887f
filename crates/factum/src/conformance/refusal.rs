//! What a refused call must say: each of these fails the check unless the answer is that error, and gives its facts.

use std::fmt::Debug;

use uuid::Uuid;

use super::check::{Failure, Verdict, shown};
use crate::{Conflict, Error, GlobalPosition, RecordVersion, Result, StreamId, StreamVersion};

/// The facts of [`Error::IdReused`].
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reused {
    pub(super) stream: StreamId,
    pub(super) id: Uuid,
    pub(super) recorded: StreamVersion,
    pub(super) proposed: StreamVersion,
}

#[track_caller]
pub(super) fn conflict<T: Debug>(answer: Result<T>) -> Verdict<Conflict> {
    match answer {
        Err(Error::Conflict(conflict)) => Ok(*conflict),
        other => Err(unexpected(&other, "Conflict")),
    }
}

#[track_caller]
pub(super) fn condition_failed<T: Debug>(answer: Result<T>) -> Verdict<GlobalPosition> {
    match answer {
        Err(Error::ConditionFailed { position }) => Ok(position),
        other => Err(unexpected(&other, "ConditionFailed")),
    }
}

#[track_caller]
pub(super) fn id_reused<T: Debug>(answer: Result<T>) -> Verdict<Reused> {
    match answer {
        Err(Error::IdReused { stream, id, recorded, proposed }) => Ok(Reused { stream, id, recorded, proposed }),
        other => Err(unexpected(&other, "IdReused")),
    }
}

/// Gives the version that was expected and the one that the record has.
#[track_caller]
pub(super) fn record_conflict<T: Debug>(answer: Result<T>) -> Verdict<(RecordVersion, RecordVersion)> {
    match answer {
        Err(Error::RecordConflict { expected, actual, .. }) => Ok((expected, actual)),
        other => Err(unexpected(&other, "RecordConflict")),
    }
}

#[track_caller]
pub(super) fn fenced<T: Debug>(answer: Result<T>) -> Verdict {
    match answer {
        Err(Error::Fenced { .. }) => Ok(()),
        other => Err(unexpected(&other, "Fenced")),
    }
}

#[track_caller]
pub(super) fn invalid<T: Debug>(answer: Result<T>) -> Verdict {
    match answer {
        Err(Error::Invalid { .. }) => Ok(()),
        other => Err(unexpected(&other, "Invalid")),
    }
}

/// Gives the size and the limit.
#[track_caller]
pub(super) fn too_large<T: Debug>(answer: Result<T>) -> Verdict<(u64, u64)> {
    match answer {
        Err(Error::PayloadTooLarge { bytes, bytes_max }) => Ok((bytes, bytes_max)),
        other => Err(unexpected(&other, "PayloadTooLarge")),
    }
}

#[track_caller]
pub(super) fn unavailable<T: Debug>(answer: Result<T>) -> Verdict {
    match answer {
        Err(Error::Unavailable { .. }) => Ok(()),
        other => Err(unexpected(&other, "Unavailable")),
    }
}

#[track_caller]
pub(super) fn unsupported<T: Debug>(answer: Result<T>) -> Verdict {
    match answer {
        Err(Error::Unsupported { .. }) => Ok(()),
        other => Err(unexpected(&other, "Unsupported")),
    }
}

#[track_caller]
fn unexpected<T: Debug>(answer: &Result<T>, expected: &str) -> Failure {
    Failure::new(format!("the answer is {}, expected {expected}", shown(answer)))
}
