//! `factum serve` over stores on other servers: PostgreSQL and Redis, real ones, in a build that has them.

use crate::serving::{Serving, refused};

/// What a client does with a door, whichever store is behind it: streams, groups, strings, hashes, a transaction, and again after a restart.
fn is_served(server: &mut Serving) {
    let mut wire = server.connect();
    assert_eq!(wire.ask(&["XADD", "Order-1", "1-1", "event_type", "OrderPlaced", "data", r#"{"total":42}"#]), "$3");
    assert_eq!(wire.line(), "1-1");
    assert_eq!(wire.ask(&["XADD", "Order-1", "2-1", "event_type", "OrderPaid", "data", "{}"]), "$3");
    wire.line();
    assert_eq!(wire.ask(&["XGROUP", "CREATE", "Order-1", "g", "0"]), "+OK");
    assert_eq!(wire.ask(&["XREADGROUP", "GROUP", "g", "c", "COUNT", "1", "STREAMS", "Order-1", ">"]), "*1");
    wire.expect("*2\r\n$7\r\nOrder-1\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*4\r\n$10\r\nevent_type\r\n$11\r\nOrderPlaced\r\n$4\r\ndata\r\n$12\r\n{\"total\":42}\r\n");
    wire.send("MULTI\r\nSET name factum\r\nINCRBY count 5\r\nHSET h f v\r\nXADD Order-2 3-1 a b\r\nEXEC\r\n");
    wire.expect("+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*4\r\n+OK\r\n:5\r\n:1\r\n$3\r\n3-1\r\n");
    for again in 0..2 {
        let mut wire = server.connect();
        wire.send("GET name\r\nINCR count\r\nHGET h f\r\nXLEN Order-1\r\nXLEN Order-2\r\nXPENDING Order-1 g\r\n");
        wire.expect(format!("$6\r\nfactum\r\n:{}\r\n$1\r\nv\r\n:2\r\n:1\r\n", 6 + again));
        wire.expect("*4\r\n:1\r\n$3\r\n1-1\r\n$3\r\n1-1\r\n*1\r\n*2\r\n$1\r\nc\r\n$1\r\n1\r\n");
        assert_eq!(wire.ask(&["DBSIZE"]), ":5");
        let read = server.factum(&["read", "Order-1", "--json"]);
        assert_eq!(String::from_utf8_lossy(&read.stdout).lines().count(), 2, "{}", String::from_utf8_lossy(&read.stderr));
        if again == 0 {
            server.kill();
            server.restart();
        }
    }
}

/// A second server is refused while there is a first, told who that is, and takes over when that is gone, whether it said so or not.
fn has_one_server(server: &mut Serving) {
    let (code, said) = refused(&["--store", &server.store()]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("served already") && said.contains(&server.port().to_string()), "{said}");
    assert_eq!(server.connect().ask(&["SET", "a", "1"]), "+OK", "the first one does not mind");
    server.terminate();
    assert!(server.wait().success());
    server.restart();
    assert_eq!(server.connect().ask(&["GET", "a"]), "$1");
    server.kill();
    server.restart();
    assert_eq!(server.connect().ask(&["GET", "a"]), "$1");
}

#[cfg(feature = "postgres")]
mod on_postgres {
    use factum_servers::PostgresServer;

    use super::{Serving, has_one_server, is_served};

    #[test]
    fn a_store_in_postgres_is_served_and_by_one_server() {
        if let Some(reason) = PostgresServer::missing() {
            assert!(std::env::var_os("CI").is_none(), "{reason}");
            eprintln!("skipped: {reason}");
            return;
        }
        let postgres = PostgresServer::start().expect("the server starts");
        let mut server = Serving::on(&format!("{}?create=true", postgres.url()), &[]);
        is_served(&mut server);
        has_one_server(&mut server);
    }
}

#[cfg(feature = "redis")]
mod on_redis {
    use std::time::Instant;

    use factum_servers::RedisServer;

    use super::{Serving, has_one_server, is_served, refused};
    use crate::wire::WAIT_MAX;

    fn redis() -> Option<RedisServer> {
        if let Some(reason) = RedisServer::missing() {
            assert!(std::env::var_os("CI").is_none(), "{reason}");
            eprintln!("skipped: {reason}");
            return None;
        }
        Some(RedisServer::start().expect("the server starts"))
    }

    #[test]
    fn a_store_on_redis_is_served_and_by_one_server() {
        let Some(redis) = redis() else { return };
        let mut server = Serving::on(&redis.url(), &[]);
        is_served(&mut server);
        has_one_server(&mut server);
    }

    /// Its store is away for so long that another server may have taken it over: then what it knows may be old.
    #[test]
    fn a_server_whose_store_is_away_answers_nothing_from_memory_and_goes_on_when_it_is_back() {
        let Some(redis) = redis() else { return };
        let server = Serving::on(&redis.url(), &[]);
        let mut wire = server.connect();
        assert_eq!(wire.ask(&["SET", "a", "1"]), "+OK");
        assert_eq!(wire.ask(&["GET", "a"]), "$1");
        wire.line();
        redis.pause();
        server.wait_for_log("nothing is answered until");
        assert!(server.connect().ask(&["GET", "a"]).starts_with("-ERR"), "it knew it a moment ago");
        redis.resume();
        let begun = Instant::now();
        while !server.connect().ask(&["GET", "a"]).starts_with('$') {
            assert!(begun.elapsed() < WAIT_MAX, "{}", server.log());
        }
    }

    /// Another machine has the store, as it would after this server could not reach it for long: this one ends, saying who has it, and
    /// whoever comes next can't tell whether a machine elsewhere still runs, so that it looks for a while before it takes over.
    #[test]
    fn a_server_whose_store_was_taken_over_from_elsewhere_ends_and_one_that_is_silent_elsewhere_is_replaced() {
        let Some(redis) = redis() else { return };
        let mut server = Serving::on(&redis.url(), &[]);
        assert_eq!(server.connect().ask(&["SET", "a", "1"]), "+OK");
        let runtime = tokio::runtime::Runtime::new().expect("it starts");
        let store = runtime.block_on(factum::connect(&redis.url())).expect("it opens");
        let name = factum::RecordName::new("$factum/server").expect("a name");
        // The server writes it every second, so that the version may have changed since it was read.
        let begun = Instant::now();
        loop {
            let record = runtime.block_on(store.record(&name)).expect("it reads").expect("the server wrote it");
            let mut holder: serde_json::Value = serde_json::from_slice(&record.value).expect("JSON");
            holder["id"] = factum::Uuid::now_v7().to_string().into();
            holder["run"] = factum::Uuid::now_v7().to_string().into();
            (holder["host"], holder["surroundings"]) = ("elsewhere".into(), "another machine".into());
            let value = serde_json::to_vec(&holder).expect("JSON");
            let write = factum::RecordWrite::set(name.clone(), value).expecting(record.version);
            if runtime.block_on(store.write_record(write)).is_ok() {
                break;
            }
            assert!(begun.elapsed() < WAIT_MAX, "the record changes too fast");
        }
        assert!(!server.wait().success(), "{}", server.log());
        let log = server.log();
        assert!(log.contains("taken over by") && log.contains("elsewhere"), "{log}");
        // Nobody there says that it serves it.
        server.restart();
        assert!(server.log().contains("looking for"), "{}", server.log());
        assert_eq!(server.connect().ask(&["GET", "a"]), "$1");
        let (code, said) = refused(&["--store", &server.store()]);
        assert_eq!(code, Some(1), "{said}");
    }

    /// What the door needs, one append over several streams and records, a store of several partitions has not.
    #[test]
    fn a_store_in_partitions_is_refused_at_the_start() {
        let Some(redis) = redis() else { return };
        let (code, said) = refused(&["--store", &format!("{}?partitions=2", redis.url())]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("one append"), "{said}");
    }
}
