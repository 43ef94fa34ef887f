//! Stores written by earlier versions are read by this one. Each fixture is a whole store, with its index, as that version left it.
#![cfg(feature = "embedded")]

use std::path::{Path, PathBuf};

use factum::backend::embedded::{compact, verify};
use factum::{
    Append, Checkpoints, EventStoreExt, ExpectedVersion, GlobalPosition, NewEvent, Query, ReadLog, RecordName, RecordVersion, RecordWrite,
    RecordedEvent, SharedStore, StreamId, StreamVersion, Tag, Timestamp, Uuid, connect,
};
use futures::TryStreamExt;

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Set to a directory to write the fixture of this version's format there.
const WRITE_TO: &str = "FACTUM_WRITE_FIXTURE";

fn order() -> StreamId {
    StreamId::new("Order-1").expect("valid")
}

/// What the fixture holds: enough that every part of the format is there.
fn events() -> Vec<NewEvent> {
    let event =
        |number: u128, name: &str, data: &str| NewEvent::json(name, &data).expect("it can be written").with_id(Uuid::from_u128(number));
    let time: Timestamp = "1999-12-31T23:59:59.123456789Z".parse().expect("a time");
    vec![
        event(1, "OrderPlaced", "a book").with_metadata(r#"{"user":"anna"}"#),
        event(2, "OrderPaid", "9.90").with_tag(Tag::new("customer:7").expect("valid")).with_tag(Tag::new("paid").expect("valid")),
        event(3, "OrderShipped", "grüße").with_occurred_at(time),
    ]
}

async fn write(store: &SharedStore) -> Outcome {
    store.append_to(&order(), ExpectedVersion::NoStream, events()).await?;
    for turn in 0..400u32 {
        let stream = StreamId::new(format!("Item-{}", turn % 40))?;
        let event = NewEvent::json("ItemCounted", &turn)?.with_id(Uuid::from_u128(1_000 + u128::from(turn)));
        store.append(Append::to(stream, [event])).await?;
    }
    store.truncate_before(&order(), StreamVersion::new(2)).await?;
    let checkpoints = Checkpoints::new(store.clone());
    let held = checkpoints.take("fixture").await?;
    checkpoints.advance("fixture", held.fence, GlobalPosition::from_number(17)).await?;
    // Something that is worth compacting.
    for turn in 0..40 {
        store.write_record(RecordWrite::set(RecordName::new("again and again")?, format!("{turn:0300}"))).await?;
    }
    Ok(())
}

async fn check(store: &SharedStore) -> Outcome {
    let read = store.load(&order()).await?;
    let proposed = events();
    assert_eq!(read.len(), 2, "the first event is truncated");
    for (event, proposed) in read.iter().zip(&proposed[1..]) {
        assert!(event.has_content_of(proposed), "{event:?}");
        assert_eq!((&event.id, &event.tags, &event.occurred_at), (&proposed.id, &proposed.tags, &proposed.occurred_at));
    }
    let log: Vec<RecordedEvent> = store.read_log(ReadLog::default()).try_collect().await?;
    assert_eq!(log.len(), 402);
    assert_eq!(store.version(&StreamId::new("Item-7")?).await?, StreamVersion::new(10));
    let query = Query::tags([Tag::new("paid")?]);
    let paid: Vec<RecordedEvent> = store.read_log(ReadLog { query, ..ReadLog::default() }).try_collect().await?;
    assert_eq!(paid, read[..1]);
    let held = Checkpoints::new(store.clone()).get("fixture").await?.ok_or("the checkpoint is there")?;
    assert_eq!((held.position, held.fence.number()), (GlobalPosition::from_number(17), 1));
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Outcome {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.path().is_dir() { copy(&entry.path(), &to)? } else { std::fs::copy(entry.path(), to).map(drop)? }
    }
    Ok(())
}

#[tokio::test]
async fn stores_of_every_format_are_read_and_written() -> Outcome {
    if let Some(directory) = std::env::var_os(WRITE_TO) {
        let directory = PathBuf::from(directory);
        let store = connect(&format!("file:{}", directory.display())).await?;
        write(&store).await?;
        store.close().await?;
        drop(store);
        assert_eq!(compact(&directory, &mut |_| {})?.compacted, 1);
        return Ok(());
    }
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    for format in ["format-1", "format-2"] {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join(format);
        copy(&fixtures.join(format), &path)?;
        let report = verify(&path, &mut |_| {})?;
        assert_eq!((report.events, report.problems), (403, vec![]), "{format}");
        let store = connect(&format!("file:{}?read_only=true", path.display())).await?;
        check(&store).await?;
        drop(store);
        // Without its index, and to write.
        std::fs::remove_dir_all(path.join("index"))?;
        let store = connect(&format!("file:{}?create=false", path.display())).await?;
        check(&store).await?;
        let again = store.append_to(&order(), ExpectedVersion::exact(1), events()[1..].to_vec()).await?;
        assert!(again.duplicate, "{format}: an id is found");
        let receipt = store.append_to(&order(), ExpectedVersion::exact(3), vec![NewEvent::json("OrderClosed", &())?]).await?;
        assert_eq!(receipt.last_position(), GlobalPosition::from_number(404));
        if let Some(record) = store.record(&RecordName::new("again and again")?).await? {
            assert_eq!((record.version, record.value.len()), (RecordVersion::new(40), 300));
        }
        store.close().await?;
        drop(store);
        assert_eq!(verify(&path, &mut |_| {})?.problems, [], "{format}");
        // What an earlier version wrote can be compacted, and is the same then.
        compact(&path, &mut |_| {})?;
        let store = connect(&format!("file:{}?read_only=true", path.display())).await?;
        assert_eq!(store.load(&order()).await?.len(), 3);
        assert_eq!(verify(&path, &mut |_| {})?.problems, [], "{format}");
    }
    Ok(())
}
