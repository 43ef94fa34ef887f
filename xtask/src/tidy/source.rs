//! A file of the tree, and for Rust its code apart from its comments, so that a rule about one is not fooled by the other.

/// A text file.
pub(super) struct File {
    /// From the root of the workspace, with slashes.
    pub(super) path: String,
    pub(super) text: String,
}

/// The two halves of a Rust file. Both have the file's lines; what belongs to the other half is blank in each.
pub(super) struct Halves {
    /// Without comments and without the insides of strings.
    pub(super) code: String,
    pub(super) comments: String,
}

impl File {
    pub(super) fn new(path: &str, text: impl Into<String>) -> Self {
        Self { path: path.to_owned(), text: text.into() }
    }

    pub(super) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    pub(super) fn halves(&self) -> Halves {
        let mut splitter = Splitter { rest: &self.text, code: String::new(), comments: String::new() };
        while !splitter.rest.is_empty() {
            splitter.step();
        }
        Halves { code: splitter.code, comments: splitter.comments }
    }
}

struct Splitter<'a> {
    rest: &'a str,
    code: String,
    comments: String,
}

impl Splitter<'_> {
    fn step(&mut self) {
        let rest = self.rest;
        if rest.starts_with("//") {
            self.comment(rest.find('\n').unwrap_or(rest.len()));
        } else if rest.starts_with("/*") {
            self.comment(block_comment_bytes(rest));
        } else if let Some(bytes) = string_bytes(rest, self.code.chars().next_back()) {
            self.string(bytes);
        } else {
            self.code_bytes(rest.chars().next().map_or(0, char::len_utf8));
        }
    }

    fn code_bytes(&mut self, bytes: usize) {
        let taken = self.take(bytes);
        self.code += taken;
        self.comments += &blank(taken);
    }

    fn comment(&mut self, bytes: usize) {
        let taken = self.take(bytes);
        self.code += &blank(taken);
        self.comments += taken;
    }

    /// Leaves quotes in the code, so that it is still seen that something stands there.
    fn string(&mut self, bytes: usize) {
        let taken = self.take(bytes);
        let inside = taken.get(1..taken.len().saturating_sub(1)).map_or_else(|| blank(taken), |inside| format!("\"{}\"", blank(inside)));
        self.code += &inside;
        self.comments += &blank(taken);
    }

    fn take<'a>(&mut self, bytes: usize) -> &'a str
    where
        Self: 'a,
    {
        let (taken, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        taken
    }
}

/// The same length and lines, with nothing on them.
fn blank(text: &str) -> String {
    text.chars().map(|character| if character == '\n' { '\n' } else { ' ' }).collect()
}

/// How long the block comment is that `text` begins with; they nest.
fn block_comment_bytes(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// How long the string or character literal is that `text` begins with, `None` if it begins with something else.
fn string_bytes(text: &str, before: Option<char>) -> Option<usize> {
    let in_name = before.is_some_and(|character| character.is_alphanumeric() || character == '_');
    let raw = text.strip_prefix("br").or_else(|| text.strip_prefix('r')).filter(|_| !in_name);
    if let Some(raw) = raw {
        let hashes = raw.bytes().take_while(|byte| *byte == b'#').count();
        if raw[hashes..].starts_with('"') {
            let open = text.len() - raw.len() + hashes + 1;
            let end = format!("\"{}", "#".repeat(hashes));
            return Some(text[open..].find(&end).map_or(text.len(), |at| open + at + end.len()));
        }
    }
    if text.starts_with('"') {
        return Some(escaped_bytes(text, '"'));
    }
    // 'a' and '\n' are characters; 'a alone is a lifetime.
    let quoted = text.strip_prefix('\'')?;
    let mut characters = quoted.chars();
    let first = characters.next()?;
    (first == '\\' || characters.next() == Some('\'')).then(|| escaped_bytes(text, '\''))
}

/// How long the literal between `quote`s is, an escaped quote not ending it.
fn escaped_bytes(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character == quote => return at + character.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

/// The lines of `text`, numbered from 1, that have `word` as a whole word.
pub(super) fn lines_with_word(text: &str, word: &str) -> Vec<usize> {
    let part_of_name = |character: char| character.is_alphanumeric() || character == '_';
    let has = |line: &str| {
        line.match_indices(word).any(|(at, _)| {
            let before = line[..at].chars().next_back();
            let after = line[at + word.len()..].chars().next();
            let goes_on_before = word.starts_with(part_of_name) && before.is_some_and(part_of_name);
            let goes_on_after = word.ends_with(part_of_name) && after.is_some_and(part_of_name);
            !goes_on_before && !goes_on_after
        })
    };
    text.lines().enumerate().filter(|(_, line)| has(line)).map(|(index, _)| index + 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn halves(text: &str) -> Halves {
        File::new("a.rs", text).halves()
    }

    #[test]
    fn comments_are_not_code() {
        let Halves { code, comments } = halves("a // one\nb /* two /* three */ */ c\n");
        assert_eq!(code.split_whitespace().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert!(comments.contains("one") && comments.contains("three") && !comments.contains('c'));
        assert_eq!((code.lines().count(), comments.lines().count()), (2, 2));
    }

    #[test]
    fn what_stands_in_a_string_is_neither() {
        for text in
            [r#"f("x // \" unsafe", y)"#, "f(r#\"x \" unsafe\"#, y)", "f(br\"unsafe\", y)", "f('\\'', '\"', y) // \"", "f(b'\"', y)"]
        {
            let Halves { code, comments } = halves(text);
            assert!(code.contains("y)"), "{text}: {code}");
            assert!(!code.contains("unsafe") && !comments.contains("unsafe"), "{text}");
        }
    }

    #[test]
    fn a_lifetime_does_not_begin_a_character() {
        assert!(halves("fn f<'a>(x: &'a str) { unsafe {} }").code.contains("unsafe"));
    }

    #[test]
    fn words_are_whole_words() {
        assert_eq!(lines_with_word("unsafe_code\nan unsafe fn\nnotunsafe", "unsafe"), [2]);
        assert_eq!(lines_with_word("dbg!(1)\nmy_dbg!(2)", "dbg!"), [1]);
    }
}
