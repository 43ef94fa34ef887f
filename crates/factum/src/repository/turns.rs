//! Turns: commands of this process that met a conflict over the same stream go on one after the other.
//!
//! Without them sixty commands on one stream would collide sixty times for each that gets through. The first attempt takes no turn, so
//! where nobody collides nobody waits. It is about time only: the store decides, and other processes take no turns here.

use std::hash::{BuildHasher, RandomState};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::StreamId;

/// Streams share turns by chance; two that do wait for each other once in a while, and only where both collide.
const QUEUES: usize = 64;

pub(super) struct Turns {
    queues: [Semaphore; QUEUES],
    hasher: RandomState,
}

/// A turn, until it is dropped.
pub(super) type Turn<'a> = SemaphorePermit<'a>;

impl Turns {
    pub(super) fn new() -> Self {
        Self { queues: std::array::from_fn(|_| Semaphore::new(1)), hasher: RandomState::new() }
    }

    /// Waits for a turn, in the order of asking.
    pub(super) async fn wait(&self, stream: &StreamId) -> Turn<'_> {
        let place = self.hasher.hash_one(stream) % QUEUES as u64;
        let queue = &self.queues[usize::try_from(place).expect("it is less than a length")];
        queue.acquire().await.expect("the queues are never closed")
    }
}
