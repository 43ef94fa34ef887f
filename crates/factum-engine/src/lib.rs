//! The embedded log of Factum.
