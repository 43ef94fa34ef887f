//! `factum projections` with a database: versions of rows are listed, compared, switched and dropped, in SQL and in Redis hashes.

#[cfg(feature = "redis")]
use factum::projection::{RedisRows, RedisTarget};
#[cfg(feature = "sqlite")]
use factum::projection::{SqlRows, SqlTarget};
use factum::projection::{Target, Versions};
use factum::{Backoff, Handled, OnFailure, Projection, Projector, RecordedEvent, async_trait};
use serde_json::json;

use crate::readers::{run, shop};

/// Adds so much to each number.
struct Numbers(i64);

#[cfg(feature = "sqlite")]
#[async_trait]
impl Projection<SqlRows> for Numbers {
    fn name(&self) -> &str {
        "numbers"
    }

    fn tables(&self) -> &[&'static str] {
        &["numbers"]
    }

    async fn create(&self, rows: &mut SqlRows) -> Handled {
        rows.execute("CREATE TABLE {numbers} (number BIGINT)", &[]).await?;
        Ok(())
    }

    async fn apply(&self, event: &RecordedEvent, rows: &mut SqlRows) -> Handled {
        let number: i64 = event.json()?;
        rows.execute("INSERT INTO {numbers} VALUES ($1)", &[(number + self.0).into()]).await?;
        Ok(())
    }
}

#[cfg(feature = "redis")]
#[async_trait]
impl Projection<RedisRows> for Numbers {
    fn name(&self) -> &str {
        "numbers"
    }

    async fn apply(&self, event: &RecordedEvent, rows: &mut RedisRows) -> Handled {
        let number: i64 = event.json()?;
        rows.set("numbers", event.stream.as_str(), (number + self.0).to_string());
        Ok(())
    }
}

/// Does not take the number 2, as long as it is told so.
struct Fussy(bool);

#[cfg(feature = "sqlite")]
#[async_trait]
impl Projection<SqlRows> for Fussy {
    fn name(&self) -> &str {
        "fussy"
    }

    async fn apply(&self, event: &RecordedEvent, _: &mut SqlRows) -> Handled {
        self.look(event)
    }
}

#[cfg(feature = "redis")]
#[async_trait]
impl Projection<RedisRows> for Fussy {
    fn name(&self) -> &str {
        "fussy"
    }

    async fn apply(&self, event: &RecordedEvent, _: &mut RedisRows) -> Handled {
        self.look(event)
    }
}

impl Fussy {
    fn look(&self, event: &RecordedEvent) -> Handled {
        if self.0 && event.json::<i64>()? == 2 { Err("2 is not taken".into()) } else { Ok(()) }
    }
}

/// What was put aside is listed, applied again by the program that runs the projection, or given up.
fn put_aside<T: Target + Versions>(database: &str, connect: impl AsyncFn() -> T)
where
    Fussy: Projection<T::Rows>,
{
    let folder = shop();
    let fill = |is_fussy: bool| {
        run(&folder, async |store| {
            let projector = Projector::new(store, connect().await, Fussy(is_fussy));
            projector.retry(Backoff::ONCE).on_failure(OnFailure::Park).run_to_end().await
        });
    };
    fill(true);
    let of = |words: &[&str]| folder.json(&[words, &["--database", database]].concat()).remove(0);
    let shown = of(&["projections", "show", "fussy"]);
    assert_eq!(
        (&shown["behind"], &shown["parked"][0]["position"], &shown["parked"][0]["reason"]),
        (&json!(0), &json!(2), &json!("2 is not taken"))
    );
    let table = folder.run(&["projections", "show", "fussy", "--database", database]);
    assert!(table.succeeded().out.contains("2 is not taken"), "{table:?}");
    assert_eq!(of(&["projections", "replay", "fussy", "--position", "2"])["replayed"], 1);
    assert_eq!(of(&["projections", "show", "fussy"])["parked"][0]["replay"], true);
    // It fails again, and stays where it is.
    fill(true);
    assert_eq!(of(&["projections", "show", "fussy"])["parked"][0]["replay"], false);
    assert_eq!(of(&["projections", "replay", "fussy"])["replayed"], 1);
    fill(false);
    assert_eq!(of(&["projections", "show", "fussy"])["parked"], json!([]));
    let gone = folder.run(&["projections", "replay", "fussy", "--position", "2", "--database", database]);
    assert!(gone.failed(2).contains("no event at position 2 is parked in fussy"));
    assert_eq!(of(&["projections", "replay", "fussy"])["replayed"], 0);
}

/// What is given up is not applied again.
fn given_up<T: Target + Versions>(database: &str, connect: impl AsyncFn() -> T)
where
    Fussy: Projection<T::Rows>,
{
    let folder = shop();
    run(&folder, async |store| {
        let projector = Projector::new(store, connect().await, Fussy(true));
        projector.retry(Backoff::ONCE).on_failure(OnFailure::Park).run_to_end().await
    });
    let skip = ["projections", "skip", "fussy", "--position", "2", "--database", database];
    assert_eq!(folder.json(&skip)[0]["skipped"], 2);
    assert_eq!(folder.json(&["projections", "show", "fussy", "--database", database])[0]["parked"], json!([]));
    assert!(folder.run(&skip).failed(2).contains("no event at position 2 is parked in fussy"));
    let nobody = folder.run(&["projections", "show", "nobody", "--database", database]);
    assert!(nobody.failed(2).contains("there is no projection"));
}

/// What a place's rows are called and look like.
struct Expected {
    /// Those of the version that is built second.
    tables: [&'static str; 1],
    /// How the row of an order with a number is shown.
    shown: fn(i64, i64) -> String,
}

impl Expected {
    /// Of the rows 1, 2 and 3, with so much added now and in the new version, the lowest is shown as gone and the highest as new.
    fn check(&self, compared: &serde_json::Value, now: i64, new: i64) {
        let examples = compared["tables"][0]["examples"].as_array().expect("examples");
        let (gone, come) = (format!("- {}", (self.shown)(1, 1 + now)), format!("+ {}", (self.shown)(3, 3 + new)));
        assert!(examples.contains(&json!(gone)) && examples.contains(&json!(come)), "{examples:?}");
    }
}

fn everything<T: Target + Versions>(database: &str, connect: impl AsyncFn() -> T, expected: &Expected)
where
    Numbers: Projection<T::Rows>,
{
    let folder = shop();
    run(&folder, async |store| {
        let target = connect().await;
        Projector::new(store.clone(), target.clone(), Numbers(0)).run_to_end().await?;
        Projector::new(store, target, Numbers(1)).version(2).run_to_end().await
    });
    let of = |words: &[&str]| folder.json(&[words, &["--database", database]].concat());
    let listed = of(&["projections"]);
    assert_eq!((&listed[0]["version"], &listed[0]["live"], &listed[0]["behind"]), (&json!(1), &json!(true), &json!(0)));
    assert_eq!((&listed[1]["version"], &listed[1]["live"], &listed[1]["tables"]), (&json!(2), &json!(false), &json!(expected.tables)));
    let compared = of(&["projections", "compare", "numbers"]).remove(0);
    assert_eq!((&compared["same"], &compared["position"]), (&json!(false), &json!(3)));
    expected.check(&compared, 0, 1);
    assert_eq!(of(&["projections", "switch", "numbers"])[0]["version"], 2);
    assert_eq!(of(&["projections", "drop", "numbers"])[0]["dropped"], 1);
    assert_eq!(of(&["projections"]).len(), 1);
    // A program builds what is asked for, while it runs.
    assert_eq!(of(&["projections", "rebuild", "numbers"])[0]["version"], 3);
    run(&folder, async |store| {
        let target = connect().await;
        let built = async {
            while !target.builds("numbers").await.is_ok_and(|builds| builds.iter().any(|b| b.version == 3 && b.position.number() == 3)) {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        Projector::new(store, target.clone(), Numbers(2)).run_until(built).await
    });
    expected.check(&of(&["projections", "compare", "numbers"]).remove(0), 1, 2);
    assert_eq!(of(&["projections", "drop", "numbers", "--version", "3"])[0]["dropped"], 1);
    let nobody = folder.run(&["projections", "rebuild", "nobody", "--database", database]);
    assert!(nobody.failed(2).contains("there is no projection"));
    let again = folder.run(&["projections", "switch", "numbers", "--database", database]);
    assert!(again.failed(2).contains("no version after 2"));
}

#[cfg(feature = "sqlite")]
#[test]
fn rows_in_sqlite_are_compared_switched_and_dropped() {
    let folder = shop();
    let database = format!("sqlite:{}", folder.path("rows.db").display());
    let expected = Expected { tables: ["numbers_v2"], shown: |_, number| number.to_string() };
    everything(&database, async || SqlTarget::connect(&database).await.expect("the database opens"), &expected);
}

#[cfg(feature = "redis")]
#[test]
fn rows_in_redis_are_compared_switched_and_dropped() {
    let Some(server) = crate::redis::server() else { return };
    let expected = Expected { tables: ["{numbers}:v2:numbers"], shown: |order, number| format!("Order-{order}: {number}") };
    everything(&server.url(), async || RedisTarget::new(&server.url()).expect("a URL"), &expected);
}

#[cfg(feature = "sqlite")]
#[test]
fn what_sqlite_has_put_aside_is_replayed_or_skipped() {
    let folder = shop();
    let url = |name: &str| format!("sqlite:{}", folder.path(name).display());
    let connect = async |url: &str| SqlTarget::connect(url).await.expect("the database opens");
    let (one, other) = (url("one.db"), url("other.db"));
    put_aside(&one, async || connect(&one).await);
    given_up(&other, async || connect(&other).await);
}

#[cfg(feature = "redis")]
#[test]
fn what_redis_has_put_aside_is_replayed_or_skipped() {
    let (Some(one), Some(other)) = (crate::redis::server(), crate::redis::server()) else { return };
    put_aside(&one.url(), async || RedisTarget::new(&one.url()).expect("a URL"));
    given_up(&other.url(), async || RedisTarget::new(&other.url()).expect("a URL"));
}

#[test]
fn a_database_that_is_none_is_refused() {
    let folder = shop();
    assert!(folder.run(&["projections", "--database", "mysql:orders"]).failed(2).contains("sqlite:PATH"));
}
