//! Rows in Redis hashes: how a test reads them, and a new version of them beside the one that readers see.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use factum::projection::{RedisRows, RedisTarget, Target, Versions};
use factum::{Error, Handled, Projection, Projector, RecordedEvent};
use factum_servers::RedisServer;

use crate::totals::{Sums, Totals, append, fold};
use crate::{Outcome, asked};

/// What readers see.
pub(crate) fn sums(server: &RedisServer) -> Outcome<Sums> {
    let hash = |name: &str| -> Outcome<Vec<(i64, i64)>> {
        let answer = server.ask(&["HGETALL", &format!("{{totals}}:{name}")])?;
        let words: Vec<i64> = answer.lines().filter(|line| !line.starts_with(['*', '$'])).map(str::parse).collect::<Result<_, _>>()?;
        Ok(words.chunks(2).map(|pair| (pair[0], pair[1])).collect())
    };
    let counts: std::collections::BTreeMap<_, _> = hash("count")?.into_iter().collect();
    Ok(hash("sum")?.into_iter().map(|(digit, sum)| (digit, (counts[&digit], sum))).collect())
}

pub(crate) async fn a_rebuild_is_compared_and_switched_to_in_one_moment() -> Outcome {
    let server = RedisServer::start()?;
    let store = factum::connect("memory:").await?;
    let target = RedisTarget::new(&server.url())?;
    let (old, new) = (Totals::default(), Totals { extra: 10, ..Totals::default() });
    let too_early = Projector::new(store.clone(), target.clone(), new.clone()).rebuild().await;
    assert!(matches!(too_early, Err(Error::Invalid { .. })));
    append(&store, 0..50).await?;
    let before = Projector::new(store.clone(), target.clone(), old.clone());
    before.run_to_end().await?;
    // The same code makes the same rows.
    let mut same = Projector::new(store.clone(), target.clone(), old.clone()).rebuild().await?;
    assert!(same.compare().await?.is_same());
    same.abandon().await?;
    // Other code makes others, and says which.
    let mut rebuild = Projector::new(store.clone(), target.clone(), new.clone()).rebuild().await?;
    assert_eq!(rebuild.version(), 2);
    let comparison = rebuild.compare().await?;
    let names: Vec<_> =
        comparison.tables.iter().map(|table| (table.table.as_str(), table.rows_now, table.only_now, table.only_new)).collect();
    assert_eq!((comparison.position, names), (store.head().await?, vec![("count", 10, 0, 0), ("sum", 10, 10, 10)]));
    assert_eq!(comparison.tables[1].examples[0], "- 0: 100");
    assert_eq!(sums(&server)?, fold(&store, &old, comparison.position).await?);
    let after = rebuild.switch().await?;
    assert_eq!(sums(&server)?, fold(&store, &new, comparison.position).await?);
    let builds = target.builds("totals").await?;
    assert_eq!(builds.iter().map(|build| (build.version, build.is_live)).collect::<Vec<_>>(), [(1, false), (2, true)]);
    append(&store, 50..60).await?;
    after.run_to_end().await?;
    assert_eq!(sums(&server)?, fold(&store, &new, store.head().await?).await?);
    assert!(matches!(target.drop_version("totals", 2).await, Err(Error::Invalid { .. })));
    assert_eq!(target.drop_old("totals").await?, 1);
    assert_eq!(target.builds("totals").await?.len(), 1);
    assert_eq!(server.ask(&["KEYS", "*v1*"])?.lines().next(), Some("*0"));
    assert_eq!(sums(&server)?, fold(&store, &new, store.head().await?).await?);
    Ok(())
}

/// Writes a hash for each number.
struct HashEach;

#[factum::async_trait]
impl Projection<RedisRows> for HashEach {
    fn name(&self) -> &str {
        "each"
    }

    async fn apply(&self, event: &RecordedEvent, rows: &mut RedisRows) -> Handled {
        rows.set(&format!("number-{}", event.version), "is", &event.data);
        Ok(())
    }
}

/// A batch may change more fields, and more hashes, than Lua's stack has room for.
pub(crate) async fn large_batches_go_in_whole() -> Outcome {
    let server = RedisServer::start()?;
    let store = factum::connect("memory:").await?;
    let target = RedisTarget::new(&server.url())?;
    let totals = Totals::default();
    for from in (0..9_000).step_by(1_000) {
        append(&store, from..from + 1_000).await?;
    }
    Projector::new(store.clone(), target.clone(), totals.clone()).run_to_end().await?;
    assert_eq!(sums(&server)?, fold(&store, &totals, store.head().await?).await?);
    Projector::new(store.clone(), target.clone(), HashEach).batch_events_max(9_000).run_to_end().await?;
    assert_eq!(target.builds("each").await?[0].tables.len(), 9_000);
    assert!(server.ask(&["HGET", "{each}:number-9000", "is"])?.contains("8999"));
    Ok(())
}

/// The bugs: a connection that broke was kept for ever, a projector that looked for parked events to replay meanwhile ended, and one that met a
/// server that was full, or still reading its files, took that for the last word.
pub(crate) async fn a_projection_outlasts_its_server() -> Outcome {
    let mut server = RedisServer::start()?;
    let store = factum::connect("memory:").await?;
    let projector = Projector::new(store.clone(), RedisTarget::new(&server.url())?, Totals::default());
    let patience = Duration::from_secs(60);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn({
        let projector = projector.clone();
        async move { projector.run_until(stopped).await }
    });
    projector.wait_for(append(&store, 0..10).await?, patience).await?;
    // Once while it has nothing to do but to look what is to be replayed, more than once; and once while it has rows to write.
    server.kill();
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    server.restart()?;
    server.kill();
    append(&store, 10..20).await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    server.restart()?;
    // And once while there is no room.
    while server.ask(&["CONFIG", "SET", "maxmemory", "1"])?.starts_with('-') {}
    let last = append(&store, 20..30).await?;
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.ask(&["CONFIG", "SET", "maxmemory", "0"])?;
    while projector.wait_for(last, patience).await.is_err() {
        if running.is_finished() {
            return Err(format!("it has ended: {:?}", running.await?).into());
        }
    }
    assert_eq!(sums(&server)?, fold(&store, &Totals::default(), last).await?);
    stop.send(()).expect("it runs");
    Ok(running.await??)
}

/// Both hashes in one moment: how many numbers are counted, and what they come to.
const LOOK: &str = "local function total(key)
  local total = 0
  for at, value in ipairs(redis.call('HGETALL', key)) do if at % 2 == 0 then total = total + value end end
  return total
end
return {total(KEYS[1]), total(KEYS[2])}";

pub(crate) async fn a_rebuild_goes_on_while_the_old_version_runs() -> Outcome {
    let server = Arc::new(RedisServer::start()?);
    let store = factum::connect("memory:").await?;
    let target = RedisTarget::new(&server.url())?;
    let (old, new) = (Totals::default(), Totals { extra: 10, ..Totals::default() });
    append(&store, 0..200).await?;
    let first = Projector::new(store.clone(), target.clone(), old).batch_events_max(5);
    first.run_to_end().await?;
    let running = tokio::spawn(async move { first.run_until(std::future::pending::<()>()).await });
    let is_over = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (store, is_over) = (store.clone(), is_over.clone());
        async move {
            let mut number = 200;
            while !is_over.load(Ordering::SeqCst) {
                append(&store, [number]).await?;
                number += 1;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            Outcome::Ok(())
        }
    });
    // What is read is one version or the other, whole: the number n is counted as n or as n + 10.
    let reader = tokio::task::spawn_blocking({
        let (server, is_over) = (server.clone(), is_over.clone());
        move || {
            let mut versions = Vec::new();
            while !is_over.load(Ordering::SeqCst) {
                let answer = server.ask(&["EVAL", LOOK, "2", "{totals}:count", "{totals}:sum"])?;
                let numbers: Vec<i64> = answer.lines().filter_map(|line| line.strip_prefix(':')?.parse().ok()).collect();
                let (count, sum) = (numbers[0], numbers[1]);
                match sum - count * (count - 1) / 2 {
                    0 => versions.push(1),
                    extra if extra == count * 10 => versions.push(2),
                    extra => return Err(format!("{count} numbers come to {sum}, which is {extra} too much").into()),
                }
            }
            Outcome::Ok(versions)
        }
    });
    // Where the rebuild is over before the old version has begun to run, that takes the new one over.
    while target.position("totals").await?.number() <= 200 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut rebuild = Projector::new(store.clone(), target.clone(), new.clone()).rebuild().await?;
    let comparison = rebuild.compare().await?;
    assert!(!comparison.is_same());
    let after = rebuild.switch().await?;
    // The old one has been told, as soon as it had something to do.
    let ended = tokio::time::timeout(Duration::from_secs(60), running).await??;
    assert!(matches!(ended, Err(Error::Fenced { .. })), "{ended:?}");
    is_over.store(true, Ordering::SeqCst);
    writer.await??;
    let mut versions = reader.await??;
    versions.dedup();
    assert_eq!(versions.len().min(2), versions.len(), "readers went back: {versions:?}");
    after.run_to_end().await?;
    let position = target.position("totals").await?;
    assert_eq!(position, store.head().await?);
    assert_eq!(sums(&server)?, fold(&store, &new, position).await?);
    Ok(())
}

pub(crate) async fn a_program_builds_what_is_asked_for_from_outside() -> Outcome {
    let server = RedisServer::start()?;
    let store = factum::connect("memory:").await?;
    let (target, outside) = (RedisTarget::new(&server.url())?, RedisTarget::new(&server.url())?);
    asked::from_outside(store, target, outside, || std::future::ready(sums(&server))).await
}
