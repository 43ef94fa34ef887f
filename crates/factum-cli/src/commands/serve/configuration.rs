//! What a server is told, from flags, variables, a file and nothing at all, in this order.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use factum_server::Settings;
use serde::Deserialize;

use super::options::{HttpAddress, LogFormat, LogLevel, Serve};
use crate::failure::Failure;
use crate::store_url;

/// The variable that holds the password itself.
const PASSWORD: &str = "FACTUM_PASSWORD";

/// All that a server is told.
#[derive(Debug)]
pub(super) struct Configuration {
    pub(super) store: String,
    pub(super) settings: Settings,
    pub(super) log_format: LogFormat,
    pub(super) log_level: LogLevel,
}

/// What the file may say. A name that it does not know is refused: it would be a setting that is not in force.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    store: Option<String>,
    redis: Option<SocketAddr>,
    http: Option<String>,
    password_file: Option<std::path::PathBuf>,
    type_fields: Option<Vec<String>>,
    allow_flush: Option<bool>,
    log_format: Option<LogFormat>,
    log_level: Option<LogLevel>,
    #[serde(default)]
    limits: FileLimits,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileLimits {
    clients_max: Option<usize>,
    pipeline_requests_max: Option<usize>,
    request_bytes_max: Option<usize>,
    clients_bytes_max: Option<usize>,
    output_bytes_max: Option<usize>,
    output_stall_seconds_max: Option<u64>,
    idle_seconds_max: Option<u64>,
    cache_bytes_max: Option<usize>,
    databases: Option<u32>,
}

impl Configuration {
    /// From the flags, which clap has completed with variables; `store` is the one that all commands have.
    pub(super) fn of(serve: Serve, store: &str) -> Result<Self, Failure> {
        let file = match &serve.config {
            Some(path) => File::read(path)?,
            None => File::default(),
        };
        let http = match (serve.http, &file.http) {
            (Some(http), _) => http,
            (None, Some(text)) => text.parse().map_err(|error| Failure::usage(format!("http in the configuration file: {error}")))?,
            (None, None) => HttpAddress::At(SocketAddr::from((Ipv4Addr::LOCALHOST, 7380))),
        };
        let password = match serve.password_file.as_deref().or(file.password_file.as_deref()) {
            _ if std::env::var_os(PASSWORD).is_some() && serve.password_file.is_none() => {
                let password = std::env::var(PASSWORD).map_err(|_| Failure::usage(format!("{PASSWORD} is not text")))?;
                Some(password)
            }
            Some(path) => Some(read_password(path)?),
            None => None,
        };
        let mut settings = Settings {
            http: match http {
                HttpAddress::None => None,
                HttpAddress::At(address) => Some(address),
            },
            password,
            allow_flush: serve.allow_flush || file.allow_flush.unwrap_or_default(),
            allow_debug: serve.allow_debug,
            ..Settings::default()
        };
        settings.type_fields = serve.type_fields.or(file.type_fields).unwrap_or(settings.type_fields);
        settings.redis = serve.redis.or(file.redis).unwrap_or(settings.redis);
        let FileLimits {
            clients_max,
            pipeline_requests_max,
            request_bytes_max,
            clients_bytes_max,
            output_bytes_max,
            output_stall_seconds_max,
            idle_seconds_max,
            cache_bytes_max,
            databases,
        } = file.limits;
        let limits = &mut settings.limits;
        limits.clients_max = at_least_one(serve.clients_max.or(clients_max).unwrap_or(limits.clients_max), "clients_max")?;
        limits.pipeline_requests_max =
            at_least_one(pipeline_requests_max.unwrap_or(limits.pipeline_requests_max), "pipeline_requests_max")?;
        limits.request_bytes_max = at_least_one(request_bytes_max.unwrap_or(limits.request_bytes_max), "request_bytes_max")?;
        limits.clients_bytes_max = clients_bytes_max.unwrap_or(limits.clients_bytes_max);
        limits.output_bytes_max = at_least_one(output_bytes_max.unwrap_or(limits.output_bytes_max), "output_bytes_max")?;
        limits.output_stall_max = output_stall_seconds_max.map_or(limits.output_stall_max, Duration::from_secs);
        limits.idle_max = idle_seconds_max.filter(|seconds| *seconds > 0).map(Duration::from_secs);
        limits.cache_bytes_max = cache_bytes_max.unwrap_or(limits.cache_bytes_max);
        limits.databases = databases.unwrap_or(limits.databases).max(1);
        // The flag and its variable have a default, so a file can only replace that.
        let store = match file.store {
            Some(of_file) if store == store_url::DEFAULT => of_file,
            _ => store.to_owned(),
        };
        settings.holds_store = store_url::is_shared(&store);
        Ok(Self {
            store,
            settings,
            log_format: serve.log_format.or(file.log_format).unwrap_or_default(),
            log_level: serve.log_level.or(file.log_level).unwrap_or_default(),
        })
    }
}

impl File {
    fn read(path: &Path) -> Result<Self, Failure> {
        let text = fs::read_to_string(path).map_err(|error| Failure::could_not(format!("can't read {}: {error}", path.display())))?;
        toml::from_str(&text).map_err(|error| Failure::usage(format!("{} is not right: {error}", path.display())))
    }
}

fn read_password(path: &Path) -> Result<String, Failure> {
    let text = fs::read_to_string(path)
        .map_err(|error| Failure::could_not(format!("can't read the password from {}: {error}", path.display())))?;
    match text.lines().next() {
        Some(password) if !password.is_empty() => Ok(password.to_owned()),
        _ => Err(Failure::usage(format!("{} has no password in its first line", path.display()))),
    }
}

fn at_least_one(value: usize, name: &str) -> Result<usize, Failure> {
    if value == 0 { Err(Failure::usage(format!("{name} is 0, so nobody could use the server; give at least 1"))) } else { Ok(value) }
}
