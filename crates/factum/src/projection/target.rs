//! Where rows are kept: the few things that every place must be able to do, in one transaction with the position.

use async_trait::async_trait;

use crate::error::Result;
use crate::subscription::ParkedEvent;
use crate::{Error, GlobalPosition};

/// One version of a projection, and the tables that it fills.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Build {
    /// The projection's name.
    pub name: String,
    /// Which version of its rows; a rebuild makes the next one.
    pub version: u32,
    /// Its tables, without the version.
    pub tables: Vec<String>,
}

/// The right to change a build's rows, and how far they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Of two claims, the later one is higher.
    pub fence: u64,
    /// The rows hold every event up to here.
    pub position: GlobalPosition,
    /// Whether there were no rows before.
    pub is_new: bool,
}

/// A place for rows.
#[async_trait]
pub trait Target: Clone + Send + Sync + 'static {
    /// The rows within a transaction. Dropping them changes nothing.
    type Rows: Send;

    /// The version that readers see, `None` if there is none yet.
    async fn live_version(&self, name: &str) -> Result<Option<u32>>;

    /// Takes a build over, making it if it is not there: no earlier claim can change it once these rows are kept.
    async fn claim(&self, build: &Build) -> Result<(Self::Rows, Claim)>;

    /// Keeps what a claim, and making room, has changed.
    async fn keep(&self, rows: Self::Rows) -> Result<()>;

    /// Rows to be changed from one position to another; `None` if they are there already.
    ///
    /// # Errors
    /// [`Error::Fenced`] if there is a later claim.
    async fn begin(&self, build: &Build, claim: Claim, to: GlobalPosition) -> Result<Option<Self::Rows>>;

    /// Puts an event aside, with the position that passes it.
    async fn park(&self, build: &Build, rows: &mut Self::Rows, event: &ParkedEvent) -> Result<()>;

    /// The events that were put aside.
    async fn parked(&self, build: &Build) -> Result<Vec<ParkedEvent>>;

    /// Takes an event back that was put aside, in the rows' transaction.
    async fn unpark(&self, build: &Build, rows: &mut Self::Rows, position: GlobalPosition) -> Result<()>;

    /// Asks for events that were put aside to be applied again, or stops asking; how many those are.
    async fn ask_for_replay(&self, build: &Build, position: Option<GlobalPosition>, wanted: bool) -> Result<usize>;

    /// The version that somebody outside asked for, to be built beside the one that readers see.
    async fn asked_for(&self, name: &str) -> Result<Option<u32>> {
        let _ = name;
        Ok(None)
    }

    /// How far the rows are that readers see.
    async fn position(&self, name: &str) -> Result<GlobalPosition>;
}

/// The error of whoever holds an old claim.
pub(super) fn fenced(build: &Build, fence: u64, actual: u64) -> Error {
    Error::Fenced { name: format!("{} version {}", build.name, build.version), fence, actual }
}

/// The error where rows are not where their owner left them.
pub(super) fn moved(build: &Build, claim: &Claim, actual: GlobalPosition) -> Error {
    let (name, version, position) = (&build.name, build.version, claim.position);
    Error::invalid(format!("the rows of {name} version {version} are at position {actual}, not {position}; somebody else has moved them"))
}
