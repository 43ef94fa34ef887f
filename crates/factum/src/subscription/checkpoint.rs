//! Checkpoints: how far a reader came, kept in the store and guarded by a fence.
//!
//! A reader first takes the checkpoint over, which gives it a fence one higher than any before. Whoever was replaced holds a lower
//! fence and can't move the checkpoint any more, however late its request arrives.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::{EventStore, GlobalPosition, Record, RecordName, RecordVersion, RecordWrite};

/// The right to move a checkpoint; of two, the later one is higher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fence(u64);

impl Fence {
    /// The number behind it, for messages.
    pub const fn number(self) -> u64 {
        self.0
    }
}

/// How far a reader came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The last position handled.
    pub position: GlobalPosition,
    /// Who may move it.
    pub fence: Fence,
}

/// The checkpoints of a store, by name.
#[derive(Clone)]
pub struct Checkpoints {
    store: Arc<dyn EventStore>,
}

impl Checkpoints {
    /// The checkpoints kept in `store`.
    pub fn new(store: Arc<dyn EventStore>) -> Self {
        Self { store }
    }

    /// The checkpoint of that name, `None` if no one ever took it.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the record is not a checkpoint, and what the store says.
    pub async fn get(&self, name: &str) -> Result<Option<Checkpoint>> {
        Ok(self.read(name).await?.map(|(_, checkpoint)| checkpoint))
    }

    /// Takes a checkpoint over: from now on no earlier owner can move it. Its position stays; a new one begins at the start.
    ///
    /// # Errors
    /// What the store says.
    pub async fn take(&self, name: &str) -> Result<Checkpoint> {
        self.take_from(name, GlobalPosition::START).await
    }

    /// Takes a checkpoint over as [`Checkpoints::take`] does; a new one begins at `start`.
    ///
    /// # Errors
    /// What the store says.
    pub async fn take_from(&self, name: &str, start: GlobalPosition) -> Result<Checkpoint> {
        loop {
            let (version, checkpoint) = match self.read(name).await? {
                Some((version, held)) => (version, Checkpoint { position: held.position, fence: Fence(held.fence.0 + 1) }),
                None => (RecordVersion::NONE, Checkpoint { position: start, fence: Fence(1) }),
            };
            match self.write(name, version, checkpoint).await {
                Err(Error::RecordConflict { .. }) => {}
                outcome => return outcome.map(|()| checkpoint),
            }
        }
    }

    /// Moves a checkpoint to `position`.
    ///
    /// # Errors
    /// [`Error::Fenced`] if someone took it over since; [`Error::Invalid`] if that would move it back, or no one ever took it.
    pub async fn advance(&self, name: &str, fence: Fence, position: GlobalPosition) -> Result<()> {
        loop {
            let Some((version, held)) = self.read(name).await? else {
                return Err(Error::invalid(format!("checkpoint {name} does not exist; take it before moving it")));
            };
            if held.fence != fence {
                return Err(Error::Fenced { name: name.to_owned(), fence: fence.0, actual: held.fence.0 });
            }
            if position < held.position {
                let at = held.position;
                return Err(Error::invalid(format!("checkpoint {name} is at position {at}, and can't go back to {position}")));
            }
            match self.write(name, version, Checkpoint { position, fence }).await {
                Err(Error::RecordConflict { .. }) => {}
                outcome => return outcome,
            }
        }
    }

    async fn read(&self, name: &str) -> Result<Option<(RecordVersion, Checkpoint)>> {
        let Some(Record { version, value }) = self.store.record(&record_name(name)?).await? else { return Ok(None) };
        let checkpoint = serde_json::from_slice(&value)
            .map_err(|error| Error::Corrupt { reason: format!("checkpoint {name} can't be read"), source: Some(error.into()) })?;
        Ok(Some((version, checkpoint)))
    }

    async fn write(&self, name: &str, version: RecordVersion, checkpoint: Checkpoint) -> Result<()> {
        let value = serde_json::to_vec(&checkpoint).expect("two numbers can be written as JSON");
        self.store.write_record(RecordWrite::set(record_name(name)?, value).expecting(version)).await?;
        Ok(())
    }
}

impl std::fmt::Debug for Checkpoints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checkpoints").finish_non_exhaustive()
    }
}

fn record_name(name: &str) -> Result<RecordName> {
    RecordName::new(format!("checkpoint/{name}"))
}
