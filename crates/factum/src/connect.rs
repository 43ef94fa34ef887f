//! One URL decides which store it is.

use std::sync::Arc;

use crate::backend::Memory;
use crate::error::{Error, Result};
use crate::store::EventStore;

/// A store behind a handle that can be cloned.
pub type SharedStore = Arc<dyn EventStore>;

/// Opens the store that `url` names.
///
/// | URL | store |
/// |---|---|
/// | `memory:` | in this process, gone with it |
/// | `file:PATH`, `file:///PATH` | the embedded engine, one directory, made if it is missing |
/// | `postgres://USER:PASSWORD@HOST:PORT/DATABASE` | a schema in PostgreSQL, with the feature `postgres` |
/// | `redis://HOST:PORT`, `redis+cluster://HOST:PORT,…` | Redis Streams, with the feature `redis` |
///
/// `file:` URLs take options after a `?`: `read_only=true` opens beside another process that writes, and `create=false` refuses to
/// make a store where there is none.
///
/// `postgres:` URLs take `schema=NAME` (`factum` if it is left out), `create=true` (make the store if there is none, as `factum init` does),
/// `durability=always` (refuse a server that may lose acknowledged events) or `relaxed`, `connections_max=N`, and the driver's options.
///
/// # Errors
/// [`Error::Invalid`] if the URL is none of these, and what opening the store says.
pub async fn connect(url: &str) -> Result<SharedStore> {
    let (scheme, rest) = url.split_once(':').ok_or_else(|| unknown(url))?;
    match scheme {
        "memory" if rest.is_empty() => Ok(Arc::new(Memory::new())),
        "memory" => Err(Error::invalid(format!("{url:?}: a memory store has no name; use memory:"))),
        #[cfg(feature = "embedded")]
        "file" => Ok(Arc::new(crate::backend::Embedded::from_url(rest)?)),
        #[cfg(feature = "postgres")]
        "postgres" | "postgresql" => Ok(Arc::new(crate::backend::Postgres::connect(url).await?)),
        #[cfg(feature = "redis")]
        "redis" | "rediss" | "redis+cluster" | "rediss+cluster" => crate::backend::redis::open(url).await,
        #[cfg(not(feature = "redis"))]
        "redis" | "rediss" | "redis+cluster" | "rediss+cluster" => Err(not_built("Redis", "redis")),
        _ => Err(unknown(url)),
    }
}

#[cfg(not(feature = "redis"))]
fn not_built(store: &str, feature: &str) -> Error {
    Error::Unsupported {
        feature: format!("the store on {store}"),
        store: "this build".to_owned(),
        instead: format!("build it with --features {feature}"),
    }
}

fn unknown(url: &str) -> Error {
    Error::invalid(format!("{url:?} is not a store; use file:PATH, or memory: for one that is gone with the process"))
}
