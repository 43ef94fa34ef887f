//! With the feature `opentelemetry`: instruments of the meter `factum`, of the provider that is global when the first is used.

use std::sync::OnceLock;
use std::time::Duration;

use opentelemetry::metrics::{Counter, Gauge, Histogram};
use opentelemetry::{KeyValue, global};

use super::{Handled, LoadedFrom};

struct Instruments {
    append_duration: Histogram<f64>,
    events_appended: Counter<u64>,
    conflicts: Counter<u64>,
    loads: Counter<u64>,
    events_folded: Counter<u64>,
    snapshot_hits: Counter<u64>,
    lag: Gauge<u64>,
    handler_duration: Histogram<f64>,
    parked: Counter<u64>,
}

fn instruments() -> &'static Instruments {
    static INSTRUMENTS: OnceLock<Instruments> = OnceLock::new();
    INSTRUMENTS.get_or_init(|| {
        let meter = global::meter("factum");
        let counter = |name, unit, description| meter.u64_counter(name).with_unit(unit).with_description(description).build();
        let duration = |name, description| meter.f64_histogram(name).with_unit("s").with_description(description).build();
        Instruments {
            append_duration: duration(
                "factum.append.duration",
                "How long a command's append took, retries after unknown outcomes included",
            ),
            events_appended: counter("factum.append.events", "{event}", "Events that commands recorded"),
            conflicts: counter("factum.conflicts", "{conflict}", "Appends of commands that were refused because something came first"),
            loads: counter("factum.loads", "{load}", "States made for commands and questions"),
            events_folded: counter("factum.events.folded", "{event}", "Events folded into states"),
            snapshot_hits: counter("factum.snapshot.hits", "{load}", "Loads that began with a snapshot"),
            lag: meter
                .u64_gauge("factum.reader.lag")
                .with_unit("{position}")
                .with_description("How far a reader is behind the end of the log")
                .build(),
            handler_duration: duration("factum.handler.duration", "How long a handler took for an event, or a batch"),
            parked: counter("factum.parked", "{event}", "Events put aside because their handler failed"),
        }
    })
}

fn category(category: &'static str) -> KeyValue {
    KeyValue::new("factum.category", category)
}

fn reader(name: &str) -> KeyValue {
    KeyValue::new("factum.reader", name.to_owned())
}

/// A command's append was recorded.
pub(crate) fn appended(of: &'static str, events: usize, took: Duration) {
    let Instruments { append_duration, events_appended, .. } = instruments();
    append_duration.record(took.as_secs_f64(), &[category(of)]);
    events_appended.add(events as u64, &[category(of)]);
}

/// A command met a conflict.
pub(crate) fn conflict(of: &'static str) {
    instruments().conflicts.add(1, &[category(of)]);
}

/// A state was looked for, and begun with that.
pub(crate) fn loaded(of: &'static str, from: LoadedFrom) {
    let Instruments { loads, snapshot_hits, .. } = instruments();
    let text = match from {
        LoadedFrom::Events => "events",
        LoadedFrom::Snapshot => "snapshot",
        LoadedFrom::Cache => "cache",
    };
    loads.add(1, &[category(of), KeyValue::new("factum.from", text)]);
    if from == LoadedFrom::Snapshot {
        snapshot_hits.add(1, &[category(of)]);
    }
}

/// So many events were folded into a state.
pub(crate) fn folded(of: &'static str, events: u64) {
    instruments().events_folded.add(events, &[category(of)]);
}

/// A reader is so many positions behind.
pub(crate) fn lag(name: &str, positions: u64) {
    instruments().lag.record(positions, &[reader(name)]);
}

/// A handler has been given an event, or a batch.
pub(crate) fn handled(name: &str, outcome: Handled, took: Duration) {
    instruments().handler_duration.record(took.as_secs_f64(), &[reader(name), KeyValue::new("factum.outcome", outcome.said())]);
}

/// An event was put aside.
pub(crate) fn parked(name: &str) {
    instruments().parked.add(1, &[reader(name)]);
}
