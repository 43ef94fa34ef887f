//! What a group keeps in the store: one record for the group and its members, and one for each lane.
//!
//! There is no time of any clock in them that anything depends on. Who has not moved its count of beats for the length of a lease,
//! measured by whoever watches, is taken for dead; that decides only who tries to take over. Who may write a lane's record is decided
//! by comparing and setting it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::subscription::json_record::JsonRecord;
use crate::subscription::parked::ParkedEvent;
use crate::{GlobalPosition, Query, Result, SharedStore};

/// The group: what it was made as, and who is in it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct GroupRecord {
    pub(super) lanes: u16,
    /// What the key is called; two programs that disagree about the key must not share a group.
    pub(super) key: String,
    pub(super) query: Query,
    pub(super) members: BTreeMap<String, MemberEntry>,
}

/// One consumer process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct MemberEntry {
    /// Goes up with each heartbeat.
    pub(super) beats: u64,
    /// When it last did, by its own clock; for people only.
    pub(super) seen_at: Timestamp,
}

/// One lane: a share of the keys, with one owner at a time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct LaneRecord {
    /// The member that has it.
    pub(super) owner: Option<String>,
    /// Goes up each time it changes hands; an owner that holds another one has lost the lane.
    pub(super) token: u64,
    /// Every event of this lane up to here is done, except those of the keys below.
    pub(super) read: GlobalPosition,
    /// The keys that have something left at or below `read`.
    pub(super) keys: Vec<Cursor>,
}

/// How far a key is that is behind its lane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Cursor {
    pub(super) key: String,
    /// The key's events up to here are done, the later ones are not.
    pub(super) after: GlobalPosition,
    /// The same as a version, where the key is the stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) next_version: Option<u64>,
    /// How often the first of them has failed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) attempts: u32,
    /// It was said, before the first of them was handed out, that it would be; so that whoever takes over from a process that ended with
    /// it in hand knows that this was an attempt.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) begun: bool,
    /// A process has ended with the first of them in hand.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) suspect: bool,
    /// How long it still has to wait, in milliseconds from when this was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) wait: Option<u64>,
    /// The first of them, if it is parked, or if it waits for its next attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) event: Option<ParkedEvent>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) parked: bool,
    /// What somebody wants done with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) order: Option<Order>,
}

/// What can be wanted of a key that is held up, from outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Order {
    /// Try its first event again, now.
    Replay,
    /// Give its first event up, and go on behind it.
    Skip,
    /// Don't try its first event again until someone says so, for this reason.
    Park(String),
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// The records of one group.
#[derive(Clone)]
pub(super) struct GroupRecords {
    pub(super) group: JsonRecord<GroupRecord>,
    store: SharedStore,
    name: String,
}

impl GroupRecords {
    pub(super) fn new(store: &SharedStore, name: &str) -> Result<Self> {
        Ok(Self { group: JsonRecord::new(store, format!("group/{name}"))?, store: store.clone(), name: name.to_owned() })
    }

    pub(super) fn lane(&self, number: u16) -> Result<JsonRecord<LaneRecord>> {
        JsonRecord::new(&self.store, format!("group/{}/{number}", self.name))
    }
}

/// The lane of a key: the same in every process, of every version.
pub(super) fn lane_of(key: &str, lanes: u16) -> u16 {
    // FNV-1a, with its halves folded because the lower bits alone are weak.
    let hash = key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    u16::try_from((hash ^ (hash >> 32)) % u64::from(lanes)).expect("it is below the number of lanes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_keeps_its_lane_for_ever() {
        // These stand in records of stores that are in use.
        assert_eq!(["Order-1", "Order-2", "Order-3", "", "ä"].map(|key| lane_of(key, 16)), KNOWN);
        let mut counts = [0; 16];
        (0..16_000).for_each(|number| counts[usize::from(lane_of(&format!("Order-{number}"), 16))] += 1);
        assert!(counts.iter().all(|count| (800..1_200).contains(count)), "{counts:?}");
    }

    const KNOWN: [u16; 5] = [6, 15, 12, 1, 5];
}
