//! `factum append`: one event to one stream.

use std::io::Read;

use clap::Args;
use factum::{EventStoreExt, EventType, ExpectedVersion, NewEvent, StreamId, StreamVersion, Tag, Uuid};

use crate::console::Console;
use crate::event_json::write_text;
use crate::failure::Failure;
use crate::{moment, payload, store_url};

const EXAMPLES: &str = "\
Examples:
  factum append Order-1 --type OrderPlaced --data '{\"total\": 42}'
  factum append Order-1 --type OrderPaid --data @payment.json --expect 1
  date | jq -R '{at: .}' | factum append Clock --type Tick --data - --tag demo

  Safe to retry: give the event an id of its own, and sending it again records it once.
  factum append Order-1 --type OrderPaid --data '{}' --id \"$(uuidgen)\"";

/// Append one event to a stream; it is on disk when the command returns
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Append {
    /// The stream, such as Order-1; it need not exist
    #[arg(value_name = "STREAM")]
    stream: StreamId,
    /// What happened, such as OrderPlaced
    #[arg(long = "type", value_name = "TYPE")]
    event_type: EventType,
    /// The facts, in JSON; @FILE reads them from a file, - from standard input
    #[arg(long, value_name = "JSON", allow_hyphen_values = true)]
    data: String,
    /// Facts about the recording (who, which request), in JSON; @FILE and - as above
    #[arg(long, value_name = "JSON", allow_hyphen_values = true)]
    metadata: Option<String>,
    /// The event's id: the same event again under the same id is recorded once [default: a new one]
    #[arg(long, value_name = "UUID")]
    id: Option<Uuid>,
    /// A label for queries across streams; may be given several times
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<Tag>,
    /// When it happened, where that is not now: RFC 3339 or a date
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    time: Option<factum::Timestamp>,
    /// What the stream must be like: any, none (no events yet), exists, or the version it is at; else it is a conflict
    #[arg(long, value_name = "EXPECTATION", default_value = "any", value_parser = expectation)]
    expect: ExpectedVersion,
}

pub(crate) async fn run(append: Append, store: &str, console: &mut Console<'_>) -> Result<(), Failure> {
    let Append { stream, event_type, data, metadata, id, tags, time, expect } = append;
    if data == "-" && metadata.as_deref() == Some("-") {
        return Err(Failure::usage("--data and --metadata can't both be read from standard input; give one of them as @FILE"));
    }
    let mut event = NewEvent::new(event_type, json("--data", &data)?);
    if let Some(metadata) = metadata {
        event = event.with_metadata(json("--metadata", &metadata)?);
    }
    event.id = id.unwrap_or(event.id);
    event.tags = tags;
    event.occurred_at = time;
    let id = event.id;

    let (events, made) = store_url::open_to_write(store).await?;
    let receipt = events.append_to(&stream, expect, vec![event]).await?;
    events.close().await?;
    let (version, position) = (receipt.last_version(), receipt.last_position());
    if console.json {
        console.out.write_all(b"{\"stream\":")?;
        write_text(console.out, stream.as_str())?;
        let duplicate = receipt.duplicate;
        return console.line(format_args!(",\"version\":{version},\"position\":{position},\"id\":\"{id}\",\"duplicate\":{duplicate}}}"));
    }
    if made {
        console.note(format_args!("made a new store: {store}"));
    }
    let (name, look) = (console.look.name(stream), console.look);
    if receipt.duplicate {
        return console.line(format_args!(
            "{} version {version}, position {position}: {}, the same event was recorded before; nothing was added",
            name,
            look.changed("duplicate")
        ));
    }
    console.line(format_args!("{name} version {version}, position {position}: {}", look.good("appended")))
}

/// A payload as the user gave it: the text itself, `@FILE`, or `-` for standard input.
fn json(option: &str, given: &str) -> Result<Vec<u8>, Failure> {
    let (bytes, place) = if given == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).map_err(|error| Failure::could_not(format!("can't read standard input: {error}")))?;
        (bytes, format!("{option} (standard input)"))
    } else if let Some(path) = given.strip_prefix('@') {
        let bytes = std::fs::read(path).map_err(|error| Failure::could_not(format!("can't read {path}: {error}")))?;
        (bytes, format!("{option} ({path})"))
    } else {
        (given.as_bytes().to_vec(), option.to_owned())
    };
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    payload::check_json(bytes).map_err(|error| {
        let hint = if given.starts_with(['@', '-']) { "" } else { "; quote it for the shell, such as '{\"total\": 42}'" };
        Failure::usage(format!("{place} is not JSON: {error}{hint}"))
    })?;
    Ok(payload::compact(bytes))
}

fn expectation(text: &str) -> Result<ExpectedVersion, String> {
    match text {
        "any" => Ok(ExpectedVersion::Any),
        "none" => Ok(ExpectedVersion::NoStream),
        "exists" => Ok(ExpectedVersion::StreamExists),
        _ => text
            .parse()
            .map(|version| ExpectedVersion::Exact(StreamVersion::new(version)))
            .map_err(|_| "expected any, none, exists, or a version such as 3".to_owned()),
    }
}
