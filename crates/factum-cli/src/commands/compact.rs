//! `factum compact`: gives back what is dead in a store.

use clap::Args;
use factum::backend::embedded::{self, CompactReport};

use crate::console::{Console, counted, sized};
use crate::failure::Failure;
use crate::store_url;

const EXAMPLES: &str = "\
Examples:
  factum compact
  factum compact --json | jq .bytes_after

A store that is open gives space back by itself, in the background. This does it now, and to the last file. What can be read stays the
same. With --json: {\"segments\",\"compacted\",\"bytes_before\",\"bytes_after\"}.";

/// Give back the disk space of overwritten records and truncated events, now
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Compact {}

pub(crate) fn run(_: Compact, url: &str, console: &mut Console<'_>) -> Result<(), Failure> {
    let directory = store_url::directory(url, "compact")?;
    let bar = console.bytes_bar(Some(0), "compacting");
    let CompactReport { segments, compacted, bytes_before, bytes_after } = embedded::compact(&directory, &mut |progress| {
        bar.set_length(progress.bytes_total);
        bar.set_position(progress.bytes);
    })?;
    bar.finish_and_clear();
    if console.json {
        return console.line(format_args!(
            "{{\"segments\":{segments},\"compacted\":{compacted},\"bytes_before\":{bytes_before},\"bytes_after\":{bytes_after}}}"
        ));
    }
    if compacted == 0 {
        return console.line(format_args!("nothing to give back: {} in {}", sized(bytes_after), counted(segments, "segment")));
    }
    let (given, before, after) = (sized(bytes_before.saturating_sub(bytes_after)), sized(bytes_before), sized(bytes_after));
    let of = counted(segments, "segment");
    console.line(format_args!("{given} given back: {before} became {after}; {compacted} of {of} were compacted"))
}
