//! The order system: an order is created, confirmed and shipped, or cancelled; and everything that makes no sense is refused.
//!
//! An order is an object here. Its methods check what is asked against what has happened, and record what happens next. They know
//! nothing of stores, and so does everything down to `main`.
//!
//! ```text
//! cargo run -p factum-examples --bin order_system                      # in memory
//! cargo run -p factum-examples --bin order_system -- file:./orders     # on disk
//! ```

use factum::{Aggregate, AggregateRepository, CommandError, CommandOptions, Event, Recorder, Uuid, connect};
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};

// --- What can happen to an order -------------------------------------------------------------------------------------------------

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(clippy::enum_variant_names, reason = "each is the name of an event type, which stands alone in the log")]
enum OrderEvent {
    OrderCreated { customer: String, items: Vec<Item> },
    OrderConfirmed,
    OrderShipped { tracking_number: String },
    OrderCancelled { reason: String },
}

/// Each variant is an event type of that name. Tags are for readers who want one customer's events, whatever the order.
impl Event for OrderEvent {
    fn tags(&self) -> Vec<String> {
        match self {
            Self::OrderCreated { customer, .. } => vec![format!("customer:{customer}")],
            Self::OrderConfirmed | Self::OrderShipped { .. } | Self::OrderCancelled { .. } => Vec::new(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Item {
    name: String,
    quantity: u32,
    price_cents: u64,
}

// --- The order -------------------------------------------------------------------------------------------------------------------

#[derive(Clone, Debug, Default, PartialEq)]
struct Order {
    status: Status,
    total_cents: u64,
    recorder: Recorder<OrderEvent>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Status {
    #[default]
    New,
    Created,
    Confirmed,
    Shipped,
    Cancelled,
}

#[derive(Debug, PartialEq, thiserror::Error)]
enum Refusal {
    #[error("the order exists already")]
    ExistsAlready,
    #[error("an order needs at least one item")]
    NoItems,
    #[error("an order that is {0:?} can't be confirmed")]
    CannotConfirm(Status),
    #[error("an order that is {0:?} can't be shipped")]
    CannotShip(Status),
    #[error("an order that is {0:?} can't be cancelled")]
    CannotCancel(Status),
}

impl Order {
    /// Replies with the total.
    fn create(&mut self, customer: &str, items: Vec<Item>) -> Result<u64, Refusal> {
        if self.status != Status::New {
            return Err(Refusal::ExistsAlready);
        }
        if items.is_empty() {
            return Err(Refusal::NoItems);
        }
        self.record(OrderEvent::OrderCreated { customer: customer.to_owned(), items });
        Ok(self.total_cents)
    }

    fn confirm(&mut self) -> Result<(), Refusal> {
        if self.status != Status::Created {
            return Err(Refusal::CannotConfirm(self.status));
        }
        self.record(OrderEvent::OrderConfirmed);
        Ok(())
    }

    fn ship(&mut self, tracking_number: &str) -> Result<(), Refusal> {
        if self.status != Status::Confirmed {
            return Err(Refusal::CannotShip(self.status));
        }
        self.record(OrderEvent::OrderShipped { tracking_number: tracking_number.to_owned() });
        Ok(())
    }

    fn cancel(&mut self, reason: &str) -> Result<(), Refusal> {
        if !matches!(self.status, Status::Created | Status::Confirmed) {
            return Err(Refusal::CannotCancel(self.status));
        }
        self.record(OrderEvent::OrderCancelled { reason: reason.to_owned() });
        Ok(())
    }
}

impl Aggregate for Order {
    const CATEGORY: &'static str = "Order";
    type Event = OrderEvent;
    type Error = Refusal;

    fn apply(&mut self, event: &OrderEvent) {
        self.status = match event {
            OrderEvent::OrderCreated { items, .. } => {
                self.total_cents = items.iter().map(|item| u64::from(item.quantity) * item.price_cents).sum();
                Status::Created
            }
            OrderEvent::OrderConfirmed => Status::Confirmed,
            OrderEvent::OrderShipped { .. } => Status::Shipped,
            OrderEvent::OrderCancelled { .. } => Status::Cancelled,
        };
    }

    fn recorder(&mut self) -> &mut Recorder<OrderEvent> {
        &mut self.recorder
    }
}

// --- At work ---------------------------------------------------------------------------------------------------------------------

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "memory:".to_owned());
    let store = connect(&url).await?;
    let orders = AggregateRepository::<Order>::new(store.clone());

    // A new order each time the example runs, so that it can run on the same store again.
    let id = &Uuid::now_v7().to_string();
    let items =
        vec![Item { name: "a book".into(), quantity: 2, price_cents: 1_950 }, Item { name: "a pen".into(), quantity: 1, price_cents: 320 }];

    let created = orders.call(id, |order| order.create("ann", items.clone())).await?;
    println!("created: {} cents, version {}", created.reply, created.version);
    assert_eq!(created.reply, 4_220);

    // What makes no sense is refused, and records nothing.
    let again = orders.call(id, |order| order.create("ann", items.clone())).await;
    refused(again, &Refusal::ExistsAlready);
    refused(orders.call(id, |order| order.ship("1Z999")).await, &Refusal::CannotShip(Status::Created));

    // Whoever sends a request again, because the answer got lost, sends the same key: it happens once.
    let confirm = || orders.call_with(id, CommandOptions::key("request-7"), Order::confirm);
    assert!(!confirm().await?.is_duplicate());
    assert!(confirm().await?.is_duplicate());
    println!("confirmed once, though asked twice");

    orders.call(id, |order| order.ship("1Z999")).await?;
    refused(orders.call(id, |order| order.cancel("changed my mind")).await, &Refusal::CannotCancel(Status::Shipped));

    // Another order, which its customer did cancel.
    let other = &Uuid::now_v7().to_string();
    refused(orders.call(other, |order| order.create("bea", Vec::new())).await, &Refusal::NoItems);
    orders.call(other, |order| order.create("bea", items.clone())).await?;
    orders.call(other, |order| order.cancel("too slow")).await?;
    refused(orders.call(other, Order::confirm).await, &Refusal::CannotConfirm(Status::Cancelled));

    // What is known of an order now, then, and how it came about.
    let order = orders.get(id).await?.ok_or("the order is there")?;
    println!("now: {:?} at version {}", order.state.status, order.version);
    assert_eq!(order.state.status, Status::Shipped);
    let then = orders.get_at(id, created.version).await?;
    assert_eq!(then.state.status, Status::Created);
    let mut history = orders.history(id)?;
    while let Some(entry) = history.try_next().await? {
        println!("  v{}  {:?}", entry.recorded.version, entry.events);
    }
    store.close().await?;
    Ok(())
}

fn refused<R: std::fmt::Debug>(outcome: Result<R, CommandError<Refusal>>, expected: &Refusal) {
    let refusal = outcome.expect_err("it makes no sense").refused().expect("the order itself refuses it");
    println!("refused: {refusal}");
    assert_eq!(&refusal, expected);
}

// --- Its tests -------------------------------------------------------------------------------------------------------------------

#[cfg(test)]
mod tests {
    use factum::testing::given_object;

    use super::*;

    fn items() -> Vec<Item> {
        vec![Item { name: "a book".into(), quantity: 2, price_cents: 1_950 }]
    }

    fn created() -> OrderEvent {
        OrderEvent::OrderCreated { customer: "ann".into(), items: items() }
    }

    fn shipped() -> OrderEvent {
        OrderEvent::OrderShipped { tracking_number: "1Z999".into() }
    }

    #[test]
    fn an_order_is_created_once_and_with_items() {
        let create = |order: &mut Order| order.create("ann", items());
        given_object::<Order>([]).when_called(create).then_events([created()]).then_reply(3_900);
        given_object::<Order>([created()]).when_called(create).then_refused(Refusal::ExistsAlready);
        given_object::<Order>([]).when_called(|order| order.create("ann", Vec::new())).then_refused(Refusal::NoItems);
    }

    #[test]
    fn only_what_is_confirmed_is_shipped() {
        let ship = |order: &mut Order| order.ship("1Z999");
        given_object::<Order>([created(), OrderEvent::OrderConfirmed]).when_called(ship).then_events([shipped()]);
        given_object::<Order>([created()]).when_called(ship).then_refused(Refusal::CannotShip(Status::Created));
        given_object::<Order>([]).when_called(ship).then_refused(Refusal::CannotShip(Status::New));
    }

    #[test]
    fn what_is_shipped_can_not_be_cancelled() {
        let cancel = |order: &mut Order| order.cancel("too slow");
        let cancelled = OrderEvent::OrderCancelled { reason: "too slow".into() };
        given_object::<Order>([created()]).when_called(cancel).then_events([cancelled.clone()]);
        given_object::<Order>([created(), OrderEvent::OrderConfirmed, shipped()])
            .when_called(cancel)
            .then_refused(Refusal::CannotCancel(Status::Shipped));
        given_object::<Order>([created(), cancelled]).when_called(Order::confirm).then_refused(Refusal::CannotConfirm(Status::Cancelled));
    }
}
