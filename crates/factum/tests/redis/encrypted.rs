//! Encrypted connections: to a server that somebody trusted vouches for, and to no other.

use factum::{Append, EventStoreExt};
use factum_servers::{Authority, RedisCluster, RedisServer};

use crate::{Verdict, events, says, stream};

pub(crate) async fn a_server_is_trusted_whom_the_authority_vouches_for() -> Verdict {
    let (authority, stranger) = (Authority::new()?, Authority::new()?);
    let (_server, port) = RedisServer::start_with_tls(&authority)?;
    let url = |authority: Option<&Authority>| {
        let file = authority.map(|authority| format!("&ca_file={}", authority.certificate().display())).unwrap_or_default();
        // Time enough to shake hands on a busy machine; who is refused tries for as long.
        format!("rediss://127.0.0.1:{port}?timeout_ms=2000{file}")
    };
    let store = factum::connect(&url(Some(&authority))).await?;
    store.append(Append::to(stream("Order-1"), events(3))).await?;
    assert_eq!(store.load(&stream("Order-1")).await?.len(), 3);
    // Somebody else's authority, and those of the system, do not know this server.
    for stranger in [Some(&stranger), None] {
        let refused = factum::connect(&url(stranger)).await.err().ok_or("it was trusted")?;
        says(refused, &["ertificate", "ca_file"]);
    }
    Ok(())
}

pub(crate) async fn every_server_of_a_cluster_is_spoken_to_with_encryption() -> Verdict {
    let (authority, stranger) = (Authority::new()?, Authority::new()?);
    let mut cluster = RedisCluster::start_with_tls(&authority)?;
    let address = cluster.encrypted_url().ok_or("it speaks TLS")?;
    let url =
        |authority: &Authority| format!("{address}?create=true&partitions=6&timeout_ms=5000&ca_file={}", authority.certificate().display());
    let store = factum::connect(&url(&authority)).await?;
    for number in 0..24 {
        let id = stream(&format!("Order-{number}"));
        store.append(Append::to(id.clone(), events(3))).await?;
        assert_eq!(store.load(&id).await?.len(), 3);
    }
    for server in cluster.servers() {
        // All have a part of it, and whoever is connected came in by TLS, but for the one who asks.
        assert!(!server.ask(&["DBSIZE"])?.starts_with(":0"), "a server has no keys");
        let clients = server.ask(&["CLIENT", "LIST", "TYPE", "NORMAL"])?;
        let own = format!(" laddr=127.0.0.1:{} ", server.port());
        assert_eq!(clients.matches(&own).count(), 1, "{clients}");
    }
    let refused = factum::connect(&url(&stranger)).await.err().ok_or("it was trusted")?;
    says(refused, &["ertificate", "ca_file"]);
    Ok(())
}

pub(crate) async fn a_server_without_encryption_is_refused_where_it_is_asked_for() -> Verdict {
    let server = RedisServer::start()?;
    let refused = factum::connect(&format!("rediss://127.0.0.1:{}?timeout_ms=200", server.port())).await.err().ok_or("it was opened")?;
    says(refused, &["can't be reached", "port is the one for TLS"]);
    let authority = Authority::new()?;
    let plain = format!("{}?ca_file={}", server.url(), authority.certificate().display());
    says(factum::connect(&plain).await.err().ok_or("it was opened without encryption")?, &["rediss://"]);
    Ok(())
}
