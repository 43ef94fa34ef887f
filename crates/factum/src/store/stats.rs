//! Counts and sizes of a store.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::GlobalPosition;

/// Counts and sizes of a store, as `factum stats` prints them.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Stats {
    /// The kind of store.
    pub store: String,
    /// Events recorded, truncated ones included.
    pub events: u64,
    /// Streams that ever had an event.
    pub streams: u64,
    /// Events by category of their stream, at most [`Stats::NAMES_MAX`] of them.
    pub categories: BTreeMap<String, u64>,
    /// Events by type, at most [`Stats::NAMES_MAX`] of them.
    pub types: BTreeMap<String, u64>,
    /// Whether there are more categories or types than are named here.
    pub names_cut: bool,
    /// The last position.
    pub head: GlobalPosition,
    /// When the first event was recorded.
    pub first_recorded_at: Option<Timestamp>,
    /// When the last event was recorded.
    pub last_recorded_at: Option<Timestamp>,
    /// What the store takes on disk, in bytes, by what it is for; empty for a store that is not on a disk of ours.
    pub disk_bytes: BTreeMap<String, u64>,
    /// What else this kind of store has to say, such as its number of segments.
    pub details: BTreeMap<String, u64>,
    /// What somebody should know or do something about, in sentences.
    pub notes: Vec<String>,
}

impl Stats {
    /// The most categories, and the most types, that are named.
    pub const NAMES_MAX: usize = 1_000;
}
