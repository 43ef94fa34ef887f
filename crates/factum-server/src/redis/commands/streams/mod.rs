//! The commands on streams and their entries.

pub(super) mod add;
pub(super) mod delete;
pub(super) mod info;
pub(super) mod range;
pub(super) mod read;
pub(super) mod trim;
