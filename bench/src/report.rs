//! The figures, each beside what it is measured against, as a table or as JSON.

use std::fmt;

use serde_json::{Value, json};

/// What was measured, on what.
#[derive(Debug)]
pub(crate) struct Report {
    conditions: Vec<(&'static str, String)>,
    rows: Vec<Row>,
}

/// One figure.
#[derive(Debug)]
pub(crate) struct Row {
    name: String,
    figure: Figure,
    /// What it stands beside: a limit of the machine, a peer, or a bound that was set.
    against: Option<(String, Figure)>,
    /// How good the figure is in terms of the other; more is better, whatever the unit.
    ratio: Option<f64>,
    at_least: Option<f64>,
}

/// A number with its unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Figure {
    EventsPerSecond(f64),
    SyncsPerSecond(f64),
    BytesPerSecond(f64),
    Seconds(f64),
    Bytes(f64),
}

/// Of several measurements beside a peer's, by turns, the one whose ratio is in the middle. A machine that others use too changes its speed from
/// one second to the next: the two of a pair see the same of that, the best of each may not.
pub(crate) fn middle(mut pairs: Vec<(f64, f64)>) -> (f64, f64) {
    pairs.sort_by(|one, other| (one.0 / one.1).total_cmp(&(other.0 / other.1)));
    pairs[pairs.len() / 2]
}

impl Report {
    pub(crate) fn new(conditions: Vec<(&'static str, String)>) -> Self {
        Self { conditions, rows: Vec::new() }
    }

    /// Takes the row in, and tells whoever waits.
    pub(crate) fn add(&mut self, row: Row) {
        eprintln!("  {}: {}", row.name, row.figure);
        self.rows.push(row);
    }

    /// Whether nothing was measured.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(crate) fn json(&self) -> Value {
        let conditions: serde_json::Map<String, Value> = self.conditions.iter().map(|(name, text)| ((*name).into(), json!(text))).collect();
        json!({"conditions": conditions, "rows": self.rows.iter().map(Row::json).collect::<Vec<_>>()})
    }
}

impl Row {
    /// A figure on its own.
    pub(crate) fn new(name: impl Into<String>, figure: Figure) -> Self {
        Self { name: name.into(), figure, against: None, ratio: None, at_least: None }
    }

    /// The same figure beside another.
    pub(crate) fn beside(mut self, what: impl Into<String>, other: Figure) -> Self {
        self.ratio = Some(self.figure.ratio_to(other));
        self.against = Some((what.into(), other));
        self
    }

    /// The same, with the ratio that we want.
    pub(crate) fn at_least(mut self, ratio: f64) -> Self {
        self.at_least = Some(ratio);
        self
    }

    /// The same, with a ratio of another kind than that of the two figures.
    pub(crate) fn with_ratio(mut self, ratio: f64) -> Self {
        self.ratio = Some(ratio);
        self
    }

    fn verdict(&self) -> &'static str {
        match (self.ratio, self.at_least) {
            (Some(ratio), Some(wanted)) if ratio >= wanted => "ok",
            (Some(_), Some(_)) => "short",
            _ => "",
        }
    }

    fn json(&self) -> Value {
        let against = self.against.as_ref();
        json!({
            "name": self.name,
            "figure": self.figure.number(),
            "unit": self.figure.unit(),
            "against": against.map(|(what, _)| what),
            "against_figure": against.map(|(_, figure)| figure.number()),
            "against_unit": against.map(|(_, figure)| figure.unit()),
            "ratio": self.ratio,
            "at_least": self.at_least,
            "verdict": self.verdict(),
        })
    }
}

impl Figure {
    fn number(self) -> f64 {
        match self {
            Self::EventsPerSecond(n) | Self::SyncsPerSecond(n) | Self::BytesPerSecond(n) | Self::Seconds(n) | Self::Bytes(n) => n,
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Self::EventsPerSecond(_) => "events/s",
            Self::SyncsPerSecond(_) => "syncs/s",
            Self::BytesPerSecond(_) => "bytes/s",
            Self::Seconds(_) => "s",
            Self::Bytes(_) => "bytes",
        }
    }

    /// How often this is as good as the other: rates want to be high, times and sizes low.
    fn ratio_to(self, other: Self) -> f64 {
        match self {
            Self::EventsPerSecond(_) | Self::SyncsPerSecond(_) | Self::BytesPerSecond(_) => self.number() / other.number(),
            Self::Seconds(_) | Self::Bytes(_) => other.number() / self.number(),
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scaled = |units: [(f64, &'static str); 4]| {
            let number = self.number();
            let (size, unit) = units.into_iter().find(|(size, _)| number >= *size).unwrap_or(units[3]);
            let number = number / size;
            let decimals = if number >= 100.0 {
                0
            } else if number >= 10.0 {
                1
            } else {
                2
            };
            format!("{number:.decimals$} {unit}")
        };
        let text = match self {
            Self::EventsPerSecond(_) => scaled([(1e9, "G events/s"), (1e6, "M events/s"), (1e3, "k events/s"), (1.0, "events/s")]),
            Self::SyncsPerSecond(_) => scaled([(1e9, "G syncs/s"), (1e6, "M syncs/s"), (1e3, "k syncs/s"), (1.0, "syncs/s")]),
            Self::BytesPerSecond(_) => scaled([(1e9, "GB/s"), (1e6, "MB/s"), (1e3, "kB/s"), (1.0, "B/s")]),
            Self::Seconds(_) => scaled([(1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")]),
            Self::Bytes(_) => scaled([(1e9, "GB"), (1e6, "MB"), (1e4, "kB"), (1.0, "B")]),
        };
        f.pad(&text)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, text) in &self.conditions {
            writeln!(f, "{name:<12} {text}")?;
        }
        let width = |text: &dyn Fn(&Row) -> String| self.rows.iter().map(|row| text(row).chars().count()).max().unwrap_or(0);
        let against = |row: &Row| row.against.as_ref().map(|(what, figure)| format!("{figure}  {what}")).unwrap_or_default();
        let (names, figures, others) = (width(&|row| row.name.clone()), width(&|row| row.figure.to_string()), width(&against));
        writeln!(f, "\n{:<names$}  {:>figures$}  {:<others$}  {:>6}  {:>8}", "what", "figure", "beside", "ratio", "at least")?;
        for row in &self.rows {
            let ratio = row.ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
            let wanted = row.at_least.map(|ratio| format!("{ratio}")).unwrap_or_default();
            let line = format!(
                "{:<names$}  {:>figures$}  {:<others$}  {ratio:>6}  {wanted:>8}  {}",
                row.name,
                row.figure,
                against(row),
                row.verdict()
            );
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_is_better_whatever_the_unit() {
        let fast = Row::new("a", Figure::EventsPerSecond(9.0)).beside("limit", Figure::EventsPerSecond(10.0)).at_least(0.8);
        let slow = Row::new("a", Figure::Seconds(2.0)).beside("bound", Figure::Seconds(1.0)).at_least(1.0);
        assert_eq!((fast.ratio, fast.verdict()), (Some(0.9), "ok"));
        assert_eq!((slow.ratio, slow.verdict()), (Some(0.5), "short"));
        assert_eq!(Row::new("a", Figure::Bytes(1.0)).verdict(), "");
    }

    #[test]
    fn figures_are_readable() {
        assert_eq!(Figure::EventsPerSecond(3_512_000.0).to_string(), "3.51 M events/s");
        assert_eq!(Figure::Seconds(0.0101).to_string(), "10.1 ms");
        assert_eq!(Figure::Bytes(341.4).to_string(), "341 B");
    }
}
