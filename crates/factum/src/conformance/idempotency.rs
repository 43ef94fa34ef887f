//! Idempotency: the same append again is recorded once, and an id stands for one content.

use super::check::{Check, Verdict, check, ensure, ensure_eq};
use super::refusal::{Reused, conflict, id_reused};
use super::sample::{event, event_type, events, stream, tag, tagged, version, versions};
use super::stage::Stage;
use crate::{Append, Condition, ConflictReason, ExpectedVersion, GlobalPosition, NewEvent, Query, Receipt, Timestamp};

pub(super) const CHECKS: &[Check] = &[
    check!(repeat_gives_the_first_receipt, "The same append again gives the first receipt, marked as a duplicate, whatever it expected."),
    check!(repeat_after_the_stream_moved_on_gives_the_first_receipt, "So does a repeat that comes after other events of the stream."),
    check!(any_with_ids_of_several_appends_in_order_is_a_duplicate, "Ids that stand in order count, whichever appends brought them."),
    check!(repeat_of_an_old_append_gives_the_first_receipt, "However much came since, a repeat is recognised.", EndlessIdempotency),
    check!(repeat_sent_at_the_same_time_is_recorded_once, "Of several that send the same append at once, one records it."),
    check!(content_is_type_data_and_metadata, "Other tags or another occurred_at do not make a repeat another event."),
    check!(id_with_other_content_is_refused, "An id that stands in the stream with other content is IdReused; nothing changes."),
    check!(id_reused_comes_before_a_stale_version, "A reused id is reported as such even where the version is stale too."),
    check!(ids_partly_there_are_a_conflict, "Some of the ids there, but not all, is a conflict; nothing changes."),
    check!(ids_there_elsewhere_are_a_conflict, "All of the ids there, but not where this append would put them, is a conflict."),
    check!(ids_there_in_another_order_are_a_conflict, "All of the ids there, but in another order, is a conflict."),
    check!(ids_are_per_stream, "The same id in another stream is another event."),
    check!(ids_are_per_stream_in_one_append, "The same id in two streams of one append is two events.", MultiStreamAppend),
    check!(refused_append_can_be_sent_again, "The ids of a refused append are not remembered; corrected, it is recorded."),
    check!(repeat_over_several_streams_gives_the_first_receipt, "So does one over several streams.", MultiStreamAppend),
    check!(repeat_of_some_streams_is_a_conflict, "Some streams' events there and others' not is a conflict.", MultiStreamAppend),
    check!(repeat_comes_before_its_condition, "A repeat is a duplicate though its first success breaks its condition.", Conditions),
    check!(ids_of_truncated_events_are_forgotten, "An id whose event was truncated is new again.", Truncate),
];

const EXPECTATIONS: [ExpectedVersion; 4] =
    [ExpectedVersion::Any, ExpectedVersion::StreamExists, ExpectedVersion::exact(2), ExpectedVersion::NoStream];

fn is_repeat_of(again: Receipt, first: &Receipt) -> Verdict {
    ensure_eq!(again, Receipt { duplicate: true, ..first.clone() }, "the receipt of the repeat");
    Ok(())
}

/// Appends two events as `expected` asks, to a stream that was made so that it is as expected.
async fn first_append(stage: &Stage, number: usize, expected: ExpectedVersion) -> Verdict<(Append, Receipt)> {
    let order = stream(&format!("Order-{number}"));
    if expected != ExpectedVersion::NoStream {
        stage.record(&order, &events(2)).await?;
    }
    let append = Append::to(order, events(2)).expecting(expected);
    let receipt = stage.append(append.clone()).await?;
    ensure!(!receipt.duplicate, "a first append was called a duplicate");
    Ok((append, receipt))
}

async fn repeat_gives_the_first_receipt(stage: Stage) -> Verdict {
    for (number, expected) in EXPECTATIONS.into_iter().enumerate() {
        let (append, first) = first_append(&stage, number, expected).await?;
        let before = stage.picture().await?;
        for _ in 0..2 {
            is_repeat_of(stage.append(append.clone()).await?, &first)?;
        }
        stage.unchanged_since(&before).await?;
    }
    Ok(())
}

async fn repeat_after_the_stream_moved_on_gives_the_first_receipt(stage: Stage) -> Verdict {
    for (number, expected) in EXPECTATIONS.into_iter().enumerate() {
        let (append, first) = first_append(&stage, number, expected).await?;
        stage.record(&append.streams[0].stream, &events(3)).await?;
        let before = stage.picture().await?;
        is_repeat_of(stage.append(append).await?, &first)?;
        stage.unchanged_since(&before).await?;
    }
    Ok(())
}

async fn any_with_ids_of_several_appends_in_order_is_a_duplicate(stage: Stage) -> Verdict {
    let order = stream("Order-1");
    let proposed = events(6);
    let first = stage.record(&order, &proposed[..2]).await?;
    stage.record(&order, &proposed[2..3]).await?;
    let last = stage.record(&order, &proposed[3..]).await?;
    let before = stage.picture().await?;
    let receipt = stage.record(&order, &proposed).await?;
    ensure!(receipt.duplicate, "all of it was there, and it was not called a duplicate");
    let (from, to) = (first.streams[0].first_position, last.streams[0].last_position);
    ensure_eq!((receipt.streams[0].first_position, receipt.streams[0].last_position), (from, to), "the positions in the receipt");
    let receipt = stage.append_to(&order, ExpectedVersion::StreamExists, &proposed[1..4]).await?;
    ensure!(receipt.duplicate, "all of a part was there, and it was not called a duplicate");
    let standing = (receipt.streams[0].first_version, receipt.streams[0].last_version);
    ensure_eq!(standing, (version(2), version(4)), "the versions in the receipt");
    stage.unchanged_since(&before).await
}

async fn repeat_of_an_old_append_gives_the_first_receipt(stage: Stage) -> Verdict {
    let mut firsts = Vec::new();
    for (number, expected) in EXPECTATIONS.into_iter().enumerate() {
        firsts.push(first_append(&stage, number, expected).await?);
    }
    for _ in 0..4 {
        stage.record(&stream("Order-0"), &events(500)).await?;
        stage.record(&stream("Customer-1"), &events(1_000)).await?;
    }
    for (append, first) in firsts {
        is_repeat_of(stage.append(append).await?, &first)?;
    }
    Ok(())
}

async fn repeat_sent_at_the_same_time_is_recorded_once(stage: Stage) -> Verdict {
    for (round, expected) in [ExpectedVersion::Any, ExpectedVersion::NoStream].into_iter().cycle().take(10).enumerate() {
        let append = Append::to(stream(&format!("Order-{round}")), events(3)).expecting(expected);
        let senders = (0..6).map(|_| {
            let (store, append) = (stage.store.clone(), append.clone());
            async move { Ok(store.append(append).await?) }
        });
        let receipts = stage.all(senders).await?;
        ensure_eq!(receipts.iter().filter(|receipt| !receipt.duplicate).count(), 1, "receipts not marked as duplicates");
        ensure!(receipts.iter().all(|receipt| receipt.streams == receipts[0].streams), "the receipts say different things");
        let read = stage.stream(&append.streams[0].stream).await?;
        ensure_eq!(versions(&read), [1, 2, 3], "the stream's versions");
    }
    Ok(())
}

async fn content_is_type_data_and_metadata(stage: Stage) -> Verdict {
    let order = stream("Order-1");
    let proposed = tagged("Noted", "1", ["a", "b"]).with_occurred_at(Timestamp::UNIX_EPOCH);
    let first = stage.record(&order, std::slice::from_ref(&proposed)).await?;
    let before = stage.picture().await?;
    let bare = NewEvent { tags: Vec::new(), occurred_at: None, ..proposed.clone() };
    let other = NewEvent { tags: vec![tag("c")], occurred_at: Some(Timestamp::now()), ..proposed };
    for again in [bare, other] {
        is_repeat_of(stage.record(&order, &[again]).await?, &first)?;
    }
    stage.unchanged_since(&before).await
}

/// The event with other content of each kind.
fn changed(event: &NewEvent) -> [NewEvent; 3] {
    [
        NewEvent { event_type: event_type("Other"), ..event.clone() },
        NewEvent { data: "other".into(), ..event.clone() },
        NewEvent { metadata: "other".into(), ..event.clone() },
    ]
}

async fn id_with_other_content_is_refused(stage: Stage) -> Verdict {
    let order = stream("Order-1");
    let first = events(3);
    stage.record(&order, &first).await?;
    let before = stage.picture().await?;
    for other in changed(&first[1]) {
        for expected in [ExpectedVersion::Any, ExpectedVersion::StreamExists, ExpectedVersion::exact(3)] {
            let refused = id_reused(stage.append_to(&order, expected, std::slice::from_ref(&other)).await)?;
            let facts = Reused { stream: order.clone(), id: other.id, recorded: version(2), proposed: version(4) };
            ensure_eq!(refused, facts, "the facts of the refusal");
            // Beside an event that is new, and beside one that is there as it was.
            let refused = id_reused(stage.append_to(&order, expected, &[event("new"), other.clone()]).await)?;
            ensure_eq!((refused.id, refused.proposed), (other.id, version(5)), "the id and version of the second event");
            id_reused(stage.append_to(&order, expected, &[first[0].clone(), other.clone()]).await)?;
        }
        stage.unchanged_since(&before).await?;
    }
    Ok(())
}

async fn id_reused_comes_before_a_stale_version(stage: Stage) -> Verdict {
    let order = stream("Order-1");
    let first = events(3);
    stage.record(&order, &first).await?;
    let before = stage.picture().await?;
    for other in changed(&first[0]) {
        for expected in [ExpectedVersion::NoStream, ExpectedVersion::exact(0), ExpectedVersion::exact(2), ExpectedVersion::exact(9)] {
            let refused = id_reused(stage.append_to(&order, expected, std::slice::from_ref(&other)).await)?;
            ensure_eq!((refused.id, refused.recorded), (other.id, version(1)), "the id and the version it stands at");
        }
    }
    stage.unchanged_since(&before).await
}

async fn ids_partly_there_are_a_conflict(stage: Stage) -> Verdict {
    let order = stream("Order-1");
    let first = events(3);
    stage.record(&order, &first).await?;
    let before = stage.picture().await?;
    for expected in [ExpectedVersion::Any, ExpectedVersion::StreamExists, ExpectedVersion::exact(3), ExpectedVersion::NoStream] {
        let longer = [first.clone(), vec![event("new")]].concat();
        for events in [longer, vec![first[2].clone(), event("new")], vec![event("new"), first[0].clone()]] {
            let refused = conflict(stage.append_to(&order, expected, &events).await)?;
            ensure_eq!((refused.stream, refused.actual), (order.clone(), version(3)), "the stream and version in the conflict");
            ensure!(matches!(refused.reason, ConflictReason::PartlyRecorded { .. }), "the reason is {:?}", refused.reason);
        }
    }
    stage.unchanged_since(&before).await
}

async fn ids_there_elsewhere_are_a_conflict(stage: Stage) -> Verdict {
    let order = stream("Order-1");
    let first = events(4);
    stage.record(&order, &first).await?;
    let before = stage.picture().await?;
    for (expected, events) in [
        (ExpectedVersion::exact(4), &first[..]),
        (ExpectedVersion::exact(1), &first[..2]),
        (ExpectedVersion::NoStream, &first[1..3]),
        (ExpectedVersion::exact(u64::MAX), &first[..2]),
    ] {
        let refused = conflict(stage.append_to(&order, expected, events).await)?;
        ensure!(matches!(refused.reason, ConflictReason::RecordedElsewhere { .. }), "the reason is {:?}", refused.reason);
        ensure_eq!(refused.actual, version(4), "the actual version in the conflict");
    }
    stage.unchanged_since(&before).await
}

async fn ids_there_in_another_order_are_a_conflict(stage: Stage) -> Verdict {
    let order = stream("Order-1");
    stage.record(&order, &events(1)).await?;
    let first = events(3);
    stage.record(&order, &first).await?;
    let before = stage.picture().await?;
    for expected in [ExpectedVersion::Any, ExpectedVersion::StreamExists, ExpectedVersion::exact(1)] {
        let swapped = [first[1].clone(), first[0].clone(), first[2].clone()];
        conflict(stage.append_to(&order, expected, &swapped).await)?;
    }
    // In order, but with another event between.
    conflict(stage.record(&order, &[first[0].clone(), first[2].clone()]).await)?;
    stage.unchanged_since(&before).await
}

async fn ids_are_per_stream(stage: Stage) -> Verdict {
    let proposed = events(2);
    for number in 1..=3 {
        let receipt = stage.record(&stream(&format!("Order-{number}")), &proposed).await?;
        ensure!(!receipt.duplicate, "an append to another stream was called a duplicate");
    }
    let other = proposed[0].clone().with_metadata("other content, in another stream");
    stage.append_to(&stream("Order-4"), ExpectedVersion::NoStream, &[other]).await?;
    ensure_eq!(stage.log().await?.len(), 7, "the number of events");
    Ok(())
}

async fn ids_are_per_stream_in_one_append(stage: Stage) -> Verdict {
    let proposed = events(2);
    let append = Append::to(stream("Order-1"), proposed.clone()).and_to(stream("Order-2"), ExpectedVersion::Any, proposed);
    let first = stage.append(append.clone()).await?;
    ensure_eq!(stage.log().await?.len(), 4, "the number of events");
    is_repeat_of(stage.append(append).await?, &first)
}

async fn refused_append_can_be_sent_again(stage: Stage) -> Verdict {
    let order = stream("Order-1");
    stage.record(&order, &events(2)).await?;
    let proposed = events(2);
    conflict(stage.append_to(&order, ExpectedVersion::exact(1), &proposed).await)?;
    let receipt = stage.append_to(&order, ExpectedVersion::exact(2), &proposed).await?;
    ensure!(!receipt.duplicate, "the corrected append was called a duplicate of the refused one");
    ensure_eq!(versions(&stage.stream(&order).await?), [1, 2, 3, 4], "the stream's versions");
    Ok(())
}

async fn repeat_over_several_streams_gives_the_first_receipt(stage: Stage) -> Verdict {
    let (debit, credit) = (stream("Account-1"), stream("Account-2"));
    for expected in [ExpectedVersion::NoStream, ExpectedVersion::Any, ExpectedVersion::exact(6)] {
        let append = Append::to(debit.clone(), events(2)).expecting(expected).and_to(credit.clone(), expected, events(2));
        let first = stage.append(append.clone()).await?;
        for id in [&debit, &credit] {
            stage.record(id, &events(1)).await?;
        }
        let before = stage.picture().await?;
        is_repeat_of(stage.append(append).await?, &first)?;
        stage.unchanged_since(&before).await?;
    }
    Ok(())
}

async fn repeat_of_some_streams_is_a_conflict(stage: Stage) -> Verdict {
    let (debit, credit) = (stream("Account-1"), stream("Account-2"));
    let there = events(2);
    stage.record(&debit, &there).await?;
    let before = stage.picture().await?;
    let any = ExpectedVersion::Any;
    conflict(stage.append(Append::to(debit.clone(), there.clone()).and_to(credit.clone(), any, events(1))).await)?;
    conflict(stage.append(Append::to(credit.clone(), events(1)).and_to(debit.clone(), any, there.clone())).await)?;
    let none = ExpectedVersion::NoStream;
    conflict(stage.append(Append::to(debit.clone(), there).expecting(none).and_to(credit, none, events(1))).await)?;
    stage.unchanged_since(&before).await
}

async fn repeat_comes_before_its_condition(stage: Stage) -> Verdict {
    let proposed = tagged("Enrolled", "1", ["course:42"]);
    let condition = Condition { none_of: Query::tags([tag("course:42")]), after: GlobalPosition::START };
    let append = Append::to(stream("Student-1"), [proposed]).on_condition(condition);
    let first = stage.append(append.clone()).await?;
    let before = stage.picture().await?;
    is_repeat_of(stage.append(append).await?, &first)?;
    stage.unchanged_since(&before).await
}

async fn ids_of_truncated_events_are_forgotten(stage: Stage) -> Verdict {
    let order = stream("Order-1");
    let first = events(4);
    stage.record(&order, &first).await?;
    stage.store.truncate_before(&order, version(3)).await?;
    conflict(stage.record(&order, &first[1..3]).await)?;
    let receipt = stage.record(&order, &first[..2]).await?;
    ensure!(!receipt.duplicate, "an append of truncated ids was called a duplicate");
    ensure_eq!(versions(&stage.stream(&order).await?), [3, 4, 5, 6], "the stream's versions");
    // What was recorded anew is known again, and what was not truncated has been known all the time.
    ensure!(stage.record(&order, &first[..2]).await?.duplicate, "the repeat after that was not called a duplicate");
    ensure!(stage.record(&order, &first[2..]).await?.duplicate, "a repeat of what remained was not called a duplicate");
    Ok(())
}
