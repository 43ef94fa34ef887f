//! JSON Merge Patch, RFC 7396: the fold that everybody starts with.

use jaq_json::{Map, Rc, Val};

/// `target` with `patch` merged into it: fields of objects are set one by one, null removes one, anything else replaces the whole.
pub(super) fn merged(target: Val, patch: &Val) -> Val {
    let Val::Obj(patch) = patch else { return patch.clone() };
    let Val::Obj(mut fields) = (if matches!(target, Val::Obj(_)) { target } else { Val::obj(Map::default()) }) else {
        unreachable!("it is an object in both cases")
    };
    let changed = Rc::make_mut(&mut fields);
    for (name, value) in patch.iter() {
        if matches!(value, Val::Null) {
            changed.shift_remove(name);
        } else if let Some(field) = changed.get_mut(name) {
            *field = merged(std::mem::take(field), value);
        } else {
            changed.insert(name.clone(), merged(Val::Null, value));
        }
    }
    Val::Obj(fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    #[test]
    fn it_merges_as_the_examples_of_rfc_7396() {
        for (target, patch, result) in [
            (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"a":null}"#, "{}"),
            (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
            (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
            (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
            (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
            (r#"["a","b"]"#, r#"["c","d"]"#, r#"["c","d"]"#),
            (r#"{"a":"b"}"#, r#"["c"]"#, r#"["c"]"#),
            (r#"{"a":"foo"}"#, "null", "null"),
            (r#"{"a":"foo"}"#, r#""bar""#, r#""bar""#),
            (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#),
            ("[1,2]", r#"{"a":"b","c":null}"#, r#"{"a":"b"}"#),
            ("{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
        ] {
            let read = |json: &str| json::read(json.as_bytes()).expect("it is JSON");
            assert_eq!(json::line(&merged(read(target), &read(patch))), result, "{target} with {patch}");
        }
    }
}
