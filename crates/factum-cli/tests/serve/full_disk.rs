//! The disk of a server is full: it says so, goes on reading, loses nothing, and works again once there is room.
//!
//! The largest size that a file may have stands for the end of the disk.

use crate::serving::Serving;
use crate::wire::Wire;

/// Adds entries until one is refused: how many were taken.
fn fill(wire: &mut Wire) -> (usize, String) {
    let data = "x".repeat(20_000);
    for count in 0..10_000 {
        let answer = wire.ask(&["XADD", "Log-1", "*", "type", "Noted", "data", &data]);
        if !answer.starts_with('$') {
            return (count, answer);
        }
        wire.line();
    }
    panic!("the disk has no end");
}

#[test]
fn a_full_disk_is_said_in_the_way_of_redis_and_harms_nothing() {
    let mut server = Serving::start();
    let mut wire = server.connect();
    for words in [&["SET", "name", "factum"][..], &["HSET", "h", "f", "v"], &["XGROUP", "CREATE", "Log-1", "g", "0", "MKSTREAM"]] {
        assert!(!wire.ask(words).starts_with('-'));
    }
    server.limit_files(Some(1 << 20));
    let (count, refused) = fill(&mut wire);
    assert!(count > 10, "{count} were taken");
    assert!(refused.starts_with("-MISCONF ") && refused.contains("disk is full"), "{refused}");

    // What writes is refused, each time anew, in a transaction too; what reads is answered, also behind it in a pipeline.
    let data = "x".repeat(20_000);
    for _ in 0..3 {
        assert!(wire.ask(&["SET", "name", &data]).starts_with("-MISCONF "));
        assert_eq!(wire.ask(&["GET", "name"]), "$6");
        wire.expect("factum\r\n");
        wire.send(format!("SET name {data}\r\nGET name\r\nHSET h f {data}\r\nHGET h f\r\nXLEN Log-1\r\nPING\r\n"));
        assert!(wire.line().starts_with("-MISCONF "));
        wire.expect("$6\r\nfactum\r\n");
        assert!(wire.line().starts_with("-MISCONF "));
        wire.expect(format!("$1\r\nv\r\n:{count}\r\n+PONG\r\n"));
        wire.send(format!("MULTI\r\nSET a {data}\r\nXADD Log-1 * a b\r\nEXEC\r\nEXISTS a\r\n"));
        wire.expect("+OK\r\n+QUEUED\r\n+QUEUED\r\n");
        assert!(wire.line().starts_with("-MISCONF "));
        wire.expect(":0\r\n");
    }
    assert!(server.metric("factum_failed_appends_total") >= 3.0);
    assert!(info(&mut wire).contains("aof_last_write_status:err"));
    assert!(server.page("/health").starts_with("ok"), "it reads");
    let read = server.factum(&["read", "Log-1", "--json"]);
    assert_eq!(String::from_utf8_lossy(&read.stdout).lines().count(), count, "beside it, too");

    // With room again it goes on by itself, and all that was acknowledged is there, now and after the next start.
    server.limit_files(None);
    assert_eq!(wire.ask(&["SET", "name", "more"]), "+OK");
    wire.ask(&["XADD", "Log-1", "*", "a", "b"]);
    wire.line();
    assert!(info(&mut wire).contains("aof_last_write_status:ok"));
    for _ in 0..2 {
        let mut wire = server.connect();
        assert_eq!(wire.ask(&["XLEN", "Log-1"]), format!(":{}", count + 1));
        assert_eq!(wire.ask(&["GET", "name"]), "$4");
        wire.line();
        assert_eq!(wire.ask(&["HGET", "h", "f"]), "$1");
        wire.line();
        assert_eq!(wire.ask(&["XPENDING", "Log-1", "g"]), "*4");
        assert!(server.factum(&["verify"]).status.success());
        server.kill();
        server.restart();
    }
    let said = server.log().matches("was not recorded").count();
    assert!((1..10).contains(&said), "{said} lines in the log for what is one thing");
}

fn info(wire: &mut Wire) -> String {
    let length: usize = wire.ask(&["INFO", "persistence"])[1..].parse().expect("a length");
    let mut text = String::new();
    while text.len() < length {
        text += &(wire.line() + "\r\n");
    }
    wire.expect("\r\n");
    text
}
