//! The versions of a projection's rows, seen from outside the programs that fill them: what `factum projections` does.

use std::time::Duration;

use async_trait::async_trait;

use super::target::Build;
use super::{BuildState, Comparison};
use crate::GlobalPosition;
use crate::error::{Error, Result};
use crate::subscription::ParkedEvent;

/// A place for rows that can be asked for versions of a projection, and for what it has put aside, whoever fills them: [`SqlTarget`](super::SqlTarget) and
/// [`RedisTarget`](super::RedisTarget).
#[async_trait]
pub trait Versions: Send + Sync {
    /// The versions that there are, in order; none if there is no such projection.
    ///
    /// # Errors
    /// What the database says.
    async fn builds(&self, name: &str) -> Result<Vec<BuildState>>;

    /// Asks the program that runs a projection to build the next version of its rows beside the one that readers see, with the code that it has.
    /// It begins within about a second, or when it is started. Which version that is; one that was asked for before is the same.
    ///
    /// # Errors
    /// [`Error::Invalid`] if there is no such projection, or a newer version that nobody asked for; and what the database says.
    async fn ask_for_rebuild(&self, name: &str) -> Result<u32>;

    /// Compares the newest version with the one that readers see, at a moment when both are at the same position. Such a moment is waited for.
    ///
    /// # Errors
    /// [`Error::Invalid`] if there is no newer version; [`Error::Unavailable`] if they are not at the same position for so long; and what the
    /// database says.
    async fn compare(&self, name: &str, patience: Duration) -> Result<Comparison>;

    /// Lets readers see the newest version. The program that runs the old version ends, or goes on with the new one if it has built that. Which
    /// version that is, and where it is.
    ///
    /// # Errors
    /// As [`Versions::compare`].
    async fn switch(&self, name: &str, patience: Duration) -> Result<(u32, GlobalPosition)>;

    /// Drops the rows of a version that readers don't see; one that was asked for is not asked for any more.
    ///
    /// # Errors
    /// [`Error::Invalid`] if readers see it, or there is none; and what the database says.
    async fn drop_version(&self, name: &str, version: u32) -> Result<()>;

    /// Drops the rows of all versions before the one that readers see; how many versions that were.
    ///
    /// # Errors
    /// What the database says.
    async fn drop_old(&self, name: &str) -> Result<usize> {
        let builds = self.builds(name).await?;
        let old: Vec<u32> =
            builds.iter().map(|build| (build.version, build.is_live)).take_while(|build| !build.1).map(|build| build.0).collect();
        for version in &old {
            self.drop_version(name, *version).await?;
        }
        Ok(old.len())
    }

    /// The events that were put aside where they should have changed the rows that readers see, in order.
    ///
    /// # Errors
    /// [`Error::Invalid`] if there is no such projection; and what the database says.
    async fn parked_events(&self, name: &str) -> Result<Vec<ParkedEvent>>;

    /// Asks the program that runs a projection to apply one of those again, or all. It begins within about a second, or when it is started. How
    /// many that are.
    ///
    /// # Errors
    /// [`Error::Invalid`] if there is no such projection or event; and what the database says.
    async fn replay_parked(&self, name: &str, which: Option<GlobalPosition>) -> Result<usize>;

    /// Gives up an event that was put aside: it will never be in the rows.
    ///
    /// # Errors
    /// [`Error::Invalid`] if there is no such projection or event; and what the database says.
    async fn skip_parked(&self, name: &str, position: GlobalPosition) -> Result<()>;
}

/// The version that readers see, as far as it takes to find what was put aside.
pub(super) async fn live_build(versions: &impl Versions, name: &str) -> Result<Build> {
    Ok(Build { name: name.to_owned(), version: live(name, &versions.builds(name).await?)?, tables: Vec::new() })
}

/// So many events were found; one that was named has to be among them.
pub(super) fn found(name: &str, which: Option<GlobalPosition>, count: usize) -> Result<usize> {
    match which {
        Some(position) if count == 0 => Err(Error::invalid(format!(
            "no event at position {position} is parked in {name}; `factum projections show {name} --database URL` lists those that are"
        ))),
        _ => Ok(count),
    }
}

/// The version that readers see.
fn live(name: &str, builds: &[BuildState]) -> Result<u32> {
    let live = builds.iter().find(|build| build.is_live).map(|build| build.version);
    live.ok_or_else(|| Error::invalid(format!("there is no projection {name:?} in this database")))
}

/// The version that a rebuild makes: the one that was asked for already, or the one after what readers see.
pub(super) fn to_build(name: &str, builds: &[BuildState], asked: Option<u32>) -> Result<u32> {
    let next = live(name, builds)? + 1;
    match (asked, builds.last()) {
        (Some(asked), _) => Ok(asked),
        (None, Some(newest)) if newest.version >= next => Err(Error::invalid(format!(
            "version {} of projection {name} is there already, built by a program of its own; switch to it or drop it first",
            newest.version
        ))),
        (None, _) => Ok(next),
    }
}

/// The version that readers see, and the newest one after it.
pub(super) fn live_and_newest(name: &str, builds: &[BuildState]) -> Result<(u32, u32)> {
    let live = live(name, builds)?;
    let newest = builds.last().map(|build| build.version).filter(|version| *version > live);
    let newest = newest.ok_or_else(|| {
        Error::invalid(format!("projection {name} has no version after {live}, which readers see; run the program with a later one"))
    })?;
    Ok((live, newest))
}

/// The error where two versions do not come to the same position.
pub(super) fn not_level(name: &str, live: (u32, GlobalPosition), newest: (u32, GlobalPosition)) -> Error {
    let ((live, at), (newest, newest_at)) = (live, newest);
    Error::Unavailable {
        reason: format!(
            "version {live} of projection {name} is at position {at}, version {newest} at {newest_at}; run both until they are level"
        ),
        source: None,
    }
}
