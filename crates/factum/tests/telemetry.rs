//! What the metrics and spans say is what happened: read back through the SDK, as an exporter would, and through a subscriber.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use factum::{Decider, Decision, Event, Repository, Snapshots, connect};
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
                    assert!(point.attributes().any(|pair| pair.value.as_str() == "Tally"), "{}", metric.name());
                    *values.entry(metric.name().to_owned()).or_default() += point.value();
                    if let Some(from) = point.attributes().find(|pair| pair.key.as_str() == "factum.from") {
                        values.insert(format!("{} {}", metric.name(), from.value), point.value());
                    }
                }
            }
            AggregatedMetrics::F64(MetricData::Histogram(histogram)) => {
                let count = histogram.data_points().map(|point| point.count()).sum();
                values.insert(metric.name().to_owned(), count);
            }
            _ => panic!("{} is of another kind", metric.name()),
        }
    }
    values
}

/// One test, one after the other: metrics and subscribers are of the whole process.
#[tokio::test]
async fn metrics_and_spans_say_what_happened() {
    metrics_say_what_happened().await;
    spans_say_what_a_command_did().await;
}

async fn metrics_say_what_happened() {
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

async fn spans_say_what_a_command_did() {
    let buffer = Buffer::default();
    let writer = buffer.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_span_events(FmtSpan::CLOSE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let store = connect("memory:").await.expect("it opens");
    let (one, other) = (Repository::<Tally>::new(store.clone()), Repository::<Tally>::new(store));
    one.execute("1", ()).await.expect("it is counted");
    other.execute("1", ()).await.expect("it is counted");
    one.execute("1", ()).await.expect("it is counted, after a conflict");

    let text = String::from_utf8(buffer.0.lock().expect("no holder of this lock panics").clone()).expect("it is text");
    let closed = |span: &str| text.lines().filter(|line| line.contains(span) && line.contains("close")).count();
    assert_eq!(closed("command{stream=Tally-1 outcome=\"recorded\" conflicts=0}: "), 2, "{text}");
    assert_eq!(closed("command{stream=Tally-1 outcome=\"recorded\" conflicts=1}: "), 1, "{text}");
    assert_eq!((closed("}:load:"), closed("}:append:")), (4, 4), "{text}");
    assert!(text.contains("a command met a conflict"), "{text}");
}
