//! Giving fields to null: in jq `null | .count += 1` makes an object, in the interpreter used here it is an error.
//!
//! A fold's state is null before the first event, and every counter is before its first count, so folds depend on it. Each path of a
//! program gets a filter put before it that lets everything through, and in an update makes of null what the path asks for.

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Def, Pattern, Term};
use jaq_core::native::Fun;
use jaq_core::path::{Part, Path};
use jaq_core::{Native, box_iter::box_once};
use jaq_json::{Map, Rc};

use super::jq::Data;
use crate::json::Val;

const OBJECT: &str = "null_as_object";
const ARRAY: &str = "null_as_array";

/// The filters that [`made`] puts into a program.
pub(super) fn functions() -> impl Iterator<Item = Fun<Data>> {
    let through = |update| Native::<Data>::new(|cv| box_once(Ok(cv.1))).with_paths(|cv| box_once(Ok(cv.1))).with_update(update);
    [
        (OBJECT, Box::default(), through(|cv, update| update(or(cv.1, || Val::obj(Map::default()))))),
        (ARRAY, Box::default(), through(|cv, update| update(or(cv.1, || Val::Arr(Rc::default()))))),
    ]
    .into_iter()
}

fn or(value: Val, made: fn() -> Val) -> Val {
    if matches!(value, Val::Null) { made() } else { value }
}

/// The same program, whose paths give fields to null.
pub(super) fn made<'a>(term: Term<&'a str>) -> Term<&'a str> {
    let boxed = |term: Box<Term<&'a str>>| Box::new(made(*term));
    let all = |terms: Vec<Term<&'a str>>| terms.into_iter().map(made).collect();
    match term {
        Term::Path(base, Path(parts)) => parts.into_iter().fold(made(*base), |base, (part, opt)| {
            let filter = filter_for(&part);
            let part = match part {
                Part::Index(index) => Part::Index(made(index)),
                Part::Range(from, to) => Part::Range(from.map(made), to.map(made)),
            };
            let base = match filter {
                Some(name) => Term::BinOp(Box::new(base), BinaryOp::Pipe(None), Box::new(Term::Call(name, Vec::new()))),
                None => base,
            };
            Term::Path(Box::new(base), Path(vec![(part, opt)]))
        }),
        Term::Str(format, parts) => {
            let part = |part| if let StrPart::Term(term) = part { StrPart::Term(made(term)) } else { part };
            Term::Str(format, parts.into_iter().map(part).collect())
        }
        Term::Arr(items) => Term::Arr(items.map(boxed)),
        Term::Obj(fields) => Term::Obj(fields.into_iter().map(|(key, value)| (made(key), value.map(made))).collect()),
        Term::Neg(term) => Term::Neg(boxed(term)),
        Term::BinOp(left, op, right) => {
            let op = if let BinaryOp::Pipe(Some(pattern)) = op { BinaryOp::Pipe(Some(made_pattern(pattern))) } else { op };
            Term::BinOp(boxed(left), op, boxed(right))
        }
        Term::Label(name, term) => Term::Label(name, boxed(term)),
        Term::Fold(name, over, pattern, terms) => Term::Fold(name, boxed(over), made_pattern(pattern), all(terms)),
        Term::TryCatch(body, catch) => Term::TryCatch(boxed(body), catch.map(boxed)),
        Term::IfThenElse(branches, otherwise) => {
            let branches = branches.into_iter().map(|(condition, then)| (made(condition), made(then))).collect();
            Term::IfThenElse(branches, otherwise.map(boxed))
        }
        Term::Def(definitions, body) => {
            let definitions = definitions.into_iter().map(|Def { name, args, body }| Def { name, args, body: made(body) });
            Term::Def(definitions.collect(), boxed(body))
        }
        Term::Call(name, arguments) => Term::Call(name, all(arguments)),
        unchanged @ (Term::Id | Term::Recurse | Term::Num(_) | Term::Break(_) | Term::Var(_)) => unchanged,
    }
}

fn made_pattern(pattern: Pattern<&str>) -> Pattern<&str> {
    match pattern {
        Pattern::Var(name) => Pattern::Var(name),
        Pattern::Arr(items) => Pattern::Arr(items.into_iter().map(made_pattern).collect()),
        Pattern::Obj(fields) => Pattern::Obj(fields.into_iter().map(|(key, value)| (made(key), made_pattern(value))).collect()),
    }
}

/// What null becomes before this part of a path; going through all items makes nothing.
fn filter_for(part: &Part<Term<&str>>) -> Option<&'static str> {
    match part {
        Part::Index(Term::Num(_)) | Part::Range(Some(_), _) | Part::Range(_, Some(_)) => Some(ARRAY),
        Part::Index(_) => Some(OBJECT),
        Part::Range(None, None) => None,
    }
}
