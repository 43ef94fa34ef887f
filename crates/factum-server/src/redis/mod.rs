//! The Redis door: the protocol, the connections, and the commands.

mod clients;
mod commands;
mod connection;
mod door;
mod listener;
mod resp;
mod session;

pub(crate) use door::Door;
pub(crate) use listener::Listener;
