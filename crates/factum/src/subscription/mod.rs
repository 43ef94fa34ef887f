//! Following the log: subscriptions that go from catch-up to live, the checkpoints that remember how far they came, processors that run
//! handlers, and groups that share the work.

mod backoff;
mod checkpoint;
mod group;
mod handlers;
pub(crate) mod json_record;
mod parked;
pub(crate) mod processor;
pub(crate) mod registry;
mod start;
mod subscribe;
mod subscriptions;

pub use backoff::Backoff;
pub use checkpoint::{Checkpoint, Checkpoints, Fence};
pub use group::{Consumer, Delivery, Group, GroupState, Groups, HeldKey, Load, MemberState};
pub use handlers::{Handled, typed};
pub use parked::ParkedEvent;
pub use processor::{CheckpointPolicy, OnFailure, Processor, Progress, ProgressReader};
pub use start::StartFrom;
pub use subscribe::{Subscription, SubscriptionOptions};
pub use subscriptions::{SubscriptionState, Subscriptions};
