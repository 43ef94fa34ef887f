//! Factum keeps events.
//!
//! An event store for event sourcing: streams of events with expected versions, one ordered log over all of them,
//! subscriptions that never skip, and small records for snapshots and checkpoints. One contract, [`EventStore`], over
//! several engines; [`connect`] chooses one by URL. On top of it the domain model: typed events ([`Event`], [`Codec`]), decisions
//! ([`Decider`], [`Aggregate`]), and what runs them ([`Repository`], [`Boundary`]).

mod append;
pub mod backend;
pub mod causation;
mod connect;
mod domain;
mod error;
mod event;
mod metadata;
mod position;
pub mod projection;
mod query;
mod record;
mod repository;
mod store;
mod stream;
mod subscription;
mod tag;
mod telemetry;
mod text;

#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(feature = "testing")]
pub mod testing;

pub use append::{Append, Condition, Receipt, StreamAppend, StreamReceipt};
pub use connect::{SharedStore, connect};
pub use domain::{Aggregate, Codec, Decider, Decision, Event, IntoShapes, Object, Recorder, Shape, UnknownTypes, Upcasters};
pub use error::{Conflict, ConflictReason, Error, Result, Source};
pub use event::{EventType, NewEvent, RecordedEvent};
pub use position::GlobalPosition;
pub use projection::{Projection, Projector};
pub use query::{Query, QueryItem};
pub use record::{Record, RecordName, RecordVersion, RecordWrite};
pub use repository::{
    AggregateRepository, Boundary, CommandError, CommandOptions, Executed, HistoryEntry, HistoryStream, Loaded, Repository, Retry,
    Snapshots, TruncatedStreams,
};
pub use store::{
    Capabilities, Direction, EventStore, EventStoreExt, EventStream, Idempotency, InfoStream, Limits, ListStreams, ReadLog, ReadStream,
    Stats, StreamInfo, Support,
};
pub use stream::{Category, ExpectedVersion, StreamId, StreamVersion};
pub use subscription::{
    Backoff, Checkpoint, CheckpointPolicy, Checkpoints, Consumer, Delivery, Fence, Group, GroupState, Groups, Handled, HeldKey, Load,
    MemberState, OnFailure, ParkedEvent, Processor, Progress, ProgressReader, StartFrom, Subscription, SubscriptionOptions,
    SubscriptionState, Subscriptions, typed,
};
pub use tag::Tag;

/// For implementing [`Projection`].
pub use async_trait::async_trait;
/// The instants of `recorded_at` and `occurred_at`.
pub use jiff::Timestamp;
/// Event ids; new ones are version 7, which sort by time.
pub use uuid::Uuid;

/// The README's examples, compiled and run as tests.
#[cfg(all(doctest, feature = "testing"))]
#[doc = include_str!("../../../README.md")]
struct ReadmeExample;
