//! `factum stats`: counts and sizes.

use std::collections::BTreeMap;

use clap::Args;
use comfy_table::{CellAlignment, LineStyle, Table, presets};

use crate::console::{Console, grouped, sized};
use crate::failure::Failure;
use crate::{moment, store_url};

const EXAMPLES: &str = "\
Examples:
  factum stats
  factum stats --json | jq .disk_bytes";

/// How many categories, and how many types, a person is shown.
const NAMES_SHOWN: usize = 20;

/// Print counts and sizes: events, streams, categories, types, bytes, positions, times
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Stats {}

pub(crate) async fn run(_: Stats, url: &str, console: &mut Console<'_>) -> Result<(), Failure> {
    let store = store_url::open_to_read(url).await?;
    let stats = store.stats().await?;
    if console.json {
        let object = serde_json::to_string(&stats).map_err(|error| Failure::could_not(format!("can't print: {error}")))?;
        return console.line(object);
    }
    let mut facts = vec![
        ("store".to_owned(), store_url::shown(url)),
        ("events".to_owned(), grouped(stats.events)),
        ("streams".to_owned(), grouped(stats.streams)),
        ("last position".to_owned(), grouped(stats.head.number())),
    ];
    let times = [("first recorded", stats.first_recorded_at), ("last recorded", stats.last_recorded_at)];
    facts.extend(times.into_iter().filter_map(|(name, time)| Some((name.to_owned(), moment::format(time?)))));
    facts.extend(stats.disk_bytes.iter().map(|(what, bytes)| (format!("disk, {}", what.replace('_', " ")), sized(*bytes))));
    facts.extend(stats.details.iter().map(|(what, number)| (what.replace('_', " "), grouped(*number))));
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for (name, value) in facts {
        table.add_row([name, value]);
    }
    print(&table, console)?;
    names("category", &stats.categories, console)?;
    names("type", &stats.types, console)?;
    for note in &stats.notes {
        console.note(note);
    }
    if stats.names_cut {
        console.note("there are more categories or types than the store counts by name");
    }
    Ok(())
}

/// The names with the most events, and how many have been left out.
fn names(kind: &str, counts: &BTreeMap<String, u64>, console: &mut Console<'_>) -> Result<(), Failure> {
    if counts.is_empty() {
        return Ok(());
    }
    let mut sorted: Vec<_> = counts.iter().collect();
    sorted.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let mut table = Table::new();
    table.load_style(presets::NOTHING.header_separator(LineStyle::none().fill('─').junction('─'))).set_header([kind, "events"]);
    for (name, count) in sorted.iter().take(NAMES_SHOWN) {
        table.add_row([name.to_string(), grouped(**count)]);
    }
    if sorted.len() > NAMES_SHOWN {
        table.add_row([format!("… and {} more", sorted.len() - NAMES_SHOWN), String::new()]);
    }
    if let Some(column) = table.column_mut(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    console.line("")?;
    print(&table, console)
}

fn print(table: &Table, console: &mut Console<'_>) -> Result<(), Failure> {
    for line in table.lines() {
        console.line(line.trim_end())?;
    }
    Ok(())
}
