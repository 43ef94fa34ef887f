//! LCS: the longest text that two strings have in common, letters left out of both, and where in each it stands.

use std::ops::Range;

use bytes::Bytes;

use super::call::{SYNTAX, is, number};
use crate::redis::keyspace::{Answered, Context, Stop, Value};
use crate::redis::resp::{Reply, Request};

/// So many pairs of letters are compared at most, because all others wait meanwhile: two strings of 4 KB.
const PAIRS_MAX: usize = 1 << 24;

/// A piece that both strings have.
#[derive(Debug, PartialEq)]
struct Match {
    first: Range<usize>,
    second: Range<usize>,
}

pub(super) fn lcs(context: &mut Context<'_>, request: &Request) -> Answered {
    let keys = [context.key(request.bytes(1)), context.key(request.bytes(2))];
    context.need(&keys)?;
    let mut texts = [Bytes::new(), Bytes::new()];
    for (key, text) in keys.iter().zip(&mut texts) {
        match &context.slot(key)?.value {
            Value::Text(found) => *text = found.clone(),
            Value::Nothing => {}
            Value::Hash(_) | Value::Stream => return Err(Stop::error("ERR The specified keys must contain string values")),
        }
    }
    let (mut wants_places, mut wants_length, mut with_lengths, mut length_min) = (false, false, false, 0);
    let mut place = 3;
    while let Some(option) = request.get(place) {
        if is(option, "idx") {
            wants_places = true;
        } else if is(option, "len") {
            wants_length = true;
        } else if is(option, "withmatchlen") {
            with_lengths = true;
        } else if is(option, "minmatchlen")
            && let Some(length) = request.get(place + 1)
        {
            length_min = usize::try_from(number(length)?).unwrap_or(0);
            place += 1;
        } else {
            return Err(SYNTAX);
        }
        place += 1;
    }
    if wants_places && wants_length {
        return Err(Stop::error("ERR If you want both the length and indexes, please just use IDX."));
    }
    let [first, second] = &texts;
    if (first.len() + 1).saturating_mul(second.len() + 1) > PAIRS_MAX {
        return Err(Stop::error("ERR Insufficient memory, the strings are too long for LCS: 16777216 pairs of bytes are compared at most"));
    }
    let lengths = Lengths::of(first, second);
    if wants_length {
        return Ok(Reply::count(lengths.total()).into());
    }
    let matches = lengths.matches(first, second);
    if !wants_places {
        let text: Vec<u8> = matches.iter().rev().flat_map(|found| &first[found.first.clone()]).copied().collect();
        return Ok(Reply::Bulk(text.into()).into());
    }
    let ends = |range: &Range<usize>| Reply::Array(vec![Reply::count(range.start), Reply::count(range.end - 1)]);
    let shown = matches.iter().filter(|found| found.first.len() >= length_min).map(|found| {
        let length = with_lengths.then(|| Reply::count(found.first.len()));
        Reply::Array([ends(&found.first), ends(&found.second)].into_iter().chain(length).collect())
    });
    Ok(Reply::Map(vec![(Reply::text("matches"), Reply::Array(shown.collect())), (Reply::text("len"), Reply::count(lengths.total()))])
        .into())
}

/// How much the beginnings of two strings have in common, for each length of both.
struct Lengths {
    table: Vec<u16>,
    width: usize,
}

impl Lengths {
    fn of(first: &[u8], second: &[u8]) -> Self {
        let width = second.len() + 1;
        let mut lengths = Self { table: vec![0; (first.len() + 1) * width], width };
        for (row, one) in first.iter().enumerate() {
            for (column, other) in second.iter().enumerate() {
                let longest =
                    if one == other { lengths.at(row, column) + 1 } else { lengths.at(row, column + 1).max(lengths.at(row + 1, column)) };
                lengths.table[(row + 1) * width + column + 1] = longest;
            }
        }
        lengths
    }

    fn at(&self, row: usize, column: usize) -> u16 {
        self.table[row * self.width + column]
    }

    fn total(&self) -> usize {
        self.table.last().copied().unwrap_or_default().into()
    }

    /// The pieces, from the last one to the first. Of several ways the one is taken that Redis takes.
    fn matches(&self, first: &[u8], second: &[u8]) -> Vec<Match> {
        let (mut row, mut column) = (first.len(), second.len());
        let mut matches: Vec<Match> = Vec::new();
        let mut is_in_match = false;
        while row > 0 && column > 0 {
            if first[row - 1] != second[column - 1] {
                is_in_match = false;
                if self.at(row - 1, column) > self.at(row, column - 1) {
                    row -= 1
                } else {
                    column -= 1
                }
                continue;
            }
            (row, column) = (row - 1, column - 1);
            match matches.last_mut().filter(|_| is_in_match) {
                Some(last) => (last.first.start, last.second.start) = (row, column),
                None => matches.push(Match { first: row..row + 1, second: column..column + 1 }),
            }
            is_in_match = true;
        }
        matches
    }
}
