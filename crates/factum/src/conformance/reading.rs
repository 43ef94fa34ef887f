//! Reading: one stream and the whole log, both ways, from, to, and so many.

use futures::{StreamExt, TryStreamExt};

use super::check::{Check, Verdict, check, ensure, ensure_eq};
use super::sample::{events, ids, new_ids, stream, version, versions};
use super::stage::Stage;
use crate::{Direction, EventStoreExt, GlobalPosition, ReadLog, ReadStream, RecordedEvent};

pub(super) const CHECKS: &[Check] = &[
    check!(empty_store_has_nothing_to_read, "An empty store gives no events, no streams, and the head is START."),
    check!(stream_that_does_not_exist_gives_no_events, "Reading a stream that does not exist is no error; it has no events."),
    check!(stream_holds_only_its_own_events, "Streams whose ids resemble each other are not mixed."),
    check!(stream_reads_agree_with_a_scan, "From, to, limit and direction of a stream read give what a scan does, at every edge."),
    check!(log_reads_agree_with_a_scan, "After, up to, limit and direction of a log read give what a scan does, at every edge."),
    check!(long_stream_is_read_whole_and_in_pages, "A few thousand events come whole in one read, and the same in pages, both ways."),
    check!(log_is_read_in_pages, "Pages after the last position seen give the whole log, both ways."),
    check!(forward_read_of_the_log_comes_to_an_end, "A read of the log ends; it does not wait for more."),
    check!(slow_reader_goes_on_while_others_write, "A read that is taken up again after more was recorded is in order and whole."),
    check!(read_that_is_dropped_disturbs_nobody, "Reads that are given up halfway leave the store as it was."),
    check!(last_event_is_read_backwards, "One event backwards from the end is the last one."),
];

fn edges(length: u64) -> Vec<Option<u64>> {
    let mut edges: Vec<_> = (0..=length + 2).map(Some).collect();
    edges.extend([None, Some(u64::MAX - 1), Some(u64::MAX)]);
    edges
}

const LIMITS: [Option<u64>; 6] = [None, Some(0), Some(1), Some(3), Some(100), Some(u64::MAX)];

/// What a read must give of the events that are in its range.
fn picked<'a>(
    in_range: impl DoubleEndedIterator<Item = &'a RecordedEvent>,
    direction: Direction,
    limit: Option<u64>,
) -> Vec<RecordedEvent> {
    let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    match direction {
        Direction::Forward => in_range.take(limit).cloned().collect(),
        Direction::Backward => in_range.rev().take(limit).cloned().collect(),
    }
}

async fn empty_store_has_nothing_to_read(stage: Stage) -> Verdict {
    let picture = stage.picture().await?;
    ensure!(picture.log.is_empty() && picture.streams.is_empty(), "an empty store holds {picture:?}");
    ensure_eq!(picture.head, GlobalPosition::START, "the head");
    let backward = ReadLog { direction: Direction::Backward, ..ReadLog::default() };
    ensure_eq!(stage.log_with(backward).await?, [], "the log backwards");
    Ok(())
}

async fn stream_that_does_not_exist_gives_no_events(stage: Stage) -> Verdict {
    stage.record(&stream("Order-1"), &events(2)).await?;
    for id in ["Order", "Order-", "Order-2", "Order-11", "order-1"] {
        for direction in [Direction::Forward, Direction::Backward] {
            let read = ReadStream { direction, ..ReadStream::default() };
            ensure_eq!(stage.stream_with(&stream(id), read).await?, [], "the events of {id}");
        }
        ensure_eq!(stage.store.stream(&stream(id)).await?, None, "what is known of {id}");
    }
    Ok(())
}

async fn stream_holds_only_its_own_events(stage: Stage) -> Verdict {
    let alike = ["Order-1", "Order-10", "Order-11", "Order-", "Order", "order-1", "Order-1 ", "Order-1-1", "Order_1"];
    let mut given = vec![Vec::new(); alike.len()];
    for count in 1..=2 {
        for (id, given) in alike.iter().zip(&mut given) {
            let proposed = events(count);
            given.extend(new_ids(&proposed));
            stage.record(&stream(id), &proposed).await?;
        }
    }
    for (id, given) in alike.iter().zip(given) {
        ensure_eq!(ids(&stage.stream(&stream(id)).await?), given, "the events of {id}");
    }
    Ok(())
}

async fn stream_reads_agree_with_a_scan(stage: Stage) -> Verdict {
    let order = stream("Order-1");
    for count in [2, 3] {
        stage.record(&stream("Order-2"), &events(1)).await?;
        stage.record(&order, &events(count)).await?;
    }
    let all: Vec<_> = stage.log().await?.into_iter().filter(|event| event.stream == order).collect();
    for from in edges(5) {
        for to in edges(5) {
            for direction in [Direction::Forward, Direction::Backward] {
                for limit in LIMITS {
                    let in_range = all.iter().filter(|event| {
                        from.is_none_or(|from| event.version.get() >= from) && to.is_none_or(|to| event.version.get() <= to)
                    });
                    let read = ReadStream { from: from.map(version), to: to.map(version), direction, limit };
                    let found = stage.stream_with(&order, read).await?;
                    ensure_eq!(versions(&found), versions(&picked(in_range, direction, limit)), "{read:?}");
                }
            }
        }
    }
    Ok(())
}

async fn log_reads_agree_with_a_scan(stage: Stage) -> Verdict {
    for number in 0..3 {
        stage.record(&stream(&format!("Order-{number}")), &events(2)).await?;
    }
    let all = stage.log().await?;
    let mut positions = vec![GlobalPosition::START, GlobalPosition::from_number(u64::MAX)];
    positions.extend(all.iter().map(|event| event.position));
    for after in &positions {
        for up_to in positions.iter().copied().map(Some).chain([None]) {
            for direction in [Direction::Forward, Direction::Backward] {
                for limit in LIMITS {
                    let in_range = all.iter().filter(|event| event.position > *after && up_to.is_none_or(|up_to| event.position <= up_to));
                    let expected = picked(in_range, direction, limit);
                    let read = ReadLog { after: *after, up_to, direction, limit, ..ReadLog::default() };
                    let found = stage.log_with(read.clone()).await?;
                    ensure_eq!(ids(&found), ids(&expected), "{read:?}");
                }
            }
        }
    }
    Ok(())
}

async fn long_stream_is_read_whole_and_in_pages(stage: Stage) -> Verdict {
    const LENGTH: u64 = 3_000;
    let order = stream("Order-1");
    for _ in 0..LENGTH / 250 {
        stage.record(&order, &events(250)).await?;
        stage.record(&stream("Order-2"), &events(3)).await?;
    }
    let whole = stage.stream(&order).await?;
    ensure_eq!(versions(&whole), (1..=LENGTH).collect::<Vec<_>>(), "the stream's versions");
    let mut pages = Vec::new();
    while pages.len() < whole.len() {
        let from = Some(version(pages.len() as u64 + 1));
        let page = stage.stream_with(&order, ReadStream { from, limit: Some(700), ..ReadStream::default() }).await?;
        ensure!(!page.is_empty(), "the page from {from:?} is empty");
        pages.extend(page);
    }
    ensure!(pages == whole, "pages read forwards do not make up the stream");
    let mut pages: Vec<RecordedEvent> = Vec::new();
    while pages.len() < whole.len() {
        let to = Some(version(LENGTH - pages.len() as u64));
        let backward = ReadStream { to, direction: Direction::Backward, limit: Some(700), ..ReadStream::default() };
        let page = stage.stream_with(&order, backward).await?;
        ensure!(!page.is_empty(), "the page back from {to:?} is empty");
        pages.extend(page);
    }
    pages.reverse();
    ensure!(pages == whole, "pages read backwards do not make up the stream");
    Ok(())
}

async fn log_is_read_in_pages(stage: Stage) -> Verdict {
    for round in 0..10 {
        stage.record(&stream(&format!("Order-{}", round % 4)), &events(150 + round)).await?;
    }
    let whole = stage.log().await?;
    let mut pages: Vec<RecordedEvent> = Vec::new();
    loop {
        let after = pages.last().map_or(GlobalPosition::START, |event| event.position);
        let page = stage.log_with(ReadLog { after, limit: Some(333), ..ReadLog::default() }).await?;
        if page.is_empty() {
            break;
        }
        pages.extend(page);
    }
    ensure!(pages == whole, "pages read forwards do not make up the log");
    let backward = stage.log_with(ReadLog { direction: Direction::Backward, ..ReadLog::default() }).await?;
    ensure!(backward.iter().rev().eq(&whole), "the log backwards is not the log, reversed");
    let middle = whole[whole.len() / 2].position;
    let older = ReadLog { up_to: Some(middle), direction: Direction::Backward, limit: Some(400), ..ReadLog::default() };
    let older = stage.log_with(older).await?;
    let last = whole.len() / 2 + 1;
    ensure!(older.iter().rev().eq(&whole[last - 400..last]), "a page back from the middle is not what stands before it");
    Ok(())
}

async fn forward_read_of_the_log_comes_to_an_end(stage: Stage) -> Verdict {
    stage.record(&stream("Order-1"), &events(3)).await?;
    let head = stage.store.head().await?;
    ensure_eq!(stage.log_with(ReadLog { after: head, ..ReadLog::default() }).await?, [], "what is read after the head");
    let beyond = ReadLog { up_to: Some(GlobalPosition::from_number(u64::MAX)), ..ReadLog::default() };
    ensure_eq!(stage.log_with(beyond).await?.len(), 3, "the number of events up to the last position there can be");
    Ok(())
}

async fn slow_reader_goes_on_while_others_write(stage: Stage) -> Verdict {
    let order = stream("Order-1");
    stage.record(&order, &events(400)).await?;
    let mut log = stage.store.read_log(ReadLog::default());
    let mut events_of_stream = stage.store.read_stream(&order, ReadStream::default());
    let mut backward = stage.store.read_log(ReadLog { direction: Direction::Backward, ..ReadLog::default() });
    let mut seen: [Vec<RecordedEvent>; 3] = Default::default();
    for round in 0..10 {
        for (reading, seen) in [&mut log, &mut events_of_stream, &mut backward].into_iter().zip(&mut seen) {
            let few: Vec<_> = stage.within("a few events", reading.by_ref().take(10).try_collect::<Vec<_>>()).await??;
            ensure_eq!(few.len(), 10, "the number of events that round {round} asked for and got");
            seen.extend(few);
        }
        stage.record(&order, &events(20)).await?;
    }
    let [log_seen, stream_seen, backward_seen] = &mut seen;
    log_seen.extend(stage.within("a read that ends", log.try_collect::<Vec<_>>()).await??);
    stream_seen.extend(stage.within("a read that ends", events_of_stream.try_collect::<Vec<_>>()).await??);
    backward_seen.extend(stage.within("a read that ends", backward.try_collect::<Vec<_>>()).await??);
    let whole = stage.log().await?;
    for seen in [&log_seen, &stream_seen] {
        ensure!(seen.len() >= 400 && whole.starts_with(seen), "a slow reader saw {} events, not the log's first", seen.len());
    }
    let (from, count) = (backward_seen[0].version.get(), backward_seen.len() as u64);
    ensure!(from >= 400 && count == from, "reading back from version {from} gave {count} events");
    ensure!(backward_seen.is_sorted_by(|one, next| one.position > next.position), "positions read backwards do not decrease");
    Ok(())
}

async fn read_that_is_dropped_disturbs_nobody(stage: Stage) -> Verdict {
    let order = stream("Order-1");
    stage.record(&order, &events(300)).await?;
    for taken in 0..20 {
        let unread = stage.store.read_log(ReadLog::default());
        let mut halfway = stage.store.read_stream(&order, ReadStream::default());
        for _ in 0..taken {
            stage.within("the next event", halfway.try_next()).await??;
        }
        drop((unread, halfway));
        stage.record(&order, &events(1)).await?;
    }
    ensure_eq!(stage.stream(&order).await?.len(), 320, "the number of events");
    Ok(())
}

async fn last_event_is_read_backwards(stage: Stage) -> Verdict {
    let order = stream("Order-1");
    ensure_eq!(stage.store.last_event(&order).await?, None, "the last event of a stream without events");
    for count in [1, 4] {
        let proposed = events(count);
        stage.record(&order, &proposed).await?;
        stage.record(&stream("Order-2"), &events(1)).await?;
        let last = stage.store.last_event(&order).await?;
        ensure_eq!(last.map(|event| event.id), proposed.last().map(|event| event.id), "the last event's id");
    }
    ensure_eq!(stage.store.version(&order).await?, version(5), "the stream's version");
    ensure_eq!(versions(&stage.store.load(&order).await?), [1, 2, 3, 4, 5], "the versions of the stream, loaded");
    Ok(())
}
