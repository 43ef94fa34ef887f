//! What is copied out of a damaged store.
#![cfg(feature = "embedded")]

use std::path::Path;

use factum::backend::embedded::{compact, salvage, verify};
use factum::{Direction, EventStoreExt, ExpectedVersion, NewEvent, ReadLog, ReadStream, RecordedEvent, StreamId, StreamVersion, connect};
use futures::TryStreamExt;

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Changes one byte of the log where it says `text`.
fn damage(directory: &Path, text: &str) -> Outcome {
    let segment = directory.join("log").join("0000000001.seg");
    let mut bytes = std::fs::read(&segment)?;
    let at = bytes.windows(text.len()).position(|window| window == text.as_bytes()).ok_or("the text is in the log")?;
    bytes[at] ^= 1;
    Ok(std::fs::write(&segment, bytes)?)
}

/// A stream's first event was truncated, and later its bytes were damaged. Salvaging gave the second event the first one's version, and
/// copied the truncation as it was: it hid the second event.
#[tokio::test]
async fn salvaging_never_hides_an_event_that_could_be_read() -> Outcome {
    let directory = tempfile::tempdir()?;
    let (old, new) = (directory.path().join("old"), directory.path().join("new"));
    let (order, other) = (StreamId::new("Order-1")?, StreamId::new("Order-2")?);
    let store = connect(&format!("file:{}", old.display())).await?;
    for text in ["the first one", "the second one", "the third one"] {
        for stream in [&order, &other] {
            store.append_to(stream, ExpectedVersion::Any, vec![NewEvent::json("Said", &format!("{stream} {text}"))?]).await?;
        }
    }
    for stream in [&order, &other] {
        store.truncate_before(stream, StreamVersion::new(2)).await?;
    }
    store.close().await?;
    damage(&old, "Order-1 the first one")?;
    let report = verify(&old, &mut |_| {})?;
    assert!(!report.problems.is_empty(), "{report:?}");

    let salvaged = salvage(&old, &new, &mut |_| {})?;
    assert_eq!((salvaged.events, salvaged.renumbered), (5, 2), "{salvaged:?}");
    let store = connect(&format!("file:{}", new.display())).await?;
    let said = async |stream: &StreamId| -> Result<Vec<String>, Box<dyn std::error::Error>> {
        Ok(store.load(stream).await?.iter().map(factum::RecordedEvent::json).collect::<Result<_, _>>()?)
    };
    assert_eq!(said(&order).await?, ["Order-1 the second one", "Order-1 the third one"]);
    assert_eq!(said(&other).await?, ["Order-2 the second one", "Order-2 the third one"], "the other stream stays truncated");
    store.close().await?;
    assert_eq!(verify(&new, &mut |_| {})?.problems, []);
    Ok(())
}

/// Of truncated events only husks are left after a compaction. When the record is lost that says what was truncated, they are still no
/// events.
#[tokio::test]
async fn what_is_left_of_truncated_events_is_never_read_as_events() -> Outcome {
    let directory = tempfile::tempdir()?;
    let (old, new) = (directory.path().join("old"), directory.path().join("new"));
    let order = StreamId::new("Order-1")?;
    let store = connect(&format!("file:{}", old.display())).await?;
    let events = (1..=40).map(|number| NewEvent::json("Said", &format!("{number:01000}"))).collect::<Result<Vec<_>, _>>()?;
    let last = events[39].clone();
    store.append_to(&order, ExpectedVersion::NoStream, events).await?;
    store.truncate_before(&order, StreamVersion::new(30)).await?;
    store.close().await?;
    drop(store);
    assert_eq!(compact(&old, &mut |_| {})?.compacted, 1);
    damage(&old, "tOrder-1")?;
    assert_eq!(salvage(&old, &new, &mut |_| {})?.events, 40);

    let store = connect(&format!("file:{}", new.display())).await?;
    for direction in [Direction::Forward, Direction::Backward] {
        let read: Vec<RecordedEvent> = store.read_stream(&order, ReadStream { direction, ..ReadStream::default() }).try_collect().await?;
        let mut versions: Vec<u64> = read.iter().map(|event| event.version.get()).collect();
        versions.sort_unstable();
        assert_eq!(versions, (30..=40).collect::<Vec<_>>());
        let log: Vec<RecordedEvent> = store.read_log(ReadLog { direction, ..ReadLog::default() }).try_collect().await?;
        assert_eq!(log, read);
    }
    assert_eq!(store.version(&order).await?, StreamVersion::new(40));
    assert!(store.append_to(&order, ExpectedVersion::Any, vec![last]).await?.duplicate);
    store.close().await?;
    assert_eq!(verify(&new, &mut |_| {})?.problems, []);
    Ok(())
}
