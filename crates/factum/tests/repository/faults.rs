//! Outcomes that are unknown: the answer to an append is lost, after it took effect or before. And stores that are away for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use factum::{
    Append, Capabilities, CheckpointPolicy, CommandError, CommandOptions, Error, EventStore, EventStream, GlobalPosition, InfoStream,
    ListStreams, Processor, ReadLog, ReadStream, Receipt, Record, RecordName, RecordVersion, RecordWrite, RecordedEvent, Repository,
    Result, Retry, SharedStore, Snapshots, Stats, StreamId, StreamInfo, StreamVersion, Subscriptions,
};
use futures::StreamExt;

use tokio::sync::Semaphore;

use crate::account::{Account, Command, with_account};
use crate::memory;

/// A store whose answers get lost, the next so many, and whose records take as long as they are held up.
struct Lossy {
    store: SharedStore,
    lost_after: AtomicU32,
    lost_before: AtomicU32,
    records: Semaphore,
    trouble: AtomicU8,
}

/// Records can't be written.
const READ_ONLY: u8 = 1;
/// Nothing can be reached.
const AWAY: u8 = 2;

impl Lossy {
    fn fails_from(&self, trouble: u8) -> Result<()> {
        let is_fine = self.trouble.load(Ordering::SeqCst) < trouble;
        if is_fine { Ok(()) } else { Err(Error::Unavailable { reason: "the cable is pulled".into(), source: None }) }
    }
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

    async fn append_alone(&self, append: Append) -> Result<Receipt> {
        self.append(append).await
    }

    fn read_stream(&self, stream: &StreamId, options: ReadStream) -> EventStream {
        self.store.read_stream(stream, options)
    }

    fn read_log(&self, options: ReadLog) -> EventStream {
        match self.fails_from(AWAY) {
            Ok(()) => self.store.read_log(options),
            Err(error) => futures::stream::iter([Err(error)]).boxed(),
        }
    }

    async fn head(&self) -> Result<GlobalPosition> {
        self.fails_from(AWAY)?;
        self.store.head().await
    }

    async fn wait_after(&self, position: GlobalPosition) -> Result<()> {
        self.fails_from(AWAY)?;
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
        self.fails_from(AWAY)?;
        self.store.record(name).await
    }

    async fn write_record(&self, write: RecordWrite) -> Result<RecordVersion> {
        self.fails_from(READ_ONLY)?;
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
    let (lost_after, lost_before, records, trouble) = (AtomicU32::new(0), AtomicU32::new(0), Semaphore::new(1), AtomicU8::new(0));
    let lossy = Arc::new(Lossy { store, lost_after, lost_before, records, trouble });
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

/// The trouble begins when the first event has been handled, and before that is written down. Time is skipped.
#[tokio::test(start_paused = true)]
async fn a_processor_waits_for_a_store_that_is_away_and_ends_where_it_can_only_be_read() {
    let (store, _) = lossy().await;
    let in_trouble = |name: &str, trouble: u8| {
        let bad = store.clone();
        Processor::new(store.clone(), name).checkpoint(CheckpointPolicy::EachEvent).otherwise(move |event: RecordedEvent| {
            if event.version == StreamVersion::FIRST {
                bad.trouble.store(trouble, Ordering::SeqCst);
            }
            std::future::ready(Ok(()))
        })
    };
    let mut waiting = in_trouble("waiting", AWAY);
    let mended = tokio::spawn({
        let store = store.clone();
        async move {
            tokio::time::sleep(Duration::from_secs(600)).await;
            store.trouble.store(0, Ordering::SeqCst);
        }
    });
    waiting.run_until(tokio::time::sleep(Duration::from_secs(1_200))).await.expect("it waits");
    mended.await.expect("it does not panic");
    let head = store.head().await.expect("it is there again");
    assert_eq!(Subscriptions::new(store.clone()).get("waiting").await.expect("it is read").position, head);

    let ended = in_trouble("ending", READ_ONLY).run_until(std::future::pending::<()>()).await;
    assert!(matches!(ended, Err(Error::Unavailable { .. })), "{ended:?}");
}
