//! Clients that are broken, slow, greedy, gone or many: nothing crashes, and nothing is kept for them.

use std::time::Instant;

use crate::serving::Serving;
use crate::wire::{WAIT_MAX, Wire, request};

/// A server's memory may grow by this much while it is treated badly, and no more.
const GROWTH_MAX: f64 = 64.0 * 1024.0 * 1024.0;

#[test]
fn what_is_not_the_protocol_ends_only_its_own_connection() {
    let server = Serving::start();
    let mut other = server.connect();
    let broken: [(&[u8], &str); 10] = [
        (b"*1\r\n:1\r\n", "-ERR Protocol error: expected '$', got ':'\r\n"),
        (b"*1\r\n*1\r\n*1\r\n*1\r\n", "-ERR Protocol error: expected '$', got '*'\r\n"),
        (b"*99999999999999999999\r\n", "-ERR Protocol error: invalid multibulk length\r\n"),
        (b"*2147483647\r\n$1\r\na\r\n", "-ERR Protocol error: invalid multibulk length\r\n"),
        (b"*1\r\n$-1\r\n", "-ERR Protocol error: invalid bulk length\r\n"),
        (b"*1\r\n$-9223372036854775808\r\n", "-ERR Protocol error: invalid bulk length\r\n"),
        (b"*1\r\n$4294967296\r\n", "-ERR Protocol error: invalid bulk length\r\n"),
        (b"*1\r\n$abc\r\n", "-ERR Protocol error: invalid bulk length\r\n"),
        (b"GET \"a\r\n", "-ERR Protocol error: unbalanced quotes in request\r\n"),
        (b"PING\r\n*1\r\n$x\r\n", "+PONG\r\n-ERR Protocol error: invalid bulk length\r\n"),
    ];
    for (bytes, answer) in broken {
        let mut wire = server.connect();
        wire.send(bytes);
        assert_eq!(String::from_utf8_lossy(&wire.read_to_end()), answer);
    }
    assert_eq!(other.ask(&["PING"]), "+PONG");
    assert_eq!(server.metric("factum_connections_cut_off_total"), 10.0);
}

#[test]
fn requests_that_are_nothing_are_passed_over() {
    let server = Serving::start();
    let mut wire = server.connect();
    wire.send("\r\n\r\n*0\r\n*-1\r\n*-5\r\n   \r\n");
    assert_eq!(wire.ask(&["PING"]), "+PONG");
    assert_eq!(wire.ask(&[""]), "-ERR unknown command '', with args beginning with: ");
    wire.send(request(&[&[0xff, 0x00, b'\r', b'\n'][..], b"\r\n-OK\r\n"]));
    assert!(wire.line().starts_with("-ERR unknown command"));
    assert_eq!(wire.ask(&["PING"]), "+PONG");
}

#[test]
fn requests_may_arrive_byte_by_byte_and_never_end() {
    let server = Serving::start();
    let mut slow = server.connect();
    let bytes = request(&["ECHO", "hello"]);
    for byte in &bytes {
        slow.send([*byte]);
        // Others are answered meanwhile.
        assert_eq!(server.connect().ask(&["PING"]), "+PONG");
    }
    slow.expect("$5\r\nhello\r\n");
    slow.send(&bytes[..bytes.len() - 3]);
    assert_eq!(server.connect().ask(&["PING"]), "+PONG");
}

#[test]
fn promises_of_much_cost_nothing() {
    let server = Serving::start();
    let before = server.metric("factum_memory_own_bytes");
    let promises: Vec<Wire> = (0..200)
        .map(|number| {
            let mut wire = server.connect();
            // A million arguments, or one of a hundred megabytes, and then nothing.
            wire.send(if number % 2 == 0 { &b"*1048576\r\n$4\r\nMGET\r\n"[..] } else { b"*2\r\n$4\r\nECHO\r\n$100000000\r\nabc" });
            wire
        })
        .collect();
    assert_eq!(server.connect().ask(&["PING"]), "+PONG");
    let grown = server.metric("factum_memory_own_bytes") - before;
    assert!(grown < GROWTH_MAX, "{grown} bytes for {} promises", promises.len());
}

/// Configured, so that it is seen soon.
fn with_limits(limits: &str) -> (tempfile::TempDir, Serving) {
    let folder = tempfile::TempDir::new().expect("a temporary folder can be made");
    let file = folder.path().join("factum.toml");
    std::fs::write(&file, format!("[limits]\n{limits}\n")).expect("it can be written");
    let server = Serving::with(&["--config", file.to_str().expect("it is text")]);
    (folder, server)
}

/// Each of them keeps to the limits for one; it is all of them together that take the memory.
#[test]
fn connections_have_a_largest_size_together() {
    let (_folder, server) = with_limits("clients_bytes_max = 16777216");
    let before = server.metric("factum_memory_own_bytes");
    let mut modest = server.connect();
    modest.send([&b"*2\r\n$4\r\nECHO\r\n$300000\r\n"[..], &[b'm'; 200_000]].concat());
    let piece = vec![b'x'; 4 << 20];
    let queued = request(&[&b"SET"[..], b"k", &piece]);
    // Not more than is read while something is under way, else sending waits.
    let behind = request(&[&b"SET"[..], b"k", &piece[..900 << 10]]);
    let greedy: Vec<Wire> = (0..60)
        .map(|number| {
            let mut wire = server.connect();
            // Half a request; requests that wait for EXEC; requests that wait behind one that waits.
            _ = match number % 3 {
                0 => wire.try_send([&b"*2\r\n$4\r\nECHO\r\n$50000000\r\n"[..], &piece].concat()),
                1 => wire.try_send([&b"MULTI\r\n"[..], &queued].concat()),
                _ => wire.try_send([&b"XREAD BLOCK 0 STREAMS s 0\r\n"[..], &behind].concat()),
            };
            wire
        })
        .collect();
    server.wait_for_log("limits.clients_bytes_max");
    let mut other = server.connect();
    assert_eq!(other.ask(&["PING"]), "+PONG");
    let begun = Instant::now();
    while server.metric("factum_connections_held_bytes") > f64::from(16 << 20) {
        assert!(begun.elapsed() < WAIT_MAX, "they hold too much");
    }
    let grown = server.metric("factum_memory_own_bytes") - before;
    assert!(grown < GROWTH_MAX, "{grown} bytes");
    // Who holds little is not touched.
    modest.send([&[b'm'; 100_000][..], b"\r\n"].concat());
    assert_eq!(modest.line(), "$300000");
    drop(greedy);
    // And the limit may be changed, and is told.
    assert_eq!(other.ask(&["CONFIG", "SET", "maxmemory-clients", "1mb"]), "+OK");
    let mut wire = server.connect();
    assert!(wire.try_send([&b"*2\r\n$4\r\nECHO\r\n$50000000\r\n"[..], &piece].concat()).is_err() || wire.read_to_end().is_empty());
    assert_eq!(other.ask(&["CONFIG", "GET", "maxmemory-clients"]), "*2");
    other.expect("$17\r\nmaxmemory-clients\r\n$7\r\n1048576\r\n");
}

/// Answers that are not read are counted too, before each of them has been left for so long that it is cut off.
#[test]
fn answers_that_nobody_reads_have_a_largest_size_together() {
    let (_folder, server) = with_limits("clients_bytes_max = 16777216");
    let mut wire = server.connect();
    wire.send(request(&[&b"SET"[..], b"k", &vec![b'x'; 6 << 20]]));
    wire.expect("+OK\r\n");
    let before = server.metric("factum_memory_own_bytes");
    let greedy: Vec<Wire> = (0..100)
        .map(|_| {
            let mut wire = server.connect();
            _ = wire.try_send(b"GET k\r\nGET k\r\nGET k\r\nGET k\r\n");
            wire
        })
        .collect();
    server.wait_for_log("limits.clients_bytes_max");
    assert_eq!(wire.ask(&["PING"]), "+PONG");
    let grown = server.metric("factum_memory_own_bytes") - before;
    // A third of what they ask for, whatever the allocator keeps.
    assert!(grown < 3.0 * GROWTH_MAX, "{grown} bytes");
    drop(greedy);
}

/// It once took time and the lock of all for the square of the keys.
#[test]
fn many_keys_are_watched_in_the_time_of_many() {
    let server = Serving::start();
    let mut wire = server.connect();
    let keys: Vec<String> = (0..100_000).map(|number| format!("k{number}")).collect();
    let words: Vec<&str> = ["WATCH"].into_iter().chain(keys.iter().map(String::as_str)).collect();
    assert_eq!(wire.ask(&words), "+OK");
    wire.send("MULTI\r\nSET a 1\r\nEXEC\r\n");
    wire.expect("+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n");
    assert_eq!(wire.ask(&words), "+OK");
    assert_eq!(server.connect().ask(&["SET", "k99999", "1"]), "+OK");
    wire.send("MULTI\r\nSET a 1\r\nEXEC\r\n");
    wire.expect("+OK\r\n+QUEUED\r\n*-1\r\n");
}

#[test]
fn a_request_has_a_largest_size() {
    let server = Serving::start();
    let mut wire = server.connect();
    let argument = vec![b'x'; 1 << 20];
    wire.send("*200\r\n");
    let piece = [format!("${}\r\n", argument.len()).as_bytes(), &argument, b"\r\n"].concat();
    // It stops listening before all of it was sent.
    let sent = (0..200).map_while(|_| wire.try_send(&piece).ok()).count();
    let answer = wire.read_to_end();
    assert!(answer.is_empty() || answer.starts_with(b"-ERR Protocol error: the request is longer than"), "{}", answer.escape_ascii());
    assert!(sent < 200 || !answer.is_empty());
    server.wait_for_log("the request is longer than");
    assert_eq!(server.connect().ask(&["PING"]), "+PONG");
}

#[test]
fn whoever_does_not_read_is_cut_off_and_costs_little() {
    let folder = tempfile::TempDir::new().expect("a temporary folder can be made");
    let file = folder.path().join("factum.toml");
    std::fs::write(&file, "[limits]\noutput_stall_seconds_max = 1\n").expect("it can be written");
    let server = Serving::with(&["--config", file.to_str().expect("it is text")]);
    let before = server.metric("factum_memory_own_bytes");
    let mut greedy = server.connect();
    let echo = request(&[&b"ECHO"[..], &vec![b'x'; 1 << 20]]);
    // It takes requests only as fast as its answers are read, so that sending ends before the memory does.
    let begun = Instant::now();
    while greedy.try_send(&echo).is_ok() {
        assert!(begun.elapsed() < WAIT_MAX, "it goes on taking requests");
    }
    server.wait_for_log("of answers for too long");
    let grown = server.metric("factum_memory_own_bytes") - before;
    assert!(grown < GROWTH_MAX, "{grown} bytes");
    assert_eq!(server.connect().ask(&["PING"]), "+PONG");
}

#[test]
fn an_answer_has_a_largest_size() {
    let folder = tempfile::TempDir::new().expect("a temporary folder can be made");
    let file = folder.path().join("factum.toml");
    std::fs::write(&file, "[limits]\noutput_bytes_max = 1000000\n").expect("it can be written");
    let server = Serving::with(&["--config", file.to_str().expect("it is text")]);
    let mut wire = server.connect();
    let large = "x".repeat(500_000);
    for _ in 0..8 {
        wire.ask(&["XADD", "s", "*", "data", &large]);
        wire.line();
    }
    let refused = wire.ask(&["XRANGE", "s", "-", "+"]);
    assert!(refused.starts_with("-ERR") && refused.contains("COUNT") && refused.contains("limits.output_bytes_max"), "{refused}");
    // The same for what is in memory anyway, and asked for again and again.
    assert_eq!(wire.ask(&["SET", "k", &large]), "+OK");
    let words: Vec<&str> = ["MGET"].into_iter().chain(["k"; 100]).collect();
    let refused = wire.ask(&words);
    assert!(refused.starts_with("-ERR") && refused.contains("limits.output_bytes_max"), "{refused}");
    assert_eq!(wire.ask(&["MULTI"]), "+OK");
    for _ in 0..100 {
        assert_eq!(wire.ask(&["GET", "k"]), "+QUEUED");
    }
    let refused = wire.ask(&["EXEC"]);
    assert!(refused.starts_with("-ERR") && refused.contains("limits.output_bytes_max"), "{refused}");
    let words: Vec<&str> = ["COMMAND", "INFO"].into_iter().chain(std::iter::repeat_n("config", 100_000)).collect();
    assert!(wire.ask(&words).starts_with("-ERR"));
    assert_eq!(wire.ask(&["XRANGE", "s", "-", "+", "COUNT", "1"]), "*1");
}

#[test]
fn ten_thousand_who_say_nothing_are_cheap() {
    // Each is an open file on both sides. The system may allow fewer.
    let count = open_files_max().saturating_sub(600).min(10_000);
    let server = Serving::start();
    let before = server.metric("factum_memory_own_bytes");
    // On a machine that is busy with much else each takes milliseconds. Then there are fewer, so that the test ends.
    let begun = Instant::now();
    let patience = |connected: usize| connected < 1_000 || begun.elapsed().as_secs() < 8;
    let idle: Vec<Wire> = (0..count).take_while(|&connected| patience(connected)).map(|_| server.connect()).collect();
    let count = idle.len();
    let mut wire = server.connect();
    assert_eq!(wire.ask(&["PING"]), "+PONG");
    let begun = Instant::now();
    while server.metric("factum_connections") < count as f64 {
        assert!(begun.elapsed() < WAIT_MAX, "not all are taken in");
    }
    let each = (server.metric("factum_memory_own_bytes") - before) / count as f64;
    println!("{count} idle connections take {each:.0} bytes each");
    assert!(each < 8192.0, "{each} bytes for each");
    drop(idle);
    while server.metric("factum_connections") > 1.0 {
        assert!(begun.elapsed() < 2 * WAIT_MAX, "they are not forgotten");
    }
    assert_eq!(wire.ask(&["PING"]), "+PONG");
}

/// How many files this process may open; it raises what it can.
fn open_files_max() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    _ = rustix::process::setrlimit(rustix::process::Resource::Nofile, raised);
    let current = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    usize::try_from(current.unwrap_or(u64::MAX)).unwrap_or(usize::MAX)
}

#[test]
fn what_was_sent_before_the_end_is_answered() {
    let server = Serving::start();
    let mut wire = server.connect();
    wire.send("PING\r\nECHO a\r\n");
    wire.end();
    assert_eq!(wire.read_to_end(), b"+PONG\r\n$1\r\na\r\n");
}

#[test]
fn a_stop_finishes_what_has_arrived() {
    let mut server = Serving::start();
    let idle = server.connect();
    let mut busy = server.connect();
    assert_eq!(busy.ask(&["PING"]), "+PONG");
    let many = 2_000;
    busy.send("ECHO a\r\n".repeat(many));
    busy.expect("$1\r\na\r\n");
    server.terminate();
    let answers = busy.read_to_end();
    assert_eq!(answers.len() % "$1\r\na\r\n".len(), 0, "an answer is cut");
    assert!(server.wait().success(), "{}", server.log());
    drop(idle);
}
