//! Servers that are full, silent, killed, or changed by someone else.

use std::time::Duration;

use factum::{Append, Error, EventStoreExt, ExpectedVersion, StreamVersion};
use factum_servers::RedisServer;

use super::{Verdict, events, says, stream};

pub(super) async fn a_full_server_records_nothing_and_goes_on() -> Verdict {
    let server = RedisServer::start()?;
    let store = factum::connect(&format!("{}?durability=always", server.url())).await?;
    let order = stream("Order-1");
    store.append_to(&order, ExpectedVersion::NoStream, events(3)).await?;
    server.ask(&["CONFIG", "SET", "maxmemory", "1"])?;
    let append = Append::to(order.clone(), events(2));
    match store.append(append.clone()).await {
        Err(Error::Unavailable { reason, .. }) => says(reason, &["memory is full", "maxmemory"]),
        other => panic!("{other:?}"),
    }
    assert_eq!(store.load(&order).await?.len(), 3, "reading goes on");
    // Truncating is how room is made.
    store.truncate_before(&order, StreamVersion::new(3)).await?;
    server.ask(&["CONFIG", "SET", "maxmemory", "0"])?;
    assert!(!store.append(append).await?.duplicate);
    assert_eq!(store.version(&order).await?, StreamVersion::new(5));
    Ok(())
}

pub(super) async fn silence_is_an_unknown_outcome_and_the_retry_is_safe() -> Verdict {
    let server = RedisServer::start()?;
    let store = factum::connect(&format!("{}?durability=always&timeout_ms=300", server.url())).await?;
    let append = Append::to(stream("Order-1"), events(2)).expecting(ExpectedVersion::NoStream);
    store.append_to(&stream("Order-0"), ExpectedVersion::NoStream, events(1)).await?;
    server.pause();
    let answer = store.append(append.clone()).await;
    assert!(matches!(answer, Err(Error::OutcomeUnknown { .. })), "{answer:?}");
    server.resume();
    // It was under way, and the server carries it out when it goes on.
    let receipt = store.append(append.clone()).await?;
    assert_eq!(receipt.last_version(), StreamVersion::new(2));
    assert!(store.append(append).await?.duplicate);
    assert_eq!(store.load(&stream("Order-1")).await?.len(), 2);
    Ok(())
}

pub(super) async fn killed_servers_keep_what_they_acknowledged() -> Verdict {
    let mut server = RedisServer::start()?;
    let store = factum::connect(&format!("{}?durability=always&timeout_ms=2000", server.url())).await?;
    let mut acknowledged = Vec::new();
    for round in 0..4 {
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                let store = store.clone();
                tokio::spawn(async move {
                    let mut recorded = Vec::new();
                    loop {
                        let append = Append::to(stream(&format!("Order-{writer}")), events(2));
                        let ids: Vec<_> = append.streams[0].events.iter().map(|event| event.id).collect();
                        match store.append(append).await {
                            Ok(_) => recorded.extend(ids),
                            Err(error) => {
                                assert!(error.is_retryable(), "round {round}: {error}");
                                return recorded;
                            }
                        }
                    }
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(100)).await;
        server.kill();
        for writer in writers {
            acknowledged.extend(writer.await?);
        }
        server.restart()?;
    }
    let mut recorded = std::collections::HashSet::new();
    let mut log = store.read_log(Default::default());
    while let Some(event) = futures::TryStreamExt::try_next(&mut log).await? {
        assert_eq!(event.position.number(), recorded.len() as u64 + 1, "positions are contiguous");
        recorded.insert(event.id);
    }
    assert!(!acknowledged.is_empty());
    let lost = acknowledged.iter().filter(|id| !recorded.contains(id)).count();
    assert_eq!(lost, 0, "of {} acknowledged events", acknowledged.len());
    Ok(())
}

pub(super) async fn killed_connections_are_made_again() -> Verdict {
    let server = RedisServer::start()?;
    let store = factum::connect(&format!("{}?durability=always", server.url())).await?;
    for number in 0..20 {
        let append = Append::to(stream("Order-1"), events(1)).expecting(ExpectedVersion::exact(number));
        // Whatever is said, sending it again settles it.
        let mut attempts = 0;
        while let Err(error) = store.append(append.clone()).await {
            attempts += 1;
            assert!(error.is_retryable() && attempts < 10, "{error}");
        }
        server.ask(&["CLIENT", "KILL", "TYPE", "normal"])?;
        assert_eq!(store.load(&stream("Order-1")).await?.len() as u64, number + 1);
    }
    Ok(())
}

pub(super) async fn too_few_confirmations_are_an_unknown_outcome() -> Verdict {
    let master = RedisServer::start()?;
    let mut replica = RedisServer::start_with(&[("replicaof", &format!("127.0.0.1 {}", master.port()))])?;
    while !master.ask(&["INFO", "replication"])?.contains("state=online") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let store = factum::connect(&format!("{}?durability=always&wait=1&timeout_ms=500", master.url())).await?;
    store.append_to(&stream("Order-1"), ExpectedVersion::NoStream, events(1)).await?;
    replica.kill();
    let append = Append::to(stream("Order-1"), events(1)).expecting(ExpectedVersion::exact(1));
    for _ in 0..2 {
        // A repeat finds the event recorded, and is no more confirmed than it was.
        match store.append(append.clone()).await {
            Err(Error::OutcomeUnknown { reason, .. }) => says(reason, &["0 of 1 replicas"]),
            other => panic!("{other:?}"),
        }
    }
    replica.restart()?;
    let mut attempts = 0;
    let receipt = loop {
        match store.append(append.clone()).await {
            Ok(receipt) => break receipt,
            Err(error) => assert!(error.is_retryable() && attempts < 60, "{error}"),
        }
        attempts += 1;
    };
    assert!(receipt.duplicate);
    assert_eq!(receipt.last_version(), StreamVersion::new(2));
    Ok(())
}

/// Someone who adds to a stream by hand is noticed, before anything is written beside it.
pub(super) async fn keys_that_contradict_each_other_are_damage() -> Verdict {
    let server = RedisServer::start()?;
    let store = factum::connect(&format!("{}?durability=always", server.url())).await?;
    let order = stream("Order-1");
    store.append_to(&order, ExpectedVersion::NoStream, events(1)).await?;
    server.ask(&["XADD", "{factum:0}:stream:Order-1", "7-0", "type", "Forged", "data", ""])?;
    match store.append_to(&order, ExpectedVersion::exact(1), events(1)).await {
        Err(Error::Corrupt { reason, .. }) => says(reason, &["{factum:0}:stream:Order-1", "2-0"]),
        other => panic!("{other:?}"),
    }
    let read = store.load(&order).await;
    assert!(matches!(read, Err(Error::Corrupt { .. })), "{read:?}");
    Ok(())
}
