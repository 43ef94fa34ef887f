//! `factum log`: the whole log, as it is or as it grows.

use std::time::Duration;

use clap::Args;
use factum::{Direction, GlobalPosition, ReadLog, RecordedEvent, SharedStore, StreamInfo, Subscription, SubscriptionOptions};
use futures::TryStreamExt;

use crate::console::{Console, cut};
use crate::event_json::write_event;
use crate::failure::Failure;
use crate::filter::Filter;
use crate::{moment, payload, store_url};

const EXAMPLES: &str = "\
Examples:
  factum log --backward --limit 20               the newest twenty
  factum log --follow                            what is there, then what comes, until Ctrl-C
  factum log --category Order --type OrderPlaced --tag vip
  factum log --after 1200 --json | jq -c '[.position, .type]'";

/// How long a follower waits at most before it looks again.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// How many events of a backlog are printed between two looks for Ctrl-C.
const BACKLOG_BETWEEN_LOOKS: u64 = 256;

/// Print the events of all streams in the order they were recorded
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Log {
    /// Only events after this position
    #[arg(long, value_name = "POSITION", default_value = "0", hide_default_value = true)]
    after: GlobalPosition,
    #[command(flatten)]
    filter: Filter,
    /// Newest first
    #[arg(long)]
    backward: bool,
    /// At most so many events
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Go on with what is recorded from now on, until Ctrl-C
    #[arg(long, short, conflicts_with = "backward")]
    follow: bool,
}

pub(crate) async fn run(log: Log, store: &str, console: &mut Console<'_>) -> Result<(), Failure> {
    let store = store_url::open_to_read(store).await?;
    let mut lines = Lines::of_log(store.head().await?);
    if log.follow {
        return follow(log, store, lines, console).await;
    }
    let direction = if log.backward { Direction::Backward } else { Direction::Forward };
    let mut events = store.read_log(ReadLog { after: log.after, query: log.filter.query(), direction, limit: log.limit, up_to: None });
    let mut printed = false;
    while let Some(event) = events.try_next().await? {
        lines.print(&event, console)?;
        printed = true;
    }
    if !printed && !console.json {
        console.note(format_args!("no such events; the last position is {}", store.head().await?));
    }
    Ok(())
}

async fn follow(log: Log, store: SharedStore, mut lines: Lines, console: &mut Console<'_>) -> Result<(), Failure> {
    let options = SubscriptionOptions { after: log.after, query: log.filter.query(), poll_interval: POLL_INTERVAL };
    let mut subscription = Subscription::new(store, options);
    let limit = log.limit.unwrap_or(u64::MAX);
    let interrupt = tokio::signal::ctrl_c();
    tokio::pin!(interrupt);
    let mut printed = 0u64;
    while printed < limit {
        // While there is a backlog the output is buffered; before waiting it is written out.
        let event = match subscription.next_recorded().await? {
            Some(event) => event,
            None => {
                console.out.flush()?;
                tokio::select! {
                    event = subscription.next() => event?,
                    _ = &mut interrupt => return Ok(()),
                }
            }
        };
        lines.print(&event, console)?;
        printed += 1;
        // A long backlog may never wait for anything; Ctrl-C is heard all the same.
        if printed.is_multiple_of(BACKLOG_BETWEEN_LOOKS) {
            tokio::select! {
                biased;
                _ = &mut interrupt => return Ok(()),
                () = tokio::task::yield_now() => {}
            }
        }
    }
    Ok(())
}

/// Prints events one per line: JSON for a script, aligned columns for a person.
pub(crate) struct Lines {
    position_digits: usize,
    version_digits: usize,
    /// The widest so far, so that lines align from the second on.
    type_columns: usize,
    /// `None` where all lines are of one stream, which then need not be said.
    stream_columns: Option<usize>,
}

impl Lines {
    const TYPE_COLUMNS_MAX: usize = 32;
    const STREAM_COLUMNS_MAX: usize = 40;

    /// Lines of the log of a store whose last position is `head`.
    pub(crate) fn of_log(head: GlobalPosition) -> Self {
        Self { position_digits: digits(head.number()), version_digits: 3, type_columns: 16, stream_columns: Some(10) }
    }

    /// Lines of one stream.
    pub(crate) fn of_stream(info: &StreamInfo) -> Self {
        Self { position_digits: 1, version_digits: digits(info.version.get()), type_columns: 16, stream_columns: None }
    }

    /// Prints one event.
    pub(crate) fn print(&mut self, event: &RecordedEvent, console: &mut Console<'_>) -> Result<(), Failure> {
        if console.json {
            write_event(console.out, event)?;
            return Ok(console.out.write_all(b"\n")?);
        }
        let look = console.look;
        let time = moment::format(event.happened_at());
        let version = format!("v{:<width$}", event.version, width = self.version_digits);
        let mut used = time.len() + version.len() + 6;
        if let Some(columns) = &mut self.stream_columns {
            let position = format!("{:>width$}", event.position, width = self.position_digits);
            let stream = padded(event.stream.as_str(), columns, Self::STREAM_COLUMNS_MAX);
            used += position.len() + stream.chars().count() + 4;
            write!(console.out, "{}  {}  {}  {version}", look.faint(position), look.faint(time), look.name(stream))?;
        } else {
            write!(console.out, "{version}  {}", look.faint(time))?;
        }
        let event_type = padded(event.event_type.as_str(), &mut self.type_columns, Self::TYPE_COLUMNS_MAX);
        used += event_type.chars().count();
        let data = shown(&event.data);
        let data = console.columns.map_or(data.clone(), |columns| cut(&data, columns.saturating_sub(used).max(20)));
        console.line(format_args!("  {}  {data}", look.strong(event_type)))
    }
}

/// Data as a person reads it.
fn shown(bytes: &[u8]) -> String {
    match payload::as_json_line(bytes) {
        Some(json) => String::from_utf8_lossy(&json).into_owned(),
        None => format!("({} bytes that are not JSON)", bytes.len()),
    }
}

fn padded(text: &str, columns: &mut usize, columns_max: usize) -> String {
    *columns = (*columns).max(text.chars().count()).min(columns_max);
    format!("{text:<columns$}")
}

fn digits(number: u64) -> usize {
    number.to_string().len()
}
