//! Building beside: a new version of the rows, made by today's code, next to the one that readers see; and how the two differ.

use std::time::Duration;

use futures::TryStreamExt;

use super::projector::Running;
use super::target::Target;
use super::{Projection, Projector, Versions};
use crate::error::{Error, Result};
use crate::{GlobalPosition, ReadLog};

/// A version of a projection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildState {
    /// The version.
    pub version: u32,
    /// How far its rows are.
    pub position: GlobalPosition,
    /// Whether readers see it.
    pub is_live: bool,
    /// Its tables, or hashes, with their whole names.
    pub tables: Vec<String>,
}

/// How two versions differ, at one position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// Where both are.
    pub position: GlobalPosition,
    /// Table by table.
    pub tables: Vec<TableDifference>,
}

/// How two versions of a table differ, or of a hash, whose rows are its fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableDifference {
    /// Its name, without a version.
    pub table: String,
    /// How many rows the version has that readers see.
    pub rows_now: u64,
    /// How many rows the new version has.
    pub rows_new: u64,
    /// How many of the old version's rows are not in the new one as they are.
    pub only_now: u64,
    /// How many of the new version's rows are not in the old one as they are.
    pub only_new: u64,
    /// A few of those, the old ones marked with `-` and the new ones with `+`.
    pub examples: Vec<String>,
}

impl Comparison {
    /// Whether the new version has the same rows.
    pub fn is_same(&self) -> bool {
        self.tables.iter().all(|table| table.only_now == 0 && table.only_new == 0 && table.rows_now == table.rows_new)
    }
}

/// A new version that is being built beside the one that readers see: in SQL, or in Redis.
pub struct Rebuild<P, T> {
    pub(super) projector: Projector<P, T>,
    pub(super) running: Running,
    /// The version that readers see.
    pub(super) now: u32,
}

/// So many differing rows are shown for each table and version.
pub(super) const EXAMPLES: u32 = 5;
/// How long the old version is waited for where it is not where the new one is.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

impl<P, T> Projector<P, T>
where
    T: Target + Versions,
    P: Projection<T::Rows>,
{
    /// Begins to build a new version of the rows beside the one that readers see, or goes on with one that was begun.
    ///
    /// # Errors
    /// [`Error::Invalid`] if there is no version to compare with, and what the database says.
    pub async fn rebuild(&self) -> Result<Rebuild<P, T>> {
        let name = self.projection.name();
        let builds = self.target.builds(name).await?;
        let Some(live) = builds.iter().find(|build| build.is_live) else {
            return Err(Error::invalid(format!("projection {name} has no rows yet that a rebuild could replace; run it first")));
        };
        let begun = builds.iter().map(|build| build.version).filter(|version| *version > live.version).max();
        let version = begun.or(self.version).filter(|version| *version > live.version).unwrap_or(live.version + 1);
        let projector = (*self).clone().version(version);
        let running = projector.claim().await?;
        Ok(Rebuild { projector, running, now: live.version })
    }
}

impl<P, T> Rebuild<P, T>
where
    T: Target + Versions,
    P: Projection<T::Rows>,
{
    /// Gives the new version up, and drops its rows.
    ///
    /// # Errors
    /// What the database says.
    pub async fn abandon(self) -> Result<()> {
        self.projector.target.drop_version(&self.running.build.name, self.version()).await
    }
}

impl<P, T> Rebuild<P, T>
where
    T: Target,
    P: Projection<T::Rows>,
{
    /// The version that is being built.
    pub fn version(&self) -> u32 {
        self.running.build.version
    }

    /// Applies everything up to where the version that readers see was when this was asked.
    ///
    /// # Errors
    /// As [`Projector::run_to_end`].
    pub async fn catch_up(&mut self) -> Result<()> {
        let up_to = self.projector.target.position(&self.running.build.name).await?;
        let mut events = self.projector.store.read_log(self.missing(up_to)).try_chunks(self.projector.batch_events_max);
        while let Some(batch) = events.try_next().await.map_err(|error| error.1)? {
            let to = batch.last().map_or(up_to, |event| event.position);
            self.projector.apply(&mut self.running, &batch, to).await?;
        }
        self.projector.apply(&mut self.running, &[], up_to).await
    }

    pub(super) fn missing(&self, up_to: GlobalPosition) -> ReadLog {
        let query = self.projector.projection.query();
        ReadLog { after: self.running.claim.position, up_to: Some(up_to), query, ..ReadLog::default() }
    }
}

impl<P, T> std::fmt::Debug for Rebuild<P, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rebuild").field("build", &self.running.build).finish_non_exhaustive()
    }
}
