//! The engine on a simulated disk: everything that can happen to a disk and to a process happens here thousands of times, and what
//! [`properties`] say must hold after each.

mod chance;
mod compacting;
mod crash;
mod disk;
mod every_cut;
mod interleaved;
mod many_seeds;
mod model;
mod properties;
mod words;
mod world;
