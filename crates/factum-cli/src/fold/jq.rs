//! Folds written in jq: a program over `{state, event}`, compiled once.

use jaq_core::load::parse::Def;
use jaq_core::load::{Arena, File, Loader};
use jaq_core::{Compiler, Ctx, Filter, Vars, data, load, unwrap_valr};

use super::null_fields;
use crate::json::{self, Val};

/// What programs work on: values, and nothing besides.
pub(super) type Data = data::JustLut<Val>;

/// What the program is called when it is compiled.
const MAIN: &str = "factum_fold";

/// A program that has been compiled.
pub(crate) struct Program {
    filter: Filter<Data>,
}

impl Program {
    /// Compiles a program; `name` is what errors call it.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub(crate) fn compile(name: &str, code: &str) -> Result<Self, String> {
        let definitions = || jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
        let functions = jaq_core::funs().chain(jaq_std::funs()).chain(jaq_json::funs()).chain(null_fields::functions());
        let arena = Arena::default();
        // This says what is wrong with a program, and reads whatever kind of program there is.
        let mut modules = Loader::new(definitions()).load(&arena, File { code, path: () }).map_err(|errors| {
            let first = errors.into_iter().next();
            first.map_or_else(|| format!("{name}: it can't be read"), |(_, error)| load_error(name, code, error))
        })?;
        if let Some(term) = load::parse(code, |parser| parser.term()) {
            // The definitions live for ever, the program only as long as its text.
            let definitions: Vec<Def<&str>> = definitions().collect();
            let fold = Def { name: MAIN, args: Vec::new(), body: null_fields::made(term) };
            let loader = Loader::new(definitions.into_iter().chain([fold]));
            modules = loader.load(&arena, File { code: MAIN, path: () }).map_err(|_| format!("{name}: it can't be read"))?;
        }
        let filter = Compiler::default().with_funs(functions).compile(modules).map_err(|errors| {
            let first = errors.into_iter().flat_map(|(_, errors)| errors).next();
            first.map_or_else(
                || format!("{name}: it can't be compiled"),
                |(at, undefined)| format!("{name} {}: undefined {} {at}", place(code, at), undefined.as_str()),
            )
        })?;
        Ok(Self { filter })
    }

    /// The next state. A program that gives none, as `select` may, leaves the state as it is.
    ///
    /// # Errors
    /// What the program fails with, or that it gives more than one state.
    pub(crate) fn run(&self, state: Val, event: Val) -> Result<Val, String> {
        let fields = [(json::text("state"), state.clone()), (json::text("event"), event)];
        let context = Ctx::<Data>::new(&self.filter.lut, Vars::new([]));
        let mut results = self.filter.id.run((context, Val::obj(fields.into_iter().collect()))).map(unwrap_valr);
        let Some(first) = results.next() else { return Ok(state) };
        let next = first.map_err(|error| format!("the fold failed: {error}"))?;
        match results.next() {
            None => Ok(next),
            Some(Ok(_)) => Err("the fold gives more than one state; it should give one".to_owned()),
            Some(Err(error)) => Err(format!("the fold failed: {error}")),
        }
    }
}

fn load_error(name: &str, code: &str, error: load::Error<&str>) -> String {
    let found = |at: &str| {
        let word = at.split_whitespace().next().unwrap_or("the end");
        format!("but found {}", word.chars().take(20).collect::<String>())
    };
    let described = match error {
        load::Error::Io(errors) => errors.into_iter().next(),
        load::Error::Lex(errors) => {
            errors.into_iter().next().map(|(expected, at)| (at, format!("expected {}, {}", expected.as_str(), found(at))))
        }
        load::Error::Parse(errors) => {
            errors.into_iter().next().map(|(expected, at)| (at, format!("expected {}, {}", expected.as_str(), found(at))))
        }
    };
    match described {
        Some((at, reason)) => format!("{name} {}: {reason}", place(code, at)),
        None => format!("{name}: it can't be read"),
    }
}

/// Where in `code` the rest of it, or a word of it, stands.
fn place(code: &str, at: &str) -> String {
    let offset = (at.as_ptr() as usize).checked_sub(code.as_ptr() as usize).filter(|offset| *offset <= code.len());
    let before = &code[..offset.unwrap_or(code.len())];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |text| text.chars().count()) + 1;
    format!("line {line} column {column}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(code: &str, state: &str, event: &str) -> Result<String, String> {
        let read = |json: &str| json::read(json.as_bytes()).expect("it is JSON");
        Program::compile("test.jq", code)?.run(read(state), read(event)).map(|state| json::line(&state))
    }

    #[test]
    fn a_program_makes_the_next_state() {
        assert_eq!(run(".state + .event.data.n", "40", r#"{"data":{"n":2}}"#), Ok("42".to_owned()));
        assert_eq!(run(".state.total += .event.n | .state", "null", r#"{"n":1.5}"#), Ok(r#"{"total":1.5}"#.to_owned()));
    }

    #[test]
    fn null_is_given_the_fields_that_a_program_sets() {
        for (code, state, next) in [
            (".state.count += 1 | .state", "null", r#"{"count":1}"#),
            (".state.by[.event.type] += 1 | .state", "null", r#"{"by":{"Paid":1}}"#),
            (".state.by[.event.type] += 1 | .state", r#"{"by":{"Paid":1}}"#, r#"{"by":{"Paid":2}}"#),
            (".state.a.b.c = 1 | .state", "null", r#"{"a":{"b":{"c":1}}}"#),
            (".state.list += [1] | .state", "null", r#"{"list":[1]}"#),
            ("def add(p): p += 2; add(.state.n) | .state", "{}", r#"{"n":2}"#),
            ("(.state.x, .state.y.z) = 1 | .state", "null", r#"{"x":1,"y":{"z":1}}"#),
            ("reduce (1, 2) as $n (.state; .sum += $n)", "null", r#"{"sum":3}"#),
            (".state | .a.b", "null", "null"),
            (".state | path(.a.b[0])", "null", r#"["a","b",0]"#),
            (".state | [paths]", r#"{"a":[1]}"#, r#"[["a"],["a",0]]"#),
            (".state | del(.a.b)", r#"{"a":{"b":1}}"#, r#"{"a":{}}"#),
            (".state | to_entries[0].key", r#"{"a":1}"#, r#""a""#),
            (".event as {type: $t} | \"\\(.state.n): \\($t)\"", r#"{"n":1}"#, r#""1: Paid""#),
        ] {
            assert_eq!(run(code, state, r#"{"type":"Paid"}"#).as_deref(), Ok(next), "{code}");
        }
    }

    #[test]
    fn a_program_that_gives_nothing_leaves_the_state() {
        assert_eq!(run(".event | select(false)", r#"{"a":1}"#, "{}"), Ok(r#"{"a":1}"#.to_owned()));
    }

    #[test]
    fn what_is_wrong_with_a_program_is_said_with_its_place() {
        assert_eq!(
            run(".state |\n nosuch(1)", "null", "null").expect_err("it is wrong"),
            "test.jq line 2 column 2: undefined filter nosuch"
        );
        for broken in ["", ".state + ", "{a: ", "\"open", ".a | )", "if . then 1"] {
            let error = run(broken, "null", "null").expect_err("it is wrong");
            assert!(error.starts_with("test.jq line 1 column "), "{broken}: {error}");
        }
        assert!(run("1, 2", "null", "null").expect_err("it is wrong").contains("more than one"));
        assert!(run(".state.a.b", "[]", "null").expect_err("it is wrong").starts_with("the fold failed: "));
        assert!(run(".event | error", "[]", "1").expect_err("it is wrong").starts_with("the fold failed: "));
    }
}
