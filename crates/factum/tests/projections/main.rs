//! Projections into every place: exactly once wherever they are cut off, fenced, rebuilt beside the running version.

mod asked;
mod away;
mod cutting;
mod failing;
#[cfg(feature = "redis")]
mod hashes;
#[cfg(feature = "postgres")]
mod inline;
mod killing;
mod places;
mod rebuilding;
mod totals;

use std::process::ExitCode;
use std::sync::Arc;

use factum::SharedStore;
use futures::future::BoxFuture;
use libtest_mimic::{Arguments, Completion, Failed, Trial};

use places::Database;

pub(crate) type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Something that must hold in every database.
pub(crate) type Rule = fn(SharedStore, Arc<Database>) -> BoxFuture<'static, Outcome>;

macro_rules! rules {
    ($($module:ident::$rule:ident),* $(,)?) => {
        &[$((stringify!($rule), |store, database| Box::pin($module::$rule(store, database)))),*]
    };
}

const RULES: &[(&str, Rule)] = rules![
    cutting::rows_are_the_fold_of_the_log_wherever_it_is_cut_off,
    cutting::two_runners_apply_each_event_once,
    killing::rows_are_the_fold_of_the_log_whenever_its_process_is_killed,
    failing::an_event_that_fails_stops_it_or_is_parked_and_replayed,
    failing::who_wrote_it_reads_it,
    failing::nulls_and_numbers_come_back_as_they_were,
    rebuilding::a_rebuild_is_compared_and_switched_to_in_one_moment,
    failing::many_rows_go_in_with_one_statement,
    rebuilding::a_rebuild_goes_on_while_the_old_version_runs,
    rebuilding::a_program_builds_what_is_asked_for_from_outside,
];

fn main() -> ExitCode {
    if let Some(ended) = killing::child() {
        return if ended.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let mut trials = vec![
        Trial::test("memory::rows_are_the_fold_of_the_log", || in_runtime(cutting::in_memory())),
        Trial::test("every_store::rows_are_the_fold_of_the_log", || in_runtime(cutting::from_files())),
        Trial::test("memory::half_a_batch_is_not_applied_twice", || {
            // Nothing here waits for anything but time, which is skipped.
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build()?;
            runtime.block_on(away::half_a_batch_is_not_applied_twice()).map_err(|error| Failed::from(error.to_string()))
        }),
    ];
    for place in places::all() {
        #[cfg(feature = "postgres")]
        let own: &[(&str, Rule)] = if place.name() == "postgres" { rules![away::a_connection_that_breaks_parks_nothing] } else { &[] };
        #[cfg(not(feature = "postgres"))]
        let own: &[(&str, Rule)] = &[];
        for (name, rule) in RULES.iter().chain(own) {
            let place = place.clone();
            trials.push(Trial::test(format!("{}::{name}", place.name()), move || {
                in_runtime(async {
                    let store = factum::connect("memory:").await?;
                    tokio::time::timeout(std::time::Duration::from_secs(180), rule(store, Arc::new(place.database().await?))).await?
                })
            }));
        }
    }
    #[cfg(feature = "postgres")]
    trials.extend(inline_trials());
    #[cfg(feature = "redis")]
    if factum_servers::RedisServer::program().is_some() {
        trials.push(Trial::test("redis::rows_are_the_fold_of_the_log_wherever_it_is_cut_off", || in_runtime(cutting::in_redis())));
        trials.push(Trial::test("redis::a_rebuild_is_compared_and_switched_to_in_one_moment", || {
            in_runtime(hashes::a_rebuild_is_compared_and_switched_to_in_one_moment())
        }));
        trials.push(Trial::test("redis::a_rebuild_goes_on_while_the_old_version_runs", || {
            in_runtime(hashes::a_rebuild_goes_on_while_the_old_version_runs())
        }));
        trials.push(Trial::test("redis::large_batches_go_in_whole", || in_runtime(hashes::large_batches_go_in_whole())));
        trials.push(Trial::test("redis::a_projection_outlasts_its_server", || in_runtime(hashes::a_projection_outlasts_its_server())));
        trials.push(Trial::test("redis::a_program_builds_what_is_asked_for_from_outside", || {
            in_runtime(hashes::a_program_builds_what_is_asked_for_from_outside())
        }));
    }
    for (name, reason) in places::missing() {
        trials.push(Trial::ignorable_test(format!("{name}::every_rule"), move || match std::env::var_os("CI") {
            Some(_) => Err(Failed::from(reason)),
            None => Ok(Completion::ignored_with(reason)),
        }));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

#[cfg(feature = "postgres")]
fn inline_trials() -> Vec<Trial> {
    let rule = |name: &str, rule: fn(Arc<Database>) -> BoxFuture<'static, Outcome>, place: places::Place| {
        Trial::test(format!("inline::{name}"), move || in_runtime(async { rule(Arc::new(place.database().await?)).await }))
    };
    let mut trials =
        vec![Trial::test("inline::other_stores_say_that_they_cannot", || in_runtime(inline::other_stores_say_that_they_cannot()))];
    for place in places::all().into_iter().filter(|place| place.name() == "postgres") {
        trials.extend([
            rule(
                "rows_and_append_are_committed_together_or_neither",
                |database| Box::pin(inline::rows_and_append_are_committed_together_or_neither(database)),
                place.clone(),
            ),
            rule(
                "concurrent_appends_keep_the_order_and_async_takes_over",
                |database| Box::pin(inline::concurrent_appends_keep_the_order_and_async_takes_over(database)),
                place.clone(),
            ),
            rule(
                "work_in_an_append_is_told_what_is_recorded",
                |database| Box::pin(inline::work_in_an_append_is_told_what_is_recorded(database)),
                place,
            ),
        ]);
    }
    trials
}

fn in_runtime(trial: impl Future<Output = Outcome>) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(trial).map_err(|error| Failed::from(error.to_string()))
}
