//! Groups: order within a key, parallel keys, what fails, who leaves and who comes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use factum::{Backoff, Consumer, Error, Group, Groups, RecordedEvent, StartFrom};

use crate::scene::{Rule, Scene, Seen, Verdict, rules, until};

pub(crate) const RULES: &[(&str, Rule)] = rules![
    events_of_a_key_come_one_at_a_time_and_other_keys_go_on,
    what_is_acknowledged_never_comes_again_and_what_is_not_does,
    an_event_that_fails_holds_up_its_own_key_only,
    a_parked_event_is_replayed_in_order_or_skipped,
    members_share_the_lanes_and_one_that_leaves_hands_them_over,
    the_lanes_of_a_member_that_died_are_taken_over,
    a_late_acknowledgement_of_an_old_owner_is_refused,
    keys_of_ones_own_are_kept_in_order,
    a_group_goes_on_where_it_was_and_can_be_reset,
    more_than_fits_in_memory_is_read_again,
    a_busy_handle_holds_up_nothing_but_what_it_has_in_hand,
    how_much_is_left_to_read_shows,
    members_that_disagree_are_refused,
    handlers_run_until_they_are_stopped,
];

fn group(scene: &Scene) -> Group {
    Group::new(scene.store.clone(), "g")
        .lease(Duration::from_millis(400))
        .acknowledge_within(Duration::from_millis(5))
        .poll_interval(Duration::from_millis(50))
}

fn number(event: &RecordedEvent) -> u64 {
    event.json().expect("the data is a number")
}

/// Acknowledges everything until there were so many events.
async fn take(consumer: &Consumer, count: usize) -> Verdict<Vec<(String, u64)>> {
    let mut taken = Vec::new();
    while taken.len() < count {
        let delivery = consumer.next().await?.ok_or("the consumer has ended")?;
        taken.push((delivery.event().stream.to_string(), number(delivery.event())));
        delivery.ack()?;
    }
    Ok(taken)
}

/// Stops a consumer once it has looked at everything, for all of its lanes.
async fn stop_at_the_end(scene: &Scene, consumer: Consumer) -> Verdict {
    let head = scene.store.head().await?;
    until(|| async { consumer.load().lanes == 16 && consumer.load().position >= head }).await;
    consumer.stop().await?;
    assert_eq!(Groups::new(scene.store.clone()).get("g").await?.position, head);
    Ok(())
}

/// Whether the numbers of each stream come in order.
fn in_order(taken: &[(String, u64)]) -> bool {
    let mut last = BTreeMap::new();
    taken.iter().all(|(stream, number)| last.insert(stream, *number).is_none_or(|before| before < *number))
}

async fn events_of_a_key_come_one_at_a_time_and_other_keys_go_on(scene: Scene) -> Verdict {
    for stream in 1..=3 {
        scene.append(&format!("Order-{stream}"), "Placed", 0..4).await?;
    }
    let consumer = group(&scene).join().await?;
    let mut in_hand = Vec::new();
    for _ in 0..3 {
        in_hand.push(consumer.next().await?.ok_or("it has ended")?);
    }
    let mut keys: Vec<_> = in_hand.iter().map(|delivery| (delivery.key().to_owned(), number(delivery.event()))).collect();
    keys.sort();
    assert_eq!(keys, [("Order-1".to_owned(), 0), ("Order-2".to_owned(), 0), ("Order-3".to_owned(), 0)]);
    assert!(consumer.next_ready().is_none(), "everything else stands behind what is in hand");
    // Dropping one puts it back.
    let back = in_hand.pop().map(|delivery| delivery.key().to_owned()).ok_or("there are three")?;
    let again = consumer.next().await?.ok_or("it has ended")?;
    assert_eq!((again.key(), number(again.event()), again.attempt()), (back.as_str(), 0, 1));
    again.ack()?;
    let next = consumer.next().await?.ok_or("it has ended")?;
    assert_eq!((next.key(), number(next.event())), (back.as_str(), 1));
    next.ack()?;
    in_hand.into_iter().try_for_each(factum::Delivery::ack)?;
    let rest = take(&consumer, 8).await?;
    assert!(in_order(&rest), "{rest:?}");
    stop_at_the_end(&scene, consumer.clone()).await?;
    assert!(consumer.next().await?.is_none());
    let state = Groups::new(scene.store.clone()).get("g").await?;
    assert_eq!((state.position, state.members.len(), state.held.len()), (scene.store.head().await?, 0, 0));
    Ok(())
}

async fn what_is_acknowledged_never_comes_again_and_what_is_not_does(scene: Scene) -> Verdict {
    for stream in 0..20 {
        scene.append(&format!("Order-{stream}"), "Placed", 0..10).await?;
    }
    let mut seen: Vec<(String, u64)> = Vec::new();
    for round in 0..5 {
        let consumer = group(&scene).join().await?;
        for _ in 0..30 {
            let delivery = consumer.next().await?.ok_or("it has ended")?;
            seen.push((delivery.event().stream.to_string(), number(delivery.event())));
            delivery.ack_durably().await?;
        }
        let in_hand = consumer.next().await?.ok_or("it has ended")?;
        match round % 2 {
            0 => {
                drop(in_hand);
                consumer.stop().await?;
            }
            // As a crash would: nothing is given back.
            _ => drop(consumer),
        }
    }
    let consumer = group(&scene).join().await?;
    seen.extend(take(&consumer, 50).await?);
    assert!(in_order(&seen), "{seen:?}");
    assert_eq!(seen.len(), 200);
    Ok(consumer.stop().await?)
}

async fn an_event_that_fails_holds_up_its_own_key_only(scene: Scene) -> Verdict {
    for stream in 1..=2 {
        scene.append(&format!("Order-{stream}"), "Placed", 0..3).await?;
    }
    let consumer = group(&scene).join().await?;
    let mut taken = Vec::new();
    let mut attempts = Vec::new();
    while taken.len() < 6 {
        let delivery = consumer.next().await?.ok_or("it has ended")?;
        if delivery.key() == "Order-1" && number(delivery.event()) == 1 && delivery.attempt() <= 2 {
            attempts.push(delivery.attempt());
            delivery.nack(Duration::from_millis(if attempts.len() == 1 { 100 } else { 1 }), "not yet")?;
            continue;
        }
        taken.push((delivery.key().to_owned(), number(delivery.event())));
        delivery.ack()?;
    }
    assert!(in_order(&taken), "{taken:?}");
    assert_eq!(attempts, [1, 2]);
    Ok(consumer.stop().await?)
}

async fn a_parked_event_is_replayed_in_order_or_skipped(scene: Scene) -> Verdict {
    for stream in 1..=3 {
        scene.append(&format!("Order-{stream}"), "Placed", 0..3).await?;
    }
    let groups = Groups::new(scene.store.clone());
    let consumer = group(&scene).join().await?;
    let mut taken = Vec::new();
    let mut parked = 0;
    while taken.len() < 5 || parked < 2 {
        let delivery = consumer.next().await?.ok_or("it has ended")?;
        if delivery.key() != "Order-3" && number(delivery.event()) == 1 {
            delivery.park("no such customer")?;
            parked += 1;
            continue;
        }
        taken.push((delivery.key().to_owned(), number(delivery.event())));
        delivery.ack()?;
    }
    // What comes later stands behind what is parked, also for another consumer.
    scene.append("Order-1", "Placed", 3..5).await?;
    scene.append("Order-2", "Placed", 3..5).await?;
    scene.append("Order-3", "Placed", 3..5).await?;
    taken.extend(take(&consumer, 2).await?);
    consumer.stop().await?;
    let held = groups.get("g").await?.held;
    let mut said: Vec<_> =
        held.iter().map(|held| (held.key.as_str(), held.event.version, held.event.reason.as_str(), held.is_parked)).collect();
    said.sort_unstable();
    assert_eq!(said, [("Order-1", 2, "no such customer", true), ("Order-2", 2, "no such customer", true)]);
    groups.skip("g", "Order-2").await?;
    let consumer = group(&scene).join().await?;
    taken.extend(take(&consumer, 3).await?);
    until(|| async { groups.get("g").await.is_ok_and(|state| state.held.len() == 1) }).await;
    assert_eq!(groups.replay("g", None).await?, 1);
    taken.extend(take(&consumer, 4).await?);
    assert!(in_order(&taken), "{taken:?}");
    assert_eq!(taken.len(), 14);
    assert!(!taken.contains(&("Order-2".to_owned(), 1)), "it was skipped");
    consumer.stop().await?;
    assert!(matches!(groups.replay("g", Some("Order-1")).await, Err(Error::Invalid { .. })));
    Ok(())
}

async fn members_share_the_lanes_and_one_that_leaves_hands_them_over(scene: Scene) -> Verdict {
    // On a busy machine a member may be silent for a while, and must not be taken for dead here: what it has in hand would come again.
    let group = || group(&scene).lease(Duration::from_secs(3));
    let first = group().lanes(8).join().await?;
    until(|| async { first.load().lanes == 8 }).await;
    let second = group().join().await?;
    let third = group().join().await?;
    until(|| async { [&first, &second, &third].map(|one| one.load().lanes).iter().all(|lanes| (2..=3).contains(lanes)) }).await;
    let state = Groups::new(scene.store.clone()).get("g").await?;
    assert_eq!((state.lanes, state.members.len()), (8, 3));
    // Everybody has work, and nobody gets what another one has.
    for stream in 0..60 {
        scene.append(&format!("Order-{stream}"), "Placed", 0..5).await?;
    }
    let seen = Seen::default();
    let eat = |consumer: &Consumer, own: &Seen| {
        let (consumer, seen, own) = (consumer.clone(), seen.clone(), own.clone());
        tokio::spawn(async move {
            while let Some(delivery) = consumer.next().await? {
                seen.add(delivery.event().position.number());
                own.add(1);
                delivery.ack()?;
            }
            Verdict::Ok(())
        })
    };
    let shares = [Seen::default(), Seen::default(), Seen::default()];
    let eaters = [eat(&first, &shares[0]), eat(&second, &shares[1]), eat(&third, &shares[2])];
    for share in &shares {
        share.wait_for(1).await;
    }
    seen.wait_for(200).await;
    first.stop().await?;
    seen.wait_for(300).await;
    until(|| async { second.load().lanes == 4 && third.load().lanes == 4 }).await;
    second.stop().await?;
    third.stop().await?;
    for eater in eaters {
        eater.await??;
    }
    let mut positions = seen.all();
    positions.sort_unstable();
    positions.dedup();
    assert_eq!((positions.len(), seen.all().len()), (300, 300));
    Ok(())
}

async fn the_lanes_of_a_member_that_died_are_taken_over(scene: Scene) -> Verdict {
    scene.append("Order-1", "Placed", 0..5).await?;
    let first = group(&scene).join().await?;
    assert_eq!(take(&first, 2).await?.len(), 2);
    // It acknowledges no more, and disappears without a word.
    let in_hand = first.next().await?.ok_or("it has ended")?;
    // Until both are written, and not only the first.
    let second_event = scene.position_of(1).await?;
    until(|| async { Groups::new(scene.store.clone()).get("g").await.is_ok_and(|state| state.position >= second_event) }).await;
    drop(first);
    let second = group(&scene).join().await?;
    let taken = take(&second, 3).await?;
    assert_eq!(taken.iter().map(|(_, number)| *number).collect::<Vec<_>>(), [2, 3, 4]);
    drop(in_hand);
    Ok(second.stop().await?)
}

async fn a_late_acknowledgement_of_an_old_owner_is_refused(scene: Scene) -> Verdict {
    scene.append("Order-1", "Placed", 0..3).await?;
    let groups = Groups::new(scene.store.clone());
    let old = group(&scene).join().await?;
    let in_hand = old.next().await?.ok_or("it has ended")?;
    let also = in_hand.event().position;
    // A reset takes every lane away, as another consumer does, and the old one does not know yet.
    groups.reset("g", StartFrom::Beginning).await?;
    let refused = in_hand.ack_durably().await;
    assert!(matches!(refused, Err(Error::HandedOver { .. })), "{refused:?}");
    let again = old.next().await?.ok_or("it has ended")?;
    assert_eq!((again.event().position, again.attempt()), (also, 1));
    again.ack_durably().await?;
    assert_eq!(take(&old, 2).await?.len(), 2);
    Ok(old.stop().await?)
}

async fn keys_of_ones_own_are_kept_in_order(scene: Scene) -> Verdict {
    for number in 0..60 {
        scene.append(&format!("Order-{}", number % 7), "Placed", number..=number).await?;
    }
    let by_parity = || group(&scene).key("parity", |event| (number(event) % 2).to_string());
    let consumer = by_parity().join().await?;
    let mut taken = Vec::new();
    let mut nacked = 0;
    while taken.len() < 60 {
        let delivery = consumer.next().await?.ok_or("it has ended")?;
        assert!(consumer.load().in_hand <= 2);
        if number(delivery.event()) % 11 == 5 && delivery.attempt() == 1 {
            nacked += 1;
            delivery.nack(Duration::from_millis(2), "once")?;
            continue;
        }
        taken.push((delivery.key().to_owned(), number(delivery.event())));
        delivery.ack()?;
    }
    assert!(in_order(&taken), "{taken:?}");
    assert_eq!(nacked, 5);
    Ok(consumer.stop().await?)
}

async fn a_group_goes_on_where_it_was_and_can_be_reset(scene: Scene) -> Verdict {
    scene.append("Order-1", "Placed", 0..3).await?;
    let groups = Groups::new(scene.store.clone());
    let from_end = || group(&scene).from(StartFrom::End);
    from_end().join().await?.stop().await?;
    scene.append("Order-1", "Placed", 3..5).await?;
    let consumer = from_end().join().await?;
    assert_eq!(take(&consumer, 2).await?, [("Order-1".to_owned(), 3), ("Order-1".to_owned(), 4)]);
    stop_at_the_end(&scene, consumer).await?;
    let position = groups.reset("g", StartFrom::After(scene.position_of(1).await?)).await?;
    assert_eq!(groups.get("g").await?.position, position);
    let consumer = from_end().join().await?;
    assert_eq!(take(&consumer, 3).await?.iter().map(|(_, number)| *number).collect::<Vec<_>>(), [2, 3, 4]);
    assert!(matches!(groups.reset("nobody", StartFrom::End).await, Err(Error::Invalid { .. })));
    Ok(consumer.stop().await?)
}

async fn more_than_fits_in_memory_is_read_again(scene: Scene) -> Verdict {
    scene.append("Long-1", "Placed", 0..700).await?;
    scene.append("Short-1", "Placed", 0..5).await?;
    let consumer = group(&scene).window(300).join().await?;
    let first = consumer.next().await?.ok_or("it has ended")?;
    assert_eq!(first.key(), "Long-1");
    // A long stream that is held up does not hold up the other.
    let mut taken = Vec::new();
    while taken.len() < 5 {
        let delivery = consumer.next().await?.ok_or("it has ended")?;
        taken.push((delivery.key().to_owned(), number(delivery.event())));
        delivery.ack()?;
    }
    assert!(taken.iter().all(|(key, _)| key == "Short-1"), "{taken:?}");
    first.ack()?;
    let rest = take(&consumer, 699).await?;
    assert!(in_order(&rest) && rest.iter().all(|(key, _)| key == "Long-1"));
    stop_at_the_end(&scene, consumer).await
}

async fn a_busy_handle_holds_up_nothing_but_what_it_has_in_hand(scene: Scene) -> Verdict {
    for stream in 0..150 {
        scene.append(&format!("Order-{stream}"), "Placed", 0..2).await?;
    }
    let (first, second) = {
        let consumer = group(&scene).join().await?;
        (consumer.clone(), consumer)
    };
    // As quick as it is, it takes events ahead, and keeps its acknowledgements to itself for a moment. Then it is slow.
    let mut taken = take(&first, 40).await?;
    let busy = first.next().await?.ok_or("it has ended")?;
    let (key, at) = (busy.key().to_owned(), number(busy.event()));
    let others = 300 - 41 - usize::from(at == 0);
    taken.extend(take(&second, others).await?);
    assert!(in_order(&taken), "{taken:?}");
    assert!(second.next_ready().is_none(), "what is left stands behind what is in hand");
    let load = second.load();
    assert_eq!((load.in_hand, load.queued), (1, usize::from(at == 0)), "of {key} at {at}");
    busy.ack()?;
    take(&second, usize::from(at == 0)).await?;
    drop(first);
    stop_at_the_end(&scene, second).await
}

/// The bug: the head that it told was the end of what it had read, so a consumer looked caught up from its first event on.
async fn how_much_is_left_to_read_shows(scene: Scene) -> Verdict {
    for stream in 0..60 {
        scene.append(&format!("Order-{stream}"), "Placed", 0..1).await?;
    }
    let consumer = group(&scene).window(8).join().await?;
    let in_hand = consumer.next().await?.ok_or("it has ended")?;
    // With fewer lanes than all there may be nothing left to read for it.
    until(|| async { consumer.load().lanes == 16 }).await;
    let (load, head) = (consumer.load(), scene.store.head().await?);
    assert!(load.head == head && load.position < head, "{load:?}");
    in_hand.ack()?;
    take(&consumer, 59).await?;
    stop_at_the_end(&scene, consumer).await
}

async fn members_that_disagree_are_refused(scene: Scene) -> Verdict {
    let consumer = group(&scene).join().await?;
    let other_key = group(&scene).key("customer", |event| event.stream.to_string()).join().await;
    assert!(matches!(other_key, Err(Error::Invalid { .. })), "{other_key:?}");
    let other_query = group(&scene).query(factum::Query::types([factum::EventType::new("Paid")?])).join().await;
    assert!(matches!(other_query, Err(Error::Invalid { .. })), "{other_query:?}");
    assert!(matches!(group(&scene).lanes(0).join().await, Err(Error::Invalid { .. })));
    Ok(consumer.stop().await?)
}

async fn handlers_run_until_they_are_stopped(scene: Scene) -> Verdict {
    for stream in 0..10 {
        scene.append(&format!("Order-{stream}"), "Placed", 0..5).await?;
    }
    let (seen, failures, is_repaired) = (Seen::default(), Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let running =
        group(&scene).retry(Backoff { attempts_max: 3, first: Duration::from_millis(1), longest: Duration::from_millis(1) }).otherwise({
            let (seen, failures, is_repaired) = (seen.clone(), failures.clone(), is_repaired.clone());
            move |event: RecordedEvent| {
                let (seen, failures, is_repaired) = (seen.clone(), failures.clone(), is_repaired.clone());
                async move {
                    if event.stream == "Order-3" && number(&event) == 2 && !is_repaired.load(Ordering::SeqCst) {
                        failures.fetch_add(1, Ordering::SeqCst);
                        return Err("the printer is on fire".into());
                    }
                    seen.add(event.position.number());
                    Ok(())
                }
            }
        });
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(running.run_until(stopped));
    seen.wait_for(47).await;
    let groups = Groups::new(scene.store.clone());
    until(|| async { groups.get("g").await.is_ok_and(|state| state.held.iter().any(|held| held.is_parked)) }).await;
    assert_eq!(failures.load(Ordering::SeqCst), 3);
    is_repaired.store(true, Ordering::SeqCst);
    groups.replay("g", Some("Order-3")).await?;
    seen.wait_for(50).await;
    stop.send(()).expect("it waits for this");
    running.await??;
    assert_eq!(groups.get("g").await?.position, scene.store.head().await?);
    Ok(())
}
