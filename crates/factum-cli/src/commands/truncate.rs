//! `factum truncate`: forgets the beginning of a stream.

use clap::Args;
use factum::{StreamId, StreamVersion};

use crate::commands::read::no_such_stream;
use crate::console::{Console, counted};
use crate::event_json::write_text;
use crate::failure::Failure;
use crate::store_url;

const EXAMPLES: &str = "\
Examples:
  factum truncate Sensor-7 --before 1000         versions 1 to 999 can't be read any more, for ever

The stream keeps its version, and its other events keep theirs. At most one past the stream's version, which leaves none.";

/// Forget the events of a stream before a version, for ever
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Truncate {
    /// The stream
    #[arg(value_name = "STREAM")]
    stream: StreamId,
    /// The first version that stays
    #[arg(long, value_name = "VERSION")]
    before: u64,
}

pub(crate) async fn run(truncate: Truncate, url: &str, console: &mut Console<'_>) -> Result<(), Failure> {
    let Truncate { stream, before } = truncate;
    let store = store_url::open_to_change(url).await?;
    let Some(was) = store.stream(&stream).await? else { return Err(no_such_stream(&stream, url)) };
    let info = store.truncate_before(&stream, StreamVersion::new(before)).await?;
    store.close().await?;
    if console.json {
        console.out.write_all(b"{\"stream\":")?;
        write_text(console.out, stream.as_str())?;
        return console.line(format_args!(",\"version\":{},\"first_version\":{}}}", info.version, info.first_version));
    }
    let gone = info.first_version.get() - was.first_version.get();
    let left = (info.version.get() + 1) - info.first_version.get();
    let name = console.look.name(&stream);
    console.line(format_args!("{name}: {} forgotten, {left} left; it stays at version {}", counted(gone, "event"), info.version))
}
