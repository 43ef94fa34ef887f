//! A process that appends from many tasks at once, and compacts its log meanwhile, is killed with SIGKILL at random moments, again and
//! again, on one store. What it had acknowledged, and told this process through a pipe, must be there each time, and nothing by halves.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use factum::backend::embedded::{Embedded, EmbeddedOptions, verify};
use factum::{
    Append, Error, EventStoreExt, ExpectedVersion, NewEvent, ReadLog, RecordName, RecordWrite, RecordedEvent, SharedStore, StreamId,
    connect,
};
use futures::TryStreamExt;
use libtest_mimic::{Arguments, Failed, Trial};

/// Where the child finds its store.
const DIRECTORY: &str = "FACTUM_KILL_DIRECTORY";
const ROUNDS: u64 = 30;
const WRITERS: u64 = 16;

fn main() -> ExitCode {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().expect("a runtime");
        runtime.block_on(load(Path::new(&directory))).expect("the load runs until it is killed");
        return ExitCode::FAILURE;
    }
    let trial = Trial::test("what_was_acknowledged_survives_kill_9", || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(survive()).map_err(|error| Failed::from(error.to_string()))
    });
    libtest_mimic::run(&Arguments::from_args(), vec![trial]).exit_code()
}

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The child: appends until it is killed, and says what was acknowledged, a line each: the kind, the stream, and the version.
async fn load(directory: &Path) -> Outcome<()> {
    // The files are small, so that some are compacted at any time.
    let options = EmbeddedOptions { segment_bytes_max: 1 << 16, dead_percent_max: 10, ..EmbeddedOptions::default() };
    let store: SharedStore = Arc::new(Embedded::open(directory, options)?);
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let store = store.clone();
        writers.spawn(async move { append_for_ever(&store, writer).await });
    }
    while let Some(ended) = writers.join_next().await {
        ended??;
    }
    Ok(())
}

async fn append_for_ever(store: &SharedStore, writer: u64) -> Outcome<()> {
    let own = StreamId::new(format!("Own-{writer}"))?;
    let shared = [StreamId::new("Shared-1")?, StreamId::new("Shared-2")?];
    let record = RecordName::new(format!("writer/{writer}"))?;
    let mut version = store.version(&own).await?;
    for turn in 0u64.. {
        let receipt = match turn % 4 {
            // Several events at once, at an exact version.
            0 | 1 => {
                let events = (1..=3).map(|step| event(&own, version.get() + step)).collect();
                store.append_to(&own, ExpectedVersion::Exact(version), events).await?
            }
            // Two streams at once, which all writers write to.
            2 => {
                let [first, second] = [&shared[0], &shared[1]].map(|stream| (stream.clone(), [event(stream, 0)]));
                let append = Append::to(first.0, first.1).and_to(second.0, ExpectedVersion::Any, second.1);
                store.append(append).await?
            }
            _ => {
                let value = version.to_string();
                let written = store.write_record(RecordWrite::set(record.clone(), padded(&value))).await?;
                say(&format!("record {record} {written} {value}"))?;
                continue;
            }
        };
        for part in &receipt.streams {
            say(&format!("stream {} {} {}", part.stream, part.last_version, part.last_position))?;
            if part.stream == own {
                version = part.last_version;
            }
        }
    }
    Ok(())
}

/// A record's value, long enough that much of the log is dead when it is overwritten.
fn padded(value: &str) -> String {
    format!("{value:1500}")
}

/// An event whose content says where it belongs.
fn event(stream: &StreamId, version: u64) -> NewEvent {
    NewEvent::json("Written", &(stream.as_str(), version, "x".repeat((version % 700) as usize))).expect("it can be written")
}

/// One line at a time, whole: standard output is locked while it is written.
fn say(line: &str) -> Outcome<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

/// What the child said was acknowledged.
#[derive(Default)]
struct Acknowledged {
    /// Of each stream the highest version, and its position.
    streams: HashMap<String, (u64, u64)>,
    records: HashMap<String, (u64, String)>,
}

async fn survive() -> Outcome<()> {
    let directory = tempfile::tempdir()?;
    let mut seed = SystemTime::now().duration_since(UNIX_EPOCH)?.subsec_nanos().into();
    println!("seed {seed}");
    let mut acknowledged = Acknowledged::default();
    let mut lines = 0;
    // On a busy machine a child is killed before it has made a store.
    drop(Embedded::open(directory.path(), EmbeddedOptions::default())?);
    for round in 0..ROUNDS {
        lines += kill_one(directory.path(), &mut seed, &mut acknowledged)?;
        let report = verify(directory.path(), &mut |_| {})?;
        if !report.problems.is_empty() {
            return Err(format!("round {round}: {:?}", report.problems).into());
        }
        // A reader that comes before anyone has repaired anything sees it all, and so does the next writer.
        for options in ["?read_only=true", ""] {
            let store = connect(&format!("file:{}{options}", directory.path().display())).await?;
            check(&store, &acknowledged).await.map_err(|error| format!("round {round} {options}: {error}"))?;
            store.close().await?;
        }
    }
    let (streams, records) = (acknowledged.streams.len(), acknowledged.records.len());
    let compacted = compacted_segments(directory.path())?;
    println!("{lines} acknowledgements in {ROUNDS} rounds, of {streams} streams and {records} records; {compacted} files were compacted");
    if lines < ROUNDS { Err("the load hardly ran".into()) } else { Ok(()) }
}

/// How many complete files of the log are shorter than they were written.
fn compacted_segments(directory: &Path) -> Outcome<usize> {
    let sizes = std::fs::read_dir(directory.join("log"))?.map(|file| Ok(file?.metadata()?.len())).collect::<Outcome<Vec<u64>>>()?;
    Ok(sizes.iter().filter(|bytes| (20_000..58_000).contains(*bytes)).count())
}

/// Runs the child, kills it after a random time, and takes down what it said. Returns how many lines that were.
fn kill_one(directory: &Path, seed: &mut u64, acknowledged: &mut Acknowledged) -> Outcome<u64> {
    let mut child = Command::new(std::env::current_exe()?).env(DIRECTORY, directory).stdout(Stdio::piped()).spawn()?;
    let out = BufReader::new(child.stdout.take().ok_or("the child has an output")?);
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    let pause = Duration::from_micros(2_000 + (*seed >> 33) % 250_000);
    let killer = std::thread::spawn(move || {
        std::thread::sleep(pause);
        child.kill()?;
        child.wait().map(drop)
    });
    let mut count = 0;
    for line in out.lines() {
        let line = line?;
        let mut words = line.split(' ');
        let mut word = || words.next().unwrap_or_default().to_owned();
        // The last line may be cut off: then it was not said.
        match word().as_str() {
            "stream" => {
                let (stream, version, position) = (word(), word().parse(), word().parse());
                if let (Ok(version), Ok(position)) = (version, position) {
                    let known = acknowledged.streams.entry(stream).or_default();
                    *known = (*known).max((version, position));
                    count += 1;
                }
            }
            "record" => {
                let (name, version, value) = (word(), word().parse(), word());
                if let (Ok(version), false) = (version, value.is_empty()) {
                    acknowledged.records.insert(name, (version, value));
                    count += 1;
                }
            }
            _ => {}
        }
    }
    killer.join().map_err(|_| "the killer panicked")??;
    Ok(count)
}

async fn check(store: &SharedStore, acknowledged: &Acknowledged) -> Outcome<()> {
    let log: Vec<RecordedEvent> = store.read_log(ReadLog::default()).try_collect().await?;
    let mut versions: HashMap<&str, u64> = HashMap::new();
    for (event, position) in log.iter().zip(1..) {
        let version = versions.entry(event.stream.as_str()).or_default();
        *version += 1;
        if (event.position.number(), event.version.get()) != (position, *version) {
            return Err(format!("position {position}, version {version} of {}: found {event:?}", event.stream).into());
        }
        let (stream, said, _): (String, u64, String) = event.json()?;
        if event.stream != stream.as_str() || (said != 0 && said != *version) {
            return Err(format!("the content of {} version {version} is another event's", event.stream).into());
        }
    }
    if versions.get("Shared-1") != versions.get("Shared-2") {
        return Err("an append over two streams is there by halves".into());
    }
    if versions.iter().any(|(stream, version)| stream.starts_with("Own-") && version % 3 != 0) {
        return Err("an append of three events is there by halves".into());
    }
    for (stream, (version, position)) in &acknowledged.streams {
        let found = versions.get(stream.as_str()).copied().unwrap_or_default();
        let head = log.len() as u64;
        if found < *version || head < *position {
            return Err(format!(
                "{stream} version {version} at {position} was acknowledged; there are {found}, and the log ends at {head}"
            )
            .into());
        }
        let read = store.load(&StreamId::new(stream)?).await?;
        if read.len() as u64 != found {
            return Err(format!("{stream} has {found} events in the log, and {} when it is read", read.len()).into());
        }
    }
    for (name, (version, value)) in &acknowledged.records {
        let record = store.record(&RecordName::new(name)?).await?.ok_or_else(|| format!("record {name} is missing"))?;
        if record.version.get() < *version || (record.version.get() == *version && record.value != padded(value).as_bytes()) {
            return Err(format!("record {name} was acknowledged at version {version} with {value}; found {record:?}").into());
        }
    }
    match store.stream(&StreamId::new("Nobody-1")?).await {
        Ok(None) => Ok(()),
        Ok(Some(info)) => Err(format!("{info:?} was never written").into()),
        Err(error @ Error::Corrupt { .. }) => Err(error.into()),
        Err(error) => Err(error.into()),
    }
}
