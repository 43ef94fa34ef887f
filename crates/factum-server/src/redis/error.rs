//! What went wrong, as a reply.

use factum::Error;

use super::keyspace::Failure;
use super::resp::Reply;

/// What a client is told whose request was not recorded.
pub(crate) fn of_failure(failure: &Failure) -> Reply {
    match failure {
        Failure::Overtaken => Reply::error("ERR others keep writing to the same keys; nothing of this request was recorded, send it again"),
        Failure::Failed(error) => match &**error {
            // Redis's code, and its words, for what can't be written to its disk; clients know them.
            Error::Unavailable { .. } => Reply::Error(format!("MISCONF Errors writing to the AOF file: not recorded: {error}").into()),
            error => of_store(error),
        },
        Failure::Bug => Reply::error("ERR not recorded: a command failed, which is a bug of the server; its log says more"),
    }
}

/// What a client is told of an error of the store.
pub(crate) fn of_store(error: &Error) -> Reply {
    let text = match error {
        Error::OutcomeUnknown { .. } => format!("ERR it is not known whether this was recorded ({error}); look before sending it again"),
        error if error.is_conflict() => format!("CONFLICT {error}"),
        Error::Unavailable { .. } | Error::Invalid { .. } => format!("ERR not recorded: {error}"),
        error => format!("ERR {error}"),
    };
    Reply::Error(text.into())
}

/// What a client is told whose request does not fit into one append.
pub(crate) fn too_large() -> Reply {
    Reply::error("ERR the request is larger than what the store records as one; nothing of it was done, split it")
}
