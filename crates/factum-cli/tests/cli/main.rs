//! The command line as a user meets it: the real program, in a folder of its own.

mod append;
mod calling;
mod compact;
mod copy;
mod demo;
mod folder;
mod import;
mod killed;
mod log;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(any(feature = "sqlite", feature = "redis"))]
mod projections;
mod readers;
#[cfg(feature = "redis")]
mod redis;
mod replay;
mod round_trip;
mod stats;
mod trace;
mod verify;
