//! Following the log: subscriptions that go from catch-up to live, and the checkpoints that remember how far they came.

mod checkpoint;
mod subscribe;

pub use checkpoint::{Checkpoint, Checkpoints, Fence};
pub use subscribe::{Subscription, SubscriptionOptions};
