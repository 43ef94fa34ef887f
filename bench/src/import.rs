//! `factum import` of a large file, beside parsing the same lines and doing nothing with them.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::Outcome;
use crate::report::{Figure, Report, Row};
use crate::sample::{PAYLOAD_BYTES, Sample};
use crate::workbench::Workbench;

const LINES: u64 = 1_000_000;
const STREAMS: u64 = 10_000;

/// What a line says, parsed as the import does: with the data checked and left as it stands.
#[derive(Debug, Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    stream: &'a RawValue,
    #[serde(borrow, rename = "type")]
    event_type: &'a RawValue,
    #[serde(borrow)]
    data: &'a RawValue,
}

pub(crate) fn measure(workbench: &mut Workbench, report: &mut Report) -> Outcome {
    let (url, Some(_)) = workbench.url("imported") else { return Ok(()) };
    let file = workbench.folder().join("events.jsonl");
    write(&file)?;
    // Reading it once before, so that neither pays for the disk; and parsing before and after, since machines drift.
    parse(&file)?;
    let before = parse(&file)?;
    let imported = import(&file, &url)?;
    let parsed = f64::midpoint(before, parse(&file)?);
    let row = Row::new("factum import", Figure::EventsPerSecond(imported));
    report.add(row.beside("parsing alone", Figure::EventsPerSecond(parsed)).at_least(0.5));
    std::fs::remove_file(&file)?;
    Ok(())
}

fn write(path: &Path) -> Outcome {
    let sample = Sample::new(STREAMS, PAYLOAD_BYTES);
    let mut file = BufWriter::new(File::create(path)?);
    for number in 0..LINES {
        let event = sample.event(number);
        let stream = sample.stream(number % STREAMS);
        write!(file, r#"{{"stream":"{stream}","type":"{}","data":"#, event.event_type)?;
        file.write_all(&event.data)?;
        file.write_all(b"}\n")?;
    }
    file.into_inner()?.sync_all()?;
    Ok(())
}

/// How many lines per second are parsed.
fn parse(path: &Path) -> Outcome<f64> {
    let mut file = BufReader::with_capacity(256 << 10, File::open(path)?);
    let mut text = String::new();
    let start = Instant::now();
    let mut lines = 0;
    while file.read_line(&mut text)? > 0 {
        let Line { stream, event_type, data } = serde_json::from_str(&text)?;
        std::hint::black_box((stream, event_type, data));
        text.clear();
        lines += 1;
    }
    Ok(f64::from(lines) / start.elapsed().as_secs_f64())
}

/// How many events per second the command line imports, its start and its end included.
fn import(path: &Path, url: &str) -> Outcome<f64> {
    let program = beside_this("factum")?;
    let start = Instant::now();
    let status = Command::new(&program).args(["--store", url, "import"]).arg(path).stdout(Stdio::null()).status()?;
    if !status.success() {
        return Err(format!("{} import failed: {status}", program.display()).into());
    }
    Ok(LINES as f64 / start.elapsed().as_secs_f64())
}

fn beside_this(name: &str) -> Outcome<PathBuf> {
    let program = std::env::current_exe()?.with_file_name(name);
    if program.exists() { Ok(program) } else { Err(format!("{} is not built; `cargo xtask bench` does that", program.display()).into()) }
}
