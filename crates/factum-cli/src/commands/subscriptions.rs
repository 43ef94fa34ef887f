//! `factum subscriptions`: which there are, how far they came, and what they have put aside.

use clap::{Args, Subcommand};
use factum::{GlobalPosition, Query, Subscriptions as All};
use serde_json::json;

use super::reading::{self, Behind};
use crate::console::{Console, counted, grouped};
use crate::failure::Failure;
use crate::store_url;

const EXAMPLES: &str = "\
Examples:
  factum subscriptions                           all, with how far they came
  factum subscriptions show letters              one, with the events that it has put aside
  factum subscriptions replay letters            try those again, all or --position 42
  factum subscriptions skip letters --position 42

A subscription counts as behind by every event after its position, also by those that it does not ask for.
On a file: store replay and skip need the program that reads to be stopped: one process at a time writes there.";

/// List subscriptions: position, lag, and events put aside; replay or skip those
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Subscriptions {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Subcommand, Debug)]
enum What {
    /// Show one subscription and the events that it has put aside
    Show {
        /// Its name
        name: String,
    },
    /// Have events that were put aside handled again, by the program that runs the subscription
    Replay {
        /// Its name
        name: String,
        /// Only the event at this position
        #[arg(long, value_name = "POSITION")]
        position: Option<GlobalPosition>,
    },
    /// Give up an event that was put aside
    Skip {
        /// Its name
        name: String,
        /// The event at this position
        #[arg(long, value_name = "POSITION")]
        position: GlobalPosition,
    },
}

pub(crate) async fn run(subscriptions: Subscriptions, url: &str, console: &mut Console<'_>) -> Result<(), Failure> {
    match subscriptions.what {
        None => list(url, console).await,
        Some(What::Show { name }) => show(&name, url, console).await,
        Some(What::Replay { name, position }) => {
            let count = All::new(store_url::open_to_change(url).await?).replay(&name, position).await?;
            if console.json {
                return console.line(json!({"subscription": name, "replayed": count}));
            }
            console.note(format_args!("{} will be handled again by the program that runs {name}", counted(count as u64, "event")));
            Ok(())
        }
        Some(What::Skip { name, position }) => {
            All::new(store_url::open_to_change(url).await?).skip(&name, position).await?;
            if console.json {
                return console.line(json!({"subscription": name, "skipped": position}));
            }
            console.note(format_args!("the event at position {position} is given up"));
            Ok(())
        }
    }
}

async fn list(url: &str, console: &mut Console<'_>) -> Result<(), Failure> {
    let store = store_url::open_to_read(url).await?;
    let mut rows = Vec::new();
    for state in All::new(store.clone()).list().await? {
        let behind = Behind::count(&*store, state.position, Query::all()).await?;
        if console.json {
            let parked = state.parked.len();
            let object = json!({"subscription": state.name, "position": state.position, "behind": behind.number(), "parked": parked, "fence": state.fence});
            console.line(object)?;
        } else {
            rows.push(vec![state.name, grouped(state.position.number()), behind.shown(), grouped(state.parked.len() as u64)]);
        }
    }
    if rows.is_empty() {
        if !console.json {
            console.note("no subscriptions; a program makes one by running a Processor");
        }
        return Ok(());
    }
    reading::print(&["subscription", "position", "behind", "parked"], rows, console)
}

async fn show(name: &str, url: &str, console: &mut Console<'_>) -> Result<(), Failure> {
    let store = store_url::open_to_read(url).await?;
    let state = All::new(store.clone()).get(name).await?;
    let behind = Behind::count(&*store, state.position, Query::all()).await?;
    if console.json {
        return console
            .line(json!({"subscription": state.name, "position": state.position, "behind": behind.number(), "parked": state.parked}));
    }
    console.line(format_args!("{name} is at position {}, {} events behind", state.position, behind.shown()))?;
    reading::print_parked(&state.parked, console)
}
