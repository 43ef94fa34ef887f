//! The command line: its words, and what `--help` says of them.

use clap::{Parser, Subcommand};

use crate::{commands, store_url};

const EXAMPLES: &str = "\
Examples:
  factum demo                                    see what it does, in two seconds
  factum append Order-1 --type OrderPlaced --data '{\"total\": 42}'
  factum import orders.jsonl                     or `-` for standard input
  factum read Order-1
  factum log --follow
  factum replay Order-1 --at-time 2026-03-01     the state as it was then
  factum serve                                   let programs in every language use it, as they use Redis

Exit codes: 0 done, 1 could not, 2 called wrongly, 3 conflict (the store is not as expected; look again and decide again).";

/// Factum keeps events: append, import, read, follow, replay and check them.
#[derive(Parser, Debug)]
#[command(name = "factum", version, after_help = EXAMPLES, max_term_width = 120, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    /// The store: file:PATH, a directory of events; or postgres://… or redis://…, where this program has them
    #[arg(long, global = true, env = "FACTUM_STORE", default_value = store_url::DEFAULT, value_name = "URL", help_heading = "Everywhere")]
    pub(crate) store: String,
    /// Print data as JSON, one object per line
    #[arg(long, global = true, help_heading = "Everywhere")]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    Init(commands::init::Init),
    Append(commands::append::Append),
    Import(commands::import::Import),
    Export(commands::export::Export),
    Read(commands::read::Read),
    Log(commands::log::Log),
    Streams(commands::streams::Streams),
    Replay(commands::replay::Replay),
    Trace(commands::trace::Trace),
    Subscriptions(commands::subscriptions::Subscriptions),
    Groups(commands::groups::Groups),
    Projections(commands::projections::Projections),
    Truncate(commands::truncate::Truncate),
    Verify(commands::verify::Verify),
    Compact(commands::compact::Compact),
    Stats(commands::stats::Stats),
    Copy(commands::copy::Copy),
    Demo(commands::demo::Demo),
    Serve(commands::serve::Serve),
    Completions(commands::completions::Completions),
}
