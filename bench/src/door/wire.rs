//! A connection to a server: requests out, answers in. Answers are passed over as cheaply as can be, each byte looked at once.

use bytes::{Buf, BytesMut};
use memchr::memchr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Outcome;

/// One connection.
pub(super) struct Wire {
    stream: TcpStream,
    received: BytesMut,
}

/// How far a reply has been looked at.
#[derive(Default)]
struct Passed {
    /// Behind what has been looked at.
    end: usize,
    /// Elements still to come.
    elements: u64,
}

impl Wire {
    pub(super) async fn connect(port: u16) -> Outcome<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, received: BytesMut::with_capacity(256 << 10) })
    }

    /// Sends requests and awaits their answers; how many elements the last one has.
    pub(super) async fn ask(&mut self, requests: &[u8], answers: u64) -> Outcome<u64> {
        self.stream.write_all(requests).await?;
        let mut elements = 0;
        for _ in 0..answers {
            let end = self.await_reply().await?;
            elements =
                if self.received[0] == b'*' { line(&self.received).map_or(0, |(number, _)| number.max(0).unsigned_abs()) } else { 1 };
            self.received.advance(end);
        }
        Ok(elements)
    }

    /// Sends a request and awaits its answer, which `look` sees.
    pub(super) async fn look<T>(&mut self, request: &[u8], look: impl FnOnce(&[u8]) -> T) -> Outcome<T> {
        self.stream.write_all(request).await?;
        let end = self.await_reply().await?;
        let seen = look(&self.received[..end]);
        self.received.advance(end);
        Ok(seen)
    }

    /// Where the next reply ends, once it is there. An error ends the measurement, which would not be one.
    async fn await_reply(&mut self) -> Outcome<usize> {
        let mut passed = Passed { end: 0, elements: 1 };
        while !passed.pass(&self.received) {
            self.received.reserve(64 << 10);
            if self.stream.read_buf(&mut self.received).await? == 0 {
                return Err("the server has ended the connection".into());
            }
        }
        if self.received[0] == b'-' {
            return Err(String::from_utf8_lossy(&self.received[..passed.end]).into());
        }
        Ok(passed.end)
    }
}

impl Passed {
    /// Goes on; whether the reply is whole.
    fn pass(&mut self, bytes: &[u8]) -> bool {
        while self.elements > 0 {
            let rest = bytes.get(self.end..).unwrap_or_default();
            let (number, length) = match rest.first() {
                Some(b'$' | b'*') => match line(rest) {
                    Some(line) => line,
                    None => return false,
                },
                Some(_) => match memchr(b'\n', rest) {
                    Some(end) => (-1, end + 1),
                    None => return false,
                },
                None => return false,
            };
            let count = number.max(0).unsigned_abs();
            if rest[0] == b'$' && number >= 0 {
                let end = self.end + length + usize::try_from(count).unwrap_or(usize::MAX) + 2;
                if end > bytes.len() {
                    return false;
                }
                self.end = end;
                self.elements -= 1;
            } else {
                self.end += length;
                self.elements = self.elements - 1 + if rest[0] == b'*' { count } else { 0 };
            }
        }
        true
    }
}

/// The number in a line behind its first byte, and the length of the line.
pub(super) fn line(bytes: &[u8]) -> Option<(i64, usize)> {
    let (mut number, mut is_negative) = (0, false);
    for (at, byte) in bytes.iter().enumerate().skip(1) {
        match byte {
            b'0'..=b'9' => number = number * 10 + i64::from(byte - b'0'),
            b'-' => is_negative = true,
            b'\n' => return Some((if is_negative { -number } else { number }, at + 1)),
            _ => {}
        }
    }
    None
}

/// The ids of the entries that a reading command of one stream has brought: the strings that come right after an array of two has begun.
pub(super) fn ids_of(reply: &[u8]) -> Vec<&[u8]> {
    let mut ids = Vec::new();
    let mut place = 0;
    let mut was_pair = false;
    while let Some((number, length)) = reply.get(place..).and_then(line) {
        let is_string = reply[place] == b'$';
        place += length;
        if is_string {
            let bytes = usize::try_from(number).unwrap_or_default();
            let text = &reply[place..place + bytes];
            if was_pair && text.iter().all(|byte| byte.is_ascii_digit() || *byte == b'-') {
                ids.push(text);
            }
            place += bytes + 2;
            was_pair = false;
        } else {
            was_pair = number == 2 && reply[place - length] == b'*';
        }
    }
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPLY: &[u8] =
        b"*1\r\n*2\r\n$3\r\nLog\r\n*2\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\na\r\n$0\r\n\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\na\r\n$-1\r\n";

    #[test]
    fn a_reply_ends_where_it_ends_however_it_arrives() {
        let next = [REPLY, b"+OK\r\n"].concat();
        for cut in 0..=REPLY.len() {
            let mut passed = Passed { end: 0, elements: 1 };
            assert_eq!(passed.pass(&next[..cut]), cut == REPLY.len(), "cut at {cut}");
            assert!(passed.pass(&next));
            assert_eq!(passed.end, REPLY.len());
        }
    }

    #[test]
    fn ids_are_found_in_a_reply() {
        assert_eq!(ids_of(REPLY), [b"1-0", b"1-1"]);
    }
}
