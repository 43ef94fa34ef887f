//! From the engine's errors to the contract's.

use factum_engine::{Error as EngineError, Failure};

use crate::error::Error;

impl From<EngineError> for Error {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Missing { ref path } => {
                let reason = format!("there is no store in {}; append or import something to make one", path.display());
                Self::Unavailable { reason, source: None }
            }
            EngineError::Corrupt { .. } => Self::Corrupt { reason: error.to_string(), source: None },
            EngineError::ReadOnly => read_only(),
            // What was read was true, or the caller can't do anything but what the text says.
            _ => Self::Unavailable { reason: error.to_string(), source: None },
        }
    }
}

/// What is said to whoever would write to a store that was opened to read.
pub(super) fn read_only() -> Error {
    Error::Unsupported {
        feature: "writing".to_owned(),
        store: "a file store opened with read_only=true".to_owned(),
        instead: "open it without read_only=true".to_owned(),
    }
}

pub(super) fn closed() -> Error {
    Error::Unavailable { reason: "the store is closed; open it again".to_owned(), source: None }
}

/// What a request that was handed to the writer came to.
pub(super) fn failed(failure: Failure) -> Error {
    match failure {
        Failure::NotRecorded(error) => error.into(),
        Failure::Unknown(error) => Error::OutcomeUnknown { reason: error.to_string(), source: None },
    }
}
