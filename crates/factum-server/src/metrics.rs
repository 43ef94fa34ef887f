//! What Prometheus is told, in its text format.

use std::fmt::Write;
use std::sync::atomic::Ordering;

use crate::process;
use crate::redis::{Door, TIME_BOUNDS_US};

/// All metrics, as they are now.
pub(crate) async fn of(door: &Door) -> String {
    let mut page = Page(String::with_capacity(8192));
    let counters = &door.counters;
    page.one("factum_up_seconds", "gauge", "How long the server has run", counters.since.elapsed().as_secs_f64());
    page.one("factum_connections", "gauge", "Connections now", door.clients.len());
    let blocked = door.clients.all().iter().filter(|client| client.is_waiting()).count();
    page.one("factum_connections_blocked", "gauge", "Connections that wait in a blocking command", blocked);
    let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    page.one("factum_connections_total", "counter", "Connections taken in", load(&counters.connections));
    page.one("factum_connections_refused_total", "counter", "Connections refused, being too many", load(&counters.connections_refused));
    let cut_off = load(&counters.connections_cut_off);
    page.one(
        "factum_connections_cut_off_total",
        "counter",
        "Connections cut off: slow readers, too much in memory, and what is not the protocol",
        cut_off,
    );
    page.one("factum_connections_held_bytes", "gauge", "What connections hold of requests and answers, about", door.clients.held.bytes());
    page.one("factum_received_bytes_total", "counter", "Bytes received", load(&counters.received_bytes));
    page.one("factum_sent_bytes_total", "counter", "Bytes sent", load(&counters.sent_bytes));

    page.head("factum_commands_total", "counter", "Calls of each command");
    for (command, calls, _) in counters.calls() {
        page.line("factum_commands_total", &format!("command=\"{}\"", command.name), calls);
    }
    page.head("factum_command_errors_total", "counter", "Calls of each command that were answered with an error");
    for (command, _, errors) in counters.calls().filter(|(_, _, errors)| *errors > 0) {
        page.line("factum_command_errors_total", &format!("command=\"{}\"", command.name), errors);
    }
    page.one(
        "factum_unknown_commands_total",
        "counter",
        "Calls of what is no command, or of a command in a wrong way",
        counters.unknown_calls(),
    );

    let name = "factum_answer_seconds";
    page.head(name, "histogram", "From when requests arrived together until all of them were answered");
    let (up_to, micros) = counters.times();
    for (bound, count) in TIME_BOUNDS_US.iter().zip(up_to) {
        page.line("factum_answer_seconds_bucket", &format!("le=\"{}\"", *bound as f64 / 1e6), count);
    }
    let all = up_to.last().copied().unwrap_or_default();
    page.line("factum_answer_seconds_bucket", "le=\"+Inf\"", all);
    page.line("factum_answer_seconds_sum", "", micros as f64 / 1e6);
    page.line("factum_answer_seconds_count", "", all);

    page.one("factum_appends_total", "counter", "Appends sent to the store", load(&door.keyspace.appends));
    let failed = load(&door.keyspace.failed_appends);
    page.one("factum_failed_appends_total", "counter", "Appends that the store did not take, or did not answer", failed);
    page.one("factum_appended_events_total", "counter", "Events in these appends", load(&door.keyspace.appended_events));
    match door.store.head().await {
        Ok(head) => page.one("factum_store_position", "gauge", "The position of the last event in the store", head.number()),
        Err(error) => tracing::warn!(%error, "the store does not say how far it is"),
    }
    page.one("factum_memory_own_bytes", "gauge", "Memory of the process, mapped files aside", process::own_memory_bytes());
    page.one("factum_memory_resident_bytes", "gauge", "Memory of the process with the files that it maps", process::resident_bytes());
    let (user, system) = process::cpu_seconds();
    page.one("factum_cpu_seconds_total", "counter", "Processor time", user + system);
    page.0
}

struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n").expect("writing to a string can't fail");
    }

    fn line(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        let labels = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        writeln!(self.0, "{name}{labels} {value}").expect("writing to a string can't fail");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl std::fmt::Display) {
        self.head(name, kind, help);
        self.line(name, "", value);
    }
}
