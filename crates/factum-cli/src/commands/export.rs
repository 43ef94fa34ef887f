//! `factum export`: the log as JSON lines that `factum import` reads.

use clap::Args;
use factum::{GlobalPosition, ListStreams, ReadLog, StreamVersion};
use futures::TryStreamExt;

use crate::console::{Console, counted};
use crate::event_json::write_export;
use crate::failure::Failure;
use crate::filter::Filter;
use crate::store_url;

const EXAMPLES: &str = "\
Examples:
  factum export > backup.jsonl
  factum export --category Order --type OrderPlaced | jq .data.total
  factum export | factum import - --store file:./copy

One line per event, in the order of the log:
  {\"stream\",\"type\",\"id\",\"time\",\"data\"} and \"metadata\" and \"tags\" where there are any.
  \"time\" is when the event happened, which is when it was recorded where its writer did not say.
  Data or metadata that a line of JSON would not keep to the byte is written as \"data_base64\" or \"metadata_base64\".

Importing a whole export into an empty store gives the same streams, versions, ids, data and times.";

/// Print events as JSON lines that `import` reads
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Export {
    /// Only events after this position
    #[arg(long, value_name = "POSITION", default_value = "0", hide_default_value = true)]
    after: GlobalPosition,
    #[command(flatten)]
    filter: Filter,
}

pub(crate) async fn run(export: Export, store: &str, console: &mut Console<'_>) -> Result<(), Failure> {
    let query = export.filter.query();
    let whole = query.is_all() && export.after == GlobalPosition::START;
    let store = store_url::open_to_read(store).await?;
    let total = if whole { Some(store.stats().await?.events) } else { None };
    let bar = console.events_bar(total, "exporting");
    let mut events = store.read_log(ReadLog { after: export.after, query, ..ReadLog::default() });
    while let Some(event) = events.try_next().await? {
        write_export(console.out, &event)?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    console.out.flush()?;
    if whole {
        let mut truncated = 0;
        let mut streams = store.streams(ListStreams::default());
        while let Some(info) = streams.try_next().await? {
            truncated += u64::from(info.first_version > StreamVersion::FIRST);
        }
        if truncated > 0 {
            let streams = counted(truncated, "truncated stream");
            console.note(format_args!("note: {streams}: an import numbers what is left from version 1; `factum copy` keeps the versions"));
        }
    }
    Ok(())
}
