//! The conformance table against every store, one trial per store and check, and the planted bugs that test the table.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use factum::conformance::{Check, InMemory, Outcome, PlantedBug, Subject, checks, planted_bugs, run, without_a_bug};
use libtest_mimic::{Arguments, Completion, Failed, Trial};

/// The stores that the table is played against.
fn stores() -> Vec<Arc<dyn Subject>> {
    vec![
        Arc::new(InMemory),
        without_a_bug(),
        #[cfg(feature = "embedded")]
        file_store::subject(),
    ]
}

fn main() {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    for store in stores() {
        trials.extend(checks().into_iter().map(|check| check_trial(&store, check)));
    }
    let tally = Arc::new(Tally::default());
    trials.extend(planted_bugs().into_iter().map(|bug| bug_trial(bug, &tally)));
    let conclusion = libtest_mimic::run(&arguments, trials);
    #[cfg(feature = "embedded")]
    file_store::clean_up();
    conclusion.exit();
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

#[cfg(feature = "embedded")]
mod file_store {
    use std::sync::{Arc, Mutex};

    use factum::conformance::{InDirectory, Subject};
    use tempfile::TempDir;

    /// The directory that all places are in; a static is never dropped, so it is taken out at the end.
    static DIRECTORY: Mutex<Option<TempDir>> = Mutex::new(None);

    pub(super) fn subject() -> Arc<dyn Subject> {
        let directory = TempDir::new().expect("a temporary directory can be made");
        let subject = InDirectory::new(directory.path());
        *DIRECTORY.lock().expect("no holder of this lock panics") = Some(directory);
        Arc::new(subject)
    }

    pub(super) fn clean_up() {
        drop(DIRECTORY.lock().expect("no holder of this lock panics").take());
    }
}
