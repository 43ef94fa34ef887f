//! The store on Redis beside what the conformance table can't know: its keys, its settings, servers that stop, and a cluster that loses one.

mod encrypted;
mod failing;
mod failover;
mod keys;
mod partitions;
mod settings;
mod waking;

use factum_servers::RedisServer;
use libtest_mimic::{Arguments, Completion, Failed, Trial};

/// What every test here ends with: any error fails it.
type Verdict<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    macro_rules! tests {
        ($($module:ident :: { $($name:ident),* $(,)? })*) => {
            $($(trials.push(trial(concat!(stringify!($module), "::", stringify!($name)), || in_runtime($module::$name())));)*)*
        };
    }
    tests! {
        keys::{
            events_are_read_with_plain_xrange,
            stores_of_two_names_share_a_server,
            functions_that_are_lost_are_loaded_again,
            a_user_without_functions_gets_the_same_store,
            long_truncation_leaves_no_ids_behind,
        }
        settings::{
            durability_always_refuses_what_may_lose_events,
            eviction_of_events_is_refused,
            settings_that_can_not_be_read_are_named,
            a_replica_is_refused,
            fewer_replicas_than_wait_asks_for_are_refused,
            unknown_options_are_refused,
            a_store_that_is_not_there_is_not_made,
        }
        failing::{
            a_full_server_records_nothing_and_goes_on,
            silence_is_an_unknown_outcome_and_the_retry_is_safe,
            killed_servers_keep_what_they_acknowledged,
            killed_connections_are_made_again,
            too_few_confirmations_are_an_unknown_outcome,
            keys_that_contradict_each_other_are_damage,
        }
        waking::{
            subscriptions_wake_without_looking,
            subscriptions_survive_a_restart,
            a_processor_outlasts_its_server,
        }
        partitions::{
            readers_of_partitions_never_skip,
            one_position_is_a_checkpoint_of_every_partition,
            appends_over_two_partitions_are_refused,
            a_store_keeps_its_number_of_partitions,
        }
        failover::{
            confirmed_events_survive_a_failover,
            a_moved_slot_is_found_again,
        }
        encrypted::{
            a_server_is_trusted_whom_the_authority_vouches_for,
            every_server_of_a_cluster_is_spoken_to_with_encryption,
            a_server_without_encryption_is_refused_where_it_is_asked_for,
        }
    }
    libtest_mimic::run(&arguments, trials).exit();
}

/// Without a server a test is a skip that shows; where everything must be tried it is a failure.
fn trial(name: &str, play: fn() -> Verdict) -> Trial {
    Trial::ignorable_test(name, move || {
        if let Some(reason) = RedisServer::missing() {
            return if std::env::var_os("CI").is_some() { Err(reason.into()) } else { Ok(Completion::ignored_with(reason)) };
        }
        play().map(|()| Completion::Completed).map_err(|error| Failed::from(error.to_string()))
    })
}

fn in_runtime(play: impl Future<Output = Verdict>) -> Verdict {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async { tokio::time::timeout(std::time::Duration::from_secs(120), play).await? })
}

/// New events with the numbers from 1 as their data.
fn events(count: u64) -> Vec<factum::NewEvent> {
    let noted = || factum::EventType::new("Noted").expect("a valid type");
    (1..=count).map(|number| factum::NewEvent::new(noted(), number.to_string())).collect()
}

fn stream(id: &str) -> factum::StreamId {
    factum::StreamId::new(id).expect("a valid stream id")
}

/// Fails unless the text says all of this.
#[track_caller]
fn says(text: impl ToString, words: &[&str]) {
    let text = text.to_string();
    for word in words {
        assert!(text.contains(word), "{text:?} does not say {word:?}");
    }
}
