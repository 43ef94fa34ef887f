//! What is carried out while a batch is on its way: large batches wait behind it, one after the other, and fall with it.

use std::sync::Arc;

use tokio::task::JoinHandle;

use super::{Client, Door, Fate, Fated, door};

/// More than a batch needs to be closed.
const MANY: usize = 1_024;

/// So many XADDs to a stream, sent together.
fn many(door: &Arc<Door>, stream: &str) -> JoinHandle<String> {
    let mut client = Client::of(door);
    let lines: Vec<String> = (0..MANY).map(|number| format!("XADD {stream} * n {number}")).collect();
    tokio::spawn(async move { client.ask(&lines.join("\n")).await })
}

fn ask(door: &Arc<Door>, lines: &'static str) -> JoinHandle<String> {
    let mut client = Client::of(door);
    tokio::spawn(async move { client.ask(lines).await })
}

/// Lets everyone go on who can.
async fn pause() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn large_batches_wait_their_turn_and_are_shown_when_they_are_durable() {
    let store = Fated::new().await;
    let door = door(&store);
    Client::of(&door).ask("XLEN a \n XLEN b \n XLEN c \n GET k").await;
    store.permits.forget_permits(usize::MAX >> 4);
    let mut asked = Vec::new();
    // The last changes a record, so it waits in the open batch; the question is about what is on its way before it.
    for work in [many(&door, "a"), many(&door, "b"), many(&door, "a"), ask(&door, "XADD c 1-0 f v \n SET k 1"), ask(&door, "XLEN b")] {
        asked.push(work);
        pause().await;
    }
    assert!(asked.iter().all(|work| !work.is_finished()));
    store.permits.add_permits(1);
    pause().await;
    assert_eq!(asked.iter().map(JoinHandle::is_finished).collect::<Vec<_>>(), [true, false, false, false, false]);
    store.permits.add_permits(1);
    pause().await;
    assert_eq!(asked.iter().map(JoinHandle::is_finished).collect::<Vec<_>>(), [true, true, false, false, true]);
    store.permits.add_permits(1_000);
    for (work, answers) in asked.into_iter().zip([MANY, MANY, MANY, 1, 0]) {
        assert_eq!(work.await.expect("it ends").matches('-').count(), answers);
    }
    // The entry, the record, and the name of the key.
    assert_eq!(*store.appends.lock().expect("no holder panics"), [(MANY, 0), (MANY, 0), (MANY, 0), (2, 1)]);
    assert_eq!(Client::of(&door).ask("DEBUG RELOAD \n XLEN a \n XLEN b \n XLEN c \n GET k").await, "+OK :2048 :1024 :1 $1 1 ");
}

#[tokio::test]
async fn what_waits_behind_a_batch_that_is_not_recorded_is_not_recorded_either() {
    let store = Fated::new().await;
    let door = door(&store);
    Client::of(&door).ask("XLEN a \n XLEN b \n GET k").await;
    store.permits.forget_permits(usize::MAX >> 4);
    store.next(Fate::Refused);
    let mut asked = Vec::new();
    for work in [many(&door, "a"), many(&door, "a"), many(&door, "b"), ask(&door, "SET k 1"), ask(&door, "XLEN b")] {
        asked.push(work);
        pause().await;
    }
    store.permits.add_permits(1_000);
    // Who only reads is told how it is without it.
    assert_eq!(asked.pop().expect("it was asked").await.expect("it ends"), ":0 ");
    for (work, refused) in asked.into_iter().zip([MANY, MANY, MANY, 1]) {
        let answer = work.await.expect("it ends");
        assert_eq!(answer.matches("-MISCONF ").count(), refused);
    }
    assert_eq!(store.inner.head().await.expect("it is there").number(), 0);
    assert!(many(&door, "a").await.expect("it ends").starts_with('$'));
    assert_eq!(Client::of(&door).ask("XLEN a \n XLEN b \n GET k").await, ":1024 :0 $-1 ");
}

#[tokio::test]
async fn two_doors_that_write_much_to_the_same_streams_record_all_of_it_once() {
    let store = Fated::new().await;
    let doors = [door(&store), door(&store)];
    let work: Vec<_> = (0..8).map(|number| many(&doors[number % 2], ["a", "b"][number / 2 % 2])).collect();
    for work in work {
        let answer = work.await.expect("it ends");
        assert!(answer.starts_with('$') && !answer.contains("-ERR"), "{answer}");
    }
    assert_eq!(Client::of(&door(&store)).ask("XLEN a \n XLEN b").await, ":4096 :4096 ");
}
