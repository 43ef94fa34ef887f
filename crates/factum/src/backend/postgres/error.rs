//! PostgreSQL's errors as the contract's, told apart by what the caller can do.

use sqlx::error::Error as SqlError;

use crate::error::Error;

/// Why a step on the server did not succeed.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The server or the way to it.
    Sql(SqlError),
    /// What the contract says.
    Contract(Error),
}

impl From<SqlError> for Trouble {
    fn from(error: SqlError) -> Self {
        Self::Sql(error)
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Contract(error)
    }
}

impl From<Trouble> for Error {
    /// For reads, and for whatever fails before its transaction was to be committed: nothing has changed.
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Sql(error) => unavailable(error),
            Trouble::Contract(error) => error,
        }
    }
}

/// For statements of yours beside an append: nothing has changed.
impl From<SqlError> for Error {
    fn from(error: SqlError) -> Self {
        unavailable(error)
    }
}

/// Nothing has changed; the reason says what to do.
pub(super) fn unavailable(error: SqlError) -> Error {
    match error {
        SqlError::PoolClosed => closed(),
        SqlError::ColumnDecode { .. } | SqlError::Decode(_) | SqlError::ColumnNotFound(_) | SqlError::TypeNotFound { .. } => {
            Error::Corrupt { reason: format!("what PostgreSQL gave is not what Factum keeps there: {error}"), source: Some(error.into()) }
        }
        error => Error::Unavailable { reason: reason(&error), source: Some(error.into()) },
    }
}

/// What is to be said when a commit, or a statement that commits by itself, failed with this.
pub(super) fn uncommitted(error: SqlError) -> Error {
    if is_lost(&error) {
        return Error::OutcomeUnknown { reason: lost_in_flight(&error), source: Some(error.into()) };
    }
    unavailable(error)
}

/// The same for each of a batch.
pub(super) fn uncommitted_again(error: &SqlError) -> Error {
    if is_lost(error) {
        return Error::OutcomeUnknown { reason: lost_in_flight(error), source: None };
    }
    match error {
        SqlError::PoolClosed => closed(),
        error => Error::Unavailable { reason: reason(error), source: None },
    }
}

pub(super) fn closed() -> Error {
    Error::Unavailable { reason: "the store is closed; open it again".to_owned(), source: None }
}

fn lost_in_flight(error: &SqlError) -> String {
    format!("the connection to PostgreSQL was lost before it answered: {error}")
}

/// Whether the connection is gone, or the server about to go, so that another connection may do better.
pub(super) fn is_lost(error: &SqlError) -> bool {
    match error {
        SqlError::Io(_) | SqlError::Tls(_) | SqlError::Protocol(_) | SqlError::WorkerCrashed => true,
        error => code(error).is_some_and(|code| code.starts_with("08") || matches!(code.as_str(), "57P01" | "57P02" | "57P03")),
    }
}

/// Whether a read may succeed when it is tried again soon.
pub(super) fn is_passing(error: &SqlError) -> bool {
    is_lost(error) || matches!(error, SqlError::PoolTimedOut)
}

/// Whether transactions were in each other's way, so that one of them alone would have succeeded.
pub(super) fn is_collision(error: &SqlError) -> bool {
    code(error).is_some_and(|code| matches!(code.as_str(), "40001" | "40P01" | "23505" | "55P03"))
}

fn code(error: &SqlError) -> Option<String> {
    error.as_database_error().and_then(|error| error.code()).map(|code| code.into_owned())
}

fn reason(error: &SqlError) -> String {
    match error {
        SqlError::PoolTimedOut => {
            "no connection to PostgreSQL within 5 seconds: it does not answer, or all connections are in use; see that it runs, or raise \
             connections_max"
                .to_owned()
        }
        SqlError::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            format!("no encrypted connection to PostgreSQL: {error}; see sslmode and sslrootcert in the URL")
        }
        SqlError::Io(error) => format!("PostgreSQL can't be reached: {error}; see that it runs, and that the URL names it"),
        SqlError::Tls(error) => format!("no encrypted connection to PostgreSQL: {error}; see sslmode in the URL"),
        error => {
            let code = code(error);
            let advice = match code.as_deref() {
                Some("25006") => "it only reads, perhaps it is a replica; connect to the primary server",
                Some("28P01" | "28000") => "see the user and password in the URL",
                Some("3D000") => "create the database, or name another in the URL",
                Some("42501") => "give the user the right, or use another user",
                Some("42P01" | "3F000" | "42883" | "42703") => {
                    "if that was the store's own, it was removed or changed since the store was opened, perhaps by a later Factum; open it \
                     again, which says what to do"
                }
                Some("53100") => "make room on the server's disk",
                Some("53200") => "the server is out of memory; see max_locks_per_transaction and its memory settings",
                Some("53300") => "raise the server's max_connections, or lower connections_max in the URL",
                Some("57P01" | "57P02" | "57P03") => "it is starting or stopping; try again",
                Some("40001" | "40P01" | "55P03") => "other transactions were in the way; try again",
                Some("57014") => "it took longer than the user's statement_timeout allows",
                _ => "see the server's log",
            };
            let code = code.map(|code| format!(" ({code})")).unwrap_or_default();
            let message = error.as_database_error().map_or_else(|| error.to_string(), |error| error.message().to_owned());
            format!("PostgreSQL says: {message}{code}; {advice}")
        }
    }
}
