//! Decisions that rest on one stream: its state from memory, from a snapshot, or from its events.

use std::sync::Arc;

use async_trait::async_trait;
use uuid::Uuid;

use super::basis::{Basis, Ground};
use super::folding::truncated;
use super::options::TruncatedStreams;
use super::{Deciding, Repository};
use crate::domain::Decider;
use crate::error::{Error, Result};
use crate::telemetry::{self, LoadedFrom};
use crate::{Append, ExpectedVersion, NewEvent, Receipt, RecordedEvent, StreamId, StreamVersion};

pub(super) struct StreamBasis<'a, D: Decider> {
    pub(super) repository: &'a Repository<D>,
    pub(super) stream: &'a StreamId,
}

impl<D: Decider> StreamBasis<'_, D> {
    fn deciding(&self) -> &Deciding<D> {
        &self.repository.deciding
    }

    /// The state at a version, or of now, from a snapshot or from the beginning.
    pub(super) async fn fold_from_store(&self, to: Option<StreamVersion>) -> Result<Ground<D::State>> {
        let (ground, from) = self.fold_from_best(to).await?;
        telemetry::loaded(D::CATEGORY, from);
        telemetry::folded(D::CATEGORY, ground.replayed);
        Ok(ground)
    }

    /// The state at exactly that version.
    pub(super) async fn fold_to(&self, version: StreamVersion) -> Result<Ground<D::State>> {
        let ground = self.fold_from_store(Some(version)).await?;
        if ground.version == version {
            return Ok(ground);
        }
        let Ground { version: last, .. } = self.look_for_truncation(ground).await?;
        Err(Error::invalid(format!("{} is at version {last}, there is no version {version} yet", self.stream)))
    }

    async fn fold_from_best(&self, to: Option<StreamVersion>) -> Result<(Ground<D::State>, LoadedFrom)> {
        if to == Some(StreamVersion::NONE) {
            return Ok((Ground::default(), LoadedFrom::Events));
        }
        if let Some(shelf) = &self.repository.shelf
            && let Some(snapshot) = shelf.find(self.stream).await
            && to.is_none_or(|to| snapshot.version <= to)
        {
            match self.deciding().fold(self.stream, snapshot, to).await? {
                Some(ground) => return Ok((ground, LoadedFrom::Snapshot)),
                None => tracing::debug!(stream = %self.stream, "a snapshot is no state of its stream and is left out"),
            }
        }
        let ground = match self.deciding().fold(self.stream, Ground::default(), to).await? {
            Some(ground) => ground,
            None => match self.repository.truncated {
                TruncatedStreams::FoldTheRest => self.deciding().fold_the_rest(self.stream, to).await?,
                TruncatedStreams::Refuse => return Err(self.refuse_truncated().await?),
            },
        };
        Ok((ground, LoadedFrom::Events))
    }

    /// Nothing was found in the stream: whether that is because it was truncated as a whole.
    pub(super) async fn look_for_truncation(&self, ground: Ground<D::State>) -> Result<Ground<D::State>> {
        if ground.version != StreamVersion::NONE {
            return Ok(ground);
        }
        match (self.deciding().store.stream(self.stream).await?, self.repository.truncated) {
            (None, _) => Ok(ground),
            (Some(info), TruncatedStreams::FoldTheRest) => Ok(Ground { version: info.version, ..ground }),
            // Its first event came between the two looks.
            (Some(info), TruncatedStreams::Refuse) if info.first_version == StreamVersion::FIRST => self.fold_from_store(None).await,
            (Some(info), TruncatedStreams::Refuse) => Err(truncated(&info)),
        }
    }

    async fn refuse_truncated(&self) -> Result<Error> {
        Ok(match self.deciding().store.stream(self.stream).await? {
            Some(info) => truncated(&info),
            None => Error::invalid(format!("{} was there and is no more; read it again", self.stream)),
        })
    }
}

#[async_trait]
impl<D: Decider> Basis<D> for StreamBasis<'_, D> {
    fn stream(&self) -> &StreamId {
        self.stream
    }

    async fn load(&self) -> Result<Ground<D::State>> {
        let Repository { hot, shelf, .. } = self.repository;
        if let Some(ground) = hot.get(self.stream) {
            telemetry::loaded(D::CATEGORY, LoadedFrom::Cache);
            return Ok(ground);
        }
        let mut ground = self.fold_from_store(None).await?;
        if ground.version == StreamVersion::NONE {
            // No event, or none that can be read? An append finds out, and whoever does not append looks again.
            ground.is_fresh = false;
        } else {
            hot.keep(self.stream, &ground);
        }
        if let Some(shelf) = shelf {
            shelf.consider_loaded(self.stream, &ground);
        }
        Ok(ground)
    }

    async fn renew(&self, ground: Ground<D::State>) -> Result<Ground<D::State>> {
        let hot = &self.repository.hot;
        let (version, replayed) = (ground.version, ground.replayed);
        let renewed = match self.deciding().fold(self.stream, ground, None).await? {
            Some(ground) => {
                telemetry::folded(D::CATEGORY, ground.replayed - replayed);
                ground
            }
            None => {
                hot.forget(self.stream, version);
                self.fold_from_store(None).await?
            }
        };
        let renewed = self.look_for_truncation(renewed).await?;
        if renewed.version != StreamVersion::NONE {
            hot.keep(self.stream, &renewed);
        }
        Ok(renewed)
    }

    fn append(&self, ground: &Ground<D::State>, events: Vec<NewEvent>) -> Append {
        Append::to(self.stream.clone(), events).expecting(ExpectedVersion::Exact(ground.version))
    }

    async fn before(&self, event: &RecordedEvent) -> Result<Arc<D::State>> {
        Ok(self.fold_to(StreamVersion::new(event.version.get() - 1)).await?.state)
    }

    fn recorded(&self, ground: Ground<D::State>, events: &[D::Event], last_id: Option<Uuid>, receipt: &Receipt) {
        let Repository { hot, shelf, .. } = self.repository;
        let before = ground.version;
        // Nobody else has this state now, as a rule, and it need not be cloned.
        hot.forget(self.stream, before);
        let Ground { mut state, .. } = ground;
        let changed = Arc::make_mut(&mut state);
        events.iter().for_each(|event| D::evolve(changed, event));
        let after = receipt.last_position();
        let now = Ground { state, version: receipt.last_version(), last_id, after, is_fresh: false, replayed: 0 };
        hot.keep(self.stream, &now);
        if let Some(shelf) = shelf {
            shelf.consider_recorded(self.stream, before, &now);
        }
    }
}
