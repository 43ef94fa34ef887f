//! `factum trace`: everything that came of one request, as the tree of what followed from what.

use std::collections::HashMap;
use std::num::NonZeroUsize;

use clap::Args;
use factum::causation::{self, CorrelationId};
use factum::{GlobalPosition, ReadLog, RecordedEvent, StartFrom, Timestamp, Uuid};
use futures::TryStreamExt;
use memchr::memmem;

use crate::console::{Console, counted, cut};
use crate::event_json::write_event;
use crate::failure::Failure;
use crate::{moment, payload, store_url};

const EXAMPLES: &str = "\
Examples:
  factum trace request-7                         what came of a request, by the correlation id it gave
  factum trace 0190a0b0-0000-7000-8000-000000000001    or of an event that began without one, by its id
  factum trace request-7 --after 1200000         the log before that position is not looked at
  factum trace request-7 --since 2026-03-01      nor what was recorded before that moment
  factum trace request-7 --json | jq -r '\"\\(.depth) \\(.event.type)\"'

The whole log is looked through, because metadata is in no index: --since and --after save time.";

/// Print everything that came of one request, as a tree
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Trace {
    /// What the events have in common: their `correlation_id`, or the id of the event that began it
    #[arg(value_name = "CORRELATION_ID")]
    correlation_id: CorrelationId,
    /// Only events after this position
    #[arg(long, value_name = "POSITION", default_value = "0", hide_default_value = true)]
    after: GlobalPosition,
    /// Only events that were recorded then or later
    #[arg(long, value_name = "MOMENT", value_parser = moment::parse)]
    since: Option<Timestamp>,
    /// At most so many events, the oldest
    #[arg(long, value_name = "N", default_value = "10000")]
    limit: NonZeroUsize,
}

/// An event of the trace, and what it follows from.
struct Traced {
    event: RecordedEvent,
    cause: Option<Uuid>,
}

pub(crate) async fn run(trace: Trace, store: &str, console: &mut Console<'_>) -> Result<(), Failure> {
    let store = store_url::open_to_read(store).await?;
    let head = store.head().await?;
    let since = match trace.since {
        Some(moment) => StartFrom::Time(moment).resolve(&*store).await?,
        None => GlobalPosition::START,
    };
    let after = trace.after.max(since);
    let bar = console.events_bar(Some(store.stats().await?.events), "looking");
    let finder = memmem::Finder::new(mark(trace.correlation_id.as_str()));
    let begins: Option<Uuid> = trace.correlation_id.as_str().parse().ok();
    let mut events = store.read_log(ReadLog { after, up_to: Some(head), ..ReadLog::default() });
    let mut traced = Vec::new();
    let mut belongs_to = None;
    let mut is_cut = false;
    let mut seen = 0u64;
    while let Some(event) = events.try_next().await? {
        seen += 1;
        if seen.is_multiple_of(1_024) {
            bar.set_position(seen);
        }
        let is_first = begins == Some(event.id);
        if !is_first && finder.find(&event.metadata).is_none() {
            continue;
        }
        let carried = causation::of(&event);
        match &carried {
            Some(carried) if carried.correlation_id == trace.correlation_id => {}
            Some(carried) if is_first => {
                belongs_to = Some(carried.correlation_id.clone());
                continue;
            }
            None if is_first => {}
            _ => continue,
        }
        if traced.len() == trace.limit.get() {
            is_cut = true;
            break;
        }
        traced.push(Traced { cause: carried.and_then(|carried| carried.causation_id), event });
    }
    bar.finish_and_clear();
    if traced.is_empty() {
        return Err(not_found(&trace.correlation_id, belongs_to));
    }
    print(&trace.correlation_id, &traced, console)?;
    if is_cut {
        console.note(format_args!("note: there is more; --limit {} shows more of it", trace.limit.get().saturating_mul(10)));
    }
    Ok(())
}

/// What the metadata of an event of the trace is sure to contain: the id as it is, unless it has characters that some writers escape.
fn mark(id: &str) -> &str {
    let is_plain = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte));
    if is_plain { id } else { "correlation_id" }
}

fn not_found(id: &CorrelationId, belongs_to: Option<CorrelationId>) -> Failure {
    match belongs_to {
        Some(other) => Failure::could_not(format!("event {id} belongs to {other}; try `factum trace {other}`")),
        None => Failure::could_not(format!("no event carries the correlation id {id}; `factum log --json` shows each event's metadata")),
    }
}

fn print(id: &CorrelationId, traced: &[Traced], console: &mut Console<'_>) -> Result<(), Failure> {
    let tree = Tree::of(traced);
    if !console.json {
        let streams: std::collections::HashSet<_> = traced.iter().map(|traced| &traced.event.stream).collect();
        let (events, streams) = (counted(traced.len() as u64, "event"), counted(streams.len() as u64, "stream"));
        console.line(format_args!("{}  {events} in {streams}", console.look.strong(id)))?;
    }
    // What is to be printed, the next on top: which event, how deep, and the rails before it.
    let mut open: Vec<(usize, usize, String)> = Vec::new();
    let push = |open: &mut Vec<(usize, usize, String)>, numbers: &[usize], depth: usize, rails: &str| {
        open.extend(numbers.iter().rev().map(|number| (*number, depth, rails.to_owned())));
    };
    push(&mut open, &tree.roots, 0, "");
    let mut last_at: HashMap<usize, usize> = HashMap::new();
    for (parent, children) in &tree.children {
        last_at.insert(*children.last().expect("a parent has children"), *parent);
    }
    while let Some((number, depth, rails)) = open.pop() {
        let is_last = last_at.contains_key(&number) || tree.roots.last() == Some(&number);
        print_one(&traced[number], depth, &format!("{rails}{}", if is_last { "└─ " } else { "├─ " }), &tree, console)?;
        if let Some(children) = tree.children.get(&number) {
            push(&mut open, children, depth + 1, &format!("{rails}{}", if is_last { "   " } else { "│  " }));
        }
    }
    Ok(())
}

fn print_one(traced: &Traced, depth: usize, rails: &str, tree: &Tree, console: &mut Console<'_>) -> Result<(), Failure> {
    let Traced { event, cause } = traced;
    if console.json {
        let cause = cause.map_or_else(|| "null".to_owned(), |cause| format!("\"{cause}\""));
        write!(console.out, "{{\"depth\":{depth},\"causation_id\":{cause},\"event\":")?;
        write_event(console.out, event)?;
        return Ok(console.out.write_all(b"}\n")?);
    }
    let look = console.look;
    let (stream, version, time) = (&event.stream, event.version, moment::format(event.happened_at()));
    let mut line = format!(
        "{} {}  {}  {}",
        look.name(stream),
        look.faint(format_args!("v{version}")),
        look.strong(&event.event_type),
        look.faint(time)
    );
    if let Some(cause) = cause.filter(|cause| !tree.ids.contains_key(cause)) {
        line.push_str(&format!("  (follows from {cause}, which is not in this trace)"));
    }
    if let Some(json) = payload::as_json_line(&event.data) {
        let room = console.columns.map_or(usize::MAX, |columns| columns.saturating_sub(rails.chars().count() + 60).max(20));
        line.push_str(&format!("  {}", cut(&String::from_utf8_lossy(&json), room)));
    }
    console.line(format_args!("{}{line}", look.faint(rails)))
}

/// What follows from what, by numbers in the order of the log.
struct Tree {
    ids: HashMap<Uuid, usize>,
    roots: Vec<usize>,
    children: HashMap<usize, Vec<usize>>,
}

impl Tree {
    /// An event follows from its cause if that stands before it. What says that it follows from itself, or from what came later, is a root:
    /// metadata is what its writer put there, and a tree has no circles.
    fn of(traced: &[Traced]) -> Self {
        let mut tree = Self { ids: HashMap::new(), roots: Vec::new(), children: HashMap::new() };
        for (number, Traced { event, cause }) in traced.iter().enumerate() {
            match cause.and_then(|cause| tree.ids.get(&cause)) {
                Some(&parent) => tree.children.entry(parent).or_default().push(number),
                None => tree.roots.push(number),
            }
            tree.ids.entry(event.id).or_insert(number);
        }
        tree
    }
}
