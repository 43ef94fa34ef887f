//! The store in PostgreSQL beside what the conformance table can't know: transactions that overlap, servers that stop, schemas and
//! restores, and rows of yours in the same transaction.

mod encrypted;
mod joining;
mod living;
mod order;
mod pooling;
mod racing;
mod restoring;
mod schema;
mod watching;

use std::sync::{Mutex, PoisonError};

use factum::backend::Postgres;
use factum::{Append, EventType, NewEvent, ReadLog, RecordedEvent, StreamId, Uuid};
use factum_servers::{PgBouncer, PostgresServer};
use futures::TryStreamExt;
use libtest_mimic::{Arguments, Completion, Failed, Trial};

/// What every test here ends with: any error fails it.
type Verdict<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The server of all tests that leave it as it is and hold no transaction open; each has a schema of its own.
static SHARED: Mutex<Option<PostgresServer>> = Mutex::new(None);

fn main() {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    macro_rules! tests {
        ($($module:ident :: { $($name:ident),* $(,)? })*) => {
            $($(trials.push(trial(concat!(stringify!($module), "::", stringify!($name)), || in_runtime($module::$name())));)*)*
        };
    }
    tests! {
        order::{
            a_stalled_writer_is_not_skipped,
            an_append_waits_for_who_looks_at_a_condition,
            readers_see_all_that_was_committed_and_in_order,
            what_is_hidden_for_long_does_not_hold_readers_up,
        }
        racing::{
            appends_in_opposite_orders_do_not_deadlock,
            racing_makers_of_a_stream_all_find_their_place,
            one_of_racing_first_appends_wins,
            the_same_append_by_several_is_recorded_once,
            one_failure_in_a_batch_touches_no_neighbour,
            a_deadlock_with_somebody_else_is_tried_again,
            one_of_racing_conditions_wins,
        }
        joining::{
            rows_and_events_are_committed_together,
            rows_and_events_are_rolled_back_together,
            a_duplicate_does_not_do_the_work_again,
            a_record_moves_with_its_rows,
        }
        living::{
            a_subscription_wakes_on_what_another_process_records,
            a_subscription_survives_a_restart,
            killed_connections_are_made_again,
            many_callers_share_few_connections,
            a_crash_loses_nothing_that_was_acknowledged,
        }
        schema::{
            a_database_without_a_store_says_what_to_do,
            several_can_make_the_same_store_at_once,
            a_store_of_a_later_version_is_refused,
            an_open_store_that_is_changed_by_a_later_factum_says_so,
            an_older_store_is_brought_up_to_date,
            an_ordinary_user_can_make_a_store,
            a_schema_can_be_given,
            stores_and_tables_of_yours_live_side_by_side,
            durability_always_refuses_what_may_lose_events,
            another_encoding_is_refused,
        }
        watching::{
            who_holds_readers_back_is_named,
            a_replica_is_refused,
            a_wrong_address_is_an_error_and_tells_no_password,
        }
        restoring::{
            a_restored_store_goes_on_behind_its_last_position,
            a_store_that_is_open_notices_that_it_was_restored,
        }
        pooling::{
            a_pooler_in_transaction_mode_is_refused,
            a_pooler_in_session_mode_is_as_the_server_itself,
        }
        encrypted::{
            a_server_is_trusted_whom_the_authority_vouches_for,
            a_server_without_encryption_is_refused_where_it_is_asked_for,
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(SHARED.lock().unwrap_or_else(PoisonError::into_inner).take());
    conclusion.exit();
}

/// Without a server a test is a skip that shows; where everything must be tried it is a failure.
fn trial(name: &str, play: fn() -> Verdict) -> Trial {
    Trial::ignorable_test(name, move || {
        if let Some(reason) = PostgresServer::missing().or_else(PgBouncer::missing) {
            return if std::env::var_os("CI").is_some() { Err(reason.into()) } else { Ok(Completion::ignored_with(reason)) };
        }
        play().map(|()| Completion::Completed).map_err(|error| Failed::from(error.to_string()))
    })
}

fn in_runtime(play: impl Future<Output = Verdict>) -> Verdict {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async { tokio::time::timeout(std::time::Duration::from_secs(180), play).await? })
}

/// The URL of a store on the shared server that is not there yet, and is made when it is opened.
fn fresh_url() -> String {
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    let server = shared.get_or_insert_with(|| PostgresServer::start().expect("the server starts"));
    format!("{}?create=true&schema=t{}", server.url(), Uuid::now_v7().simple())
}

/// Runs statements on the shared server.
fn shared_sql(statements: &str) -> Verdict<String> {
    let shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(shared.as_ref().ok_or("it has been started")?.sql("postgres", statements)?)
}

/// A store in a server of its own.
async fn alone() -> Verdict<(PostgresServer, Postgres)> {
    let server = PostgresServer::start()?;
    let store = Postgres::connect(&format!("{}?create=true", server.url())).await?;
    Ok((server, store))
}

fn event(text: impl ToString) -> NewEvent {
    NewEvent::new(EventType::new("Noted").expect("a valid type"), text.to_string())
}

fn stream(id: impl AsRef<str>) -> StreamId {
    StreamId::new(id).expect("a valid stream id")
}

/// One event for a stream, whatever its version.
fn append(id: &str, text: impl ToString) -> Append {
    Append::to(stream(id), [event(text)])
}

async fn log(store: &dyn factum::EventStore) -> factum::Result<Vec<RecordedEvent>> {
    store.read_log(ReadLog::default()).try_collect().await
}

fn texts(events: &[RecordedEvent]) -> Vec<String> {
    events.iter().map(|event| String::from_utf8_lossy(&event.data).into_owned()).collect()
}

/// Fails unless the text says all of this.
#[track_caller]
fn says(text: impl ToString, words: &[&str]) {
    let text = text.to_string();
    for word in words {
        assert!(text.contains(word), "{text:?} does not say {word:?}");
    }
}
