//! Requests encoded beforehand, as redis-benchmark has them: sending one more costs a few digits and no formatting.
//!
//! The data is JSON like that of real events: names of members and some values come again and again, numbers and references do not.

use super::ENTRY_BYTES;
use crate::sample::scrambled;

/// Digits of a stream's number in its name.
const STREAM_DIGITS: usize = 4;
/// Digits of an order's number in its data.
const ORDER_DIGITS: usize = 10;
const TYPE: &str = "OrderPlaced";

const CITIES: [&str; 8] = ["Leipzig", "Bordeaux", "Porto", "Gdansk", "Trieste", "Uppsala", "Utrecht", "Galway"];
const STATES: [&str; 4] = ["new", "paid", "packed", "shipped"];

/// XADDs of entries, as they are sent, with the places of what differs each time.
pub(super) struct Entries {
    bytes: Vec<u8>,
    /// Where each entry's stream and order stand.
    places: Vec<(usize, usize)>,
}

impl Entries {
    /// So many, between MULTI and EXEC if they are a transaction. `seed` makes the data one's own.
    pub(super) fn new(category: &str, count: u64, is_transaction: bool, seed: u64) -> Self {
        let mut entries = Self { bytes: Vec::new(), places: Vec::new() };
        if is_transaction {
            request(&mut entries.bytes, &[b"MULTI"]);
        }
        for number in 0..count {
            entries.add(category, seed << 32 | number);
        }
        if is_transaction {
            request(&mut entries.bytes, &[b"EXEC"]);
        }
        entries
    }

    fn add(&mut self, category: &str, seed: u64) {
        let (name, data) = (stream_name(category, 0), data(seed, ENTRY_BYTES - "type".len() - TYPE.len() - "data".len()));
        let start = self.bytes.len();
        request(&mut self.bytes, &[b"XADD", name.as_bytes(), b"*", b"type", TYPE.as_bytes(), b"data", data.as_bytes()]);
        let named = memchr::memmem::find(&self.bytes[start..], name.as_bytes()).expect("the request names its stream");
        let stream = start + named + name.len() - STREAM_DIGITS;
        let order = self.bytes.len() - "\r\n".len() - data.len() + r#"{"order":"#.len();
        self.places.push((stream, order));
    }

    /// The requests, the first entry being that number; `stream_of` says where each belongs.
    pub(super) fn of(&mut self, first: u64, stream_of: impl Fn(u64) -> u64) -> &[u8] {
        for (number, &(stream, order)) in (first..).zip(&self.places) {
            digits(stream_of(number), &mut self.bytes[stream..stream + STREAM_DIGITS]);
            // No leading zeros in JSON.
            digits(1_000_000_000 + number % 1_000_000_000, &mut self.bytes[order..order + ORDER_DIGITS]);
        }
        &self.bytes
    }
}

/// The name of the stream of that number.
pub(super) fn stream_name(category: &str, number: u64) -> String {
    format!("{category}-{number:0STREAM_DIGITS$}")
}

/// Adds a request.
pub(super) fn request(bytes: &mut Vec<u8>, words: &[&[u8]]) {
    bytes.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
}

/// An order of exactly so many bytes, of which about a quarter is a reference that never comes again.
fn data(seed: u64, bytes: usize) -> String {
    let random = scrambled(seed);
    let of = |names: &[&'static str], at: u32| names[usize::try_from(random >> at).unwrap_or_default() % names.len()];
    let (city, state) = (of(&CITIES, 3), of(&STATES, 11));
    let (customer, item, quantity, cents) = (random % 90_000, random >> 17 & 0xffff, random >> 40 & 7, random >> 43 & 0x7fff);
    let order = format!(
        r#"{{"order":1000000000,"customer":"customer-{customer:05}","state":"{state}","city":"{city}","currency":"EUR","items":[{{"sku":"SKU-{item:05}","quantity":{quantity},"cents":{cents}}}],"ref":""#
    );
    let rest = bytes - order.len() - 2;
    let reference: String =
        (0..rest).map(|at| char::from(b"0123456789abcdef"[(scrambled(seed ^ (at as u64 + 1) << 52) & 15) as usize])).collect();
    format!("{order}{reference}\"}}")
}

fn digits(mut number: u64, place: &mut [u8]) {
    for digit in place.iter_mut().rev() {
        *digit = b"0123456789"[(number % 10) as usize];
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_each_time_stands_where_it_belongs() {
        for category in ["Order", "Log"] {
            let mut entries = Entries::new(category, 3, true, 7);
            let sent = String::from_utf8(entries.of(1_234, |number| number % 10_000).to_vec()).expect("it is text");
            let words: Vec<&str> = sent.split("\r\n").collect();
            for number in 1_234..1_237 {
                let stream = stream_name(category, number);
                let at = words.iter().position(|word| *word == stream).expect("each stream is there");
                let data: serde_json::Value = serde_json::from_str(words[at + 10]).expect("the data is JSON");
                assert_eq!(data["order"], 1_000_000_000 + number);
                assert_eq!(words[at + 10].len() + "typeOrderPlaceddata".len(), ENTRY_BYTES);
            }
        }
    }
}
