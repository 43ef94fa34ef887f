//! `factum init`: a store made on purpose, and one that an earlier version made brought up to date.

use clap::Args;
use serde_json::json;

use crate::console::Console;
use crate::failure::Failure;
use crate::store_url;

const EXAMPLES: &str = "\
Examples:
  factum init
  factum init --store postgres://me@localhost/app
  factum init --store 'postgres://me@localhost/app?schema=facts'

In PostgreSQL it makes a schema with the store's tables, or brings that of an earlier version up to date; the user needs the right to
create a schema, or to create tables in one that is there. A store in a directory or on Redis is made by the first append as well.
Where there is a store nothing changes.";

/// Make a store, or bring it up to date
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Init {}

pub(crate) async fn run(_: Init, url: &str, console: &mut Console<'_>) -> Result<(), Failure> {
    let store = store_url::open_to_init(url).await?;
    let events = store.stats().await?.events;
    let capabilities = store.capabilities();
    store.close().await?;
    let shown = store_url::shown(url);
    if console.json {
        return console.line(json!({"store": shown, "kind": capabilities.store, "durability": capabilities.durability, "events": events}));
    }
    let look = console.look;
    console.line(format_args!("{} {shown} is a store", look.good("ok:")))?;
    console.line(format_args!("  durability: {}", capabilities.durability))
}
