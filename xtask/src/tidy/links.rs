//! Links between the project's own documents lead somewhere.

use super::Finding;
use super::source::File;

/// Checks the links of a Markdown file; `exists` says whether a path, from the root of the workspace, is there.
pub(super) fn check(file: &File, exists: impl Fn(&str) -> bool) -> Vec<Finding> {
    if !file.path.ends_with(".md") {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let mut in_code = false;
    for (index, line) in file.text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        for target in targets(line) {
            let path = target.split('#').next().unwrap_or_default();
            let is_elsewhere = target.contains("://") || target.starts_with("mailto:") || path.is_empty();
            if !is_elsewhere && !resolve(&file.path, path).is_some_and(|path| exists(&path)) {
                findings.push(Finding::at(&file.path, index + 1, format!("the link to {target} leads nowhere")));
            }
        }
    }
    findings
}

/// What the links in a line point to: `[text](target)` and `[name]: target`.
fn targets(line: &str) -> Vec<&str> {
    // The odd pieces between backquotes are code.
    let prose = line.split('`').step_by(2);
    let inline = prose.flat_map(|text| text.split("](").skip(1)).filter_map(|rest| rest.split([')', ' ']).next());
    let reference = line.strip_prefix('[').and_then(|rest| rest.split_once("]: ")).map(|(_, target)| target.trim());
    inline.chain(reference).collect()
}

/// The path from the root that `link` in the file `from` means, `None` if it leaves the workspace.
fn resolve(from: &str, link: &str) -> Option<String> {
    let mut parts: Vec<&str> = match link.strip_prefix('/') {
        Some(_) => Vec::new(),
        None => from.split('/').collect(),
    };
    parts.pop();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            _ => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(text: &str) -> usize {
        check(&File::new("docs/format.md", text), |path| ["docs/guarantees.md", "README.md"].contains(&path)).len()
    }

    #[test]
    fn a_link_to_nowhere_is_noticed() {
        assert_eq!(broken("[a](missing.md) and [b](../README.md) and [c](guarantees.md#order)"), 1);
        assert_eq!(broken("[a]: missing.md"), 1);
        assert_eq!(broken("[a](../../outside.md)"), 1);
    }

    #[test]
    fn the_web_and_code_are_left_alone() {
        assert_eq!(broken("[a](https://example.org/x) `[b](nothing)` [c](#here)\n```\n[d](nothing)\n```\n"), 0);
    }
}
