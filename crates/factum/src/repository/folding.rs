//! Folding a stream: from the beginning or from a state that was kept, if that is one of this stream's.

use std::sync::Arc;

use futures::TryStreamExt;

use super::basis::{Deciding, Ground};
use crate::domain::Decider;
use crate::error::{Error, Result};
use crate::{ReadStream, RecordedEvent, StreamId, StreamInfo, StreamVersion};

impl<D: Decider> Deciding<D> {
    /// Folds what follows `ground` into it, up to a version. `None` if `ground` is no state that the stream has been in, or what follows
    /// can't be read any more.
    pub(super) async fn fold(
        &self,
        stream: &StreamId,
        mut ground: Ground<D::State>,
        to: Option<StreamVersion>,
    ) -> Result<Option<Ground<D::State>>> {
        // The event that made the version is read again, as a witness: a stream that was restored from a backup may have another.
        let from = Some(ground.version.max(StreamVersion::FIRST));
        loop {
            let mut events = self.store.read_stream(stream, ReadStream { from, to, ..ReadStream::default() });
            let mut seen = ground.version == StreamVersion::NONE;
            while let Some(event) = events.try_next().await? {
                if event.version == ground.version {
                    if ground.last_id.is_some_and(|id| id != event.id) {
                        return Ok(None);
                    }
                } else if event.version == ground.version.plus(1) {
                    self.evolve(&mut ground, &event)?;
                } else {
                    return Ok(None);
                }
                seen = true;
            }
            if seen || self.is_past(stream, ground.version, to).await? {
                ground.is_fresh = true;
                return Ok(Some(ground));
            }
            // Nothing was read from a version on that the stream is not at. If what follows it came only now, it can be read now.
            if !self.leads_on_from(stream, ground.version).await? {
                return Ok(None);
            }
        }
    }

    /// Folds what can be read of the stream, whatever was truncated before it.
    pub(super) async fn fold_the_rest(&self, stream: &StreamId, to: Option<StreamVersion>) -> Result<Ground<D::State>> {
        let mut ground = Ground::default();
        let mut events = self.store.read_stream(stream, ReadStream { to, ..ReadStream::default() });
        while let Some(event) = events.try_next().await? {
            self.evolve(&mut ground, &event)?;
        }
        if ground.version == StreamVersion::NONE
            && let Some(info) = self.store.stream(stream).await?
        {
            ground.version = info.version;
        }
        Ok(ground)
    }

    pub(super) fn evolve(&self, ground: &mut Ground<D::State>, event: &RecordedEvent) -> Result<()> {
        let state = Arc::make_mut(&mut ground.state);
        self.codec.decode_each(event, |event| D::evolve(state, &event))?;
        ground.version = event.version;
        ground.last_id = Some(event.id);
        ground.after = event.position;
        ground.replayed += 1;
        Ok(())
    }

    /// Whether the event that made that version is truncated, and nothing up to `to` follows it.
    async fn is_past(&self, stream: &StreamId, version: StreamVersion, to: Option<StreamVersion>) -> Result<bool> {
        let Some(info) = self.store.stream(stream).await? else { return Ok(false) };
        Ok(info.first_version > version && (info.version == version || info.version > version && to == Some(version)))
    }

    /// Whether the stream has a version after that one, and nothing between them is truncated.
    async fn leads_on_from(&self, stream: &StreamId, version: StreamVersion) -> Result<bool> {
        Ok(self.store.stream(stream).await?.is_some_and(|info| info.version > version && info.first_version <= version.plus(1)))
    }
}

/// The beginning of a stream can't be read any more.
pub(super) fn truncated(info: &StreamInfo) -> Error {
    let StreamInfo { stream, first_version, .. } = info;
    Error::invalid(format!(
        "{stream} is truncated before version {first_version}, and no snapshot covers what is missing, so its state is not known; restore \
         the events, or allow states folded from the rest (TruncatedStreams::FoldTheRest)"
    ))
}
