//! `factum serve` as its users meet it: the real program on real ports, a store on disk, and clients of many kinds.

mod beside;
mod clients;
mod configuration;
mod full_disk;
mod hostile;
mod killed;
#[cfg(any(feature = "postgres", feature = "redis"))]
mod networked;
mod serving;
mod wire;
