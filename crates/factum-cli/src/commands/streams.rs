//! `factum streams`: which streams there are.

use clap::Args;
use factum::{Category, ListStreams, StreamVersion};
use futures::TryStreamExt;

use crate::console::Console;
use crate::event_json::write_text;
use crate::failure::Failure;
use crate::store_url;

const EXAMPLES: &str = "\
Examples:
  factum streams --category Order
  factum streams --json | jq -r 'select(.version > 10) | .stream'";

/// List streams in the order of their first events, each with its version
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Streams {
    /// Only streams of this category, the text before the first `-` of a stream's name
    #[arg(long, value_name = "CATEGORY")]
    category: Option<Category>,
    /// At most so many streams
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
}

pub(crate) async fn run(streams: Streams, store: &str, console: &mut Console<'_>) -> Result<(), Failure> {
    let Streams { category, limit } = streams;
    let store = store_url::open_to_read(store).await?;
    let mut listed = store.streams(ListStreams { category, limit });
    let mut printed = false;
    while let Some(info) = listed.try_next().await? {
        if console.json {
            console.out.write_all(b"{\"stream\":")?;
            write_text(console.out, info.stream.as_str())?;
            console.line(format_args!(",\"version\":{},\"first_version\":{}}}", info.version, info.first_version))?;
        } else {
            if !printed {
                let heading = console.look.faint("version  stream");
                console.line(heading)?;
            }
            write!(console.out, "{:>7}  {}", info.version.get(), console.look.name(&info.stream))?;
            if info.first_version > info.version {
                console.line(console.look.faint("  (truncated: no event is left)"))?;
            } else if info.first_version > StreamVersion::FIRST {
                console.line(console.look.faint(format!("  (truncated: versions {} and up are left)", info.first_version)))?;
            } else {
                console.line("")?;
            }
        }
        printed = true;
    }
    if !printed && !console.json {
        console.note("no such streams");
    }
    Ok(())
}
