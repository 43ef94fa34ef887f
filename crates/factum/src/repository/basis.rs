//! What a decision rests on: one stream, or what a query finds. The rest of a command is the same for both.

use std::sync::Arc;

use async_trait::async_trait;
use uuid::Uuid;

use super::Retry;
use super::turns::Turns;
use crate::domain::{Codec, Decider};
use crate::error::Result;
use crate::{Append, GlobalPosition, NewEvent, Receipt, RecordedEvent, SharedStore, StreamId, StreamVersion};

/// What deciding needs, whatever it rests on.
pub(super) struct Deciding<D: Decider> {
    pub(super) store: SharedStore,
    pub(super) codec: Codec<D::Event>,
    pub(super) retry: Retry,
    pub(super) turns: Turns,
}

impl<D: Decider> Deciding<D> {
    pub(super) fn new(store: SharedStore) -> Self {
        Self { store, codec: Codec::new(), retry: Retry::default(), turns: Turns::new() }
    }
}

/// A state, and what it is the state of.
#[derive(Debug)]
pub(super) struct Ground<S> {
    pub(super) state: Arc<S>,
    /// The version of the stream, where it is one.
    pub(super) version: StreamVersion,
    /// The id of the event that made that version, by which a stream knows it for its own.
    pub(super) last_id: Option<Uuid>,
    /// The position up to which a query was answered, where it is one.
    pub(super) after: GlobalPosition,
    /// Whether the store was looked at, for this command.
    pub(super) is_fresh: bool,
    /// How many events were read to make it.
    pub(super) replayed: u64,
}

/// What a decision rests on.
#[async_trait]
pub(super) trait Basis<D: Decider>: Sync {
    /// The stream that gets the events.
    fn stream(&self) -> &StreamId;

    /// The state to begin with, perhaps from memory.
    async fn load(&self) -> Result<Ground<D::State>>;

    /// The state of now: `ground` with what is new.
    async fn renew(&self, ground: Ground<D::State>) -> Result<Ground<D::State>>;

    /// The append of these events, which fails if the ground has changed.
    fn append(&self, ground: &Ground<D::State>, events: Vec<NewEvent>) -> Append;

    /// The state just before `event` was recorded.
    async fn before(&self, event: &RecordedEvent) -> Result<Arc<D::State>>;

    /// These events were recorded on that ground.
    fn recorded(&self, ground: Ground<D::State>, events: &[D::Event], last_id: Option<Uuid>, receipt: &Receipt);
}

impl<S> Clone for Ground<S> {
    fn clone(&self) -> Self {
        Self { state: self.state.clone(), ..*self }
    }
}

impl<S: Default> Default for Ground<S> {
    fn default() -> Self {
        Self {
            state: Arc::new(S::default()),
            version: StreamVersion::NONE,
            last_id: None,
            after: GlobalPosition::START,
            is_fresh: true,
            replayed: 0,
        }
    }
}
