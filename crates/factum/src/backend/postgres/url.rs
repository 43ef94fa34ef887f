//! `postgres://…` URLs: Factum's own options are taken out, the rest is the driver's.

use std::str::FromStr;

use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::{Durability, PostgresOptions};
use crate::error::{Error, Result};

/// The options of the driver that a URL may have; it would let others pass with a warning.
const DRIVERS: &[&str] = &[
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
    "statement-cache-capacity",
];

/// What a URL says.
pub(super) fn parse(url: &str) -> Result<(PgConnectOptions, PostgresOptions)> {
    let (address, query) = url.split_once('?').unwrap_or((url, ""));
    let mut options = PostgresOptions::default();
    let mut others = String::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match name {
            "schema" => options.schema = schema(value)?,
            "create" => options.create = truth(name, value)?,
            "durability" => options.durability = durability(value)?,
            "connections_max" => options.connections_max = connections(value)?,
            _ if DRIVERS.contains(&name) => {
                others.push(if others.is_empty() { '?' } else { '&' });
                others.push_str(pair);
            }
            _ => {
                let known = format!("schema, create, durability, connections_max, {}", DRIVERS.join(", "));
                return Err(Error::invalid(format!("postgres: has no option {name:?}; it has {known}")));
            }
        }
    }
    // What the driver says of a URL that it does not understand may hold the password.
    let connect = PgConnectOptions::from_str(&format!("{address}{others}"))
        .map_err(|_| Error::invalid("this is not a PostgreSQL URL; it looks like postgres://USER:PASSWORD@HOST:PORT/DATABASE"))?;
    // A file with those who may vouch for the server is there to be used, as the server's own programs take it too.
    let connect = match connect.get_ssl_mode() {
        PgSslMode::Require if others.contains("sslrootcert=") => connect.ssl_mode(PgSslMode::VerifyCa),
        _ => connect,
    };
    // A pooler knows few parameters of a session and refuses others; this one is about floating-point numbers, which a store has none of.
    let connect = connect.extra_float_digits(None);
    let named = others.contains("application_name=");
    Ok((if named { connect } else { connect.application_name("factum") }, options))
}

/// Checks the name of a schema.
pub(super) fn schema(name: &str) -> Result<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || name.len() > 63 || !name.chars().all(plain) || name.starts_with("pg_") {
        return Err(Error::invalid(format!(
            "{name:?} can't be the store's schema; use letters, digits and _, 63 at most, without pg_ in front"
        )));
    }
    Ok(name.to_owned())
}

fn durability(value: &str) -> Result<Durability> {
    match value {
        "server" => Ok(Durability::Server),
        "always" => Ok(Durability::Always),
        "relaxed" => Ok(Durability::Relaxed),
        _ => Err(Error::invalid(format!("durability is server, always or relaxed, not {value:?}"))),
    }
}

fn truth(name: &str, value: &str) -> Result<bool> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Error::invalid(format!("{name} is true or false, not {value:?}"))),
    }
}

fn connections(value: &str) -> Result<u32> {
    let number = value.parse().ok().filter(|number| (4..=1_000).contains(number));
    number.ok_or_else(|| Error::invalid(format!("connections_max is a number from 4 to 1000, not {value:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_options_are_taken_out_and_the_drivers_are_left() {
        let (connect, options) = parse("postgres://me:secret@db:5433/app?schema=facts&sslmode=disable&create=true").expect("valid");
        assert_eq!((connect.get_host(), connect.get_port(), connect.get_database()), ("db", 5433, Some("app")));
        assert_eq!((options.schema.as_str(), options.create), ("facts", true));
        assert_eq!(connect.get_application_name(), Some("factum"));
    }

    #[test]
    fn what_is_not_understood_is_refused_without_the_password() {
        for query in ["schemas=x", "schema=", "schema=a-b", "schema=pg_x", "create=yes", "durability=much", "connections_max=1"] {
            let refused = parse(&format!("postgres://me:secret@db/app?{query}")).expect_err(query).to_string();
            assert!(!refused.contains("secret"), "{refused}");
        }
        assert!(!parse("postgres://me:secret@db:port/app").expect_err("no port").to_string().contains("secret"));
    }
}
