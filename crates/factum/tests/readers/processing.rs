//! Processors: what they handle, where they go on, what becomes of an event that fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use factum::{Backoff, Category, CheckpointPolicy, Error, OnFailure, Processor, Query, StartFrom, Subscriptions, Timestamp};

use crate::scene::{Rule, Scene, Seen, Verdict, rules, until};

pub(crate) const RULES: &[(&str, Rule)] = rules![
    handlers_are_chosen_by_type_and_each_event_is_handled_once,
    a_processor_goes_on_where_it_was_stopped,
    the_event_in_hand_is_finished_before_a_stop,
    beginning_end_position_and_time_are_where_it_begins,
    an_event_that_fails_is_tried_again_and_then_stops_the_processor_in_front_of_it,
    a_parked_event_lets_the_others_pass_and_is_replayed_on_request,
    a_processor_that_was_replaced_ends,
    what_is_given_up_in_the_middle_comes_again,
    a_checkpoint_moves_past_what_does_not_match,
    how_far_behind_it_is_shows_while_it_catches_up,
];

const QUICK: Backoff = Backoff { attempts_max: 3, first: Duration::from_millis(1), longest: Duration::from_millis(2) };

/// A processor that writes down what it sees.
fn seeing(scene: &Scene, name: &str, seen: &Seen) -> Processor {
    let seen = seen.clone();
    Processor::new(scene.store.clone(), name).otherwise(move |event| {
        let seen = seen.clone();
        async move {
            seen.add(event.json()?);
            Ok(())
        }
    })
}

async fn handlers_are_chosen_by_type_and_each_event_is_handled_once(scene: Scene) -> Verdict {
    scene.append("Order-1", "Placed", 1..=3).await?;
    scene.append("Order-2", "Paid", 4..=5).await?;
    scene.append("Cart-1", "Placed", 6..=7).await?;
    let (placed, others) = (Seen::default(), Seen::default());
    let into = |seen: &Seen| {
        let seen = seen.clone();
        move |event: factum::RecordedEvent| {
            seen.add(event.json().expect("the data is a number"));
            std::future::ready(Ok(()))
        }
    };
    let orders = Query::category(Category::new("Order")?);
    let mut processor = Processor::new(scene.store.clone(), "p").query(orders).on("Placed", into(&placed))?.otherwise(into(&others));
    processor.run_to_end().await?;
    assert_eq!((placed.all(), others.all()), (vec![1, 2, 3], vec![4, 5]));
    // Without a query and a handler for the rest it reads only what it has handlers for.
    let only = Seen::default();
    let mut processor = Processor::new(scene.store.clone(), "q").on("Placed", into(&only))?;
    processor.run_to_end().await?;
    assert_eq!((only.all(), processor.progress().now().handled), (vec![1, 2, 3, 6, 7], 5));
    let twice = Processor::new(scene.store.clone(), "r").on("Placed", into(&only))?.on("Placed", into(&only));
    assert!(matches!(twice, Err(Error::Invalid { .. })));
    Ok(())
}

async fn a_processor_goes_on_where_it_was_stopped(scene: Scene) -> Verdict {
    let seen = Seen::default();
    scene.append("Order-1", "Placed", 0..150).await?;
    seeing(&scene, "p", &seen).run_to_end().await?;
    scene.append("Order-1", "Placed", 150..170).await?;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn({
        let mut processor = seeing(&scene, "p", &seen);
        async move { processor.run_until(stopped).await }
    });
    seen.wait_for(170).await;
    scene.append("Order-2", "Placed", 170..180).await?;
    seen.wait_for(180).await;
    stop.send(()).expect("it waits for this");
    running.await??;
    seeing(&scene, "p", &seen).run_to_end().await?;
    assert_eq!(seen.all(), (0..180).collect::<Vec<_>>());
    let state = Subscriptions::new(scene.store.clone()).get("p").await?;
    assert_eq!((state.position, state.fence), (scene.store.head().await?, 3));
    Ok(())
}

async fn the_event_in_hand_is_finished_before_a_stop(scene: Scene) -> Verdict {
    scene.append("Order-1", "Placed", 0..5).await?;
    let (seen, begun) = (Seen::default(), Seen::default());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (open, opened) = tokio::sync::watch::channel(false);
    let mut processor = Processor::new(scene.store.clone(), "p").otherwise({
        let (seen, begun) = (seen.clone(), begun.clone());
        move |event| {
            let (seen, begun, mut opened) = (seen.clone(), begun.clone(), opened.clone());
            async move {
                begun.add(event.json()?);
                opened.wait_for(|open| *open).await?;
                seen.add(event.json()?);
                Ok(())
            }
        }
    });
    let running = tokio::spawn(async move { processor.run_until(stopped).await });
    begun.wait_for(1).await;
    stop.send(()).expect("it waits for this");
    open.send(true)?;
    running.await??;
    assert_eq!((begun.all(), seen.all()), (vec![0], vec![0]));
    seeing(&scene, "p", &seen).run_to_end().await?;
    assert_eq!(seen.all(), [0, 1, 2, 3, 4]);
    Ok(())
}

async fn beginning_end_position_and_time_are_where_it_begins(scene: Scene) -> Verdict {
    scene.append("Order-1", "Placed", 0..10).await?;
    let third = scene.position_of(2).await?;
    // The clock that counts is the store's, and it may be coarse: the next event is later than the last in any case.
    let times = scene.times().await?;
    let last = times[9];
    until(|| async { Timestamp::now() > last }).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    scene.append("Order-1", "Placed", 10..20).await?;
    let times = scene.times().await?;
    let from_time = times.iter().position(|time| *time > last).expect("time goes on") as u64;
    let begins = [
        (StartFrom::Beginning, 0),
        (StartFrom::After(third), 3),
        (StartFrom::Time(Timestamp::UNIX_EPOCH), 0),
        (StartFrom::Time(times[usize::try_from(from_time)?]), from_time),
        (StartFrom::Time(times[19] + Duration::from_secs(3_600)), 20),
        (StartFrom::End, 20),
    ];
    for (number, (from, first)) in begins.into_iter().enumerate() {
        let seen = Seen::default();
        let name = format!("from-{number}");
        seeing(&scene, &name, &seen).from(from).run_to_end().await?;
        assert_eq!(seen.all(), (first..20).collect::<Vec<_>>(), "{from:?}");
        // The second time the checkpoint says where it goes on.
        seeing(&scene, &name, &seen).from(StartFrom::Beginning).run_to_end().await?;
        assert_eq!(seen.all().len() as u64, 20 - first, "{from:?}");
    }
    Ok(())
}

async fn an_event_that_fails_is_tried_again_and_then_stops_the_processor_in_front_of_it(scene: Scene) -> Verdict {
    scene.append("Order-1", "Placed", 0..5).await?;
    let (seen, broken, tries) = (Seen::default(), Arc::new(AtomicU64::new(2)), Seen::default());
    let make = || {
        let (seen, broken, tries) = (seen.clone(), broken.clone(), tries.clone());
        Processor::new(scene.store.clone(), "p").retry(QUICK).otherwise(move |event| {
            let (seen, broken, tries) = (seen.clone(), broken.clone(), tries.clone());
            async move {
                let number = event.json()?;
                tries.add(number);
                if number == 3 && broken.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
                    return Err("out of order".into());
                }
                seen.add(number);
                Ok(())
            }
        })
    };
    make().run_to_end().await?;
    assert_eq!((seen.all(), tries.all()), (vec![0, 1, 2, 3, 4], vec![0, 1, 2, 3, 3, 3, 4]));
    scene.append("Order-1", "Placed", 3..=4).await?;
    broken.store(3, Ordering::SeqCst);
    let failed = make().run_to_end().await.expect_err("it fails each time");
    let Error::HandlerFailed { version, attempts, source, .. } = &failed else { return Err(failed.into()) };
    assert_eq!((version.get(), *attempts, source.to_string().as_str()), (6, 3, "out of order"));
    make().run_to_end().await?;
    assert_eq!(seen.all(), [0, 1, 2, 3, 4, 3, 4]);
    Ok(())
}

async fn a_parked_event_lets_the_others_pass_and_is_replayed_on_request(scene: Scene) -> Verdict {
    scene.append("Order-1", "Placed", 0..6).await?;
    let (seen, broken) = (Seen::default(), Arc::new(AtomicU64::new(u64::MAX)));
    let make = || {
        let (seen, broken) = (seen.clone(), broken.clone());
        Processor::new(scene.store.clone(), "p").retry(QUICK).on_failure(OnFailure::Park).otherwise(move |event| {
            let (seen, broken) = (seen.clone(), broken.clone());
            async move {
                let number: u64 = event.json()?;
                if number % 2 == 1 && number < broken.load(Ordering::SeqCst) {
                    return Err(format!("{number} is odd").into());
                }
                seen.add(number);
                Ok(())
            }
        })
    };
    make().run_to_end().await?;
    assert_eq!(seen.all(), [0, 2, 4]);
    let subscriptions = Subscriptions::new(scene.store.clone());
    let parked = subscriptions.get("p").await?.parked;
    let said: Vec<_> = parked.iter().map(|event| (event.version, event.attempts, event.reason.as_str())).collect();
    assert_eq!(said, [(2, 3, "1 is odd"), (4, 3, "3 is odd"), (6, 3, "5 is odd")]);
    // One is given up; one is asked for again and fails again; one is asked for again and is handled.
    subscriptions.skip("p", parked[0].position).await?;
    assert!(matches!(subscriptions.skip("p", parked[0].position).await, Err(Error::Invalid { .. })));
    assert_eq!(subscriptions.replay("p", None).await?, 2);
    broken.store(5, Ordering::SeqCst);
    let running = tokio::spawn({
        let mut processor = make();
        let (store, position) = (subscriptions.clone(), parked[1].position);
        async move {
            let gone = async {
                until(|| async { store.get("p").await.is_ok_and(|state| state.parked.len() == 1 && !state.parked[0].replay) }).await;
                assert_eq!(store.get("p").await.expect("it is there").parked[0].position, position);
            };
            processor.run_until(gone).await
        }
    });
    running.await??;
    assert_eq!(seen.all(), [0, 2, 4, 5]);
    assert!(matches!(subscriptions.replay("nobody", None).await, Err(Error::Invalid { .. })));
    Ok(())
}

async fn a_processor_that_was_replaced_ends(scene: Scene) -> Verdict {
    scene.append("Order-1", "Placed", 0..3).await?;
    let seen = Seen::default();
    let mut first = seeing(&scene, "p", &seen).checkpoint(CheckpointPolicy::EachEvent);
    let running = tokio::spawn(async move { first.run_until(std::future::pending::<()>()).await });
    seen.wait_for(3).await;
    seeing(&scene, "p", &seen).run_to_end().await?;
    scene.append("Order-1", "Placed", 3..4).await?;
    let ended = running.await?;
    assert!(matches!(ended, Err(Error::Fenced { .. })), "{ended:?}");
    Ok(())
}

async fn what_is_given_up_in_the_middle_comes_again(scene: Scene) -> Verdict {
    scene.append("Order-1", "Placed", 0..40).await?;
    let seen = Seen::default();
    for count in [3, 9, 20] {
        let mut processor = seeing(&scene, "p", &seen).checkpoint(CheckpointPolicy::Every { events: 2, time: Duration::from_secs(3_600) });
        tokio::select! {
            ended = processor.run_until(std::future::pending::<()>()) => ended?,
            _ = seen.wait_for(count) => {}
        }
    }
    seeing(&scene, "p", &seen).run_to_end().await?;
    let mut all = seen.all();
    assert!(all.windows(2).all(|pair| pair[1] <= pair[0] + 1), "something was passed over: {all:?}");
    all.sort_unstable();
    all.dedup();
    assert_eq!(all, (0..40).collect::<Vec<_>>());
    Ok(())
}

async fn a_checkpoint_moves_past_what_does_not_match(scene: Scene) -> Verdict {
    scene.append("Order-1", "Placed", 0..3).await?;
    scene.append("Cart-1", "Placed", 0..30).await?;
    let seen = Seen::default();
    seeing(&scene, "p", &seen).query(Query::category(Category::new("Order")?)).run_to_end().await?;
    assert_eq!(seen.all(), [0, 1, 2]);
    assert_eq!(Subscriptions::new(scene.store.clone()).get("p").await?.position, scene.store.head().await?);
    Ok(())
}

/// The bug: the head that it told was the event in hand, so a processor looked caught up from its first event on.
async fn how_far_behind_it_is_shows_while_it_catches_up(scene: Scene) -> Verdict {
    scene.append("Order-1", "Placed", 0..5).await?;
    let head = scene.store.head().await?;
    let processor = Processor::new(scene.store.clone(), "p");
    let progress = processor.progress();
    let mut processor = processor.otherwise({
        let progress = progress.clone();
        move |event| {
            let now = progress.now();
            let is_seen = now.head == head && now.position < event.position && now.recorded_at == Some(event.recorded_at);
            std::future::ready(if is_seen { Ok(()) } else { Err(format!("{now:?} at {}", event.position).into()) })
        }
    });
    processor = processor.retry(Backoff::ONCE);
    processor.run_to_end().await?;
    let now = progress.now();
    assert_eq!((now.position, now.head, now.handled), (head, head, 5));
    Ok(())
}
