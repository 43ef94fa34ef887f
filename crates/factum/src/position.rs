//! Positions: an event's place in the order of the whole store.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// An event's place in the order of the whole store: unique and ordered, otherwise opaque.
///
/// Positions are compared and stored, never computed with: only some stores number without gaps. The number behind a position
/// is for stores and for printing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GlobalPosition(u64);

impl GlobalPosition {
    /// Before the first event: reading after it reads everything.
    pub const START: Self = Self(0);

    /// The position that a store numbers so.
    pub const fn from_number(number: u64) -> Self {
        Self(number)
    }

    /// The number that the store gave it.
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for GlobalPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for GlobalPosition {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        text.parse().map(Self).map_err(|_| Error::invalid(format!("{text:?} is not a position; positions are printed with each event")))
    }
}
