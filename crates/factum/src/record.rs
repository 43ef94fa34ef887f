//! Small records: named bytes with a compare-and-set version, for snapshots, checkpoints, leases and group state.

use std::fmt;

use bytes::Bytes;

use crate::text::text_type;

text_type! {
    /// The name of a record, such as `snapshot/Order-123`.
    RecordName, "record name", 1_100
}

/// How often a record has been written: the first write makes it 1, [`RecordVersion::NONE`] is "not there".
///
/// A record that was removed and written again goes on where it was, so that no version ever means two values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordVersion(u64);

impl RecordVersion {
    /// The record is not there.
    pub const NONE: Self = Self(0);

    /// The version with this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for RecordVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A record as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The version of this value.
    pub version: RecordVersion,
    /// The bytes last written.
    pub value: Bytes,
}

/// One write to a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordWrite {
    /// Which record.
    pub name: RecordName,
    /// The new bytes, or `None` to remove it.
    pub value: Option<Bytes>,
    /// The version it must have ([`RecordVersion::NONE`]: it must not be there); `None` writes whatever is there.
    pub expected: Option<RecordVersion>,
}

impl RecordWrite {
    /// Writes `value`, whatever is there.
    pub fn set(name: RecordName, value: impl Into<Bytes>) -> Self {
        Self { name, value: Some(value.into()), expected: None }
    }

    /// Removes the record, whatever is there.
    pub fn remove(name: RecordName) -> Self {
        Self { name, value: None, expected: None }
    }

    /// The same write, only if the record is at `version`.
    #[must_use]
    pub fn expecting(mut self, version: RecordVersion) -> Self {
        self.expected = Some(version);
        self
    }
}
