//! What there is to know about projections in the database that their rows are in.

use std::time::Duration;

use factum::Query;
#[cfg(feature = "redis")]
use factum::projection::RedisTarget;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
use factum::projection::SqlTarget;
use factum::projection::{Comparison, Versions};
use serde_json::{Value, json};

use super::{Dropped, Named, What, Which};
use crate::commands::reading::{self, Behind};
use crate::console::{Console, counted, grouped};
use crate::failure::Failure;
use crate::store_url;

pub(super) async fn run(database: &str, what: Option<What>, url: &str, console: &mut Console<'_>) -> Result<(), Failure> {
    let target = open(database).await?;
    match what {
        None => list(&*target, url, console).await,
        Some(What::Show(Which { name })) => show(&*target, &name, url, console).await,
        Some(What::Replay { name, position }) => {
            let count = target.replay_parked(&name, position).await?;
            if console.json {
                return console.line(json!({"projection": name, "replayed": count}));
            }
            console.note(format_args!("{} will be applied again by the program that runs {name}", counted(count as u64, "event")));
            Ok(())
        }
        Some(What::Skip { name, position }) => {
            target.skip_parked(&name, position).await?;
            if console.json {
                return console.line(json!({"projection": name, "skipped": position}));
            }
            console.note(format_args!("the event at position {position} is given up"));
            Ok(())
        }
        Some(What::Compare(Named { name, wait_seconds })) => {
            let comparison = target.compare(&name, Duration::from_secs(wait_seconds)).await?;
            print(&name, &comparison, console)
        }
        Some(What::Switch(Named { name, wait_seconds })) => {
            let (version, position) = target.switch(&name, Duration::from_secs(wait_seconds)).await?;
            if console.json {
                return console.line(json!({"projection": name, "version": version, "position": position}));
            }
            console.note(format_args!("readers of {name} see version {version} now, from position {position} on"));
            Ok(())
        }
        Some(What::Rebuild(Which { name })) => {
            let version = target.ask_for_rebuild(&name).await?;
            if console.json {
                return console.line(json!({"projection": name, "version": version}));
            }
            console.note(format_args!(
                "version {version} of {name} is asked for; the program that runs it begins within a second, or when it starts"
            ));
            Ok(())
        }
        Some(What::Drop(Dropped { name, version })) => {
            let dropped = match version {
                Some(version) => target.drop_version(&name, version).await.map(|()| 1)?,
                None => target.drop_old(&name).await?,
            };
            if console.json {
                return console.line(json!({"projection": name, "dropped": dropped}));
            }
            console.note(format_args!("{} of {name} dropped", counted(dropped as u64, "version")));
            Ok(())
        }
    }
}

/// The place that the rows are in.
async fn open(database: &str) -> Result<Box<dyn Versions>, Failure> {
    match database.split_once(':').map(|(scheme, _)| scheme) {
        #[cfg(feature = "redis")]
        Some("redis" | "rediss") => Ok(Box::new(RedisTarget::new(database)?)),
        #[cfg(feature = "sqlite")]
        Some("sqlite") => Ok(Box::new(SqlTarget::connect(database).await?)),
        #[cfg(feature = "postgres")]
        Some("postgres" | "postgresql") => Ok(Box::new(SqlTarget::connect(database).await?)),
        _ => Err(Failure::usage(
            "rows are in sqlite:PATH, postgres://… or redis://…, as far as this program is built with --features sqlite, postgres or redis",
        )),
    }
}

async fn list(target: &dyn Versions, url: &str, console: &mut Console<'_>) -> Result<(), Failure> {
    let store = store_url::open_to_read(url).await?;
    let mut rows = Vec::new();
    for name in factum::projection::names(&store).await? {
        for build in target.builds(&name).await? {
            // Its query is known to its program; what is behind it is counted whatever it is.
            let behind = Behind::count(&*store, build.position, Query::all()).await?;
            if console.json {
                console.line(json!({"projection": name, "version": build.version, "live": build.is_live, "position": build.position,
                    "behind": behind.number(), "tables": build.tables}))?;
            } else {
                let live = if build.is_live { "readers see it" } else { "" };
                let (version, position) = (build.version.to_string(), grouped(build.position.number()));
                rows.push(vec![name.clone(), version, position, behind.shown(), live.to_owned()]);
            }
        }
    }
    if rows.is_empty() {
        if !console.json {
            console.note("no projection of this store has rows in that database");
        }
        return Ok(());
    }
    reading::print(&["projection", "version", "position", "behind", ""], rows, console)
}

async fn show(target: &dyn Versions, name: &str, url: &str, console: &mut Console<'_>) -> Result<(), Failure> {
    let parked = target.parked_events(name).await?;
    let live = target.builds(name).await?.into_iter().find(|build| build.is_live);
    let position = live.map(|build| build.position).unwrap_or_default();
    let behind = Behind::count(&*store_url::open_to_read(url).await?, position, Query::all()).await?;
    if console.json {
        return console.line(json!({"projection": name, "position": position, "behind": behind.number(), "parked": parked}));
    }
    console.line(format_args!("{name} is at position {position}, {} events behind", behind.shown()))?;
    reading::print_parked(&parked, console)
}

fn print(name: &str, comparison: &Comparison, console: &mut Console<'_>) -> Result<(), Failure> {
    if console.json {
        let tables: Vec<Value> = comparison
            .tables
            .iter()
            .map(|table| {
                json!({"table": table.table, "rows_now": table.rows_now, "rows_new": table.rows_new, "only_now": table.only_now,
                    "only_new": table.only_new, "examples": table.examples})
            })
            .collect();
        return console.line(json!({"projection": name, "position": comparison.position, "same": comparison.is_same(), "tables": tables}));
    }
    let verdict = if comparison.is_same() { "have the same rows" } else { "differ" };
    console.line(format_args!("both versions of {name} are at position {} and {verdict}", comparison.position))?;
    for table in &comparison.tables {
        console.line(format_args!(
            "{}: {} now, {} new; {} only now, {} only new",
            table.table,
            counted(table.rows_now, "row"),
            grouped(table.rows_new),
            grouped(table.only_now),
            grouped(table.only_new)
        ))?;
        for row in &table.examples {
            console.line(if row.starts_with('-') { console.look.bad(row) } else { console.look.good(row) })?;
        }
    }
    Ok(())
}
