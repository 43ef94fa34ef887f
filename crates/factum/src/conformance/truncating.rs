//! Truncating: old events of a stream become unreadable, and nothing else changes.

use super::check::{Check, Verdict, check, ensure, ensure_eq};
use super::refusal::{conflict, invalid};
use super::sample::{category, event_type, events, stream, tag, tagged, version, versions};
use super::stage::Stage;
use crate::{Direction, EventStoreExt, ExpectedVersion, Query, ReadLog, ReadStream, StreamInfo, SubscriptionOptions};

pub(super) const CHECKS: &[Check] = &[
    check!(truncated_events_are_not_read_from_their_stream, "Reads of the stream begin at its first version, in any range.", Truncate),
    check!(truncated_events_are_not_read_from_the_log, "Nor does the log give them, forwards, backwards or to a query.", Truncate),
    check!(limit_does_not_count_truncated_events, "A limit counts what is read.", Truncate),
    check!(truncated_stream_keeps_its_version, "The version stays, and with it what appends expect.", Truncate),
    check!(emptied_stream_goes_on_at_its_version, "A stream that was truncated whole goes on with the next version.", Truncate),
    check!(truncating_never_brings_events_back, "A smaller version than an earlier one changes nothing.", Truncate),
    check!(truncating_beyond_the_end_is_invalid, "More than one past the version is Invalid, and changes nothing.", Truncate),
    check!(truncating_what_does_not_exist_is_invalid, "A stream that does not exist can't be truncated.", Truncate),
    check!(truncating_concerns_one_stream, "Other streams, and positions, stay as they are.", Truncate),
    check!(truncating_does_not_move_the_head, "The head stays where it was, though its event be truncated.", Truncate),
    check!(subscription_skips_truncated_events, "A subscription does not give them, and is not held up by them.", Truncate),
    check!(truncating_beside_a_writer_disturbs_nobody, "A stream can be truncated while it is written to.", Truncate),
    check!(retention_by_count_and_age, "A stream can keep its last events, or those since an instant.", Truncate),
];

async fn truncated_events_are_not_read_from_their_stream(stage: Stage) -> Verdict {
    let order = stream("Order-1");
    stage.record(&order, &events(6)).await?;
    let info = stage.store.truncate_before(&order, version(4)).await?;
    let expected = StreamInfo { stream: order.clone(), version: version(6), first_version: version(4) };
    ensure_eq!(info, expected, "what truncating returns");
    ensure_eq!(stage.store.stream(&order).await?, Some(expected), "what is known of the stream");
    for from in 0..=7 {
        for to in 0..=7 {
            let remaining: Vec<_> = (from.max(4)..=to.min(6)).collect();
            let mut read = ReadStream { from: Some(version(from)), to: Some(version(to)), ..ReadStream::default() };
            ensure_eq!(versions(&stage.stream_with(&order, read).await?), remaining, "versions from {from} to {to}");
            read.direction = Direction::Backward;
            let backward: Vec<_> = remaining.into_iter().rev().collect();
            ensure_eq!(versions(&stage.stream_with(&order, read).await?), backward, "versions from {to} back to {from}");
        }
    }
    ensure_eq!(versions(&stage.stream(&order).await?), [4, 5, 6], "all versions");
    Ok(())
}

async fn truncated_events_are_not_read_from_the_log(stage: Stage) -> Verdict {
    for number in 1..=3 {
        let id = stream(&format!("Order-{number}"));
        for _ in 0..2 {
            stage.record(&id, &[tagged("Placed", "", ["a"]), tagged("Paid", "", ["a", "b"])]).await?;
        }
    }
    let mut remaining = stage.log().await?;
    for (number, before) in [(1, 3), (3, 5)] {
        let id = stream(&format!("Order-{number}"));
        stage.store.truncate_before(&id, version(before)).await?;
        remaining.retain(|event| event.stream != id || event.version >= version(before));
    }
    let queries = [
        Query::all(),
        Query::tags([tag("a")]),
        Query::tags([tag("b"), tag("a")]),
        Query::types([event_type("Paid")]),
        Query::category(category("Order")),
    ];
    for query in queries {
        let mut expected: Vec<_> = remaining.iter().filter(|event| query.matches_event(event)).cloned().collect();
        ensure_eq!(stage.log_with(ReadLog { query: query.clone(), ..ReadLog::default() }).await?, expected, "what matches {query:?}");
        expected.reverse();
        let backward = ReadLog { query, direction: Direction::Backward, ..ReadLog::default() };
        ensure_eq!(stage.log_with(backward).await?, expected, "the same backwards");
    }
    Ok(())
}

async fn limit_does_not_count_truncated_events(stage: Stage) -> Verdict {
    let order = stream("Order-1");
    stage.record(&order, &events(8)).await?;
    stage.store.truncate_before(&order, version(6)).await?;
    let read = stage.log_with(ReadLog { limit: Some(2), ..ReadLog::default() }).await?;
    ensure_eq!(versions(&read), [6, 7], "the first two versions in the log");
    let read = stage.stream_with(&order, ReadStream { limit: Some(2), ..ReadStream::default() }).await?;
    ensure_eq!(versions(&read), [6, 7], "the first two versions in the stream");
    Ok(())
}

async fn truncated_stream_keeps_its_version(stage: Stage) -> Verdict {
    let order = stream("Order-1");
    stage.record(&order, &events(4)).await?;
    stage.store.truncate_before(&order, version(4)).await?;
    for stale in [0, 1, 3] {
        let refused = conflict(stage.append_to(&order, ExpectedVersion::exact(stale), &events(1)).await)?;
        ensure_eq!(refused.actual, version(4), "the actual version in the conflict");
    }
    stage.append_to(&order, ExpectedVersion::exact(4), &events(2)).await?;
    ensure_eq!(versions(&stage.stream(&order).await?), [4, 5, 6], "the stream's versions");
    Ok(())
}

async fn emptied_stream_goes_on_at_its_version(stage: Stage) -> Verdict {
    let order = stream("Order-1");
    stage.record(&order, &events(3)).await?;
    let info = stage.store.truncate_before(&order, version(4)).await?;
    ensure_eq!((info.version, info.first_version), (version(3), version(4)), "the version, and the first to be read");
    ensure_eq!(stage.stream(&order).await?, [], "the events of the emptied stream");
    ensure_eq!(stage.store.last_event(&order).await?, None, "the last event of the emptied stream");
    let refused = conflict(stage.append_to(&order, ExpectedVersion::NoStream, &events(1)).await)?;
    ensure_eq!(refused.actual, version(3), "the actual version in the conflict");
    stage.append_to(&order, ExpectedVersion::StreamExists, &events(1)).await?;
    stage.append_to(&order, ExpectedVersion::exact(4), &events(1)).await?;
    ensure_eq!(versions(&stage.stream(&order).await?), [4, 5], "the stream's versions");
    Ok(())
}

async fn truncating_never_brings_events_back(stage: Stage) -> Verdict {
    let order = stream("Order-1");
    stage.record(&order, &events(5)).await?;
    stage.store.truncate_before(&order, version(4)).await?;
    let before = stage.picture().await?;
    for smaller in [4, 3, 1, 0] {
        let info = stage.store.truncate_before(&order, version(smaller)).await?;
        ensure_eq!(info.first_version, version(4), "the first version to be read");
    }
    stage.unchanged_since(&before).await
}

async fn truncating_beyond_the_end_is_invalid(stage: Stage) -> Verdict {
    let order = stream("Order-1");
    stage.record(&order, &events(3)).await?;
    let before = stage.picture().await?;
    for beyond in [5, 6, u64::MAX] {
        invalid(stage.store.truncate_before(&order, version(beyond)).await)?;
    }
    stage.unchanged_since(&before).await
}

async fn truncating_what_does_not_exist_is_invalid(stage: Stage) -> Verdict {
    stage.record(&stream("Order-1"), &events(1)).await?;
    let before = stage.picture().await?;
    for beyond in [0, 1, 2] {
        invalid(stage.store.truncate_before(&stream("Order-2"), version(beyond)).await)?;
    }
    stage.unchanged_since(&before).await
}

async fn truncating_concerns_one_stream(stage: Stage) -> Verdict {
    for number in [1, 2, 1, 10] {
        stage.record(&stream(&format!("Order-{number}")), &events(2)).await?;
    }
    let mut remaining = stage.log().await?;
    stage.store.truncate_before(&stream("Order-1"), version(3)).await?;
    remaining.retain(|event| event.stream != "Order-1" || event.version >= version(3));
    ensure_eq!(stage.log().await?, remaining, "the log");
    ensure_eq!(versions(&stage.stream(&stream("Order-2")).await?), [1, 2], "another stream's versions");
    Ok(())
}

async fn truncating_does_not_move_the_head(stage: Stage) -> Verdict {
    let order = stream("Order-1");
    let head = stage.record(&order, &events(3)).await?.last_position();
    stage.store.truncate_before(&order, version(4)).await?;
    ensure_eq!(stage.store.head().await?, head, "the head");
    let next = stage.record(&order, &events(1)).await?.last_position();
    ensure!(next > head, "position {next}, after one of {head}");
    Ok(())
}

async fn subscription_skips_truncated_events(stage: Stage) -> Verdict {
    let (order, other) = (stream("Order-1"), stream("Order-2"));
    stage.record(&order, &events(3)).await?;
    stage.record(&other, &events(1)).await?;
    stage.record(&order, &events(3)).await?;
    stage.store.truncate_before(&order, version(7)).await?;
    let mut subscription = stage.subscribe(SubscriptionOptions::default());
    let first = stage.within("the first event that remains", subscription.next()).await??;
    ensure_eq!(first.stream, other, "the stream of the first event");
    stage.record(&order, &events(1)).await?;
    let next = stage.within("the next event", subscription.next()).await??;
    ensure_eq!((next.stream, next.version), (order, version(7)), "the next event");
    Ok(())
}

async fn truncating_beside_a_writer_disturbs_nobody(stage: Stage) -> Verdict {
    let order = stream("Order-1");
    stage.record(&order, &events(1)).await?;
    let (store, id) = (stage.store.clone(), order.clone());
    let writer = tokio::spawn(async move {
        for _ in 0..40 {
            store.append(crate::Append::to(id.clone(), events(2))).await?;
        }
        Verdict::Ok(())
    });
    for before in 1..=40 {
        let reached = stage.store.version(&order).await?;
        let info = stage.store.truncate_before(&order, version(before).min(reached)).await?;
        let read = stage.stream(&order).await?;
        ensure_eq!(read.first().map(|event| event.version), Some(info.first_version), "the first version that is read");
    }
    stage.within("the writer to end", writer).await???;
    let read = stage.stream(&order).await?;
    let first = stage.store.stream(&order).await?.map(|info| info.first_version.get()).unwrap_or_default();
    ensure_eq!(versions(&read), (first..=81).collect::<Vec<_>>(), "the stream's versions at the end");
    Ok(())
}

async fn retention_by_count_and_age(stage: Stage) -> Verdict {
    let order = stream("Order-1");
    for _ in 0..5 {
        stage.record(&order, &events(2)).await?;
    }
    stage.store.truncate_to_last(&order, 100).await?;
    ensure_eq!(stage.stream(&order).await?.len(), 10, "the events left of the last hundred");
    stage.store.truncate_to_last(&order, 4).await?;
    let read = stage.stream(&order).await?;
    ensure_eq!(versions(&read), [7, 8, 9, 10], "the last four versions");
    let instant = read[2].recorded_at;
    let expected: Vec<_> = read.into_iter().filter(|event| event.recorded_at >= instant).collect();
    stage.store.truncate_older_than(&order, instant).await?;
    ensure_eq!(stage.stream(&order).await?, expected, "the events since {instant}");
    stage.store.truncate_to_last(&order, 0).await?;
    ensure_eq!(stage.stream(&order).await?, [], "the last no events");
    Ok(())
}
