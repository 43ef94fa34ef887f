//! Snapshots: states kept as records of the store, so that a load need not begin at the beginning.
//!
//! They are never needed. One that can't be read, is of another schema, or is no state that its stream has been in, is as good as none.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::basis::Ground;
use crate::error::{Error, Result};
use crate::{RecordName, RecordWrite, SharedStore, StreamId, StreamVersion};

/// When snapshots are taken, and how they are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshots {
    when: When,
    schema: u32,
    name: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Every(u64),
    AfterReplaying(u64),
    OnDemand,
}

impl Snapshots {
    /// After every `events` events of a stream.
    pub fn every(events: u64) -> Self {
        Self::taken(When::Every(events.max(1)))
    }

    /// When a state had to be made from `events` events or more.
    pub fn after_replaying(events: u64) -> Self {
        Self::taken(When::AfterReplaying(events.max(1)))
    }

    /// Only by [`Repository::snapshot`](super::Repository::snapshot).
    pub fn on_demand() -> Self {
        Self::taken(When::OnDemand)
    }

    /// The same, with states of that schema; 1 if nothing is said. Raise it with each change of the state or of how events change it:
    /// earlier snapshots are left out from then on.
    #[must_use]
    pub fn schema(mut self, schema: u32) -> Self {
        self.schema = schema;
        self
    }

    /// The same, beside the snapshots of another decider of the same streams.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    fn taken(when: When) -> Self {
        Self { when, schema: 1, name: None }
    }

    fn record(&self, stream: &StreamId) -> Result<RecordName> {
        match &self.name {
            None => RecordName::new(format!("snapshot/{stream}")),
            Some(name) => RecordName::new(format!("snapshot/{name}/{stream}")),
        }
    }

    /// Whether one is due after a load that read `replayed` events.
    fn is_due_after_loading(&self, replayed: u64) -> bool {
        matches!(self.when, When::AfterReplaying(events) if replayed >= events)
    }

    /// Whether one is due after a command that took the stream from one version to another.
    fn is_due_after_recording(&self, before: StreamVersion, after: StreamVersion) -> bool {
        matches!(self.when, When::Every(events) if before.get() / events < after.get() / events)
    }
}

/// What a record holds.
#[derive(Serialize, Deserialize)]
struct Kept {
    schema: u32,
    version: StreamVersion,
    /// The id of the event that made the version.
    last_id: Option<Uuid>,
    state: Box<RawValue>,
}

/// Where a repository keeps its snapshots.
pub(super) struct Shelf<S> {
    store: SharedStore,
    snapshots: Snapshots,
    encode: fn(&S) -> serde_json::Result<Box<RawValue>>,
    decode: fn(&RawValue) -> serde_json::Result<S>,
    writing: Mutex<JoinSet<()>>,
}

impl<S: Send + Sync + 'static> Shelf<S> {
    /// So many are written at once; what comes while they are is left out.
    const WRITING_MAX: usize = 16;

    pub(super) fn new(store: SharedStore, snapshots: Snapshots) -> Self
    where
        S: Serialize + DeserializeOwned,
    {
        let encode = |state: &S| serde_json::value::to_raw_value(state);
        let decode = |state: &RawValue| serde_json::from_str(state.get());
        Self { store, snapshots, encode, decode, writing: Mutex::default() }
    }

    /// The stream's snapshot, if there is one that can be read.
    pub(super) async fn find(&self, stream: &StreamId) -> Option<Ground<S>>
    where
        S: Default,
    {
        let name = self.snapshots.record(stream).map_err(|error| tracing::warn!(%error, "snapshots of that name can't be kept")).ok()?;
        let record = match self.store.record(&name).await {
            Ok(record) => record?,
            Err(error) => {
                tracing::warn!(%stream, %error, "a snapshot can't be read; the events are");
                return None;
            }
        };
        let ground = self.read(&record.value);
        ground.map_err(|reason| tracing::debug!(%stream, reason, "a snapshot is left out")).ok()
    }

    fn read(&self, bytes: &[u8]) -> Result<Ground<S>, String>
    where
        S: Default,
    {
        let kept: Kept = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if kept.schema != self.snapshots.schema {
            return Err(format!("it is of schema {}, not {}", kept.schema, self.snapshots.schema));
        }
        let state = (self.decode)(&kept.state).map_err(|error| error.to_string())?;
        Ok(Ground { state: Arc::new(state), version: kept.version, last_id: kept.last_id, ..Ground::default() })
    }

    /// Takes a snapshot in the background if one is due after a load.
    pub(super) fn consider_loaded(&self, stream: &StreamId, now: &Ground<S>) {
        if self.snapshots.is_due_after_loading(now.replayed) {
            self.take_in_background(stream, now);
        }
    }

    /// Takes a snapshot in the background if one is due after a command.
    pub(super) fn consider_recorded(&self, stream: &StreamId, before: StreamVersion, now: &Ground<S>) {
        if self.snapshots.is_due_after_recording(before, now.version) {
            self.take_in_background(stream, now);
        }
    }

    fn take_in_background(&self, stream: &StreamId, now: &Ground<S>) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let mut writing = self.writing.lock().expect("no holder of this lock panics");
        while writing.try_join_next().is_some() {}
        if writing.len() >= Self::WRITING_MAX {
            return;
        }
        let (store, snapshots, encode) = (self.store.clone(), self.snapshots.clone(), self.encode);
        let (stream, now) = (stream.clone(), now.clone());
        let write = async move {
            if let Err(error) = write(&*store, &snapshots, encode, &stream, &now).await {
                tracing::warn!(%stream, %error, "a snapshot was not written; the next one may be");
            }
        };
        writing.spawn_on(write, &runtime);
    }

    /// Takes a snapshot now.
    pub(super) async fn take(&self, stream: &StreamId, now: &Ground<S>) -> Result<()> {
        write(&*self.store, &self.snapshots, self.encode, stream, now).await
    }

    /// Waits until those under way are written.
    pub(super) async fn settle(&self) {
        let mut writing = std::mem::take(&mut *self.writing.lock().expect("no holder of this lock panics"));
        while writing.join_next().await.is_some() {}
    }
}

async fn write<S>(
    store: &dyn crate::EventStore,
    snapshots: &Snapshots,
    encode: fn(&S) -> serde_json::Result<Box<RawValue>>,
    stream: &StreamId,
    now: &Ground<S>,
) -> Result<()> {
    let unwritable = |error| Error::invalid(format!("the state of {stream} can't be written as JSON: {error}"));
    let state = encode(&now.state).map_err(unwritable)?;
    let kept = Kept { schema: snapshots.schema, version: now.version, last_id: now.last_id, state };
    let value = serde_json::to_vec(&kept).map_err(unwritable)?;
    store.write_record(RecordWrite::set(snapshots.record(stream)?, Bytes::from(value))).await.map(drop)
}
