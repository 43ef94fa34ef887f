//! `factum replay`: the state of streams, folded from their events, now or at an earlier moment.

use std::path::PathBuf;

use clap::Args;
use factum::{Category, EventStore, ListStreams, ReadStream, RecordedEvent, SharedStore, StreamId, StreamVersion, Timestamp};
use futures::TryStreamExt;

use crate::commands::read::no_such_stream;
use crate::console::{Console, cut};
use crate::diff::{self, Change};
use crate::event_json::write_text;
use crate::failure::Failure;
use crate::fold::{Fold, Program};
use crate::json::{self, Val};
use crate::{moment, store_url};

const EXAMPLES: &str = "\
Examples:
  factum replay Order-1                          the state now
  factum replay Order-1 --at-version 3
  factum replay Order-1 --at-time 2026-03-01     as it was when that day began (UTC)
  factum replay Order-1 --each                   every event, and what it changed
  factum replay --category Order --fold total.jq --json

Without --fold, each event's data is merged into the state in version order (JSON Merge Patch, RFC 7396: null removes a field).
A fold is a jq program; its input is {\"state\", \"event\"}, the state is null before the first event, and its result is the next
state; giving none (select) leaves the state as it is. An event has the fields that --json prints:
position, stream, version, id, type, recorded_at, occurred_at, data, metadata, tags. For example, total.jq:
  if .event.type == \"ItemAdded\" then .state + .event.data.price else .state end

With --json: {\"stream\",\"version\",\"state\"}, and with --each {\"stream\",\"version\",\"type\",\"state\",\"changed\"}, where changed lists
{\"path\",\"from\",\"to\"}. The version is that of the last event that was folded, 0 if there was none yet.";

/// Print the state of a stream, folded from its events, now or as it was
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Replay {
    /// The stream
    #[arg(value_name = "STREAM", required_unless_present = "category", conflicts_with = "category")]
    stream: Option<StreamId>,
    /// All streams of this category, one state each
    #[arg(long, value_name = "CATEGORY")]
    category: Option<Category>,
    /// Only events up to this version
    #[arg(long, value_name = "VERSION", conflicts_with = "at_time")]
    at_version: Option<u64>,
    /// Only events that had happened by then: RFC 3339, or a date, which means its beginning (UTC)
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    at_time: Option<Timestamp>,
    /// Go by when events were recorded, not by when they happened
    #[arg(long, requires = "at_time")]
    recorded: bool,
    /// A jq program that makes the next state from {state, event}
    #[arg(long, value_name = "FILE.jq")]
    fold: Option<PathBuf>,
    /// Print the state after every event, and what changed
    #[arg(long)]
    each: bool,
}

pub(crate) async fn run(replay: Replay, url: &str, console: &mut Console<'_>) -> Result<(), Failure> {
    let fold = match &replay.fold {
        None => Fold::Merge,
        Some(path) => {
            let name = path.display().to_string();
            let code = std::fs::read_to_string(path).map_err(|error| Failure::could_not(format!("can't read the fold {name}: {error}")))?;
            Fold::Program(Box::new(Program::compile(&name, &code).map_err(Failure::could_not)?))
        }
    };
    let store = store_url::open_to_read(url).await?;
    let replayer = Replayer { store: &*store, fold, replay: &replay };
    match (&replay.stream, &replay.category) {
        (Some(stream), _) => replayer.one(stream, url, console).await,
        (None, Some(category)) => replayer.category(&store, category, console).await,
        (None, None) => Err(Failure::usage("which stream? give its name, or --category")),
    }
}

struct Replayer<'a> {
    store: &'a dyn EventStore,
    fold: Fold,
    replay: &'a Replay,
}

/// A stream, folded so far.
struct Folded {
    version: StreamVersion,
    happened_at: Option<Timestamp>,
    state: Val,
}

impl Replayer<'_> {
    async fn one(&self, stream: &StreamId, url: &str, console: &mut Console<'_>) -> Result<(), Failure> {
        let Some(info) = self.store.stream(stream).await? else { return Err(no_such_stream(stream, url)) };
        if let Some(asked) = self.replay.at_version
            && asked > info.version.get()
        {
            return Err(Failure::could_not(format!("{stream} is at version {}, there is no version {asked} yet", info.version)));
        }
        if info.first_version > StreamVersion::FIRST {
            let first = info.first_version;
            console.note(format_args!("note: {stream} is truncated before version {first}; the state is folded from what is left"));
        }
        let folded = self.fold_stream(stream, console).await?;
        if self.replay.each {
            return Ok(());
        }
        if console.json {
            return print_state(stream, &folded, console);
        }
        let look = console.look;
        let when = match (folded.happened_at, self.replay.at_time) {
            (Some(happened), _) => format!("at version {} of {}, since {}", folded.version, info.version, moment::format(happened)),
            (None, Some(asked)) => format!("nothing had happened by {}", moment::format(asked)),
            (None, None) => "without events".to_owned(),
        };
        console.line(format_args!("{} {}", look.name(stream), look.faint(when)))?;
        console.line(json::pretty(&folded.state, 0))
    }

    async fn category(&self, store: &SharedStore, category: &Category, console: &mut Console<'_>) -> Result<(), Failure> {
        let mut streams = store.streams(ListStreams { category: Some(category.clone()), ..ListStreams::default() });
        let (mut seen, mut columns) = (false, 10);
        while let Some(info) = streams.try_next().await? {
            seen = true;
            let folded = self.fold_stream(&info.stream, console).await?;
            if self.replay.each {
                continue;
            }
            if console.json {
                print_state(&info.stream, &folded, console)?;
                continue;
            }
            columns = columns.max(info.stream.as_str().chars().count()).min(40);
            let look = console.look;
            let name = format!("{:<columns$}", info.stream);
            let version = format!("v{:<4}", folded.version.get());
            let room = console.columns.map_or(usize::MAX, |all| all.saturating_sub(columns + 9).max(20));
            let state = cut(&json::line(&folded.state), room);
            console.line(format_args!("{}  {}  {state}", look.name(name), look.faint(version)))?;
        }
        if !seen && !console.json {
            console.note(format_args!("there are no streams of category {category}; `factum stats` lists the categories"));
        }
        Ok(())
    }

    /// Folds one stream, printing each step if that was asked for.
    async fn fold_stream(&self, stream: &StreamId, console: &mut Console<'_>) -> Result<Folded, Failure> {
        let to = self.replay.at_version.map(StreamVersion::new);
        let mut events = self.store.read_stream(stream, ReadStream { to, ..ReadStream::default() });
        let mut folded = Folded { version: StreamVersion::NONE, happened_at: None, state: Val::Null };
        if to == Some(StreamVersion::NONE) {
            return Ok(folded);
        }
        while let Some(event) = events.try_next().await? {
            if !self.is_wanted(&event) {
                continue;
            }
            let before = if self.replay.each { folded.state.clone() } else { Val::Null };
            folded.state = self.fold.apply(folded.state, &event).map_err(|reason| {
                let (stream, version, event_type) = (&event.stream, event.version, &event.event_type);
                Failure::could_not(format!("{stream} version {version} ({event_type}): {reason}"))
            })?;
            folded.version = event.version;
            folded.happened_at = Some(event.happened_at());
            if self.replay.each {
                print_step(&event, &folded.state, &diff::changes(&before, &folded.state), console)?;
            }
        }
        Ok(folded)
    }

    fn is_wanted(&self, event: &RecordedEvent) -> bool {
        let Some(until) = self.replay.at_time else { return true };
        let moment = if self.replay.recorded { event.recorded_at } else { event.happened_at() };
        moment <= until
    }
}

fn print_state(stream: &StreamId, folded: &Folded, console: &mut Console<'_>) -> Result<(), Failure> {
    console.out.write_all(b"{\"stream\":")?;
    write_text(console.out, stream.as_str())?;
    console.line(format_args!(",\"version\":{},\"state\":{}}}", folded.version, json::line(&folded.state)))
}

fn print_step(event: &RecordedEvent, state: &Val, changes: &[Change], console: &mut Console<'_>) -> Result<(), Failure> {
    if console.json {
        console.out.write_all(b"{\"stream\":")?;
        write_text(console.out, event.stream.as_str())?;
        write!(console.out, ",\"version\":{},\"type\":", event.version)?;
        write_text(console.out, event.event_type.as_str())?;
        return console.line(format_args!(",\"state\":{},\"changed\":{}}}", json::line(state), diff::to_json(changes)));
    }
    let look = console.look;
    let version = format!("v{}", event.version);
    let time = look.faint(moment::format(event.happened_at()));
    console.line(format_args!("{} {version}  {}  {time}", look.name(&event.stream), look.strong(&event.event_type)))?;
    for change in changes {
        console.line(format_args!("    {}", change.show(look, console.columns.unwrap_or(200))))?;
    }
    if changes.is_empty() {
        console.line(look.faint("    (nothing changed)"))?;
    }
    console.line(format_args!("    {} {}", look.faint("="), shown_state(state, console)))
}

/// The state after a step, on one line.
fn shown_state(state: &Val, console: &Console<'_>) -> String {
    let line = json::line(state);
    console.columns.map_or(line.clone(), |columns| cut(&line, columns.saturating_sub(6).max(20)))
}
