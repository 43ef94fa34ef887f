//! Counts and sizes of an embedded store.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use factum_engine::disk::RealDisk;
use factum_engine::{Key, Snapshot, Take};
use jiff::Timestamp;

use super::payload::{Keys, Parts};
use super::source::Source;
use crate::error::Result;
use crate::stream::category_of;
use crate::{GlobalPosition, Stats};

pub(super) fn stats(source: &Source, directory: &Path) -> Result<Stats> {
    let snapshot = source.snapshot()?;
    let keys = source.keys();
    let last = snapshot.last();
    let (categories, categories_cut) = counts(&snapshot, keys.categories(), |parts| category_of(parts.stream), |name| keys.category(name))?;
    let (types, types_cut) = counts(&snapshot, keys.types(), |parts| parts.event_type, |name| keys.event_type(name))?;
    let (disk_bytes, mut details) = files(directory);
    details.extend(factum_engine::dead_bytes(&RealDisk, directory).map(|bytes| ("dead_bytes".to_owned(), bytes)));
    Ok(Stats {
        store: "file".to_owned(),
        events: last,
        streams: snapshot.total(Keys::streams(keys))?,
        categories,
        types,
        names_cut: categories_cut || types_cut,
        head: GlobalPosition::from_number(last),
        first_recorded_at: recorded_at(&snapshot, 1)?,
        last_recorded_at: recorded_at(&snapshot, last)?,
        disk_bytes,
        details,
        notes: Vec::new(),
    })
}

/// The names whose first events are listed under `list`, with how many events each has; and whether there are more.
fn counts<'k>(
    snapshot: &Snapshot,
    list: Key,
    name: impl for<'p> Fn(&Parts<'p>) -> &'p str,
    key: impl Fn(&str) -> Key + 'k,
) -> Result<(BTreeMap<String, u64>, bool)> {
    let positions = snapshot.positions(list, 0, u64::MAX, Take::Lowest, Stats::NAMES_MAX + 1)?;
    let cut = positions.len() > Stats::NAMES_MAX;
    let mut names = Vec::new();
    snapshot.entries(&positions[..positions.len().min(Stats::NAMES_MAX)], |entry| {
        names.extend(Parts::read(entry.payload).map(|parts| name(&parts).to_owned()));
        ControlFlow::Continue(())
    })?;
    let mut counts = BTreeMap::new();
    for name in names {
        let count = snapshot.total(key(&name))?;
        counts.insert(name, count);
    }
    Ok((counts, cut))
}

fn recorded_at(snapshot: &Snapshot, position: u64) -> Result<Option<Timestamp>> {
    if position == 0 || position > snapshot.last() {
        return Ok(None);
    }
    let time = snapshot.entry(position, |entry| entry.time)?;
    Ok(i64::try_from(time).ok().and_then(|time| Timestamp::from_microsecond(time).ok()))
}

/// What the files take, by what they are for, and how many there are.
fn files(directory: &Path) -> (BTreeMap<String, u64>, BTreeMap<String, u64>) {
    let (mut bytes, mut counts) = (BTreeMap::new(), BTreeMap::new());
    for part in ["log", "index"] {
        // What can't be listed is not counted; a file may just have been replaced by another.
        for file in fs::read_dir(directory.join(part)).into_iter().flatten().flatten() {
            let Ok(metadata) = file.metadata() else { continue };
            let extension = file.path().extension().map(|extension| extension.to_string_lossy().into_owned()).unwrap_or_default();
            let (what, counted) = match extension.as_str() {
                "seg" => ("log", "segments"),
                "run" | "anchors" => ("index", "index_files"),
                _ => continue,
            };
            *bytes.entry(what.to_owned()).or_default() += metadata.len();
            *counts.entry(counted.to_owned()).or_default() += 1;
        }
    }
    (bytes, counts)
}
