//! The order summary: a table in SQL that follows the orders, exactly once, and is built anew beside itself when its code was wrong.
//!
//! The rows and how far they are change in one transaction, so no crash counts an order twice or forgets one. The table is in SQLite, or in
//! the PostgreSQL database that is named second, or that the orders are in.
//!
//! ```text
//! cargo run -p factum-examples --bin order_summary -- file:./shop sqlite:./summary.db
//! ```

use std::time::Duration;

use factum::projection::{SqlRows, SqlTarget, Versions};
use factum::{
    EventStoreExt, ExpectedVersion, Handled, NewEvent, Projection, Projector, Query, Receipt, RecordedEvent, SharedStore, StreamId, Uuid,
    connect,
};
use serde::{Deserialize, Serialize};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

// --- The events --------------------------------------------------------------------------------------------------------------------

#[derive(Serialize, Deserialize)]
struct OrderPlaced {
    customer: String,
    cents: i64,
}

// --- The projection ----------------------------------------------------------------------------------------------------------------

/// What each customer has ordered.
#[derive(Clone)]
struct OrderSummary {
    /// The first version forgot that orders can be cancelled.
    knows_cancellation: bool,
}

#[factum::async_trait]
impl Projection<SqlRows> for OrderSummary {
    fn name(&self) -> &str {
        "order_summary"
    }

    fn query(&self) -> Query {
        Query::category("Order".try_into().expect("it is a category"))
    }

    fn tables(&self) -> &[&'static str] {
        &["order_summary", "order_amounts"]
    }

    async fn create(&self, rows: &mut SqlRows) -> Handled {
        rows.execute("CREATE TABLE {order_summary} (customer TEXT PRIMARY KEY, orders BIGINT NOT NULL, cents BIGINT NOT NULL)", &[])
            .await?;
        rows.execute("CREATE TABLE {order_amounts} (id TEXT PRIMARY KEY, customer TEXT NOT NULL, cents BIGINT NOT NULL)", &[]).await?;
        Ok(())
    }

    async fn apply(&self, event: &RecordedEvent, rows: &mut SqlRows) -> Handled {
        let id = event.stream.as_str();
        match event.event_type.as_str() {
            "OrderPlaced" => {
                let OrderPlaced { customer, cents } = event.json()?;
                let add = "INSERT INTO {order_summary} AS s (customer, orders, cents) VALUES ($1, 1, $2)
                     ON CONFLICT (customer) DO UPDATE SET orders = s.orders + 1, cents = s.cents + excluded.cents";
                rows.execute(add, &[customer.as_str().into(), cents.into()]).await?;
                let note = "INSERT INTO {order_amounts} (id, customer, cents) VALUES ($1, $2, $3)";
                rows.execute(note, &[id.into(), customer.into(), cents.into()]).await?;
            }
            "OrderCancelled" if self.knows_cancellation => {
                let take_back = "UPDATE {order_summary} SET orders = orders - 1,
                         cents = cents - (SELECT a.cents FROM {order_amounts} a WHERE a.id = $1)
                     WHERE customer = (SELECT a.customer FROM {order_amounts} a WHERE a.id = $1)";
                rows.execute(take_back, &[id.into()]).await?;
            }
            _ => {}
        }
        Ok(())
    }
}

// --- The story ---------------------------------------------------------------------------------------------------------------------

#[tokio::main]
async fn main() -> Outcome {
    let url = std::env::args().nth(1).unwrap_or_else(|| "memory:".to_owned());
    let (database, folder) = database(&url)?;
    let store = connect(&url).await?;
    let rows = SqlTarget::connect(&database).await?;
    let projector = Projector::new(store.clone(), rows.clone(), OrderSummary { knows_cancellation: false });

    // It runs beside everything else, until it is told to stop.
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn({
        let projector = projector.clone();
        async move { projector.run_until(stopped).await }
    });

    place(&store, "Ada", 1_200).await?;
    place(&store, "Ines", 800).await?;
    let (order, receipt) = place(&store, "Ada", 300).await?;
    // Who wrote it reads it: the rows are waited for up to what was written.
    projector.wait_for(receipt.last_position(), Duration::from_secs(30)).await?;
    println!("The summary:");
    print(&rows).await?;

    let receipt = store.append_to(&order, ExpectedVersion::exact(1), vec![NewEvent::json("OrderCancelled", &())?]).await?;
    projector.wait_for(receipt.last_position(), Duration::from_secs(30)).await?;
    println!("Ada cancels an order, and the summary does not know:");
    print(&rows).await?;

    // The repaired code builds a new version, while the old one runs and is read.
    let mut rebuild = Projector::new(store.clone(), rows.clone(), OrderSummary { knows_cancellation: true }).rebuild().await?;
    rebuild.catch_up().await?;
    let comparison = rebuild.compare().await?;
    println!("Version {} differs from what readers see, both at position {}:", rebuild.version(), comparison.position);
    for row in comparison.tables.iter().flat_map(|table| &table.examples) {
        println!("  {row}");
    }
    assert!(!comparison.is_same());

    let repaired = rebuild.switch().await?;
    println!("From one moment to the next, readers see it:");
    print(&rows).await?;
    // The old version has been told that it was replaced, if it had anything to do since.
    _ = stop.send(());
    _ = running.await?;
    rows.drop_old("order_summary").await?;

    place(&store, "Ines", 50).await?;
    repaired.run_to_end().await?;
    println!("And it goes on:");
    print(&rows).await?;
    store.close().await?;
    if let Some(folder) = folder {
        std::fs::remove_dir_all(folder)?;
    }
    Ok(())
}

async fn place(store: &SharedStore, customer: &str, cents: i64) -> Outcome<(StreamId, Receipt)> {
    let order = StreamId::new(format!("Order-{}", Uuid::now_v7().simple()))?;
    let placed = NewEvent::json("OrderPlaced", &OrderPlaced { customer: customer.to_owned(), cents })?;
    let receipt = store.append_to(&order, ExpectedVersion::NoStream, vec![placed]).await?;
    Ok((order, receipt))
}

async fn print(rows: &SqlTarget) -> Outcome {
    for row in rows.fetch("SELECT customer, orders, cents FROM order_summary ORDER BY customer", &[]).await? {
        println!("  {:<6} {} orders, {} cents", row[0].to_string(), row[1], row[2]);
    }
    Ok(())
}

/// Where the rows are: in the database that is named, in the one that the orders are in, or in a folder that is gone afterwards.
fn database(store: &str) -> std::io::Result<(String, Option<std::path::PathBuf>)> {
    if let Some(named) = std::env::args().nth(2) {
        return Ok((named, None));
    }
    if store.starts_with("postgres") {
        return Ok((store.split('?').next().unwrap_or(store).to_owned(), None));
    }
    let folder = std::env::temp_dir().join(format!("factum-order-summary-{}", std::process::id()));
    std::fs::create_dir(&folder)?;
    Ok((format!("sqlite:{}", folder.join("rows.db").display()), Some(folder)))
}
