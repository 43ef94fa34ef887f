//! `factum serve` as its users meet it: the real program on real ports, a store on disk, and clients of many kinds.

mod beside;
mod clients;
mod configuration;
mod hostile;
mod killed;
mod serving;
mod wire;
