//! `factum`, the command line of the event store.

mod arguments;
mod commands;
mod console;
mod diff;
mod event_json;
mod failure;
mod filter;
mod fold;
mod import;
mod json;
mod moment;
mod payload;
mod sequence;
mod store_url;
mod warnings;

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use clap::Parser;

use crate::arguments::{Arguments, Command};
use crate::console::{Console, Look};
use crate::failure::Failure;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return failure::of_arguments(&error).report(&mut io::stderr(), &Look::of_stderr()),
    };
    // A server keeps a log of its own.
    if !matches!(arguments.command, Command::Serve(_)) {
        warnings::print();
    }
    // What the log's writer answers comes from its own thread, which may have nothing to do until that is looked at.
    let runtime = match tokio::runtime::Builder::new_current_thread().global_queue_interval(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::could_not(format!("can't start: {error}")).report(&mut io::stderr(), &Look::of_stderr()),
    };
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let mut notes = io::stderr();
    let outcome = {
        let mut console = Console::new(&mut out, &mut notes, arguments.json);
        runtime.block_on(commands::run(arguments, &mut console))
    };
    // What was printed before a failure is printed whatever the failure is.
    let flushed = out.flush().map_err(Failure::from);
    match outcome.and(flushed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(&mut notes, &Look::of_stderr()),
    }
}
