//! What the door knows of one connection from request to request.

use std::sync::Arc;
use std::time::Instant;

use super::clients::{Activity, Client};
use super::commands::Transaction;
use super::resp::Protocol;

/// One connection's state. Only its own task touches it; what others may see is in its [`Client`].
#[derive(Debug)]
pub(crate) struct Session {
    /// What others may see of it.
    pub(crate) client: Arc<Client>,
    /// The version of the protocol that it speaks.
    pub(crate) protocol: Protocol,
    /// The database that it has chosen.
    pub(crate) database: u32,
    /// Whether it may do anything but give the password.
    pub(crate) is_authenticated: bool,
    /// Whether it ends when what is under way has been answered.
    pub(crate) is_ending: bool,
    /// Which answers it wants.
    pub(crate) replies: Replies,
    /// The name of the last command that it called.
    pub(crate) last_command: &'static str,
    /// What it has gathered for EXEC.
    pub(crate) transaction: Transaction,
}

/// Which answers a connection wants, as CLIENT REPLY says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Replies {
    /// All.
    #[default]
    On,
    /// None.
    Off,
    /// All from the one after the next on: CLIENT REPLY SKIP is under way.
    SkipThisAndNext,
    /// All but that of the next request.
    SkipNext,
}

impl Session {
    /// What others may see of it now.
    pub(crate) fn activity(&self, at: Instant) -> Activity {
        Activity {
            at,
            command: self.last_command,
            database: self.database,
            protocol: if self.protocol == Protocol::Three { 3 } else { 2 },
            queued: self.transaction.queued.as_ref().map(Vec::len),
        }
    }

    /// A connection that has just come.
    pub(crate) fn new(client: Arc<Client>, is_authenticated: bool) -> Self {
        Self {
            client,
            protocol: Protocol::default(),
            database: 0,
            is_authenticated,
            is_ending: false,
            replies: Replies::default(),
            last_command: "NULL",
            transaction: Transaction::default(),
        }
    }
}
