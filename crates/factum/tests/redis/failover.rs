//! A cluster that loses a master while it is written to, and one that moves a slot.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use factum::{Append, EventStoreExt, ExpectedVersion, ReadLog, Subscription, SubscriptionOptions, Uuid};
use factum_servers::RedisCluster;
use futures::TryStreamExt;

use super::{Verdict, events, stream};

/// Every master is written to all the time; one is killed, its replica takes over. What was confirmed by a replica is all there, nothing
/// is there twice, and a subscription that went on all the while has seen it all.
pub(super) async fn confirmed_events_survive_a_failover() -> Verdict {
    let mut cluster = RedisCluster::start(1)?;
    let url = format!("{}?partitions=6&durability=always&wait=1&timeout_ms=2000", cluster.url());
    let store = factum::connect(&url).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..6)
        .map(|writer| {
            let (store, stop) = (store.clone(), stop.clone());
            tokio::spawn(async move {
                let order = stream(&format!("Order-{writer}"));
                let mut recorded: Vec<Uuid> = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    let version = recorded.len() as u64;
                    let append = Append::to(order.clone(), events(1)).expecting(ExpectedVersion::exact(version));
                    // Sent again until it is certain, which is always safe.
                    let begun = Instant::now();
                    while let Err(error) = store.append(append.clone()).await {
                        assert!(error.is_retryable(), "{order}: {error}");
                        assert!(begun.elapsed() < Duration::from_secs(90), "{order}: {error}");
                    }
                    recorded.push(append.streams[0].events[0].id);
                }
                recorded
            })
        })
        .collect();
    let mut subscription = Subscription::new(store.clone(), SubscriptionOptions::default());
    let subscribed = store.clone();
    let written = Arc::new(AtomicBool::new(false));
    let all_written = written.clone();
    let follower = tokio::spawn(async move {
        let mut seen = Vec::new();
        loop {
            let ended = all_written.load(Ordering::SeqCst) && subscription.position() >= store_head(&subscribed).await;
            match subscription.next_recorded().await {
                Ok(Some(event)) => seen.push(event.id),
                Ok(None) if ended => return seen,
                Ok(None) => tokio::time::sleep(Duration::from_millis(5)).await,
                Err(error) => assert!(error.is_retryable(), "{error}"),
            }
        }
    });
    wait_for_more(&store, 200).await?;
    cluster.servers()[1].kill();
    // It is over when the other masters know the new one, and the slots of the lost one are written to again.
    let survivor = cluster.servers()[0].port();
    let begun = Instant::now();
    loop {
        let nodes = cluster.servers()[0].ask(&["CLUSTER", "NODES"])?;
        if nodes.lines().any(|line| line.contains("master,fail")) && cluster.servers()[0].ask(&["CLUSTER", "INFO"])?.contains("state:ok") {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "server {survivor} sees no failover: {nodes}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // The new master has no replica until the old one is back as such; until then nothing can be confirmed.
    cluster.servers()[1].restart()?;
    wait_for_more(&store, 200).await?;
    stop.store(true, Ordering::SeqCst);
    let mut confirmed = HashSet::new();
    for writer in writers {
        confirmed.extend(writer.await?);
    }
    written.store(true, Ordering::SeqCst);
    let log: Vec<_> = store.read_log(ReadLog::default()).try_collect().await?;
    let ids: HashSet<_> = log.iter().map(|event| event.id).collect();
    assert_eq!(ids.len(), log.len(), "nothing is recorded twice");
    let lost = confirmed.iter().filter(|id| !ids.contains(id)).count();
    assert_eq!(lost, 0, "lost, of {} confirmed events", confirmed.len());
    let seen: HashSet<_> = follower.await?.into_iter().collect();
    let skipped = confirmed.iter().filter(|id| !seen.contains(id)).count();
    assert_eq!(skipped, 0, "skipped by the subscription, of {} confirmed events", confirmed.len());
    Ok(())
}

/// The store's head, asked for until it is told.
async fn store_head(store: &factum::SharedStore) -> factum::GlobalPosition {
    loop {
        if let Ok(head) = store.head().await {
            return head;
        }
    }
}

/// Waits until so many events more have been recorded.
async fn wait_for_more(store: &factum::SharedStore, count: u64) -> Verdict {
    let begun = Instant::now();
    let mut before = None;
    loop {
        if let Ok(stats) = store.stats().await {
            let before = *before.get_or_insert(stats.events);
            if stats.events >= before + count {
                return Ok(());
            }
        }
        if begun.elapsed() > Duration::from_secs(90) {
            return Err("nothing is recorded any more".into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The store is on one master; its slot is handed to another one, empty or key by key.
pub(super) async fn a_moved_slot_is_found_again() -> Verdict {
    let mut cluster = RedisCluster::start(0)?;
    let store = factum::connect(&format!("{}?durability=always&timeout_ms=3000", cluster.url())).await?;
    let order = stream("Order-1");
    store.append_to(&order, ExpectedVersion::NoStream, events(3)).await?;
    let answer = cluster.servers()[0].ask(&["CLUSTER", "KEYSLOT", "{factum:0}:log"])?;
    let slot = answer.trim_start_matches(':').trim().to_owned();
    let ids = cluster.servers().iter().map(factum_servers::RedisServer::id).collect::<std::io::Result<Vec<_>>>()?;
    let source = cluster.servers().iter().position(|server| server.ask(&["DBSIZE"]).is_ok_and(|size| size != ":0\r\n"));
    let source = source.ok_or("the store is on one of the masters")?;
    let target = (source + 1) % 3;
    let (target_port, servers) = (cluster.servers()[target].port().to_string(), cluster.servers());
    assert!(servers[target].ask(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &ids[source]])?.starts_with("+OK"));
    assert!(servers[source].ask(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &ids[target]])?.starts_with("+OK"));
    let keys = servers[source].ask(&["CLUSTER", "GETKEYSINSLOT", &slot, "1000"])?;
    let keys: Vec<_> = keys.lines().filter(|line| line.starts_with('{')).map(str::to_owned).collect();
    let (first, rest) = keys.split_at(keys.len() / 2);
    let migrate = |server: &factum_servers::RedisServer, keys: &[String]| {
        let mut words = vec!["MIGRATE", "127.0.0.1", &target_port, "", "0", "5000", "KEYS"];
        words.extend(keys.iter().map(String::as_str));
        server.ask(&words)
    };
    assert!(migrate(&servers[source], first)?.starts_with("+OK"));
    // Half of the keys are here and half there: an append is refused whole.
    let append = Append::to(stream("Order-2"), events(2)).expecting(ExpectedVersion::NoStream);
    let refused = store.append(append.clone()).await;
    assert!(matches!(refused, Err(factum::Error::Unavailable { .. })), "{refused:?}");
    assert!(migrate(&servers[source], rest)?.starts_with("+OK"));
    for server in servers {
        assert!(server.ask(&["CLUSTER", "SETSLOT", &slot, "NODE", &ids[target]])?.starts_with("+OK"));
    }
    assert!(!store.append(append).await?.duplicate);
    store.append_to(&order, ExpectedVersion::exact(3), events(1)).await?;
    let log: Vec<_> = store.read_log(ReadLog::default()).try_collect().await?;
    assert_eq!(log.iter().map(|event| event.position.number()).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    Ok(())
}
