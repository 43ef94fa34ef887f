//! The store on Redis Streams: each stream is a Redis Stream whose entries are its events, `<version>-0`, and a log of pointers
//! gives them their order. One function on the server looks and writes, so nothing can come between.

mod appending;
mod entries;
mod error;
mod keys;
mod library;
mod link;
mod listening;
mod paging;
mod partition;
mod reading;
mod servers;
mod settings;
mod stats;
mod url;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use redis::Value;

use crate::backend::partitioned::Partitioned;
use crate::error::{Error, Result};
use crate::{Capabilities, Idempotency, Limits, SharedStore, Support};
use appending::Place;
use error::{Failure, corrupt, unavailable, unreadable};
use keys::Keys;
use library::Call;
use link::{Link, Repeat};
use partition::{Partition, PartitionStore};
use servers::Servers;
use url::RedisUrl;
pub use url::{Durability, PARTITIONS_MAX, RedisOptions};

/// What the keys of a store mean: raised when an older program could not read them any more.
const FORMAT: u64 = 1;

/// Opens the store that a `redis:` URL names.
///
/// # Errors
/// [`Error::Invalid`] if the URL can't be read; [`Error::Unavailable`] if the server can't be reached, or would lose what the URL says
/// that it must keep.
pub(crate) async fn open(url: &str) -> Result<SharedStore> {
    let url = RedisUrl::parse(url)?;
    let servers = Arc::new(Servers::new(&url));
    let durability = settings::check(&servers, &url.options).await?;
    servers.prepare().await.map_err(Failure::into_error)?;
    let partitions = partitions(&servers, &url.options).await?;
    let capabilities = capabilities(&servers, durability);
    let height = Arc::new(AtomicU64::new(0));
    let partition = |partition| {
        let place = Place { partitions, partition };
        PartitionStore(Arc::new(Partition::new(&servers, &url.options, place, &height, capabilities.clone())))
    };
    match partitions {
        1 => Ok(Arc::new(partition(0))),
        _ => Ok(Arc::new(Partitioned::new((0..partitions).map(partition).collect(), keys::partition_of))),
    }
}

/// How many partitions the store has; a new store gets as many as the options say.
async fn partitions(servers: &Arc<Servers>, options: &RedisOptions) -> Result<u32> {
    let name = &options.name;
    let keys = Keys::new(name, 0);
    let link = Link::new(Arc::clone(servers), keys.log(), None);
    let wished = options.partitions.unwrap_or(1);
    let mut request = servers.library().call(Call::Open, keys.log());
    request.arg(FORMAT).arg(wished).arg(if options.create { "create" } else { "keep" });
    let Value::Array(held) = link.command(request.into_cmd(), Repeat::Harmless).await? else { return Err(unreadable("a store's format")) };
    let number = |index: usize| match held.get(index) {
        Some(Value::BulkString(digits)) => entries::number(digits),
        _ => None,
    };
    let Some(format) = number(0) else {
        return Err(unavailable(format!("there is no store named {name} on this server; append or import something to make one")));
    };
    if format != FORMAT {
        return Err(corrupt(format!("store {name} has format {format}, this program reads {FORMAT}; use a newer one")));
    }
    let partitions = number(1).and_then(|partitions| u32::try_from(partitions).ok()).filter(|count| (1..=PARTITIONS_MAX).contains(count));
    let partitions = partitions.ok_or_else(|| unreadable("a number of partitions"))?;
    match options.partitions {
        Some(wished) if wished != partitions => Err(Error::invalid(format!(
            "store {name} has {partitions} partitions, not {wished}; leave partitions out, or copy it into a new store"
        ))),
        _ => Ok(partitions),
    }
}

fn capabilities(servers: &Servers, durability: &'static str) -> Capabilities {
    Capabilities {
        store: if servers.is_cluster() { "redis cluster" } else { "redis" },
        durability,
        multi_stream_append: Support::Yes,
        records_in_append: Support::Yes,
        appends_in_order: Support::No("those to other streams may overtake one that waits for its stream"),
        conditions: Support::Yes,
        idempotency: Idempotency::Forever,
        contiguous_positions: Support::Yes,
        monotonic_log_time: Support::Yes,
        indexed_queries: Support::Yes,
        truncate: Support::Yes,
        persistent: Support::Yes,
        limits: Limits { append_bytes_max: 16 << 20, ..Limits::default() },
    }
}
