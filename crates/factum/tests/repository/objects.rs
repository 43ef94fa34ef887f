//! Aggregates in object style, in the same repository.

use factum::{Aggregate, AggregateRepository, CommandError, Error, Event, EventStoreExt, Recorder, Snapshots};
use serde::{Deserialize, Serialize};

use crate::memory;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Basket {
    items: Vec<String>,
    #[serde(skip)]
    recorder: Recorder<BasketEvent>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum BasketEvent {
    ItemAdded { item: String },
    BasketEmptied,
}
impl Event for BasketEvent {}

#[derive(Debug, PartialEq)]
struct IsEmpty;

impl Aggregate for Basket {
    const CATEGORY: &'static str = "Basket";
    type Event = BasketEvent;
    type Error = IsEmpty;

    fn apply(&mut self, event: &BasketEvent) {
        match event {
            BasketEvent::ItemAdded { item } => self.items.push(item.clone()),
            BasketEvent::BasketEmptied => self.items.clear(),
        }
    }

    fn recorder(&mut self) -> &mut Recorder<BasketEvent> {
        &mut self.recorder
    }
}

impl Basket {
    fn add(&mut self, item: &str) -> usize {
        self.record(BasketEvent::ItemAdded { item: item.into() });
        self.items.len()
    }

    fn empty(&mut self) -> Result<(), IsEmpty> {
        if self.items.is_empty() {
            return Err(IsEmpty);
        }
        self.record(BasketEvent::BasketEmptied);
        Ok(())
    }
}

#[tokio::test]
async fn methods_record_what_happens() {
    let store = memory().await;
    let baskets = AggregateRepository::<Basket>::new(store.clone());
    let item = String::from("a book");
    let done = baskets.call("1", |basket| Ok((basket.add(&item), basket.add("a pen")))).await.expect("it is added");
    assert_eq!((done.reply, done.version.get()), ((1, 2), 2));
    baskets.call("1", Basket::empty).await.expect("it is emptied");
    let error = baskets.call("1", Basket::empty).await.expect_err("it is empty");
    assert_eq!(error.refused(), Some(IsEmpty));
    let basket = baskets.get("1").await.expect("it is read").expect("it is there");
    assert_eq!(basket.state, Basket::default());
    assert_eq!(store.load(&basket.stream).await.expect("it is read").len(), 3);
}

#[tokio::test]
async fn an_object_is_loaded_changed_and_saved_if_nobody_else_did() {
    let baskets = AggregateRepository::<Basket>::new(memory().await);
    baskets.call("1", |basket| Ok(basket.add("a book"))).await.expect("it is added");
    let mut one = baskets.get("1").await.expect("it is read").expect("it is there");
    let mut other = one.clone();
    one.state.add("a pen");
    other.state.add("a lamp");
    let done = baskets.save(&mut one).await.expect("it is saved");
    assert_eq!((done.version.get(), one.version.get(), one.state.recorder().uncommitted().len()), (2, 2, 0));
    let error = baskets.save(&mut other).await.expect_err("it was changed");
    assert!(matches!(error, CommandError::Store(Error::Conflict(_))), "{error:?}");
    one.state.add("a lamp");
    baskets.save(&mut one).await.expect("it is saved again");
    assert_eq!(baskets.get("1").await.expect("it is read").expect("it is there").state.items, ["a book", "a pen", "a lamp"]);
}

#[tokio::test]
async fn objects_have_snapshots_without_what_is_uncommitted() {
    let store = memory().await;
    let baskets = || AggregateRepository::<Basket>::new(store.clone()).snapshots(Snapshots::every(2));
    let one = baskets();
    for item in ["a book", "a pen", "a lamp"] {
        one.call("1", |basket| Ok(basket.add(item))).await.expect("it is added");
    }
    one.settle().await;
    let name = factum::RecordName::new("snapshot/Basket-1").expect("a short name");
    let snapshot = store.record(&name).await.expect("it is read").expect("it is taken");
    assert!(snapshot.value.ends_with(br#""state":{"items":["a book","a pen"]}}"#), "{snapshot:?}");
    assert_eq!(baskets().call("1", |basket| Ok(basket.add("a cup"))).await.expect("it is added").reply, 4);
}
