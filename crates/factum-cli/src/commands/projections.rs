//! `factum projections`: which there are, and with their database, how far their rows are, what was put aside, how two versions differ, and which
//! one readers see.

#[cfg(any(feature = "sqlite", feature = "postgres", feature = "redis"))]
mod in_database;

use clap::{Args, Subcommand};
use factum::GlobalPosition;
use serde_json::json;

use crate::console::Console;
use crate::failure::Failure;
use crate::store_url;

const EXAMPLES: &str = "\
Examples:
  factum projections                                             their names
  factum projections --database sqlite:orders.db                 their versions, positions and lag
  factum projections show orders --database sqlite:orders.db     one, with the events that it has put aside
  factum projections replay orders --database sqlite:orders.db   apply those again, all or --position 42
  factum projections skip orders --position 42 --database …      never apply that one
  factum projections rebuild orders --database sqlite:orders.db  ask the program that runs it to build the next version
  factum projections compare orders --database sqlite:orders.db  the newest version with the one that readers see
  factum projections switch orders --database sqlite:orders.db   let readers see the newest version
  factum projections drop orders --database sqlite:orders.db     drop the versions before that
  factum projections drop orders --version 3 --database …        give up the one that is being built

A new version is built by the program that has its code, beside the old one: when it is asked to by rebuild, or by itself.
The database is sqlite:PATH, postgres://… or redis://…, where this program has them.";

/// List projections: versions, position, lag; replay or skip what was put aside; compare two versions, switch readers over, drop the old
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Projections {
    /// The database that the rows are in
    #[arg(long, value_name = "URL", global = true)]
    database: Option<String>,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Subcommand, Debug)]
pub(crate) enum What {
    /// Show one projection and the events that it has put aside
    Show(Which),
    /// Have events that were put aside applied again, by the program that runs the projection
    Replay {
        /// The projection's name
        name: String,
        /// Only the event at this position
        #[arg(long, value_name = "POSITION")]
        position: Option<GlobalPosition>,
    },
    /// Give up an event that was put aside
    Skip {
        /// The projection's name
        name: String,
        /// The event at this position
        #[arg(long, value_name = "POSITION")]
        position: GlobalPosition,
    },
    /// Ask the program that runs it to build the next version of the rows, beside the one that readers see
    Rebuild(Which),
    /// Compare the newest version of the rows with the one that readers see, at the same position
    Compare(Named),
    /// Let readers see the newest version from one moment to the next
    Switch(Named),
    /// Drop the versions before the one that readers see, or one that they don't see
    Drop(Dropped),
}

/// Which projection.
#[derive(Args, Debug)]
pub(crate) struct Which {
    /// Its name
    name: String,
}

/// Which versions to drop.
#[derive(Args, Debug)]
pub(crate) struct Dropped {
    /// The projection's name
    name: String,
    /// This version, instead of all before the one that readers see
    #[arg(long, value_name = "N")]
    version: Option<u32>,
}

/// Which projection, and how long to wait.
#[derive(Args, Debug)]
pub(crate) struct Named {
    /// Its name
    name: String,
    /// How long to wait for both versions to be at the same position
    #[arg(long, value_name = "N", default_value_t = 10)]
    wait_seconds: u64,
}

pub(crate) async fn run(projections: Projections, url: &str, console: &mut Console<'_>) -> Result<(), Failure> {
    match (projections.database, projections.what) {
        (None, None) => names(url, console).await,
        (None, Some(_)) => Err(Failure::usage(
            "say which database the rows are in, --database sqlite:PATH, --database postgres://… or --database redis://…",
        )),
        #[cfg(any(feature = "sqlite", feature = "postgres", feature = "redis"))]
        (Some(database), what) => in_database::run(&database, what, url, console).await,
        #[cfg(not(any(feature = "sqlite", feature = "postgres", feature = "redis")))]
        (Some(_), _) => Err(Failure::usage("this program has no database of rows; build it with --features sqlite, postgres or redis")),
    }
}

async fn names(url: &str, console: &mut Console<'_>) -> Result<(), Failure> {
    let store = store_url::open_to_read(url).await?;
    let names = factum::projection::names(&store).await?;
    for name in &names {
        if console.json {
            console.line(json!({"projection": name}))?;
        } else {
            console.line(console.look.name(name))?;
        }
    }
    if !console.json {
        console.note(if names.is_empty() {
            "no projections; a program makes one by running a Projector"
        } else {
            "with --database URL also how far they are"
        });
    }
    Ok(())
}
