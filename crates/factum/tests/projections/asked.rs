//! What `factum projections` does: versions asked for, compared, switched to and dropped from outside the program that fills them.

use std::time::Duration;

use factum::projection::{Target, Versions};
use factum::{Error, Projection, Projector, SharedStore};

use crate::Outcome;
use crate::totals::{Sums, Totals, append, fold};

/// `outside` asks, and a program fills `target`; readers see what `seen` gives.
pub(crate) async fn from_outside<T, S>(store: SharedStore, target: T, outside: impl Versions + Clone, seen: impl Fn() -> S) -> Outcome
where
    T: Target,
    S: Future<Output = Outcome<Sums>>,
    Totals: Projection<T::Rows>,
{
    assert!(matches!(outside.ask_for_rebuild("totals").await, Err(Error::Invalid { .. })));
    append(&store, 0..50).await?;
    Projector::new(store.clone(), target.clone(), Totals::default()).run_to_end().await?;
    // The repaired program goes on with the rows that the old one made, which are wrong.
    let new = Totals { extra: 10, ..Totals::default() };
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = Projector::new(store.clone(), target.clone(), new.clone()).poll_interval(Duration::from_millis(50));
    let running = tokio::spawn(async move { running.run_until(stopped).await });
    append(&store, 50..60).await?;
    assert_eq!((outside.ask_for_rebuild("totals").await?, outside.ask_for_rebuild("totals").await?), (2, 2));
    let patience = Duration::from_secs(60);
    let built = |version: u32| {
        let (outside, store) = (outside.clone(), store.clone());
        async move {
            let head = store.head().await?;
            let is_there =
                async || outside.builds("totals").await.map(|builds| builds.iter().any(|b| b.version == version && b.position >= head));
            while !is_there().await? {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Outcome::Ok(())
        }
    };
    tokio::time::timeout(patience, built(2)).await??;
    assert!(!outside.compare("totals", patience).await?.is_same());
    // It is switched to while both versions move.
    let more = async {
        for number in 60..120 {
            append(&store, [number]).await?;
        }
        Outcome::Ok(())
    };
    let (switched, more) = tokio::join!(outside.switch("totals", patience), more);
    more?;
    assert_eq!(switched?.0, 2);
    tokio::time::timeout(patience, built(2)).await??;
    assert_eq!(seen().await?, fold(&store, &new, store.head().await?).await?);
    // The program goes on with what it built, and builds again.
    append(&store, 120..130).await?;
    tokio::time::timeout(patience, built(2)).await??;
    assert_eq!(seen().await?, fold(&store, &new, store.head().await?).await?);
    assert_eq!(outside.ask_for_rebuild("totals").await?, 3);
    tokio::time::timeout(patience, built(3)).await??;
    assert!(outside.compare("totals", patience).await?.is_same());
    outside.drop_version("totals", 3).await?;
    append(&store, 130..140).await?;
    tokio::time::timeout(patience, built(2)).await??;
    assert_eq!(outside.drop_old("totals").await?, 1);
    // What is asked for and not begun can be taken back.
    stop.send(()).expect("it runs");
    running.await??;
    assert_eq!(outside.ask_for_rebuild("totals").await?, 3);
    outside.drop_version("totals", 3).await?;
    assert!(matches!(outside.drop_version("totals", 3).await, Err(Error::Invalid { .. })));
    assert_eq!(seen().await?, fold(&store, &new, store.head().await?).await?);
    Ok(())
}
