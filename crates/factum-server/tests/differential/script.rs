//! Sequences as text: a request on each line, in quotes where there are blanks.
//!
//! `@1` before a request sends it on another connection, `&` at its end does not wait for the reply, and `@1 <` reads that later.

use super::both::Step;

/// A sequence and what it is about.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) title: String,
    pub(crate) steps: Vec<Step>,
}

/// The sequences of a file; each begins with a line `== title`.
pub(crate) fn scripts(text: &str) -> Vec<Script> {
    let mut scripts: Vec<Script> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.strip_prefix("== ") {
            Some(title) => scripts.push(Script { title: title.to_owned(), steps: Vec::new() }),
            None => scripts.last_mut().expect("a file begins with a title").steps.push(step(line)),
        }
    }
    scripts
}

fn step(line: &str) -> Step {
    let (connection, line) = match line.strip_prefix('@') {
        Some(rest) => {
            let (number, line) = rest.split_once(' ').expect("something is sent");
            (number.parse().expect("a number of a connection"), line)
        }
        None => (0, line),
    };
    match line.strip_suffix(" &") {
        _ if line == "<" => Step::End(connection),
        Some(line) => Step::Begin(connection, words(line)),
        None => Step::Call(connection, words(line)),
    }
}

/// The words of a line; `"…"` may have `\xff`, `\n`, `\r`, `\t`, `\"` and `\\` in it.
fn words(line: &str) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut bytes = line.bytes().peekable();
    while let Some(&first) = bytes.peek() {
        if first == b' ' {
            bytes.next();
            continue;
        }
        let mut word = Vec::new();
        if first == b'"' {
            bytes.next();
            while let Some(byte) = bytes.next().filter(|byte| *byte != b'"') {
                word.push(if byte == b'\\' { escaped(&mut bytes) } else { byte });
            }
        } else {
            while let Some(byte) = bytes.next_if(|byte| *byte != b' ') {
                word.push(byte);
            }
        }
        words.push(word);
    }
    words
}

fn escaped(bytes: &mut impl Iterator<Item = u8>) -> u8 {
    let mut next = || bytes.next().expect("an escape has a letter");
    match next() {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'x' => {
            let digits = [next(), next()];
            u8::from_str_radix(std::str::from_utf8(&digits).expect("two digits"), 16).expect("two digits")
        }
        other => other,
    }
}

/// A sequence in this form, to be copied into a file.
pub(crate) fn shown(steps: &[Step]) -> String {
    let line = |connection: &usize, request: &[Vec<u8>], end: &str| {
        let on = if *connection == 0 { String::new() } else { format!("@{connection} ") };
        let words: Vec<String> = request.iter().map(|word| shown_word(word)).collect();
        format!("{on}{}{end}\n", words.join(" "))
    };
    steps
        .iter()
        .map(|step| match step {
            Step::Call(connection, request) => line(connection, request, ""),
            Step::Begin(connection, request) => line(connection, request, " &"),
            Step::End(connection) => format!("@{connection} <\n"),
        })
        .collect()
}

pub(crate) fn shown_word(word: &[u8]) -> String {
    let is_plain = !word.is_empty() && word.iter().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'));
    if is_plain && word != b"&" && word != b"<" {
        String::from_utf8_lossy(word).into_owned()
    } else {
        let escaped: String = word
            .iter()
            .map(|byte| {
                if byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\') || *byte == b' ' {
                    (*byte as char).to_string()
                } else {
                    format!("\\x{byte:02x}")
                }
            })
            .collect();
        format!("\"{escaped}\"")
    }
}
