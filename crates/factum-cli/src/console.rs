//! Where a command writes, and how: results to one side, remarks to the other, colours and bars only for a person who watches.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use owo_colors::{Style, Styled};

use crate::failure::Failure;

/// Where a command writes, and for whom.
pub(crate) struct Console<'a> {
    /// Results: what a script reads.
    pub(crate) out: &'a mut dyn Write,
    /// Remarks: what only a person reads.
    notes: &'a mut dyn Write,
    /// Whether results are JSON, one object per line.
    pub(crate) json: bool,
    /// How results look.
    pub(crate) look: Look,
    /// How remarks look.
    notes_look: Look,
    /// How many columns there are, if results go to a terminal.
    pub(crate) columns: Option<usize>,
    /// Whether a person watches standard error.
    watched: bool,
}

impl<'a> Console<'a> {
    /// A console on this process's standard output and error.
    pub(crate) fn new(out: &'a mut dyn Write, notes: &'a mut dyn Write, json: bool) -> Self {
        let watched = io::stderr().is_terminal();
        let columns = io::stdout().is_terminal().then(terminal_columns);
        Self { out, notes, json, look: Look::of_stdout(), notes_look: Look::of_stderr(), columns, watched }
    }

    /// A console that writes everything to one place, as a terminal would show it.
    pub(crate) fn recording(out: &'a mut dyn Write, notes: &'a mut dyn Write, like: &Console<'_>, json: bool) -> Self {
        let columns = Some(like.columns.unwrap_or(120).saturating_sub(4));
        Self { out, notes, json, look: like.look, notes_look: like.look, columns, watched: false }
    }

    /// Prints one line of results.
    pub(crate) fn line(&mut self, text: impl Display) -> Result<(), Failure> {
        writeln!(self.out, "{text}").map_err(Failure::from)
    }

    /// Prints a remark for a person, which no script should read.
    pub(crate) fn note(&mut self, text: impl Display) {
        // A remark that no one can read is no reason to stop.
        _ = self.out.flush();
        _ = writeln!(self.notes, "{text}");
    }

    /// The word that begins an error, as it looks among the remarks.
    pub(crate) fn error_word(&self) -> String {
        self.notes_look.bad("error:").to_string()
    }

    /// A bar over bytes, which shows only if a person watches.
    pub(crate) fn bytes_bar(&self, total: Option<u64>, doing: &'static str) -> ProgressBar {
        match total {
            Some(total) => self.bar(ProgressBar::new(total), "{msg} {wide_bar} {bytes}/{total_bytes}, {eta} left", doing),
            None => self.bar(ProgressBar::no_length(), "{msg} {spinner} {bytes}, {elapsed}", doing),
        }
    }

    /// A bar over events, which shows only if a person watches.
    pub(crate) fn events_bar(&self, total: Option<u64>, doing: &'static str) -> ProgressBar {
        match total {
            Some(total) => self.bar(ProgressBar::new(total), "{msg} {wide_bar} {human_pos}/{human_len} events, {eta} left", doing),
            None => self.bar(ProgressBar::no_length(), "{msg} {spinner} {human_pos} events, {elapsed}", doing),
        }
    }

    fn bar(&self, bar: ProgressBar, template: &str, doing: &'static str) -> ProgressBar {
        bar.set_draw_target(if self.watched { ProgressDrawTarget::stderr_with_hz(10) } else { ProgressDrawTarget::hidden() });
        bar.set_style(ProgressStyle::with_template(template).expect("the templates are well-formed"));
        bar.with_message(doing)
    }
}

/// Colours, or none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    /// Whether there are any.
    pub(crate) coloured: bool,
}

impl Look {
    /// How text on standard output looks.
    pub(crate) fn of_stdout() -> Self {
        Self { coloured: io::stdout().is_terminal() && colours_wanted() }
    }

    /// How text on standard error looks.
    pub(crate) fn of_stderr() -> Self {
        Self { coloured: io::stderr().is_terminal() && colours_wanted() }
    }

    /// What matters most.
    pub(crate) fn strong<T: Display>(self, text: T) -> Styled<T> {
        self.style(Style::new().bold()).style(text)
    }

    /// What matters least.
    pub(crate) fn faint<T: Display>(self, text: T) -> Styled<T> {
        self.style(Style::new().dimmed()).style(text)
    }

    /// A name: of a stream, a type.
    pub(crate) fn name<T: Display>(self, text: T) -> Styled<T> {
        self.style(Style::new().cyan()).style(text)
    }

    /// What went well, or came.
    pub(crate) fn good<T: Display>(self, text: T) -> Styled<T> {
        self.style(Style::new().green()).style(text)
    }

    /// What went wrong, or went.
    pub(crate) fn bad<T: Display>(self, text: T) -> Styled<T> {
        self.style(Style::new().red().bold()).style(text)
    }

    /// What changed.
    pub(crate) fn changed<T: Display>(self, text: T) -> Styled<T> {
        self.style(Style::new().yellow()).style(text)
    }

    fn style(self, style: Style) -> Style {
        if self.coloured { style } else { Style::new() }
    }
}

/// A number as people read it: 1,234,567.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 event`, `2 events`.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", grouped(number))
}

/// A size as people read it: 1.5 MiB.
pub(crate) fn sized(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}

/// The first `columns` characters of `text`, with a mark where it was cut.
pub(crate) fn cut(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    text.chars().take(columns.saturating_sub(1)).chain(['…']).collect()
}

fn colours_wanted() -> bool {
    let unset_or_empty = |name| std::env::var_os(name).is_none_or(|value| value.is_empty());
    unset_or_empty("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

fn terminal_columns() -> usize {
    terminal_size::terminal_size().map_or(100, |(width, _)| usize::from(width.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let numbers = [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")];
        for (number, text) in numbers {
            assert_eq!(grouped(number), text);
        }
    }
}
