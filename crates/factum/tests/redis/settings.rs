//! What a server is configured to keep, and what a URL may ask of it.

use factum::Error;
use factum_servers::RedisServer;

use super::{Verdict, says};

/// What opening that URL is refused with.
async fn refusal(url: &str) -> String {
    match factum::connect(url).await {
        Ok(_) => panic!("{url} was opened"),
        Err(error) => error.to_string(),
    }
}

pub(super) async fn durability_always_refuses_what_may_lose_events() -> Verdict {
    let server = RedisServer::start()?;
    let always = format!("{}?durability=always", server.url());
    assert!(factum::connect(&always).await?.capabilities().durability.contains("appendfsync always"));
    server.ask(&["CONFIG", "SET", "appendfsync", "everysec"])?;
    says(refusal(&always).await, &["durability=always", "appendfsync everysec", "set it to always"]);
    let store = factum::connect(&format!("{}?durability=everysec", server.url())).await?;
    assert!(store.capabilities().durability.contains("last second"));
    server.ask(&["CONFIG", "SET", "appendonly", "no"])?;
    says(refusal(&always).await, &["appendonly no", "set it to yes"]);
    says(refusal(&format!("{}?durability=everysec", server.url())).await, &["durability=everysec", "appendonly no"]);
    assert!(factum::connect(&server.url()).await?.capabilities().durability.starts_with("nothing"));
    Ok(())
}

pub(super) async fn eviction_of_events_is_refused() -> Verdict {
    let server = RedisServer::start()?;
    server.ask(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"])?;
    says(refusal(&server.url()).await, &["maxmemory-policy allkeys-lru", "noeviction"]);
    // Keys of a store have no expiry, so this one takes none of them.
    server.ask(&["CONFIG", "SET", "maxmemory-policy", "volatile-lru"])?;
    factum::connect(&server.url()).await?;
    Ok(())
}

pub(super) async fn settings_that_can_not_be_read_are_named() -> Verdict {
    let server = RedisServer::start()?;
    assert!(server.ask(&["ACL", "SETUSER", "ann", "on", ">secret", "~*", "&*", "+@all", "-config"])?.starts_with("+OK"));
    let url = format!("redis://ann:secret@127.0.0.1:{}", server.port());
    says(refusal(&format!("{url}?durability=always")).await, &["appendfsync", "CONFIG GET"]);
    assert!(factum::connect(&url).await?.capabilities().durability.contains("does not say"));
    Ok(())
}

pub(super) async fn a_replica_is_refused() -> Verdict {
    let master = RedisServer::start()?;
    let replica = RedisServer::start_with(&[("replicaof", &format!("127.0.0.1 {}", master.port()))])?;
    says(refusal(&replica.url()).await, &["is a replica", "name its master"]);
    Ok(())
}

pub(super) async fn fewer_replicas_than_wait_asks_for_are_refused() -> Verdict {
    let server = RedisServer::start()?;
    says(refusal(&format!("{}?wait=1", server.url())).await, &["wait=1", "0 replicas"]);
    Ok(())
}

pub(super) async fn unknown_options_are_refused() -> Verdict {
    // Before anyone is asked: nobody listens there.
    let refused = factum::connect("redis://127.0.0.1:1?fsync=always").await.map(drop);
    assert!(matches!(&refused, Err(Error::Invalid { reason }) if reason.contains("fsync")), "{refused:?}");
    let unreachable = factum::connect("redis://127.0.0.1:1").await.map(drop);
    assert!(matches!(&unreachable, Err(Error::Unavailable { reason, .. }) if reason.contains("127.0.0.1:1")), "{unreachable:?}");
    Ok(())
}

pub(super) async fn a_store_that_is_not_there_is_not_made() -> Verdict {
    let server = RedisServer::start()?;
    says(refusal(&format!("{}?name=typo&create=false", server.url())).await, &["no store named typo"]);
    assert_eq!(server.ask(&["DBSIZE"])?, ":0\r\n");
    factum::connect(&format!("{}?name=shop", server.url())).await?;
    factum::connect(&format!("{}?name=shop&create=false", server.url())).await?;
    Ok(())
}
