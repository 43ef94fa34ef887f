//! The flags of `factum serve`, and the variables that stand for them.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Deserialize;

const EXAMPLES: &str = "\
Examples:
  factum serve                                   the store in ./factum-data, on 127.0.0.1:7379
  factum serve --store file:/var/lib/factum --log-format json
  factum serve --redis 0.0.0.0:7379 --password-file /etc/factum/password
  factum serve --config factum.toml

A setting is taken from its flag, else from its variable (FACTUM_…), else from the configuration file, else it is as said here.
The file is TOML: store, redis, http, password_file, type_fields, allow_flush, log_format, log_level, and a table [limits] with
clients_max, pipeline_requests_max, request_bytes_max, clients_bytes_max, output_bytes_max, output_stall_seconds_max, idle_seconds_max,
cache_bytes_max and databases.";

/// Serve the store to programs in every language, which use it as they use Redis
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Serve {
    /// A file with settings
    #[arg(long, value_name = "FILE", env = "FACTUM_CONFIG")]
    pub(super) config: Option<PathBuf>,
    /// Where programs that speak to Redis find it [default: 127.0.0.1:7379]
    #[arg(long, value_name = "ADDRESS", env = "FACTUM_REDIS")]
    pub(super) redis: Option<SocketAddr>,
    /// Where /health and /metrics are, or `none` [default: 127.0.0.1:7380]
    #[arg(long, value_name = "ADDRESS", env = "FACTUM_HTTP")]
    pub(super) http: Option<HttpAddress>,
    /// A file whose first line is the password that clients have to give; or the password itself in FACTUM_PASSWORD
    #[arg(long, value_name = "FILE", env = "FACTUM_PASSWORD_FILE")]
    pub(super) password_file: Option<PathBuf>,
    /// The fields of an entry that may hold the event's type, the first of them that is there [default: event_type,type]
    #[arg(long, value_name = "FIELDS", value_delimiter = ',', env = "FACTUM_TYPE_FIELDS")]
    pub(super) type_fields: Option<Vec<String>>,
    /// Carry out FLUSHDB and FLUSHALL
    #[arg(long, env = "FACTUM_ALLOW_FLUSH")]
    pub(super) allow_flush: bool,
    /// Carry out DEBUG; for tests
    #[arg(long, env = "FACTUM_ALLOW_DEBUG", hide = true)]
    pub(super) allow_debug: bool,
    /// At most so many connections [default: 16000]
    #[arg(long, value_name = "N", env = "FACTUM_CLIENTS_MAX")]
    pub(super) clients_max: Option<usize>,
    /// How the log is written, to standard error [default: text]
    #[arg(long, value_name = "FORMAT", env = "FACTUM_LOG_FORMAT")]
    pub(super) log_format: Option<LogFormat>,
    /// How much is logged [default: info]
    #[arg(long, value_name = "LEVEL", env = "FACTUM_LOG_LEVEL")]
    pub(super) log_level: Option<LogLevel>,
}

/// Where the port for watchers is, if anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HttpAddress {
    None,
    At(SocketAddr),
}

impl std::str::FromStr for HttpAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            address => address.parse().map(Self::At).map_err(|_| "expected an address such as 127.0.0.1:7380, or none".to_owned()),
        }
    }
}

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum LogFormat {
    /// Lines for people
    #[default]
    Text,
    /// One JSON object per line
    Json,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum LogLevel {
    /// What failed
    Error,
    /// And what should not be
    Warn,
    /// And what happens to the server
    #[default]
    Info,
    /// And what happens to each connection
    Debug,
}
