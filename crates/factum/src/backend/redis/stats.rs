//! Counts and sizes of a partition.

use std::collections::BTreeMap;

use redis::{Cmd, Value};

use super::appending::Place;
use super::entries;
use super::error::unreadable;
use super::link::Repeat;
use super::partition::Partition;
use crate::error::Result;
use crate::{GlobalPosition, Stats};

/// Counts a partition's events and streams, and asks its server how much memory it takes.
pub(super) async fn stats(partition: &Partition) -> Result<Stats> {
    let keys = partition.keys();
    let mut meta = redis::cmd("HMGET");
    meta.arg(keys.meta()).arg("head").arg("first_at").arg("last_at");
    let commands = vec![
        meta,
        words(["XLEN", keys.log()]),
        words(["LLEN", &keys.streams(None)]),
        names(&keys.categories()),
        names(&keys.types()),
        words(["INFO", "memory"]),
    ];
    let mut answers = partition.reading().commands(commands, Repeat::Harmless).await.into_iter();
    let mut next = || answers.next().expect("each command has an answer");
    let Value::Array(meta) = next()? else { return Err(unreadable("what there is one of")) };
    let field = |index: usize| match meta.get(index) {
        Some(Value::BulkString(digits)) => Some(digits.as_slice()),
        _ => None,
    };
    let (events, streams) = (count(&next()?)?, count(&next()?)?);
    let (categories, types) = (texts(next()?)?, texts(next()?)?);
    // A user who may not ask for it still gets the rest.
    let memory = next().ok().as_ref().and_then(used_memory);
    let mut found = Stats {
        store: partition.kind().to_owned(),
        events,
        streams,
        names_cut: categories.len() > Stats::NAMES_MAX || types.len() > Stats::NAMES_MAX,
        head: field(0).and_then(entries::number).map(GlobalPosition::from_number).unwrap_or_default(),
        first_recorded_at: field(1).and_then(entries::micros),
        last_recorded_at: field(2).and_then(entries::micros),
        ..Stats::default()
    };
    found.categories = lengths(partition, categories, |name| keys.category(name)).await?;
    found.types = lengths(partition, types, |name| keys.event_type(name)).await?;
    if let Some(bytes) = memory {
        found.details.insert("server_memory_bytes".to_owned(), bytes);
    }
    let Place { partitions, .. } = partition.place();
    found.details.insert("partitions".to_owned(), partitions.into());
    Ok(found)
}

/// How long the list of positions of each name is.
async fn lengths(partition: &Partition, names: Vec<String>, key: impl Fn(&str) -> String) -> Result<BTreeMap<String, u64>> {
    let names: Vec<String> = names.into_iter().take(Stats::NAMES_MAX).collect();
    if names.is_empty() {
        return Ok(BTreeMap::new());
    }
    let commands = names.iter().map(|name| words(["LLEN", &key(name)])).collect();
    let answers = partition.reading().commands(commands, Repeat::Harmless).await;
    names.into_iter().zip(answers).map(|(name, answer)| Ok((name, count(&answer?)?))).collect()
}

fn words<const N: usize>(words: [&str; N]) -> Cmd {
    let mut cmd = redis::cmd(words[0]);
    for word in &words[1..] {
        cmd.arg(*word);
    }
    cmd
}

/// The names in a list, one more than are shown.
fn names(key: &str) -> Cmd {
    let mut cmd = redis::cmd("LRANGE");
    cmd.arg(key).arg(0).arg(Stats::NAMES_MAX);
    cmd
}

fn count(answer: &Value) -> Result<u64> {
    match answer {
        Value::Int(count) => u64::try_from(*count).map_err(|_| unreadable("a count")),
        _ => Err(unreadable("a count")),
    }
}

fn texts(answer: Value) -> Result<Vec<String>> {
    let Value::Array(texts) = answer else { return Err(unreadable("a list of names")) };
    let text = |value| match value {
        Value::BulkString(bytes) => String::from_utf8(bytes).map_err(|_| unreadable("a name")),
        _ => Err(unreadable("a name")),
    };
    texts.into_iter().map(text).collect()
}

fn used_memory(info: &Value) -> Option<u64> {
    let info = match info {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok()?,
        Value::VerbatimString { text, .. } => text,
        _ => return None,
    };
    info.lines().find_map(|line| line.strip_prefix("used_memory:"))?.trim().parse().ok()
}
