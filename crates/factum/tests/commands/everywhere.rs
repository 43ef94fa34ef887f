//! What holds of commands on every store.

use std::sync::Arc;

use factum::{
    Boundary, CommandError, CommandOptions, Decider, Decision, Event, Query, Repository, Retry, SharedStore, Snapshots, StreamVersion, Tag,
};
use serde::{Deserialize, Serialize};

use crate::Outcome;
use crate::account::{Account, Command, with_account};

const PATIENT: Retry =
    Retry { attempts: 1_000, delay: std::time::Duration::from_millis(1), delay_max: std::time::Duration::from_millis(50) };

pub(crate) async fn a_command_with_a_key_happens_once(store: SharedStore) -> Outcome {
    let accounts = with_account(&store, 100).await;
    let withdraw = async |accounts: &Repository<Account>, amount, key: &str| {
        accounts.execute_with("1", Command::Withdraw { amount }, CommandOptions::key(key)).await
    };
    let first = withdraw(&accounts, 59, "a").await?;
    assert!(!first.is_duplicate());
    // At once; after others; when it would be refused. By one who has it in memory, and one who has nothing.
    for meanwhile in [None, Some(Command::Deposit { amount: 5 }), Some(Command::Withdraw { amount: 44 })] {
        if let Some(meanwhile) = meanwhile {
            accounts.execute("1", meanwhile).await?;
        }
        for accounts in [&accounts, &Repository::new(store.clone())] {
            let again = withdraw(accounts, 59, "a").await?;
            assert_eq!((again.is_duplicate(), again.reply, again.version), (true, first.reply, first.version));
            assert_eq!(again.receipt.map(|receipt| receipt.streams), first.receipt.clone().map(|receipt| receipt.streams));
        }
    }
    let nothing = accounts.execute_with("1", Command::EnsureOpen, CommandOptions::key("open")).await?;
    assert_eq!((nothing.receipt, nothing.version), (None, StreamVersion::new(7)));
    let refused = withdraw(&accounts, 59, "b").await;
    assert!(matches!(refused, Err(CommandError::Refused(_))), "{refused:?}");
    let another = withdraw(&accounts, 1, "a").await;
    assert!(matches!(another, Err(CommandError::KeyReused { .. })), "{another:?}");
    assert_eq!(accounts.get("1").await?.ok_or("it is there")?.version, StreamVersion::new(7));
    Ok(())
}

pub(crate) async fn concurrent_commands_lose_nothing(store: SharedStore) -> Outcome {
    with_account(&store, 0).await;
    let repositories: Vec<_> = (0..2).map(|_| Arc::new(Repository::<Account>::new(store.clone()).retrying(PATIENT))).collect();
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..6 {
        let accounts = repositories[number % 2].clone();
        tasks.spawn(async move {
            for turn in 0..8 {
                let key = CommandOptions::key(format!("{number}-{turn}"));
                for _ in 0..2 {
                    accounts.execute_with("1", Command::Deposit { amount: 1 }, key.clone()).await?;
                }
            }
            Ok::<(), CommandError<_>>(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    for accounts in repositories {
        assert_eq!(accounts.get("1").await?.ok_or("it is there")?.state.amount, 48);
    }
    Ok(())
}

pub(crate) async fn states_are_the_same_with_snapshots_and_without(store: SharedStore) -> Outcome {
    let plain = with_account(&store, 10).await;
    let with = || Repository::<Account>::new(store.clone()).snapshots(Snapshots::every(4)).caching(0);
    let accounts = with();
    for amount in 1..12 {
        accounts.execute("1", Command::Deposit { amount }).await?;
        accounts.settle().await;
        assert_eq!(with().get("1").await?, plain.get("1").await?);
    }
    for version in (0..=13).map(StreamVersion::new) {
        assert_eq!(with().get_at("1", version).await?, plain.get_at("1", version).await?);
    }
    Ok(())
}

/// Seats of a room: so many, whoever takes them.
struct Seats;

const SEATS: u64 = 5;

#[derive(Debug, Serialize, Deserialize)]
struct SeatTaken {
    by: String,
}

impl Event for SeatTaken {
    fn tags(&self) -> Vec<String> {
        vec!["room:1".to_owned()]
    }
}

#[derive(Debug, thiserror::Error)]
#[error("no seat is left")]
struct Full;

impl Decider for Seats {
    const CATEGORY: &'static str = "Guest";
    type State = u64;
    type Command = String;
    type Event = SeatTaken;
    type Reply = u64;
    type Error = Full;

    fn decide(taken: &u64, by: &String) -> Result<Decision<SeatTaken, u64>, Full> {
        if *taken == SEATS { Err(Full) } else { Ok(Decision::of([SeatTaken { by: by.clone() }]).reply(taken + 1)) }
    }

    fn evolve(taken: &mut u64, _: &SeatTaken) {
        *taken += 1;
    }
}

/// Each guest has a stream of their own, so no version of a stream guards the room. Where the store has no conditions it says so.
pub(crate) async fn what_spans_streams_holds(store: SharedStore) -> Outcome {
    let room = || Query::tags([Tag::new("room:1").expect("a short text")]);
    let boundary = Arc::new(Boundary::<Seats>::new(store.clone()).retrying(PATIENT));
    if !store.capabilities().conditions.is_yes() {
        let refused = boundary.execute("ann", room(), "ann".to_owned()).await;
        assert!(matches!(refused, Err(CommandError::Store(factum::Error::Unsupported { .. }))), "{refused:?}");
        return Ok(());
    }
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..8 {
        let boundary = boundary.clone();
        tasks.spawn(async move {
            let (guest, key) = (format!("guest {number}"), CommandOptions::key("take a seat"));
            let mut replies = Vec::new();
            for _ in 0..2 {
                match boundary.execute_with(&guest, room(), guest.clone(), key.clone()).await {
                    Ok(done) => replies.push(done.reply),
                    Err(CommandError::Refused(Full)) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(replies)
        });
    }
    let mut seats = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        let replies = ended??;
        assert!(replies.len() != 1, "a repeat has another answer: {replies:?}");
        assert!(replies.iter().all(|reply| reply == &replies[0]), "a repeat has another answer: {replies:?}");
        seats.extend(replies.first().copied());
    }
    seats.sort_unstable();
    assert_eq!(seats, (1..=SEATS).collect::<Vec<_>>());
    assert_eq!(boundary.state(room()).await?, SEATS);
    Ok(())
}
