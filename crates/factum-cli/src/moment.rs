//! Moments, as people write and read them.

use factum::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

/// A moment that a person gave: RFC 3339, or a date with or without a time of day, which is then UTC.
pub(crate) fn parse(text: &str) -> Result<Timestamp, String> {
    let wrong = || format!("{text:?} is no moment; write 2026-03-01, 2026-03-01T12:30 (both UTC) or 2026-03-01T12:30:00+01:00");
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(moment);
    }
    // A zone that could not be read must not be passed over.
    let time = text.get(10..).unwrap_or_default();
    if time.contains(['Z', 'z', '+', '-', '[']) {
        return Err(wrong());
    }
    let civil = match time {
        "" => text.parse::<Date>().map(DateTime::from),
        _ => text.parse::<DateTime>(),
    };
    let zoned = civil.and_then(|civil| civil.to_zoned(TimeZone::UTC)).map_err(|_| wrong())?;
    Ok(zoned.timestamp())
}

/// A moment in RFC 3339, with as many digits as it needs by threes.
pub(crate) fn format(moment: Timestamp) -> String {
    match moment.subsec_nanosecond().unsigned_abs() {
        0 => format!("{moment:.0}"),
        nanoseconds if nanoseconds.is_multiple_of(1_000_000) => format!("{moment:.3}"),
        nanoseconds if nanoseconds.is_multiple_of(1_000) => format!("{moment:.6}"),
        _ => format!("{moment:.9}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_people_write_them() {
        for (given, meant) in [
            ("2026-03-01", "2026-03-01T00:00:00Z"),
            ("2026-03-01T12:30", "2026-03-01T12:30:00Z"),
            ("2026-03-01 12:30:15", "2026-03-01T12:30:15Z"),
            ("2026-03-01T12:30:00+01:00", "2026-03-01T11:30:00Z"),
            ("2026-03-01T12:30:00.123456789Z", "2026-03-01T12:30:00.123456789Z"),
            ("2010-09-30T22:00:00.020Z", "2010-09-30T22:00:00.020Z"),
            ("1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59.500Z"),
        ] {
            assert_eq!(parse(given).map(format), Ok(meant.to_owned()));
        }
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for given in ["", "yesterday", "2026-13-01", "2026-03-01T12:30+99:00", "12:30", "1700000000", "2026-03-01T25:00", "é2026-03-0"] {
            assert!(parse(given).is_err(), "{given}");
        }
    }
}
