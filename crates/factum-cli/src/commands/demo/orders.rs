//! The orders of a small shop in March 2026, made up by a seeded generator: the same every time.

use std::fmt::Write;

use factum::{Timestamp, Uuid};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::moment;

const ORDERS: u32 = 720;
const CUSTOMERS: [&str; 12] = ["ada", "alan", "barbara", "dennis", "edsger", "frances", "grace", "hedy", "ken", "lynn", "margaret", "tony"];
const CITIES: [&str; 6] = ["Aachen", "Bruges", "Cork", "Dresden", "Esbjerg", "Ferrara"];
const PRODUCTS: [(&str, u64); 8] = [
    ("notebook", 450),
    ("pencils", 320),
    ("fountain pen", 3_990),
    ("ink", 890),
    ("desk lamp", 5_400),
    ("satchel", 8_250),
    ("ruler", 210),
    ("map of the moon", 1_275),
];
const REASONS: [&str; 3] = ["too late", "arrived broken", "changed my mind"];

/// The orders as a file to import, and one of them to tell a story about.
pub(super) struct Orders {
    /// JSON lines, in the order in which things happened.
    pub(super) lines: String,
    /// How many lines.
    pub(super) events: usize,
    /// An order whose address was changed before it was shipped, and that was delivered in the end.
    pub(super) story: Story,
}

/// What the demo tells about one order.
#[derive(Clone, Debug)]
pub(super) struct Story {
    /// The order's stream.
    pub(super) stream: String,
    /// How many events it has.
    pub(super) version: u64,
    /// A moment after it was placed and before its address was changed.
    pub(super) before_the_change: String,
}

struct Happening {
    at: Timestamp,
    stream: String,
    event_type: &'static str,
    data: Value,
    metadata: Value,
    customer: &'static str,
}

/// Makes the orders up.
pub(super) fn made_up() -> Orders {
    let mut dice = Dice(2_026);
    let opening: Timestamp = "2026-03-01T07:00:00Z".parse().expect("it is a moment");
    let mut happenings = Vec::new();
    let mut story = None;
    let mut at = opening;
    for number in 1_001..1_001 + ORDERS {
        at = later(at, dice.below(120) + 1);
        let begin = happenings.len();
        let told = order(number, at, &mut dice, &mut happenings);
        if let Some(before_the_change) = told {
            let version = (happenings.len() - begin) as u64;
            story.get_or_insert(Story { stream: format!("Order-{number}"), version, before_the_change });
        }
    }
    // The sort is stable: what happens to one order at one moment stays in order.
    happenings.sort_by_key(|happening| happening.at);
    let mut lines = String::new();
    for (index, Happening { at, stream, event_type, data, metadata, customer }) in happenings.iter().enumerate() {
        let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("demo order event {index}").as_bytes());
        let time = moment::format(*at);
        writeln!(
            lines,
            r#"{{"stream":"{stream}","type":"{event_type}","id":"{id}","time":"{time}","data":{data},"metadata":{metadata},"tags":["customer:{customer}"]}}"#
        )
        .expect("a string can be written to");
    }
    Orders { lines, events: happenings.len(), story: story.expect("among so many orders there is one") }
}

/// What happens to one order. Returns a moment before its address was changed, if it was changed and the order was delivered.
fn order(number: u32, placed: Timestamp, dice: &mut Dice, happenings: &mut Vec<Happening>) -> Option<String> {
    let customer = *dice.pick(&CUSTOMERS);
    let channel = *dice.pick(&["web", "app", "phone"]);
    let mut happen = |at, event_type, data| {
        let stream = format!("Order-{number}");
        happenings.push(Happening { at, stream, event_type, data, metadata: json!({"channel": channel}), customer });
    };
    let (mut items, mut total) = (Vec::new(), 0);
    for _ in 0..=dice.below(3) {
        let (product, cents) = *dice.pick(&PRODUCTS);
        let quantity = dice.below(3) + 1;
        total += cents * quantity;
        items.push(json!({"product": product, "quantity": quantity, "price": euros(cents)}));
    }
    let city = *dice.pick(&CITIES);
    let order = json!({"customer": customer, "items": items, "total": euros(total), "ship_to": city, "status": "placed"});
    happen(placed, "OrderPlaced", order);

    let paid = later(placed, dice.below(90) + 2);
    if dice.below(12) == 0 {
        happen(paid, "PaymentFailed", json!({"payment": {"method": "card", "declined": true}}));
        happen(later(paid, 24 * 60), "OrderCancelled", json!({"status": "cancelled", "reason": "not paid"}));
        return None;
    }
    let method = *dice.pick(&["card", "transfer", "voucher"]);
    happen(paid, "PaymentReceived", json!({"status": "paid", "payment": {"method": method, "amount": euros(total)}}));

    let mut next = later(paid, dice.below(600) + 30);
    let changed = dice.below(7) == 0;
    let before_the_change = next;
    if changed {
        next = later(next, dice.below(300) + 30);
        let other = *dice.pick(&CITIES.iter().copied().filter(|other| *other != city).collect::<Vec<_>>());
        happen(next, "AddressChanged", json!({"ship_to": other}));
    }
    next = later(next, dice.below(900) + 60);
    let carrier = *dice.pick(&["Mercury", "Hermod", "Iris"]);
    happen(next, "OrderShipped", json!({"status": "shipped", "carrier": carrier, "parcel": format!("P{}", 100_000 + dice.below(900_000))}));
    next = later(next, dice.below(5 * 24 * 60) + 600);
    happen(next, "OrderDelivered", json!({"status": "delivered"}));
    if dice.below(14) == 0 {
        let reason = *dice.pick(&REASONS);
        happen(
            later(next, dice.below(4_000) + 200),
            "OrderReturned",
            json!({"status": "returned", "reason": reason, "refund": euros(total)}),
        );
        return None;
    }
    changed.then(|| moment::format(before_the_change))
}

fn later(moment: Timestamp, minutes: u64) -> Timestamp {
    moment + SignedDuration::from_mins(i64::try_from(minutes).expect("a few days at most"))
}

/// Exact to the cent, which a binary fraction would not be.
fn euros(cents: u64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

/// A small generator of numbers that look random (splitmix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        let index = self.below(from.len() as u64);
        &from[usize::try_from(index).expect("it is an index")]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_orders_are_the_same_every_time() {
        let (one, two) = (made_up(), made_up());
        assert_eq!(one.lines, two.lines);
        assert!(one.events > 2_000 && one.lines.lines().count() == one.events);
        assert!(one.lines.lines().all(|line| crate::payload::check_json(line.as_bytes()).is_ok()));
    }
}
