//! No update is lost, and no answer rests on a state that is out of date.

use std::sync::Arc;

use factum::{CommandError, CommandOptions, Error, Repository, Retry, StreamVersion};

use crate::account::{Account, Command, Refusal, with_account};
use crate::memory;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_commands_lose_nothing_and_count_their_conflicts() {
    let store = memory().await;
    with_account(&store, 0).await;
    let retry = Retry { attempts: 1_000, ..Retry::default() };
    let repositories: Vec<_> = (0..4).map(|_| Arc::new(Repository::<Account>::new(store.clone()).retrying(retry))).collect();
    let mut tasks = Vec::new();
    for number in 0..16 {
        let accounts = repositories[number % repositories.len()].clone();
        tasks.push(tokio::spawn(async move {
            let mut conflicts = 0;
            for _ in 0..20 {
                conflicts += accounts.execute("1", Command::Deposit { amount: 1 }).await.expect("it is deposited").conflicts;
            }
            conflicts
        }));
    }
    let mut conflicts = 0;
    for task in tasks {
        conflicts += task.await.expect("it ends");
    }
    assert!(conflicts > 0, "16 tasks on one account did not meet");
    for accounts in repositories {
        let balance = accounts.get("1").await.expect("it is read").expect("it is there");
        assert_eq!((balance.state.amount, balance.version), (320, StreamVersion::new(322)));
    }
}

#[tokio::test]
async fn a_refusal_rests_on_the_store_and_not_on_memory() {
    let store = memory().await;
    let (one, other) = (with_account(&store, 10).await, Repository::<Account>::new(store.clone()));
    other.execute("1", Command::Deposit { amount: 90 }).await.expect("it is deposited");
    // One still has the 10 in memory.
    let done = one.execute("1", Command::Withdraw { amount: 50 }).await.expect("there is enough");
    assert_eq!((done.reply, done.version, done.conflicts), (49, StreamVersion::new(5), 0));
    let error = other.execute("1", Command::Withdraw { amount: 50 }).await.expect_err("there is too little");
    assert_eq!(error.refused(), Some(Refusal::TooLittle { amount: 49 }));
}

#[tokio::test]
async fn that_nothing_happens_rests_on_the_store_too() {
    let store = memory().await;
    let (one, other) = (with_account(&store, 10).await, Repository::<Account>::new(store.clone()));
    other.execute("1", Command::Deposit { amount: 5 }).await.expect("it is deposited");
    let done = one.execute("1", Command::EnsureOpen).await.expect("it is open");
    assert_eq!((done.reply, done.receipt, done.version), (15, None, StreamVersion::new(3)));
    assert_eq!(one.get("1").await.expect("it is read").expect("it is there").state.amount, 15);
}

#[tokio::test]
async fn a_conflict_is_decided_about_again_on_what_is_new() {
    let store = memory().await;
    let (one, other) = (with_account(&store, 10).await, Repository::<Account>::new(store.clone()));
    other.execute("1", Command::Deposit { amount: 90 }).await.expect("it is deposited");
    let done = one.execute("1", Command::Deposit { amount: 1 }).await.expect("it is deposited");
    assert_eq!((done.reply, done.conflicts), (101, 1));
}

#[tokio::test]
async fn attempts_are_bounded() {
    let store = memory().await;
    let one = with_account(&store, 10).await.retrying(Retry::never());
    Repository::<Account>::new(store.clone()).execute("1", Command::Deposit { amount: 90 }).await.expect("it is deposited");
    let error = one.execute("1", Command::Deposit { amount: 1 }).await.expect_err("it meets a conflict");
    assert!(matches!(&error, CommandError::Contended { attempts: 1, conflict, .. } if conflict.is_conflict()), "{error:?}");
    assert!(error.to_string().starts_with("Account-1 was changed by others during each of 1 attempts; try again later"), "{error}");
}

#[tokio::test]
async fn who_has_seen_another_version_is_told_so() {
    let store = memory().await;
    let (one, other) = (with_account(&store, 10).await, Repository::<Account>::new(store.clone()));
    other.execute("1", Command::Deposit { amount: 90 }).await.expect("it is deposited");
    for accounts in [&one, &other] {
        let seen = CommandOptions::expecting(StreamVersion::new(2));
        let error = accounts.execute_with("1", Command::Deposit { amount: 1 }, seen).await.expect_err("it has changed");
        assert!(matches!(&error, CommandError::Store(Error::Conflict(conflict)) if conflict.actual.get() == 3), "{error:?}");
        let seen = CommandOptions::expecting(accounts.get("1").await.expect("it is read").expect("it is there").version);
        assert!(accounts.execute_with("1", Command::Open { owner: "bea" }, seen).await.is_err());
    }
    let seen = CommandOptions::expecting(StreamVersion::new(3));
    one.execute_with("1", Command::Deposit { amount: 1 }, seen).await.expect("it is as seen");
}

#[tokio::test]
async fn states_in_memory_are_bounded_and_not_needed() {
    for states_max in [0, 1, 2] {
        let store = memory().await;
        let accounts = Repository::<Account>::new(store).caching(states_max);
        for round in 0..3 {
            for id in 0..5 {
                let id = id.to_string();
                accounts.execute(&id, Command::EnsureOpen).await.expect("it is open");
                let done = accounts.execute(&id, Command::Deposit { amount: 1 }).await.expect("it is deposited");
                assert_eq!((done.reply, done.conflicts), (round + 1, 0));
            }
        }
    }
}
