//! Real servers for tests and benchmarks: each on a free port, in a temporary folder, gone when it is dropped.

mod authority;
mod pg_bouncer;
mod port;
mod postgres;
mod redis;
mod redis_cluster;

pub use authority::Authority;
pub use pg_bouncer::PgBouncer;
pub use port::free_port;
pub use postgres::PostgresServer;
pub use redis::RedisServer;
pub use redis_cluster::RedisCluster;
