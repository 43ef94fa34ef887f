//! Snapshots save work and change nothing.

use factum::{EventStore, Record, RecordName, RecordWrite, Repository, SharedStore, Snapshots, StreamVersion};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::account::{Account, Balance, Command, with_account};
use crate::memory;

fn name() -> RecordName {
    RecordName::new("snapshot/Account-1").expect("a short name")
}

async fn kept(store: &SharedStore) -> Option<Value> {
    let record: Option<Record> = store.record(&name()).await.expect("it is read");
    record.map(|record| serde_json::from_slice(&record.value).expect("it is JSON"))
}

async fn keep(store: &dyn EventStore, snapshot: impl Into<Vec<u8>>) {
    store.write_record(RecordWrite::set(name(), snapshot.into())).await.expect("it is written");
}

async fn deposit(accounts: &Repository<Account>, times: u64) {
    for _ in 0..times {
        accounts.execute("1", Command::Deposit { amount: 1 }).await.expect("it is deposited");
    }
    accounts.settle().await;
}

#[tokio::test]
async fn one_is_taken_every_so_many_events() {
    let store = memory().await;
    let accounts = with_account(&store, 10).await.snapshots(Snapshots::every(10).schema(3));
    deposit(&accounts, 7).await;
    assert_eq!(kept(&store).await, None);
    deposit(&accounts, 1).await;
    let snapshot = kept(&store).await.expect("it is taken");
    assert_eq!((&snapshot["schema"], &snapshot["version"]), (&json!(3), &json!(10)));
    assert_eq!(snapshot["state"], json!({"is_open": true, "amount": 18, "bookings": 10}));
    deposit(&accounts, 9).await;
    assert_eq!(kept(&store).await.expect("it is there")["version"], 10);
    // Over the edge by an append of two events.
    accounts.execute("1", Command::Withdraw { amount: 1 }).await.expect("it is done");
    accounts.settle().await;
    assert_eq!(kept(&store).await.expect("it is there")["version"], 21);
}

#[tokio::test]
async fn one_is_taken_when_much_was_replayed() {
    let store = memory().await;
    deposit(&with_account(&store, 10).await, 8).await;
    let accounts = || Repository::<Account>::new(store.clone()).snapshots(Snapshots::after_replaying(10));
    let one = accounts();
    deposit(&one, 5).await;
    assert_eq!(kept(&store).await.expect("it is taken")["version"], 10);
    // The next one replays five, which is not much.
    let other = accounts();
    deposit(&other, 1).await;
    assert_eq!(kept(&store).await.expect("it is there")["version"], 10);
}

#[tokio::test]
async fn one_is_taken_on_demand() {
    let store = memory().await;
    let accounts = with_account(&store, 10).await;
    assert!(accounts.snapshot("1").await.is_err(), "it keeps none");
    let accounts = accounts.snapshots(Snapshots::on_demand());
    assert_eq!(accounts.snapshot("1").await.expect("it is taken"), StreamVersion::new(2));
    assert_eq!(kept(&store).await.expect("it is there")["version"], 2);
    assert!(accounts.snapshot("2").await.is_err(), "there is nothing to keep");
}

#[tokio::test]
async fn what_can_not_be_a_state_of_the_stream_is_left_out() {
    let store = memory().await;
    let accounts = with_account(&store, 10).await.snapshots(Snapshots::on_demand());
    accounts.snapshot("1").await.expect("it is taken");
    let good = kept(&store).await.expect("it is there");
    let rich = json!({"is_open": true, "amount": 1_000_000, "bookings": 2});
    let with = |changes: Value| {
        let mut snapshot = good.clone();
        for (key, value) in changes.as_object().expect("an object") {
            snapshot[key] = value.clone();
        }
        snapshot.to_string()
    };
    // The test's own test: a snapshot that could be true is used.
    keep(&*store, with(json!({"state": rich}))).await;
    let used = Repository::<Account>::new(store.clone()).snapshots(Snapshots::on_demand());
    assert_eq!(used.get("1").await.expect("it is read").expect("it is there").state.amount, 1_000_000);

    let left_out = [
        String::new(),
        "{".to_owned(),
        "[]".to_owned(),
        "\u{0}\u{1}".to_owned(),
        with(json!({"state": {"amount": "much"}})),
        with(json!({"state": rich, "schema": 2})),
        with(json!({"state": rich, "version": 3})),
        with(json!({"state": rich, "version": 1_000})),
        with(json!({"state": rich, "last_id": "00000000-0000-0000-0000-000000000007"})),
    ];
    for snapshot in left_out {
        keep(&*store, snapshot.clone()).await;
        let accounts = Repository::<Account>::new(store.clone()).snapshots(Snapshots::on_demand());
        let state = accounts.get("1").await.expect("it is read").expect("it is there").state;
        assert_eq!(state, Balance { is_open: true, amount: 10, bookings: 2 }, "{snapshot}");
        let done = accounts.execute("1", Command::EnsureOpen).await.expect("it is open");
        assert_eq!(done.reply, 10, "{snapshot}");
        for version in [3, 1_000].map(StreamVersion::new) {
            assert!(accounts.get_at("1", version).await.is_err(), "{snapshot}");
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Deposit(u64),
    Withdraw(u64),
    Snapshot,
    /// Another process takes over, with nothing in memory.
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1..50u64).prop_map(Step::Deposit),
        3 => (1..50u64).prop_map(Step::Withdraw),
        1 => Just(Step::Snapshot),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    /// With every policy, with and without memory: the state at every version is that of the events alone.
    #[test]
    fn with_and_without_snapshots_every_version_is_the_same(steps in steps(), every in 1..8u64, policy in 0..3u8, cached in any::<bool>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async {
            let store = memory().await;
            with_account(&store, 20).await;
            let begin = || {
                let snapshots = match policy {
                    0 => Snapshots::every(every),
                    1 => Snapshots::after_replaying(every),
                    _ => Snapshots::on_demand(),
                };
                Repository::<Account>::new(store.clone()).snapshots(snapshots).caching(if cached { 10 } else { 0 })
            };
            let plain = Repository::<Account>::new(store.clone()).caching(0);
            let mut accounts = begin();
            for step in steps {
                match step {
                    Step::Deposit(amount) => drop(accounts.execute("1", Command::Deposit { amount }).await.expect("it is deposited")),
                    Step::Withdraw(amount) => drop(accounts.execute("1", Command::Withdraw { amount }).await),
                    Step::Snapshot => drop(accounts.snapshot("1").await.expect("it is taken")),
                    Step::Restart => accounts = begin(),
                }
                accounts.settle().await;
                prop_assert_eq!(accounts.get("1").await.expect("it is read"), plain.get("1").await.expect("it is read"));
            }
            let last = plain.get("1").await.expect("it is read").expect("it is there").version.get();
            for version in (0..=last).map(StreamVersion::new) {
                let (with, without) = (accounts.get_at("1", version).await, plain.get_at("1", version).await);
                prop_assert_eq!(with.expect("it is read"), without.expect("it is read"));
            }
            Ok(())
        })?;
    }
}

fn cases() -> u32 {
    std::env::var("FACTUM_SNAPSHOT_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(100)
}
