//! Small records: named bytes with a compare-and-set version.

use bytes::Bytes;

use super::check::{Check, Verdict, check, ensure, ensure_eq};
use super::refusal::record_conflict;
use super::sample::{events, record_name, stream};
use super::stage::Stage;
use crate::{Error, Record, RecordName, RecordVersion, RecordWrite};

pub(super) const CHECKS: &[Check] = &[
    check!(record_that_was_never_written_is_not_there, "Reading a record that is not there gives none."),
    check!(record_versions_count_its_writes, "The first write makes a record version 1, each further one adds 1."),
    check!(record_values_come_back_bit_by_bit, "Values are bytes; any bytes come back, none at all too."),
    check!(record_write_with_stale_version_changes_nothing, "A version that the record does not have is a conflict with the actual one."),
    check!(record_is_made_once, "A write that expects no record is a conflict where there is one."),
    check!(record_names_are_exact, "Records whose names resemble each other are not mixed."),
    check!(removed_record_is_not_there, "A removed record reads as none, and can be made again."),
    check!(removed_record_goes_on_with_its_versions, "No version ever means two values, though the record be removed between."),
    check!(removing_what_is_not_there_changes_nothing, "It returns version NONE; with an expectation it is a conflict."),
    check!(racing_record_writes_have_one_winner, "Of writes that expect the same version exactly one succeeds."),
    check!(racing_record_makers_have_one_winner, "Of writes that expect no record exactly one makes it."),
    check!(records_count_without_losing_any, "Counting up by compare-and-set from several tasks loses no count."),
    check!(records_are_not_events, "Records show in no read of events, and take no versions of streams."),
];

async fn value(stage: &Stage, name: &RecordName) -> Verdict<Option<(u64, Bytes)>> {
    Ok(stage.store.record(name).await?.map(|record| (record.version.get(), record.value)))
}

async fn record_that_was_never_written_is_not_there(stage: Stage) -> Verdict {
    ensure_eq!(value(&stage, &record_name("a")).await?, None, "the record");
    Ok(())
}

async fn record_versions_count_its_writes(stage: Stage) -> Verdict {
    let name = record_name("a");
    for number in 1..=10u64 {
        let mut write = RecordWrite::set(name.clone(), number.to_string());
        if number % 2 == 0 {
            write = write.expecting(RecordVersion::new(number - 1));
        }
        ensure_eq!(stage.store.write_record(write).await?, RecordVersion::new(number), "the version that the write returned");
        ensure_eq!(value(&stage, &name).await?, Some((number, number.to_string().into())), "the record's version and value");
    }
    Ok(())
}

async fn record_values_come_back_bit_by_bit(stage: Stage) -> Verdict {
    let all: Vec<u8> = (0..=255).collect();
    let long: Vec<u8> = all.iter().copied().cycle().take(200_001).collect();
    for bytes in [b"".to_vec(), vec![0], all, b"\xC3\x28".to_vec(), long, Vec::new()] {
        let name = record_name("a");
        let version = stage.store.write_record(RecordWrite::set(name.clone(), bytes.clone())).await?;
        ensure_eq!(stage.store.record(&name).await?, Some(Record { version, value: bytes.into() }), "the record");
    }
    Ok(())
}

async fn record_write_with_stale_version_changes_nothing(stage: Stage) -> Verdict {
    let name = record_name("a");
    for text in ["1", "2", "3"] {
        stage.store.write_record(RecordWrite::set(name.clone(), text)).await?;
    }
    for stale in [0, 1, 2, 4, u64::MAX].map(RecordVersion::new) {
        for write in [RecordWrite::set(name.clone(), "stale"), RecordWrite::remove(name.clone())] {
            let refused = record_conflict(stage.store.write_record(write.expecting(stale)).await)?;
            ensure_eq!(refused, (stale, RecordVersion::new(3)), "the expected and the actual version in the conflict");
            ensure_eq!(value(&stage, &name).await?, Some((3, "3".into())), "the record");
        }
    }
    Ok(())
}

async fn record_is_made_once(stage: Stage) -> Verdict {
    let name = record_name("a");
    let make = || RecordWrite::set(name.clone(), "made").expecting(RecordVersion::NONE);
    stage.store.write_record(make()).await?;
    record_conflict(stage.store.write_record(make()).await)?;
    let absent = RecordWrite::set(record_name("b"), "never").expecting(RecordVersion::new(1));
    let refused = record_conflict(stage.store.write_record(absent).await)?;
    ensure_eq!(refused.1, RecordVersion::NONE, "the actual version of a record that is not there");
    Ok(())
}

async fn record_names_are_exact(stage: Stage) -> Verdict {
    let longest = "n".repeat(RecordName::BYTES_MAX);
    let names =
        ["a", "A", "a/", "a/b", "a/b ", " a/b", "a:b", "a%2Fb", "a\\b", "../a", "é", "e\u{301}", "checkpoint", &longest, &longest[1..]];
    for name in names {
        stage.store.write_record(RecordWrite::set(record_name(name), name.to_owned())).await?;
    }
    for name in names {
        ensure_eq!(value(&stage, &record_name(name)).await?, Some((1, name.to_owned().into())), "record {name:?}");
    }
    Ok(())
}

async fn removed_record_is_not_there(stage: Stage) -> Verdict {
    let name = record_name("a");
    for _ in 0..3 {
        let version = stage.store.write_record(RecordWrite::set(name.clone(), "here").expecting(RecordVersion::NONE)).await?;
        ensure!(stage.store.record(&name).await?.is_some(), "a written record is not there");
        stage.store.write_record(RecordWrite::remove(name.clone()).expecting(version)).await?;
        ensure_eq!(value(&stage, &name).await?, None, "the removed record");
    }
    Ok(())
}

async fn removed_record_goes_on_with_its_versions(stage: Stage) -> Verdict {
    let name = record_name("a");
    let mut used = vec![RecordVersion::NONE];
    for round in 0..4 {
        let version = stage.store.write_record(RecordWrite::set(name.clone(), round.to_string())).await?;
        ensure!(!used.contains(&version), "version {version} came a second time");
        used.push(version);
        stage.store.write_record(RecordWrite::remove(name.clone())).await?;
    }
    let last = stage.store.write_record(RecordWrite::set(name.clone(), "last")).await?;
    for stale in used {
        let refused = record_conflict(stage.store.write_record(RecordWrite::set(name.clone(), "stale").expecting(stale)).await)?;
        ensure_eq!(refused.1, last, "the actual version in the conflict");
    }
    Ok(())
}

async fn removing_what_is_not_there_changes_nothing(stage: Stage) -> Verdict {
    let (never, removed) = (record_name("never"), record_name("removed"));
    let version = stage.store.write_record(RecordWrite::set(removed.clone(), "soon gone")).await?;
    stage.store.write_record(RecordWrite::remove(removed.clone())).await?;
    for name in [never, removed] {
        for write in [RecordWrite::remove(name.clone()), RecordWrite::remove(name.clone()).expecting(RecordVersion::NONE)] {
            ensure_eq!(stage.store.write_record(write).await?, RecordVersion::NONE, "the version that the removal of {name} returned");
        }
        let refused = record_conflict(stage.store.write_record(RecordWrite::remove(name.clone()).expecting(version)).await)?;
        ensure_eq!(refused, (version, RecordVersion::NONE), "the expected and the actual version in the conflict");
        ensure_eq!(value(&stage, &name).await?, None, "the record");
    }
    Ok(())
}

/// Lets several tasks write a record that they expect at the same version; exactly one must succeed.
async fn race(stage: &Stage, name: &RecordName, expected: RecordVersion) -> Verdict<RecordVersion> {
    let racers = (0..6).map(|racer| {
        let (store, text) = (stage.store.clone(), racer.to_string());
        let write = RecordWrite::set(name.clone(), text.clone()).expecting(expected);
        async move { Ok((text, store.write_record(write).await)) }
    });
    let mut won = Vec::new();
    for (text, answer) in stage.all(racers).await? {
        match answer {
            Ok(version) => won.push((text, version)),
            refused => {
                let (_, actual) = record_conflict(refused)?;
                ensure!(actual != expected, "the conflict says that the record is at version {actual}, as was expected");
            }
        }
    }
    ensure_eq!(won.len(), 1, "the number of winners");
    let (text, version) = won.remove(0);
    ensure_eq!(value(stage, name).await?, Some((version.get(), text.into())), "the record after the race");
    Ok(version)
}

async fn racing_record_writes_have_one_winner(stage: Stage) -> Verdict {
    let name = record_name("a");
    let mut version = RecordVersion::NONE;
    for _ in 0..15 {
        version = race(&stage, &name, version).await?;
    }
    ensure_eq!(version, RecordVersion::new(15), "the version after fifteen races");
    Ok(())
}

async fn racing_record_makers_have_one_winner(stage: Stage) -> Verdict {
    for number in 0..10 {
        race(&stage, &record_name(&number.to_string()), RecordVersion::NONE).await?;
    }
    Ok(())
}

async fn records_count_without_losing_any(stage: Stage) -> Verdict {
    let name = record_name("counter");
    let counters = (0..4).map(|_| {
        let (store, name) = (stage.store.clone(), name.clone());
        async move {
            for _ in 0..10 {
                loop {
                    let held = store.record(&name).await?;
                    let version = held.as_ref().map_or(RecordVersion::NONE, |record| record.version);
                    let count = held.map_or(0, |record| record.value.len());
                    tokio::task::yield_now().await;
                    match store.write_record(RecordWrite::set(name.clone(), vec![b'|'; count + 1]).expecting(version)).await {
                        Ok(_) => break,
                        Err(Error::RecordConflict { .. }) => {}
                        Err(other) => return Err(other.into()),
                    }
                }
            }
            Ok(())
        }
    });
    stage.all(counters).await?;
    ensure_eq!(value(&stage, &name).await?.map(|(version, value)| (version, value.len())), Some((40, 40)), "the version and the count");
    Ok(())
}

async fn records_are_not_events(stage: Stage) -> Verdict {
    let order = stream("Order-1");
    stage.record(&order, &events(2)).await?;
    let before = stage.picture().await?;
    for name in ["Order-1", "Order-2", "a"] {
        stage.store.write_record(RecordWrite::set(record_name(name), "not an event")).await?;
        stage.store.write_record(RecordWrite::remove(record_name(name))).await?;
    }
    stage.unchanged_since(&before).await?;
    stage.append_to(&order, crate::ExpectedVersion::exact(2), &events(1)).await?;
    if stage.store.capabilities().contiguous_positions.is_yes() {
        ensure_eq!(stage.store.head().await?.number(), 3, "the position of the third event");
    }
    Ok(())
}
