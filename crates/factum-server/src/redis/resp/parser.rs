//! Bytes to requests, piece by piece: what has been looked at is not looked at again, and nothing is allocated on a promise.

use bytes::{Buf, BytesMut};
use memchr::memchr;
use smallvec::SmallVec;

use super::inline;
use super::request::{Request, Span};

/// The longest line: an inline request, or a length.
const LINE_BYTES_MAX: usize = 64 << 10;
/// What a client may send before it has given the password.
const STRANGER_ARGUMENTS_MAX: i64 = 10;
const STRANGER_BULK_BYTES_MAX: i64 = 16 << 10;
/// The most arguments of a request.
const ARGUMENTS_MAX: i64 = 1 << 20;

/// What the client sent is not the protocol. It is told, and the connection ends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProtocolError {
    #[error("Protocol error: too big inline request")]
    InlineTooLong,
    #[error("Protocol error: unbalanced quotes in request")]
    UnbalancedQuotes,
    #[error("Protocol error: too big mbulk count string")]
    CountTooLong,
    #[error("Protocol error: invalid multibulk length")]
    InvalidCount,
    #[error("Protocol error: unauthenticated multibulk length")]
    CountOfStranger,
    #[error("Protocol error: too big bulk count string")]
    LengthTooLong,
    #[error("Protocol error: expected '$', got '{}'", *.0 as char)]
    NoBulk(u8),
    #[error("Protocol error: invalid bulk length")]
    InvalidLength,
    #[error("Protocol error: unauthenticated bulk length")]
    LengthOfStranger,
    #[error("Protocol error: the request is longer than {0} bytes; send less at a time, or raise limits.request_bytes_max")]
    RequestTooLong(usize),
}

/// What is taken at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ParserLimits {
    /// One request, with all its arguments.
    pub(crate) request_bytes_max: usize,
    /// Whether the client has still to give the password.
    pub(crate) is_stranger: bool,
}

/// Reads requests off the front of a buffer.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    /// A request that has begun.
    begun: Option<Begun>,
}

#[derive(Debug)]
struct Begun {
    /// How far the buffer has been looked at.
    position: usize,
    arguments: SmallVec<[Span; 8]>,
    remaining: usize,
    /// The length of the argument that comes next, once it has been read.
    length: Option<usize>,
}

impl Parser {
    /// The next request, or `None` if there is no whole one yet.
    pub(crate) fn next(&mut self, buffer: &mut BytesMut, limits: ParserLimits) -> Result<Option<Request>, ProtocolError> {
        loop {
            if self.begun.is_some() {
                return self.go_on(buffer, limits);
            }
            match buffer.first() {
                None => return Ok(None),
                Some(b'*') => {
                    let Some((count, end)) = number(buffer, 1, ProtocolError::CountTooLong)? else { return Ok(None) };
                    let count = count.filter(|&count| count <= ARGUMENTS_MAX).ok_or(ProtocolError::InvalidCount)?;
                    if limits.is_stranger && count > STRANGER_ARGUMENTS_MAX {
                        return Err(ProtocolError::CountOfStranger);
                    }
                    let Ok(remaining @ 1..) = usize::try_from(count) else {
                        buffer.advance(end);
                        continue;
                    };
                    self.begun = Some(Begun { position: end, arguments: SmallVec::new(), remaining, length: None });
                }
                Some(_) => {
                    let Some(end) = memchr(b'\n', &buffer[..buffer.len().min(LINE_BYTES_MAX + 1)]) else {
                        return if buffer.len() > LINE_BYTES_MAX { Err(ProtocolError::InlineTooLong) } else { Ok(None) };
                    };
                    let line = buffer.split_to(end + 1);
                    let line = line[..end].strip_suffix(b"\r").unwrap_or(&line[..end]);
                    let words = inline::split(line).ok_or(ProtocolError::UnbalancedQuotes)?;
                    if !words.is_empty() {
                        return Ok(Some(words.into_iter().collect()));
                    }
                }
            }
        }
    }

    /// How many bytes the request that has begun is known to need at least, from the buffer's start.
    pub(crate) fn needs(&self) -> usize {
        self.begun.as_ref().map_or(0, |begun| begun.position + begun.length.map_or(0, |length| length + 2))
    }

    /// What it keeps of the request that has begun, besides its bytes.
    pub(crate) fn held_bytes(&self) -> usize {
        self.begun.as_ref().map_or(0, |begun| begun.arguments.len() * size_of::<Span>())
    }

    fn go_on(&mut self, buffer: &mut BytesMut, limits: ParserLimits) -> Result<Option<Request>, ProtocolError> {
        let begun = self.begun.as_mut().expect("called only when a request has begun");
        let place = |offset: usize| u32::try_from(offset).map_err(|_| ProtocolError::RequestTooLong(limits.request_bytes_max));
        while begun.remaining > 0 {
            let length = match begun.length {
                Some(length) => length,
                None => {
                    if let Some(&first) = buffer.get(begun.position)
                        && first != b'$'
                    {
                        return Err(ProtocolError::NoBulk(first));
                    }
                    let Some((length, end)) = number(buffer, begun.position + 1, ProtocolError::LengthTooLong)? else { return Ok(None) };
                    let length = length.filter(|&length| length >= 0).ok_or(ProtocolError::InvalidLength)?;
                    if limits.is_stranger && length > STRANGER_BULK_BYTES_MAX {
                        return Err(ProtocolError::LengthOfStranger);
                    }
                    let length = usize::try_from(length).map_err(|_| ProtocolError::InvalidLength)?;
                    if length > limits.request_bytes_max {
                        return Err(ProtocolError::InvalidLength);
                    }
                    if end + length > limits.request_bytes_max {
                        return Err(ProtocolError::RequestTooLong(limits.request_bytes_max));
                    }
                    begun.position = end;
                    begun.length = Some(length);
                    length
                }
            };
            if buffer.len() < begun.position + length + 2 {
                return Ok(None);
            }
            begun.arguments.push((place(begun.position)?, place(begun.position + length)?));
            begun.position += length + 2;
            begun.remaining -= 1;
            begun.length = None;
        }
        let Begun { position, arguments, .. } = self.begun.take().expect("it has begun");
        Ok(Some(Request::new(buffer.split_to(position).freeze(), arguments)))
    }
}

/// The number in the line that begins there, `None` within if it is none, and where the next line begins.
#[inline]
fn number(buffer: &[u8], start: usize, too_long: ProtocolError) -> Result<Option<(Option<i64>, usize)>, ProtocolError> {
    let line = buffer.get(start..).unwrap_or_default();
    // Nearly all are counts and lengths of a few digits.
    let (mut short, mut end) = (0, 0);
    while end < SHORT_DIGITS_MAX
        && let Some(digit) = line.get(end).map(|byte| byte.wrapping_sub(b'0'))
        && digit <= 9
    {
        short = short * 10 + i64::from(digit);
        end += 1;
    }
    if let [b'\r', _, ..] = line[end..]
        && (line[0] != b'0' || end == 1)
        && end > 0
    {
        return Ok(Some((Some(short), start + end + 2)));
    }
    let Some(end) = memchr(b'\r', &line[..line.len().min(LINE_BYTES_MAX)]) else {
        return if line.len() >= LINE_BYTES_MAX { Err(too_long) } else { Ok(None) };
    };
    // The byte after it is taken for the line feed, whatever it is, as Redis does.
    if line.len() < end + 2 {
        return Ok(None);
    }
    Ok(Some((integer(&line[..end]), start + end + 2)))
}

/// Numbers with more digits are read more carefully.
const SHORT_DIGITS_MAX: usize = 9;

/// A number as Redis writes it: no plus, no zeros before it, no blanks.
pub(crate) fn integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let is_plain = match digits {
        [b'0'] => text.len() == 1,
        [b'1'..=b'9', ..] => digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if is_plain { std::str::from_utf8(text).ok()?.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: ParserLimits = ParserLimits { request_bytes_max: 1 << 20, is_stranger: false };

    fn all(bytes: &[u8]) -> Result<Vec<Vec<String>>, ProtocolError> {
        let mut buffer = BytesMut::from(bytes);
        let mut parser = Parser::default();
        let mut requests = Vec::new();
        while let Some(request) = parser.next(&mut buffer, LIMITS)? {
            requests.push(request.iter().map(|argument| String::from_utf8_lossy(argument).into_owned()).collect());
        }
        Ok(requests)
    }

    #[test]
    fn requests_that_arrive_together_are_read_one_after_the_other() {
        let requests = all(b"*2\r\n$4\r\nECHO\r\n$2\r\n\r\n\r\nPING\r\n\r\n*0\r\n*-1\r\n*1\r\n$4\r\nping\r\n").expect("they are whole");
        assert_eq!(requests, [vec!["ECHO", "\r\n"], vec!["PING"], vec!["ping"]]);
    }

    #[test]
    fn a_request_may_arrive_byte_by_byte() {
        let bytes = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nhello\r\n";
        let mut parser = Parser::default();
        let mut buffer = BytesMut::new();
        for (index, byte) in bytes.iter().enumerate() {
            buffer.extend_from_slice(&[*byte]);
            let request = parser.next(&mut buffer, LIMITS).expect("it is the protocol");
            assert_eq!(request.is_some(), index + 1 == bytes.len());
        }
        assert!(buffer.is_empty());
    }

    #[test]
    fn what_is_not_the_protocol_gets_the_errors_of_redis() {
        assert_eq!(all(b"*1\r\n:1\r\n"), Err(ProtocolError::NoBulk(b':')));
        for count in [&b"*a\r\n"[..], b"*\r\n", b"*01\r\n", b"*1a\r\n", b"*1234567890\r\n", b"*12345678901\r\n"] {
            assert_eq!(all(count), Err(ProtocolError::InvalidCount));
        }
        assert_eq!(all(b"*1\r\n$00\r\n"), Err(ProtocolError::InvalidLength));
        assert_eq!(all(b"*99999999999999999999\r\n"), Err(ProtocolError::InvalidCount));
        assert_eq!(all(b"*1\r\n$-1\r\n"), Err(ProtocolError::InvalidLength));
        assert_eq!(all(b"*1\r\n$2147483648\r\n"), Err(ProtocolError::InvalidLength));
        assert_eq!(all(b"ECHO 'a\r\n"), Err(ProtocolError::UnbalancedQuotes));
        assert_eq!(all(&[b'a'; LINE_BYTES_MAX + 1]), Err(ProtocolError::InlineTooLong));
        assert_eq!(all(&[&b"*"[..], &[b'1'; LINE_BYTES_MAX]].concat()), Err(ProtocolError::CountTooLong));
        assert_eq!(all(&[&b"*1\r\n$"[..], &[b'1'; LINE_BYTES_MAX]].concat()), Err(ProtocolError::LengthTooLong));
    }

    #[test]
    fn many_arguments_together_are_still_one_request_of_a_bounded_size() {
        let argument = [&b"$65536\r\n"[..], &[b'x'; 65536], b"\r\n"].concat();
        let request = [&b"*17\r\n"[..], &argument.repeat(17)].concat();
        assert_eq!(all(&request), Err(ProtocolError::RequestTooLong(1 << 20)));
    }

    #[test]
    fn a_stranger_may_send_little() {
        let limits = ParserLimits { is_stranger: true, ..LIMITS };
        let error = |bytes: &[u8]| Parser::default().next(&mut BytesMut::from(bytes), limits).expect_err("it is too much");
        assert_eq!(error(b"*11\r\n"), ProtocolError::CountOfStranger);
        assert_eq!(error(b"*1\r\n$16385\r\n"), ProtocolError::LengthOfStranger);
    }

    #[test]
    fn numbers_are_plain() {
        assert_eq!(integer(b"-12"), Some(-12));
        assert_eq!(integer(b"0"), Some(0));
        for wrong in ["", "-", "+1", " 1", "01", "-0", "1a", "9223372036854775808"] {
            assert_eq!(integer(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
