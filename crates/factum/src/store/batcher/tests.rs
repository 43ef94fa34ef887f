//! The batcher over a sender that answers when the test says so.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use super::*;
use crate::{Condition, EventType, GlobalPosition, NewEvent, Query, RecordWrite};

/// A batch that was handed on, and how to answer it.
type Sent = (Vec<Append>, oneshot::Sender<Vec<Result<Receipt>>>);

/// Shows each batch to the test, and waits for its answer. Conditions go alone.
struct Held {
    sent: UnboundedSender<Sent>,
}

#[async_trait]
impl SendBatch for Held {
    async fn send_batch(&self, batch: Vec<Append>) -> Vec<Result<Receipt>> {
        let (answer, answered) = oneshot::channel();
        self.sent.send((batch, answer)).expect("the test looks");
        answered.await.expect("the test answers")
    }

    fn goes_alone(&self, append: &Append) -> bool {
        append.condition.is_some()
    }
}

struct Stage {
    batcher: Arc<Batcher<Held>>,
    sent: UnboundedReceiver<Sent>,
}

impl Stage {
    fn set(limits: BatchLimits) -> Self {
        let (sender, sent) = unbounded_channel();
        Self { batcher: Arc::new(Batcher::new(Held { sent: sender }, limits)), sent }
    }

    /// One batch at a time.
    fn one_by_one() -> Self {
        Self::set(BatchLimits { in_flight_max: 1, ..BatchLimits::default() })
    }

    /// Hands an append on, and returns once the batcher has it.
    async fn hand_on(&self, append: Append) -> JoinHandle<Result<Receipt>> {
        let batcher = self.batcher.clone();
        let task = tokio::spawn(async move { batcher.append(append).await });
        tokio::task::yield_now().await;
        task
    }

    /// Hands several on by tasks that are ready at the same time.
    fn all_at_once(&self, streams: &[&str]) {
        for stream in streams {
            let (batcher, append) = (self.batcher.clone(), append(stream));
            tokio::spawn(async move { batcher.append(append).await });
        }
    }

    /// The names of the streams of the next batch, and how to answer it.
    async fn next(&mut self) -> (Vec<String>, impl FnOnce() + use<>) {
        let (batch, answer) = self.sent.recv().await.expect("the batcher lives");
        let names = batch.iter().map(|append| append.streams[0].stream.to_string()).collect();
        let outcomes = batch.iter().map(|_| Ok(receipt())).collect();
        (names, || answer.send(outcomes).expect("the batch waits"))
    }

    fn nothing_sent(&mut self) -> bool {
        self.sent.try_recv().is_err()
    }
}

fn receipt() -> Receipt {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    let records = vec![crate::RecordVersion::new(NUMBER.fetch_add(1, Ordering::SeqCst))];
    Receipt { streams: Vec::new(), records, duplicate: false }
}

fn append(stream: &str) -> Append {
    append_of(stream, 1, 0)
}

fn append_of(stream: &str, events: usize, bytes: usize) -> Append {
    let event = || NewEvent::new(EventType::new("Happened").expect("valid"), vec![0; bytes]);
    Append::to(StreamId::new(stream).expect("valid"), (0..events).map(|_| event()))
}

#[tokio::test]
async fn what_arrives_while_a_batch_is_under_way_makes_the_next_one() {
    let mut stage = Stage::one_by_one();
    for stream in ["a", "b", "c"] {
        stage.hand_on(append(stream)).await;
    }
    let (first, answer) = stage.next().await;
    assert_eq!(first, ["a"]);
    assert!(stage.nothing_sent());
    answer();
    assert_eq!(stage.next().await.0, ["b", "c"]);
}

#[tokio::test]
async fn as_many_batches_are_under_way_as_asked() {
    let mut stage = Stage::set(BatchLimits { in_flight_max: 2, events_max: 2, ..BatchLimits::default() });
    stage.hand_on(append("a")).await;
    let (first, _held) = stage.next().await;
    assert_eq!(first, ["a"]);
    stage.all_at_once(&["b", "c", "d"]);
    let (second, answer) = stage.next().await;
    assert_eq!(second.len(), 2);
    tokio::task::yield_now().await;
    assert!(stage.nothing_sent());
    answer();
    assert_eq!(stage.next().await.0, ["d"]);
}

/// The first who was answered used to go alone while all others waited for it, so that every other batch was one of one.
#[tokio::test]
async fn a_batch_waits_for_those_who_are_ready() {
    let mut stage = Stage::one_by_one();
    stage.hand_on(append("a")).await;
    stage.all_at_once(&["b", "c"]);
    stage.next().await.1();
    let (crowd, answer) = stage.next().await;
    assert_eq!(crowd, ["b", "c"]);
    answer();
    tokio::task::yield_now().await;
    stage.all_at_once(&["d", "e", "f"]);
    assert_eq!(stage.next().await.0, ["d", "e", "f"]);
}

#[tokio::test]
async fn appends_to_one_stream_go_one_after_the_other_in_their_order() {
    let mut stage = Stage::set(BatchLimits { in_flight_max: 3, ..BatchLimits::default() });
    let mut answers = Vec::new();
    for number in 1..=3 {
        let both = append("b").and_to(StreamId::new(format!("own-{number}")).expect("valid"), crate::ExpectedVersion::Any, []);
        answers.push(stage.hand_on(both).await);
    }
    stage.hand_on(append("a")).await;
    let mut versions = Vec::new();
    let (first, answer_first) = stage.next().await;
    assert_eq!(first, ["b"]);
    let (second, answer_second) = stage.next().await;
    assert_eq!(second, ["a"], "the second for b waits for the first, and holds nobody up");
    answer_second();
    assert!(stage.nothing_sent());
    answer_first();
    for _ in 0..2 {
        let (next, answer) = stage.next().await;
        assert_eq!(next, ["b"]);
        answer();
    }
    for answer in answers {
        versions.push(answer.await.expect("no panic").expect("answered").records[0]);
    }
    assert!(versions.is_sorted(), "answered in the order in which they came: {versions:?}");
}

#[tokio::test]
async fn appends_that_write_one_record_do_not_share_a_batch() {
    let mut stage = Stage::one_by_one();
    let writing = |stream| append(stream).and_record(RecordWrite::set(RecordName::new("r").expect("valid"), "1"));
    for waiting in [append("a"), writing("b"), writing("c"), append("d")] {
        stage.hand_on(waiting).await;
    }
    for expected in [&["a"][..], &["b", "d"], &["c"]] {
        let (batch, answer) = stage.next().await;
        assert_eq!(batch, expected);
        answer();
    }
}

#[tokio::test]
async fn a_batch_is_limited_in_events_and_bytes() {
    let limits = BatchLimits { in_flight_max: 1, events_max: 3, bytes_max: 100, queue_max: 100 };
    let mut stage = Stage::set(limits);
    let appends = [("a", 1, 1), ("b", 2, 1), ("c", 1, 1), ("d", 1, 1), ("e", 1, 99), ("f", 9, 90), ("g", 1, 1)];
    for (stream, events, bytes) in appends {
        stage.hand_on(append_of(stream, events, bytes)).await;
    }
    for expected in [&["a"][..], &["b", "c"], &["d", "e"], &["f"], &["g"]] {
        let (batch, answer) = stage.next().await;
        assert_eq!(batch, expected);
        answer();
    }
}

#[tokio::test]
async fn what_goes_alone_goes_alone_and_holds_nobody_up() {
    let mut stage = Stage::one_by_one();
    let condition = Condition { none_of: Query::all(), after: GlobalPosition::START };
    stage.hand_on(append("a")).await;
    stage.hand_on(append("b")).await;
    stage.hand_on(append("c").on_condition(condition)).await;
    stage.hand_on(append("d")).await;
    for expected in [&["a"][..], &["b", "d"], &["c"]] {
        let (batch, answer) = stage.next().await;
        assert_eq!(batch, expected);
        answer();
    }
}

#[tokio::test]
async fn a_caller_that_went_away_hurts_nobody() {
    let mut stage = Stage::one_by_one();
    let first = stage.hand_on(append("a")).await;
    let second = stage.hand_on(append("b")).await;
    let third = stage.hand_on(append("b")).await;
    let (_, answer) = stage.next().await;
    for gone in [first, second] {
        gone.abort();
        assert!(gone.await.is_err());
    }
    answer();
    // The first is answered to nobody, the second was never sent.
    let (batch, answer) = stage.next().await;
    assert_eq!(batch, ["b"]);
    answer();
    assert!(third.await.expect("no panic").is_ok());
    assert!(stage.nothing_sent());
}

#[tokio::test]
async fn a_full_queue_makes_callers_wait() {
    let mut stage = Stage::set(BatchLimits { in_flight_max: 1, queue_max: 2, ..BatchLimits::default() });
    let mut tasks = Vec::new();
    for stream in ["a", "b", "c", "d", "e"] {
        tasks.push(stage.hand_on(append(stream)).await);
    }
    for expected in [&["a"][..], &["b", "c"], &["d", "e"]] {
        let (batch, answer) = stage.next().await;
        assert_eq!(batch, expected);
        // Whoever waited for room has come into the queue before the batch is answered.
        tokio::task::yield_now().await;
        answer();
    }
    for task in tasks {
        assert!(task.await.expect("no panic").is_ok());
    }
}

#[tokio::test]
async fn closing_answers_what_was_taken_and_takes_no_more() {
    let mut stage = Stage::one_by_one();
    let taken = [stage.hand_on(append("a")).await, stage.hand_on(append("b")).await];
    let batcher = stage.batcher.clone();
    let closing = tokio::spawn(async move { batcher.close().await });
    tokio::task::yield_now().await;
    assert!(matches!(stage.batcher.append(append("c")).await, Err(Error::Unavailable { .. })));
    assert!(!closing.is_finished());
    for _ in 0..2 {
        stage.next().await.1();
    }
    closing.await.expect("no panic");
    for task in taken {
        assert!(task.await.expect("no panic").is_ok());
    }
}

#[tokio::test]
async fn a_sender_that_panics_leaves_the_others_alone() {
    struct Clumsy;

    #[async_trait]
    impl SendBatch for Clumsy {
        async fn send_batch(&self, batch: Vec<Append>) -> Vec<Result<Receipt>> {
            assert_ne!(batch[0].streams[0].stream, "bad", "this is the panic");
            batch.iter().map(|_| Ok(receipt())).collect()
        }
    }

    let batcher = Batcher::new(Clumsy, BatchLimits::default());
    assert!(matches!(batcher.append(append("bad")).await, Err(Error::OutcomeUnknown { .. })));
    assert!(batcher.append(append("good")).await.is_ok());
    assert!(matches!(batcher.append(append("bad")).await, Err(Error::OutcomeUnknown { .. })), "its stream is free again");
    batcher.close().await;
}

/// Answers as soon as others have had their turn.
struct Prompt;

#[async_trait]
impl SendBatch for Prompt {
    async fn send_batch(&self, batch: Vec<Append>) -> Vec<Result<Receipt>> {
        tokio::task::yield_now().await;
        batch.iter().map(|_| Err(Error::invalid("answered"))).collect()
    }
}

/// A batch ended while the next one was being gathered, which found the stream still busy: what waited for it waited for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_is_forgotten_when_a_batch_ends_while_another_is_gathered() {
    let batcher = Arc::new(Batcher::new(Prompt, BatchLimits { in_flight_max: 2, ..BatchLimits::default() }));
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..6 {
        let batcher = batcher.clone();
        callers.spawn(async move {
            for _ in 0..5_000 {
                let stream = if caller % 3 == 0 { "Order-1" } else { "Order-2" };
                assert!(batcher.append(append(stream)).await.is_err());
            }
        });
    }
    while let Some(ended) = callers.join_next().await {
        ended.expect("it is answered each time");
    }
    batcher.close().await;
}
