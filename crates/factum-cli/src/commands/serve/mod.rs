//! `factum serve`: opens the doors, so that programs in every language use the store as they use Redis.

mod configuration;
mod logging;
mod options;

use std::net::SocketAddr;

use factum_server::Server;
use tokio::signal::unix::{SignalKind, signal};

use crate::console::Console;
use crate::failure::Failure;
use crate::store_url;

use configuration::Configuration;
pub(crate) use options::Serve;

pub(crate) async fn run(serve: Serve, store: &str, console: &mut Console<'_>) -> Result<(), Failure> {
    let configuration = Configuration::of(serve, store)?;
    configuration.settings.check().map_err(|error| Failure::usage(error.to_string()))?;
    logging::start(configuration.log_format, configuration.log_level);
    // Before anything is opened: a signal that comes early is not lost.
    let stop = stop_signal()?;

    let url = &configuration.store;
    let store = store_url::open_to_serve(url).await?;
    let server = Server::start(store, configuration.settings).await.map_err(|error| Failure::could_not(error.to_string()))?;
    let redis = server.redis_address().map_err(|error| Failure::could_not(error.to_string()))?;
    let http = server.http_address().map_err(|error| Failure::could_not(error.to_string()))?;
    welcome(url, redis, http, console)?;
    tracing::info!(store = store_url::shown(url), %redis, "serving");

    server.serve(stop).await?;
    tracing::info!("stopped");
    Ok(())
}

/// Ready when someone asks the process to end.
fn stop_signal() -> Result<impl Future<Output = ()>, Failure> {
    let listen = |kind| signal(kind).map_err(|error| Failure::could_not(format!("can't listen for signals: {error}")));
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: what is under way is finished first");
    })
}

fn welcome(url: &str, redis: SocketAddr, http: Option<SocketAddr>, console: &mut Console<'_>) -> Result<(), Failure> {
    let shown = store_url::shown(url);
    if console.json {
        let http = http.map(|http| http.to_string());
        console.line(serde_json::json!({"store": shown, "redis": redis.to_string(), "http": http}))?;
    } else {
        let port = redis.port();
        console.line(format_args!("Factum {} serves {shown}\n", env!("CARGO_PKG_VERSION")))?;
        console.line(format_args!("  {redis}   the Redis protocol, for every client of Redis"))?;
        if let Some(http) = http {
            console.line(format_args!("  {http}   http://{http}/health and http://{http}/metrics"))?;
        }
        console.line("\nTry it, in another terminal:\n")?;
        console.line(format_args!("  redis-cli -p {port} XADD Order-1 '*' event_type OrderPlaced data '{{\"total\": 42}}'"))?;
        console.line(format_args!("  redis-cli -p {port} XRANGE Order-1 - +"))?;
        if url.starts_with("file:") {
            let store = if url == store_url::DEFAULT { String::new() } else { format!(" --store {shown}") };
            console.line(format_args!("  factum read Order-1{store}"))?;
        }
        console.line("\nCtrl-C stops it.")?;
    }
    console.out.flush()?;
    Ok(())
}
