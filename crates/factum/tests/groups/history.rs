//! The history checker: from what all consumers of a group say they did it tells whether the group kept its promises.
//!
//! A handling lasts from when an event was handed out to when its acknowledgement was asked for. Whether that was accepted is said
//! afterwards, or never, where the consumer was killed: then it may have been or not.

use std::collections::BTreeMap;

/// What a consumer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// The event was handed out.
    Begin,
    /// Its acknowledgement is being asked for.
    Ack,
    /// It was accepted.
    Accepted,
    /// It was refused.
    Refused,
    /// The event was given back, to come again.
    Nack,
}

/// One thing that a consumer says, and when, by the one clock of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) who: String,
    pub(crate) key: String,
    pub(crate) version: u64,
    pub(crate) what: What,
    pub(crate) at: u128,
}

impl Step {
    /// As a line, for a pipe.
    pub(crate) fn line(&self) -> String {
        let what = match self.what {
            What::Begin => "begin",
            What::Ack => "ack",
            What::Accepted => "accepted",
            What::Refused => "refused",
            What::Nack => "nack",
        };
        format!("{what} {} {} {}", self.key, self.version, self.at)
    }

    /// What a line says; `None` for one that was cut off.
    pub(crate) fn parse(who: &str, line: &str) -> Option<Self> {
        let mut words = line.strip_suffix('\n')?.split(' ');
        let what = match words.next()? {
            "begin" => What::Begin,
            "ack" => What::Ack,
            "accepted" => What::Accepted,
            "refused" => What::Refused,
            "nack" => What::Nack,
            _ => return None,
        };
        let (key, version, at) = (words.next()?.to_owned(), words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some(Self { who: who.to_owned(), key, version, what, at })
    }
}

/// One handling of an event.
#[derive(Clone, Debug)]
struct Handling {
    who: String,
    version: u64,
    begin: u128,
    /// When its acknowledgement was asked for.
    ack: Option<u128>,
    /// Whether that was accepted; `None` where nobody knows.
    accepted: Option<bool>,
}

/// What a history was.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Summary {
    pub(crate) handlings: usize,
    pub(crate) accepted: usize,
    pub(crate) refused: usize,
    pub(crate) unknown: usize,
    pub(crate) again: usize,
}

/// Checks a history of a group whose keys have had so many events, and which is said to have come to the end.
pub(crate) fn check(steps: &[Step], keys: &BTreeMap<String, u64>) -> Result<Summary, String> {
    let mut summary = Summary::default();
    for (key, last) in keys {
        let of_key: Vec<&Step> = steps.iter().filter(|step| step.key == *key).collect();
        let handlings = handlings(&of_key)?;
        one_after_the_other(key, &handlings)?;
        each_after_the_one_before(key, &handlings)?;
        nothing_lost(key, *last, &handlings)?;
        summary.handlings += handlings.len();
        summary.accepted += handlings.iter().filter(|one| one.accepted == Some(true)).count();
        summary.refused += handlings.iter().filter(|one| one.accepted == Some(false)).count();
        summary.unknown += handlings.iter().filter(|one| one.ack.is_some() && one.accepted.is_none()).count();
        summary.again += handlings.len() - usize::try_from(*last).unwrap_or_default().min(handlings.len());
    }
    match steps.iter().find(|step| !keys.contains_key(&step.key)) {
        Some(unknown) => Err(format!("nobody recorded this: {unknown:?}")),
        None => Ok(summary),
    }
}

/// What each consumer says of itself is in order.
fn handlings(steps: &[&Step]) -> Result<Vec<Handling>, String> {
    let mut handlings: Vec<Handling> = Vec::new();
    for step in steps {
        if step.what == What::Begin {
            handlings.push(Handling { who: step.who.clone(), version: step.version, begin: step.at, ack: None, accepted: None });
            continue;
        }
        let same = |one: &&mut Handling| one.who == step.who && one.version == step.version;
        let handling = handlings.iter_mut().rev().find(same).ok_or_else(|| format!("it was never handed out: {step:?}"))?;
        match step.what {
            What::Ack => handling.ack = Some(step.at),
            What::Accepted => handling.accepted = Some(true),
            What::Refused => handling.accepted = Some(false),
            What::Begin | What::Nack => {}
        }
    }
    Ok(handlings)
}

/// Of one key, no two handlings that count overlap, they are in order, and each event counts once.
fn one_after_the_other(key: &str, handlings: &[Handling]) -> Result<(), String> {
    let mut counted: Vec<&Handling> = handlings.iter().filter(|one| one.accepted == Some(true)).collect();
    counted.sort_by_key(|one| one.version);
    for pair in counted.windows(2) {
        if pair[0].version == pair[1].version {
            return Err(format!("{key}: two acknowledgements of one event were accepted: {pair:?}"));
        }
        if pair[0].ack.is_none_or(|ack| ack > pair[1].begin) {
            return Err(format!("{key}: two handlings at once, or out of order, and both acknowledgements were accepted: {pair:?}"));
        }
    }
    Ok(())
}

/// An event is handed out only when the one before it is done. Where that one's acknowledgement is refused afterwards, so is this one's.
fn each_after_the_one_before(key: &str, handlings: &[Handling]) -> Result<(), String> {
    for one in handlings.iter().filter(|one| one.version > 1) {
        let is_done = |before: &&Handling| {
            let counts = before.accepted != Some(false) || one.accepted != Some(true);
            before.version + 1 == one.version && counts && before.ack.is_some_and(|ack| ack <= one.begin)
        };
        if !handlings.iter().any(|before| is_done(&before)) {
            let before: Vec<_> = handlings.iter().filter(|before| before.version + 1 == one.version).collect();
            return Err(format!("{key}: this was handed out before the event in front of it was done: {one:#?}, which is {before:#?}"));
        }
    }
    Ok(())
}

/// Every event counts, or may.
fn nothing_lost(key: &str, last: u64, handlings: &[Handling]) -> Result<(), String> {
    let is_done = |version| handlings.iter().any(|one| one.version == version && one.ack.is_some() && one.accepted != Some(false));
    match (1..=last).find(|version| !is_done(*version)) {
        Some(lost) => {
            let tried: Vec<_> = handlings.iter().filter(|one| one.version == lost).collect();
            Err(format!("{key}: event {lost} of {last} was never done, and the group says it has come to the end: {tried:#?}"))
        }
        None => Ok(()),
    }
}

/// The checker is checked: histories that break a promise, each in one way.
pub(crate) fn the_checker_notices() -> Result<(), String> {
    let history = |lines: &[(&str, &str)]| {
        let step = |(at, (who, line)): (usize, &(&str, &str))| Step::parse(who, &format!("{line} {at}\n")).expect("it is a step");
        lines.iter().enumerate().map(step).collect::<Vec<_>>()
    };
    let keys = BTreeMap::from([("k".to_owned(), 2)]);
    let good = [
        ("a", "begin k 1"),
        ("a", "nack k 1"),
        ("a", "begin k 1"),
        ("a", "ack k 1"),
        ("b", "begin k 1"),
        ("b", "ack k 1"),
        ("b", "accepted k 1"),
        ("a", "refused k 1"),
        ("b", "begin k 2"),
        ("b", "ack k 2"),
    ];
    check(&history(&good), &keys).map_err(|error| format!("a good history is refused: {error}"))?;
    let out_of_order =
        [("a", "begin k 2"), ("a", "ack k 2"), ("a", "accepted k 2"), ("a", "begin k 1"), ("a", "ack k 1"), ("a", "accepted k 1")];
    let at_once = [
        ("a", "begin k 1"),
        ("a", "ack k 1"),
        ("b", "begin k 1"),
        ("b", "begin k 2"),
        ("b", "ack k 1"),
        ("b", "accepted k 1"),
        ("b", "ack k 2"),
        ("b", "accepted k 2"),
    ];
    let twice = [
        ("a", "begin k 1"),
        ("a", "ack k 1"),
        ("a", "accepted k 1"),
        ("b", "begin k 1"),
        ("b", "ack k 1"),
        ("b", "accepted k 1"),
        ("b", "begin k 2"),
        ("b", "ack k 2"),
    ];
    let lost = [("a", "begin k 1"), ("a", "ack k 1"), ("a", "begin k 2"), ("a", "nack k 2")];
    let after_refusal = [("a", "begin k 1"), ("a", "ack k 1"), ("a", "refused k 1"), ("a", "begin k 2"), ("a", "ack k 2")];
    for (name, bad) in [
        ("out of order", &out_of_order[..]),
        ("at once", &at_once),
        ("twice", &twice),
        ("lost", &lost),
        ("after a refusal", &after_refusal),
    ] {
        if check(&history(bad), &keys).is_ok() {
            return Err(format!("the checker does not notice what is {name}"));
        }
    }
    Ok(())
}
