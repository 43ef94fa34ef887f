//! Consumers on threads of their own, for stores that one process has: dropped without a word, or asleep with all that they do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use factum::SharedStore;
use factum::conformance::Subject;

use crate::consumer::{Chance, LEASE, Say, group, work};
use crate::{DISTURBANCES_MAX, Outcome, Said, judge, open, record, seed, wait_for_the_end};

const CONSUMERS: usize = 3;

/// What a thread is to do next.
enum Order {
    /// Sleeps, and everything on it.
    Sleep,
    /// Drops its consumer and makes a new one.
    Restart,
    /// Leaves in order.
    Stop,
}

pub(crate) async fn order_is_kept(subject: Arc<dyn Subject>) -> Outcome {
    let seed = seed();
    let mut chance = Chance(seed);
    let store = open(&subject).await?;
    let said = Said::default();
    let number = Arc::new(AtomicU64::new(0));
    let threads: Vec<_> = (0..CONSUMERS).map(|_| start(&store, &said, &number, seed)).collect();
    let mut disturbed = 0;
    let keys = {
        let mut recording = std::pin::pin!(record_and_wait(&store, seed));
        loop {
            tokio::select! {
                keys = &mut recording => break keys,
                // One that has failed ends before it is told to, and says why below.
                () = ended(&threads) => break Err("a consumer has ended".into()),
                () = tokio::time::sleep(Duration::from_millis(50 + chance.below(250))), if disturbed < DISTURBANCES_MAX => {
                    let (orders, _) = &threads[usize::try_from(chance.below(CONSUMERS as u64))?];
                    // A thread that still has to do what it was told is told nothing; one that has failed says why at its end.
                    let order = if chance.below(2) == 0 { Order::Sleep } else { Order::Restart };
                    disturbed += u64::from(orders.try_send(order).is_ok());
                }
            }
        }
    };
    for (orders, thread) in threads {
        // It has failed if it does not hear this, and its end says why.
        _ = orders.send(Order::Stop).await;
        tokio::task::spawn_blocking(move || thread.join()).await?.map_err(|_| "a consumer panicked")??;
    }
    let keys = keys?;
    judge(subject.name(), &said, &keys, seed, disturbed)?;
    Ok(store.close().await?)
}

async fn record_and_wait(store: &SharedStore, seed: u64) -> Outcome<std::collections::BTreeMap<String, u64>> {
    let keys = record(store, &mut Chance(seed + 1)).await?;
    wait_for_the_end(store).await?;
    Ok(keys)
}

/// Waits until one of them has ended.
async fn ended(threads: &[Thread]) {
    while !threads.iter().any(|(_, thread)| thread.is_finished()) {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

type Thread = (tokio::sync::mpsc::Sender<Order>, std::thread::JoinHandle<Outcome>);

fn start(store: &SharedStore, said: &Said, number: &Arc<AtomicU64>, seed: u64) -> Thread {
    let (orders, mut heard) = tokio::sync::mpsc::channel(1);
    let (store, said, number) = (store.clone(), said.clone(), number.clone());
    let thread = std::thread::spawn(move || {
        let say: Say = Arc::new(move |step| said.lock().expect("no holder of this lock panics").push(step));
        loop {
            let own = number.fetch_add(1, Ordering::SeqCst);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let is_over = runtime.block_on(async {
                let consumer = group(store.clone()).join().await?;
                let hands = (0..3).map(|hand| {
                    let (consumer, say) = (consumer.clone(), say.clone());
                    let who = format!("{own}.{hand}");
                    async move { work(&consumer, &who, &say, Chance(seed + own * 3 + hand)).await }
                });
                let mut hands: tokio::task::JoinSet<_> = hands.collect();
                loop {
                    let order = tokio::select! {
                        order = heard.recv() => order,
                        // Nobody has told it to.
                        Some(ended) = hands.join_next() => {
                            ended??;
                            return Err("a hand has ended by itself".into());
                        }
                    };
                    match order {
                        // The whole thread sleeps, with its heartbeats, its reading and its handlers.
                        Some(Order::Sleep) => std::thread::sleep(LEASE * 2),
                        Some(Order::Restart) => return Ok(false),
                        Some(Order::Stop) | None => break,
                    }
                }
                consumer.stop().await?;
                while let Some(ended) = hands.join_next().await {
                    ended??;
                }
                Outcome::Ok(true)
            });
            // With its runtime everything that it was doing is gone, in the middle of whatever that was.
            runtime.shutdown_background();
            if is_over? {
                return Ok(());
            }
        }
    });
    (orders, thread)
}
