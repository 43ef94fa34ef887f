//! The keys: what people see who look with redis-cli, and what happens when the function is not there.

use factum::{Append, EventStoreExt, ExpectedVersion, NewEvent, StreamVersion, Tag, Timestamp};
use factum_servers::RedisServer;

use super::{Verdict, events, stream};

pub(super) async fn events_are_read_with_plain_xrange() -> Verdict {
    let server = RedisServer::start()?;
    let store = factum::connect(&format!("{}?name=shop&durability=always", server.url())).await?;
    let event = NewEvent::json("OrderPlaced", &"a book")?.with_metadata("{}").with_tag(Tag::new("book:7")?);
    let event = event.with_occurred_at(Timestamp::UNIX_EPOCH);
    let id = event.id.to_string();
    store.append(Append::to(stream("Order-1"), [event])).await?;
    let recorded = store.load(&stream("Order-1")).await?;
    let micros = recorded[0].recorded_at.as_microsecond().to_string();
    let words = |answer: String| answer.lines().filter(|line| !line.starts_with(['*', '$'])).map(str::to_owned).collect::<Vec<_>>();
    let entry = words(server.ask(&["XRANGE", "{shop:0}:stream:Order-1", "-", "+"])?);
    let expected = ["1-0", "type", "OrderPlaced", "data", "\"a book\"", "id", &id, "position", "1", "recorded_at_us", &micros];
    assert_eq!(entry[..11], expected);
    assert_eq!(entry[11..], ["metadata", "{}", "occurred_at", "1970-01-01T00:00:00Z", "tag", "book:7"]);
    let pointer = words(server.ask(&["XRANGE", "{shop:0}:log", "-", "+"])?);
    assert_eq!(pointer, ["1-0", "stream", "Order-1", "version", "1", "type", "OrderPlaced", "tag", "book:7"]);
    Ok(())
}

pub(super) async fn stores_of_two_names_share_a_server() -> Verdict {
    let server = RedisServer::start()?;
    let open = |name: &str| format!("{}?name={name}&durability=always", server.url());
    let (one, other) = (factum::connect(&open("one")).await?, factum::connect(&open("other")).await?);
    one.append_to(&stream("Order-1"), ExpectedVersion::NoStream, events(2)).await?;
    other.append_to(&stream("Order-1"), ExpectedVersion::NoStream, events(3)).await?;
    assert_eq!((one.load(&stream("Order-1")).await?.len(), other.load(&stream("Order-1")).await?.len()), (2, 3));
    Ok(())
}

pub(super) async fn functions_that_are_lost_are_loaded_again() -> Verdict {
    let server = RedisServer::start()?;
    let store = factum::connect(&format!("{}?durability=always", server.url())).await?;
    store.append_to(&stream("Order-1"), ExpectedVersion::NoStream, events(1)).await?;
    server.ask(&["FUNCTION", "FLUSH"])?;
    store.append_to(&stream("Order-1"), ExpectedVersion::exact(1), events(1)).await?;
    assert_eq!(store.version(&stream("Order-1")).await?, StreamVersion::new(2));
    Ok(())
}

/// Where functions are not allowed a script does the same, and both may be used at the same time.
pub(super) async fn a_user_without_functions_gets_the_same_store() -> Verdict {
    let server = RedisServer::start()?;
    let user = ["ACL", "SETUSER", "ann", "on", ">secret", "~*", "&*", "+@all", "-function", "-fcall", "-fcall_ro"];
    assert!(server.ask(&user)?.starts_with("+OK"));
    let place = format!("127.0.0.1:{}?durability=always", server.port());
    let by_function = factum::connect(&format!("redis://{place}")).await?;
    let by_script = factum::connect(&format!("redis://ann:secret@{place}")).await?;
    for number in 0..3 {
        by_function.append_to(&stream("Order-1"), ExpectedVersion::exact(2 * number), events(1)).await?;
        by_script.append_to(&stream("Order-1"), ExpectedVersion::exact(2 * number + 1), events(1)).await?;
    }
    let conflict = by_script.append_to(&stream("Order-1"), ExpectedVersion::exact(1), events(1)).await;
    assert!(matches!(conflict, Err(factum::Error::Conflict(_))), "{conflict:?}");
    // A server that forgets its scripts is given it again.
    server.ask(&["SCRIPT", "FLUSH"])?;
    by_script.append_to(&stream("Order-1"), ExpectedVersion::exact(6), events(1)).await?;
    assert!(server.ask(&["INFO", "commandstats"])?.contains("cmdstat_evalsha"));
    assert_eq!(by_function.load(&stream("Order-1")).await?, by_script.load(&stream("Order-1")).await?);
    Ok(())
}

pub(super) async fn long_truncation_leaves_no_ids_behind() -> Verdict {
    let server = RedisServer::start()?;
    let store = factum::connect(&format!("{}?durability=always", server.url())).await?;
    let order = stream("Order-1");
    store.append_to(&order, ExpectedVersion::NoStream, events(2_500)).await?;
    let info = store.truncate_before(&order, StreamVersion::new(2_490)).await?;
    assert_eq!(info.first_version, StreamVersion::new(2_490));
    assert_eq!(store.load(&order).await?.len(), 11);
    // Eleven ids, and the three things that are known of a stream.
    assert_eq!(server.ask(&["HLEN", "{factum:0}:ids:Order-1"])?, ":14\r\n");
    assert_eq!(server.ask(&["XLEN", "{factum:0}:stream:Order-1"])?, ":11\r\n");
    Ok(())
}
