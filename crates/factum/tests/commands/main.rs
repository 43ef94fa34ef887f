//! Commands on every store: they happen once, lose nothing, and hold what spans streams; and under a process that is killed.

#[path = "../repository/account.rs"]
mod account;
mod everywhere;
#[cfg(feature = "embedded")]
mod killed;
#[path = "../stores/mod.rs"]
mod stores;

use std::process::ExitCode;
use std::sync::Arc;

use factum::SharedStore;
use factum::conformance::Subject;
use libtest_mimic::{Arguments, Completion, Failed, Trial};

type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    #[cfg(feature = "embedded")]
    if let Some(directory) = std::env::var_os(killed::DIRECTORY) {
        in_runtime(killed::work(std::path::Path::new(&directory))).expect("it works until it is killed");
        return ExitCode::FAILURE;
    }
    let arguments = Arguments::from_args();
    let stores = stores::all();
    let mut trials = Vec::new();
    for store in &stores.here {
        macro_rules! everywhere {
            ($($name:ident),* $(,)?) => { $(trials.push(trial(store, stringify!($name), |store| in_runtime(everywhere::$name(store))));)* };
        }
        everywhere! {
            a_command_with_a_key_happens_once,
            concurrent_commands_lose_nothing,
            states_are_the_same_with_snapshots_and_without,
            what_spans_streams_holds,
        }
    }
    trials.extend(stores.missing.iter().map(|missing| {
        let reason = missing.reason.clone();
        Trial::ignorable_test(format!("{}::commands", missing.name), move || match std::env::var_os("CI") {
            Some(_) => Err(Failed::from(reason)),
            None => Ok(Completion::ignored_with(reason)),
        })
    }));
    #[cfg(feature = "embedded")]
    trials.push(Trial::test("a_command_happens_once_in_a_process_that_is_killed", || {
        in_runtime(killed::once()).map_err(|error| Failed::from(error.to_string()))
    }));
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(stores);
    conclusion.exit_code()
}

fn trial(subject: &Arc<dyn Subject>, name: &'static str, play: fn(SharedStore) -> Outcome) -> Trial {
    let subject = subject.clone();
    Trial::test(format!("{}::{name}", subject.name()), move || {
        let place = format!("c{}", factum::Uuid::now_v7().simple());
        let store = in_runtime(subject.open(&place))?;
        let outcome = play(store.clone());
        in_runtime(async {
            store.close().await?;
            subject.discard(&place).await;
            Ok::<(), factum::Error>(())
        })?;
        outcome.map_err(|error| Failed::from(error.to_string()))
    })
}

/// The runtime of all trials: connections live on the one they were made on.
fn in_runtime<T>(future: impl Future<Output = T>) -> T {
    static RUNTIME: std::sync::OnceLock<tokio::runtime::Runtime> = std::sync::OnceLock::new();
    let make = || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime can be started");
    RUNTIME.get_or_init(make).block_on(future)
}
