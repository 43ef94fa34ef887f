//! What changed between two states, field by field.

use jaq_json::Val;

use crate::console::{Look, cut};
use crate::json;

/// One field that changed.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    /// The names on the way to it.
    path: Vec<String>,
    /// What it was; `None` if it was not there.
    from: Option<Val>,
    /// What it is; `None` if it is not there any more.
    to: Option<Val>,
}

/// The fields that differ, in the order in which they stand in the states.
pub(crate) fn changes(from: &Val, to: &Val) -> Vec<Change> {
    let mut changes = Vec::new();
    compare(&mut Vec::new(), from, to, &mut changes);
    changes
}

/// The changes as JSON: where (a JSON pointer), from what, to what.
pub(crate) fn to_json(changes: &[Change]) -> String {
    let objects: Vec<String> = changes.iter().map(Change::to_json).collect();
    format!("[{}]", objects.join(","))
}

impl Change {
    fn to_json(&self) -> String {
        let mut pointer = String::new();
        for name in &self.path {
            pointer.push('/');
            pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
        }
        let mut object = format!("{{\"path\":{}", json::line(&json::text(pointer)));
        if let Some(from) = &self.from {
            object.push_str(&format!(",\"from\":{}", json::line(from)));
        }
        if let Some(to) = &self.to {
            object.push_str(&format!(",\"to\":{}", json::line(to)));
        }
        object.push('}');
        object
    }

    /// The change on one line for a person: what came, went, or is another now.
    pub(crate) fn show(&self, look: Look, columns: usize) -> String {
        let path = if self.path.is_empty() { "(all)".to_owned() } else { self.path.join(".") };
        let room = columns.saturating_sub(path.chars().count() + 4).max(20);
        match (&self.from, &self.to) {
            (None, Some(to)) => look.good(format!("+ {path}: {}", cut(&json::line(to), room))).to_string(),
            (Some(from), None) => look.bad(format!("- {path}: {}", cut(&json::line(from), room))).to_string(),
            (Some(from), Some(to)) => {
                let (from, to) = (cut(&json::line(from), room / 2), cut(&json::line(to), room / 2));
                look.changed(format!("~ {path}: {from} → {to}")).to_string()
            }
            (None, None) => String::new(),
        }
    }
}

fn compare(path: &mut Vec<String>, from: &Val, to: &Val, changes: &mut Vec<Change>) {
    let (Val::Obj(old), Val::Obj(new)) = (from, to) else {
        // Before the first event there is nothing: then every field of the first state came with it.
        if let (Val::Null, Val::Obj(new)) = (from, to)
            && path.is_empty()
            && !new.is_empty()
        {
            let came = new.iter().map(|(key, value)| Change { path: vec![json::name(key)], from: None, to: Some(value.clone()) });
            changes.extend(came);
        } else if from != to {
            changes.push(Change { path: path.clone(), from: Some(from.clone()), to: Some(to.clone()) });
        }
        return;
    };
    for (key, value) in old.iter() {
        path.push(json::name(key));
        match new.get(key) {
            Some(now) => compare(path, value, now, changes),
            None => changes.push(Change { path: path.clone(), from: Some(value.clone()), to: None }),
        }
        path.pop();
    }
    for (key, value) in new.iter().filter(|(key, _)| !old.contains_key(*key)) {
        path.push(json::name(key));
        changes.push(Change { path: path.clone(), from: None, to: Some(value.clone()) });
        path.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(from: &str, to: &str) -> String {
        let read = |json: &str| json::read(json.as_bytes()).expect("it is JSON");
        to_json(&changes(&read(from), &read(to)))
    }

    #[test]
    fn fields_that_came_went_and_changed_are_named() {
        assert_eq!(
            changed(r#"{"a":1,"b":{"c":2,"d":[1]},"e/f":3}"#, r#"{"a":1,"b":{"c":4,"d":[1]},"g":null}"#),
            r#"[{"path":"/b/c","from":2,"to":4},{"path":"/e~1f","from":3},{"path":"/g","to":null}]"#
        );
        assert_eq!(changed("null", r#"{"a":1}"#), r#"[{"path":"/a","to":1}]"#);
        assert_eq!(changed("1", "2"), r#"[{"path":"","from":1,"to":2}]"#);
        assert_eq!(changed("{}", "{}"), "[]");
    }
}
