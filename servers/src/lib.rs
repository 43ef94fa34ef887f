//! Real servers for tests and benchmarks: each on a free port, in a temporary folder, gone when it is dropped.

mod port;

pub use port::free_port;
