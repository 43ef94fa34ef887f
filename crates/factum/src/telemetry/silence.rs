//! Without the feature `opentelemetry`: every call compiles to nothing.

use std::time::Duration;

use super::{Handled, LoadedFrom};

#[inline(always)]
pub(crate) fn appended(_: &'static str, _: usize, _: Duration) {}

#[inline(always)]
pub(crate) fn conflict(_: &'static str) {}

#[inline(always)]
pub(crate) fn loaded(_: &'static str, _: LoadedFrom) {}

#[inline(always)]
pub(crate) fn folded(_: &'static str, _: u64) {}

#[inline(always)]
pub(crate) fn lag(_: &str, _: u64) {}

#[inline(always)]
pub(crate) fn handled(_: &str, _: Handled, _: Duration) {}

#[inline(always)]
pub(crate) fn parked(_: &str) {}
