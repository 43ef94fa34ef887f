//! What can go wrong in the log, by what its owner does about it.

use std::io;
use std::path::{Path, PathBuf};

/// A result of the engine.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the engine did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no log here.
    #[error("there is no store in {}", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },

    /// There is something else here, and a log is not made among it.
    #[error("{} is not a store, and not empty (it has {file}); choose a directory of its own", path.display())]
    NotALog {
        /// Where the log was to be made.
        path: PathBuf,
        /// One of the files there.
        file: String,
    },

    /// Another process (or another handle in this one) writes to this log.
    #[error("the store in {} is in use by {holder}; stop that, or open read-only beside it", path.display())]
    Locked {
        /// The store's directory.
        path: PathBuf,
        /// Who holds it, as it said itself.
        holder: String,
    },

    /// The disk is full. Nothing of the request was recorded; it works again once there is room.
    #[error("the disk is full at {}; nothing was recorded, and appends work again once there is room", path.display())]
    Full {
        /// The file that could not grow.
        path: PathBuf,
    },

    /// A sync failed: what it was to make durable may or may not be. Nothing is written any more until the log is opened again.
    #[error("writing to disk failed ({reason}); the store stopped taking appends to protect its data: restart, it checks itself then")]
    Poisoned {
        /// The first failure.
        reason: String,
    },

    /// The log was closed.
    #[error("the store is closed")]
    Closed,

    /// The log was opened read-only.
    #[error("the store was opened read-only")]
    ReadOnly,

    /// Bytes are not what was written.
    #[error("{}{}: {what}", file.display(), offset.map(|offset| format!(" at byte {offset}")).unwrap_or_default())]
    Corrupt {
        /// The damaged file.
        file: PathBuf,
        /// Where in it.
        offset: Option<u64>,
        /// What is wrong there.
        what: String,
    },

    /// The file was written by a later version of this software.
    #[error("{} has format {found}, and this version reads up to {known}; use a newer version", file.display())]
    FutureFormat {
        /// The file.
        file: PathBuf,
        /// Its format.
        found: u32,
        /// The latest known.
        known: u32,
    },

    /// The operating system refused.
    #[error("{what} {}: {source}", file.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        file: PathBuf,
        /// Its answer.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn corrupt(file: &Path, offset: impl Into<Option<u64>>, what: impl Into<String>) -> Self {
        Self::Corrupt { file: file.to_owned(), offset: offset.into(), what: what.into() }
    }

    pub(crate) fn is_missing_file(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// The same error once more, for another caller.
    pub(crate) fn again(&self) -> Self {
        match self {
            Self::Missing { path } => Self::Missing { path: path.clone() },
            Self::NotALog { path, file } => Self::NotALog { path: path.clone(), file: file.clone() },
            Self::Locked { path, holder } => Self::Locked { path: path.clone(), holder: holder.clone() },
            Self::Full { path } => Self::Full { path: path.clone() },
            Self::Poisoned { reason } => Self::Poisoned { reason: reason.clone() },
            Self::Closed => Self::Closed,
            Self::ReadOnly => Self::ReadOnly,
            Self::Corrupt { file, offset, what } => Self::Corrupt { file: file.clone(), offset: *offset, what: what.clone() },
            Self::FutureFormat { file, found, known } => Self::FutureFormat { file: file.clone(), found: *found, known: *known },
            Self::Io { what, file, source } => {
                Self::Io { what, file: file.clone(), source: io::Error::new(source.kind(), source.to_string()) }
            }
        }
    }

    /// Turns the system's answer into an error about `file`.
    pub(crate) fn io(what: &'static str, file: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| {
            if is_full(&source) { Self::Full { path: file.to_owned() } } else { Self::Io { what, file: file.to_owned(), source } }
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}
