//! Projections: read models that are built from events, exactly once, and can be built again.
//!
//! A projection says what an event changes in its rows. A [`Target`] keeps the rows, and beside them how far they are: both change in one
//! transaction, so an event is in the rows or still to come, whatever is cut off when. The position is fenced too: of two runners of one
//! projection only the later one can change anything.

mod batch;
mod beside;
#[cfg(feature = "postgres")]
mod inline;
mod memory;
mod projector;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "redis"))]
mod rebuild;
#[cfg(feature = "redis")]
mod redis;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod sql;
mod target;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "redis"))]
mod versions;

use async_trait::async_trait;

#[cfg(any(feature = "sqlite", feature = "postgres", feature = "redis"))]
use self::rebuild::{EXAMPLES, PATIENCE};
use crate::error::Result;
use crate::subscription::Handled;
use crate::subscription::registry::{self, Kind};
use crate::{Query, RecordedEvent, SharedStore};

#[cfg(feature = "postgres")]
pub use inline::Inline;
pub use memory::{Draft, MemoryTarget, fold_now};
pub use projector::Projector;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "redis"))]
pub use rebuild::{BuildState, Comparison, Rebuild, TableDifference};
#[cfg(feature = "redis")]
pub use redis::{RedisRows, RedisTarget};
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub use sql::{SqlRows, SqlTarget, SqlValue};
pub use target::{Build, Claim, Target};
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "redis"))]
pub use versions::Versions;

/// The names of the projections that were ever run over the events of a store.
///
/// # Errors
/// What the store says.
pub async fn names(store: &SharedStore) -> Result<Vec<String>> {
    Ok(registry::names(store, Kind::Projection).await?.into_iter().collect())
}

/// What events change in rows of the kind `R`: [`SqlRows`], [`RedisRows`], or a type of yours for [`MemoryTarget`].
///
/// An event is applied exactly once to rows that are kept. Where it was applied and what it changed could not be kept, it is applied
/// again to what was there before, so a projection changes nothing but its rows.
#[async_trait]
pub trait Projection<R: Send>: Send + Sync + 'static {
    /// Its name, under which its position is kept.
    fn name(&self) -> &str;

    /// Which events it is made of.
    fn query(&self) -> Query {
        Query::all()
    }

    /// The tables that it fills, where its rows are in tables. In its statements they stand in braces: `{orders}`.
    fn tables(&self) -> &[&'static str] {
        &[]
    }

    /// Makes room for its rows, where there is none yet.
    async fn create(&self, rows: &mut R) -> Handled {
        let _ = rows;
        Ok(())
    }

    /// Changes the rows as the event says.
    async fn apply(&self, event: &RecordedEvent, rows: &mut R) -> Handled;

    /// Changes the rows as several events say, in this order. For those who can do that with fewer statements.
    async fn apply_all(&self, events: &[RecordedEvent], rows: &mut R) -> Handled {
        for event in events {
            self.apply(event, rows).await?;
        }
        Ok(())
    }
}
