//! The doors of Factum: servers that speak the protocols of others, over any of its stores.
//!
//! [`Server`] opens the door for programs that speak to Redis. It sees a store only as [`factum::EventStore`].

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
mod holding;
mod http;
mod metrics;
mod process;
mod redis;
mod server;
mod settings;

pub use server::{Error, Server};
pub use settings::{Limits, Settings};
