//! `factum groups`: who is in them, how far they are, what holds them up, and what can be done about it.

use clap::{Args, Subcommand};
use factum::{GroupState, Groups as All, StartFrom};
use serde_json::{Value, json};

use super::reading::{self, Behind};
use crate::console::{Console, counted, grouped};
use crate::failure::Failure;
use crate::{moment, store_url};

const EXAMPLES: &str = "\
Examples:
  factum groups                                  all: members, lag, parked events
  factum groups show letters                     one: its members, and the keys that are held up
  factum groups replay letters                   try every parked event again, and go on behind it; or --key Order-1
  factum groups skip letters --key Order-1       give up the event that holds Order-1 up
  factum groups park letters --key Order-1 --reason 'the printer is broken'
  factum groups reset letters --to beginning     or end, a position, a time

Running consumers do what was asked for within a quarter of their lease. On a file: store they have to be stopped
first: one process at a time writes there.";

/// List groups: members, lag, parked; replay, skip and park events, or begin again from somewhere else
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Groups {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Subcommand, Debug)]
enum What {
    /// Show one group: its members, and the keys that an event holds up
    Show {
        /// Its name
        name: String,
    },
    /// Try the event again that holds a key up, and go on behind it, in order
    Replay {
        /// The group's name
        name: String,
        /// Only this key; otherwise all that are parked
        #[arg(long)]
        key: Option<String>,
    },
    /// Give up the event that holds a key up, and go on behind it
    Skip {
        /// The group's name
        name: String,
        /// The key, such as a stream
        #[arg(long)]
        key: String,
    },
    /// Stop trying the event again that holds a key up, until it is replayed or skipped
    Park {
        /// The group's name
        name: String,
        /// The key, such as a stream
        #[arg(long)]
        key: String,
        /// Why, for whoever reads it later
        #[arg(long, default_value = "parked by hand")]
        reason: String,
    },
    /// Begin again from somewhere else; parked events are forgotten
    Reset {
        /// The group's name
        name: String,
        /// `beginning`, `end`, a position behind which to begin, or a time
        #[arg(long, value_parser = reading::start)]
        to: StartFrom,
    },
}

pub(crate) async fn run(groups: Groups, url: &str, console: &mut Console<'_>) -> Result<(), Failure> {
    let what = match groups.what {
        None => return list(url, console).await,
        Some(What::Show { name }) => return show(&name, url, console).await,
        Some(what) => what,
    };
    let all = All::new(store_url::open_to_change(url).await?);
    match what {
        What::Show { .. } => Ok(()),
        What::Replay { name, key } => {
            let count = all.replay(&name, key.as_deref()).await?;
            if console.json {
                return console.line(json!({"group": name, "replayed": count}));
            }
            console.note(format_args!("{} will be tried again", counted(count as u64, "key")));
            Ok(())
        }
        What::Skip { name, key } => {
            all.skip(&name, &key).await?;
            if console.json {
                return console.line(json!({"group": name, "skipped": key}));
            }
            console.note(format_args!("the event that holds {key} up is given up"));
            Ok(())
        }
        What::Park { name, key, reason } => {
            all.park(&name, &key, &reason).await?;
            if console.json {
                return console.line(json!({"group": name, "parked": key}));
            }
            console.note(format_args!("{key} waits until it is replayed or skipped"));
            Ok(())
        }
        What::Reset { name, to } => {
            let position = all.reset(&name, to).await?;
            if console.json {
                return console.line(json!({"group": name, "position": position}));
            }
            console.note(format_args!("{name} begins again behind position {position}"));
            Ok(())
        }
    }
}

fn parked_count(state: &GroupState) -> usize {
    state.held.iter().filter(|held| held.is_parked).count()
}

async fn list(url: &str, console: &mut Console<'_>) -> Result<(), Failure> {
    let store = store_url::open_to_read(url).await?;
    let mut rows = Vec::new();
    for state in All::new(store.clone()).list().await? {
        let behind = Behind::count(&*store, state.position, state.query.clone()).await?;
        let (members, parked) = (state.members.len(), parked_count(&state));
        let waiting = state.held.len() - parked;
        if console.json {
            console.line(json!({"group": state.name, "members": members, "position": state.position, "behind": behind.number(),
                "parked": parked, "waiting": waiting, "lanes": state.lanes, "key": state.key}))?;
        } else {
            let numbers = [members, parked, waiting].map(|number| grouped(number as u64));
            let [members, parked, waiting] = numbers;
            rows.push(vec![state.name, members, grouped(state.position.number()), behind.shown(), parked, waiting]);
        }
    }
    if rows.is_empty() {
        if !console.json {
            console.note("no groups; a program makes one by joining a Group");
        }
        return Ok(());
    }
    reading::print(&["group", "members", "position", "behind", "parked", "waiting"], rows, console)
}

async fn show(name: &str, url: &str, console: &mut Console<'_>) -> Result<(), Failure> {
    let store = store_url::open_to_read(url).await?;
    let state = All::new(store.clone()).get(name).await?;
    let behind = Behind::count(&*store, state.position, state.query.clone()).await?;
    if console.json {
        let members: Vec<Value> =
            state.members.iter().map(|member| json!({"name": member.name, "lanes": member.lanes, "seen_at": member.seen_at})).collect();
        let held: Vec<Value> = state
            .held
            .iter()
            .map(|held| json!({"key": held.key, "parked": held.is_parked, "event": held.event, "ordered": held.is_ordered}))
            .collect();
        return console.line(json!({"group": state.name, "position": state.position, "behind": behind.number(), "lanes": state.lanes,
            "key": state.key, "members": members, "held": held}));
    }
    let lanes = counted(state.lanes.into(), "lane");
    console.line(format_args!(
        "{name} is at position {}, {} events behind; {lanes}, in order by {}",
        state.position,
        behind.shown(),
        state.key
    ))?;
    if !state.members.is_empty() {
        console.line("")?;
        let rows = state.members.iter().map(|member| vec![member.name.clone(), member.lanes.to_string(), moment::format(member.seen_at)]);
        reading::print(&["member", "lanes", "last seen"], rows.collect(), console)?;
    }
    if !state.held.is_empty() {
        console.line("")?;
        let rows = state.held.iter().map(|held| {
            let what = match (held.is_ordered, held.is_parked) {
                (true, _) => "asked for something",
                (false, true) => "parked",
                (false, false) => "tried again",
            };
            [vec![held.key.clone(), what.to_owned()], reading::describe(&held.event)].concat()
        });
        reading::print(&["key", "", "event", "type", "attempts", "since", "reason"], rows.collect(), console)?;
    }
    Ok(())
}
