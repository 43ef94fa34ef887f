//! Servers that restart, crash and drop connections: nothing that was acknowledged is lost, and nobody who follows misses anything.

use std::sync::Arc;
use std::time::{Duration, Instant};

use factum::backend::Postgres;
use factum::{Error, EventStore, Receipt, RecordName, RecordWrite, Subscription, SubscriptionOptions};

use crate::{Verdict, alone, append, fresh_url, log, texts};

/// Sends the same append until it is answered, as a caller does who was told that the outcome is unknown.
async fn persistently(store: &Postgres, append: factum::Append) -> Verdict<Receipt> {
    loop {
        match store.append(append.clone()).await {
            Err(error) if error.is_retryable() => tokio::time::sleep(Duration::from_millis(20)).await,
            outcome => return Ok(outcome?),
        }
    }
}

fn follow(store: &Arc<Postgres>, poll_interval: Duration) -> Subscription {
    Subscription::new(store.clone(), SubscriptionOptions { poll_interval, ..SubscriptionOptions::default() })
}

/// The subscription itself does not look again; it is the store that is woken.
pub(crate) async fn a_subscription_wakes_on_what_another_process_records() -> Verdict {
    let url = fresh_url();
    let (writer, reader) = (Postgres::connect(&url).await?, Arc::new(Postgres::connect(&url).await?));
    let mut subscription = follow(&reader, Duration::from_secs(3_600));
    let mut slowest = Duration::ZERO;
    for number in 0..50 {
        let next = tokio::spawn(async move { (subscription.next().await, subscription) });
        tokio::time::sleep(Duration::from_millis(20)).await;
        let begun = Instant::now();
        writer.append(append("Order-1", number)).await?;
        let (event, again) = next.await?;
        slowest = slowest.max(begun.elapsed());
        assert_eq!(texts(&[event?]), [number.to_string()]);
        subscription = again;
    }
    println!("the slowest wake-up of 50 took {slowest:?}");
    Ok(())
}

pub(crate) async fn a_subscription_survives_a_restart() -> Verdict {
    let (mut server, store) = alone().await?;
    let store = Arc::new(store);
    let mut subscription = follow(&store, Duration::from_secs(1));
    let follower = tokio::spawn(async move {
        let mut seen = Vec::new();
        while seen.len() < 60 {
            match subscription.next().await {
                Ok(event) => seen.push(event),
                // A server that is away for long is told of; the next call goes on where this one stopped.
                Err(error) if error.is_retryable() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(seen)
    });
    for number in 0..60 {
        if number % 20 == 10 {
            server.restart()?;
        }
        persistently(&store, append("Order-1", number)).await?;
    }
    let seen = follower.await??;
    assert_eq!(texts(&seen), (0..60).map(|number| number.to_string()).collect::<Vec<_>>());
    Ok(())
}

pub(crate) async fn killed_connections_are_made_again() -> Verdict {
    let (server, store) = alone().await?;
    let store = Arc::new(store);
    let mut subscription = follow(&store, Duration::from_secs(1));
    let kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'factum'";
    for number in 0..10 {
        log(&*store).await?;
        assert_ne!(server.sql("postgres", kill)?.trim(), "0", "there were connections");
        // A read on a connection that is gone is read again on another.
        assert_eq!(log(&*store).await?.len(), number);
        server.sql("postgres", kill)?;
        persistently(&store, append("Order-1", number)).await?;
        assert_eq!(texts(&[subscription.next().await?]), [number.to_string()]);
    }
    Ok(())
}

/// Appends go on while the server crashes. Whoever does not know the outcome sends again, and nothing is there twice.
pub(crate) async fn a_crash_loses_nothing_that_was_acknowledged() -> Verdict {
    let (mut server, store) = alone().await?;
    let store = Arc::new(store);
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                let (mut receipts, mut unknown) = (Vec::new(), 0);
                for number in 0..150 {
                    let append = append(&format!("Order-{writer}"), format!("{writer}-{number}"));
                    let receipt = loop {
                        match store.append(append.clone()).await {
                            Ok(receipt) => break receipt,
                            Err(Error::OutcomeUnknown { .. }) => unknown += 1,
                            Err(Error::Unavailable { .. }) => {}
                            Err(error) => return Err(error),
                        }
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    };
                    receipts.push((append.streams[0].events[0].id, receipt.last_version()));
                }
                Ok((receipts, unknown))
            })
        })
        .collect();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(150)).await;
        server.kill();
        server.restart()?;
    }
    let (mut acknowledged, mut unknown) = (Vec::new(), 0);
    for writer in writers {
        let (receipts, unknown_here) = writer.await??;
        acknowledged.extend(receipts);
        unknown += unknown_here;
    }
    let mut recorded: Vec<_> = log(&*store).await?.into_iter().map(|event| (event.id, event.version)).collect();
    recorded.sort();
    acknowledged.sort();
    assert!(recorded == acknowledged, "{} recorded, {} acknowledged", recorded.len(), acknowledged.len());
    println!("{unknown} outcomes were unknown");
    Ok(())
}

/// Connections that were kept at hand were all of a small pool, and whoever waited for the pool waited for ever.
pub(crate) async fn many_callers_share_few_connections() -> Verdict {
    let store = Arc::new(Postgres::connect(&format!("{}&connections_max=6", fresh_url())).await?);
    let mut callers = Vec::new();
    for caller in 0..24 {
        let store = Arc::clone(&store);
        callers.push(tokio::spawn(async move {
            for round in 0..40 {
                let name = RecordName::new(format!("caller-{caller}"))?;
                store.write_record(RecordWrite::set(name.clone(), format!("{round}"))).await?;
                let record = store.record(&name).await?.expect("it was just written");
                assert_eq!(record.version.get(), round + 1);
            }
            Ok::<_, Error>(())
        }));
    }
    for caller in callers {
        caller.await??;
    }
    Ok(())
}
