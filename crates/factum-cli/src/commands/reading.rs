//! What the commands about readers have in common: how far behind a reader is, what it has put aside, and their tables.

use comfy_table::{LineStyle, Table, presets};
use factum::{EventStore, GlobalPosition, ParkedEvent, Query, ReadLog, StartFrom};
use futures::TryStreamExt;
use serde_json::Value;

use crate::console::{Console, grouped};
use crate::failure::Failure;
use crate::moment;

/// So many events are counted; beyond that it only matters that they are many.
const COUNTED_MAX: u64 = 10_000;

/// How many events stand behind a position.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Behind(u64);

impl Behind {
    /// Counts the events that match behind `position`.
    pub(crate) async fn count(store: &dyn EventStore, after: GlobalPosition, query: Query) -> Result<Self, Failure> {
        if query.is_all() && store.capabilities().contiguous_positions.is_yes() {
            return Ok(Self(store.head().await?.number().saturating_sub(after.number())));
        }
        let mut events = store.read_log(ReadLog { after, query, limit: Some(COUNTED_MAX + 1), ..ReadLog::default() });
        let mut count = 0;
        while events.try_next().await?.is_some() {
            count += 1;
        }
        Ok(Self(count))
    }

    /// As a number, for a script. At most one more than are counted.
    pub(crate) fn number(self) -> Value {
        self.0.into()
    }

    /// For a person.
    pub(crate) fn shown(self) -> String {
        if self.0 > COUNTED_MAX { format!("{}+", grouped(COUNTED_MAX)) } else { grouped(self.0) }
    }
}

/// Prints a table.
pub(crate) fn print(heading: &[&str], rows: Vec<Vec<String>>, console: &mut Console<'_>) -> Result<(), Failure> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING.header_separator(LineStyle::none().fill('─').junction('─'))).set_header(heading.to_vec());
    for row in rows {
        table.add_row(row);
    }
    for line in table.lines() {
        console.line(line.trim_end())?;
    }
    Ok(())
}

/// Prints events that a reader has put aside, if there are any.
pub(crate) fn print_parked(parked: &[ParkedEvent], console: &mut Console<'_>) -> Result<(), Failure> {
    if parked.is_empty() {
        return Ok(());
    }
    let rows = parked.iter().map(|event| {
        let replay = if event.replay { "to be replayed" } else { "" };
        [vec![event.position.to_string()], describe(event), vec![replay.to_owned()]].concat()
    });
    print(&["position", "event", "type", "attempts", "since", "reason", ""], rows.collect(), console)
}

/// A parked event, for a row of a table.
pub(crate) fn describe(event: &ParkedEvent) -> Vec<String> {
    vec![
        format!("{} v{}", event.stream, event.version),
        event.event_type.to_string(),
        event.attempts.to_string(),
        moment::format(event.parked_at),
        event.reason.clone(),
    ]
}

/// `beginning`, `end`, a position, or a time.
pub(crate) fn start(text: &str) -> Result<StartFrom, String> {
    match text {
        "beginning" => Ok(StartFrom::Beginning),
        "end" => Ok(StartFrom::End),
        _ => match text.parse::<GlobalPosition>() {
            Ok(position) => Ok(StartFrom::After(position)),
            Err(_) => moment::parse(text)
                .map(StartFrom::Time)
                .map_err(|_| format!("{text:?} is none of beginning, end, a position such as 1200, or a time such as 2026-03-01T12:30")),
        },
    }
}
