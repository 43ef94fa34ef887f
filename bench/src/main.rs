//! Measures Factum beside the limits of the machine and beside its peers, in one run.
//!
//! Machines differ and drift, so every figure stands beside another of the same run, and what counts is the ratio. A figure that
//! is short of what we want fails nothing; a measurement that can't be made does.

mod append;
mod arguments;
mod child;
mod command;
mod conditions;
mod disk;
mod door;
mod import;
mod limit;
mod log;
mod memory;
mod opening;
mod page_cache;
mod raw;
mod readers;
mod report;
mod sample;
mod served;
mod sqlite;
mod stream;
mod workbench;

use std::process::ExitCode;

use arguments::{Arguments, Task};
use report::Report;
use workbench::Workbench;

/// What a measurement comes to.
type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// A group of measurements: the name that `--only` takes, and what measures it.
type Group = (&'static str, fn(&mut Workbench, &mut Report) -> Outcome);

const GROUPS: [Group; 9] = [
    ("append", append::measure),
    ("log", log::measure),
    ("stream", stream::measure),
    ("command", command::measure),
    ("disk", disk::measure),
    ("open", opening::measure),
    ("memory", memory::measure),
    ("import", import::measure),
    ("readers", readers::measure),
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let task = match arguments::parse(&words) {
        Ok(task) => task,
        Err(reason) => {
            eprintln!("bench: {reason}\n\n{}", arguments::USAGE);
            return ExitCode::from(2);
        }
    };
    let outcome = match task {
        Task::Help => {
            println!("{}", arguments::USAGE);
            Ok(())
        }
        Task::Measure(arguments) => measure(&arguments),
        Task::Child(words) => child::run(&words),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Measures a store of this machine.
fn measure_here(arguments: &Arguments) -> Outcome<Report> {
    let mut workbench = Workbench::new(arguments.clone())?;
    let mut report = Report::new(conditions::look(&workbench)?);
    for (name, measure) in GROUPS {
        if arguments.only.as_deref().is_none_or(|only| only == name) {
            eprintln!("measuring: {name}");
            measure(&mut workbench, &mut report)?;
        }
    }
    Ok(report)
}

fn measure(arguments: &Arguments) -> Outcome {
    let report = match &arguments.served {
        _ if arguments.door => door::measure(arguments)?,
        Some(url) => served::measure(url, arguments)?,
        None => measure_here(arguments)?,
    };
    if arguments.json {
        println!("{}", report.json());
    } else {
        print!("{report}");
    }
    Ok(())
}
