//! What is dead in a store gives its space back while the store is open, and what is alive stays as it was.
#![cfg(feature = "embedded")]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use factum::backend::embedded::{Embedded, EmbeddedOptions, compact, verify};
use factum::{
    Append, Category, Condition, Error, EventStoreExt, ExpectedVersion, GlobalPosition, ListStreams, NewEvent, Query, QueryItem, ReadLog,
    RecordName, RecordVersion, RecordWrite, RecordedEvent, SharedStore, StreamId, StreamInfo, StreamVersion, Tag, Uuid,
};
use futures::TryStreamExt;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// Opens a store whose files are small, and are compacted when more than so much of them is dead.
fn open(directory: &Path, dead_percent_max: u8) -> Outcome<SharedStore> {
    let options = EmbeddedOptions { segment_bytes_max: 1 << 16, dead_percent_max, ..EmbeddedOptions::default() };
    Ok(Arc::new(Embedded::open(directory, options)?))
}

/// Closes a store that no one else has, and lets go of it.
async fn close(store: SharedStore) -> Outcome {
    Ok(store.close().await?)
}

fn follow(directory: &Path) -> Outcome<SharedStore> {
    Ok(Arc::new(Embedded::open(directory, EmbeddedOptions { read_only: true, ..EmbeddedOptions::default() })?))
}

fn log_bytes(directory: &Path) -> Outcome<u64> {
    let mut bytes = 0;
    for file in fs::read_dir(directory.join("log"))? {
        // It may just have been replaced.
        bytes += file?.metadata().map_or(0, |file| file.len());
    }
    Ok(bytes)
}

/// How many files of the log this process has open that have no name any more; 0 where the system does not tell.
fn replaced_files_in_use(directory: &Path) -> Outcome<usize> {
    let Ok(open) = fs::read_dir("/proc/self/fd") else { return Ok(0) };
    let names = open.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
    Ok(names.filter(|name| name.starts_with(directory) && name.to_string_lossy().ends_with(".seg (deleted)")).count())
}

/// Waits until the log is no longer than so much.
fn wait_for_bytes(directory: &Path, bytes_max: u64) -> Outcome {
    let begun = Instant::now();
    while log_bytes(directory)? > bytes_max {
        if begun.elapsed() > Duration::from_secs(300) {
            return Err(format!("the log still has {} bytes", log_bytes(directory)?).into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Writes values to a record, many at once.
async fn overwrite(store: &SharedStore, name: &RecordName, times: u64) -> Outcome {
    for _ in 0..times / 100 {
        let writes = (0..100).map(|turn| store.write_record(RecordWrite::set(name.clone(), format!("{turn:0200}"))));
        futures::future::try_join_all(writes).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_record_that_is_written_again_and_again_takes_the_space_of_a_few() -> Outcome {
    let directory = tempfile::tempdir()?;
    let path = directory.path();
    let store = open(path, 50)?;
    let (counter, still) = (RecordName::new("counter")?, RecordName::new("written once")?);
    store.write_record(RecordWrite::set(still.clone(), "and never again")).await?;
    store.append_to(&StreamId::new("Order-1")?, ExpectedVersion::NoStream, vec![NewEvent::json("Placed", &1)?]).await?;
    let reader = follow(path)?;
    for round in 1..=20 {
        overwrite(&store, &counter, 1_000).await?;
        assert_eq!(reader.record(&counter).await?.ok_or("it is there")?.version, RecordVersion::new(round * 1_000));
    }
    // 20,000 values of 200 bytes; a file is complete at 64 KiB, and the newest one is never compacted.
    wait_for_bytes(path, 256 << 10)?;
    for store in [&store, &reader, &follow(path)?] {
        let record = store.record(&counter).await?.ok_or("it is there")?;
        assert_eq!((record.version, record.value.len()), (RecordVersion::new(20_000), 200));
        assert_eq!(store.record(&still).await?.ok_or("it is there")?.value, "and never again");
        assert_eq!(store.load(&StreamId::new("Order-1")?).await?.len(), 1);
    }
    // Who reads along lets go of the files that were replaced, and does not keep the disk full.
    overwrite(&store, &counter, 1_000).await?;
    assert_eq!(reader.record(&counter).await?.ok_or("it is there")?.version, RecordVersion::new(21_000));
    assert!(replaced_files_in_use(path)? < 10, "{} files that were replaced are in use", replaced_files_in_use(path)?);
    drop(reader);
    close(store).await?;
    let stats = follow(path)?.stats().await?;
    assert!(stats.details.get("dead_bytes").is_some_and(|bytes| *bytes < 64 << 10), "{:?}", stats.details);
    assert_eq!(verify(path, &mut |_| {})?.problems, []);
    // The log is the only truth: versions go on where they were without the index, too.
    fs::remove_dir_all(path.join("index"))?;
    let store = open(path, 50)?;
    assert_eq!(
        store.write_record(RecordWrite::set(counter, "next").expecting(RecordVersion::new(21_000))).await?,
        RecordVersion::new(21_001)
    );
    assert_eq!(store.record(&still).await?.ok_or("it is there")?.version, RecordVersion::new(1));
    close(store).await
}

/// What can be asked of a store with truncated streams.
#[derive(Debug, PartialEq)]
struct Answers {
    log: Vec<RecordedEvent>,
    streams: Vec<Vec<RecordedEvent>>,
    infos: Vec<StreamInfo>,
    infos_of_category: Vec<StreamInfo>,
    tagged: Vec<RecordedEvent>,
    head: u64,
}

fn item(number: u64) -> StreamId {
    StreamId::new(format!("Item-{number}")).expect("valid")
}

async fn answers(store: &SharedStore) -> Outcome<Answers> {
    let mut streams = Vec::new();
    for number in 0..8 {
        streams.push(store.load(&item(number)).await?);
    }
    let tagged = Query::tags([Tag::new("first")?]);
    let of_category = ListStreams { category: Some(Category::new("Item")?), ..ListStreams::default() };
    Ok(Answers {
        log: store.read_log(ReadLog::default()).try_collect().await?,
        streams,
        infos: store.streams(ListStreams::default()).try_collect().await?,
        infos_of_category: store.streams(of_category).try_collect().await?,
        tagged: store.read_log(ReadLog { query: tagged, ..ReadLog::default() }).try_collect().await?,
        head: store.head().await?.number(),
    })
}

fn event(number: u64) -> NewEvent {
    let tag = Tag::new(if number < 8 { "first" } else { "later" }).expect("valid");
    let event = NewEvent::json("Counted", &"x".repeat(1_000)).expect("it can be written");
    event.with_id(Uuid::from_u128(u128::from(number) + 1)).with_tag(tag)
}

#[tokio::test]
async fn truncated_events_give_their_content_back_and_are_still_counted() -> Outcome {
    let directory = tempfile::tempdir()?;
    let path = directory.path();
    let store = open(path, 50)?;
    for turn in 0..200 {
        let append =
            (0..8).fold(Append::default(), |append, number| append.and_to(item(number), ExpectedVersion::Any, [event(turn * 8 + number)]));
        store.append(append).await?;
    }
    for number in 1..8 {
        store.truncate_before(&item(number), StreamVersion::new(181)).await?;
    }
    let before = answers(&store).await?;
    assert_eq!((before.streams[0].len(), before.streams[7].len(), before.log.len()), (200, 20, 200 + 7 * 20));
    // 1,600 events of 1,000 bytes, of which 340 can be read.
    wait_for_bytes(path, 800 << 10)?;
    assert_eq!(answers(&store).await?, before);
    assert_eq!(answers(&follow(path)?).await?, before);
    close(store).await?;
    let report = verify(path, &mut |_| {})?;
    assert_eq!((report.problems, report.events, report.streams), (vec![], 1_600, 8));
    fs::remove_dir_all(path.join("index"))?;
    let store = open(path, 50)?;
    assert_eq!(answers(&store).await?, before);
    // A condition is about what happened, truncated or not.
    let happened =
        Query::item(QueryItem { tags: vec![Tag::new("first")?], category: Some(Category::new("Item")?), ..QueryItem::default() });
    let append = Append::to(item(3), [event(9_000)]).on_condition(Condition { none_of: happened, after: GlobalPosition::START });
    assert!(matches!(store.append(append).await, Err(Error::ConditionFailed { .. })));
    // Ids that can be read are known, those of truncated events are forgotten.
    assert!(store.append_to(&item(3), ExpectedVersion::exact(199), vec![event(199 * 8 + 3)]).await?.duplicate);
    let receipt = store.append_to(&item(3), ExpectedVersion::Any, vec![event(3)]).await?;
    assert_eq!((receipt.duplicate, receipt.last_version()), (false, StreamVersion::new(201)));
    close(store).await
}

#[tokio::test]
async fn a_store_is_compacted_by_hand_to_the_last_file() -> Outcome {
    let directory = tempfile::tempdir()?;
    let path = directory.path();
    let store: SharedStore = Arc::new(Embedded::open(path, EmbeddedOptions::default())?);
    let name = RecordName::new("counter")?;
    overwrite(&store, &name, 2_000).await?;
    let refused = compact(path, &mut |_| {}).expect_err("it is open");
    assert!(matches!(&refused, Error::Unavailable { reason, .. } if reason.contains("in use")), "{refused}");
    close(store).await?;
    let mut told = 0;
    let report = compact(path, &mut |progress| {
        assert!(progress.bytes <= progress.bytes_total);
        told += 1;
    })?;
    assert_eq!((report.segments, report.compacted), (2, 1), "the one file that there was, and a new one to write to");
    assert!(report.bytes_after < 1 << 10 && report.bytes_before > 400 << 10 && told > 100, "{report:?}");
    assert_eq!(log_bytes(path)? / 1_024, 0);
    let again = compact(path, &mut |_| {})?;
    assert_eq!((again.compacted, again.bytes_after), (0, report.bytes_after));
    let store = open(path, 100)?;
    assert_eq!(store.record(&name).await?.ok_or("it is there")?.version, RecordVersion::new(2_000));
    close(store).await?;
    assert_eq!(verify(path, &mut |_| {})?.problems, []);
    Ok(())
}
