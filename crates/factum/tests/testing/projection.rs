//! Given a log, when it is projected, then the rows are these.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use factum::projection::Draft;
use factum::testing::given_log;
use factum::{Codec, Event, Handled, Projection, Query, RecordedEvent};
use futures::FutureExt;
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize)]
enum AccountEvent {
    AccountOpened { owner: String },
    MoneyDeposited { cents: u64 },
}
impl Event for AccountEvent {}

type Balances = BTreeMap<String, u64>;

/// What is on each account.
#[derive(Default)]
struct PerAccount {
    /// Against the rules: what it keeps to itself.
    own: AtomicU64,
    keeps_to_itself: bool,
    skips_in_batches: bool,
}

#[async_trait]
impl Projection<Draft<Balances>> for PerAccount {
    fn name(&self) -> &str {
        "balances"
    }

    fn query(&self) -> Query {
        Query::category("Account".try_into().expect("a category"))
    }

    async fn apply(&self, event: &RecordedEvent, rows: &mut Draft<Balances>) -> Handled {
        for typed in Codec::<AccountEvent>::new().decode(event)? {
            if let AccountEvent::MoneyDeposited { cents } = typed {
                let before = if self.keeps_to_itself {
                    self.own.fetch_add(cents, Ordering::SeqCst)
                } else {
                    rows.get(event.stream.as_str()).copied().unwrap_or(0)
                };
                rows.insert(event.stream.to_string(), before + cents);
            }
        }
        Ok(())
    }

    async fn apply_all(&self, events: &[RecordedEvent], rows: &mut Draft<Balances>) -> Handled {
        for event in events.iter().skip(usize::from(self.skips_in_batches && events.len() > 1)) {
            self.apply(event, rows).await?;
        }
        Ok(())
    }
}

fn log() -> [(&'static str, AccountEvent); 4] {
    let deposited = |cents| AccountEvent::MoneyDeposited { cents };
    let opened = AccountEvent::AccountOpened { owner: "ann".into() };
    [("Account-1", deposited(5)), ("Account-2", deposited(7)), ("Account-1", opened), ("Account-1", deposited(30))]
}

fn expected() -> Balances {
    Balances::from([("Account-1".into(), 35), ("Account-2".into(), 7)])
}

async fn failure(check: impl Future<Output = ()>) -> String {
    let panic = AssertUnwindSafe(check).catch_unwind().await.expect_err("it finds what is wrong");
    *panic.downcast::<String>().expect("a message")
}

#[tokio::test]
async fn rows_are_the_same_however_the_events_come() {
    given_log(log()).await.when_projected(PerAccount::default).await.then_rows(expected());
    given_log::<AccountEvent>([]).await.when_projected(PerAccount::default).await.then_rows(Balances::new());
}

#[tokio::test]
async fn other_rows_are_shown() {
    let message = failure(async {
        given_log(log()).await.when_projected(PerAccount::default).await.then_rows(Balances::from([("Account-1".into(), 36)]));
    });
    let message = message.await;
    assert!(
        message.starts_with("the rows are others:") && message.contains("-    \"Account-1\": 36,\n+    \"Account-1\": 35,"),
        "{message}"
    );
}

#[tokio::test]
async fn a_projection_that_keeps_something_to_itself_is_noticed() {
    let of_one = || log().into_iter().filter(|(stream, _)| *stream == "Account-1");
    let greedy = || PerAccount { keeps_to_itself: true, ..PerAccount::default() };
    let message = failure(async { drop(given_log(of_one()).await.when_projected(greedy).await) }).await;
    assert!(message.starts_with("the same events, delivered twice, give other rows"), "{message}");
}

#[tokio::test]
async fn a_batch_that_is_more_or_less_than_its_events_is_noticed() {
    let hasty = || PerAccount { skips_in_batches: true, ..PerAccount::default() };
    let message = failure(async { drop(given_log(log()).await.when_projected(hasty).await) }).await;
    assert!(message.starts_with("the same events, one by one, give other rows"), "{message}");
}
