//! Conditions: "nothing matching this query was recorded after that position".

use super::check::{Check, Verdict, check, ensure, ensure_eq};
use super::refusal::{condition_failed, conflict};
use super::sample::{event, events, landscape, queries, stream, tag, tagged, version};
use super::stage::Stage;
use crate::{Append, Condition, Error, EventStore, ExpectedVersion, GlobalPosition, Query, ReadLog};

pub(super) const CHECKS: &[Check] = &[
    check!(condition_agrees_with_a_scan, "A condition fails exactly when a scan finds a match after its position.", Conditions),
    check!(failed_condition_changes_nothing, "A condition that does not hold is ConditionFailed, and nothing changes.", Conditions),
    check!(condition_names_an_event_that_matches, "ConditionFailed gives the position of an event that matches.", Conditions),
    check!(condition_without_a_query_rules_out_every_event, "An empty query matches all that was recorded.", Conditions),
    check!(condition_does_not_concern_its_own_append, "The events of the append itself do not break its condition.", Conditions),
    check!(condition_and_expectation_must_both_hold, "Either refuses the append.", Conditions),
    check!(condition_spans_all_streams_of_an_append, "One that fails changes no stream.", Conditions, MultiStreamAppend),
    check!(condition_counts_truncated_events, "An event that was truncated was still recorded.", Conditions, Truncate),
    check!(racing_conditional_appends_have_one_winner, "Of appends that rule each other out exactly one is recorded.", Conditions),
    check!(course_is_never_overbooked, "Students that enrol at once never take more places than there are.", Conditions),
];

fn none_of(query: Query, after: GlobalPosition) -> Condition {
    Condition { none_of: query, after }
}

async fn condition_agrees_with_a_scan(stage: Stage) -> Verdict {
    let mut log = landscape(&stage).await?;
    let afters = [GlobalPosition::START, log[9].position, log[log.len() - 2].position, log[log.len() - 1].position];
    for (name, query) in queries() {
        for after in afters.into_iter().chain([GlobalPosition::from_number(u64::MAX)]) {
            let found = log.iter().any(|event| event.position > after && query.matches_event(event));
            let append = Append::to(stream("Probe-1"), events(1)).on_condition(none_of(query.clone(), after));
            match stage.append(append).await {
                Ok(_) => ensure!(!found, "{name} after {after} was taken, though an event matches"),
                Err(Error::ConditionFailed { .. }) => ensure!(found, "{name} after {after} was refused, though no event matches"),
                Err(other) => return Err(other.into()),
            }
        }
        log = stage.log().await?;
    }
    Ok(())
}

async fn failed_condition_changes_nothing(stage: Stage) -> Verdict {
    landscape(&stage).await?;
    let before = stage.picture().await?;
    for id in ["Student-1", "Order-1"] {
        let append = Append::to(stream(id), events(3)).on_condition(none_of(Query::tags([tag("course:42")]), GlobalPosition::START));
        condition_failed(stage.append(append).await)?;
    }
    stage.unchanged_since(&before).await
}

async fn condition_names_an_event_that_matches(stage: Stage) -> Verdict {
    let log = landscape(&stage).await?;
    let query = Query::tags([tag("course:42"), tag("student:7")]);
    for after in [GlobalPosition::START, log[log.len() / 2].position] {
        let append = Append::to(stream("Student-1"), events(1)).on_condition(none_of(query.clone(), after));
        let position = condition_failed(stage.append(append).await)?;
        let named = log.iter().find(|event| event.position == position);
        let matches = named.is_some_and(|event| query.matches_event(event));
        ensure!(position > after && matches, "after {after} it names position {position}, where no match stands");
    }
    Ok(())
}

async fn condition_without_a_query_rules_out_every_event(stage: Stage) -> Verdict {
    let append = |after| Append::to(stream("Order-1"), events(1)).on_condition(none_of(Query::all(), after));
    let first = stage.append(append(GlobalPosition::START)).await?.last_position();
    condition_failed(stage.append(append(GlobalPosition::START)).await)?;
    stage.append(append(first)).await?;
    condition_failed(stage.append(append(first)).await)?;
    Ok(())
}

async fn condition_does_not_concern_its_own_append(stage: Stage) -> Verdict {
    let enrolments = [tagged("Enrolled", "1", ["course:42"]), tagged("Enrolled", "2", ["course:42"])];
    let condition = none_of(Query::tags([tag("course:42")]), GlobalPosition::START);
    stage.append(Append::to(stream("Student-1"), enrolments).on_condition(condition)).await?;
    ensure_eq!(stage.log().await?.len(), 2, "the number of events");
    Ok(())
}

async fn condition_and_expectation_must_both_hold(stage: Stage) -> Verdict {
    let order = stream("Order-1");
    let head = stage.record(&order, &[tagged("Placed", "1", ["a"]), tagged("Placed", "2", ["a"])]).await?.last_position();
    let before = stage.picture().await?;
    let append =
        |expected, after| Append::to(order.clone(), events(1)).expecting(expected).on_condition(none_of(Query::tags([tag("a")]), after));
    conflict(stage.append(append(ExpectedVersion::exact(1), head)).await)?;
    condition_failed(stage.append(append(ExpectedVersion::exact(2), GlobalPosition::START)).await)?;
    stage.unchanged_since(&before).await?;
    stage.append(append(ExpectedVersion::exact(2), head)).await?;
    Ok(())
}

async fn condition_spans_all_streams_of_an_append(stage: Stage) -> Verdict {
    let head = stage.record(&stream("Course-42"), &[tagged("Opened", "", ["course:42"])]).await?.last_position();
    let before = stage.picture().await?;
    let append = |after| {
        let enrolment = tagged("Enrolled", "", ["course:42"]);
        let append = Append::to(stream("Student-1"), [enrolment.clone()]).and_to(stream("Student-2"), ExpectedVersion::Any, [enrolment]);
        append.on_condition(none_of(Query::tags([tag("course:42")]), after))
    };
    condition_failed(stage.append(append(GlobalPosition::START)).await)?;
    stage.unchanged_since(&before).await?;
    stage.append(append(head)).await?;
    condition_failed(stage.append(append(head)).await)?;
    Ok(())
}

async fn condition_counts_truncated_events(stage: Stage) -> Verdict {
    let student = stream("Student-1");
    let head = stage.record(&student, &[tagged("Enrolled", "", ["course:42"])]).await?.last_position();
    stage.store.truncate_before(&student, version(2)).await?;
    let append = |after| {
        let condition = none_of(Query::tags([tag("course:42")]), after);
        Append::to(stream("Student-2"), [tagged("Enrolled", "", ["course:42"])]).on_condition(condition)
    };
    condition_failed(stage.append(append(GlobalPosition::START)).await)?;
    stage.append(append(head)).await?;
    Ok(())
}

async fn racing_conditional_appends_have_one_winner(stage: Stage) -> Verdict {
    let mut after = GlobalPosition::START;
    for round in 0..15 {
        let racers = (0..6).map(|racer| {
            let store = stage.store.clone();
            let claim = tagged("Claimed", &format!("{round} by {racer}"), ["username:ada"]);
            let condition = none_of(Query::tags([tag("username:ada")]), after);
            async move { Ok(store.append(Append::to(stream(&format!("User-{racer}")), [claim]).on_condition(condition)).await) }
        });
        let mut won = Vec::new();
        for answer in stage.all(racers).await? {
            match answer {
                Ok(receipt) => won.push(receipt.last_position()),
                refused => drop(condition_failed(refused)?),
            }
        }
        ensure_eq!(won.len(), 1, "winners of round {round}");
        after = won[0];
    }
    ensure_eq!(stage.log().await?.len(), 15, "the number of events");
    Ok(())
}

async fn course_is_never_overbooked(stage: Stage) -> Verdict {
    const PLACES: usize = 3;
    let course = Query::tags([tag("course:42")]);
    let students = (0..8).map(|student| {
        let (store, course) = (stage.store.clone(), course.clone());
        async move {
            loop {
                let taken = enrolments(&*store, &course).await?;
                if taken.len() >= PLACES {
                    return Ok(false);
                }
                let after = taken.last().copied().unwrap_or_default();
                let enrolment = tagged("Enrolled", "", ["course:42"]);
                let append = Append::to(stream(&format!("Student-{student}")), [enrolment, event("so glad")]);
                match store.append(append.on_condition(none_of(course.clone(), after))).await {
                    Ok(_) => return Ok(true),
                    Err(Error::ConditionFailed { .. }) => {}
                    Err(other) => return Err(other.into()),
                }
            }
        }
    });
    let enrolled = stage.all(students).await?.into_iter().filter(|enrolled| *enrolled).count();
    let recorded = enrolments(&*stage.store, &course).await?.len();
    ensure_eq!((enrolled, recorded), (PLACES, PLACES), "students told that they have a place, and places taken");
    Ok(())
}

async fn enrolments(store: &dyn EventStore, course: &Query) -> Verdict<Vec<GlobalPosition>> {
    use futures::TryStreamExt;

    let events: Vec<_> = store.read_log(ReadLog { query: course.clone(), ..ReadLog::default() }).try_collect().await?;
    Ok(events.iter().map(|event| event.position).collect())
}
