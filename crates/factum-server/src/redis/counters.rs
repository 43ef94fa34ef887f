//! What has happened since the server started, in numbers: for INFO and for Prometheus.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::commands::table::{self, Command, Verb};
use super::resp::Reply;

/// The upper bounds of the classes that times are counted in, in microseconds; the last class has none.
pub(crate) const TIME_BOUNDS_US: [u64; 14] =
    [50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 5_000_000];

/// So many codes of errors are told apart: DEBUG ERROR can make any.
const CODES_MAX: usize = 128;

/// Numbers that only grow.
#[derive(Debug)]
pub(crate) struct Counters {
    /// When the server started.
    pub(crate) since: Instant,
    /// Connections taken in.
    pub(crate) connections: AtomicU64,
    /// Connections refused, because there were too many.
    pub(crate) connections_refused: AtomicU64,
    /// Connections cut off, because they did not read, or did not speak the protocol.
    pub(crate) connections_cut_off: AtomicU64,
    /// Connections ended, because all together held too much memory.
    pub(crate) connections_evicted: AtomicU64,
    /// Bytes received.
    pub(crate) received_bytes: AtomicU64,
    /// Bytes sent.
    pub(crate) sent_bytes: AtomicU64,
    calls: Box<[AtomicU64]>,
    errors: Box<[AtomicU64]>,
    /// Refusals by the code that they begin with.
    errors_by_code: Mutex<BTreeMap<String, u64>>,
    unknown: AtomicU64,
    times: [AtomicU64; TIME_BOUNDS_US.len() + 1],
    time_us: AtomicU64,
}

impl Default for Counters {
    fn default() -> Self {
        let verbs = table::all().map(|command| place(command.verb)).max().unwrap_or_default() + 1;
        let zeros = || (0..verbs).map(|_| AtomicU64::new(0)).collect();
        Self {
            since: Instant::now(),
            connections: AtomicU64::new(0),
            connections_refused: AtomicU64::new(0),
            connections_cut_off: AtomicU64::new(0),
            connections_evicted: AtomicU64::new(0),
            received_bytes: AtomicU64::new(0),
            sent_bytes: AtomicU64::new(0),
            calls: zeros(),
            errors: zeros(),
            errors_by_code: Mutex::default(),
            unknown: AtomicU64::new(0),
            times: Default::default(),
            time_us: AtomicU64::new(0),
        }
    }
}

impl Counters {
    /// Counts a call, and whether it was refused. There is no command where nobody knows it.
    pub(crate) fn called(&self, command: Option<&Command>, reply: &Reply) {
        if let Some(code) = reply.error_code() {
            let mut codes = self.errors_by_code.lock().unwrap_or_else(PoisonError::into_inner);
            if codes.len() < CODES_MAX || codes.contains_key(&code) {
                *codes.entry(code).or_default() += 1;
            }
        }
        let Some(command) = command else {
            self.unknown.fetch_add(1, Ordering::Relaxed);
            return;
        };
        self.calls[place(command.verb)].fetch_add(1, Ordering::Relaxed);
        if reply.is_error() {
            self.errors[place(command.verb)].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts the time from when requests arrived together until they were answered.
    pub(crate) fn answered_after(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let class = TIME_BOUNDS_US.partition_point(|&bound| bound < micros);
        self.times[class].fetch_add(1, Ordering::Relaxed);
        self.time_us.fetch_add(micros, Ordering::Relaxed);
    }

    /// The calls of each command that was called, and how many of them were refused.
    pub(crate) fn calls(&self) -> impl Iterator<Item = (&'static Command, u64, u64)> {
        let of = |command: &Command| {
            let at = place(command.verb);
            (self.calls[at].load(Ordering::Relaxed), self.errors[at].load(Ordering::Relaxed))
        };
        table::all()
            .map(move |command| (command, of(command)))
            .filter(|(_, (calls, _))| *calls > 0)
            .map(|(command, (calls, errors))| (command, calls, errors))
    }

    /// How many were refused with each code.
    pub(crate) fn errors_by_code(&self) -> BTreeMap<String, u64> {
        self.errors_by_code.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Calls of commands that there are not.
    pub(crate) fn unknown_calls(&self) -> u64 {
        self.unknown.load(Ordering::Relaxed)
    }

    /// All calls, and how many of them were refused.
    pub(crate) fn totals(&self) -> (u64, u64) {
        let unknown = self.unknown_calls();
        self.calls().fold((unknown, unknown), |(calls, errors), (_, more, refused)| (calls + more, errors + refused))
    }

    /// How many answers took no longer than each bound, in all, and the microseconds of all of them together.
    pub(crate) fn times(&self) -> ([u64; TIME_BOUNDS_US.len() + 1], u64) {
        let mut sum = 0;
        let up_to = std::array::from_fn(|class| {
            sum += self.times[class].load(Ordering::Relaxed);
            sum
        });
        (up_to, self.time_us.load(Ordering::Relaxed))
    }

    /// Begins anew, as CONFIG RESETSTAT asks.
    pub(crate) fn reset(&self) {
        self.errors_by_code.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let singles = [
            &self.connections,
            &self.connections_refused,
            &self.connections_cut_off,
            &self.connections_evicted,
            &self.received_bytes,
            &self.sent_bytes,
            &self.unknown,
            &self.time_us,
        ];
        for counter in singles.into_iter().chain(&self.calls).chain(&self.errors).chain(&self.times) {
            counter.store(0, Ordering::Relaxed);
        }
    }
}

fn place(verb: Verb) -> usize {
    verb as usize
}
