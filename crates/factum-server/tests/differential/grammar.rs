//! Random sequences: over few names, so that commands meet, and with enough of the wrong things in them.

use super::both::Step;

/// A source of chance that a seed repeats.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn of(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("less than the bound")
    }

    fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    fn of_list<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }
}

/// What is said, and how often. Words in braces are chosen by chance; those that begin with `?` are often left out.
const REQUESTS: &[(usize, &str)] = &[
    (30, "XADD {stream} {?nomkstream} {?trim} {new-id} {pairs}"),
    (10, "XADD {stream} * {pairs}"),
    (8, "XRANGE {stream} {from} {to} {?count}"),
    (6, "XREVRANGE {stream} {to} {from} {?count}"),
    (6, "XREAD {?count} STREAMS {stream} {after}"),
    (3, "XREAD {?count} STREAMS {stream} {stream} {after} {after}"),
    (4, "XLEN {key}"),
    (5, "XDEL {stream} {id} {?more-ids}"),
    (5, "XTRIM {stream} {trim}"),
    (3, "XSETID {stream} {id} {?setid-options}"),
    (5, "XINFO STREAM {key}"),
    (3, "XINFO STREAM {stream} FULL {?count}"),
    (4, "XINFO GROUPS {key}"),
    (4, "XINFO CONSUMERS {stream} {group}"),
    (8, "XGROUP CREATE {stream} {group} {id} {?mkstream} {?entriesread}"),
    (3, "XGROUP SETID {stream} {group} {id} {?entriesread}"),
    (2, "XGROUP DESTROY {stream} {group}"),
    (3, "XGROUP CREATECONSUMER {stream} {group} {consumer}"),
    (2, "XGROUP DELCONSUMER {stream} {group} {consumer}"),
    (14, "XREADGROUP GROUP {group} {consumer} {?count} {?noack} STREAMS {stream} >"),
    (4, "XREADGROUP GROUP {group} {consumer} {?count} {?noack} STREAMS {stream} {id}"),
    (2, "XREADGROUP GROUP {group} {consumer} {?count} STREAMS {stream} {stream} > >"),
    (6, "XACK {stream} {group} {id} {?more-ids}"),
    (4, "XPENDING {stream} {group}"),
    (5, "XPENDING {stream} {group} {?idle} {from} {to} {integer} {?consumer}"),
    (5, "XCLAIM {stream} {group} {consumer} {idle-ms} {id} {?more-ids} {?claim-options}"),
    (5, "XAUTOCLAIM {stream} {group} {consumer} {idle-ms} {from} {?count} {?justid}"),
    (10, "SET {key} {value} {?set-options}"),
    (8, "GET {key}"),
    (2, "GETSET {key} {value}"),
    (2, "GETDEL {key}"),
    (2, "GETEX {key} {?expiry}"),
    (2, "SETNX {key} {value}"),
    (2, "SETEX {key} {seconds} {value}"),
    (2, "PSETEX {key} {seconds} {value}"),
    (3, "MGET {key} {key} {?key}"),
    (2, "MSET {key} {value} {key} {value}"),
    (2, "MSETNX {key} {value} {key} {value}"),
    (4, "INCR {key}"),
    (2, "DECR {key}"),
    (3, "INCRBY {key} {integer}"),
    (2, "DECRBY {key} {integer}"),
    (3, "INCRBYFLOAT {key} {number}"),
    (2, "STRLEN {key}"),
    (3, "APPEND {key} {value}"),
    (3, "GETRANGE {key} {integer} {integer}"),
    (2, "SETRANGE {key} {small} {value}"),
    (2, "EXPIRE {key} {seconds}"),
    (2, "SETBIT {key} {integer} {bit}"),
    (2, "GETBIT {key} {integer}"),
    (2, "BITOP {bit-operation} {key} {key} {?key}"),
    (2, "LCS {key} {key} {?lcs-option}"),
    // GT and LT would go by the millisecond here.
    (2, "PEXPIRE {key} {seconds}"),
    (2, "EXPIREAT {key} {moment} {?expire-option}"),
    (1, "PEXPIREAT {key} {moment}000 {?expire-option}"),
    (2, "EXPIRETIME {key}"),
    (1, "PEXPIRETIME {key}"),
    (2, "TTL {key}"),
    (1, "PTTL {key}"),
    (2, "PERSIST {key}"),
    (4, "DEL {key} {?key}"),
    (1, "UNLINK {key}"),
    (3, "EXISTS {key} {key}"),
    (1, "TOUCH {key} {key}"),
    (4, "TYPE {key}"),
    (2, "KEYS {pattern}"),
    (2, "SCAN 0 {?match} COUNT 1000 {?type}"),
    (3, "RENAME {key} {key}"),
    (2, "RENAMENX {key} {key}"),
    (2, "COPY {key} {key} {?replace}"),
    (2, "DBSIZE"),
    (6, "HSET {key} {field} {value} {?pairs}"),
    (2, "HSETNX {key} {field} {value}"),
    (3, "HGET {key} {field}"),
    (2, "HMSET {key} {pairs}"),
    (2, "HMGET {key} {field} {field}"),
    (3, "HGETALL {key}"),
    (2, "HDEL {key} {field} {?field}"),
    (1, "HLEN {key}"),
    (1, "HEXISTS {key} {field}"),
    (1, "HKEYS {key}"),
    (1, "HVALS {key}"),
    (2, "HINCRBY {key} {field} {integer}"),
    (2, "HINCRBYFLOAT {key} {field} {number}"),
    (1, "HSTRLEN {key} {field}"),
    (1, "HSCAN {key} 0 {?match}"),
    (1, "OBJECT ENCODING {key}"),
    (6, "MULTI"),
    (8, "EXEC"),
    (2, "DISCARD"),
    (3, "WATCH {key} {?key}"),
    (1, "UNWATCH"),
    (2, "SELECT {database}"),
    (1, "PING {?value}"),
    (1, "ECHO {value}"),
    (1, "WAIT 0 0"),
    (1, "DEBUG RELOAD"),
    (1, "NOSUCH {value} {value}"),
    (1, "CLIENT GETNAME"),
    (1, "CLIENT SETNAME {field}"),
];

const STREAMS: &[&str] = &["s", "s", "s", "s", "t", "t", "k", "none"];
const KEYS: &[&str] = &["k", "k", "l", "h", "h", "s", "t", "none", "number", ""];
const IDS: &[&str] = &[
    " 1",
    "+2-007",
    "1- -5",
    "0",
    "0-0",
    "0-1",
    "1-1",
    "1-2",
    "1-3",
    "2-0",
    "2-1",
    "3",
    "3-1",
    "5-5",
    "7",
    "100-1",
    "$",
    "-",
    "+",
    ">",
    "1-*",
    "18446744073709551615-18446744073709551615",
    "18446744073709551615",
    "abc",
    "1-1-1",
    "-1",
    "1-",
    "",
];
const NEW_IDS: &[&str] = &[
    "1-*",
    "2-*",
    "5-*",
    "1-1",
    "1-2",
    "1-3",
    "2-1",
    "3",
    "3-1",
    "3-2",
    "4-*",
    "5-5",
    "6-1",
    "7-*",
    "8-1",
    "9-9",
    "10-*",
    "*",
    "0-0",
    "0-*",
    "0-1",
    "abc",
    "18446744073709551615-18446744073709551615",
    "1-1-1",
];
const NUMBERS: &[&str] = &["0", "1", "2", "3", "10", "-1", "-2", "100"];
const WRONG_NUMBERS: &[&str] =
    &["abc", "", "1.5", "99999999999999999999", "9223372036854775807", "-9223372036854775808", " 1", "+1", "01", "1e3"];

/// A sequence.
pub(crate) fn sequence(chance: &mut Chance, connections: usize) -> Vec<Step> {
    let length = 5 + chance.below(40);
    // What comes first decides whether what follows meets anything.
    let theme = chance.below(4);
    (0..length).map(|_| Step::Call(chance.below(connections), request(chance, theme))).collect()
}

fn request(chance: &mut Chance, theme: usize) -> Vec<Vec<u8>> {
    let fits = |text: &str| match theme {
        0 => text.starts_with('X'),
        1 => !text.starts_with('X'),
        _ => true,
    };
    let total: usize = REQUESTS.iter().filter(|(_, text)| fits(text)).map(|(weight, _)| weight).sum();
    let mut place = chance.below(total);
    let (_, template) = REQUESTS
        .iter()
        .filter(|(_, text)| fits(text))
        .find(|(weight, _)| {
            let is_here = place < *weight;
            place = place.saturating_sub(*weight);
            is_here
        })
        .expect("the place is below the total");
    let mut request: Vec<Vec<u8>> = Vec::new();
    for word in template.split(' ') {
        match word.strip_prefix('{').and_then(|word| word.split_once('}')) {
            None => request.push(word.as_bytes().to_vec()),
            Some((name, rest)) => {
                let name = match name.strip_prefix('?') {
                    Some(_) if !chance.one_in(3) => continue,
                    Some(name) => name,
                    None => name,
                };
                chosen(name, chance, &mut request);
                request.last_mut().expect("there is a name").extend_from_slice(rest.as_bytes());
            }
        }
    }
    spoil(chance, &mut request);
    request
}

/// Now and then something is missing, or there twice, or in another case.
fn spoil(chance: &mut Chance, request: &mut Vec<Vec<u8>>) {
    if chance.one_in(8) {
        request[0].make_ascii_lowercase();
    }
    if chance.one_in(60) {
        let place = chance.below(request.len());
        request.remove(place);
    } else if chance.one_in(60) {
        let place = chance.below(request.len());
        request.insert(place, request[place].clone());
    } else if chance.one_in(80) {
        let place = 1 + chance.below(request.len());
        request.insert(place.min(request.len()), b"wrong".to_vec());
    }
    if request.is_empty() {
        request.push(b"PING".to_vec());
    }
}

fn chosen(name: &str, chance: &mut Chance, request: &mut Vec<Vec<u8>>) {
    let mut say = |words: &[&str]| request.extend(words.iter().map(|word| word.as_bytes().to_vec()));
    match name {
        "stream" => say(&[chance.of_list(STREAMS)]),
        "key" => say(&[chance.of_list(KEYS)]),
        "group" => say(&[chance.of_list(&["g", "g", "g", "f", "none"])]),
        "consumer" => say(&[chance.of_list(&["c", "c", "d", ""])]),
        "field" => say(&[chance.of_list(&["f", "g", "type", "data", "", "event_type", "metadata"])]),
        "value" => value(chance, request),
        "pairs" => {
            for _ in 0..1 + chance.below(3) {
                chosen("field", chance, request);
                value(chance, request);
            }
        }
        "id" => say(&[chance.of_list(IDS)]),
        // A later Redis than the one beside reads the last entry with `+`, and so do we.
        "after" => say(&[chance.of_list(IDS).replace('+', "0").as_str()]),
        "new-id" => say(&[chance.of_list(NEW_IDS)]),
        "more-ids" => {
            for _ in 0..1 + chance.below(3) {
                chosen("id", chance, request);
            }
        }
        "from" => {
            let id = chance.of_list(&[
                "-",
                "-",
                "0",
                "1",
                "1-1",
                "1-2",
                "(1-1",
                "(2",
                "3",
                "5-5",
                "+",
                "(-",
                "abc",
                "(18446744073709551615-18446744073709551615",
            ]);
            say(&[id]);
        }
        "to" => {
            let id =
                chance.of_list(&["+", "+", "+", "1-2", "2", "3-1", "(3-1", "(2", "5", "-", "(+", "abc", "(0-0", "18446744073709551615"]);
            say(&[id]);
        }
        "nomkstream" => say(&["NOMKSTREAM"]),
        "mkstream" => say(&["MKSTREAM"]),
        "noack" => say(&["NOACK"]),
        "justid" => say(&["JUSTID"]),
        "replace" => say(&["REPLACE"]),
        "count" => {
            say(&["COUNT"]);
            chosen("integer", chance, request);
        }
        "trim" => {
            if chance.one_in(2) {
                say(&["MAXLEN"]);
                if let option @ ("=" | "~") = chance.of_list(&["=", "~", ""]) {
                    request.push(option.as_bytes().to_vec());
                }
                chosen("integer", chance, request);
            } else {
                say(&["MINID"]);
                if let option @ ("=" | "~") = chance.of_list(&["=", "~", ""]) {
                    request.push(option.as_bytes().to_vec());
                }
                chosen("id", chance, request);
            }
            if chance.one_in(6) {
                request.push(b"LIMIT".to_vec());
                chosen("integer", chance, request);
            }
        }
        "setid-options" => {
            say(&["ENTRIESADDED"]);
            chosen("integer", chance, request);
            request.push(b"MAXDELETEDID".to_vec());
            chosen("id", chance, request);
        }
        "entriesread" => {
            say(&["ENTRIESREAD"]);
            chosen("integer", chance, request);
        }
        "idle" => {
            say(&["IDLE"]);
            chosen("idle-ms", chance, request);
        }
        "idle-ms" => say(&[chance.of_list(&["0", "0", "0", "1000000", "-1", "abc"])]),
        "claim-options" => {
            for _ in 0..1 + chance.below(2) {
                let option = chance.of_list(&[
                    "JUSTID",
                    "FORCE",
                    "RETRYCOUNT 3",
                    "IDLE 1000000",
                    "TIME 1",
                    "LASTID 3-1",
                    "LASTID abc",
                    "RETRYCOUNT -1",
                    "wrong",
                ]);
                request.extend(option.split(' ').map(|word| word.as_bytes().to_vec()));
            }
        }
        "set-options" => {
            for _ in 0..1 + chance.below(2) {
                let option = chance.of_list(&[
                    "NX",
                    "XX",
                    "GET",
                    "KEEPTTL",
                    "EX 1000",
                    "PX 1000000",
                    "EXAT 33177117420",
                    "PXAT 33177117420000",
                    "EX 0",
                    "EX abc",
                    "PX -1",
                    "wrong",
                ]);
                request.extend(option.split(' ').map(|word| word.as_bytes().to_vec()));
            }
        }
        "expiry" => {
            let option = chance.of_list(&["EX 1000", "PX 1000000", "EXAT 33177117420", "PERSIST", "EX -1", "EX abc", "wrong"]);
            request.extend(option.split(' ').map(|word| word.as_bytes().to_vec()));
        }
        "expire-option" => say(&[chance.of_list(&["NX", "XX", "GT", "LT", "wrong"])]),
        "seconds" => say(&[chance.of_list(&["1000000", "2000000", "0", "-1", "abc", "9223372036854775807"])]),
        "moment" => say(&[chance.of_list(&["33177117420", "33177117421", "1", "-1", "abc"])]),
        "pattern" => say(&[chance.of_list(&["*", "?", "[a-k]", "n*", "no\\ne", "[^s]", "x"])]),
        "match" => {
            say(&["MATCH"]);
            chosen("pattern", chance, request);
        }
        "type" => say(&["TYPE", chance.of_list(&["string", "hash", "stream", "list", "wrong"])]),
        "database" => say(&[chance.of_list(&["0", "0", "0", "1", "15", "16", "-1", "abc"])]),
        "small" => say(&[chance.of_list(&["0", "1", "5", "-1", "536870912", "abc"])]),
        "bit" => say(&[chance.of_list(&["0", "1", "1", "2", "x"])]),
        "bit-operation" => say(&[chance.of_list(&["AND", "OR", "XOR", "NOT", "wrong"])]),
        "lcs-option" => say(&[chance.of_list(&["LEN", "IDX", "WITHMATCHLEN", "wrong"])]),
        "number" => {
            say(&[chance.of_list(&["1", "1.5", "-0.25", "0", "1e3", "3.0e-2", "abc", "inf", "nan", "100000000000000000000", " 1"])])
        }
        "integer" => {
            let list = if chance.one_in(8) { WRONG_NUMBERS } else { NUMBERS };
            say(&[chance.of_list(list)]);
        }
        other => unreachable!("there is no choice {other}"),
    }
}

fn value(chance: &mut Chance, request: &mut Vec<Vec<u8>>) {
    request.push(match chance.below(12) {
        0 => b"\xff\x00\r\n".to_vec(),
        1 => Vec::new(),
        2 => br#"{"a":1}"#.to_vec(),
        3 => b"3.25".to_vec(),
        4 => vec![b'x'; 100],
        5..8 => chance.of_list(NUMBERS).as_bytes().to_vec(),
        _ => chance.of_list(&["a", "b", "hello", "OrderPlaced"]).as_bytes().to_vec(),
    });
}
