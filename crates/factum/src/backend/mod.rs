//! The stores.

#[cfg(feature = "embedded")]
pub mod embedded;
mod memory;
#[cfg(feature = "redis")]
mod partitioned;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "redis")]
pub mod redis;

#[cfg(feature = "embedded")]
pub use embedded::Embedded;
pub use memory::Memory;
#[cfg(feature = "postgres")]
pub use postgres::Postgres;
