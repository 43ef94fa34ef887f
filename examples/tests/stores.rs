//! Every example on every store, by nothing but another URL; twice where the store outlives the process.

use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

#[cfg(feature = "postgres")]
use factum_servers::PostgresServer;
#[cfg(feature = "redis")]
use factum_servers::RedisServer;
use libtest_mimic::{Arguments, Completion, Failed, Trial};

/// The examples, by the names of their files.
const EXAMPLES: &[(&str, &str)] = &[
    ("order_system", env!("CARGO_BIN_EXE_order_system")),
    ("user_profile", env!("CARGO_BIN_EXE_user_profile")),
    ("bank_account", env!("CARGO_BIN_EXE_bank_account")),
    ("course_registration", env!("CARGO_BIN_EXE_course_registration")),
    ("notification_worker", env!("CARGO_BIN_EXE_notification_worker")),
    ("order_summary", env!("CARGO_BIN_EXE_order_summary")),
];

/// What the examples run on. Dropping it stops the servers.
#[derive(Default)]
struct Servers {
    #[cfg(feature = "postgres")]
    postgres: Option<PostgresServer>,
    #[cfg(feature = "redis")]
    redis: Option<RedisServer>,
}

static SERVERS: Mutex<Option<Servers>> = Mutex::new(None);

/// The URL of a store that is the example's own, or why there is none.
type Url = fn(&mut Servers, example: &str, folder: &Path) -> Result<String, String>;

fn main() {
    let arguments = Arguments::from_args();
    let stores: &[(&str, Url)] = &[
        ("memory", |_, _, _| Ok("memory:".to_owned())),
        ("file", |_, example, folder| Ok(format!("file:{}", folder.join(example).display()))),
        #[cfg(feature = "postgres")]
        ("postgres", postgres),
        #[cfg(feature = "redis")]
        ("redis", redis),
    ];
    let mut trials = Vec::new();
    for &(store, url) in stores {
        for &(example, program) in EXAMPLES {
            trials.push(Trial::ignorable_test(format!("{example} on {store}"), move || run(example, program, url)));
        }
    }
    trials.push(Trial::test("all of them on one store", together));
    let conclusion = libtest_mimic::run(&arguments, trials);
    *SERVERS.lock().unwrap_or_else(PoisonError::into_inner) = None;
    conclusion.exit();
}

fn run(example: &str, program: &str, url: Url) -> Result<Completion, Failed> {
    let folder = tempfile::tempdir()?;
    let url = {
        let mut servers = SERVERS.lock().unwrap_or_else(PoisonError::into_inner);
        match url(servers.get_or_insert_default(), example, folder.path()) {
            Ok(url) => url,
            Err(reason) if std::env::var_os("CI").is_some() => return Err(reason.into()),
            Err(reason) => return Ok(Completion::ignored_with(reason)),
        }
    };
    for _ in 0..2 {
        succeeds(example, program, &url)?;
    }
    Ok(Completion::Completed)
}

/// The bug: one example's orders were not as another one reads them, so whoever tried both on the store that their first lines name saw the
/// second fail.
fn together() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let url = format!("file:{}", folder.path().join("shop").display());
    for (example, program) in EXAMPLES.iter().chain(EXAMPLES.iter().rev()) {
        succeeds(example, program, &url)?;
    }
    Ok(())
}

fn succeeds(example: &str, program: &str, url: &str) -> Result<(), Failed> {
    let output = Command::new(program).arg(url).output()?;
    if output.status.success() {
        return Ok(());
    }
    let (told, failed) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Err(format!("{example} {url}: {}\n{told}\n{failed}", output.status).into())
}

#[cfg(feature = "postgres")]
fn postgres(servers: &mut Servers, example: &str, _: &Path) -> Result<String, String> {
    if PostgresServer::programs().is_none() {
        return Err("PostgreSQL is not installed; `cargo xtask test` installs it".to_owned());
    }
    let server = servers.postgres.get_or_insert_with(|| PostgresServer::start().expect("the server starts"));
    Ok(format!("{}?create=true&schema={example}", server.url()))
}

#[cfg(feature = "redis")]
fn redis(servers: &mut Servers, example: &str, _: &Path) -> Result<String, String> {
    if RedisServer::program().is_none() {
        return Err("redis-server is not installed; `cargo xtask test` installs it".to_owned());
    }
    let server = servers.redis.get_or_insert_with(|| RedisServer::start().expect("the server starts"));
    Ok(format!("{}?name={example}", server.url()))
}
