//! States of now and of then, and how they came about.

use std::time::Duration;

use factum::{Codec, EventStoreExt, ExpectedVersion, Repository, StreamVersion, Timestamp, Uuid};
use futures::TryStreamExt;

use crate::account::{Account, AccountEvent, Balance, Command, with_account};
use crate::memory;

#[tokio::test]
async fn what_is_not_there_is_none_and_not_the_beginning() {
    let accounts = Repository::<Account>::new(memory().await);
    assert_eq!(accounts.get("1").await.expect("it is read"), None);
    assert!(!accounts.exists("1").await.expect("it is read"));
    accounts.execute("1", Command::EnsureOpen).await.expect("it is opened");
    assert!(accounts.exists("1").await.expect("it is read"));
}

#[tokio::test]
async fn every_version_can_be_asked_for() {
    let store = memory().await;
    let accounts = with_account(&store, 10).await;
    accounts.execute("1", Command::Withdraw { amount: 4 }).await.expect("it is done");
    let mut amounts = Vec::new();
    for version in 0..=4 {
        let then = accounts.get_at("1", StreamVersion::new(version)).await.expect("it is read");
        assert_eq!((then.version.get(), then.state.bookings), (version, version));
        amounts.push(then.state.amount);
    }
    assert_eq!(amounts, [0, 0, 10, 6, 5]);
    let error = accounts.get_at("1", StreamVersion::new(5)).await.expect_err("it is not there").to_string();
    assert_eq!(error, "Account-1 is at version 4, there is no version 5 yet");
}

#[tokio::test]
async fn every_moment_can_be_asked_for() {
    let store = memory().await;
    let accounts = Repository::<Account>::new(store.clone());
    let (codec, day) = (Codec::<AccountEvent>::new(), Duration::from_secs(86_400));
    let start: Timestamp = "2026-03-01T00:00:00Z".parse().expect("a time");
    let mut events = Vec::new();
    for (number, event) in
        [AccountEvent::AccountOpened { owner: "ann".into() }, AccountEvent::MoneyDeposited { amount: 5 }].iter().enumerate()
    {
        let happened = start + day * u32::try_from(number).expect("a small number");
        events.push(codec.encode(event, Uuid::now_v7()).expect("it is written").with_occurred_at(happened));
    }
    store.append_to(&accounts.stream("1").expect("a name"), ExpectedVersion::NoStream, events).await.expect("it is recorded");
    let amount_at = async |time: Timestamp| accounts.get_as_of("1", time).await.expect("it is read").map(|loaded| loaded.state.amount);
    assert_eq!(amount_at(start - day).await, None);
    assert_eq!(amount_at(start).await, Some(0));
    assert_eq!(amount_at(start + day).await, Some(5));
    assert_eq!(amount_at(Timestamp::now()).await, Some(5));
}

#[tokio::test]
async fn history_is_typed_and_as_recorded() {
    let store = memory().await;
    let accounts = with_account(&store, 10).await;
    let history: Vec<_> = accounts.history("1").expect("a name").try_collect().await.expect("it is read");
    let types: Vec<&str> = history.iter().map(|entry| entry.recorded.event_type.as_str()).collect();
    assert_eq!(types, ["AccountOpened", "MoneyDeposited"]);
    assert_eq!(history[1].events, [AccountEvent::MoneyDeposited { amount: 10 }]);
}

#[tokio::test]
async fn a_state_can_be_read_by_a_second_repository_at_once() {
    let store = memory().await;
    let (one, other) = (with_account(&store, 10).await, Repository::<Account>::new(store.clone()));
    for amount in 1..20 {
        one.execute("1", Command::Deposit { amount }).await.expect("it is deposited");
        let (here, there) = (one.get("1").await.expect("it is read"), other.get("1").await.expect("it is read"));
        assert_eq!(here, there);
    }
    let state = other.get("1").await.expect("it is read").expect("it is there").state;
    assert_eq!(state, Balance { is_open: true, amount: 200, bookings: 21 });
}
