//! How a command ends when it does not succeed: one line for the person, one number for the script.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::error::ErrorKind;

use crate::console::Look;

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It was called wrongly.
    Usage(String),
    /// It could not, for this reason.
    CouldNot(String),
    /// What is stored is not as expected.
    Conflict(String),
    /// The store refused.
    Store(factum::Error),
    /// It could not, and all there is to say has been said.
    Said,
    /// Whoever read the output has gone; that is not a failure.
    ReaderGone,
    /// Help or a version was asked for; the text is all there is to do.
    Help(String),
}

impl Failure {
    pub(crate) fn could_not(reason: impl Into<String>) -> Self {
        Self::CouldNot(reason.into())
    }

    pub(crate) fn usage(reason: impl Into<String>) -> Self {
        Self::Usage(reason.into())
    }

    /// The exit code: 0 done, 1 could not, 2 called wrongly, 3 conflict.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::ReaderGone | Self::Help(_) => 0,
            Self::CouldNot(_) | Self::Said => 1,
            Self::Usage(_) => 2,
            Self::Conflict(_) => 3,
            Self::Store(error) if error.is_conflict() => 3,
            Self::Store(factum::Error::Invalid { .. }) => 2,
            Self::Store(_) => 1,
        }
    }

    /// What to tell the person, on one line.
    pub(crate) fn message(&self) -> Option<String> {
        let text = match self {
            Self::Usage(reason) | Self::CouldNot(reason) | Self::Conflict(reason) => reason.clone(),
            Self::Store(error) => error.to_string(),
            Self::Said | Self::ReaderGone | Self::Help(_) => return None,
        };
        Some(on_one_line(&text))
    }

    /// Tells the person, and returns the exit code.
    pub(crate) fn report(&self, notes: &mut dyn Write, look: &Look) -> ExitCode {
        // Standard error may be closed as well; there is no one left to tell then.
        match self {
            Self::Help(text) => _ = writeln!(io::stdout(), "{}", text.trim_end()),
            _ => {
                if let Some(message) = self.message() {
                    _ = writeln!(notes, "{} {message}", look.bad("error:"));
                }
            }
        }
        ExitCode::from(self.code())
    }
}

impl From<factum::Error> for Failure {
    fn from(error: factum::Error) -> Self {
        Self::Store(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::ReaderGone,
            _ => Self::CouldNot(format!("can't write the output: {error}")),
        }
    }
}

/// What the parser of arguments has to say, on one line like every other error.
pub(crate) fn of_arguments(error: &clap::Error) -> Failure {
    let text = error.render();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => return Failure::Help(styled(&text)),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            return Failure::usage("which command? try `factum demo`, or see `factum --help`");
        }
        _ => {}
    }
    let text = text.to_string();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let said: Vec<&str> = lines.take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information")).collect();
    let mut message = String::new();
    for line in said {
        let separator = match message.chars().last() {
            None => "",
            Some(':') => " ",
            Some(_) if line.starts_with('[') => " ",
            Some(_) if line.starts_with("tip:") => "; ",
            Some(_) => ", ",
        };
        message.push_str(separator);
        message.push_str(line);
    }
    let message = message.strip_prefix("error: ").unwrap_or(&message).to_owned();
    let command = text.lines().find_map(|line| line.trim().strip_prefix("Usage: ")).map_or_else(String::new, |usage| {
        let words = usage.split_whitespace().take_while(|word| word.starts_with(|c: char| c.is_ascii_lowercase()));
        words.collect::<Vec<_>>().join(" ")
    });
    let command = if command.is_empty() { "factum".to_owned() } else { command };
    Failure::Usage(format!("{message}; see `{command} --help`"))
}

fn styled(text: &clap::builder::StyledStr) -> String {
    if Look::of_stdout().coloured { text.ansi().to_string() } else { text.to_string() }
}

fn on_one_line(text: &str) -> String {
    text.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}
