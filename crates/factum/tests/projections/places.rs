//! The databases that this build and this machine have.

use std::sync::{Arc, OnceLock};

use factum::projection::SqlTarget;
use factum_servers::PostgresServer;
use tempfile::TempDir;

use crate::Outcome;

/// A kind of database.
#[derive(Clone)]
pub(crate) enum Place {
    Sqlite,
    Postgres(Arc<OnceLock<PostgresServer>>),
}

/// A database of its own.
pub(crate) struct Database {
    pub(crate) target: SqlTarget,
    pub(crate) url: String,
    /// How often it is cut off; every cut in a database that is far away takes longer.
    pub(crate) cuts: u32,
    _folder: Option<TempDir>,
}

pub(crate) fn all() -> Vec<Place> {
    let mut places = Vec::new();
    if cfg!(feature = "sqlite") {
        places.push(Place::Sqlite);
    }
    if cfg!(feature = "postgres") && PostgresServer::programs().is_some() {
        places.push(Place::Postgres(Arc::default()));
    }
    places
}

pub(crate) fn missing() -> Vec<(&'static str, &'static str)> {
    let mut missing = Vec::new();
    if cfg!(feature = "postgres") && PostgresServer::programs().is_none() {
        missing.push(("postgres", "PostgreSQL is not installed; `cargo xtask test` installs it"));
    }
    if cfg!(feature = "redis") && factum_servers::RedisServer::program().is_none() {
        missing.push(("redis", "redis-server is not installed; `cargo xtask test` installs it"));
    }
    missing
}

impl Place {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres(_) => "postgres",
        }
    }

    pub(crate) async fn database(&self) -> Outcome<Database> {
        let times = |number: u32| std::env::var("FACTUM_CUTS").ok().and_then(|cuts| cuts.parse().ok()).unwrap_or(number);
        match self {
            Self::Sqlite => {
                let folder = TempDir::new()?;
                let url = format!("sqlite:{}", folder.path().join("rows.db").display());
                Ok(Database { target: SqlTarget::connect(&url).await?, url, cuts: times(2_500), _folder: Some(folder) })
            }
            Self::Postgres(server) => {
                let server = server.get_or_init(|| PostgresServer::start().expect("the server starts"));
                let name = format!("p{}", factum::Uuid::now_v7().simple());
                server.sql("postgres", &format!("CREATE DATABASE {name}"))?;
                let (base, _) = server.url().rsplit_once('/').map(|(base, name)| (base.to_owned(), name.to_owned())).ok_or("a URL")?;
                let url = format!("{base}/{name}");
                Ok(Database { target: SqlTarget::connect(&url).await?, url, cuts: times(400), _folder: None })
            }
        }
    }
}
