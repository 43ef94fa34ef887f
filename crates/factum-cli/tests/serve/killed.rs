//! The server killed at random moments under load: what it told its clients is so when it runs again.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::clients::installed;
use crate::serving::Serving;
use crate::wire::WAIT_MAX;

const ROUNDS: u64 = 4;

#[test]
fn what_was_acknowledged_is_there_after_the_server_was_killed() {
    let Some(python) = installed("python/bin/python") else { return };
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/serve/programs/killed.py");
    let rounds = std::env::var("FACTUM_KILLS").map_or(ROUNDS, |text| text.parse().expect("a number"));
    let seed = u64::from(std::process::id());
    println!("moments depend on {seed}; FACTUM_KILLS=100 tries more of them");
    let mut server = Serving::start();
    let log = server.folder().join("acknowledged");
    for round in 1..=rounds {
        let port = server.port().to_string();
        let before = std::fs::metadata(&log).map_or(0, |about| about.len());
        let mut clients = Command::new(&python)
            .arg(&program)
            .args(["load", &port])
            .arg(&log)
            .arg(round.to_string())
            .stdout(Stdio::null())
            .spawn()
            .expect("it can be run");
        // Once something was acknowledged, a while longer.
        let begun = Instant::now();
        while std::fs::metadata(&log).map_or(0, |about| about.len()) < before + 20_000 {
            assert!(begun.elapsed() < WAIT_MAX, "nothing is acknowledged: {}", server.log());
            std::thread::sleep(Duration::from_millis(2));
        }
        std::thread::sleep(Duration::from_millis(seed.wrapping_mul(round).wrapping_mul(0x9e37_79b9) % 300));
        server.kill();
        assert!(clients.wait().expect("it ends").success());
        server.restart();
        let port = server.port().to_string();
        let check = Command::new(&python).arg(&program).args(["check", &port]).arg(&log).output().expect("it can be run");
        let said = String::from_utf8_lossy(&check.stdout);
        assert!(check.status.success(), "round {round}: {said}{}", String::from_utf8_lossy(&check.stderr));
        println!("round {round}: {said}");
    }
    let verified = server.factum(&["verify"]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
}

#[test]
fn whoever_is_killed_within_a_transaction_has_done_none_of_it() {
    let server = Serving::start();
    let mut other = server.connect();
    for _ in 0..20 {
        let mut wire = server.connect();
        for words in [&["MULTI"][..], &["SET", "k", "1"], &["XADD", "s", "*", "a", "b"]] {
            wire.ask(words);
        }
        drop(wire);
    }
    assert_eq!(other.ask(&["EXISTS", "k", "s"]), ":0");
    // And who goes away while EXEC is under way has done all of it, or none.
    for number in 0..20 {
        let mut wire = server.connect();
        let (key, stream) = (format!("k{number}"), format!("s{number}"));
        for words in [&["MULTI"][..], &["SET", &key, "1"], &["XADD", &stream, "*", "a", "b"], &["EXEC"]] {
            wire.send(crate::wire::request(words));
        }
        drop(wire);
        let both = other.ask(&["EXISTS", &key, &stream]);
        assert!(both == ":0" || both == ":2", "{both}");
    }
}

#[test]
fn whoever_is_killed_while_it_waits_takes_nothing_with_it() {
    let server = Serving::start();
    let mut other = server.connect();
    assert_eq!(other.ask(&["XGROUP", "CREATE", "s", "g", "$", "MKSTREAM"]), "+OK");
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            let mut wire = server.connect();
            wire.send(crate::wire::request(&["XREADGROUP", "GROUP", "g", "dies", "BLOCK", "0", "STREAMS", "s", ">"]));
            wire
        })
        .collect();
    let begun = Instant::now();
    while server.metric("factum_connections_blocked") < 20.0 {
        assert!(begun.elapsed() < WAIT_MAX, "they do not wait");
    }
    drop(waiting);
    while server.metric("factum_connections") > 1.0 {
        assert!(begun.elapsed() < WAIT_MAX, "they are not forgotten");
    }
    assert_eq!(other.ask(&["XADD", "s", "1-1", "a", "b"]), "$3");
    assert_eq!(other.line(), "1-1");
    // Nobody who was gone was given it.
    assert_eq!(other.ask(&["XREADGROUP", "GROUP", "g", "lives", "STREAMS", "s", ">"]), "*1");
}
