//! What is copied out of a damaged store.
#![cfg(feature = "embedded")]

use std::path::Path;

use factum::backend::embedded::{salvage, verify};
use factum::{EventStoreExt, ExpectedVersion, NewEvent, StreamId, StreamVersion, connect};

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
