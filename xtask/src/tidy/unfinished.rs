//! Marks of unfinished work, which belong in a branch and not in the tree.

use super::Finding;
use super::source::{self, File};

const IN_CODE: &[&str] = &["todo!", "unimplemented!", "dbg!"];
const IN_COMMENTS: &[&str] = &[concat!("FIX", "ME"), concat!("XX", "X"), concat!("HA", "CK")];

pub(super) fn check(file: &File) -> Vec<Finding> {
    if !file.is_rust() {
        return Vec::new();
    }
    let halves = file.halves();
    let mut findings = Vec::new();
    for (marks, text) in [(IN_CODE, &halves.code), (IN_COMMENTS, &halves.comments)] {
        for mark in marks {
            let lines = source::lines_with_word(text, mark).into_iter();
            findings.extend(lines.map(|line| Finding::at(&file.path, line, format!("{mark} marks unfinished work; finish it"))));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unfinished_work_is_noticed() {
        for text in ["fn f() { todo!() }", "fn f() { unimplemented!(\"later\") }", "fn f() { dbg!(1); }"] {
            assert_eq!(check(&File::new("src/a.rs", text)).len(), 1, "{text}");
        }
        assert_eq!(check(&File::new("src/a.rs", format!("// {} this\n", IN_COMMENTS[0]))).len(), 1);
    }

    #[test]
    fn talking_of_it_is_not_doing_it() {
        assert_eq!(check(&File::new("src/a.rs", "// dbg! is not for us.\nconst A: &str = \"todo!\";\n")), []);
    }
}
