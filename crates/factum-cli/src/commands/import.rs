//! `factum import`: JSON lines into a store, durable, in order, and safe to repeat.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::pin::pin;
use std::time::{Duration, Instant};

use clap::Args;
use factum::{Error, Limits, StreamReceipt};
use indicatif::ProgressBar;

use crate::console::{Console, counted, grouped};
use crate::failure::Failure;
use crate::import::{Chunk, Item, Reader, Rejection};
use crate::sequence::{OnConflict, Refusal, Sequence, Standing};
use crate::store_url;

const EXAMPLES: &str = "\
Examples:
  factum import orders.jsonl
  zcat orders.jsonl.gz | factum import -
  factum import orders.jsonl --keep-going        import what is good, list what is not
  factum import orders.jsonl --dry-run           only check the file
  tail -f orders.jsonl | factum import - --receipts

Each line is an object:
  {\"stream\":\"Order-1\",\"type\":\"OrderPlaced\",\"data\":{...}}    and, where there are any:
  \"id\"        a UUID, unique within the stream; without one it is made of what the line says, and which of equal lines it is
  \"time\"      RFC 3339: when it happened, kept as occurred_at (\"occurred_at\" is read as well)
  \"metadata\"  any JSON
  \"tags\"      a list of strings
  \"data_base64\", \"metadata_base64\"    instead of data and metadata: bytes that are not JSON
Data and metadata are kept to the byte. position, version and recorded_at are given by the store, whatever a line says;
other fields are not kept, and a remark says so.

Importing again records nothing twice, so an import that was stopped is simply started again. An id that stands in its
stream with other content is rejected. The log keeps the order of the lines. Without --keep-going the import stops at the
first line that can't be recorded; all lines before it are on disk.

What has come is on disk soon after the input goes quiet. --receipts says of each line where it stands, as soon as it is on disk:
{\"line\",\"last_line\",\"stream\",\"version\",\"last_version\",\"position\",\"last_position\",\"duplicate\"}, one object for lines of one stream
that came one after another.

With --json it ends with {\"imported\",\"duplicates\",\"rejected\"}. The exit code is 1 if any line was rejected.";

/// When nothing has come for so long, the input is quiet.
const QUIET: Duration = Duration::from_millis(5);

/// Import events from JSON lines; they are on disk when the command returns
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Import {
    /// The file, or - for standard input
    #[arg(value_name = "FILE")]
    file: String,
    /// Go on after lines that can't be recorded
    #[arg(long)]
    keep_going: bool,
    /// Only read and check the lines, without a store
    #[arg(long)]
    dry_run: bool,
    /// Say where each event stands, as soon as it is on disk
    #[arg(long, conflicts_with = "dry_run")]
    receipts: bool,
}

pub(crate) async fn run(import: Import, url: &str, console: &mut Console<'_>) -> Result<(), Failure> {
    let (input, bytes) = open(&import.file, console)?;
    let begun = Instant::now();
    if import.dry_run {
        let bar = console.bytes_bar(bytes, "checking");
        let reader = start(input, Limits::default())?;
        let mut importer = Importer { import: &import, bar, rejected: 0, unknown_said: false, sequence: None, checked: 0 };
        importer.read_all(reader, console).await?;
        return importer.end(begun, console);
    }
    let (store, made) = store_url::open_to_write(url).await?;
    if made && !console.json {
        console.note(format_args!("made a new store: {url}"));
    }
    let bar = console.bytes_bar(bytes, "importing");
    let on_conflict = if import.keep_going { OnConflict::SortOutAll } else { OnConflict::SortOutUntilRefused };
    let reader = start(input, store.capabilities().limits)?;
    let mut sequence = Sequence::new(&*store, on_conflict).await?;
    sequence.receipts = import.receipts.then(Vec::new);
    let mut importer = Importer { import: &import, bar, rejected: 0, unknown_said: false, sequence: Some(sequence), checked: 0 };
    importer.read_all(reader, console).await?;
    let outcome = importer.end(begun, console);
    drop(importer);
    store.close().await?;
    outcome
}

fn open(file: &str, console: &mut Console<'_>) -> Result<(Box<dyn Read + Send>, Option<u64>), Failure> {
    if file == "-" {
        if io::stdin().is_terminal() {
            console.note("reading events from the terminal, one JSON object per line; Ctrl-D ends");
        }
        return Ok((Box::new(io::stdin()), None));
    }
    let cannot = |error: &dyn std::fmt::Display| Failure::could_not(format!("can't read {file}: {error}"));
    let opened = File::open(file).map_err(|error| cannot(&error))?;
    let about = opened.metadata().map_err(|error| cannot(&error))?;
    if about.is_dir() {
        return Err(cannot(&"it is a directory; name a file of JSON lines, or - for standard input"));
    }
    Ok((Box::new(opened), about.is_file().then_some(about.len())))
}

fn start(input: Box<dyn Read + Send>, limits: Limits) -> Result<Reader, Failure> {
    Reader::start(input, limits).map_err(|error| Failure::could_not(format!("can't start to read: {error}")))
}

struct Importer<'a> {
    import: &'a Import,
    bar: ProgressBar,
    rejected: u64,
    unknown_said: bool,
    /// `None` where nothing is recorded.
    sequence: Option<Sequence<'a>>,
    /// The events of a dry run.
    checked: u64,
}

impl Importer<'_> {
    /// Reads to the end, or to the line that can't be recorded.
    async fn read_all(&mut self, mut reader: Reader, console: &mut Console<'_>) -> Result<(), Failure> {
        let mut going_on = true;
        while going_on {
            let chunk = match self.next_of(&mut reader, console).await? {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                Err(error) => {
                    self.finish(console).await?;
                    return Err(Failure::could_not(format!("can't read {} any further: {error}", self.import.file)));
                }
            };
            going_on = self.take(chunk, console).await?;
        }
        self.finish(console).await
    }

    /// What is read next. If it is long in coming, what has come is brought to disk meanwhile.
    async fn next_of(&mut self, reader: &mut Reader, console: &mut Console<'_>) -> Result<io::Result<Option<Chunk>>, Failure> {
        let mut next = pin!(reader.next());
        match tokio::time::timeout(QUIET, &mut next).await {
            Ok(next) => Ok(next),
            Err(_quiet) => {
                self.finish(console).await?;
                Ok(next.await)
            }
        }
    }

    /// Records a chunk, and says whether to go on.
    async fn take(&mut self, chunk: Chunk, console: &mut Console<'_>) -> Result<bool, Failure> {
        if let Some((line, name)) = chunk.unknown.filter(|_| !self.unknown_said) {
            self.unknown_said = true;
            let note = format!("note: line {line} has the field {name:?}, which is not kept; put it into data or metadata (said once)");
            self.bar.suspend(|| console.note(note));
        }
        for item in chunk.items {
            match item {
                Item::Proposal(proposal) => match &mut self.sequence {
                    None => self.checked += 1,
                    Some(sequence) => {
                        if let Err(error) = sequence.push(proposal).await {
                            return Err(self.broken_off(error));
                        }
                    }
                },
                Item::Rejected(rejection) => {
                    // Refusals of lines before this one are said before it.
                    self.finish(console).await?;
                    if self.is_going_on() {
                        self.reject(&rejection, console);
                    }
                }
            }
            self.reject_refused(console);
            if !self.is_going_on() {
                return Ok(false);
            }
        }
        self.say_receipts(console)?;
        self.bar.set_position(chunk.consumed);
        Ok(true)
    }

    /// Waits until everything pushed so far is on disk.
    async fn finish(&mut self, console: &mut Console<'_>) -> Result<(), Failure> {
        if let Some(sequence) = &mut self.sequence
            && let Err(error) = sequence.finish().await
        {
            return Err(self.broken_off(error));
        }
        self.say_receipts(console)?;
        self.reject_refused(console);
        Ok(())
    }

    fn say_receipts(&mut self, console: &mut Console<'_>) -> Result<(), Failure> {
        let receipts = self.sequence.as_mut().and_then(|sequence| sequence.receipts.as_mut()).map(std::mem::take).unwrap_or_default();
        for Standing { origins: [line, last_line], receipt, duplicate } in receipts {
            let StreamReceipt { stream, first_version, last_version, first_position, last_position } = receipt;
            console.line(format_args!(
                "{{\"line\":{line},\"last_line\":{last_line},\"stream\":{},\"version\":{first_version},\"last_version\":{last_version},\
                 \"position\":{first_position},\"last_position\":{last_position},\"duplicate\":{duplicate}}}",
                serde_json::Value::from(stream.as_str()),
            ))?;
        }
        console.out.flush()?;
        Ok(())
    }

    fn reject_refused(&mut self, console: &mut Console<'_>) {
        let refused = self.sequence.as_mut().map(|sequence| std::mem::take(&mut sequence.refused)).unwrap_or_default();
        for Refusal { origin, error } in refused {
            self.reject(&Rejection { line: origin, reason: error.to_string() }, console);
        }
    }

    fn reject(&mut self, rejection: &Rejection, console: &mut Console<'_>) {
        self.rejected += 1;
        let Rejection { line, reason } = rejection;
        let what_next = if self.import.keep_going { "" } else { "; stopped there, correct it or use --keep-going" };
        let said = format!("{} {} line {line}: {reason}{what_next}", console.error_word(), self.import.file);
        self.bar.suspend(|| console.note(said));
    }

    fn is_going_on(&self) -> bool {
        self.import.keep_going || self.rejected == 0
    }

    /// The store can't go on: what is on disk, and how to resume.
    fn broken_off(&mut self, error: Error) -> Failure {
        self.bar.finish_and_clear();
        let done = self.sequence.as_ref().map_or(0, |sequence| sequence.recorded);
        Failure::could_not(format!("{error}; {} imported so far, the same import again goes on from there", counted(done, "event")))
    }

    /// Says what was done.
    fn end(&self, begun: Instant, console: &mut Console<'_>) -> Result<(), Failure> {
        self.bar.finish_and_clear();
        let (imported, duplicates) = self.sequence.as_ref().map_or((0, 0), |sequence| (sequence.recorded, sequence.duplicates));
        let rejected = self.rejected;
        if console.json {
            let checked = if self.import.dry_run { format!(",\"checked\":{}", self.checked) } else { String::new() };
            console.line(format_args!("{{\"imported\":{imported},\"duplicates\":{duplicates},\"rejected\":{rejected}{checked}}}"))?;
        } else {
            let seconds = begun.elapsed().as_secs_f64();
            let (verb, events) = if self.import.dry_run { ("checked", self.checked) } else { ("imported", imported) };
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "a rate to be read by people"
            )]
            let rate = ((imported + duplicates + self.checked) as f64 / seconds) as u64;
            let mut told = format!("{verb} {}", counted(events, "event"));
            if duplicates > 0 {
                told.push_str(&format!(", {} had been imported before", grouped(duplicates)));
            }
            if rejected > 0 {
                told.push_str(&format!(", {}", console.look.bad(format!("{} rejected", grouped(rejected)))));
            }
            let pace = console.look.faint(format!("({seconds:.2} s, {} per second)", grouped(rate)));
            console.line(format_args!("{told} {pace}"))?;
        }
        if rejected > 0 { Err(Failure::Said) } else { Ok(()) }
    }
}
