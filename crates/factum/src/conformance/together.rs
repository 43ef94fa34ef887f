//! Appends of more than one kind: records written with events, and several parts of one stream.

use super::check::{Check, Verdict, check, ensure, ensure_eq};
use super::refusal::{condition_failed, conflict, id_reused, invalid, record_conflict};
use super::sample::{event, events, new_ids, record_name, stream, version};
use super::stage::Stage;
use crate::{Append, Condition, ExpectedVersion, GlobalPosition, NewEvent, Query, Receipt, Record, RecordVersion, RecordWrite, StreamId};

pub(super) const CHECKS: &[Check] = &[
    check!(append_writes_its_records, "The receipt has their versions, and they are there with the events.", RecordsInAppend),
    check!(refused_append_writes_no_record, "A conflict, a failed condition or a reused id leaves records alone.", RecordsInAppend),
    check!(record_conflict_refuses_the_append, "A record at another version refuses events and records alike.", RecordsInAppend),
    check!(duplicate_writes_no_record, "A repeated append is a duplicate and leaves records as they are.", RecordsInAppend),
    check!(append_of_records_alone_is_atomic, "All of its records are written, or none.", RecordsInAppend),
    check!(append_of_one_record_twice_is_refused, "Which value would count?", RecordsInAppend),
    check!(
        parts_of_one_stream_follow_each_other,
        "A stream may come again among others; the log keeps the append's order.",
        MultiStreamAppend
    ),
    check!(later_part_expects_what_the_earlier_left, "An expectation holds for the stream as the parts before it leave it."),
    check!(later_part_that_expects_another_version_changes_nothing, "Not even the parts before it are recorded."),
    check!(append_in_parts_is_recognised, "The same parts again are a duplicate with the first receipt; some of them are a conflict."),
    check!(id_twice_over_parts_of_a_stream_is_refused, "An id is unique in a stream, in however many parts it comes."),
];

fn set(name: &str, value: &str) -> RecordWrite {
    RecordWrite::set(record_name(name), value.to_owned())
}

fn part(append: Append, stream: &StreamId, expected: ExpectedVersion, event: &NewEvent) -> Append {
    append.and_to(stream.clone(), expected, [event.clone()])
}

async fn record(stage: &Stage, name: &str) -> Verdict<Option<Record>> {
    Ok(stage.store.record(&record_name(name)).await?)
}

fn written(version: u64, value: &'static str) -> Option<Record> {
    Some(Record { version: RecordVersion::new(version), value: value.into() })
}

async fn append_writes_its_records(stage: Stage) -> Verdict {
    let order = stream("Order-1");
    stage.store.write_record(set("b", "before")).await?;
    let writes = [set("a", "made"), set("b", "set").expecting(RecordVersion::new(1)), RecordWrite::remove(record_name("never"))];
    let append = writes.into_iter().fold(Append::to(order.clone(), events(2)), Append::and_record);
    let receipt = stage.append(append).await?;
    ensure_eq!(receipt.records, [1, 2, 0].map(RecordVersion::new), "the records' versions in the receipt");
    ensure_eq!(record(&stage, "a").await?, written(1, "made"), "a record that the append made");
    ensure_eq!(record(&stage, "b").await?, written(2, "set"), "a record that the append changed");
    let removing = Append::to(order.clone(), events(1)).and_record(RecordWrite::remove(record_name("a")));
    ensure_eq!(stage.append(removing).await?.records, [RecordVersion::new(2)], "the version in the receipt of a removal");
    ensure_eq!(record(&stage, "a").await?, None, "a record that the append removed");
    ensure_eq!(stage.stream(&order).await?.len(), 3, "the events of the stream");
    Ok(())
}

async fn refused_append_writes_no_record(stage: Stage) -> Verdict {
    let (order, known) = (stream("Order-1"), event("known"));
    stage.record(&order, std::slice::from_ref(&known)).await?;
    let before = stage.picture().await?;
    let stale = Append::to(order.clone(), events(1)).expecting(ExpectedVersion::NoStream).and_record(set("a", "never"));
    conflict(stage.append(stale).await)?;
    let reused = NewEvent { data: "other".into(), ..known };
    id_reused(stage.append(Append::to(order.clone(), [reused]).and_record(set("a", "never"))).await)?;
    if stage.store.capabilities().conditions.is_yes() {
        let condition = Condition { none_of: Query::all(), after: GlobalPosition::START };
        let append = Append::to(order, events(1)).and_record(set("a", "never")).on_condition(condition);
        condition_failed(stage.append(append).await)?;
    }
    ensure_eq!(record(&stage, "a").await?, None, "the record of refused appends");
    stage.unchanged_since(&before).await
}

async fn record_conflict_refuses_the_append(stage: Stage) -> Verdict {
    let order = stream("Order-1");
    stage.record(&order, &events(1)).await?;
    stage.store.write_record(set("b", "kept")).await?;
    let before = stage.picture().await?;
    for stale in [0, 2].map(RecordVersion::new) {
        let append = Append::to(order.clone(), events(2)).and_record(set("a", "never")).and_record(set("b", "stale").expecting(stale));
        let refused = record_conflict(stage.append(append).await)?;
        ensure_eq!(refused, (stale, RecordVersion::new(1)), "the expected and the actual version in the conflict");
        ensure_eq!(record(&stage, "a").await?, None, "the record written before the one in conflict");
        ensure_eq!(record(&stage, "b").await?, written(1, "kept"), "the record in conflict");
        stage.unchanged_since(&before).await?;
    }
    Ok(())
}

async fn duplicate_writes_no_record(stage: Stage) -> Verdict {
    let order = stream("Order-1");
    let append = Append::to(order, events(2)).expecting(ExpectedVersion::NoStream);
    let append = append.and_record(set("a", "first").expecting(RecordVersion::NONE));
    let first = stage.append(append.clone()).await?;
    stage.store.write_record(set("a", "second")).await?;
    let again = stage.append(append).await?;
    ensure_eq!(again, Receipt { duplicate: true, records: Vec::new(), ..first }, "the receipt of the repeat");
    ensure_eq!(record(&stage, "a").await?, written(2, "second"), "the record after the repeat");
    Ok(())
}

async fn append_of_records_alone_is_atomic(stage: Stage) -> Verdict {
    let two = |first: RecordWrite, second: RecordWrite| Append::default().and_record(first).and_record(second);
    let before = stage.picture().await?;
    let receipt = stage.append(two(set("a", "1"), set("b", "1"))).await?;
    ensure_eq!((receipt.streams.len(), receipt.duplicate), (0, false), "the streams of the receipt, and whether it is a duplicate");
    ensure_eq!(receipt.records, [1, 1].map(RecordVersion::new), "the versions in the receipt");
    record_conflict(stage.append(two(set("a", "2"), set("b", "2").expecting(RecordVersion::NONE))).await)?;
    record_conflict(stage.append(two(set("b", "2").expecting(RecordVersion::new(3)), set("a", "2"))).await)?;
    ensure_eq!((record(&stage, "a").await?, record(&stage, "b").await?), (written(1, "1"), written(1, "1")), "the records");
    let again = stage.append(two(set("a", "2"), set("b", "2").expecting(RecordVersion::new(1)))).await?;
    ensure_eq!(again.records, [2, 2].map(RecordVersion::new), "the versions in the second receipt");
    stage.unchanged_since(&before).await
}

async fn append_of_one_record_twice_is_refused(stage: Stage) -> Verdict {
    let append = Append::to(stream("Order-1"), events(1)).and_record(set("a", "1")).and_record(set("a", "2"));
    let before = stage.picture().await?;
    invalid(stage.append(append).await)?;
    ensure_eq!(record(&stage, "a").await?, None, "the record");
    stage.unchanged_since(&before).await
}

async fn parts_of_one_stream_follow_each_other(stage: Stage) -> Verdict {
    let orders = ["Order-1", "Order-2"].map(stream);
    let all = events(6);
    let append = all
        .iter()
        .zip(orders.iter().cycle())
        .fold(Append::default(), |append, (event, order)| part(append, order, ExpectedVersion::Any, event));
    let receipt = stage.append(append).await?;
    let places: Vec<_> =
        receipt.streams.iter().map(|part| (part.stream.clone(), part.first_version.get(), part.last_version.get())).collect();
    let expected: Vec<_> = [1, 1, 2, 2, 3, 3].into_iter().zip(orders.iter().cycle()).map(|(at, order)| (order.clone(), at, at)).collect();
    ensure_eq!(places, expected, "the streams and versions in the receipt");
    let log = stage.log().await?;
    ensure_eq!(super::sample::ids(&log), new_ids(&all), "the ids in the log");
    let positions: Vec<_> = receipt.streams.iter().map(|part| part.first_position).collect();
    ensure_eq!(log.iter().map(|event| event.position).collect::<Vec<_>>(), positions, "the positions in the log");
    ensure_eq!(super::sample::versions(&stage.stream(&orders[1]).await?), [1, 2, 3], "the versions of the second stream");
    Ok(())
}

async fn later_part_expects_what_the_earlier_left(stage: Stage) -> Verdict {
    let order = stream("Order-1");
    let expectations = [ExpectedVersion::NoStream, ExpectedVersion::exact(1), ExpectedVersion::StreamExists, ExpectedVersion::exact(3)];
    let append =
        expectations.into_iter().zip(events(4)).fold(Append::default(), |append, (expected, event)| part(append, &order, expected, &event));
    let receipt = stage.append(append).await?;
    let versions: Vec<_> = receipt.streams.iter().map(|part| part.last_version.get()).collect();
    ensure_eq!(versions, [1, 2, 3, 4], "the versions in the receipt");
    ensure_eq!(stage.stream(&order).await?.len(), 4, "the events of the stream");
    Ok(())
}

async fn later_part_that_expects_another_version_changes_nothing(stage: Stage) -> Verdict {
    let order = stream("Order-1");
    stage.record(&order, &events(1)).await?;
    let before = stage.picture().await?;
    for wrong in [ExpectedVersion::NoStream, ExpectedVersion::exact(1), ExpectedVersion::exact(3)] {
        let append = part(Append::default(), &order, ExpectedVersion::exact(1), &event("first"));
        let refused = conflict(stage.append(part(append, &order, wrong, &event("second"))).await)?;
        ensure_eq!((refused.expected, refused.actual), (wrong, version(2)), "the expectation and the version in the conflict");
        stage.unchanged_since(&before).await?;
    }
    Ok(())
}

async fn append_in_parts_is_recognised(stage: Stage) -> Verdict {
    let order = stream("Order-1");
    let all = events(4);
    let in_parts = |numbers: &[usize]| {
        let events = numbers.iter().map(|number| &all[*number]);
        events.fold(Append::default(), |append, event| part(append, &order, ExpectedVersion::Any, event))
    };
    let first = stage.append(in_parts(&[0, 1, 2])).await?;
    let before = stage.picture().await?;
    let again = stage.append(in_parts(&[0, 1, 2])).await?;
    ensure_eq!(again, Receipt { duplicate: true, ..first }, "the receipt of the repeat");
    for other in [&[1, 0][..], &[0, 2], &[2, 3], &[3, 2], &[0, 1, 2, 3]] {
        conflict(stage.append(in_parts(other)).await)?;
        stage.unchanged_since(&before).await?;
    }
    ensure!(stage.append(in_parts(&[1, 2])).await?.duplicate, "two of the parts, in their order, are not called a duplicate");
    stage.unchanged_since(&before).await
}

async fn id_twice_over_parts_of_a_stream_is_refused(stage: Stage) -> Verdict {
    let (order, one) = (stream("Order-1"), event("one"));
    let before = stage.picture().await?;
    let append = part(Append::default(), &order, ExpectedVersion::Any, &one);
    invalid(stage.append(part(append, &order, ExpectedVersion::Any, &one)).await)?;
    stage.unchanged_since(&before).await
}
