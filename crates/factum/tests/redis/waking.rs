//! Live subscriptions: they wake without looking, and survive what happens to their connection.

use std::sync::Arc;
use std::time::Duration;

use factum::{
    CheckpointPolicy, EventStore, EventStoreExt, ExpectedVersion, Processor, SharedStore, Subscription, SubscriptionOptions, Subscriptions,
};
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

/// The bug: a processor that looked for parked events to replay while its server was silent ended with an error.
pub(super) async fn a_processor_outlasts_its_server() -> Verdict {
    let mut server = RedisServer::start()?;
    let store = factum::connect(&format!("{}?durability=always&timeout_ms=300", server.url())).await?;
    store.append_to(&stream("Order-1"), ExpectedVersion::NoStream, events(3)).await?;
    let (sender, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let mut processor = Processor::new(store.clone(), "p").checkpoint(CheckpointPolicy::EachEvent).otherwise(move |event| {
        let sent = sender.send(event.version.get());
        async move { Ok(sent?) }
    });
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(async move { processor.run_until(stopped).await });
    for version in 1..=3 {
        assert_eq!(seen.recv().await, Some(version));
    }
    // Long enough for it to look what is to be replayed more than once.
    server.pause();
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    server.resume();
    server.kill();
    tokio::time::sleep(Duration::from_millis(500)).await;
    server.restart()?;
    let append = factum::Append::to(stream("Order-1"), events(2)).expecting(ExpectedVersion::exact(3));
    while let Err(error) = store.append(append.clone()).await {
        assert!(error.is_retryable(), "{error}");
    }
    // What was handled and not yet written down comes again.
    while seen.recv().await.ok_or("it has ended")? < 5 {}
    stop.send(()).expect("it runs");
    running.await??;
    assert_eq!(Subscriptions::new(store.clone()).get("p").await?.position, store.head().await?);
    Ok(())
}
