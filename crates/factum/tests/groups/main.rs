//! Groups under consumers that are killed and paused, on every store: what all of them say they did is put before the history checker.
//!
//! On stores that several processes can write to the consumers are processes, ended with SIGKILL and paused with SIGSTOP. On the others
//! each has a thread and a runtime of its own, which is dropped, or put to sleep with everything that runs in it.
//! `FACTUM_GROUP_EVENTS` makes it longer, `FACTUM_GROUP_SEED` repeats one.

mod consumer;
mod history;
#[cfg(feature = "embedded")]
mod poison;
#[cfg(any(feature = "postgres", feature = "redis"))]
mod processes;
#[path = "../stores/mod.rs"]
mod stores;
mod threads;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use factum::conformance::Subject;
use factum::{EventStoreExt, ExpectedVersion, Groups, NewEvent, SharedStore, StreamId};
use libtest_mimic::{Arguments, Completion, Failed, Trial};

use consumer::Chance;
use history::Step;

pub(crate) type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Everything that was said, by all.
pub(crate) type Said = Arc<Mutex<Vec<Step>>>;

/// Where a child finds its store, and its chance.
pub(crate) const STORE: &str = "FACTUM_GROUP_STORE";
pub(crate) const SEED: &str = "FACTUM_GROUP_SEED";

const KEYS: u64 = 17;
/// So often consumers are disturbed at most. After that they are left in peace, so that a group that stands still is one that is stuck,
/// and not one that never had the time to do anything.
pub(crate) const DISTURBANCES_MAX: u64 = 60;
const PATIENCE: Duration = Duration::from_secs(180);

fn main() -> ExitCode {
    if let Ok(url) = std::env::var(STORE) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        return match runtime.block_on(consumer::child(&url, seed())) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("a consumer failed: {error}");
                ExitCode::FAILURE
            }
        };
    }
    #[cfg(feature = "embedded")]
    if let Ok(url) = std::env::var(poison::POISONED) {
        return match in_runtime(poison::child(&url)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("a consumer failed: {error:?}");
                ExitCode::FAILURE
            }
        };
    }
    let mut trials = vec![Trial::test("the_checker_notices_what_is_wrong", || history::the_checker_notices().map_err(Failed::from))];
    #[cfg(feature = "embedded")]
    trials.push(Trial::test("an_event_that_ends_each_process_is_parked", || in_runtime(poison::it_is_parked_after_so_many_processes())));
    let stores = stores::all();
    for store in stores.here.iter().filter(|store| ["memory", "file"].contains(&store.name())) {
        let store = store.clone();
        let name = format!("{}::order_is_kept_when_consumers_disappear_and_sleep", store.name());
        trials.push(Trial::test(name, move || in_runtime(threads::order_is_kept(store))));
    }
    #[cfg(any(feature = "postgres", feature = "redis"))]
    trials.extend(processes::trials());
    for missing in &stores.missing {
        let reason = missing.reason.clone();
        trials.push(Trial::ignorable_test(format!("{}::order_is_kept", missing.name), move || match std::env::var_os("CI") {
            Some(_) => Err(Failed::from(reason)),
            None => Ok(Completion::ignored_with(reason)),
        }));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

pub(crate) fn in_runtime(trial: impl Future<Output = Outcome>) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(trial).map_err(|error| Failed::from(error.to_string()))
}

/// The seed that is asked for, or one of the clock.
pub(crate) fn seed() -> u64 {
    let of_clock = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.subsec_nanos().into());
    std::env::var(SEED).ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(of_clock)
}

fn events() -> u64 {
    std::env::var("FACTUM_GROUP_EVENTS").ok().and_then(|events| events.parse().ok()).unwrap_or(1_200)
}

/// Records events of few keys, a few at a time, and says how many each key has.
pub(crate) async fn record(store: &SharedStore, chance: &mut Chance) -> Outcome<BTreeMap<String, u64>> {
    let mut keys = BTreeMap::new();
    let mut left = events();
    while left > 0 {
        let key = format!("Order-{}", chance.below(KEYS));
        let count = (1 + chance.below(8)).min(left);
        let new = (0..count).map(|_| NewEvent::json("Placed", &())).collect::<factum::Result<Vec<_>>>()?;
        store.append_to(&StreamId::new(&key)?, ExpectedVersion::Any, new).await?;
        *keys.entry(key).or_default() += count;
        left -= count;
        // The first third is there at once, so that there is a queue.
        if left < events() * 2 / 3 && chance.below(4) == 0 {
            tokio::time::sleep(Duration::from_millis(chance.below(60))).await;
        }
    }
    Ok(keys)
}

/// Waits until the group has come to the end.
pub(crate) async fn wait_for_the_end(store: &SharedStore) -> Outcome {
    let groups = Groups::new(store.clone());
    let head = store.head().await?;
    let begun = std::time::Instant::now();
    loop {
        let state = groups.get("workers").await?;
        if state.position >= head && state.held.is_empty() {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!("the group does not come to the end at {head}: {state:?}").into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Puts everything that was said before the checker.
pub(crate) fn judge(store: &str, said: &Said, keys: &BTreeMap<String, u64>, seed: u64, disturbed: u64) -> Outcome {
    let steps = said.lock().expect("no holder of this lock panics").clone();
    let summary = history::check(&steps, keys).map_err(|error| format!("{error} (FACTUM_GROUP_SEED={seed})"))?;
    println!("{store}: {summary:?}, {disturbed} consumers killed or paused, seed {seed}");
    if disturbed == 0 { Err("nobody was disturbed".into()) } else { Ok(()) }
}

/// A store under test, in a place of its own.
pub(crate) async fn open(subject: &Arc<dyn Subject>) -> Outcome<SharedStore> {
    Ok(subject.open(&format!("g{}", factum::Uuid::now_v7().simple())).await?)
}
