//! Fractions as Redis adds and writes them: with 64 binary digits, and 17 decimal places.
//!
//! Redis computes with the processor's numbers of 80 bits. The same digits come out only of the same arithmetic, so it is
//! done here in whole numbers: a value is `digits * 2^exponent`, where `digits` has 64 bits.

use super::call::NOT_A_FLOAT;
use crate::redis::keyspace::Stop;

/// A number of 64 binary digits.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Extended {
    is_negative: bool,
    /// 0, or with the highest bit set.
    digits: u64,
    exponent: i32,
}

/// How many decimal places are written.
const PLACES: u32 = 17;

/// The sum of two numbers, as Redis writes it.
pub(super) fn sum(before: &[u8], change: &[u8]) -> Result<String, Stop> {
    let (before, change) = (number(before)?, number(change)?);
    let (Some(before), Some(change)) = (before, change) else {
        return Err(Stop::error("ERR increment would produce NaN or Infinity"));
    };
    write(add(before, change)).ok_or(NOT_A_FLOAT)
}

/// Whether a text is a number, and a finite one.
pub(super) fn is_finite(text: &[u8]) -> Result<bool, Stop> {
    Ok(number(text)?.is_some())
}

/// The number that a text is, `None` if it says that it is infinite. One that is too large is none.
fn number(text: &[u8]) -> Result<Option<Extended>, Stop> {
    let number = read(text).ok_or(NOT_A_FLOAT)?;
    if number.is_none() && text.iter().any(u8::is_ascii_digit) { Err(NOT_A_FLOAT) } else { Ok(number) }
}

/// The nearest number to `high`, of which `sticky` says that there is a little more.
fn rounded(is_negative: bool, value: u128, exponent: i32, sticky: bool) -> Extended {
    if value == 0 {
        return Extended { is_negative: false, digits: 0, exponent: 0 };
    }
    let bits = 128 - i32::try_from(value.leading_zeros()).expect("at most 128");
    let surplus = bits - 64;
    if surplus <= 0 {
        let digits = u64::try_from(value).expect("64 bits") << -surplus;
        return Extended { is_negative, digits, exponent: exponent + surplus };
    }
    let mut digits = u64::try_from(value >> surplus).expect("64 bits");
    let mut exponent = exponent + surplus;
    let (rest, half) = (value & ((1 << surplus) - 1), 1_u128 << (surplus - 1));
    if rest > half || rest == half && (sticky || digits & 1 == 1) {
        digits = digits.checked_add(1).unwrap_or_else(|| {
            exponent += 1;
            1 << 63
        });
    }
    Extended { is_negative, digits, exponent }
}

fn add(a: Extended, b: Extended) -> Extended {
    let (large, small) = if b.digits == 0 || a.digits != 0 && a.exponent >= b.exponent { (a, b) } else { (b, a) };
    if small.digits == 0 {
        return large;
    }
    // One bit is left for the sum, so the larger is moved up by 62 at most; the smaller loses what is beyond.
    let up = (large.exponent - small.exponent).min(62);
    let down = u32::try_from(large.exponent - small.exponent - up).expect("not negative");
    let small_digits = u128::from(small.digits);
    let (moved, sticky) = if down >= 64 { (0, true) } else { (small_digits >> down, small_digits & ((1 << down) - 1) != 0) };
    let large_digits = u128::from(large.digits) << up;
    let exponent = large.exponent - up;
    if large.is_negative == small.is_negative {
        return rounded(large.is_negative, large_digits + moved, exponent, sticky);
    }
    let borrowed = u128::from(sticky);
    if large_digits >= moved + borrowed {
        rounded(large.is_negative, large_digits - moved - borrowed, exponent, sticky)
    } else {
        rounded(small.is_negative, moved - large_digits, exponent, sticky)
    }
}

/// A number as C reads it; the inner is `None` for infinity. Not a number is no number.
fn read(text: &[u8]) -> Option<Option<Extended>> {
    let text = std::str::from_utf8(text).ok()?;
    let (is_negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if unsigned.eq_ignore_ascii_case("inf") || unsigned.eq_ignore_ascii_case("infinity") {
        return Some(None);
    }
    if let Some(hexadecimal) = unsigned.strip_prefix("0x").or_else(|| unsigned.strip_prefix("0X")) {
        return read_hexadecimal(is_negative, hexadecimal);
    }
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.strip_prefix('+').unwrap_or(exponent).parse::<i32>().ok()?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !is_number(whole) || !is_number(fraction) {
        return None;
    }
    // Nineteen digits fit; those beyond count as a little more.
    let mut digits = 0_u64;
    let mut exponent = exponent.saturating_sub(i32::try_from(fraction.len()).ok()?);
    let mut sticky = false;
    for digit in whole.bytes().chain(fraction.bytes()).map(|byte| u64::from(byte - b'0')) {
        match digits.checked_mul(10).and_then(|digits| digits.checked_add(digit)).filter(|_| !sticky) {
            Some(more) if more < 10_u64.pow(19) => digits = more,
            _ => {
                exponent = exponent.saturating_add(1);
                sticky = true;
            }
        }
    }
    scaled(is_negative, digits, exponent, sticky)
}

/// A number in hexadecimal digits, behind `0x`, perhaps times a power of two behind a `p`.
fn read_hexadecimal(is_negative: bool, text: &str) -> Option<Option<Extended>> {
    let (mantissa, exponent) = match text.split_once(['p', 'P']) {
        Some((mantissa, exponent)) => (mantissa, exponent.strip_prefix('+').unwrap_or(exponent).parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.len() + fraction.len() == 0 {
        return None;
    }
    // Thirty digits fit; those beyond count as a little more.
    let mut digits = 0_u128;
    let mut exponent = i32::try_from(fraction.len()).ok()?.checked_mul(4).and_then(|places| exponent.checked_sub(places))?;
    let mut sticky = false;
    for digit in whole.chars().chain(fraction.chars()) {
        let digit = digit.to_digit(16)?;
        if digits >> 120 == 0 {
            digits = digits << 4 | u128::from(digit);
        } else {
            exponent = exponent.checked_add(4)?;
            sticky |= digit != 0;
        }
    }
    let number = rounded(is_negative, digits, exponent, sticky);
    // As far as the processor's numbers of 80 bits go.
    match number.exponent.saturating_add(63) {
        _ if number.digits == 0 => Some(Some(number)),
        16_384.. => Some(None),
        ..-16_445 => None,
        _ => Some(Some(number)),
    }
}

/// `digits * 10^exponent`.
fn scaled(is_negative: bool, digits: u64, mut exponent: i32, sticky: bool) -> Option<Option<Extended>> {
    if digits == 0 {
        return Some(Some(Extended { is_negative: false, digits: 0, exponent: 0 }));
    }
    if exponent > 4_900 {
        return Some(None);
    }
    if exponent < -4_900 {
        return None;
    }
    let mut number = rounded(is_negative, u128::from(digits), 0, sticky);
    while exponent > 0 {
        let step = exponent.min(19);
        let power = u128::from(10_u64.pow(u32::try_from(step).expect("small")));
        number = rounded(is_negative, u128::from(number.digits) * power, number.exponent, false);
        exponent -= step;
    }
    while exponent < 0 {
        let step = (-exponent).min(19);
        let power = u128::from(10_u64.pow(u32::try_from(step).expect("small")));
        let shifted = u128::from(number.digits) << 64;
        number = rounded(is_negative, shifted / power, number.exponent - 64, shifted % power != 0);
        exponent += step;
    }
    Some(Some(number))
}

/// The decimal digits, with [`PLACES`] places and no zeros at the end; `None` if there are too many.
fn write(number: Extended) -> Option<String> {
    let Extended { is_negative, digits, exponent } = number;
    let wide = u128::from(digits);
    let (whole, places) = if exponent >= 0 {
        (wide.checked_shl(u32::try_from(exponent).ok()?).filter(|_| exponent <= 63)?, 0)
    } else if exponent > -128 {
        let down = u32::try_from(-exponent).expect("positive");
        let whole = if down >= 128 { 0 } else { wide >> down };
        let rest = wide - if down >= 128 { 0 } else { whole << down };
        // The rest has at most 64 bits, and the power of ten 57.
        let product = rest * 10_u128.pow(PLACES);
        let (places, left, half) = (product >> down, product & ((1 << down) - 1), 1_u128 << (down - 1));
        (whole, places + u128::from(left > half || left == half && places & 1 == 1))
    } else {
        (0, 0)
    };
    let (whole, places) = if places == 10_u128.pow(PLACES) { (whole + 1, 0) } else { (whole, places) };
    let text = format!("{}{whole}.{places:017}", if is_negative { "-" } else { "" });
    let text = text.trim_end_matches('0').trim_end_matches('.');
    Some(if text == "-0" { "0".to_owned() } else { text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_have_the_digits_of_redis() {
        for (before, change, expected) in [
            ("10.5", "0.1", "10.6"),
            ("5.0e3", "2.0e2", "5200"),
            ("3", "-3", "0"),
            ("-0.5", "0.25", "-0.25"),
            ("1.", ".5", "1.5"),
            ("5.6", "5.0e3", "5005.60000000000000009"),
            ("3.1", "1e17", "100000000000000003.1015625"),
            ("0x10", "-0X.8p1", "15"),
            ("0x1.8p3", "0xA", "22"),
            ("0", "0x1.23456789abcdef0123456789abcdefp60", "1311768467463790320.125"),
            ("0", "0x0p-99999", "0"),
        ] {
            assert_eq!(sum(before.as_bytes(), change.as_bytes()).ok().as_deref(), Some(expected), "{before} {change}");
        }
        for wrong in
            ["", "abc", "1 ", "nan", "1.1.1", "-", "0x", "0x.", "0xp1", "0x1p", "0xg", "0x1p99999", "0x1p-99999", "0x-1", "0x1p9999999999"]
        {
            assert!(sum(b"1", wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert!(sum(b"inf", b"1").is_err());
    }
}
