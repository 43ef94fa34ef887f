//! Clients as people use them, each with its own way to connect and to speak: redis-py, ioredis, go-redis, redis-rs, redis-cli,
//! redis-benchmark.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use redis::streams::{StreamAutoClaimReply, StreamReadReply};
use redis::{Commands, TypedCommands};

use crate::serving::Serving;

/// What `cargo xtask test` installs beside the build.
pub(crate) fn installed(name: &str) -> Option<PathBuf> {
    present(beside_the_build(name), name)
}

fn beside_the_build(name: &str) -> PathBuf {
    let program = std::env::current_exe().expect("a test is a program");
    // …/target/debug/deps/this
    let target = program.ancestors().nth(3).expect("a test lies in the target folder");
    target.join("clients").join(name)
}

fn system(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file());
    present(found.unwrap_or_default(), name)
}

/// Where there is no such client the test is passed over, but not in CI.
fn present(path: PathBuf, name: &str) -> Option<PathBuf> {
    if path.exists() {
        return Some(path);
    }
    assert!(std::env::var_os("CI").is_none(), "{name} is not there; cargo xtask test installs it");
    println!("skipped: {name} is not there; cargo xtask test installs it");
    None
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/clients")
}

#[track_caller]
fn succeeded(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    out.into_owned()
}

#[test]
fn redis_py_works() {
    let Some(python) = installed("python/bin/python") else { return };
    let server = Serving::start();
    for program in ["shop.py", "shop_asyncio.py"] {
        let mut command = Command::new(&python);
        command.arg(examples().join("python").join(program)).arg(server.port().to_string());
        assert_eq!(succeeded(&command.output().expect("it can be run")).trim(), "ok");
    }
    // What it wrote can be read and checked with the program's own commands while the server runs.
    let events = succeeded(&server.factum(&["log", "--type", "OrderShipped", "--json"]));
    let events: Vec<serde_json::Value> = events.lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
    assert!(!events.is_empty() && events.iter().all(|event| event["data"]["with"] == "post"), "{events:?}");
    let stream = events[0]["stream"].as_str().expect("a name");
    let state: serde_json::Value = serde_json::from_str(&succeeded(&server.factum(&["replay", stream, "--json"]))).expect("an object");
    assert_eq!(state["state"]["total"], 42, "{state}");
    succeeded(&server.factum(&["verify"]));
}

#[test]
fn redis_py_says_its_password() {
    let Some(python) = installed("python/bin/python") else { return };
    let folder = tempfile::TempDir::new().expect("a temporary folder can be made");
    let file = folder.path().join("password");
    std::fs::write(&file, "open sesame").expect("it can be written");
    let server = Serving::with(&["--password-file", file.to_str().expect("it is text")]);
    let script = "import redis, sys\n\
        for protocol in (2, 3):\n    \
            client = redis.Redis(port=int(sys.argv[1]), password='open sesame', protocol=protocol, db=3, client_name='me')\n    \
            assert client.ping() and client.client_getname() in ('me', b'me') and client.client_info()['db'] in ('3', 3)\n    \
            try:\n        redis.Redis(port=int(sys.argv[1]), password='wrong', protocol=protocol).ping()\n        sys.exit('wrong password')\n    \
            except redis.AuthenticationError:\n        pass\n";
    let output = Command::new(python).args(["-c", script, &server.port().to_string()]).output().expect("it can be run");
    succeeded(&output);
}

#[test]
fn ioredis_works() {
    let (Some(node), Some(modules)) = (system("node"), installed("node/node_modules")) else { return };
    let server = Serving::start();
    // Modules are looked for beside the program.
    let program = modules.with_file_name("shop.mjs");
    std::fs::copy(examples().join("node/shop.mjs"), &program).expect("it can be copied");
    let output = Command::new(node).arg(program).arg(server.port().to_string()).output().expect("it can be run");
    assert_eq!(succeeded(&output).trim(), "ok");
}

#[test]
fn go_redis_works() {
    // Where Debian's packages of libraries are.
    let sources = Path::new("/usr/share/gocode");
    let (Some(go), Some(_)) = (system("go"), present(sources.join("src/gopkg.in/redis.v5"), "go-redis")) else { return };
    let server = Serving::start();
    let mut command = Command::new(go);
    command.arg("run").arg(examples().join("go/shop.go")).arg(server.port().to_string());
    command.env("GO111MODULE", "off").env("GOPATH", sources).env("GOFLAGS", "").env("GOCACHE", beside_the_build("go"));
    assert_eq!(succeeded(&command.output().expect("it can be run")).trim(), "ok");
    let events = succeeded(&server.factum(&["log", "--type", "OrderPaid", "--json"]));
    assert_eq!(events.lines().count(), 1, "{events}");
}

#[test]
fn redis_cli_works() {
    let Some(cli) = system("redis-cli") else { return };
    let server = Serving::start();
    let ask = |words: &[&str]| {
        let output = Command::new(&cli).args(["-p", &server.port().to_string()]).args(words).output().expect("it can be run");
        succeeded(&output).trim().to_owned()
    };
    assert_eq!(ask(&["XADD", "Order-1", "7-1", "event_type", "OrderPlaced", "data", "{\"total\": 42}"]), "7-1");
    assert_eq!(ask(&["-3", "XRANGE", "Order-1", "-", "+"]).lines().next(), Some("7-1"));
    assert!(ask(&["INFO"]).contains("redis_version:7.4"));
    assert_eq!(ask(&["DBSIZE"]), "1");
    assert!(ask(&["INFO", "keyspace"]).contains("db0:keys=1,"));
    assert!(ask(&["--bigkeys"]).contains("Biggest stream found"));
    // Without a command it reads them, and asks for the documentation of all commands first.
    let mut interactive = Command::new(&cli);
    interactive.args(["-p", &server.port().to_string()]).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut interactive = interactive.spawn().expect("it can be run");
    std::io::Write::write_all(&mut interactive.stdin.take().expect("it is piped"), b"MULTI\nINCR n\nINCR n\nEXEC\n").expect("it reads");
    let said = succeeded(&interactive.wait_with_output().expect("it ends"));
    assert_eq!(said.split_whitespace().collect::<Vec<_>>(), ["OK", "QUEUED", "QUEUED", "1", "2"]);
    succeeded(&server.factum(&["read", "Order-1"]));
}

#[test]
fn redis_benchmark_works() {
    let Some(benchmark) = system("redis-benchmark") else { return };
    let server = Serving::start();
    let common = ["-p", &server.port().to_string(), "-n", "2000", "-c", "20", "-P", "8", "-q", "-e"];
    let run = |words: &[&str]| succeeded(&Command::new(&benchmark).args(common).args(words).output().expect("it can be run"));
    assert!(run(&["-t", "ping,set,get,incr,hset,mset"]).contains("MSET"));
    assert!(run(&["-r", "100", "XADD", "Bench-__rand_int__", "*", "type", "Made", "data", "{}"]).contains("requests per second"));
    assert!(run(&["-3", "GET", "key"]).contains("requests per second"));
}

#[test]
fn redis_rs_works() {
    let server = Serving::start();
    for url in [format!("redis://127.0.0.1:{}/", server.port()), format!("redis://127.0.0.1:{}/2?protocol=resp3", server.port())] {
        let client = redis::Client::open(url).expect("a url");
        let mut connection = client.get_connection().expect("it connects");
        let (stream, version) = ("Order-1", "version:Order-1");
        // A version that is checked: whoever comes second tries again.
        let ((),) = redis::transaction(&mut connection, &[version], |connection, pipe| {
            let actual: Option<u64> = Commands::get(connection, version)?;
            pipe.xadd(stream, "*", &[("event_type", "OrderPlaced"), ("data", "{\"total\":42}")]).ignore();
            pipe.set(version, actual.unwrap_or_default() + 1).query(connection)
        })
        .expect("nobody else writes");
        assert_eq!(TypedCommands::get(&mut connection, version).expect("it answers"), Some("1".to_owned()));

        // A group whose first consumer dies.
        () = Commands::xgroup_create(&mut connection, stream, "mailer", "0").expect("it answers");
        let options = redis::streams::StreamReadOptions::default().group("mailer", "dies").count(10);
        let read: Option<StreamReadReply> = Commands::xread_options(&mut connection, &[stream], &[">"], &options).expect("it answers");
        let read = read.expect("there is one");
        let entry = &read.keys[0].ids[0];
        assert_eq!(entry.get::<String>("event_type").as_deref(), Some("OrderPlaced"));
        let options = redis::streams::StreamAutoClaimOptions::default();
        let claimed: StreamAutoClaimReply =
            Commands::xautoclaim_options(&mut connection, stream, "mailer", "lives", 0, "0-0", options).expect("it answers");
        assert_eq!(claimed.claimed.len(), 1);
        let acknowledged: usize = Commands::xack(&mut connection, stream, "mailer", &[&entry.id]).expect("it answers");
        assert_eq!(acknowledged, 1);

        // A read model in a hash.
        let total: i64 = Commands::hincr(&mut connection, "totals", "Order-1", 42).expect("it answers");
        let all: std::collections::HashMap<String, i64> = Commands::hgetall(&mut connection, "totals").expect("it answers");
        assert_eq!((total, all["Order-1"]), (42, 42));
    }
}
