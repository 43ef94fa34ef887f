//! The Redis door: the protocol, the connections, and the commands.

mod clients;
mod commands;
mod connection;
mod counters;
mod door;
mod entry;
mod error;
pub(crate) mod glob;
mod held;
mod keyspace;
mod listener;
pub(crate) mod password;
mod pause;
pub(crate) mod resp;
mod session;
#[cfg(test)]
mod tests;
mod unit;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use commands::table;
pub(crate) use counters::TIME_BOUNDS_US;
pub(crate) use door::Door;
pub(crate) use keyspace::Keyspace;
pub(crate) use listener::Listener;

/// Whose behaviour the door has, as clients ask for it.
pub(crate) const REDIS_VERSION: &str = "7.4.0";
