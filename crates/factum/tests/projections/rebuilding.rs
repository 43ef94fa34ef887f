//! A new version of the rows beside the one that readers see.

use std::sync::Arc;
use std::time::Duration;

use factum::projection::{Target, Versions};
use factum::{Error, Projector, SharedStore};

use crate::places::Database;
use crate::totals::{Totals, append, fold, rows};
use crate::{Outcome, asked};

pub(crate) async fn a_rebuild_is_compared_and_switched_to_in_one_moment(store: SharedStore, database: Arc<Database>) -> Outcome {
    let (old, new) = (Totals::default(), Totals { extra: 10, ..Totals::default() });
    let target = database.target.clone();
    let too_early = Projector::new(store.clone(), target.clone(), new.clone()).rebuild().await;
    assert!(matches!(too_early, Err(Error::Invalid { .. })));
    append(&store, 0..50).await?;
    Projector::new(store.clone(), target.clone(), old.clone()).run_to_end().await?;
    // The same code makes the same rows.
    let mut same = Projector::new(store.clone(), target.clone(), old.clone()).rebuild().await?;
    assert!(same.compare().await?.is_same());
    same.abandon().await?;
    // Other code makes others, and says which.
    let mut rebuild = Projector::new(store.clone(), target.clone(), new.clone()).rebuild().await?;
    assert_eq!(rebuild.version(), 2);
    let comparison = rebuild.compare().await?;
    let table = &comparison.tables[0];
    assert_eq!((comparison.position, table.rows_now, table.rows_new), (store.head().await?, 10, 10));
    assert_eq!((table.only_now, table.only_new, table.examples.len()), (10, 10, 10));
    assert!(table.examples.iter().all(|row| row.starts_with("- ") || row.starts_with("+ ")), "{:?}", table.examples);
    assert_eq!(rows(&target).await?, fold(&store, &old, comparison.position).await?);
    let projector = rebuild.switch().await?;
    assert_eq!(rows(&target).await?, fold(&store, &new, comparison.position).await?);
    let builds = target.builds("totals").await?;
    assert_eq!(builds.iter().map(|build| (build.version, build.is_live)).collect::<Vec<_>>(), [(1, false), (2, true)]);
    append(&store, 50..60).await?;
    projector.run_to_end().await?;
    assert_eq!(rows(&target).await?, fold(&store, &new, store.head().await?).await?);
    assert_eq!(target.drop_old("totals").await?, 1);
    assert!(matches!(target.drop_version("totals", 2).await, Err(Error::Invalid { .. })));
    assert!(target.fetch("SELECT * FROM totals_v1", &[]).await.is_err());
    assert_eq!(rows(&target).await?, fold(&store, &new, store.head().await?).await?);
    Ok(())
}

pub(crate) async fn a_rebuild_goes_on_while_the_old_version_runs(store: SharedStore, database: Arc<Database>) -> Outcome {
    let (old, new) = (Totals::default(), Totals { extra: 10, ..Totals::default() });
    append(&store, 0..200).await?;
    let running = Projector::new(store.clone(), database.target.clone(), old.clone()).batch_events_max(5);
    running.run_to_end().await?;
    let running = tokio::spawn(async move { running.run_until(std::future::pending::<()>()).await });
    // Somebody appends all the time, and somebody reads all the time: what is read is one version or the other, whole.
    let is_over = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let writer = tokio::spawn({
        let (store, is_over) = (store.clone(), is_over.clone());
        async move {
            let mut number = 200;
            while !is_over.load(std::sync::atomic::Ordering::SeqCst) {
                append(&store, [number]).await?;
                number += 1;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            Outcome::Ok(())
        }
    });
    let reader = tokio::spawn({
        let (target, is_over) = (database.target.clone(), is_over.clone());
        async move {
            let mut versions = Vec::new();
            while !is_over.load(std::sync::atomic::Ordering::SeqCst) {
                let look = "SELECT CAST(SUM(count) AS BIGINT), CAST(SUM(sum) AS BIGINT) FROM totals";
                let found = target.fetch(look, &[]).await?;
                tokio::time::sleep(Duration::from_millis(1)).await;
                // The number n is counted as n or as n + 10, so the sum tells which of the two it is, if it is either.
                let (count, sum) = (found[0][0].as_integer().ok_or("a count")?, found[0][1].as_integer().ok_or("a sum")?);
                let extra = (sum - count * (count - 1) / 2, count * 10);
                match extra {
                    (0, _) => versions.push(1),
                    (extra, all) if extra == all => versions.push(2),
                    _ => return Err(format!("{count} numbers with the sum {sum} are neither version").into()),
                }
            }
            Outcome::Ok(versions)
        }
    });
    // On a busy machine the rebuild was over before the old version had begun to run, which then took the new one over.
    while database.target.position("totals").await?.number() <= 200 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut rebuild = Projector::new(store.clone(), database.target.clone(), new.clone()).rebuild().await?;
    rebuild.catch_up().await?;
    assert!(!rebuild.compare().await?.is_same());
    let projector = rebuild.switch().await?;
    let ended = tokio::time::timeout(Duration::from_secs(120), running).await??;
    assert!(matches!(ended, Err(Error::Fenced { .. } | Error::Invalid { .. })), "{ended:?}");
    tokio::time::sleep(Duration::from_millis(50)).await;
    is_over.store(true, std::sync::atomic::Ordering::SeqCst);
    writer.await??;
    let versions = reader.await??;
    assert!(versions.is_sorted(), "once switched, nobody sees the old version again");
    projector.run_to_end().await?;
    assert_eq!(rows(&database.target).await?, fold(&store, &new, store.head().await?).await?);
    Ok(())
}

pub(crate) async fn a_program_builds_what_is_asked_for_from_outside(store: SharedStore, database: Arc<Database>) -> Outcome {
    let target = database.target.clone();
    // What asks is another process, with connections of its own.
    let outside = factum::projection::SqlTarget::connect(&database.url).await?;
    let seen = || {
        let target = target.clone();
        async move { rows(&target).await }
    };
    asked::from_outside(store, target.clone(), outside, seen).await
}
