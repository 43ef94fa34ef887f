//! What a store says of itself: which parts of the contract it has, and its limits.

/// What a store does. The table of guarantees is printed from this and from what the conformance checks find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// The kind of store, such as `memory` or `file`.
    pub store: &'static str,
    /// What an acknowledged append survives, in words.
    pub durability: &'static str,
    /// Appends over several streams.
    pub multi_stream_append: Support,
    /// Appends that write records too.
    pub records_in_append: Support,
    /// Appends that are begun one after the other, the later before the earlier is answered, stand in that order. "Begun" is polled once.
    pub appends_in_order: Support,
    /// Appends under a [`Condition`](crate::Condition).
    pub conditions: Support,
    /// How far back a repeated append is recognised.
    pub idempotency: Idempotency,
    /// Positions without gaps, from 1.
    pub contiguous_positions: Support,
    /// `recorded_at` never goes back in the whole log, not just within a stream.
    pub monotonic_log_time: Support,
    /// Queries are answered from an index, without reading what does not match.
    pub indexed_queries: Support,
    /// `truncate_before`.
    pub truncate: Support,
    /// Events outlive the process.
    pub persistent: Support,
    /// What it takes at most.
    pub limits: Limits,
}

/// Whether a store has a part of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// Yes.
    Yes,
    /// No, for this reason; asking for it is [`Error::Unsupported`](crate::Error::Unsupported).
    No(&'static str),
}

impl Support {
    /// Whether it is [`Support::Yes`].
    pub const fn is_yes(self) -> bool {
        matches!(self, Self::Yes)
    }
}

/// How far back a store recognises an append it has already recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idempotency {
    /// For ever, whatever was expected.
    Forever,
    /// For ever with an exact expectation, else within a window, described here.
    Window(&'static str),
}

/// What a store takes at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Data and metadata of one event, in bytes.
    pub payload_bytes_max: u64,
    /// Events of one append.
    pub append_events_max: u64,
    /// One append with all its names, in bytes.
    pub append_bytes_max: u64,
    /// The value of one record, in bytes.
    pub record_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { payload_bytes_max: 1 << 20, append_events_max: 10_000, append_bytes_max: 64 << 20, record_bytes_max: 16 << 20 }
    }
}
