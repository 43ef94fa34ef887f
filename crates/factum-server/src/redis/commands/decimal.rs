//! Fractions are added as they are written, in decimal digits: 10.5 and 0.1 make 10.6.

use super::call::NOT_A_FLOAT;
use crate::redis::keyspace::Stop;

/// How many digits behind the point there may be.
const DIGITS: u32 = 17;

/// The sum of two numbers, as Redis writes it.
pub(super) fn sum(before: &[u8], change: &[u8]) -> Result<String, Stop> {
    let (Some(before), Some(change)) = (read(before), read(change)) else { return Err(NOT_A_FLOAT) };
    if let (Number::Exact(before), Number::Exact(change)) = (before, change)
        && let Some(sum) = before.checked_add(change)
    {
        return Ok(write(sum));
    }
    let sum = before.float() + change.float();
    if !sum.is_finite() {
        return Err(Stop::error("ERR increment would produce NaN or Infinity"));
    }
    let text = format!("{sum:.17}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    Ok(if text == "-0" { "0".to_owned() } else { text.to_owned() })
}

#[derive(Clone, Copy)]
enum Number {
    /// In units of 10^-17.
    Exact(i128),
    Float(f64),
}

impl Number {
    #[expect(clippy::cast_precision_loss, reason = "a float that large has no digits to lose")]
    fn float(self) -> f64 {
        match self {
            Self::Exact(units) => units as f64 / 1e17,
            Self::Float(float) => float,
        }
    }
}

fn read(text: &[u8]) -> Option<Number> {
    let text = std::str::from_utf8(text).ok()?;
    let plain = || {
        let (sign, digits) = match text.strip_prefix('-') {
            Some(digits) => (-1, digits),
            None => (1, text.strip_prefix('+').unwrap_or(text)),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.len() + fraction.len() == 0 || whole.len() > 20 || fraction.len() > 17 || !is_number(whole) || !is_number(fraction) {
            return None;
        }
        let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        let scale = 10_i128.pow(DIGITS - u32::try_from(fraction.len()).ok()?);
        let fraction: i128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
        Some(Number::Exact(sign * (whole * 10_i128.pow(DIGITS) + fraction * scale)))
    };
    if let Some(exact) = plain() {
        return Some(exact);
    }
    let float: f64 = text.parse().ok()?;
    (!float.is_nan()).then_some(Number::Float(float))
}

fn write(units: i128) -> String {
    let scale = 10_u128.pow(DIGITS);
    let (whole, fraction) = (units.unsigned_abs() / scale, units.unsigned_abs() % scale);
    let sign = if units < 0 { "-" } else { "" };
    let text = format!("{sign}{whole}.{fraction:017}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_what_one_would_write() {
        for (before, change, expected) in
            [("10.5", "0.1", "10.6"), ("5.0e3", "2.0e2", "5200"), ("3", "-3", "0"), ("-0.5", "0.25", "-0.25"), ("1.", ".5", "1.5")]
        {
            assert!(matches!(sum(before.as_bytes(), change.as_bytes()), Ok(sum) if sum == expected), "{before} {change}");
        }
        for wrong in ["", "abc", "1 ", "nan", "1.1.1", "-"] {
            assert!(sum(b"1", wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert!(sum(b"inf", b"1").is_err());
    }
}
