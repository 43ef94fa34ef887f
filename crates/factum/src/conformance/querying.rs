//! Querying: what a filtered read of the log gives is what a scan with `Query::matches` gives.

use super::check::{Check, Verdict, check, ensure, ensure_eq};
use super::sample::{category, event, event_type, events, ids, landscape, queries, stream, tag, tagged, typed};
use super::stage::Stage;
use crate::{Direction, GlobalPosition, Query, QueryItem, ReadLog, RecordedEvent};

pub(super) const CHECKS: &[Check] = &[
    check!(queries_agree_with_a_scan, "Category, type, tag and prefix, alone and together, give what a scan does."),
    check!(queries_agree_with_a_scan_in_any_range, "So they do after, up to and limited, in both directions."),
    check!(limit_counts_matches, "A limit counts the events that match, not those that are looked at."),
    check!(rare_match_is_found_among_many_events, "One match among thousands is found, from both ends."),
    check!(event_that_matches_two_items_comes_once, "An event that matches several alternatives is read once, in its place."),
    check!(query_sees_what_was_just_recorded, "A query sees every append that returned before it."),
    check!(category_is_the_text_before_the_first_dash, "A category holds the streams whose id has it before the first dash, or is it."),
];

async fn queries_agree_with_a_scan(stage: Stage) -> Verdict {
    let log = landscape(&stage).await?;
    for (name, query) in queries() {
        let expected: Vec<_> = log.iter().filter(|event| query.matches_event(event)).cloned().collect();
        let found = stage.log_with(ReadLog { query: query.clone(), ..ReadLog::default() }).await?;
        ensure_eq!(found, expected, "the query {name:?}");
    }
    Ok(())
}

async fn queries_agree_with_a_scan_in_any_range(stage: Stage) -> Verdict {
    let log = landscape(&stage).await?;
    let at = |index: usize| log[index].position;
    let ranges = [
        (GlobalPosition::START, None),
        (at(7), Some(at(30))),
        (at(7), Some(at(8))),
        (at(8), Some(at(7))),
        (at(log.len() - 1), None),
        (GlobalPosition::START, Some(GlobalPosition::START)),
        (GlobalPosition::START, Some(GlobalPosition::from_number(u64::MAX))),
        (GlobalPosition::from_number(u64::MAX), None),
    ];
    for (name, query) in queries() {
        for (after, up_to) in ranges {
            for direction in [Direction::Forward, Direction::Backward] {
                for limit in [None, Some(0), Some(1), Some(4), Some(u64::MAX)] {
                    let read = ReadLog { after, up_to, query: query.clone(), direction, limit };
                    let expected = scan(&log, &read);
                    let found = stage.log_with(read).await?;
                    ensure_eq!(ids(&found), ids(&expected), "the query {name:?} after {after}, up to {up_to:?}, {direction:?}, {limit:?}");
                }
            }
        }
    }
    Ok(())
}

/// What a read gives, found by looking at every event.
fn scan(log: &[RecordedEvent], read: &ReadLog) -> Vec<RecordedEvent> {
    let in_range = |event: &&RecordedEvent| event.position > read.after && read.up_to.is_none_or(|up_to| event.position <= up_to);
    let mut found: Vec<_> = log.iter().filter(in_range).filter(|event| read.query.matches_event(event)).cloned().collect();
    if read.direction == Direction::Backward {
        found.reverse();
    }
    if let Some(limit) = read.limit {
        found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    }
    found
}

async fn limit_counts_matches(stage: Stage) -> Verdict {
    for number in 0..30 {
        stage.record(&stream("Order-1"), &[event(""), tagged("Noted", &number.to_string(), ["rare"]), event("")]).await?;
    }
    for direction in [Direction::Forward, Direction::Backward] {
        for limit in [1, 5, 30, 31] {
            let read = ReadLog { query: Query::tags([tag("rare")]), direction, limit: Some(limit), ..ReadLog::default() };
            ensure_eq!(stage.log_with(read).await?.len() as u64, limit.min(30), "the number of events with limit {limit}");
        }
    }
    Ok(())
}

async fn rare_match_is_found_among_many_events(stage: Stage) -> Verdict {
    let rare = tagged("Found", "here", ["rare"]);
    for number in 0..6 {
        stage.record(&stream("Noise-1"), &events(400)).await?;
        if number == 3 {
            stage.record(&stream("Needle-1"), std::slice::from_ref(&rare)).await?;
        }
    }
    let prefix = QueryItem { stream_prefix: Some("Need".to_owned()), ..QueryItem::default() };
    let queries =
        [Query::tags([tag("rare")]), Query::types([event_type("Found")]), Query::category(category("Needle")), Query::item(prefix)];
    for query in queries {
        for direction in [Direction::Forward, Direction::Backward] {
            let read = ReadLog { query: query.clone(), direction, ..ReadLog::default() };
            ensure_eq!(ids(&stage.log_with(read).await?), [rare.id], "what matches {query:?}");
        }
    }
    Ok(())
}

async fn event_that_matches_two_items_comes_once(stage: Stage) -> Verdict {
    let order = stream("Order-1");
    stage.record(&order, &[typed("A", "1"), tagged("A", "2", ["x"]), tagged("B", "3", ["x"]), tagged("A", "4", ["x", "y"])]).await?;
    let tagged = |text| QueryItem { tags: vec![tag(text)], ..QueryItem::default() };
    let query = Query::types([event_type("A")]).or(tagged("x")).or(tagged("y")).or(tagged("x"));
    let found = stage.log_with(ReadLog { query, ..ReadLog::default() }).await?;
    ensure_eq!(found, stage.stream(&order).await?, "what matches any of four overlapping items");
    Ok(())
}

async fn query_sees_what_was_just_recorded(stage: Stage) -> Verdict {
    for number in 0..20u32 {
        let text = format!("tag:{number}");
        let proposed = typed(&format!("Type{number}"), "").with_tag(tag(&text));
        stage.record(&stream(&format!("Kind{number}-1")), std::slice::from_ref(&proposed)).await?;
        let by_type = Query::types([event_type(&format!("Type{number}"))]);
        for query in [Query::tags([tag(&text)]), by_type, Query::category(category(&format!("Kind{number}")))] {
            let found = stage.log_with(ReadLog { query, ..ReadLog::default() }).await?;
            ensure_eq!(ids(&found), [proposed.id], "what was just recorded");
        }
    }
    Ok(())
}

async fn category_is_the_text_before_the_first_dash(stage: Stage) -> Verdict {
    let ids = ["Order-1", "Order-1-2", "Order", "Order-", "Orders-1", "order-1", "-Order", "Order 1", "-", "--1"];
    for id in ids {
        stage.record(&stream(id), &events(1)).await?;
    }
    for (name, members) in [
        ("Order", vec!["Order-1", "Order-1-2", "Order", "Order-"]),
        ("Orders", vec!["Orders-1"]),
        ("order", vec!["order-1"]),
        ("-Order", vec!["-Order"]),
        ("-", vec!["-"]),
        ("--1", vec!["--1"]),
        ("Order 1", vec!["Order 1"]),
        ("Order-1", vec![]),
    ] {
        let found = stage.log_with(ReadLog { query: Query::category(category(name)), ..ReadLog::default() }).await?;
        let found: Vec<_> = found.iter().map(|event| event.stream.as_str()).collect();
        ensure!(found == members, "category {name} holds {found:?}, expected {members:?}");
    }
    Ok(())
}
