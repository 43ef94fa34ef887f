//! A command with a key happens once, and each repeat is told so.

use std::sync::Arc;

use factum::causation::{self, CorrelationId};
use factum::{CommandError, CommandOptions, EventStoreExt, Executed, Repository, Retry};

use crate::account::{Account, Command, with_account};
use crate::memory;

async fn keyed(accounts: &Repository<Account>, key: &str, command: Command) -> Executed<u64> {
    accounts.execute_with("1", command, CommandOptions::key(key)).await.expect("it is done, or was")
}

#[tokio::test]
async fn a_repeat_gets_the_first_receipt_and_the_reply_of_then() {
    let store = memory().await;
    let accounts = with_account(&store, 100).await;
    let first = keyed(&accounts, "a", Command::Withdraw { amount: 59 }).await;
    assert_eq!((first.reply, first.is_duplicate()), (40, false));

    // At once, after others, when it would be refused, and by one who knows nothing.
    for meanwhile in [None, Some(Command::Deposit { amount: 5 }), Some(Command::Withdraw { amount: 44 })] {
        if let Some(meanwhile) = meanwhile {
            accounts.execute("1", meanwhile).await.expect("it is done");
        }
        for accounts in [&accounts, &Repository::new(store.clone())] {
            let again = keyed(accounts, "a", Command::Withdraw { amount: 59 }).await;
            assert!(again.is_duplicate());
            assert_eq!((again.reply, again.version), (first.reply, first.version));
            let (first, again) = (first.receipt.as_ref().expect("recorded"), again.receipt.expect("recorded"));
            assert_eq!(again.streams, first.streams);
        }
    }
    assert_eq!(store.load(&accounts.stream("1").expect("a name")).await.expect("it is read").len(), 7);
}

#[tokio::test]
async fn the_first_command_of_a_stream_can_be_repeated() {
    let store = memory().await;
    let accounts = Repository::<Account>::new(store);
    let first = keyed(&accounts, "open", Command::Open { owner: "ann" }).await;
    let again = keyed(&accounts, "open", Command::Open { owner: "ann" }).await;
    assert!(again.is_duplicate());
    assert_eq!(again.version, first.version);
}

#[tokio::test]
async fn a_key_is_of_one_command() {
    let store = memory().await;
    let accounts = with_account(&store, 100).await;
    keyed(&accounts, "a", Command::Deposit { amount: 5 }).await;
    for another in [Command::Deposit { amount: 7 }, Command::Withdraw { amount: 1 }, Command::Open { owner: "bea" }] {
        let error = accounts.execute_with("1", another, CommandOptions::key("a")).await.expect_err("it is another command");
        assert!(matches!(&error, CommandError::KeyReused { key, version, .. } if key == "a" && version.get() == 3), "{error:?}");
    }
    assert_eq!(accounts.get("1").await.expect("it is read").expect("it is there").state.amount, 105);
}

#[tokio::test]
async fn keys_are_per_stream() {
    let accounts = Repository::<Account>::new(memory().await);
    for id in ["1", "2"] {
        let done = accounts.execute_with(id, Command::Open { owner: "ann" }, CommandOptions::key("a")).await.expect("it is opened");
        assert!(!done.is_duplicate());
    }
}

#[tokio::test]
async fn a_repeat_in_another_request_is_a_repeat() {
    let store = memory().await;
    let accounts = with_account(&store, 100).await;
    let mut answers = Vec::new();
    for request in ["request-1", "request-2"] {
        let request = CorrelationId::new(request).expect("a short text");
        let command = keyed(&accounts, "a", Command::Withdraw { amount: 10 });
        answers.push(causation::correlated(request, command).await);
    }
    assert!(!answers[0].is_duplicate() && answers[1].is_duplicate());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_is_sent_many_times_at_once_happens_once() {
    let store = memory().await;
    with_account(&store, 1_000).await;
    let retry = Retry { attempts: 1_000, ..Retry::default() };
    let repositories: Vec<_> = (0..3).map(|_| Arc::new(Repository::<Account>::new(store.clone()).retrying(retry))).collect();
    for round in 0..20 {
        let mut tasks = Vec::new();
        for number in 0..9 {
            let accounts = repositories[number % repositories.len()].clone();
            tasks.push(tokio::spawn(async move { keyed(&accounts, &format!("round {round}"), Command::Withdraw { amount: 9 }).await }));
        }
        let mut first = 0;
        for task in tasks {
            let done = task.await.expect("it ends");
            assert_eq!(done.reply, 1_000 - 10 * (round + 1));
            first += u32::from(!done.is_duplicate());
        }
        assert_eq!(first, 1);
    }
}
