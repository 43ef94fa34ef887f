//! The model: random sequences of requests against a store and against a reference that is too simple to be wrong.
//!
//! After every step the answer and all that can be read must be the same on both. A failure is shrunk to few steps, and printed with
//! the seed that finds it again: `FACTUM_MODEL_SEED=… cargo test --features conformance --test model`. With `FACTUM_MODEL_CASES` it tries
//! more or fewer sequences.

mod places;
mod reference;
mod step;
#[cfg(any(feature = "postgres", feature = "redis"))]
#[path = "../stores/mod.rs"]
mod stores;

use factum::conformance::{InMemory, Subject, planted_bugs, without_a_bug};
use factum::{ListStreams, ReadLog, SharedStore, Uuid};
use futures::TryStreamExt;
use proptest::collection::vec;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use reference::{Reference, said_of};
use step::{Step, steps};

#[test]
fn memory_agrees_with_the_reference() {
    agrees_with_the_reference(&InMemory, 1_000);
}

#[test]
fn memory_that_is_reopened_agrees_with_the_reference() {
    agrees_with_the_reference(&*without_a_bug(), 500);
}

#[cfg(feature = "embedded")]
#[test]
fn file_agrees_with_the_reference() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    agrees_with_the_reference(&factum::conformance::InDirectory::new(directory.path()), 40);
}

#[cfg(feature = "postgres")]
#[test]
fn postgres_agrees_with_the_reference() {
    server_agrees_with_the_reference("postgres", 8);
}

#[cfg(feature = "redis")]
#[test]
fn redis_agrees_with_the_reference() {
    server_agrees_with_the_reference("redis", 30);
}

/// Plays against a store on a server of the test's own.
#[cfg(any(feature = "postgres", feature = "redis"))]
fn server_agrees_with_the_reference(name: &str, cases: u32) {
    let stores = stores::all();
    if let Some(missing) = stores.missing.iter().find(|missing| missing.name == name) {
        assert!(std::env::var_os("CI").is_none(), "{}", missing.reason);
        eprintln!("skipped: {}", missing.reason);
        return;
    }
    let store = stores.here.iter().find(|store| store.name() == name).expect("the build has it");
    agrees_with_the_reference(&**store, cases);
}

/// The model is tested too: it finds every planted bug but those that show only under concurrency or with unusual bytes.
#[test]
fn planted_bugs_disagree_with_the_reference() {
    let bugs = [
        "half_an_append",
        "duplicate_appended_twice",
        "partly_there_appends_the_rest",
        "condition_after_is_inclusive",
        "filter_drops_a_match",
        "limit_off_by_one",
        "truncated_events_still_read",
        "empty_value_removes",
        "ids_forgotten_on_reopen",
        "truncation_forgotten_on_reopen",
    ];
    for name in bugs {
        let bug = planted_bugs().into_iter().find(|bug| bug.name == name).expect("there is such a bug");
        let config = Config { cases: 1_000, max_shrink_iters: 0, ..config() };
        assert!(play(&*bug.subject(), config, [7; 32]).is_err(), "the model did not find {name}: {}", bug.story);
    }
}

fn config() -> Config {
    Config { failure_persistence: None, max_shrink_iters: 2_000, ..Config::default() }
}

fn agrees_with_the_reference(subject: &dyn Subject, cases: u32) {
    let seed = seed();
    let cases = std::env::var("FACTUM_MODEL_CASES").map_or(cases, |text| text.parse().expect("FACTUM_MODEL_CASES is a number"));
    if let Err(failure) = play(subject, Config { cases, ..config() }, seed) {
        panic!("{} disagrees with the reference, seed {}\n{failure}", subject.name(), hexadecimal(seed));
    }
}

fn play(subject: &dyn Subject, config: Config, seed: [u8; 32]) -> Result<(), TestError<Vec<Step>>> {
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be started");
    runner.run(&vec(steps(), 1..40), |steps| {
        let outcome = runtime.block_on(play_once(subject, &steps));
        outcome.map_err(TestCaseError::fail)
    })
}

/// Plays one sequence of steps; an error says where the two differ.
async fn play_once(subject: &dyn Subject, steps: &[Step]) -> Result<(), String> {
    let place = format!("c{}", Uuid::now_v7().simple());
    let mut store = subject.open(&place).await.map_err(|error| error.to_string())?;
    let is_persistent = store.capabilities().persistent.is_yes();
    let mut reference = Reference::default();
    let mut outcome = Ok(());
    for (number, step) in (1..).zip(steps) {
        if matches!(step, Step::Reopen) && is_persistent {
            store.close().await.map_err(|error| error.to_string())?;
            drop(store);
            store = subject.open(&place).await.map_err(|error| error.to_string())?;
        }
        outcome = match step.play(&*store, &mut reference).await {
            Ok(()) => same_picture(&store, &reference).await,
            difference => difference,
        };
        if let Err(difference) = &mut outcome {
            difference.insert_str(0, &format!("at step {number}, {step:?}: "));
            break;
        }
    }
    let closed = store.close().await.map_err(|error| error.to_string());
    drop(store);
    subject.discard(&place).await;
    outcome.and(closed)
}

/// Compares all that can be read.
async fn same_picture(store: &SharedStore, reference: &Reference) -> Result<(), String> {
    let said = |error: factum::Error| format!("a read failed: {error}");
    let log: Vec<_> = store.read_log(ReadLog::default()).try_collect().await.map_err(said)?;
    let places = &reference.places;
    same("the log", &log.iter().map(|event| said_of(places, event)).collect::<Vec<_>>(), &reference.log_with(&ReadLog::default()))?;
    if store.capabilities().monotonic_log_time.is_yes() {
        same("whether recorded_at goes back", &!log.is_sorted_by_key(|event| event.recorded_at), &false)?;
    }
    same("the head", &places.place(store.head().await.map_err(said)?), &reference.head().number())?;
    let streams: Vec<_> = store.streams(ListStreams::default()).try_collect().await.map_err(said)?;
    same("the streams", &streams, &reference.streams_with(&ListStreams::default()))?;
    for id in step::stream_ids() {
        same("what is known of a stream", &store.stream(&id).await.map_err(said)?, &reference.stream(&id))?;
    }
    for name in step::record_names() {
        same("a record", &store.record(&name).await.map_err(said)?, &reference.record(&name))?;
    }
    Ok(())
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, expected: &T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what} is\n  {found:?}\nand by the reference\n  {expected:?}")) }
}

/// The seed given from outside, or a new one.
fn seed() -> [u8; 32] {
    let mut seed = [0; 32];
    match std::env::var("FACTUM_MODEL_SEED") {
        Ok(text) => {
            for (index, byte) in seed.iter_mut().enumerate() {
                let digits = text.get(index * 2..index * 2 + 2).expect("a seed has 64 hexadecimal digits");
                *byte = u8::from_str_radix(digits, 16).expect("a seed has 64 hexadecimal digits");
            }
        }
        Err(_) => {
            seed[..16].copy_from_slice(Uuid::now_v7().as_bytes());
            seed[16..].copy_from_slice(Uuid::now_v7().as_bytes());
        }
    }
    seed
}

fn hexadecimal(seed: [u8; 32]) -> String {
    seed.iter().map(|byte| format!("{byte:02x}")).collect()
}
