//! The store in PostgreSQL: one server, and each place a schema of its own.

use std::sync::{Arc, OnceLock};

use factum::conformance::Subject;
use factum::{Result, SharedStore};
use factum_servers::PostgresServer;

use super::{Missing, Stores};

/// A server that is started when the first store is opened.
#[derive(Default)]
struct InPostgres {
    server: OnceLock<PostgresServer>,
}

pub(super) fn add(stores: &mut Stores) {
    match PostgresServer::missing() {
        None => stores.here.push(Arc::new(InPostgres::default())),
        Some(reason) => stores.missing.push(Missing { name: "postgres", reason: reason.to_owned() }),
    }
}

impl InPostgres {
    fn server(&self) -> &PostgresServer {
        self.server.get_or_init(|| PostgresServer::start().expect("the server starts"))
    }
}

#[async_trait::async_trait]
impl Subject for InPostgres {
    fn name(&self) -> &str {
        "postgres"
    }

    async fn open(&self, place: &str) -> Result<SharedStore> {
        factum::connect(&format!("{}?schema={place}&create=true&durability=always", self.server().url())).await
    }

    async fn discard(&self, place: &str) {
        // What remains costs space on a server that is stopped soon.
        _ = self.server().sql("postgres", &format!("SET client_min_messages = error; DROP SCHEMA {place} CASCADE"));
    }
}
