//! A projection that runs with the append: both or neither, in the order of the log, and each of inline and async takes over from the other.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use factum::backend::Postgres;
use factum::projection::{Inline, Target};
use factum::{Backoff, Error, EventStore, EventStoreExt, ExpectedVersion, GlobalPosition, NewEvent, Projector, SharedStore, StreamId};

use crate::Outcome;
use crate::places::Database;
use crate::totals::{Totals, append, fold, rows, rows_at};

pub(crate) async fn other_stores_say_that_they_cannot() -> Outcome {
    let refused = Inline::connect("memory:", Totals::default()).await;
    assert!(matches!(&refused, Err(Error::Unsupported { instead, .. }) if instead.contains("wait_for")), "{refused:?}");
    Ok(())
}

/// Waits until what was appended through another handle can be read through this one. A server with other transactions under way, such as those
/// of the tests beside this one, shows it a moment later: no reader may skip what they might still record.
async fn readable(store: &SharedStore, position: GlobalPosition) -> Outcome {
    let seen = async {
        while store.head().await? < position {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Outcome::Ok(())
    };
    tokio::time::timeout(Duration::from_secs(60), seen).await?
}

/// The store is in the database of the rows.
pub(crate) async fn rows_and_append_are_committed_together_or_neither(database: Arc<Database>) -> Outcome {
    let store = Arc::new(Postgres::connect(&format!("{}?create=true", database.url)).await?);
    let plain: SharedStore = store.clone();
    // What was recorded before is applied first.
    append(&plain, 0..20).await?;
    let totals = Totals::default();
    let inline: SharedStore = Arc::new(Inline::new(store.clone(), totals.clone()).await?);
    let last = append(&inline, 20..23).await?;
    readable(&plain, last).await?;
    let (position, is) = rows_at(&database.target).await?;
    assert_eq!((position, &is), (last, &fold(&plain, &totals, last).await?));
    // An event that can't be applied is not recorded.
    totals.refuses.store(100, Ordering::SeqCst);
    let head = plain.head().await?;
    let refused = inline.append_to(&StreamId::new("Number-2")?, ExpectedVersion::Any, vec![NewEvent::json("Counted", &100)?]).await;
    assert!(matches!(&refused, Err(Error::HandlerFailed { attempts: 1, .. })), "{refused:?}");
    assert_eq!(plain.head().await?, head);
    assert_eq!(plain.stream(&StreamId::new("Number-2")?).await?, None);
    totals.refuses.store(0, Ordering::SeqCst);
    // Nor is anything applied that can't be recorded, and a repeat is applied once.
    let once = factum::Append::to(StreamId::new("Number-3")?, [NewEvent::json("Counted", &7)?]).expecting(ExpectedVersion::NoStream);
    let receipt = inline.append(once.clone()).await?;
    assert!(!receipt.duplicate);
    assert!(inline.append(once).await?.duplicate);
    let conflict = inline.append_to(&StreamId::new("Number-3")?, ExpectedVersion::NoStream, vec![NewEvent::json("Counted", &8)?]).await;
    assert!(matches!(conflict, Err(Error::Conflict(_))), "{conflict:?}");
    readable(&plain, receipt.last_position()).await?;
    assert_eq!(rows(&database.target).await?, fold(&plain, &totals, plain.head().await?).await?);
    Ok(())
}

pub(crate) async fn concurrent_appends_keep_the_order_and_async_takes_over(database: Arc<Database>) -> Outcome {
    let url = format!("{}?create=true", database.url);
    let plain: SharedStore = factum::connect(&url).await?;
    let totals = Totals::default();
    // Two programs run it inline, a third appends without it.
    let one: SharedStore = Arc::new(Inline::connect(&url, totals.clone()).await?);
    let two: SharedStore = Arc::new(Inline::connect(&url, totals.clone()).await?);
    let write = |store: &SharedStore, from: u64| {
        let store = store.clone();
        tokio::spawn(async move {
            for number in from..from + 40 {
                let stream = StreamId::new(format!("Number-{}", number % 7))?;
                store.append_to(&stream, ExpectedVersion::Any, vec![NewEvent::json("Counted", &number)?]).await?;
            }
            Outcome::Ok(())
        })
    };
    let writers = [write(&one, 0), write(&one, 100), write(&two, 200), write(&two, 300), write(&plain, 400)];
    for writer in writers {
        writer.await??;
    }
    // Whatever was recorded before the last inline append is in the rows.
    let last = append(&two, [1_000]).await?;
    readable(&plain, last).await?;
    let (position, is) = rows_at(&database.target).await?;
    assert_eq!((position, &is), (last, &fold(&plain, &totals, last).await?));
    assert_eq!(is.values().map(|(count, _)| count).sum::<i64>(), 201);
    // A projector takes over, and applies nothing twice.
    let projector = Projector::new(plain.clone(), database.target.clone(), totals.clone()).retry(Backoff::ONCE);
    let last = append(&plain, [1_001]).await?;
    readable(&plain, last).await?;
    projector.run_to_end().await?;
    assert_eq!(database.target.position("totals").await?, last);
    // While it runs, inline takes over again, and it is told so.
    let running = tokio::spawn(async move { projector.run_until(std::future::pending::<()>()).await });
    let mut last = last;
    while !running.is_finished() {
        last = append(&one, [1_002]).await?;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(matches!(running.await?, Err(Error::Fenced { .. })));
    readable(&plain, last).await?;
    assert_eq!(rows(&database.target).await?, fold(&plain, &totals, plain.head().await?).await?);
    Ok(())
}

pub(crate) async fn work_in_an_append_is_told_what_is_recorded(database: Arc<Database>) -> Outcome {
    let store = Postgres::connect(&format!("{}?create=true", database.url)).await?;
    let stream = StreamId::new("Number-1")?;
    let events = || [NewEvent::json("Counted", &1), NewEvent::json("Counted", &2)].into_iter().collect::<factum::Result<Vec<_>>>();
    let told = Arc::new(std::sync::Mutex::new(Vec::new()));
    let append = factum::Append::to(stream.clone(), events()?);
    let telling = told.clone();
    let receipt = store.append_with_events(append, move |_, events| {
        Box::pin(async move {
            *telling.lock().expect("nobody panics") = events;
            Ok(())
        })
    });
    let receipt = receipt.await?;
    let read: Vec<_> = futures::TryStreamExt::try_collect(store.read_stream(&stream, factum::ReadStream::default())).await?;
    assert_eq!(*told.lock().expect("nobody panics"), read);
    assert_eq!(read.last().map(|event| event.position), Some(receipt.last_position()));
    let refused =
        store.append_with_events(factum::Append::to(stream.clone(), events()?), |_, _| Box::pin(async { Err(Error::invalid("no")) }));
    assert!(matches!(refused.await, Err(Error::Invalid { .. })));
    assert_eq!(store.stream(&stream).await?.map(|info| info.version), Some(receipt.last_version()));
    Ok(())
}
