//! Outcomes that are unknown: the answer to an append is lost, after it took effect or before.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use factum::{
    Append, Capabilities, CommandError, CommandOptions, Error, EventStore, EventStream, GlobalPosition, InfoStream, ListStreams, ReadLog,
    ReadStream, Receipt, Record, RecordName, RecordVersion, RecordWrite, Repository, Result, Retry, SharedStore, Snapshots, Stats,
    StreamId, StreamInfo, StreamVersion,
};

use tokio::sync::Semaphore;

use crate::account::{Account, Command, with_account};
use crate::memory;

/// A store whose answers get lost, the next so many, and whose records take as long as they are held up.
struct Lossy {
    store: SharedStore,
    lost_after: AtomicU32,
    lost_before: AtomicU32,
    records: Semaphore,
}

fn takes_one(count: &AtomicU32) -> bool {
    count.try_update(Ordering::SeqCst, Ordering::SeqCst, |count| count.checked_sub(1)).is_ok()
}

fn lost() -> Error {
    Error::OutcomeUnknown { reason: "the connection broke".into(), source: None }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl EventStore for Lossy {
    fn capabilities(&self) -> Capabilities {
        self.store.capabilities()
    }

    async fn append(&self, append: Append) -> Result<Receipt> {
        if takes_one(&self.lost_before) {
            return Err(lost());
        }
        let receipt = self.store.append(append).await?;
        if takes_one(&self.lost_after) { Err(lost()) } else { Ok(receipt) }
    }

    fn read_stream(&self, stream: &StreamId, options: ReadStream) -> EventStream {
        self.store.read_stream(stream, options)
    }

    fn read_log(&self, options: ReadLog) -> EventStream {
        self.store.read_log(options)
    }

    async fn head(&self) -> Result<GlobalPosition> {
        self.store.head().await
    }

    async fn wait_after(&self, position: GlobalPosition) -> Result<()> {
        self.store.wait_after(position).await
    }

    async fn stream(&self, stream: &StreamId) -> Result<Option<StreamInfo>> {
        self.store.stream(stream).await
    }

    fn streams(&self, options: ListStreams) -> InfoStream {
        self.store.streams(options)
    }

    async fn truncate_before(&self, stream: &StreamId, before: StreamVersion) -> Result<StreamInfo> {
        self.store.truncate_before(stream, before).await
    }

    async fn record(&self, name: &RecordName) -> Result<Option<Record>> {
        self.store.record(name).await
    }

    async fn write_record(&self, write: RecordWrite) -> Result<RecordVersion> {
        let _pass = self.records.acquire().await.expect("it is not closed");
        self.store.write_record(write).await
    }

    async fn stats(&self) -> Result<Stats> {
        self.store.stats().await
    }

    async fn close(&self) -> Result<()> {
        self.store.close().await
    }
}

async fn lossy() -> (Arc<Lossy>, Repository<Account>) {
    let store = memory().await;
    with_account(&store, 100).await;
    let lossy = Arc::new(Lossy { store, lost_after: AtomicU32::new(0), lost_before: AtomicU32::new(0), records: Semaphore::new(1) });
    (lossy.clone(), Repository::new(lossy))
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_and_nothing_happens_twice() {
    let (store, accounts) = lossy().await;
    for (count, round) in [(&store.lost_before, 1), (&store.lost_after, 2)] {
        count.store(3, Ordering::SeqCst);
        let done = accounts.execute("1", Command::Withdraw { amount: 9 }).await.expect("it is known in the end");
        assert_eq!((done.reply, done.conflicts), (100 - 10 * round, 0));
        assert!(!done.is_duplicate(), "it is this command's own append");
    }
    assert_eq!(accounts.get("1").await.expect("it is read").expect("it is there").version.get(), 6);
}

#[tokio::test]
async fn an_outcome_that_stays_unknown_is_an_error_and_the_key_tells_later() {
    let (store, accounts) = lossy().await;
    let accounts = accounts.retrying(Retry::attempts(3));
    let withdraw = || accounts.execute_with("1", Command::Withdraw { amount: 9 }, CommandOptions::key("a"));
    store.lost_after.store(3, Ordering::SeqCst);
    let error = withdraw().await.expect_err("it is not known");
    assert!(matches!(error, CommandError::Store(Error::OutcomeUnknown { .. })), "{error:?}");
    let again = withdraw().await.expect("it is known now");
    assert!(again.is_duplicate());
    assert_eq!(again.reply, 90);
    // Also where the answers of the repeat are lost, at first.
    store.lost_before.store(1, Ordering::SeqCst);
    assert_eq!(withdraw().await.expect("it is known now").reply, 90);
    let state = accounts.get("1").await.expect("it is read").expect("it is there").state;
    assert_eq!(state.amount, 90);
}

#[tokio::test]
async fn a_snapshot_is_taken_after_the_answer_and_not_waited_for() {
    let (store, accounts) = lossy().await;
    let accounts = accounts.snapshots(Snapshots::every(1));
    let held_up = store.records.acquire().await.expect("it is not closed");
    // Many more than are written at once: what comes meanwhile is left out, and nobody waits.
    for amount in 1..=100 {
        accounts.execute("1", Command::Deposit { amount }).await.expect("it is deposited");
    }
    let name = RecordName::new("snapshot/Account-1").expect("a short name");
    assert_eq!(store.record(&name).await.expect("it is read"), None);
    drop(held_up);
    accounts.settle().await;
    assert!(store.record(&name).await.expect("it is read").is_some());
    let fresh = Repository::<Account>::new(store).snapshots(Snapshots::on_demand());
    assert_eq!(fresh.get("1").await.expect("it is read"), accounts.get("1").await.expect("it is read"));
}
