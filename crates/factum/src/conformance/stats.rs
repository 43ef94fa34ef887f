//! Stats: counts that agree with what can be read.

use super::check::{Check, Verdict, check, ensure, ensure_eq};
use super::sample::{events, landscape, stream, typed, version};
use super::stage::Stage;
use crate::Stats;

pub(super) const CHECKS: &[Check] = &[
    check!(stats_of_an_empty_store_are_zero, "An empty store counts nothing, and its head is START."),
    check!(stats_agree_with_a_scan, "Events, streams, categories, types, head and times are those of the log."),
    check!(stats_name_at_most_so_many, "With more categories or types than may be named it says so."),
    check!(stats_count_truncated_events, "Events that were truncated still count.", Truncate),
];

async fn stats_of_an_empty_store_are_zero(stage: Stage) -> Verdict {
    let stats = stage.store.stats().await?;
    let counted = Stats {
        store: stats.store.clone(),
        disk_bytes: stats.disk_bytes.clone(),
        details: stats.details.clone(),
        notes: stats.notes.clone(),
        ..Stats::default()
    };
    ensure_eq!(stats, counted, "the stats");
    ensure_eq!(stats.store, stage.store.capabilities().store, "the kind of store");
    Ok(())
}

async fn stats_agree_with_a_scan(stage: Stage) -> Verdict {
    let log = landscape(&stage).await?;
    let stats = stage.store.stats().await?;
    let mut expected = Stats {
        events: log.len() as u64,
        streams: stage.streams_with(Default::default()).await?.len() as u64,
        head: log[log.len() - 1].position,
        first_recorded_at: Some(log[0].recorded_at),
        last_recorded_at: Some(log[log.len() - 1].recorded_at),
        store: stats.store.clone(),
        disk_bytes: stats.disk_bytes.clone(),
        details: stats.details.clone(),
        notes: stats.notes.clone(),
        ..Stats::default()
    };
    for event in &log {
        *expected.categories.entry(event.stream.category_str().to_owned()).or_default() += 1;
        *expected.types.entry(event.event_type.as_str().to_owned()).or_default() += 1;
    }
    ensure_eq!(stats, expected, "the stats");
    Ok(())
}

async fn stats_name_at_most_so_many(stage: Stage) -> Verdict {
    let types: Vec<_> = (0..=Stats::NAMES_MAX).map(|number| typed(&format!("Type{number}"), "")).collect();
    let (most, last) = types.split_at(Stats::NAMES_MAX);
    stage.record(&stream("Order-1"), most).await?;
    let stats = stage.store.stats().await?;
    ensure!(stats.types.len() == Stats::NAMES_MAX && !stats.names_cut, "{} types are {} named", most.len(), stats.types.len());
    stage.record(&stream("Order-1"), last).await?;
    let stats = stage.store.stats().await?;
    ensure!(stats.types.len() == Stats::NAMES_MAX && stats.names_cut, "one type more, and {} are named", stats.types.len());
    Ok(())
}

async fn stats_count_truncated_events(stage: Stage) -> Verdict {
    let order = stream("Order-1");
    stage.record(&order, &events(5)).await?;
    stage.store.truncate_before(&order, version(6)).await?;
    let stats = stage.store.stats().await?;
    ensure_eq!((stats.events, stats.streams), (5, 1), "the number of events and of streams");
    ensure_eq!(stats.head, stage.store.head().await?, "the head");
    Ok(())
}
