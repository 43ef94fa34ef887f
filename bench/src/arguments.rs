//! What the person asked for.

use std::path::PathBuf;
use std::time::Duration;

pub(crate) const USAGE: &str = "\
cargo xtask bench [OPTIONS]     measure Factum beside the limits of this machine and beside its peers

  --only NAME      one group: append, log, stream, command, disk, open, memory, import, readers; with --door redis the rows whose name
                   has this in it, such as MULTI
  --scale N        events of the large store that open and memory look at, up to 100000000 (default 10000000)
  --streams N      streams of the large store (default 10000000, at most one per event)
  --seconds N      how long each appending load runs (default 2)
  --dir DIR        where the data goes (default: beside the program that runs, which is not in memory)
  --store URL      file: (the default); memory:, which skips what needs a disk; or postgres: or redis:, which start a server, or the
                   URL of one that runs: stores on a server are measured beside the bare server, with --seconds only
  --door redis     factum serve beside redis-server, with --only, --seconds, --dir and --scale (at most 1000000 entries)
  --json           one JSON object instead of a table";

/// What to do.
#[derive(Debug)]
pub(crate) enum Task {
    Help,
    Measure(Arguments),
    /// A part that needs a process of its own.
    Child(Vec<String>),
}

/// What to measure, and how.
#[derive(Clone, Debug)]
pub(crate) struct Arguments {
    pub(crate) only: Option<String>,
    pub(crate) scale: u64,
    pub(crate) streams: u64,
    pub(crate) load: Duration,
    pub(crate) dir: Option<PathBuf>,
    pub(crate) in_memory: bool,
    /// The URL of a store on a server.
    pub(crate) served: Option<String>,
    /// The door beside Redis.
    pub(crate) door: bool,
    pub(crate) json: bool,
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            only: None,
            scale: 10_000_000,
            streams: 10_000_000,
            load: Duration::from_secs(2),
            dir: None,
            in_memory: false,
            served: None,
            door: false,
            json: false,
        }
    }
}

/// Reads the words after the program's name.
pub(crate) fn parse(words: &[String]) -> Result<Task, String> {
    if let [first, rest @ ..] = words
        && first == "child"
    {
        return Ok(Task::Child(rest.to_vec()));
    }
    let mut arguments = Arguments::default();
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        match word {
            "--help" | "-h" => return Ok(Task::Help),
            "--json" => arguments.json = true,
            "--only" => arguments.only = Some(value()?.to_owned()),
            "--scale" => arguments.scale = number(word, value()?, 100_000_000)?,
            "--streams" => arguments.streams = number(word, value()?, 100_000_000)?,
            "--seconds" => arguments.load = Duration::from_secs(number(word, value()?, 3_600)?),
            "--dir" => arguments.dir = Some(PathBuf::from(value()?)),
            "--door" => match value()? {
                "redis" => arguments.door = true,
                door => return Err(format!("--door takes redis, not {door:?}")),
            },
            "--store" => match value()? {
                url if crate::served::is_served(url) => arguments.served = Some(url.to_owned()),
                url => arguments.in_memory = is_in_memory(url)?,
            },
            _ => return Err(format!("{word} is not an option")),
        }
    }
    arguments.streams = arguments.streams.min(arguments.scale);
    if let (Some(name), false) = (&arguments.only, arguments.door) {
        check_group(name)?;
    }
    Ok(Task::Measure(arguments))
}

fn check_group(name: &str) -> Result<(), String> {
    let known = crate::GROUPS.iter().any(|(known, _)| *known == name);
    if known { Ok(()) } else { Err(format!("{name} is not a group of measurements")) }
}

fn number(option: &str, text: &str, max: u64) -> Result<u64, String> {
    let number = text.replace('_', "").parse().ok().filter(|number| (1..=max).contains(number));
    number.ok_or_else(|| format!("{option} takes a number from 1 to {max}, not {text:?}"))
}

fn is_in_memory(url: &str) -> Result<bool, String> {
    match url {
        "memory:" => Ok(true),
        "file:" => Ok(false),
        _ => Err(format!("--store takes memory:, file: (with --dir for where), postgres: or redis:, not {url:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Task, String> {
        parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for line in ["--only nothing", "--scale", "--scale 0", "--scale 1000000001", "--fast", "--store kafka:"] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }

    #[test]
    fn there_are_at_most_as_many_streams_as_events() {
        let Ok(Task::Measure(arguments)) = parsed("--scale 1_000 --only open") else { panic!("it is understood") };
        assert_eq!((arguments.scale, arguments.streams), (1_000, 1_000));
    }
}
