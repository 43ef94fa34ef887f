//! `factum verify`: every byte of a store, and what can be saved of a damaged one.

mod by_reading;

use std::path::{Path, PathBuf};

use clap::Args;
use factum::backend::embedded::{self, Problem, SalvageReport, VerifyProgress, VerifyReport};
use indicatif::ProgressBar;
use serde_json::{Value, json};

use crate::console::{Console, counted, grouped, sized};
use crate::failure::Failure;
use crate::store_url;

const EXAMPLES: &str = "\
Examples:
  factum verify
  factum verify --json | jq .problems
  factum verify --salvage ./rescued              copy everything that is whole into a new store

It reads beside whoever writes. A store on a server is read as a whole and compared with what it says of itself. With --json: {\"ok\",\"events\",\"streams\",\"segments\",\"bytes\",\"index_files\",\"problems\",\"notes\"}, and
with --salvage \"salvaged\". The exit code is 1 if the store is damaged, also when everything whole could be saved.";

/// Check every byte of a store: checksums, order, versions, the index against the log
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Verify {
    /// Copy everything that is whole into a new store in this directory
    #[arg(long, value_name = "DIR")]
    salvage: Option<PathBuf>,
}

/// How many problems a person is shown.
const PROBLEMS_SHOWN: usize = 20;

pub(crate) async fn run(verify: Verify, url: &str, console: &mut Console<'_>) -> Result<(), Failure> {
    if verify.salvage.is_none() && !url.starts_with("file:") {
        return by_reading::run(url, console).await;
    }
    let directory = store_url::directory(url, "verify")?;
    let bar = console.bytes_bar(Some(0), "verifying");
    let report = embedded::verify(&directory, &mut |progress| advance(&bar, &progress))?;
    bar.finish_and_clear();
    let salvaged = match &verify.salvage {
        Some(to) => {
            refuse_occupied(to)?;
            let bar = console.bytes_bar(Some(0), "salvaging");
            let salvaged = embedded::salvage(&directory, to, &mut |progress| advance(&bar, &progress))?;
            bar.finish_and_clear();
            Some((to.as_path(), salvaged))
        }
        None => None,
    };
    if console.json {
        console.line(to_json(&report, salvaged.as_ref()))?;
    } else {
        show(&report, console)?;
        if let Some((to, salvaged)) = &salvaged {
            show_salvaged(to, salvaged, console)?;
        }
    }
    if report.problems.is_empty() {
        return Ok(());
    }
    let (place, problems) = (directory.display(), counted(report.problems.len() as u64, "problem"));
    let index = directory.join("index");
    let what_next = match &verify.salvage {
        Some(to) => format!("what is whole is now in {}", to.display()),
        None if report.problems.iter().all(|problem| problem.file.starts_with(&index)) => {
            format!("the log is whole, delete {} and it is made again", index.display())
        }
        None => "`factum verify --salvage DIR` copies out what is whole".to_owned(),
    };
    Err(Failure::could_not(format!("the store at {place} is damaged: {problems}; {what_next}")))
}

fn advance(bar: &ProgressBar, progress: &VerifyProgress) {
    bar.set_length(progress.bytes_total);
    bar.set_position(progress.bytes);
}

/// What is saved must not be mixed with what is there.
fn refuse_occupied(to: &Path) -> Result<(), Failure> {
    let is_occupied = match std::fs::read_dir(to) {
        Ok(mut entries) => entries.next().is_some(),
        Err(_) => to.exists(),
    };
    if is_occupied {
        return Err(Failure::could_not(format!("{} is there already; name a new directory to salvage into", to.display())));
    }
    Ok(())
}

/// The report as one object, its fields in the order in which one reads them.
fn to_json(report: &VerifyReport, salvaged: Option<&(&Path, SalvageReport)>) -> String {
    let VerifyReport { events, streams, segments, bytes, index_files, problems, notes } = report;
    let ok = problems.is_empty();
    let mut object = format!(
        "{{\"ok\":{ok},\"events\":{events},\"streams\":{streams},\"segments\":{segments},\"bytes\":{bytes},\"index_files\":{index_files}"
    );
    object.push_str(&format!(",\"problems\":{},\"notes\":{}", problems_to_json(problems), json!(notes)));
    if let Some((to, SalvageReport { events, renumbered, lost_bytes, problems })) = salvaged {
        let (to, problems) = (json!(to.display().to_string()), problems_to_json(problems));
        object.push_str(&format!(
            ",\"salvaged\":{{\"to\":{to},\"events\":{events},\"renumbered\":{renumbered},\"lost_bytes\":{lost_bytes},\"problems\":{problems}}}"
        ));
    }
    object.push('}');
    object
}

fn problems_to_json(problems: &[Problem]) -> Value {
    let object = |Problem { file, offset, what }: &Problem| json!({"file": file.display().to_string(), "offset": offset, "what": what});
    problems.iter().map(object).collect()
}

fn show(report: &VerifyReport, console: &mut Console<'_>) -> Result<(), Failure> {
    let VerifyReport { events, streams, segments, bytes, index_files, problems, notes } = report;
    let look = console.look;
    let read = format!(
        "{} in {}; read {} in {}, and {}",
        counted(*events, "event"),
        counted(*streams, "stream"),
        sized(*bytes),
        counted(*segments, "segment"),
        counted(*index_files, "index file")
    );
    if problems.is_empty() {
        console.line(format_args!("{} {read}", look.good("ok:")))?;
    } else {
        console.line(format_args!("{} {read}", look.bad("damaged:")))?;
    }
    for Problem { file, offset, what } in problems.iter().take(PROBLEMS_SHOWN) {
        let offset = offset.map_or(String::new(), |offset| format!(" at byte {}", grouped(offset)));
        console.line(format_args!("  {}{offset}: {what}", look.strong(file.display())))?;
    }
    if problems.len() > PROBLEMS_SHOWN {
        console.line(format_args!("  ... and {} more, all of them with --json", problems.len() - PROBLEMS_SHOWN))?;
    }
    for note in notes {
        console.line(format_args!("  note: {note}"))?;
    }
    Ok(())
}

fn show_salvaged(to: &Path, salvaged: &SalvageReport, console: &mut Console<'_>) -> Result<(), Failure> {
    let SalvageReport { events, renumbered, lost_bytes, .. } = salvaged;
    console.line(format_args!("salvaged {} into {}", counted(*events, "event"), to.display()))?;
    if *lost_bytes > 0 {
        console.line(format_args!("  {} could not be read as events", sized(*lost_bytes)))?;
    }
    if *renumbered > 0 {
        console
            .line(format_args!("  {} have another version now, because events in front of them are lost", counted(*renumbered, "event")))?;
    }
    Ok(())
}
