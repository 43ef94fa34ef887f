//! The commands, one file each.

pub(crate) mod append;
pub(crate) mod compact;
pub(crate) mod completions;
pub(crate) mod copy;
pub(crate) mod demo;
pub(crate) mod export;
pub(crate) mod groups;
pub(crate) mod import;
pub(crate) mod init;
pub(crate) mod log;
pub(crate) mod projections;
pub(crate) mod read;
mod reading;
pub(crate) mod replay;
pub(crate) mod serve;
pub(crate) mod stats;
pub(crate) mod streams;
pub(crate) mod subscriptions;
pub(crate) mod trace;
pub(crate) mod truncate;
pub(crate) mod verify;

use crate::arguments::{Arguments, Command};
use crate::console::Console;
use crate::failure::Failure;

/// Runs the command that the arguments name.
pub(crate) async fn run(arguments: Arguments, console: &mut Console<'_>) -> Result<(), Failure> {
    let Arguments { store, command, .. } = arguments;
    match command {
        Command::Demo(demo) => demo::run(demo, console).await,
        command => run_one(&store, command, console).await,
    }
}

/// Runs any command but the demo, which runs the others.
pub(crate) async fn run_one(store: &str, command: Command, console: &mut Console<'_>) -> Result<(), Failure> {
    match command {
        Command::Init(init) => init::run(init, store, console).await,
        Command::Append(append) => append::run(append, store, console).await,
        Command::Import(import) => import::run(import, store, console).await,
        Command::Export(export) => export::run(export, store, console).await,
        Command::Read(read) => read::run(read, store, console).await,
        Command::Log(log) => log::run(log, store, console).await,
        Command::Streams(streams) => streams::run(streams, store, console).await,
        Command::Subscriptions(subscriptions) => subscriptions::run(subscriptions, store, console).await,
        Command::Groups(groups) => groups::run(groups, store, console).await,
        Command::Projections(projections) => projections::run(projections, store, console).await,
        Command::Replay(replay) => replay::run(replay, store, console).await,
        Command::Trace(trace) => trace::run(trace, store, console).await,
        Command::Truncate(truncate) => truncate::run(truncate, store, console).await,
        Command::Verify(verify) => verify::run(verify, store, console).await,
        Command::Compact(compact) => compact::run(compact, store, console),
        Command::Stats(stats) => stats::run(stats, store, console).await,
        Command::Copy(copy) => copy::run(copy, console).await,
        Command::Completions(completions) => completions::run(&completions, console),
        Command::Serve(serve) => serve::run(serve, store, console).await,
        Command::Demo(_) => Err(Failure::usage("a demo does not run a demo")),
    }
}
