//! The conformance table against every store, one trial per store and check, and the planted bugs that test the table.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use factum::conformance::{Check, Outcome, PlantedBug, Subject, checks, planted_bugs, run, without_a_bug};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use stores::Missing;

mod stores;

fn main() {
    let arguments = Arguments::from_args();
    let stores = stores::all();
    let mut trials = Vec::new();
    for store in stores.here.iter().cloned().chain([without_a_bug()]) {
        trials.extend(checks().into_iter().map(|check| check_trial(&store, check)));
    }
    trials.extend(stores.missing.iter().map(missing_trial));
    let tally = Arc::new(Tally::default());
    trials.extend(planted_bugs().into_iter().map(|bug| bug_trial(bug, &tally)));
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(stores);
    conclusion.exit();
}

/// A store that can't be tried here is a skip that shows; where everything must be tried it is a failure.
fn missing_trial(missing: &Missing) -> Trial {
    let reason = missing.reason.clone();
    Trial::ignorable_test(format!("{}::every_check", missing.name), move || match std::env::var_os("CI") {
        Some(_) => Err(Failed::from(reason)),
        None => Ok(Completion::ignored_with(reason)),
    })
}

fn check_trial(store: &Arc<dyn Subject>, check: Check) -> Trial {
    let store = store.clone();
    Trial::ignorable_test(format!("{}::{}", store.name(), check.name), move || match in_runtime(run(&check, &store)) {
        Outcome::Passed => Ok(Completion::Completed),
        Outcome::Skipped { reason } => Ok(Completion::ignored_with(reason)),
        Outcome::Failed { message } => Err(Failed::from(format!("{}\n{message}", check.rule))),
    })
}

fn bug_trial(bug: PlantedBug, tally: &Arc<Tally>) -> Trial {
    let tally = tally.clone();
    let trial = Trial::test(format!("planted_bug_is_caught::{}", bug.name), move || {
        let caught = in_runtime(bug.caught());
        tally.count(caught.is_ok());
        caught.map(drop).map_err(|missed| Failed::from(format!("{}\n{missed}", bug.story)))
    });
    trial.with_kind(format!("by {}", bug.caught_by))
}

/// How many bugs were tried, and how many of them caught.
#[derive(Default)]
struct Tally {
    tried: AtomicUsize,
    caught: AtomicUsize,
}

impl Tally {
    /// Counts a bug; after the last one it says how many were caught.
    fn count(&self, is_caught: bool) {
        self.caught.fetch_add(usize::from(is_caught), Ordering::SeqCst);
        let all = planted_bugs().len();
        if self.tried.fetch_add(1, Ordering::SeqCst) + 1 == all {
            println!("\nplanted bugs caught: {} of {all}", self.caught.load(Ordering::SeqCst));
        }
    }
}

/// Runs on several threads, so that what races does so in earnest.
fn in_runtime<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime can be started").block_on(future)
}
