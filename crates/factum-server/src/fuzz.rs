//! What fuzzers drive: bytes from anywhere go through everything that reads what clients send, and end in requests or in a refusal.

use bytes::BytesMut;

use crate::redis::resp::{Parser, ParserLimits, ProtocolError, Request};
use crate::redis::{glob, table};

const LIMITS: ParserLimits = ParserLimits { request_bytes_max: 1 << 20, is_stranger: false };

/// Bytes as they come from a client: the same requests are read however they are cut, and of a stranger no more than that.
pub fn resp(bytes: &[u8]) {
    let whole = parsed(bytes, bytes.len().max(1), LIMITS);
    for step in [1, 2, 7, 100] {
        assert_eq!(parsed(bytes, step, LIMITS), whole, "cut into pieces of {step}");
    }
    let (of_stranger, _) = parsed(bytes, bytes.len().max(1), ParserLimits { is_stranger: true, ..LIMITS });
    assert!(whole.0.starts_with(&of_stranger), "a stranger is given what others are");
    for request in &whole.0 {
        let request: Request = request.iter().collect();
        if let Ok(command) = table::look_up(&request) {
            for place in command.key_places(&request) {
                let _ = &request[place];
            }
        }
        if let (Some(pattern), Some(text)) = (request.get(0), request.get(1)) {
            let _ = glob::matches(pattern, text);
            let _ = glob::matches_in_any_case(pattern, text);
        }
    }
    round_trip(bytes);
}

type Parsed = (Vec<Vec<Vec<u8>>>, Option<ProtocolError>);

fn parsed(bytes: &[u8], step: usize, limits: ParserLimits) -> Parsed {
    let (mut parser, mut buffer, mut requests) = (Parser::default(), BytesMut::new(), Vec::new());
    for piece in bytes.chunks(step) {
        buffer.extend_from_slice(piece);
        loop {
            match parser.next(&mut buffer, limits) {
                Ok(Some(request)) => requests.push(request.iter().map(<[u8]>::to_vec).collect()),
                Ok(None) => break,
                Err(error) => return (requests, Some(error)),
            }
        }
    }
    (requests, None)
}

/// Cuts the bytes into arguments, writes a request of them, and reads it again.
fn round_trip(bytes: &[u8]) {
    let mut arguments: Vec<&[u8]> = Vec::new();
    let mut rest = bytes;
    while let Some((length, after)) = rest.split_first() {
        let (argument, after) = after.split_at(usize::from(*length).min(after.len()));
        arguments.push(argument);
        rest = after;
    }
    if arguments.is_empty() {
        return;
    }
    let mut written = format!("*{}\r\n", arguments.len()).into_bytes();
    for argument in &arguments {
        written.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        written.extend_from_slice(argument);
        written.extend_from_slice(b"\r\n");
    }
    let (requests, error) = parsed(&written, 3, LIMITS);
    assert_eq!(error, None);
    assert_eq!(requests, [arguments]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fuzzers_start_from_is_read_the_same_however_it_is_cut() {
        let samples: [&[u8]; 6] = [
            b"",
            b"*2\r\n$4\r\nECHO\r\n$2\r\n\r\n\r\nPING\r\n\r\n*0\r\n*-1\r\n*1\r\n$4\r\nping\r\n",
            b"GET \"a\\x41\" 'b'\r\n*1\r\n:1\r\n",
            b"*1\r\n$-1\r\n",
            b"*3\r\n$5\r\nXREAD\r\n$7\r\nSTREAMS\r\n$1\r\na\r\n",
            &[0xff; 300],
        ];
        samples.into_iter().for_each(resp);
    }
}
