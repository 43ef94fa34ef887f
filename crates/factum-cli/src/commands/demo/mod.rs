//! `factum demo`: a shop's orders, from a file to a store, with what can go wrong and what can be asked. Every command is really run.

mod orders;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Args, Parser};
use factum::Uuid;

use crate::arguments::Arguments;
use crate::commands;
use crate::console::{Console, counted};
use crate::failure::Failure;
use crate::store_url;

use orders::{Orders, Story};

const EXAMPLES: &str = "\
Examples:
  factum demo
  factum demo --dir ./shop                       keep the store there";

/// The question that the demo asks of events that were not made for it.
const HOURS_FOLD: &str = "\
# How many hours an order took from being placed to being delivered.
def hours: sub(\"\\\\.[0-9]+\"; \"\") | fromdateiso8601 / 3600;
if .event.type == \"OrderPlaced\" then {placed: (.event.occurred_at | hours)}
elif .event.type == \"OrderDelivered\" then {hours: ((.event.occurred_at | hours) - .state.placed | round)}
else .state end
";

/// Watch it work: make a store of made-up orders, and see conflicts, retries, replays and a check
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Demo {
    /// Where to make it: a directory that is empty or not there [default: a new one for temporary files]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(crate) async fn run(demo: Demo, console: &mut Console<'_>) -> Result<(), Failure> {
    let directory = make_directory(demo.dir)?;
    let begun = Instant::now();
    let Orders { lines, events, story } = orders::made_up();
    write_file(&directory, "orders.jsonl", &lines)?;
    write_file(&directory, "hours.jq", HOURS_FOLD)?;
    // From here on every command is as a user would type it there.
    std::env::set_current_dir(&directory).map_err(|error| Failure::could_not(format!("can't go to {}: {error}", directory.display())))?;

    let mut stage = Stage { console, commands: 0 };
    stage.say(&format!(
        "A small shop's orders in March: {} in orders.jsonl, in {}",
        counted(events as u64, "event"),
        directory.display()
    ))?;
    stage.act(&["import", "orders.jsonl"]).await?;
    stage.act_head(&["log", "--backward"], 4).await?;
    the_story(&mut stage, &story).await?;

    stage.say(
        "A question that nobody had in mind when these events were recorded: hours from order to delivery (hours.jq, a fold in jq).",
    )?;
    stage.act_head(&["replay", "--category", "Order", "--fold", "hours.jq", "--json"], 3).await?;

    stage.say("Is everything as it was written? Every byte is checked: checksums, order, versions, the index against the log.")?;
    stage.act(&["verify"]).await?;
    stage.act(&["stats"]).await?;
    let commands = stage.commands;
    go_on(console, &directory, &story, commands, begun.elapsed())
}

/// One order: a conflict, a retry, and what it looked like before.
async fn the_story(stage: &mut Stage<'_, '_>, story: &Story) -> Result<(), Failure> {
    let Story { stream, version, before_the_change } = story;
    stage.say(&format!("{stream} is a stream. Its events are facts: they are added, and never changed."))?;
    stage.act(&["read", stream]).await?;

    let (expect, id) = (version.to_string(), Uuid::new_v5(&Uuid::NAMESPACE_OID, b"demo rating").to_string());
    stage.say(&format!("Two people look at version {version} of it. One records a rating..."))?;
    let rating = ["append", stream, "--type", "OrderRated", "--data", r#"{"rating": 5}"#, "--expect", &expect, "--id", &id];
    stage.act(&rating).await?;
    stage.say("...the other, who has not seen that, is refused. Nothing is overwritten:")?;
    let refund = ["append", stream, "--type", "OrderReturned", "--data", r#"{"status": "returned"}"#, "--expect", &expect];
    stage.act_refused(&refund).await?;
    stage.say("The first one's connection broke, and the same event is sent again. It has an id, so it is recorded once:")?;
    stage.act(&rating).await?;

    stage.say("The state of an order is folded from its events: as it is now, and as it was before its address was changed.")?;
    stage.act(&["replay", stream]).await?;
    stage.act(&["replay", stream, "--at-time", before_the_change]).await?;
    stage.say("And what each event changed:")?;
    stage.act(&["replay", stream, "--each"]).await
}

fn go_on(console: &mut Console<'_>, directory: &Path, story: &Story, commands: u32, took: Duration) -> Result<(), Failure> {
    let look = console.look;
    let seconds = took.as_secs_f64();
    console.line(format_args!("\n{}", look.good(format!("{commands} commands in {seconds:.2} seconds. Now you:"))))?;
    console.line(format_args!("\n  cd {}", quoted(&directory.display().to_string())))?;
    if let Some(program) = program_off_path() {
        console.line(format_args!("  alias factum={}", quoted(&program.display().to_string())))?;
    }
    if std::env::var_os("FACTUM_STORE").is_some() {
        console.line("  unset FACTUM_STORE")?;
    }
    let Story { stream, .. } = story;
    for (command, about) in [
        ("factum log --follow".to_owned(), "and append from another terminal"),
        (format!("factum append {stream} --type NoteAdded --data '{{\"note\": \"hello\"}}'"), ""),
        ("factum log --tag customer:ada --type OrderReturned".to_owned(), ""),
        ("factum replay --category Order --at-time 2026-03-15".to_owned(), "every order as it was"),
        ("factum export | head -1".to_owned(), "the way back out"),
        ("factum --help".to_owned(), ""),
    ] {
        let about = if about.is_empty() { String::new() } else { format!("   # {about}") };
        console.line(format_args!("  {command}{}", look.faint(about)))?;
    }
    Ok(())
}

/// Where commands are shown and run.
struct Stage<'a, 'c> {
    console: &'a mut Console<'c>,
    commands: u32,
}

impl Stage<'_, '_> {
    fn say(&mut self, text: &str) -> Result<(), Failure> {
        let said = self.console.look.strong(text);
        self.console.line(format_args!("\n{said}"))
    }

    /// Runs a command and shows it with its output.
    async fn act(&mut self, words: &[&str]) -> Result<(), Failure> {
        let (output, outcome) = self.run(words, "").await?;
        outcome?;
        self.show(&output, usize::MAX)
    }

    /// The same, but only the first lines of the output.
    async fn act_head(&mut self, words: &[&str], lines: usize) -> Result<(), Failure> {
        let (output, outcome) = self.run(words, &format!(" | head -{lines}")).await?;
        outcome?;
        self.show(&output, lines)
    }

    /// Runs a command that must end in a conflict.
    async fn act_refused(&mut self, words: &[&str]) -> Result<(), Failure> {
        let (_, outcome) = self.run(words, "").await?;
        let Err(failure) = outcome else { return Err(Failure::could_not("the demo expected a conflict, and there was none")) };
        if failure.code() != 3 {
            return Err(failure);
        }
        let word = self.console.look.bad("error:");
        let message = failure.message().unwrap_or_default();
        self.console.line(format_args!("  {word} {message}"))?;
        let code = self.console.look.faint(format!("  (exit code {})", failure.code()));
        self.console.line(code)
    }

    async fn run(&mut self, words: &[&str], then: &str) -> Result<(String, Result<(), Failure>), Failure> {
        let typed: Vec<String> = words.iter().map(|word| quoted(word)).collect();
        let (prompt, command) = (self.console.look.faint("$"), self.console.look.name(format!("factum {}{then}", typed.join(" "))));
        self.console.line(format_args!("\n{prompt} {command}"))?;
        self.console.out.flush()?;
        let arguments = Arguments::try_parse_from(std::iter::once(&"factum").chain(words));
        let arguments = arguments.map_err(|error| Failure::could_not(format!("the demo types nonsense: {error}")))?;
        let (mut output, mut notes) = (Vec::new(), Vec::new());
        let begun = Instant::now();
        let mut console = Console::recording(&mut output, &mut notes, self.console, arguments.json);
        let outcome = commands::run_one(store_url::DEFAULT, arguments.command, &mut console).await;
        let took = begun.elapsed();
        self.commands += 1;
        notes.extend_from_slice(&output);
        let mut shown = String::from_utf8_lossy(&notes).into_owned();
        if took >= Duration::from_millis(50) {
            shown.push_str(&format!("{}\n", self.console.look.faint(format!("({} ms)", took.as_millis()))));
        }
        Ok((shown, outcome))
    }

    fn show(&mut self, output: &str, lines: usize) -> Result<(), Failure> {
        for line in output.lines().take(lines) {
            let indent = if line.is_empty() { "" } else { "  " };
            self.console.line(format_args!("{indent}{line}"))?;
        }
        self.console.out.flush()?;
        Ok(())
    }
}

fn make_directory(wanted: Option<PathBuf>) -> Result<PathBuf, Failure> {
    let directory = wanted.unwrap_or_else(|| {
        let id = Uuid::now_v7().simple().to_string();
        std::env::temp_dir().join(format!("factum-demo-{}", &id[id.len() - 6..]))
    });
    let cannot =
        |error: std::io::Error| Failure::could_not(format!("can't make {}: {error}; name another with --dir", directory.display()));
    std::fs::create_dir_all(&directory).map_err(cannot)?;
    if std::fs::read_dir(&directory).map_err(cannot)?.next().is_some() {
        return Err(Failure::could_not(format!("{} is not empty; name a new directory with --dir", directory.display())));
    }
    directory.canonicalize().map_err(cannot)
}

fn write_file(directory: &Path, name: &str, content: &str) -> Result<(), Failure> {
    let path = directory.join(name);
    let written = std::fs::File::create(&path).and_then(|mut file| file.write_all(content.as_bytes()));
    written.map_err(|error| Failure::could_not(format!("can't write {}: {error}", path.display())))
}

/// This program's path, if typing its name would not find it.
fn program_off_path() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let path = std::env::var_os("PATH")?;
    let is_found = std::env::split_paths(&path).any(|directory| directory.join("factum") == program);
    (!is_found).then_some(program)
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}
