//! Streams whose beginning was truncated: no state is guessed.

use factum::{CommandError, Repository, SharedStore, Snapshots, StreamVersion, Timestamp, TruncatedStreams};

use crate::account::{Account, Balance, Command, with_account};
use crate::memory;

async fn truncated(before: u64) -> SharedStore {
    let store = memory().await;
    let accounts = with_account(&store, 10).await;
    accounts.execute("1", Command::Withdraw { amount: 4 }).await.expect("it is done");
    store.truncate_before(&accounts.stream("1").expect("a name"), StreamVersion::new(before)).await.expect("it is truncated");
    store
}

#[tokio::test]
async fn a_state_of_which_the_beginning_is_missing_is_refused() {
    // In part, and as a whole.
    for before in [3, 5] {
        let store = truncated(before).await;
        let accounts = Repository::<Account>::new(store);
        let expected = format!("Account-1 is truncated before version {before}, and no snapshot covers what is missing");
        let errors = [
            accounts.get("1").await.expect_err("it is not known").to_string(),
            accounts.get_at("1", StreamVersion::new(1)).await.expect_err("it is not known").to_string(),
            accounts.get_at("1", StreamVersion::new(4)).await.expect_err("it is not known").to_string(),
            accounts.execute("1", Command::Deposit { amount: 1 }).await.expect_err("it is not known").to_string(),
            accounts.execute("1", Command::Open { owner: "bea" }).await.expect_err("it is not known").to_string(),
        ];
        for error in errors {
            assert!(error.starts_with(&expected), "{error}");
        }
    }
    let accounts = Repository::<Account>::new(truncated(3).await);
    assert!(accounts.get_as_of("1", Timestamp::now()).await.is_err());
}

#[tokio::test]
async fn a_snapshot_covers_what_is_missing() {
    for before in [3, 5] {
        let store = memory().await;
        let accounts = with_account(&store, 10).await.snapshots(Snapshots::on_demand());
        accounts.execute("1", Command::Withdraw { amount: 4 }).await.expect("it is done");
        accounts.snapshot("1").await.expect("it is taken");
        store.truncate_before(&accounts.stream("1").expect("a name"), StreamVersion::new(before)).await.expect("it is truncated");
        let accounts = Repository::<Account>::new(store).snapshots(Snapshots::on_demand());
        let state = accounts.get("1").await.expect("it is known").expect("it is there").state;
        assert_eq!(state, Balance { is_open: true, amount: 5, bookings: 4 });
        let done = accounts.execute("1", Command::Deposit { amount: 1 }).await.expect("it is deposited");
        assert_eq!((done.reply, done.version.get()), (6, 5));
        // The version of the snapshot can still be asked for, those before it can't, and those to come are not there.
        assert_eq!(accounts.get_at("1", StreamVersion::new(4)).await.expect("it is known").state.amount, 5);
        assert!(accounts.get_at("1", StreamVersion::new(2)).await.is_err());
        assert!(accounts.get_at("1", StreamVersion::new(6)).await.is_err());
    }
}

#[tokio::test]
async fn who_says_so_folds_the_rest() {
    let store = truncated(2).await;
    let accounts = Repository::<Account>::new(store).truncated(TruncatedStreams::FoldTheRest);
    let loaded = accounts.get("1").await.expect("it is read").expect("it is there");
    assert_eq!((loaded.state.amount, loaded.state.is_open, loaded.version.get()), (5, false, 4));

    let emptied = Repository::<Account>::new(truncated(5).await).truncated(TruncatedStreams::FoldTheRest);
    let done = emptied.execute("1", Command::Open { owner: "bea" }).await.expect("it begins again");
    assert_eq!(done.version.get(), 5);
    let refused = emptied.execute("1", Command::Open { owner: "bea" }).await;
    assert!(matches!(refused, Err(CommandError::Refused(_))));
}

#[tokio::test]
async fn a_state_in_memory_outlives_a_truncation() {
    let store = memory().await;
    let accounts = with_account(&store, 10).await;
    let stream = accounts.stream("1").expect("a name");
    store.truncate_before(&stream, StreamVersion::new(3)).await.expect("it is truncated");
    let done = accounts.execute("1", Command::Deposit { amount: 1 }).await.expect("it is deposited");
    assert_eq!((done.reply, done.version.get()), (11, 3));
}
