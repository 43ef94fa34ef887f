//! A consumer that says what it does: in a process of its own, to be killed and paused from outside, or on a thread of its own.

use std::io::{BufRead, Write};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use factum::{Consumer, Delivery, Error, Group, SharedStore};

use crate::Outcome;
use crate::history::{Step, What};

pub(crate) const LEASE: Duration = Duration::from_millis(400);

/// How it says something.
pub(crate) type Say = Arc<dyn Fn(Step) + Send + Sync>;

pub(crate) fn group(store: SharedStore) -> Group {
    // Events are spread unevenly over few lanes, so that what is taken over has something in it.
    Group::new(store, "workers").lanes(6).lease(LEASE).window(64).poll_interval(Duration::from_millis(100))
}

/// Chance that is made of a seed.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Handles events until it is stopped.
pub(crate) async fn work(consumer: &Consumer, who: &str, say: &Say, mut chance: Chance) -> Outcome {
    while let Some(delivery) = consumer.next().await? {
        handle(delivery, who, say, &mut chance).await?;
    }
    Ok(())
}

async fn handle(delivery: Delivery, who: &str, say: &Say, chance: &mut Chance) -> Outcome {
    let (key, version) = (delivery.key().to_owned(), delivery.event().version.get());
    let tell = |what| say(Step { who: who.to_owned(), key: key.clone(), version, what, at: now() });
    tell(What::Begin);
    // Stretches of a key are handled in no time and acknowledged without waiting, so that consumers take events ahead.
    if version / 8 % 2 == 1 {
        tell(What::Ack);
        if !refused(delivery.ack())? {
            tell(What::Refused);
        }
        return Ok(());
    }
    tokio::time::sleep(Duration::from_micros(chance.below(3_000))).await;
    if chance.below(20) == 0 {
        tell(What::Nack);
        return refused(delivery.nack(Duration::from_millis(chance.below(20)), "chance")).map(drop);
    }
    tell(What::Ack);
    match delivery.ack_durably().await {
        // Nobody can tell.
        Err(Error::OutcomeUnknown { .. }) => {}
        outcome => tell(if refused(outcome)? { What::Accepted } else { What::Refused }),
    }
    Ok(())
}

/// Whether it was accepted; an error if neither.
fn refused(outcome: factum::Result<()>) -> Outcome<bool> {
    match outcome {
        Ok(()) => Ok(true),
        Err(Error::HandedOver { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn now() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos())
}

/// The child process: works until its standard input ends, and then leaves in order.
pub(crate) async fn child(url: &str, seed: u64) -> Outcome {
    let say: Say = Arc::new(|step: Step| {
        let mut out = std::io::stdout().lock();
        // A parent that is gone hears nothing.
        _ = writeln!(out, "{}", step.line()).and_then(|()| out.flush());
    });
    let store = factum::connect(url).await?;
    let consumer = group(store).join().await?;
    let (ended, end) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        _ = std::io::stdin().lock().lines().count();
        _ = ended.send(());
    });
    let hands = (0..3).map(|hand| {
        let (consumer, say) = (consumer.clone(), say.clone());
        tokio::spawn(async move { work(&consumer, &hand.to_string(), &say, Chance(seed + hand)).await })
    });
    let hands: Vec<_> = hands.collect();
    _ = end.await;
    consumer.stop().await?;
    for hand in hands {
        hand.await??;
    }
    Ok(())
}
