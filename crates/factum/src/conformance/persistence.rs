//! Persistence: what was acknowledged is there after the store was closed and opened again.

use super::check::{Check, Verdict, check, ensure, ensure_eq};
use super::concurrency::writers;
use super::refusal::{condition_failed, conflict, id_reused, record_conflict};
use super::sample::{event, events, ids, landscape, new_ids, queries, record_name, stream, tag, tagged, version, versions};
use super::stage::Stage;
use crate::{
    Append, Checkpoints, Condition, ExpectedVersion, GlobalPosition, NewEvent, Query, ReadLog, RecordVersion, RecordWrite,
    SubscriptionOptions,
};

pub(super) const CHECKS: &[Check] = &[
    check!(acknowledged_events_survive_a_reopening, "Every acknowledged event is there, with all that it had.", Persistent),
    check!(empty_store_is_empty_after_a_reopening, "A store without events can be opened again, and is empty.", Persistent),
    check!(last_append_survives_each_of_many_reopenings, "One append, one reopening, again and again.", Persistent),
    check!(appends_of_concurrent_writers_survive_a_reopening, "What several writers recorded at once is there.", Persistent),
    check!(versions_go_on_after_a_reopening, "Versions, positions and recorded_at go on where they were.", Persistent),
    check!(ids_survive_a_reopening, "A repeat is a duplicate and a reused id is refused, after as before.", Persistent),
    check!(queries_agree_with_a_scan_after_a_reopening, "Filters give what they gave.", Persistent),
    check!(conditions_survive_a_reopening, "What broke a condition before breaks it after.", Persistent, Conditions),
    check!(list_of_streams_survives_a_reopening, "Streams are listed as before, and so are the stats.", Persistent),
    check!(records_survive_a_reopening, "Records have their values and versions, removed ones are gone and go on.", Persistent),
    check!(truncation_survives_a_reopening, "Truncated events stay unreadable, their streams keep their versions.", Persistent, Truncate),
    check!(checkpoint_survives_a_reopening, "A reader goes on where its checkpoint is, without a gap or a duplicate.", Persistent),
    check!(large_append_survives_a_reopening, "Thousands of events of one append, and a large one, are all there.", Persistent),
    check!(close_finishes_what_is_under_way, "What was acknowledged while the store was closed is there.", Persistent),
];

async fn acknowledged_events_survive_a_reopening(stage: Stage) -> Verdict {
    landscape(&stage).await?;
    let all: Vec<u8> = (0..=255).collect();
    let rich = NewEvent { data: all.clone().into(), ..tagged("Rich", "", ["a", "b"]) };
    stage.record(&stream("Kunde-é\u{1F980}"), &[rich.with_metadata(all).with_occurred_at(crate::Timestamp::MIN), event("")]).await?;
    let before = stage.picture().await?;
    let stage = stage.reopen().await?;
    stage.unchanged_since(&before).await?;
    stage.reopen().await?.unchanged_since(&before).await
}

async fn empty_store_is_empty_after_a_reopening(stage: Stage) -> Verdict {
    let before = stage.picture().await?;
    let stage = stage.reopen().await?;
    stage.unchanged_since(&before).await?;
    stage.append_to(&stream("Order-1"), ExpectedVersion::NoStream, &events(1)).await?;
    Ok(())
}

async fn last_append_survives_each_of_many_reopenings(mut stage: Stage) -> Verdict {
    let order = stream("Order-1");
    let mut given = Vec::new();
    for round in 0..6 {
        let proposed = events(1 + round % 2);
        given.extend(new_ids(&proposed));
        stage.record(&order, &proposed).await?;
        stage = stage.reopen().await?;
        ensure_eq!(ids(&stage.stream(&order).await?), given, "the stream after reopening number {}", round + 1);
    }
    Ok(())
}

async fn appends_of_concurrent_writers_survive_a_reopening(stage: Stage) -> Verdict {
    stage.all(writers(&stage.store, 6, 15)).await?;
    let before = stage.picture().await?;
    ensure_eq!(before.log.len(), 180, "the number of events");
    stage.reopen().await?.unchanged_since(&before).await
}

async fn versions_go_on_after_a_reopening(stage: Stage) -> Verdict {
    let order = stream("Order-1");
    stage.record(&order, &events(3)).await?;
    let before = stage.picture().await?;
    let stage = stage.reopen().await?;
    let refused = conflict(stage.append_to(&order, ExpectedVersion::NoStream, &events(1)).await)?;
    ensure_eq!(refused.actual, version(3), "the actual version in the conflict");
    stage.append_to(&order, ExpectedVersion::exact(3), &events(2)).await?;
    let log = stage.log().await?;
    ensure_eq!(versions(&log), [1, 2, 3, 4, 5], "the versions");
    ensure_eq!(log[..3], before.log[..], "what was there before");
    ensure!(log.is_sorted_by(|one, next| one.position < next.position), "positions in the log do not increase");
    ensure!(log.is_sorted_by_key(|event| event.recorded_at), "recorded_at goes back");
    if stage.store.capabilities().contiguous_positions.is_yes() {
        ensure_eq!(log[4].position.number(), 5, "the position of the fifth event");
    }
    Ok(())
}

async fn ids_survive_a_reopening(stage: Stage) -> Verdict {
    let mut appends = Vec::new();
    for (number, expected) in [ExpectedVersion::Any, ExpectedVersion::NoStream, ExpectedVersion::exact(0)].into_iter().enumerate() {
        let append = Append::to(stream(&format!("Order-{number}")), events(2)).expecting(expected);
        appends.push((append.clone(), stage.append(append).await?));
    }
    let before = stage.picture().await?;
    let stage = stage.reopen().await?;
    for (append, first) in appends {
        let again = stage.append(append.clone()).await?;
        ensure!(again.duplicate, "the repeat was not called a duplicate");
        ensure_eq!(again.streams, first.streams, "the receipt of the repeat");
        let part = &append.streams[0];
        let other = part.events[0].clone().with_metadata("other");
        id_reused(stage.append_to(&part.stream, ExpectedVersion::Any, &[other]).await)?;
        conflict(stage.append_to(&part.stream, ExpectedVersion::Any, &[part.events[1].clone(), event("new")]).await)?;
    }
    stage.unchanged_since(&before).await
}

async fn queries_agree_with_a_scan_after_a_reopening(stage: Stage) -> Verdict {
    landscape(&stage).await?;
    let stage = stage.reopen().await?;
    let log = landscape(&stage).await?;
    for (name, query) in queries() {
        let expected: Vec<_> = log.iter().filter(|event| query.matches_event(event)).cloned().collect();
        let found = stage.log_with(ReadLog { query: query.clone(), ..ReadLog::default() }).await?;
        ensure_eq!(found, expected, "the query {name:?}");
    }
    Ok(())
}

async fn conditions_survive_a_reopening(stage: Stage) -> Verdict {
    let condition = |after| Condition { none_of: Query::tags([tag("course:42")]), after };
    let enrolment = |student: &str| Append::to(stream(student), [tagged("Enrolled", "", ["course:42"])]);
    let head = stage.append(enrolment("Student-1")).await?.last_position();
    let stage = stage.reopen().await?;
    condition_failed(stage.append(enrolment("Student-2").on_condition(condition(GlobalPosition::START))).await)?;
    stage.append(enrolment("Student-2").on_condition(condition(head))).await?;
    let stage = stage.reopen().await?;
    condition_failed(stage.append(enrolment("Student-3").on_condition(condition(head))).await)?;
    Ok(())
}

async fn list_of_streams_survives_a_reopening(stage: Stage) -> Verdict {
    for number in (0..30).rev() {
        stage.record(&stream(&format!("Order-{number}")), &events(2)).await?;
    }
    let (before, stats) = (stage.picture().await?, stage.store.stats().await?);
    let stage = stage.reopen().await?;
    stage.unchanged_since(&before).await?;
    let again = stage.store.stats().await?;
    ensure_eq!((again.events, again.streams, &again.types), (stats.events, stats.streams, &stats.types), "the counts");
    ensure_eq!((again.head, again.last_recorded_at), (stats.head, stats.last_recorded_at), "the head and its time");
    Ok(())
}

async fn records_survive_a_reopening(stage: Stage) -> Verdict {
    let [kept, removed, empty] = ["kept", "removed", "empty"].map(record_name);
    for text in ["1", "2", "3"] {
        stage.store.write_record(RecordWrite::set(kept.clone(), text)).await?;
    }
    stage.store.write_record(RecordWrite::set(empty.clone(), "")).await?;
    let used = stage.store.write_record(RecordWrite::set(removed.clone(), "soon gone")).await?;
    stage.store.write_record(RecordWrite::remove(removed.clone())).await?;
    let before = [stage.store.record(&kept).await?, stage.store.record(&empty).await?];
    let stage = stage.reopen().await?;
    ensure_eq!([stage.store.record(&kept).await?, stage.store.record(&empty).await?], before, "the records");
    ensure_eq!(stage.store.record(&removed).await?, None, "the removed record");
    let stale = RecordWrite::set(kept.clone(), "stale").expecting(RecordVersion::new(2));
    record_conflict(stage.store.write_record(stale).await)?;
    let next = stage.store.write_record(RecordWrite::set(kept, "4").expecting(RecordVersion::new(3))).await?;
    ensure_eq!(next, RecordVersion::new(4), "the version after the next write");
    let anew = stage.store.write_record(RecordWrite::set(removed, "again")).await?;
    ensure!(anew > used, "the removed record was written again as version {anew}, after {used}");
    Ok(())
}

async fn truncation_survives_a_reopening(stage: Stage) -> Verdict {
    let (shortened, emptied) = (stream("Order-1"), stream("Order-2"));
    let first = events(5);
    stage.record(&shortened, &first).await?;
    stage.record(&emptied, &events(3)).await?;
    stage.store.truncate_before(&shortened, version(4)).await?;
    stage.store.truncate_before(&emptied, version(4)).await?;
    let before = stage.picture().await?;
    let stage = stage.reopen().await?;
    stage.unchanged_since(&before).await?;
    ensure_eq!(versions(&stage.stream(&shortened).await?), [4, 5], "the versions of the shortened stream");
    ensure_eq!(stage.stream(&emptied).await?, [], "the emptied stream");
    stage.append_to(&emptied, ExpectedVersion::exact(3), &events(1)).await?;
    ensure!(!stage.record(&shortened, &first[..1]).await?.duplicate, "a truncated id is remembered");
    let info = stage.store.truncate_before(&shortened, version(2)).await?;
    ensure_eq!(info.first_version, version(4), "the first version to be read");
    Ok(())
}

async fn checkpoint_survives_a_reopening(mut stage: Stage) -> Verdict {
    let mut seen = Vec::new();
    for _ in 0..4 {
        stage.record(&stream("Order-1"), &events(5)).await?;
        let checkpoints = Checkpoints::new(stage.store.clone());
        let taken = checkpoints.take("orders").await?;
        let mut subscription = stage.subscribe(SubscriptionOptions { after: taken.position, ..SubscriptionOptions::default() });
        for _ in 0..4 {
            seen.push(stage.within("the next event", subscription.next()).await??);
        }
        checkpoints.advance("orders", taken.fence, subscription.position()).await?;
        drop(subscription);
        drop(checkpoints);
        stage = stage.reopen().await?;
    }
    ensure_eq!(seen, stage.log().await?[..16], "what the reader saw");
    Ok(())
}

async fn large_append_survives_a_reopening(stage: Stage) -> Verdict {
    let limits = stage.store.capabilities().limits;
    stage.record(&stream("Order-1"), &events(limits.append_events_max.min(5_000))).await?;
    let large = vec![7u8; usize::try_from(limits.payload_bytes_max.min(1 << 20)).unwrap_or(1 << 20)];
    for number in 0..4 {
        stage.record(&stream("Order-2"), &[NewEvent { data: large.clone().into(), ..event("") }, event(&number.to_string())]).await?;
    }
    let before = stage.picture().await?;
    stage.reopen().await?.unchanged_since(&before).await
}

async fn close_finishes_what_is_under_way(stage: Stage) -> Verdict {
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let store = stage.store.clone();
            tokio::spawn(async move {
                let order = stream(&format!("Order-{writer}"));
                let mut acknowledged = Vec::new();
                loop {
                    let proposed = event("under way");
                    let id = proposed.id;
                    if store.append(Append::to(order.clone(), [proposed])).await.is_err() {
                        return acknowledged;
                    }
                    acknowledged.push(id);
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    while stage.store.head().await? == GlobalPosition::START {
        tokio::task::yield_now().await;
    }
    let stage = stage.reopen().await?;
    let recorded = ids(&stage.log().await?);
    for writer in writers {
        let acknowledged = stage.within("a writer to notice that the store is closed", writer).await??;
        let lost = acknowledged.iter().filter(|id| !recorded.contains(id)).count();
        ensure_eq!(lost, 0, "acknowledged events that are lost, of {}", acknowledged.len());
    }
    Ok(())
}
