//! What a repository answers: states of now and of then, and how they came about.

use std::sync::Arc;

use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;

use super::basis::{Basis, Ground};
use super::stream_basis::StreamBasis;
use super::{Object, Repository};
use crate::domain::{Aggregate, Decider};
use crate::error::{Error, Result};
use crate::repository::error::CommandError;
use crate::repository::options::{CommandOptions, Executed};
use crate::{Decision, ReadStream, RecordedEvent, StreamId, StreamVersion};

/// A state, and the version of its stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded<S> {
    /// Which stream.
    pub stream: StreamId,
    /// Which version.
    pub version: StreamVersion,
    /// The state at that version.
    pub state: S,
}

/// One recorded event of a stream, and what it is today.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEntry<E> {
    /// As it was recorded.
    pub recorded: RecordedEvent,
    /// In the shape of today: one event, unless upcasters say otherwise.
    pub events: Vec<E>,
}

/// A history, read lazily.
pub type HistoryStream<E> = BoxStream<'static, Result<HistoryEntry<E>>>;

impl<D: Decider> Repository<D> {
    /// The state of now, `None` if the stream has no events. It sees every command that was answered before.
    ///
    /// # Errors
    /// As reading from the store; [`Error::Invalid`] if the stream's events can't be read, or were truncated.
    pub async fn get(&self, id: impl AsRef<str> + Send) -> Result<Option<Loaded<D::State>>> {
        let stream = self.stream(id)?;
        let basis = StreamBasis { repository: self, stream: &stream };
        let mut ground = basis.load().await?;
        if !ground.is_fresh {
            ground = basis.renew(ground).await?;
        }
        Ok((ground.version != StreamVersion::NONE).then(|| loaded(stream, ground)))
    }

    /// The state at a version; at [`StreamVersion::NONE`] the one before the first event.
    ///
    /// # Errors
    /// As [`Repository::get`]; [`Error::Invalid`] if the stream has not come to that version.
    pub async fn get_at(&self, id: impl AsRef<str> + Send, version: StreamVersion) -> Result<Loaded<D::State>> {
        let stream = self.stream(id)?;
        let ground = StreamBasis { repository: self, stream: &stream }.fold_to(version).await?;
        Ok(loaded(stream, ground))
    }

    /// The state by what had happened at `time`: events that say when they happened count from then on, others from when they were recorded.
    /// `None` if nothing had happened yet.
    ///
    /// # Errors
    /// As [`Repository::get`].
    pub async fn get_as_of(&self, id: impl AsRef<str> + Send, time: Timestamp) -> Result<Option<Loaded<D::State>>> {
        let stream = self.stream(id)?;
        let mut events = self.deciding.store.read_stream(&stream, ReadStream::default());
        let mut ground = Ground::default();
        let mut seen = StreamVersion::NONE;
        while let Some(event) = events.try_next().await? {
            if event.version != seen.plus(1) && self.truncated == super::TruncatedStreams::Refuse {
                let info = self.deciding.store.stream(&stream).await?;
                return Err(info.map_or_else(|| Error::invalid(format!("{stream} is gone")), |info| super::folding::truncated(&info)));
            }
            seen = event.version;
            if event.happened_at() <= time {
                self.deciding.evolve(&mut ground, &event)?;
            }
        }
        Ok((ground.version != StreamVersion::NONE).then(|| loaded(stream, ground)))
    }

    /// Whether the stream has ever had an event.
    ///
    /// # Errors
    /// As [`EventStore::stream`](crate::EventStore::stream).
    pub async fn exists(&self, id: impl AsRef<str> + Send) -> Result<bool> {
        Ok(self.deciding.store.stream(&self.stream(id)?).await?.is_some())
    }

    /// The events of a stream, oldest first, each as it was recorded and as it is today.
    ///
    /// # Errors
    /// [`Error::Invalid`] if `id` makes no stream id. Items: as reading from the store, and as [`Codec::decode`](crate::Codec::decode).
    pub fn history(&self, id: impl AsRef<str>) -> Result<HistoryStream<D::Event>> {
        let events = self.deciding.store.read_stream(&self.stream(id)?, ReadStream::default());
        let codec = self.deciding.codec.clone();
        Ok(events.map(move |event| event.and_then(|recorded| Ok(HistoryEntry { events: codec.decode(&recorded)?, recorded }))).boxed())
    }

    /// Takes a snapshot of the state of now, whatever the policy; returns its version.
    ///
    /// # Errors
    /// As [`Repository::get`]; [`Error::Invalid`] if the repository keeps no snapshots, or the stream has no events.
    pub async fn snapshot(&self, id: impl AsRef<str> + Send) -> Result<StreamVersion> {
        let stream = self.stream(id)?;
        let Some(shelf) = &self.shelf else {
            return Err(Error::invalid("this repository keeps no snapshots; give it Snapshots::on_demand()"));
        };
        let ground = StreamBasis { repository: self, stream: &stream }.fold_from_store(None).await?;
        if ground.version == StreamVersion::NONE {
            return Err(Error::invalid(format!("{stream} has no events, so there is no state to keep")));
        }
        shelf.take(&stream, &ground).await?;
        Ok(ground.version)
    }
}

impl<A: Aggregate> Repository<Object<A>> {
    /// Records what methods have recorded on an aggregate that was [loaded](Self::get), if the stream is still at its version.
    ///
    /// # Errors
    /// A conflict if it is not: load it again, and call the methods again. [`Repository::call`] does that by itself.
    pub async fn save(&self, loaded: &mut Loaded<A>) -> Result<Executed, CommandError<A::Error>> {
        let options = CommandOptions::expecting(loaded.version);
        let basis = StreamBasis { repository: self, stream: &loaded.stream };
        let recorder = loaded.state.recorder();
        let events = std::sync::Mutex::new(Some(recorder.take()));
        let decide = |_: &A| Ok(Decision::of(events.lock().expect("no holder of this lock panics").take().unwrap_or_default()));
        let done = self.deciding.transact(&basis, &options, decide).await?;
        loaded.version = done.version;
        Ok(done)
    }
}

fn loaded<S: Clone>(stream: StreamId, ground: Ground<S>) -> Loaded<S> {
    Loaded { stream, version: ground.version, state: Arc::unwrap_or_clone(ground.state) }
}
