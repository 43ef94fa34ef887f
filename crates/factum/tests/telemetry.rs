//! What the metrics and spans say is what happened: read back through the SDK, as an exporter would, and through a subscriber.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use factum::{
    Backoff, Decider, Decision, Event, EventStoreExt, ExpectedVersion, Group, NewEvent, Processor, RecordedEvent, Repository, Snapshots,
    StreamId, connect,
};
use opentelemetry::global;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};
use serde::{Deserialize, Serialize};
use tracing_subscriber::fmt::format::FmtSpan;

struct Tally;

#[derive(Debug, Serialize, Deserialize)]
struct Counted;
impl Event for Counted {}

impl Decider for Tally {
    const CATEGORY: &'static str = "Tally";
    type State = u64;
    type Command = ();
    type Event = Counted;
    type Reply = ();
    type Error = std::convert::Infallible;

    fn decide(_: &u64, (): &()) -> Result<Decision<Counted>, Self::Error> {
        Ok(Decision::of([Counted, Counted]))
    }

    fn evolve(state: &mut u64, _: &Counted) {
        *state += 1;
    }
}

/// Sums of counters and counts of histograms, by name and then by the value of one attribute.
fn read(exporter: &InMemoryMetricExporter, provider: &SdkMeterProvider) -> HashMap<String, u64> {
    provider.force_flush().expect("the reader is there");
    let all = exporter.get_finished_metrics().expect("they are in memory");
    let last = all.last().expect("there is an export");
    let mut values = HashMap::new();
    for metric in last.scope_metrics().filter(|scope| scope.scope().name() == "factum").flat_map(|scope| scope.metrics()) {
        match metric.data() {
            AggregatedMetrics::U64(MetricData::Sum(sum)) => {
                for point in sum.data_points() {
                    assert!(point.attributes().any(|pair| ["Tally", "letters"].contains(&&*pair.value.as_str())), "{}", metric.name());
                    *values.entry(metric.name().to_owned()).or_default() += point.value();
                    if let Some(from) = point.attributes().find(|pair| pair.key.as_str() == "factum.from") {
                        values.insert(format!("{} {}", metric.name(), from.value), point.value());
                    }
                }
            }
            AggregatedMetrics::F64(MetricData::Histogram(histogram)) => {
                for point in histogram.data_points() {
                    *values.entry(metric.name().to_owned()).or_default() += point.count();
                    if let Some(outcome) = point.attributes().find(|pair| pair.key.as_str() == "factum.outcome") {
                        values.insert(format!("{} {}", metric.name(), outcome.value), point.count());
                    }
                }
            }
            AggregatedMetrics::U64(MetricData::Gauge(gauge)) => {
                for point in gauge.data_points() {
                    assert!(point.attributes().any(|pair| pair.value.as_str() == "letters"), "{}", metric.name());
                    values.insert(metric.name().to_owned(), point.value());
                }
            }
            _ => panic!("{} is of another kind", metric.name()),
        }
    }
    values
}

/// One test, one after the other: metrics and subscribers are of the whole process.
#[tokio::test]
async fn metrics_and_spans_say_what_happened() {
    let (exporter, provider) = metrics_say_what_happened().await;
    metrics_say_how_a_group_is_doing(&exporter, &provider).await;
    metrics_are_those_that_are_documented(&exporter);
    spans_say_what_a_command_did().await;
    spans_say_what_handlers_did().await;
}

async fn metrics_say_what_happened() -> (InMemoryMetricExporter, SdkMeterProvider) {
    let exporter = InMemoryMetricExporter::default();
    let provider = SdkMeterProvider::builder().with_reader(PeriodicReader::builder(exporter.clone()).build()).build();
    global::set_meter_provider(provider.clone());

    let store = connect("memory:").await.expect("it opens");
    let one = Repository::<Tally>::new(store.clone());
    for _ in 0..3 {
        one.execute("1", ()).await.expect("it is counted");
    }
    // Another one folds all six, and the first then meets a conflict, and folds two.
    let other = Repository::<Tally>::new(store.clone()).snapshots(Snapshots::on_demand());
    other.execute("1", ()).await.expect("it is counted");
    assert_eq!(one.execute("1", ()).await.expect("it is counted").conflicts, 1);
    // A third begins with a snapshot of all ten.
    other.snapshot("1").await.expect("it is taken");
    Repository::<Tally>::new(store).snapshots(Snapshots::on_demand()).get("1").await.expect("it is read");

    let values = read(&exporter, &provider);
    let expected = [
        ("factum.append.events", 10),
        ("factum.append.duration", 5),
        ("factum.conflicts", 1),
        ("factum.loads events", 3),
        ("factum.loads cache", 3),
        ("factum.loads snapshot", 1),
        ("factum.snapshot.hits", 1),
        ("factum.events.folded", 6 + 2 + 10),
    ];
    for (name, value) in expected {
        assert_eq!(values.get(name), Some(&value), "{name} in {values:?}");
    }
    (exporter, provider)
}

/// Of five events one is parked after two attempts. While the last is in hand the group is behind, and then it is not.
async fn metrics_say_how_a_group_is_doing(exporter: &InMemoryMetricExporter, provider: &SdkMeterProvider) {
    let store = connect("memory:").await.expect("it opens");
    for number in 1..=5 {
        let stream = StreamId::new(format!("Letter-{number}")).expect("a short text");
        let event = NewEvent::json("Written", &number).expect("it is JSON");
        store.append_to(&stream, ExpectedVersion::NoStream, vec![event]).await.expect("it is recorded");
    }
    let (last, may_end) = tokio::sync::watch::channel(false);
    let handler = move |event: RecordedEvent| {
        let mut may_end = may_end.clone();
        async move {
            match event.stream.as_str() {
                "Letter-2" => return Err("no such address".into()),
                "Letter-5" => drop(may_end.wait_for(|may| *may).await?),
                _ => {}
            }
            Ok(())
        }
    };
    let retry = Backoff { attempts_max: 2, first: Duration::from_millis(1), ..Backoff::default() };
    let group = Group::new(store, "letters").lease(Duration::from_millis(100)).retry(retry).otherwise(handler);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(group.run_until(stopped));
    let say = async |what: &dyn Fn(&HashMap<String, u64>) -> bool| {
        let begun = std::time::Instant::now();
        loop {
            let values = read(exporter, provider);
            if what(&values) {
                return values;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{values:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let is = |values: &HashMap<String, u64>, name: &str, value| values.get(name) == Some(&value);
    say(&|values| is(values, "factum.parked", 1) && values.get("factum.reader.lag").is_some_and(|lag| *lag > 0)).await;
    last.send(true).expect("the handler waits");
    let values = say(&|values| is(values, "factum.reader.lag", 0)).await;
    assert!(is(&values, "factum.handler.duration done", 4) && is(&values, "factum.handler.duration failed", 2), "{values:?}");
    stop.send(()).expect("it runs");
    running.await.expect("it does not panic").expect("it stops in order");
}

/// Names and units, as the table in the documentation has them.
fn metrics_are_those_that_are_documented(exporter: &InMemoryMetricExporter) {
    let all = exporter.get_finished_metrics().expect("they are in memory");
    let scopes = all.iter().flat_map(|one| one.scope_metrics()).filter(|scope| scope.scope().name() == "factum");
    let unit = |unit: &str| unit.strip_prefix('{').and_then(|unit| unit.strip_suffix('}')).map_or(unit.to_owned(), |one| format!("{one}s"));
    let told: BTreeMap<_, _> = scopes.flat_map(|scope| scope.metrics()).map(|one| (one.name().to_owned(), unit(one.unit()))).collect();
    let rows = include_str!("../../../docs/observability.md").lines().filter(|line| line.starts_with("| `factum."));
    let columns = rows.map(|row| row.split('|').map(|column| column.trim().trim_matches('`').to_owned()).collect::<Vec<_>>());
    let documented: BTreeMap<_, _> = columns.map(|row| (row[1].clone(), row[3].clone())).collect();
    assert_eq!(told, documented);
}

/// Where a subscriber writes.
#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no holder of this lock panics").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A subscriber, for as long as the guard is there, and what it has written.
fn subscriber() -> (tracing::subscriber::DefaultGuard, impl Fn() -> String) {
    let buffer = Buffer::default();
    let writer = buffer.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_span_events(FmtSpan::CLOSE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let text = move || String::from_utf8(buffer.0.lock().expect("no holder of this lock panics").clone()).expect("it is text");
    (tracing::subscriber::set_default(subscriber), text)
}

async fn spans_say_what_a_command_did() {
    let (_guard, text) = subscriber();

    let store = connect("memory:").await.expect("it opens");
    let (one, other) = (Repository::<Tally>::new(store.clone()), Repository::<Tally>::new(store));
    one.execute("1", ()).await.expect("it is counted");
    other.execute("1", ()).await.expect("it is counted");
    one.execute("1", ()).await.expect("it is counted, after a conflict");

    let text = text();
    let closed = |span: &str| text.lines().filter(|line| line.contains(span) && line.contains("close")).count();
    assert_eq!(closed("command{stream=Tally-1 outcome=\"recorded\" conflicts=0}: "), 2, "{text}");
    assert_eq!(closed("command{stream=Tally-1 outcome=\"recorded\" conflicts=1}: "), 1, "{text}");
    assert_eq!((closed("}:load:"), closed("}:append:")), (4, 4), "{text}");
    assert!(text.contains("a command met a conflict"), "{text}");
}

/// A command of a handler stands in its handler's span.
async fn spans_say_what_handlers_did() {
    let (_guard, text) = subscriber();
    let store = connect("memory:").await.expect("it opens");
    let one = Arc::new(Repository::<Tally>::new(store.clone()));
    one.execute("1", ()).await.expect("it is counted");
    let handler = move |event: RecordedEvent| {
        let one = one.clone();
        async move {
            _ = match event.version.get() {
                1 => one.execute("2", ()).await?,
                _ => return Err("it can't be read".into()),
            };
            Ok(())
        }
    };
    let mut letters = Processor::new(store, "letters").retry(Backoff::ONCE).otherwise(handler);
    letters.run_to_end().await.expect_err("it stops at the second event");

    let text = text();
    let closed = |span: &str| text.lines().filter(|line| line.contains(span) && line.contains("close")).count();
    let of_first = "handle{reader=\"letters\" stream=Tally-1 position=1";
    assert_eq!(closed(&format!("{of_first} outcome=\"done\"}}: ")), 1, "{text}");
    assert_eq!(closed("handle{reader=\"letters\" stream=Tally-1 position=2 outcome=\"failed\"}: "), 1, "{text}");
    let command = "command{stream=Tally-2 outcome=\"recorded\" conflicts=0}: ";
    assert_eq!(closed(&format!("{of_first}}}:{command}")), 1, "{text}");
}
