//! Prints the table of guarantees: every check, played against every store, as Markdown.

use factum::conformance::guarantees;

#[path = "../tests/stores/mod.rs"]
mod stores;

#[tokio::main]
async fn main() -> factum::Result<()> {
    let stores = stores::all();
    if let Some(missing) = stores.missing.first() {
        let reason = format!("{} can't be tried: {}", missing.name, missing.reason);
        return Err(factum::Error::Unavailable { reason, source: None });
    }
    print!("{}", guarantees(&stores.here).await?);
    Ok(())
}
