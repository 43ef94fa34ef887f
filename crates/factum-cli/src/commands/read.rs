//! `factum read`: the events of one stream.

use clap::Args;
use factum::{Direction, ReadStream, StreamId, StreamVersion};
use futures::TryStreamExt;

use crate::commands::log::Lines;
use crate::console::{Console, counted};
use crate::failure::Failure;
use crate::store_url;

const EXAMPLES: &str = "\
Examples:
  factum read Order-1
  factum read Order-1 --backward --limit 1       the last event
  factum read Order-1 --from 3 --to 5 --json | jq .data";

/// Print the events of one stream
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Read {
    /// The stream
    #[arg(value_name = "STREAM")]
    stream: StreamId,
    /// From this version on
    #[arg(long, value_name = "VERSION")]
    from: Option<u64>,
    /// Up to this version
    #[arg(long, value_name = "VERSION")]
    to: Option<u64>,
    /// Newest first
    #[arg(long)]
    backward: bool,
    /// At most so many events
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
}

pub(crate) async fn run(read: Read, url: &str, console: &mut Console<'_>) -> Result<(), Failure> {
    let Read { stream, from, to, backward, limit } = read;
    let store = store_url::open_to_read(url).await?;
    let Some(info) = store.stream(&stream).await? else { return Err(no_such_stream(&stream, url)) };
    let options = ReadStream {
        from: from.map(StreamVersion::new),
        to: to.map(StreamVersion::new),
        direction: if backward { Direction::Backward } else { Direction::Forward },
        limit,
    };
    let mut events = store.read_stream(&stream, options);
    let mut lines = Lines::of_stream(&info);
    let mut printed = 0;
    while let Some(event) = events.try_next().await? {
        lines.print(&event, console)?;
        printed += 1;
    }
    if printed == 0 && !console.json {
        let first = info.first_version;
        let readable = if first > info.version {
            "all of them are truncated".to_owned()
        } else {
            format!("versions {first} to {} can be read", info.version)
        };
        console.note(format_args!("no events in that range: {stream} has had {}, {readable}", counted(info.version.get(), "event")));
    }
    Ok(())
}

/// The failure of a command that was asked about a stream that is not there.
pub(crate) fn no_such_stream(stream: &StreamId, store: &str) -> Failure {
    Failure::could_not(format!("there is no stream {stream} in {store}; `factum streams` lists what is there"))
}
