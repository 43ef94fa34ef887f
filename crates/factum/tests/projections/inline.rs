//! A projection that runs with the append: both or neither, in the order of the log, and each of inline and async takes over from the other.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use factum::backend::Postgres;
use factum::projection::{Inline, Target};
use factum::{Backoff, Error, EventStore, EventStoreExt, ExpectedVersion, NewEvent, Projector, SharedStore, StreamId};

use crate::Outcome;
use crate::places::Database;
use crate::totals::{Totals, append, fold, rows, rows_at};

pub(crate) async fn other_stores_say_that_they_cannot() -> Outcome {
    let refused = Inline::connect("memory:", Totals::default()).await;
    assert!(matches!(&refused, Err(Error::Unsupported { instead, .. }) if instead.contains("wait_for")), "{refused:?}");
    Ok(())
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
    assert!(!inline.append(once.clone()).await?.duplicate);
    assert!(inline.append(once).await?.duplicate);
    let conflict = inline.append_to(&StreamId::new("Number-3")?, ExpectedVersion::NoStream, vec![NewEvent::json("Counted", &8)?]).await;
    assert!(matches!(conflict, Err(Error::Conflict(_))), "{conflict:?}");
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
    let (position, is) = rows_at(&database.target).await?;
    assert_eq!((position, &is), (last, &fold(&plain, &totals, last).await?));
    assert_eq!(is.values().map(|(count, _)| count).sum::<i64>(), 201);
    // A projector takes over, and applies nothing twice.
    let projector = Projector::new(plain.clone(), database.target.clone(), totals.clone()).retry(Backoff::ONCE);
    append(&plain, [1_001]).await?;
    projector.run_to_end().await?;
    assert_eq!(database.target.position("totals").await?, plain.head().await?);
    // While it runs, inline takes over again, and it is told so.
    let running = tokio::spawn(async move { projector.run_until(std::future::pending::<()>()).await });
    while !running.is_finished() {
        append(&one, [1_002]).await?;
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert!(matches!(running.await?, Err(Error::Fenced { .. })));
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
