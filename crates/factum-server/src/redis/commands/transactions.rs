//! MULTI, EXEC, DISCARD, WATCH and UNWATCH.

use crate::redis::resp::Request;

/// What a connection has gathered for EXEC.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    /// The requests since MULTI; `None` outside of one.
    pub(crate) queued: Option<Vec<Request>>,
    /// A request was refused, so that EXEC must be too.
    pub(crate) is_spoilt: bool,
}
