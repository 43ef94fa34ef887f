//! Verifying a store whose bytes are not ours: everything is read, and compared with what the store says of itself.

use std::collections::HashMap;

use factum::{GlobalPosition, ListStreams, ReadLog, RecordedEvent, SharedStore, StreamId, StreamInfo, StreamVersion};
use futures::TryStreamExt;
use serde_json::json;

use super::PROBLEMS_SHOWN;
use crate::console::{Console, counted};
use crate::failure::Failure;
use crate::store_url;

/// How many streams are remembered, so that memory stays bounded however many there are.
const STREAMS_KNOWN_MAX: usize = 1_000_000;

/// What was found.
#[derive(Default)]
struct Reading {
    events: u64,
    streams: u64,
    position: GlobalPosition,
    /// The last version that was read of each stream.
    versions: HashMap<StreamId, StreamVersion>,
    /// Whether every stream is remembered.
    is_whole: bool,
    problems: Vec<String>,
}

pub(super) async fn run(url: &str, console: &mut Console<'_>) -> Result<(), Failure> {
    let store = store_url::open_to_read(url).await?;
    let total = store.stats().await?.events;
    let bar = console.events_bar(Some(total), "verifying");
    let mut reading = Reading { is_whole: true, ..Reading::default() };
    let head = store.head().await?;
    let mut log = store.read_log(ReadLog { up_to: Some(head), ..ReadLog::default() });
    while let Some(event) = log.try_next().await? {
        reading.look_at(&event);
        bar.inc(1);
    }
    reading.look_at_streams(&store, head).await?;
    bar.finish_and_clear();
    store.close().await?;
    let Reading { events, streams, problems, .. } = reading;
    if console.json {
        let ok = problems.is_empty();
        let problems = json!(problems);
        console.line(format_args!("{{\"ok\":{ok},\"events\":{events},\"streams\":{streams},\"problems\":{problems}}}"))?;
    } else {
        let look = console.look;
        let word = if problems.is_empty() { look.good("ok:") } else { look.bad("damaged:") };
        let read = format!("{word} read {} in {}", counted(events, "event"), counted(streams, "stream"));
        console.line(read)?;
        for problem in problems.iter().take(PROBLEMS_SHOWN) {
            console.line(format_args!("  {problem}"))?;
        }
        if problems.len() > PROBLEMS_SHOWN {
            console.line(format_args!("  ... and {} more, all of them with --json", problems.len() - PROBLEMS_SHOWN))?;
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    let (place, problems) = (store_url::shown(url), counted(problems.len() as u64, "problem"));
    Err(Failure::could_not(format!("the store at {place} is damaged: {problems}; restore a backup, or copy what can be read")))
}

impl Reading {
    fn look_at(&mut self, event: &RecordedEvent) {
        let RecordedEvent { position, stream, version, .. } = event;
        self.events += 1;
        if *position <= self.position {
            self.problems.push(format!("position {position} stands behind position {}", self.position));
        }
        self.position = *position;
        if self.versions.len() > STREAMS_KNOWN_MAX {
            self.versions.clear();
            self.is_whole = false;
        }
        if let Some(last) = self.versions.insert(stream.clone(), *version)
            && *version != last.plus(1)
        {
            self.problems.push(format!("stream {stream} goes from version {last} to {version}"));
        }
    }

    /// Compares what was read with the list of streams.
    async fn look_at_streams(&mut self, store: &SharedStore, head: GlobalPosition) -> Result<(), Failure> {
        let mut streams = store.streams(ListStreams::default());
        let mut listed = Vec::new();
        while let Some(info) = streams.try_next().await? {
            self.streams += 1;
            if self.is_whole {
                listed.push(info);
            }
        }
        // What was recorded meanwhile was not read.
        let is_still = store.head().await? == head;
        for StreamInfo { stream, version, first_version } in listed {
            let read = self.versions.remove(&stream);
            let expected = (first_version <= version).then_some(version);
            if is_still && read != expected {
                let read = read.map_or("nothing".to_owned(), |version| format!("version {version}"));
                self.problems.push(format!("stream {stream} is said to be at version {version}, the log ends with {read} of it"));
            }
        }
        if self.is_whole && is_still {
            self.problems.extend(self.versions.keys().map(|stream| format!("stream {stream} has events and is not listed")));
        }
        Ok(())
    }
}
