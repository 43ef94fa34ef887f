//! From what a server answers, or does not answer, to the contract's errors.

use redis::{RedisError, ServerError};

use crate::error::{Error, Source};

/// What became of a command that got no useful answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// It was not carried out, and may be sent again: to the same server a little later, or to another one.
    NotNow(String),
    /// The server does not know our functions (any more).
    NoLibrary,
    /// It was not carried out, and sending it again does not help.
    Refused(Error),
    /// It may have been carried out or not.
    Unknown(String, Option<Source>),
}

impl Failure {
    /// What a server's error means. Servers answer so before a function has written anything.
    pub(super) fn of_answer(error: &ServerError) -> Self {
        let code = error.code();
        let text = error.details().map_or_else(|| code.to_owned(), |details| format!("{code} {details}"));
        Self::of_text(&text)
    }

    /// What an error means that the function met and passed on.
    pub(super) fn of_text(text: &str) -> Self {
        let code = text.split(' ').next().unwrap_or_default();
        match code {
            "NOSCRIPT" => Self::NoLibrary,
            "ERR" if text.contains("Function not found") => Self::NoLibrary,
            // A slot is being moved, its master is being replaced, or the server is starting.
            "MOVED" | "ASK" | "TRYAGAIN" | "CLUSTERDOWN" | "MASTERDOWN" | "LOADING" | "BUSY" => Self::NotNow(text.to_owned()),
            "ERR" if text.contains("non local key") => Self::NotNow(format!("a slot of the cluster is being moved ({text})")),
            "READONLY" => Self::NotNow(format!("this server is a replica; name its master ({text})")),
            "NOREPLICAS" => Self::NotNow(format!("the server has fewer replicas than min-replicas-to-write asks for ({text})")),
            "OOM" => Self::Refused(unavailable(format!(
                "the server's memory is full, nothing was recorded ({text}); raise maxmemory, or truncate streams"
            ))),
            "MISCONF" => Self::Refused(unavailable(format!("the server can't write to its disk, nothing was recorded ({text})"))),
            "NOPERM" | "NOAUTH" | "WRONGPASS" => Self::Refused(unavailable(format!("the server does not allow it ({text})"))),
            "WRONGTYPE" => Self::Refused(corrupt(format!("a key of the store holds something else ({text})"))),
            _ => Self::Refused(unavailable(format!("the server answered with an error: {text}"))),
        }
    }

    /// What it means that there was no answer to what had been sent.
    pub(super) fn of_silence(error: RedisError) -> Self {
        let what = if error.is_timeout() { "the server did not answer in time" } else { "the connection was lost before the answer" };
        Self::Unknown(what.to_owned(), Some(error.into()))
    }

    /// What a caller is told who does not try again.
    pub(super) fn into_error(self) -> Error {
        match self {
            Self::NotNow(reason) => unavailable(reason),
            Self::NoLibrary => unavailable("the server does not keep the function that appends".to_owned()),
            Self::Refused(error) => error,
            Self::Unknown(reason, source) => Error::OutcomeUnknown { reason, source },
        }
    }
}

pub(super) fn unavailable(reason: String) -> Error {
    Error::Unavailable { reason, source: None }
}

pub(super) fn corrupt(reason: String) -> Error {
    Error::Corrupt { reason, source: None }
}

pub(super) fn closed() -> Error {
    unavailable("the store is closed; open it again".to_owned())
}

/// An answer in a shape that our functions don't give.
pub(super) fn unreadable(what: &str) -> Error {
    corrupt(format!("the server's answer has another form than {what}"))
}
