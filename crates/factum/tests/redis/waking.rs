//! Live subscriptions: they wake without looking, and survive what happens to their connection.

use std::sync::Arc;
use std::time::Duration;

use factum::{EventStore, EventStoreExt, ExpectedVersion, SharedStore, Subscription, SubscriptionOptions};
use factum_servers::RedisServer;

use super::{Verdict, events, stream};

/// A subscription that never looks without being woken, within the time of a test.
fn patient(store: &SharedStore) -> Subscription {
    let options = SubscriptionOptions { poll_interval: Duration::from_secs(600), ..SubscriptionOptions::default() };
    Subscription::new(Arc::clone(store), options)
}

pub(super) async fn subscriptions_wake_without_looking() -> Verdict {
    let server = RedisServer::start()?;
    let url = format!("{}?durability=always", server.url());
    let (writer, reader) = (factum::connect(&url).await?, factum::connect(&url).await?);
    let mut subscription = patient(&reader);
    for version in 0..50 {
        writer.append_to(&stream("Order-1"), ExpectedVersion::exact(version), events(1)).await?;
        let event = tokio::time::timeout(Duration::from_secs(20), subscription.next()).await??;
        assert_eq!(event.version.get(), version + 1);
    }
    Ok(())
}

pub(super) async fn subscriptions_survive_a_restart() -> Verdict {
    let mut server = RedisServer::start()?;
    let url = format!("{}?durability=always&timeout_ms=2000", server.url());
    let (writer, reader) = (factum::connect(&url).await?, factum::connect(&url).await?);
    let mut subscription = patient(&reader);
    writer.append_to(&stream("Order-1"), ExpectedVersion::NoStream, events(1)).await?;
    assert_eq!(subscription.next().await?.version.get(), 1);
    for round in 1..=4 {
        // It waits while its connection is cut, or the server is gone for a while.
        let waiting = tokio::spawn(async move {
            loop {
                match subscription.next().await {
                    Ok(event) => return (event, subscription),
                    Err(error) => assert!(error.is_retryable(), "{error}"),
                }
            }
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
        if round % 2 == 0 {
            server.kill();
            tokio::time::sleep(Duration::from_millis(50)).await;
            server.restart()?;
        } else {
            server.ask(&["CLIENT", "KILL", "TYPE", "normal"])?;
        }
        let writer: &dyn EventStore = &*writer;
        let append = factum::Append::to(stream("Order-1"), events(1)).expecting(ExpectedVersion::exact(round));
        while let Err(error) = writer.append(append.clone()).await {
            assert!(error.is_retryable(), "{error}");
        }
        let (event, again) = tokio::time::timeout(Duration::from_secs(30), waiting).await??;
        assert_eq!(event.version.get(), round + 1);
        subscription = again;
    }
    Ok(())
}
