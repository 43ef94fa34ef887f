//! Appends that are in each other's way: each has its own outcome.

use std::sync::Arc;

use factum::backend::Postgres;
use factum::{
    Append, Condition, Error, EventStore, EventStoreExt, ExpectedVersion, GlobalPosition, NewEvent, Query, ReadStream, RecordName,
    RecordWrite, StreamVersion, Tag,
};
use futures::TryStreamExt;
use futures::future::join_all;

use crate::{Verdict, alone, append, event, fresh_url, stream};

/// Several processes' stores, that is, several batchers, on one schema.
async fn stores(count: usize) -> Verdict<Vec<Arc<Postgres>>> {
    let url = fresh_url();
    let mut stores = Vec::new();
    for _ in 0..count {
        stores.push(Arc::new(Postgres::connect(&url).await?));
    }
    Ok(stores)
}

pub(crate) async fn appends_in_opposite_orders_do_not_deadlock() -> Verdict {
    let stores = stores(3).await?;
    let any = ExpectedVersion::Any;
    for round in 0..30 {
        let appends = (0..12).map(|number| {
            let names = ["a", "b", "c", "d"].map(|name| stream(format!("{name}-{round}")));
            let [a, b, c, d] = if number % 2 == 0 {
                names
            } else {
                let [a, b, c, d] = names;
                [d, c, b, a]
            };
            let over = Append::to(a, [event(1)]).and_to(b, any, [event(2)]).and_to(c, any, [event(3)]).and_to(d, any, [event(4)]);
            stores[number % 3].append(over)
        });
        for outcome in join_all(appends).await {
            outcome?;
        }
        assert_eq!(stores[0].version(&stream(format!("a-{round}"))).await?.get(), 12);
    }
    Ok(())
}

/// With "any version" nobody loses: whoever finds the stream made meanwhile goes behind it.
pub(crate) async fn racing_makers_of_a_stream_all_find_their_place() -> Verdict {
    let stores = stores(4).await?;
    for round in 0..30 {
        let name = format!("Order-{round}");
        for outcome in join_all(stores.iter().map(|store| store.append(append(&name, 1)))).await {
            outcome?;
        }
        let events: Vec<_> = stores[0].read_stream(&stream(&name), ReadStream::default()).try_collect().await?;
        let versions: Vec<u64> = events.iter().map(|event| event.version.get()).collect();
        assert_eq!(versions, [1, 2, 3, 4]);
        assert!(events.is_sorted_by_key(|event| event.position));
    }
    Ok(())
}

/// Who waits for the stream must see the ids that came meanwhile.
pub(crate) async fn the_same_append_by_several_is_recorded_once() -> Verdict {
    let stores = stores(4).await?;
    let order = stream("Order-1");
    for round in 1..=60 {
        let same = append("Order-1", round);
        let outcomes = join_all(stores.iter().map(|store| store.append(same.clone()))).await;
        let receipts = outcomes.into_iter().collect::<Result<Vec<_>, _>>()?;
        assert_eq!(receipts.iter().filter(|receipt| !receipt.duplicate).count(), 1, "{receipts:?}");
        assert!(receipts.iter().all(|receipt| receipt.streams == receipts[0].streams), "{receipts:?}");
        assert_eq!(stores[0].version(&order).await?.get(), round);
    }
    Ok(())
}

pub(crate) async fn one_of_racing_first_appends_wins() -> Verdict {
    let stores = stores(4).await?;
    for round in 0..30 {
        let name = format!("Order-{round}");
        let outcomes = join_all(stores.iter().map(|store| store.append(append(&name, 1).expecting(ExpectedVersion::NoStream)))).await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
        for refused in outcomes.into_iter().filter_map(Result::err) {
            let Error::Conflict(conflict) = refused else { panic!("{refused}") };
            assert_eq!(conflict.actual.get(), 1);
        }
    }
    Ok(())
}

/// All of these go in one or two calls: appends that are new, repeated, in conflict, with ids that are taken.
pub(crate) async fn one_failure_in_a_batch_touches_no_neighbour() -> Verdict {
    let store = stores(1).await?.remove(0);
    let taken = event("first");
    for number in 0..40 {
        store.append(Append::to(stream(format!("Old-{number}")), [taken.clone()])).await?;
    }
    let appends = (0..200u64).map(|number| {
        let old = stream(format!("Old-{}", number / 5));
        match number % 5 {
            0 => append(&format!("New-{number}"), number),
            1 => Append::to(stream(format!("Own-{number}")), [event(1)]).and_to(old, ExpectedVersion::exact(9), [event(2)]),
            2 => Append::to(old, [taken.clone()]),
            3 => Append::to(old, [NewEvent { data: "other".into(), ..taken.clone() }]),
            _ => Append::to(old, [event("second")]).expecting(ExpectedVersion::exact(1)),
        }
    });
    let outcomes = join_all(appends.map(|append| store.append(append))).await;
    for (number, outcome) in outcomes.into_iter().enumerate() {
        match (number % 5, outcome) {
            (0, Ok(receipt)) => assert_eq!((receipt.duplicate, receipt.last_version()), (false, StreamVersion::FIRST)),
            (1, Err(Error::Conflict(conflict))) => assert!(conflict.stream.as_str().starts_with("Old-")),
            (2, Ok(receipt)) => assert!(receipt.duplicate),
            (3, Err(Error::IdReused { recorded, .. })) => assert_eq!(recorded.get(), 1),
            (4, Ok(receipt)) => assert_eq!((receipt.duplicate, receipt.last_version().get()), (false, 2)),
            (_, outcome) => panic!("append {number}: {outcome:?}"),
        }
    }
    assert_eq!(store.version(&stream("Own-1")).await?, StreamVersion::NONE, "a refused append has written nothing in its other stream");
    Ok(())
}

/// Somebody's own transaction locks two streams in the other order. PostgreSQL ends one of the two; if it is ours, nobody notices.
pub(crate) async fn a_deadlock_with_somebody_else_is_tried_again() -> Verdict {
    use factum::backend::postgres::sqlx::{self, Connection, PgConnection};
    let (server, store) = alone().await?;
    let both = || Append::to(stream("a"), [event(1)]).and_to(stream("b"), ExpectedVersion::Any, [event(2)]);
    store.append(both()).await?;
    // An append that writes a record locks its streams.
    let note = || RecordWrite::set(RecordName::new("note").expect("valid"), "1");
    let lock = "SELECT 1 FROM factum.streams WHERE name = $1 FOR UPDATE";
    let mut other = PgConnection::connect(&server.url()).await?;
    // So that the other one is not ended first.
    sqlx::query("SET deadlock_timeout = '1min'").execute(&mut other).await?;
    let mut transaction = other.begin().await?;
    sqlx::query(lock).bind("b").execute(&mut *transaction).await?;
    let appends = join_all([store.append(both().and_record(note())), store.append(append("c", 3))]);
    let theirs = async {
        // The append holds a, and waits for b.
        while server.sql("postgres", "SELECT count(*) FROM pg_locks WHERE NOT granted")?.trim() == "0" {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        sqlx::query(lock).bind("a").execute(&mut *transaction).await?;
        transaction.commit().await?;
        Verdict::Ok(())
    };
    let (outcomes, theirs) = tokio::join!(appends, theirs);
    theirs?;
    for outcome in outcomes {
        outcome?;
    }
    assert_eq!((store.version(&stream("a")).await?.get(), store.version(&stream("c")).await?.get()), (2, 1));
    Ok(())
}

/// Of two that both say "nothing with this tag was recorded before", one is wrong, whatever their streams.
pub(crate) async fn one_of_racing_conditions_wins() -> Verdict {
    let stores = stores(3).await?;
    for round in 0..20 {
        let tag = Tag::new(format!("seat:{round}"))?;
        let condition = || Condition { none_of: Query::tags([tag.clone()]), after: GlobalPosition::START };
        let appends = (0..9).map(|number| {
            let booked = Append::to(stream(format!("Booking-{round}-{number}")), [event(number).with_tag(tag.clone())]);
            // Some don't ask, and count all the same.
            let asks = number != 4;
            stores[number % 3].append(if asks { booked.on_condition(condition()) } else { booked })
        });
        let outcomes = join_all(appends).await;
        let asked: Vec<_> = outcomes.iter().enumerate().filter(|(number, _)| *number != 4).map(|(_, outcome)| outcome).collect();
        assert!(outcomes[4].is_ok());
        assert!(asked.iter().filter(|outcome| outcome.is_ok()).count() <= 1, "{asked:?}");
        if let (Some(Ok(winner)), Ok(unasked)) = (asked.iter().find(|outcome| outcome.is_ok()), &outcomes[4]) {
            assert!(winner.last_position() < unasked.last_position(), "what was recorded before the winner contradicts it");
        }
        for refused in asked.into_iter().filter_map(|outcome| outcome.as_ref().err()) {
            assert!(matches!(refused, Error::ConditionFailed { .. }), "{refused}");
        }
    }
    Ok(())
}
