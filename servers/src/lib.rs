//! Real servers for tests and benchmarks: each on a free port, in a temporary folder, gone when it is dropped.

mod authority;
mod port;
mod postgres;
mod redis;
mod redis_cluster;

pub use authority::Authority;
pub use port::free_port;
pub use postgres::PostgresServer;
pub use redis::RedisServer;
pub use redis_cluster::RedisCluster;
