//! The conformance table: what every store must do, one check each.
