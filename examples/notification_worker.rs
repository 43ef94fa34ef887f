//! The notification worker: a letter for every order, by any number of workers, in order for each order, and never two of the same.
//!
//! A group hands each event to one worker. It may hand it out again after a crash, so a letter's id is made of the event's: sent again, it is
//! the same letter, and the store knows it. A letter that can't be sent holds up its own order and no other, until somebody has repaired
//! the reason and has it tried again.
//!
//! ```text
//! cargo run -p factum-examples --bin notification_worker -- file:./shop
//! ```

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use factum::{
    Append, Backoff, EventStoreExt, ExpectedVersion, Group, Groups, Handled, NewEvent, Query, QueryItem, RecordedEvent, SharedStore,
    StreamId, Uuid, connect,
};
use serde::{Deserialize, Serialize};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

// --- What happens in the shop ------------------------------------------------------------------------------------------------------

#[derive(Serialize, Deserialize)]
struct OrderPlaced {
    customer: String,
    cents: i64,
}

#[derive(Serialize, Deserialize)]
struct OrderShipped {
    parcel: u32,
}

async fn order(store: &SharedStore, number: &str, customer: &str) -> Outcome {
    let placed = NewEvent::json("OrderPlaced", &OrderPlaced { customer: customer.to_owned(), cents: 1_950 })?;
    let shipped = NewEvent::json("OrderShipped", &OrderShipped { parcel: 7 })?;
    store.append_to(&StreamId::new(format!("Order-{number}"))?, ExpectedVersion::NoStream, vec![placed, shipped]).await?;
    Ok(())
}

// --- The worker --------------------------------------------------------------------------------------------------------------------

/// Where customers live. Somebody has yet to write Ines's address down.
type Addresses = Arc<Mutex<HashMap<String, String>>>;

/// What all workers share: they read orders, and try a letter three times.
fn workers(store: &SharedStore) -> Outcome<Group> {
    let orders = Query::item(QueryItem { stream_prefix: Some("Order-".to_owned()), ..QueryItem::default() });
    let three_times = Backoff { attempts_max: 3, first: Duration::from_millis(10), longest: Duration::from_secs(1) };
    Ok(Group::new(store.clone(), "letters").query(orders).retry(three_times).lease(Duration::from_secs(2)))
}

/// One worker, which could as well be a process of its own on another machine.
fn worker(store: &SharedStore, addresses: &Addresses) -> Outcome<Group> {
    let (store, addresses) = (store.clone(), addresses.clone());
    Ok(workers(&store)?.otherwise(move |event| {
        let (store, addresses) = (store.clone(), addresses.clone());
        async move { send_letter(&store, &addresses, &event).await }
    }))
}

async fn send_letter(store: &SharedStore, addresses: &Addresses, event: &RecordedEvent) -> Handled {
    let text = match event.event_type.as_str() {
        "OrderPlaced" => {
            let OrderPlaced { customer, cents } = event.json()?;
            let address = addresses.lock().expect("nobody panics with it").get(&customer).cloned();
            let address = address.ok_or_else(|| format!("nobody knows where {customer} lives"))?;
            format!("to {customer}, {address}: thank you for {}, {cents} cents", event.stream)
        }
        "OrderShipped" => {
            let OrderShipped { parcel } = event.json()?;
            format!("{} is on its way, parcel {parcel}", event.stream)
        }
        // Nobody gets a letter about anything else.
        _ => return Ok(()),
    };
    // The same event makes the same letter: recorded once, however often it is sent.
    let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, event.id.as_bytes());
    let letter = NewEvent::json("LetterSent", &text)?.with_id(id);
    store.append(Append::to(letters_of(&event.stream)?, [letter])).await?;
    Ok(())
}

fn letters_of(order: &StreamId) -> factum::Result<StreamId> {
    StreamId::new(format!("Letters-of-{order}"))
}

// --- The story ---------------------------------------------------------------------------------------------------------------------

#[tokio::main]
async fn main() -> Outcome {
    let url = std::env::args().nth(1).unwrap_or_else(|| "memory:".to_owned());
    let store = connect(&url).await?;
    let addresses = Addresses::default();
    addresses.lock().expect("nobody panics with it").insert("Ada".to_owned(), "12 Engine Road".to_owned());

    // The orders of this run have numbers of their own, so that it can be run again.
    let run = Uuid::now_v7().simple().to_string();
    let (adas, ines) = (format!("{run}-1"), format!("{run}-2"));
    order(&store, &adas, "Ada").await?;
    order(&store, &ines, "Ines").await?;

    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut running = Vec::new();
    for _ in 0..2 {
        let mut stopped = stopped.clone();
        let stop = async move { stopped.wait_for(|stop| *stop).await.map(|_| ()) };
        running.push(tokio::spawn(worker(&store, &addresses)?.run_until(stop)));
    }

    println!("Ada's letters come in order:");
    for letter in wait_for_letters(&store, &adas).await? {
        println!("  {letter}");
    }
    let ines_order = format!("Order-{ines}");
    let groups = Groups::new(store.clone());
    let held = loop {
        let found =
            groups.get("letters").await.ok().and_then(|group| group.held.into_iter().find(|held| held.key == ines_order && held.is_parked));
        match found {
            Some(held) => break held,
            None => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    println!("The letter for {} is parked after {} attempts: {}", held.key, held.event.attempts, held.event.reason);
    assert_eq!(store.load(&letters_of(&StreamId::new(&ines_order)?)?).await?.len(), 0, "nothing has overtaken it");

    println!("Somebody writes her address down, and has it tried again:");
    addresses.lock().expect("nobody panics with it").insert("Ines".to_owned(), "3 Harbour Lane".to_owned());
    groups.replay("letters", Some(&ines_order)).await?;
    for letter in wait_for_letters(&store, &ines).await? {
        println!("  {letter}");
    }

    stop.send(true)?;
    for worker in running {
        worker.await??;
    }
    Ok(store.close().await?)
}

/// The two letters of an order, once they are sent.
async fn wait_for_letters(store: &SharedStore, order: &str) -> Outcome<Vec<String>> {
    let letters = letters_of(&StreamId::new(format!("Order-{order}"))?)?;
    loop {
        let sent = store.load(&letters).await?;
        if sent.len() == 2 {
            return Ok(sent.iter().map(RecordedEvent::json).collect::<factum::Result<_>>()?);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
