//! Appends: versions, expectations, and all or nothing.

use super::check::{Check, Verdict, check, ensure, ensure_eq};
use super::refusal::{conflict, invalid};
use super::sample::{event, events, ids, new_ids, stream, version, versions};
use super::stage::Stage;
use crate::{Append, Conflict, ConflictReason, ExpectedVersion, StreamAppend, StreamInfo};

pub(super) const CHECKS: &[Check] = &[
    check!(versions_count_up_from_1, "Versions in a stream are contiguous from 1, over appends of any size."),
    check!(receipt_says_where_the_events_stand, "A receipt gives the versions and positions at which the events are then read."),
    check!(append_is_seen_by_every_later_read, "What an append recorded, every read that begins after it returned sees."),
    check!(append_expecting_any_version_is_taken, "Any is as expected by a stream without events and by one with."),
    check!(append_expecting_no_stream_is_taken_once, "NoStream is a conflict for a stream that has events."),
    check!(append_expecting_a_stream_needs_one, "StreamExists is a conflict for a stream that has none, with actual version 0."),
    check!(append_with_stale_version_changes_nothing, "A stale version is a conflict that carries the actual one; nothing changes."),
    check!(append_with_version_ahead_changes_nothing, "A version that the stream has not come to is a conflict; nothing changes."),
    check!(exact_version_0_and_no_stream_mean_the_same, "Exact(0) accepts and refuses what NoStream does."),
    check!(conflict_says_what_was_expected_of_which_stream, "A conflict names the stream, the expectation, the version and the reason."),
    check!(append_without_events_is_invalid, "An append without streams, or with a stream without events, is Invalid."),
    check!(append_with_an_id_twice_in_a_stream_is_invalid, "Events of one append to one stream have different ids; else it is Invalid."),
    check!(append_over_several_streams_records_in_each, "One append records in all its streams.", MultiStreamAppend),
    check!(positions_follow_the_order_of_the_append, "Positions increase in the order of the streams and events.", MultiStreamAppend),
    check!(stale_version_in_any_stream_changes_no_stream, "One stream not as expected, and none changes.", MultiStreamAppend),
    check!(append_over_a_hundred_streams_is_one_append, "An append may touch many streams; it is still whole.", MultiStreamAppend),
    check!(refused_appends_leave_no_gap_in_positions, "Positions are contiguous from 1, whatever was refused.", ContiguousPositions),
    check!(recorded_at_never_goes_back_in_a_stream, "Within a stream recorded_at never decreases."),
    check!(recorded_at_never_goes_back_in_the_log, "In the whole log recorded_at never decreases.", MonotonicLogTime),
    check!(capabilities_are_constant, "What a store says of itself does not change while it is open."),
    check!(
        what_is_not_supported_is_refused,
        "Asking for what the store can't do is Unsupported, and changes nothing.",
        SomethingUnsupported
    ),
];

async fn versions_count_up_from_1(stage: Stage) -> Verdict {
    let order = stream("Order-1");
    for count in [1, 3, 2] {
        stage.record(&stream("Order-2"), &events(2)).await?;
        stage.record(&order, &events(count)).await?;
    }
    ensure_eq!(versions(&stage.stream(&order).await?), [1, 2, 3, 4, 5, 6], "the stream's versions");
    Ok(())
}

async fn receipt_says_where_the_events_stand(stage: Stage) -> Verdict {
    let order = stream("Order-1");
    let mut receipts = Vec::new();
    for count in [1, 3] {
        receipts.push(stage.record(&order, &events(count)).await?);
    }
    let read = stage.stream(&order).await?;
    for (receipt, events) in receipts.iter().zip([&read[..1], &read[1..]]) {
        ensure!(!receipt.duplicate, "a first append was called a duplicate");
        ensure_eq!(receipt.streams.len(), 1, "the entries of a receipt for one stream");
        let (stands, first, last) = (&receipt.streams[0], &events[0], &events[events.len() - 1]);
        ensure_eq!(stands.stream, order, "the receipt's stream");
        ensure_eq!((stands.first_version, stands.first_position), (first.version, first.position), "where the first event stands");
        ensure_eq!((stands.last_version, stands.last_position), (last.version, last.position), "where the last event stands");
        ensure_eq!((receipt.last_version(), receipt.last_position()), (last.version, last.position), "the receipt's last event");
    }
    Ok(())
}

async fn append_is_seen_by_every_later_read(stage: Stage) -> Verdict {
    let order = stream("Order-1");
    for round in 1..=10 {
        let proposed = event("now");
        let receipt = stage.record(&order, std::slice::from_ref(&proposed)).await?;
        ensure_eq!(ids(&stage.stream(&order).await?).last(), Some(&proposed.id), "the stream's last event");
        ensure_eq!(ids(&stage.log().await?).last(), Some(&proposed.id), "the log's last event");
        ensure_eq!(stage.store.head().await?, receipt.last_position(), "the head");
        let info = StreamInfo { stream: order.clone(), version: version(round), first_version: version(1) };
        ensure_eq!(stage.store.stream(&order).await?, Some(info), "what is known of the stream");
    }
    Ok(())
}

async fn append_expecting_any_version_is_taken(stage: Stage) -> Verdict {
    let order = stream("Order-1");
    for last in [2, 4] {
        let receipt = stage.append_to(&order, ExpectedVersion::Any, &events(2)).await?;
        ensure_eq!(receipt.last_version(), version(last), "the version after it");
    }
    Ok(())
}

async fn append_expecting_no_stream_is_taken_once(stage: Stage) -> Verdict {
    let order = stream("Order-1");
    stage.append_to(&order, ExpectedVersion::NoStream, &events(2)).await?;
    let before = stage.picture().await?;
    let refused = conflict(stage.append_to(&order, ExpectedVersion::NoStream, &events(1)).await)?;
    ensure_eq!(refused.actual, version(2), "the actual version in the conflict");
    stage.unchanged_since(&before).await
}

async fn append_expecting_a_stream_needs_one(stage: Stage) -> Verdict {
    let order = stream("Order-1");
    let before = stage.picture().await?;
    let refused = conflict(stage.append_to(&order, ExpectedVersion::StreamExists, &events(1)).await)?;
    ensure_eq!(refused.actual, version(0), "the actual version in the conflict");
    stage.unchanged_since(&before).await?;
    stage.record(&order, &events(1)).await?;
    let receipt = stage.append_to(&order, ExpectedVersion::StreamExists, &events(2)).await?;
    ensure_eq!(receipt.last_version(), version(3), "the version after it");
    Ok(())
}

async fn append_with_stale_version_changes_nothing(stage: Stage) -> Verdict {
    let order = stream("Order-1");
    stage.record(&order, &events(3)).await?;
    let before = stage.picture().await?;
    for stale in 0..3 {
        let refused = conflict(stage.append_to(&order, ExpectedVersion::exact(stale), &events(2)).await)?;
        ensure_eq!(refused.actual, version(3), "the actual version in the conflict");
        stage.unchanged_since(&before).await?;
    }
    Ok(())
}

async fn append_with_version_ahead_changes_nothing(stage: Stage) -> Verdict {
    for (id, actual) in [("Order-1", 0), ("Order-2", 3)] {
        if actual > 0 {
            stage.record(&stream(id), &events(actual)).await?;
        }
        let before = stage.picture().await?;
        for ahead in [actual + 1, actual + 2, u64::MAX - 1, u64::MAX] {
            let refused = conflict(stage.append_to(&stream(id), ExpectedVersion::exact(ahead), &events(1)).await)?;
            ensure_eq!(refused.actual, version(actual), "the actual version in the conflict");
        }
        stage.unchanged_since(&before).await?;
    }
    Ok(())
}

async fn exact_version_0_and_no_stream_mean_the_same(stage: Stage) -> Verdict {
    for (id, expected) in [("Order-1", ExpectedVersion::NoStream), ("Order-2", ExpectedVersion::exact(0))] {
        let receipt = stage.append_to(&stream(id), expected, &events(1)).await?;
        ensure_eq!(receipt.last_version(), version(1), "the version after it");
        for again in [ExpectedVersion::NoStream, ExpectedVersion::exact(0)] {
            conflict(stage.append_to(&stream(id), again, &events(1)).await)?;
        }
    }
    Ok(())
}

async fn conflict_says_what_was_expected_of_which_stream(stage: Stage) -> Verdict {
    let order = stream("Order-1");
    stage.record(&order, &events(2)).await?;
    for expected in [ExpectedVersion::NoStream, ExpectedVersion::exact(0), ExpectedVersion::exact(1), ExpectedVersion::exact(7)] {
        let refused = conflict(stage.append_to(&order, expected, &events(1)).await)?;
        let whole = Conflict { stream: order.clone(), expected, actual: version(2), reason: ConflictReason::Version };
        ensure_eq!(refused, whole, "the conflict");
    }
    Ok(())
}

async fn append_without_events_is_invalid(stage: Stage) -> Verdict {
    stage.record(&stream("Order-1"), &events(1)).await?;
    let before = stage.picture().await?;
    invalid(stage.append(Append::default()).await)?;
    invalid(stage.append_to(&stream("Order-1"), ExpectedVersion::Any, &[]).await)?;
    if stage.store.capabilities().multi_stream_append.is_yes() {
        let half_empty = Append::to(stream("Order-1"), events(1)).and_to(stream("Order-2"), ExpectedVersion::Any, []);
        invalid(stage.append(half_empty).await)?;
    }
    stage.unchanged_since(&before).await
}

async fn append_with_an_id_twice_in_a_stream_is_invalid(stage: Stage) -> Verdict {
    let before = stage.picture().await?;
    let (first, other) = (event("1"), event("2"));
    invalid(stage.record(&stream("Order-1"), &[first.clone(), event("3"), first.clone()]).await)?;
    invalid(stage.record(&stream("Order-1"), &[first.clone(), other.with_id(first.id)]).await)?;
    stage.unchanged_since(&before).await
}

async fn append_over_several_streams_records_in_each(stage: Stage) -> Verdict {
    let (debit, credit) = (stream("Account-1"), stream("Account-2"));
    stage.record(&credit, &events(2)).await?;
    let (first, second) = (events(2), events(3));
    let append = Append::to(debit.clone(), first.clone()).expecting(ExpectedVersion::NoStream);
    let receipt = stage.append(append.and_to(credit.clone(), ExpectedVersion::exact(2), second.clone())).await?;
    ensure_eq!(ids(&stage.stream(&debit).await?), new_ids(&first), "the first stream's events");
    ensure_eq!(ids(&stage.stream(&credit).await?[2..]), new_ids(&second), "the second stream's new events");
    let ends: Vec<_> = receipt.streams.iter().map(|part| (&part.stream, part.first_version, part.last_version)).collect();
    ensure_eq!(ends, [(&debit, version(1), version(2)), (&credit, version(3), version(5))], "the receipt");
    Ok(())
}

async fn positions_follow_the_order_of_the_append(stage: Stage) -> Verdict {
    for round in 0..3 {
        let parts = ["Order-2", "Order-3", "Order-1"].map(|id| StreamAppend {
            stream: stream(id),
            expected: ExpectedVersion::exact(round * 2),
            events: events(2),
        });
        let proposed: Vec<_> = parts.iter().flat_map(|part| new_ids(&part.events)).collect();
        let receipt = stage.append(Append { streams: parts.to_vec(), ..Append::default() }).await?;
        let log = stage.log().await?;
        let added = &log[log.len() - proposed.len()..];
        ensure_eq!(ids(added), proposed, "the new events in the log");
        ensure!(log.is_sorted_by(|one, next| one.position < next.position), "positions in the log do not increase");
        for (index, part) in receipt.streams.iter().enumerate() {
            let of_stream = &added[index * 2..index * 2 + 2];
            ensure_eq!(part.stream, parts[index].stream, "the receipt's stream number {index}");
            let positions = (of_stream[0].position, of_stream[1].position);
            ensure_eq!((part.first_position, part.last_position), positions, "the receipt's positions of stream number {index}");
        }
    }
    Ok(())
}

async fn stale_version_in_any_stream_changes_no_stream(stage: Stage) -> Verdict {
    let streams = ["Order-1", "Order-2", "Order-3"].map(stream);
    for order in &streams {
        stage.record(order, &events(2)).await?;
    }
    let before = stage.picture().await?;
    for stale in 0..streams.len() {
        let expected = |index| if index == stale { ExpectedVersion::exact(1) } else { ExpectedVersion::exact(2) };
        let part = |(index, order)| StreamAppend { stream: order, expected: expected(index), events: events(2) };
        let parts = streams.iter().cloned().enumerate().map(part).collect();
        let refused = conflict(stage.append(Append { streams: parts, ..Append::default() }).await)?;
        ensure_eq!((refused.stream, refused.actual), (streams[stale].clone(), version(2)), "the stream and version in the conflict");
        stage.unchanged_since(&before).await?;
    }
    Ok(())
}

async fn append_over_a_hundred_streams_is_one_append(stage: Stage) -> Verdict {
    let part = |number| StreamAppend {
        stream: stream(&format!("Order-{number}")),
        expected: ExpectedVersion::NoStream,
        events: vec![event("placed")],
    };
    let append = Append { streams: (0..100).map(part).collect(), ..Append::default() };
    let receipt = stage.append(append.clone()).await?;
    ensure_eq!(receipt.streams.len(), 100, "the entries of the receipt");
    let read: Vec<_> = stage.log().await?.into_iter().map(|event| event.stream).collect();
    let asked: Vec<_> = append.streams.iter().map(|part| part.stream.clone()).collect();
    ensure_eq!(read, asked, "the streams in the log");
    let before = stage.picture().await?;
    let append = Append { streams: (50..150).map(part).collect(), ..Append::default() };
    conflict(stage.append(append).await)?;
    stage.unchanged_since(&before).await
}

async fn refused_appends_leave_no_gap_in_positions(stage: Stage) -> Verdict {
    let order = stream("Order-1");
    let first = event("first");
    stage.record(&order, std::slice::from_ref(&first)).await?;
    for _ in 0..3 {
        conflict(stage.append_to(&order, ExpectedVersion::NoStream, &events(4)).await)?;
        ensure!(stage.record(&order, std::slice::from_ref(&first)).await?.duplicate, "a repeat was not called a duplicate");
        stage.record(&stream("Order-2"), &events(3)).await?;
    }
    let positions: Vec<_> = stage.log().await?.iter().map(|event| event.position.number()).collect();
    ensure_eq!(positions, (1..=10).collect::<Vec<u64>>(), "the positions in the log");
    Ok(())
}

async fn recorded_at_never_goes_back_in_a_stream(stage: Stage) -> Verdict {
    let order = stream("Order-1");
    for _ in 0..20 {
        stage.record(&order, &events(2)).await?;
    }
    let read = stage.stream(&order).await?;
    ensure!(read.is_sorted_by_key(|event| event.recorded_at), "recorded_at goes back in the stream");
    Ok(())
}

async fn recorded_at_never_goes_back_in_the_log(stage: Stage) -> Verdict {
    let writers = (0..4).map(|writer| {
        let store = stage.store.clone();
        async move {
            for _ in 0..20 {
                store.append(Append::to(stream(&format!("Order-{writer}")), events(2))).await?;
            }
            Ok(())
        }
    });
    stage.all(writers).await?;
    ensure!(stage.log().await?.is_sorted_by_key(|event| event.recorded_at), "recorded_at goes back in the log");
    Ok(())
}

async fn capabilities_are_constant(stage: Stage) -> Verdict {
    let before = stage.store.capabilities();
    stage.record(&stream("Order-1"), &events(10)).await?;
    ensure_eq!(stage.store.capabilities(), before, "the capabilities after an append");
    Ok(())
}

async fn what_is_not_supported_is_refused(stage: Stage) -> Verdict {
    use super::refusal::unsupported;
    use crate::{Condition, GlobalPosition, Query};

    let capabilities = stage.store.capabilities();
    stage.record(&stream("Order-1"), &events(2)).await?;
    let before = stage.picture().await?;
    if !capabilities.multi_stream_append.is_yes() {
        let append = Append::to(stream("Order-1"), events(1)).and_to(stream("Order-2"), ExpectedVersion::Any, events(1));
        unsupported(stage.append(append).await)?;
    }
    if !capabilities.records_in_append.is_yes() {
        let write = crate::RecordWrite::set(super::sample::record_name("a"), "never");
        unsupported(stage.append(Append::to(stream("Order-1"), events(1)).and_record(write)).await)?;
    }
    if !capabilities.conditions.is_yes() {
        for none_of in [Query::all(), Query::tags([super::sample::tag("nobody")])] {
            let condition = Condition { none_of, after: GlobalPosition::START };
            unsupported(stage.append(Append::to(stream("Order-3"), events(1)).on_condition(condition)).await)?;
        }
    }
    if !capabilities.truncate.is_yes() {
        unsupported(stage.store.truncate_before(&stream("Order-1"), version(2)).await)?;
    }
    stage.unchanged_since(&before).await
}
