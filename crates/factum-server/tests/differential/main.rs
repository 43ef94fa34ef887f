//! The door beside Redis: the same requests to both, in both versions of the protocol, and every reply is the same.
//!
//! Written sequences are in `cases`; random ones come from a seed, which is printed, and are made as short as possible when they show a
//! difference. `FACTUM_DIFFERENTIAL_SECONDS=600` looks for longer and elsewhere each time, `FACTUM_SEED=7` at one sequence. Without either
//! the sequences are the same each time, so that a failure comes from what was changed.

mod both;
mod grammar;
mod mask;
mod script;
mod wire;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use both::{Both, Difference, Manner, Resp, Step};
use grammar::Chance;

/// How long random sequences are tried for each version of the protocol, unless asked for longer.
const SECONDS: u64 = 5;

const CASES: &[(&str, &str)] = &[
    ("connection", include_str!("cases/connection.txt")),
    ("streams", include_str!("cases/streams.txt")),
    ("groups", include_str!("cases/groups.txt")),
    ("blocking", include_str!("cases/blocking.txt")),
    ("strings", include_str!("cases/strings.txt")),
    ("hashes", include_str!("cases/hashes.txt")),
    ("keys", include_str!("cases/keys.txt")),
    ("transactions", include_str!("cases/transactions.txt")),
];

#[test]
fn written_sequences_get_the_replies_of_redis() {
    let Some(both) = Both::start() else { return };
    let only = std::env::var("FACTUM_CASES").unwrap_or_default();
    let mut differences = 0;
    for (name, text) in CASES.iter().filter(|(name, _)| name.contains(&only)) {
        for script in script::scripts(text) {
            for resp in [Resp::Two, Resp::Three] {
                let found = both.differences(&script.steps, resp, Manner::OneByOne);
                differences += found.len();
                if !found.is_empty() {
                    println!("{name}, {} (RESP {resp:?}): {} differences", script.title, found.len());
                }
                // Those after the first few follow from them, mostly.
                found.iter().take(5).for_each(|difference| println!("{}", told(difference)));
            }
        }
    }
    assert_eq!(differences, 0, "the differences are above");
}

#[test]
fn random_sequences_get_the_replies_of_redis_in_resp2() {
    random(Resp::Two);
}

#[test]
fn random_sequences_get_the_replies_of_redis_in_resp3() {
    random(Resp::Three);
}

fn random(resp: Resp) {
    let Some(both) = Both::start() else { return };
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let (seconds, only) = (number("FACTUM_DIFFERENTIAL_SECONDS"), number("FACTUM_SEED"));
    let time = Duration::from_secs(seconds.unwrap_or(SECONDS));
    let of_clock = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() << 20);
    let first = only.or_else(|| seconds.map(|_| of_clock())).unwrap_or_default();
    let begun = Instant::now();
    let mut seed = first;
    while begun.elapsed() < time && (only.is_none() || seed == first) {
        let mut chance = Chance::of(seed);
        let manner = if chance.below(2) == 0 { Manner::OneByOne } else { Manner::Together };
        let connections = if manner == Manner::OneByOne { 1 + chance.below(2) } else { 1 };
        let steps = grammar::sequence(&mut chance, connections);
        if both.difference(&steps, resp, manner).is_some() {
            let (steps, difference) = shortest(&both, steps, resp, manner);
            panic!(
                "FACTUM_SEED={seed}, RESP {resp:?}, {manner:?}: this sequence shows it\n\n{}\n{}",
                script::shown(&steps),
                told(&difference)
            );
        }
        seed += 1;
    }
    println!("{} sequences from seed {first} on gave the replies of Redis", seed - first);
}

fn told(difference: &Difference) -> String {
    let request: Vec<String> = difference.step.iter().map(|word| script::shown_word(word)).collect();
    format!("  {}\n    redis:  {}\n    factum: {}\n", request.join(" "), difference.redis, difference.factum)
}

/// Leaves out whatever the difference does not need.
fn shortest(both: &Both, mut steps: Vec<Step>, resp: Resp, manner: Manner) -> (Vec<Step>, Difference) {
    let mut piece = steps.len().div_ceil(2);
    loop {
        let mut place = 0;
        let mut became_shorter = false;
        while place < steps.len() {
            let mut fewer = steps.clone();
            fewer.drain(place..(place + piece).min(fewer.len()));
            if !fewer.is_empty() && both.difference(&fewer, resp, manner).is_some() {
                steps = fewer;
                became_shorter = true;
            } else {
                place += piece;
            }
        }
        if piece == 1 && !became_shorter {
            let difference = both.difference(&steps, resp, manner);
            let lost = || Difference { step: Vec::new(), redis: "(it does not always show)".to_owned(), factum: String::new() };
            return (steps, difference.unwrap_or_else(lost));
        }
        piece = piece.div_ceil(2);
    }
}
