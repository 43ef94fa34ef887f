//! A request typed as a line: words apart by blanks, with quotes and escapes as Redis has them.

/// The words of a line, or `None` if a quote is not closed, or not followed by a blank.
pub(super) fn split(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut rest = line;
    loop {
        while let [first, after @ ..] = rest
            && is_blank(*first)
        {
            rest = after;
        }
        if rest.is_empty() || rest[0] == 0 {
            return Some(words);
        }
        let mut word = Vec::new();
        loop {
            match rest {
                [] | [0, ..] => break,
                [blank, ..] if is_blank(*blank) => break,
                [b'"', after @ ..] => rest = double_quoted(after, &mut word)?,
                [b'\'', after @ ..] => rest = single_quoted(after, &mut word)?,
                [byte, after @ ..] => {
                    word.push(*byte);
                    rest = after;
                }
            }
        }
        words.push(word);
    }
}

/// What follows the closing quote.
fn double_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match rest {
            [b'\\', b'x', high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                word.push(digit(*high) * 16 + digit(*low));
                rest = after;
            }
            [b'\\', escaped, after @ ..] => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                });
                rest = after;
            }
            [b'"', after @ ..] => return ends_word(after),
            [] | [0, ..] => return None,
            [byte, after @ ..] => {
                word.push(*byte);
                rest = after;
            }
        }
    }
}

/// What follows the closing quote.
fn single_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match rest {
            [b'\\', b'\'', after @ ..] => {
                word.push(b'\'');
                rest = after;
            }
            [b'\'', after @ ..] => return ends_word(after),
            [] | [0, ..] => return None,
            [byte, after @ ..] => {
                word.push(*byte);
                rest = after;
            }
        }
    }
}

/// A closing quote stands at the end of a word.
fn ends_word(rest: &[u8]) -> Option<&[u8]> {
    rest.first().is_none_or(|byte| is_blank(*byte)).then_some(rest)
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 11 | 12)
}

fn digit(hex: u8) -> u8 {
    match hex {
        b'0'..=b'9' => hex - b'0',
        _ => hex.to_ascii_lowercase() - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Option<Vec<String>> {
        Some(split(line.as_bytes())?.into_iter().map(|word| String::from_utf8_lossy(&word).into_owned()).collect())
    }

    #[test]
    fn words_are_apart_by_blanks() {
        assert_eq!(words("  SET  a\tb "), Some(vec!["SET".to_owned(), "a".to_owned(), "b".to_owned()]));
        assert_eq!(words(""), Some(Vec::new()));
    }

    #[test]
    fn quotes_hold_words_together() {
        assert_eq!(words(r#"ECHO "a b\x41\n""#), Some(vec!["ECHO".to_owned(), "a bA\n".to_owned()]));
        assert_eq!(words(r"ECHO 'it\'s'"), Some(vec!["ECHO".to_owned(), "it's".to_owned()]));
        assert_eq!(words(r#"ECHO """#), Some(vec!["ECHO".to_owned(), String::new()]));
    }

    #[test]
    fn an_open_quote_is_refused() {
        assert_eq!(words(r#"ECHO "a"#), None);
        assert_eq!(words(r#"ECHO "a"b"#), None);
        assert_eq!(words("ECHO 'a"), None);
    }
}
