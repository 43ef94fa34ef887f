//! What a server is told, by whom, and what it refuses to be told.

use std::fs;

use tempfile::TempDir;

use crate::serving::{Serving, program};

/// Starts a server that is expected not to start.
fn refused(options: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let folder = TempDir::new().expect("a temporary folder can be made");
    let mut command = program();
    command.current_dir(folder.path()).args(["serve"]).args(options).envs(variables.iter().copied());
    let output = command.output().expect("the program can be run");
    assert!(!folder.path().join("factum-data").exists(), "it has made a store before it refused");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_public_address_needs_a_password() {
    for options in [["--redis", "0.0.0.0:0"], ["--http", "0.0.0.0:0"], ["--redis", "[::]:0"]] {
        let (code, said) = refused(&options, &[]);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("--password-file") && said.contains("127.0.0.1"), "{said}");
    }
    let (code, said) = refused(&["--redis", "0.0.0.0:0"], &[("FACTUM_PASSWORD", "")]);
    assert_eq!(code, Some(2), "{said}");
}

#[test]
fn a_stranger_gets_nothing_but_the_question_for_the_password() {
    let folder = TempDir::new().expect("a temporary folder can be made");
    let file = folder.path().join("password");
    fs::write(&file, "open sesame\n").expect("it can be written");
    let server = Serving::with(&["--redis", "0.0.0.0:0", "--password-file", file.to_str().expect("it is text")]);
    let mut wire = server.connect();
    assert_eq!(wire.ask(&["PING"]), "-NOAUTH Authentication required.");
    assert_eq!(wire.ask(&["GET", "a"]), "-NOAUTH Authentication required.");
    assert_eq!(wire.ask(&["MULTI"]), "-NOAUTH Authentication required.");
    assert!(wire.ask(&["HELLO", "3"]).starts_with("-NOAUTH HELLO"));
    assert!(wire.ask(&["AUTH", "open sesam"]).starts_with("-WRONGPASS"));
    assert!(wire.ask(&["AUTH", "other", "open sesame"]).starts_with("-WRONGPASS"));
    assert!(wire.ask(&["HELLO", "3", "AUTH", "default", "wrong"]).starts_with("-WRONGPASS"));
    assert_eq!(wire.ask(&["PING"]), "-NOAUTH Authentication required.");
    assert_eq!(wire.ask(&["AUTH", "open sesame"]), "+OK");
    assert_eq!(wire.ask(&["PING"]), "+PONG");
    assert_eq!(wire.ask(&["RESET"]), "+RESET");
    assert_eq!(wire.ask(&["PING"]), "-NOAUTH Authentication required.");
    assert_eq!(wire.ask(&["HELLO", "2", "AUTH", "default", "open sesame"]), "*14");

    let mut wire = server.connect();
    wire.send("*11\r\n");
    assert_eq!(String::from_utf8_lossy(&wire.read_to_end()), "-ERR Protocol error: unauthenticated multibulk length\r\n");
}

#[test]
fn flags_come_before_variables_before_the_file() {
    let folder = TempDir::new().expect("a temporary folder can be made");
    let file = folder.path().join("factum.toml");
    fs::write(&file, "clients = 1\n").expect("it can be written");
    let path = file.to_str().expect("it is text");
    let (code, said) = refused(&["--config", path], &[]);
    assert_eq!(code, Some(2));
    assert!(said.contains("clients") && said.contains("factum.toml"), "a name that is not known is refused: {said}");

    fs::write(&file, "redis = \"0.0.0.0:1\"\n[limits]\nclients_max = 7\ndatabases = 3\n").expect("it can be written");
    let server = Serving::with(&["--config", path]);
    let config = |server: &Serving, name: &str| {
        let mut wire = server.connect();
        assert_eq!(wire.ask(&["CONFIG", "GET", name]), "*2");
        (0..3).for_each(|_| drop(wire.line()));
        wire.line()
    };
    assert_eq!((config(&server, "maxclients"), config(&server, "databases")), ("7".to_owned(), "3".to_owned()));
    let server = Serving::with(&["--config", path, "--clients-max", "9"]);
    assert_eq!(config(&server, "maxclients"), "9");
}

#[test]
fn there_are_no_more_clients_than_may_be() {
    let server = Serving::with(&["--clients-max", "2"]);
    let (mut first, second) = (server.connect(), server.connect());
    assert_eq!(first.ask(&["PING"]), "+PONG");
    assert_eq!(server.connect().read_to_end(), b"-ERR max number of clients reached\r\n");
    assert_eq!(server.metric("factum_connections_refused_total"), 1.0);
    drop(second);
    // That it has gone is noticed soon.
    while !server.connect().ask(&["PING"]).starts_with("+PONG") {}
}

#[test]
fn the_second_port_tells_how_it_is() {
    let server = Serving::start();
    assert_eq!(server.page("/health"), "ok\n");
    let mut wire = server.connect();
    assert_eq!(wire.ask(&["PING"]), "+PONG");
    assert!(wire.ask(&["NOSUCH"]).starts_with("-ERR unknown command"));
    assert!(server.page("/metrics").contains("factum_commands_total{command=\"ping\"} 1\n"));
    assert_eq!(server.metric("factum_unknown_commands_total"), 1.0);
    assert_eq!(server.metric("factum_connections"), 1.0);
    assert!(server.metric("factum_answer_seconds_count") >= 1.0);
}

#[test]
fn metrics_on_a_public_address_need_the_password_and_health_does_not() {
    let folder = TempDir::new().expect("a temporary folder can be made");
    let file = folder.path().join("password");
    fs::write(&file, "open sesame\n").expect("it can be written");
    let server = Serving::with(&["--http", "0.0.0.0:0", "--password-file", file.to_str().expect("it is text")]);
    for headers in ["", "Authorization: Bearer open sesam\r\n", "Authorization: Bearer \r\n", "Authorization: open sesame\r\n"] {
        let (head, body) = server.answer("/metrics", headers);
        assert!(head.starts_with("HTTP/1.1 401 ") && head.contains("www-authenticate: Bearer"), "{headers:?} gives {head}");
        assert!(!body.contains("factum_"), "{body}");
    }
    let (head, body) = server.answer("/metrics", "Authorization: Bearer open sesame\r\n");
    assert!(head.starts_with("HTTP/1.1 200 ") && body.contains("factum_connections"), "{head}");
    assert_eq!(server.page("/health"), "ok\n");
}

#[test]
fn who_is_idle_for_too_long_is_cut_off_and_who_waits_is_not() {
    let folder = TempDir::new().expect("a temporary folder can be made");
    let file = folder.path().join("factum.toml");
    fs::write(&file, "[limits]\nidle_seconds_max = 1\n").expect("it can be written");
    let server = Serving::with(&["--config", file.to_str().expect("it is text")]);
    let mut waiting = server.connect();
    waiting.send("XREAD BLOCK 0 STREAMS s $\r\n");
    let mut idle = server.connect();
    assert_eq!(idle.ask(&["PING"]), "+PONG");
    assert_eq!(idle.read_to_end(), b"");
    // By now the other one has waited for as long.
    server.connect().ask(&["XADD", "s", "1-1", "a", "b"]);
    waiting.expect("*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-1\r\n");
}

#[test]
fn a_pipeline_that_is_longer_than_what_is_carried_out_together_is_answered_whole_and_in_order() {
    let folder = TempDir::new().expect("a temporary folder can be made");
    let file = folder.path().join("factum.toml");
    fs::write(&file, "[limits]\npipeline_requests_max = 3\n").expect("it can be written");
    let server = Serving::with(&["--config", file.to_str().expect("it is text")]);
    let mut wire = server.connect();
    wire.send("INCR n\r\n".repeat(1_000));
    wire.expect((1..=1_000).map(|number| format!(":{number}\r\n")).collect::<String>());
    wire.send("MULTI\r\nINCR n\r\nINCR n\r\nINCR n\r\nINCR n\r\nEXEC\r\nPING\r\n");
    wire.expect(format!("+OK\r\n{}*4\r\n:1001\r\n:1002\r\n:1003\r\n:1004\r\n+PONG\r\n", "+QUEUED\r\n".repeat(4)));
}

#[test]
fn the_log_can_be_read_by_programs() {
    let mut server = Serving::with(&["--log-format", "json"]);
    server.terminate();
    assert!(server.wait().success());
    let log = server.log();
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).expect("each line is an object")).collect();
    let messages: Vec<&str> = lines.iter().filter_map(|line| line["message"].as_str()).collect();
    assert_eq!(messages, ["serving", "stopping: what is under way is finished first", "stopped"]);
}
