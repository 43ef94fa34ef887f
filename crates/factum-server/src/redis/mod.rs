//! The Redis door: the protocol, the connections, and the commands.

mod clients;
mod commands;
mod connection;
mod counters;
mod door;
mod entry;
mod error;
mod glob;
mod keyspace;
mod listener;
pub(crate) mod password;
mod resp;
mod session;
mod unit;

pub(crate) use counters::TIME_BOUNDS_US;
pub(crate) use door::Door;
pub(crate) use listener::Listener;

/// Whose behaviour the door has, as clients ask for it.
pub(crate) const REDIS_VERSION: &str = "7.4.0";
