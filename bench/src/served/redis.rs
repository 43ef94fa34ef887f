//! Bare Redis: a MULTI of two XADDs, one to the stream with the event and one to a log with a pointer; XRANGE.

use async_trait::async_trait;
use factum_servers::RedisServer;
use redis::aio::MultiplexedConnection;

use super::{Bare, BareClient, Served};
use crate::Outcome;

/// How much of the bare rate we want with many appenders.
const SHARE_WANTED: f64 = 0.8;

/// The server that the URL names; `redis:` starts one that syncs its log before each answer.
pub(super) fn serve(url: &str) -> Outcome<Served> {
    if url == "redis:" {
        let server = RedisServer::start()?;
        let url = format!("{}?durability=always", server.url());
        let bare = Box::new(BareRedis { url: server.url() });
        return Ok(Served { url, bare, _server: Box::new(server), share_wanted: SHARE_WANTED });
    }
    let bare = url.split_once('?').map_or(url, |(place, _)| place).to_owned();
    Ok(Served { url: url.to_owned(), bare: Box::new(BareRedis { url: bare }), _server: Box::new(()), share_wanted: SHARE_WANTED })
}

struct BareRedis {
    url: String,
}

#[async_trait]
impl Bare for BareRedis {
    fn appending(&self) -> &'static str {
        "MULTI, XADD of the event to its stream, XADD of a pointer to a log, EXEC, in one write; no versions, no ids"
    }

    fn reading(&self) -> &'static str {
        "XRANGE - + of the same entries"
    }

    async fn client(&self) -> Outcome<Box<dyn BareClient>> {
        let client = redis::Client::open(self.url.as_str())?;
        Ok(Box::new(Client(client.get_multiplexed_async_connection().await?)))
    }
}

struct Client(MultiplexedConnection);

#[async_trait]
impl BareClient for Client {
    async fn append(&mut self, stream: &str, event_type: &str, data: &[u8]) -> Outcome {
        let mut both = redis::pipe();
        both.atomic();
        both.cmd("XADD").arg(format!("bare:{stream}")).arg("*").arg("type").arg(event_type).arg("data").arg(data).ignore();
        both.cmd("XADD").arg("bare:log").arg("*").arg("stream").arg(stream).arg("type").arg(event_type).ignore();
        Ok(both.query_async(&mut self.0).await?)
    }

    async fn read(&mut self, stream: &str) -> Outcome<u64> {
        let answer = redis::cmd("XRANGE").arg(format!("{{factum:0}}:stream:{stream}")).arg("-").arg("+").query_async(&mut self.0).await?;
        match answer {
            redis::Value::Array(entries) => Ok(entries.len() as u64),
            other => Err(format!("XRANGE answered {other:?}").into()),
        }
    }
}
