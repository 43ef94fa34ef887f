//! Subscribing: what is there, then what comes, without a gap or a duplicate between the two.

use std::collections::HashMap;
use std::time::Duration;

use futures::FutureExt;

use super::bugs::without_wake_ups;
use super::check::{Check, Verdict, check, ensure, ensure_eq};
use super::concurrency::writers;
use super::refusal::unavailable;
use super::sample::{events, ids, new_ids, stream, tag, tagged};
use super::stage::Stage;
use crate::{GlobalPosition, Query, ReadLog, RecordedEvent, Subscription, SubscriptionOptions};

pub(super) const CHECKS: &[Check] = &[
    check!(subscription_goes_from_catch_up_to_live, "A subscription gives what is there and then what comes, each event once, in order."),
    check!(subscription_keeps_up_with_concurrent_writers, "So it does while several writers write all the time."),
    check!(subscription_of_a_query_gives_only_what_matches, "A filtered subscription misses no match and gives nothing else."),
    check!(subscription_begins_after_its_position, "A subscription from a position begins with the next event."),
    check!(subscription_goes_on_where_it_was_left, "A new one from the old one's position goes on without a gap or a duplicate."),
    check!(subscriptions_are_independent, "Each of several subscriptions gets every event."),
    check!(slow_subscription_holds_nobody_up, "While one subscriber rests, appends and other subscribers go on; it then misses nothing."),
    check!(cancelled_wait_for_an_event_loses_nothing, "Waiting for the next event can be given up and taken up again."),
    check!(subscription_needs_no_wake_up, "Where the store misses every wake-up, a subscription finds what comes by looking again."),
    check!(subscription_says_when_it_has_caught_up, "With all recorded events given out there is none, and the position is the head."),
    check!(wait_returns_at_once_for_what_is_there, "Waiting after a position that events stand after returns at once."),
    check!(wait_returns_for_what_is_recorded_later, "Waiting at the head returns when something is recorded."),
    check!(wait_can_be_given_up, "A wait that is cancelled loses nothing, for nobody."),
    check!(close_ends_subscriptions_that_wait, "A subscription that waits when the store is closed gets Unavailable."),
];

fn from_start(query: Query) -> SubscriptionOptions {
    SubscriptionOptions { query, ..SubscriptionOptions::default() }
}

/// Takes the next `count` events.
async fn take(stage: &Stage, subscription: &mut Subscription, count: usize) -> Verdict<Vec<RecordedEvent>> {
    let mut taken = Vec::with_capacity(count);
    for _ in 0..count {
        taken.push(stage.within("the next event of a subscription", subscription.next()).await??);
        let (position, given) = (subscription.position(), taken[taken.len() - 1].position);
        ensure_eq!(position, given, "the subscription's position, beside that of the event it gave");
    }
    Ok(taken)
}

/// Fails unless what a subscription gave is the log, event for event.
fn gave_the_log(seen: &[RecordedEvent], log: &[RecordedEvent]) -> Verdict {
    let differs = seen.iter().zip(log).position(|(seen, recorded)| seen != recorded);
    if let Some(at) = differs {
        let (seen, recorded) = (seen[at].position, log[at].position);
        ensure!(false, "as its event number {} the subscription gave position {seen}, expected {recorded}", at + 1);
    }
    ensure_eq!(seen.len(), log.len(), "the number of events that the subscription gave");
    Ok(())
}

async fn subscription_goes_from_catch_up_to_live(stage: Stage) -> Verdict {
    let order = stream("Order-1");
    stage.record(&order, &events(5)).await?;
    let mut subscription = stage.subscribe(from_start(Query::all()));
    let mut seen = take(&stage, &mut subscription, 3).await?;
    for round in 1..10 {
        stage.record(&order, &events(2)).await?;
        seen.extend(take(&stage, &mut subscription, if round == 1 { 4 } else { 2 }).await?);
    }
    gave_the_log(&seen, &stage.log().await?)
}

async fn subscription_keeps_up_with_concurrent_writers(stage: Stage) -> Verdict {
    // 25 appends of one, two and three events in turn are 49.
    let total = 4 + 5 * 49;
    stage.record(&stream("Order-0"), &events(4)).await?;
    let store = stage.store.clone();
    let subscribers = (0..3).map(|_| {
        let mut subscription = Subscription::new(store.clone(), from_start(Query::all()));
        async move {
            let mut seen = Vec::with_capacity(total);
            let mut versions = HashMap::new();
            while seen.len() < total {
                let event = subscription.next().await?;
                let version: &mut u64 = versions.entry(event.stream.clone()).or_default();
                *version += 1;
                ensure_eq!(event.version.get(), *version, "the next version that the subscription gave of {}", event.stream);
                seen.push(event);
            }
            Verdict::Ok((seen, subscription.next_recorded().await?))
        }
    });
    let subscribers: Vec<_> = subscribers.map(tokio::spawn).collect();
    stage.all(writers(&stage.store, 5, 25)).await?;
    let log = stage.log().await?;
    ensure_eq!(log.len(), total, "the number of events");
    for subscriber in subscribers {
        let (seen, more) = stage.within("the subscription to give every event", subscriber).await???;
        gave_the_log(&seen, &log)?;
        ensure_eq!(more, None, "what the subscription gave after all events");
    }
    Ok(())
}

impl Stage {
    /// What the log holds that matches.
    async fn matching(&self, query: Query) -> Verdict<Vec<RecordedEvent>> {
        self.log_with(ReadLog { query, ..ReadLog::default() }).await
    }
}

async fn subscription_of_a_query_gives_only_what_matches(stage: Stage) -> Verdict {
    let query = Query::tags([tag("even")]);
    let mut subscription = stage.subscribe(from_start(query.clone()));
    stage.all(writers(&stage.store, 3, 12)).await?;
    let mut seen = take(&stage, &mut subscription, stage.matching(query.clone()).await?.len()).await?;
    // What does not match wakes it up for nothing.
    for _ in 0..3 {
        stage.record(&stream("Order-1"), &events(2)).await?;
        let found = stage.within("a look", subscription.next_recorded()).await??;
        ensure_eq!(found, None, "what the subscription gave where nothing matches");
    }
    stage.record(&stream("Order-1"), &[tagged("Noted", "", ["even"])]).await?;
    seen.extend(take(&stage, &mut subscription, 1).await?);
    gave_the_log(&seen, &stage.matching(query).await?)
}

async fn subscription_begins_after_its_position(stage: Stage) -> Verdict {
    let order = stream("Order-1");
    stage.record(&order, &events(6)).await?;
    let log = stage.log().await?;
    for begin in 0..log.len() {
        let mut subscription = stage.subscribe(SubscriptionOptions { after: log[begin].position, ..SubscriptionOptions::default() });
        ensure_eq!(subscription.position(), log[begin].position, "the position it begins at");
        gave_the_log(&take(&stage, &mut subscription, 5 - begin).await?, &log[begin + 1..])?;
        let live = events(1);
        if begin == 5 {
            stage.record(&order, &live).await?;
            ensure_eq!(ids(&take(&stage, &mut subscription, 1).await?), new_ids(&live), "the first event after the head");
        }
    }
    Ok(())
}

async fn subscription_goes_on_where_it_was_left(stage: Stage) -> Verdict {
    let writing: Vec<_> = writers(&stage.store, 3, 12).map(tokio::spawn).collect();
    let mut seen = Vec::new();
    let mut after = GlobalPosition::START;
    for count in [1, 2, 3, 5, 8, 13].into_iter().cycle() {
        let mut subscription = stage.subscribe(SubscriptionOptions { after, ..SubscriptionOptions::default() });
        let remaining = 3 * 24 - seen.len();
        if remaining == 0 {
            break;
        }
        seen.extend(take(&stage, &mut subscription, count.min(remaining)).await?);
        after = subscription.position();
    }
    for writer in writing {
        stage.within("a writer to end", writer).await???;
    }
    gave_the_log(&seen, &stage.log().await?)
}

async fn subscriptions_are_independent(stage: Stage) -> Verdict {
    let mut subscriptions: Vec<_> = (0..5).map(|_| stage.subscribe(from_start(Query::all()))).collect();
    for _ in 0..5 {
        stage.record(&stream("Order-1"), &events(3)).await?;
        let log = stage.log().await?;
        for subscription in &mut subscriptions {
            gave_the_log(&take(&stage, subscription, 3).await?, &log[log.len() - 3..])?;
        }
    }
    Ok(())
}

async fn slow_subscription_holds_nobody_up(stage: Stage) -> Verdict {
    let order = stream("Order-1");
    stage.record(&order, &events(10)).await?;
    let mut slow = stage.subscribe(from_start(Query::all()));
    let mut seen = take(&stage, &mut slow, 1).await?;
    let mut quick = stage.subscribe(from_start(Query::all()));
    for _ in 0..10 {
        stage.within("an append beside a slow subscriber", stage.record(&order, &events(200))).await??;
    }
    let log = stage.log().await?;
    gave_the_log(&take(&stage, &mut quick, log.len()).await?, &log)?;
    seen.extend(take(&stage, &mut slow, log.len() - 1).await?);
    gave_the_log(&seen, &log)
}

async fn cancelled_wait_for_an_event_loses_nothing(stage: Stage) -> Verdict {
    let mut subscription = stage.subscribe(from_start(Query::all()));
    let mut seen = Vec::new();
    for round in 0..20 {
        // Given up at once, wherever it has come to.
        if let Some(event) = subscription.next().now_or_never() {
            seen.push(event?);
        }
        stage.record(&stream("Order-1"), &events(2)).await?;
        if round % 3 == 0 {
            seen.extend(take(&stage, &mut subscription, 1).await?);
        }
    }
    let remaining = 40 - seen.len();
    seen.extend(take(&stage, &mut subscription, remaining).await?);
    gave_the_log(&seen, &stage.log().await?)
}

async fn subscription_needs_no_wake_up(stage: Stage) -> Verdict {
    let options = SubscriptionOptions { poll_interval: Duration::from_millis(5), ..SubscriptionOptions::default() };
    let mut subscription = Subscription::new(without_wake_ups(stage.store.clone()), options);
    let mut seen = Vec::new();
    for round in 0..5 {
        if round > 0 {
            // It waits already when the event is recorded.
            ensure!(subscription.next().now_or_never().is_none(), "it gave an event that was not recorded");
        }
        stage.record(&stream("Order-1"), &events(2)).await?;
        seen.extend(take(&stage, &mut subscription, 2).await?);
    }
    gave_the_log(&seen, &stage.log().await?)
}

async fn subscription_says_when_it_has_caught_up(stage: Stage) -> Verdict {
    let mut everything = stage.subscribe(from_start(Query::all()));
    let mut nothing = stage.subscribe(from_start(Query::tags([tag("nobody")])));
    ensure_eq!(everything.next_recorded().await?, None, "what an empty store gives");
    stage.record(&stream("Order-1"), &events(3)).await?;
    for _ in 0..3 {
        ensure!(everything.next_recorded().await?.is_some(), "a recorded event was not given");
    }
    ensure_eq!(everything.next_recorded().await?, None, "what comes after all events");
    ensure_eq!(nothing.next_recorded().await?, None, "what matches nothing");
    let head = stage.store.head().await?;
    ensure_eq!((everything.position(), nothing.position()), (head, head), "where both have come to");
    Ok(())
}

async fn wait_returns_at_once_for_what_is_there(stage: Stage) -> Verdict {
    stage.record(&stream("Order-1"), &events(3)).await?;
    for event in stage.log().await?.iter().take(2) {
        stage.within("a wait after what is not the last event", stage.store.wait_after(event.position)).await??;
    }
    stage.within("a wait after the start", stage.store.wait_after(GlobalPosition::START)).await??;
    Ok(())
}

async fn wait_returns_for_what_is_recorded_later(stage: Stage) -> Verdict {
    for _ in 0..5 {
        let head = stage.store.head().await?;
        let mut waits = futures::future::join_all((0..3).map(|_| stage.store.wait_after(head)));
        // They wait now; one may have returned without cause, which is allowed.
        if let Some(returned) = (&mut waits).now_or_never() {
            returned.into_iter().collect::<crate::Result<Vec<()>>>()?;
            continue;
        }
        // A store may miss a wake-up; it may not miss them all.
        let returned = async {
            loop {
                stage.record(&stream("Order-1"), &events(1)).await?;
                if let Ok(returned) = tokio::time::timeout(Duration::from_millis(100), &mut waits).await {
                    return Verdict::Ok(returned);
                }
            }
        };
        for wait in stage.within("a wait to return, with something recorded all the time", returned).await?? {
            wait?;
        }
    }
    Ok(())
}

async fn wait_can_be_given_up(stage: Stage) -> Verdict {
    let mut subscription = stage.subscribe(from_start(Query::all()));
    for _ in 0..10 {
        let head = stage.store.head().await?;
        for _ in 0..10 {
            if let Some(returned) = stage.store.wait_after(head).now_or_never() {
                returned?;
            }
        }
        stage.record(&stream("Order-1"), &events(1)).await?;
        take(&stage, &mut subscription, 1).await?;
    }
    Ok(())
}

async fn close_ends_subscriptions_that_wait(stage: Stage) -> Verdict {
    stage.record(&stream("Order-1"), &events(1)).await?;
    let mut subscription = stage.subscribe(from_start(Query::all()));
    take(&stage, &mut subscription, 1).await?;
    let waiting = tokio::spawn(async move { subscription.next().await });
    tokio::task::yield_now().await;
    stage.store.close().await?;
    unavailable(stage.within("a waiting subscription to end", waiting).await??)
}
