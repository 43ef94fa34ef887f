//! Patterns as Redis has them: `*`, `?`, `[a-z]`, `[^a]` and `\`.

/// Whether a text matches a pattern.
pub(crate) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    run(pattern, text, Case::Matters)
}

/// Whether a text matches a pattern, whatever the case of its letters.
pub(crate) fn matches_in_any_case(pattern: &[u8], text: &[u8]) -> bool {
    run(pattern, text, Case::Ignored)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Case {
    Matters,
    Ignored,
}

/// Goes back only to the last star, so that no pattern takes longer than its length times the text's.
fn run(pattern: &[u8], text: &[u8], case: Case) -> bool {
    let (mut at, mut place) = (0, 0);
    let mut star = None;
    loop {
        if let Some(b'*') = pattern.get(at) {
            star = Some((at + 1, place));
            at += 1;
            continue;
        }
        let next = text.get(place).and_then(|&byte| one(&pattern[at..], byte, case));
        match (next, pattern.get(at), text.get(place)) {
            (Some(length), _, _) => {
                at += length;
                place += 1;
            }
            (None, None, None) => return true,
            _ => match star {
                Some((after, taken)) if taken < text.len() => {
                    star = Some((after, taken + 1));
                    (at, place) = (after, taken + 1);
                }
                _ => return false,
            },
        }
    }
}

/// How much of the pattern this byte takes, if it matches there.
fn one(pattern: &[u8], byte: u8, case: Case) -> Option<usize> {
    let is_same = |other: u8| byte == other || case == Case::Ignored && byte.eq_ignore_ascii_case(&other);
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'\\', escaped, ..] => is_same(*escaped).then_some(2),
        [b'[', class @ ..] => {
            let (is_in, length) = in_class(class, byte, case);
            is_in.then_some(length + 1)
        }
        [other, ..] => is_same(*other).then_some(1),
    }
}

/// Whether a byte is in a class, and how long the class is with its closing bracket. A class that is not closed ends with the pattern.
fn in_class(class: &[u8], byte: u8, case: Case) -> (bool, usize) {
    let fold = |byte: u8| if case == Case::Ignored { byte.to_ascii_lowercase() } else { byte };
    let is_not = class.first() == Some(&b'^');
    let mut at = usize::from(is_not);
    let mut is_in = false;
    loop {
        match &class[at.min(class.len())..] {
            [] => return (is_in != is_not, at),
            [b']', ..] => return (is_in != is_not, at + 1),
            [b'\\', escaped, ..] => {
                is_in |= fold(*escaped) == fold(byte);
                at += 2;
            }
            [first, b'-', last, ..] => {
                let (first, last) = (fold(*first), fold(*last));
                is_in |= (first.min(last)..=first.max(last)).contains(&fold(byte));
                at += 3;
            }
            [one, ..] => {
                is_in |= fold(*one) == fold(byte);
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_redis() {
        let yes = [
            ("*", ""),
            ("h?llo", "hello"),
            ("h*llo", "heeeello"),
            ("h[ae]llo", "hallo"),
            ("h[^e]llo", "hallo"),
            ("h[a-b]llo", "hbllo"),
            ("h[b-a]llo", "hallo"),
            (r"h\*llo", "h*llo"),
            ("*a*b", "xaxxb"),
            ("[a", "a"),
            (r"a\", r"a\"),
            ("**", "abc"),
        ];
        for (pattern, text) in yes {
            assert!(matches(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
        }
        let no = [("", "a"), ("h?llo", "hllo"), ("h[^e]llo", "hello"), (r"h\*llo", "hello"), ("a*b", "ac"), ("abc", "ABC"), ("a", "ab")];
        for (pattern, text) in no {
            assert!(!matches(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
        }
        assert!(matches_in_any_case(b"MaxC[L]*", b"maxclients"));
    }

    #[test]
    fn a_spiteful_pattern_takes_no_longer() {
        assert!(!matches(&b"*a".repeat(500), &b"b".repeat(10_000)));
    }
}
