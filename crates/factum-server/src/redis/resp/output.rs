//! Replies to bytes, in either version of the protocol.

use std::io;
use std::time::Duration;

use bytes::{Buf, BufMut, BytesMut};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::time::timeout;

use super::{Protocol, Reply};
use crate::redis::entry::TEXT_BYTES_MAX;
use crate::redis::held::Share;

/// Beyond this the replies are sent before more are added.
const FULL_BYTES: usize = 1 << 20;

/// A reply of less is added without a look at how much is there.
const LARGE_BYTES: usize = 4 << 10;

/// The bytes that wait to be sent, and where to.
#[derive(Debug, Default)]
pub(crate) struct Output {
    bytes: BytesMut,
    sink: Option<Sink>,
    failure: Option<SendError>,
    sent_bytes: u64,
}

/// Where replies are sent to.
#[derive(Debug)]
struct Sink {
    socket: OwnedWriteHalf,
    bytes_max: usize,
    stall_max: Duration,
    share: Share,
}

/// Why replies could not be sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    #[error("{0}")]
    Socket(#[from] io::Error),
    #[error("it did not read {0} bytes of answers for too long")]
    Stalled(usize),
}

impl Output {
    /// Bytes for a client, who is given no longer answer than so many, and is given up if it reads nothing for so long. What waits is noted in
    /// its share.
    pub(crate) fn to(socket: OwnedWriteHalf, bytes_max: usize, stall_max: Duration, share: Share) -> Self {
        Self { sink: Some(Sink { socket, bytes_max, stall_max, share }), ..Self::default() }
    }

    /// Whether the answer that is being made may become longer.
    pub(crate) fn check(&mut self) -> factum::Result<()> {
        self.check_more(0)
    }

    /// Whether the answer that is being made may become longer by so many bytes.
    fn check_more(&mut self, bytes: usize) -> factum::Result<()> {
        let Some(Sink { bytes_max, share, .. }) = &mut self.sink else { return Ok(()) };
        let length = self.bytes.len().saturating_add(bytes);
        if length > bytes_max.saturating_add(FULL_BYTES) {
            return Err(factum::Error::Unsupported {
                feature: format!("answers of more than {bytes_max} bytes"),
                store: "this server".to_owned(),
                instead: "ask for less at a time, with COUNT, or raise limits.output_bytes_max".to_owned(),
            });
        }
        if length > FULL_BYTES {
            share.note(length);
            if share.is_ending() {
                // Nobody will read it, and making it would take the memory that there is too little of.
                return Err(factum::Error::Unavailable { reason: "the connection is being ended".to_owned(), source: None });
            }
        }
        Ok(())
    }

    /// Adds a reply, if the answer may become so long.
    pub(crate) fn push_checked(&mut self, reply: &Reply, protocol: Protocol) -> factum::Result<()> {
        let size = reply.size();
        if size > LARGE_BYTES {
            self.check_more(size)?;
        }
        self.push(reply, protocol);
        Ok(())
    }

    /// Whether there is so much that it is to be sent before more is added, or nothing can be sent any more.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() >= FULL_BYTES || self.failure.is_some()
    }

    /// Sends what is there, if that is much, so that the memory is bounded however much is answered.
    ///
    /// What can't be sent is dropped, and so is all that is added later; whoever has the connection hears of it from [`Output::send`].
    pub(crate) async fn make_room(&mut self) {
        if self.failure.is_some() {
            self.bytes.clear();
        } else if self.bytes.len() >= FULL_BYTES
            && let Err(failure) = self.send_all().await
        {
            self.failure = Some(failure);
            self.bytes.clear();
        }
    }

    /// Sends all that is there, and says how many bytes have been sent since it was last asked.
    pub(crate) async fn send(&mut self, kept_bytes_max: usize) -> Result<u64, SendError> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        self.send_all().await?;
        if self.bytes.capacity() > kept_bytes_max {
            self.bytes = BytesMut::new();
        }
        Ok(std::mem::take(&mut self.sent_bytes))
    }

    async fn send_all(&mut self) -> Result<(), SendError> {
        let Some(Sink { socket, stall_max, share, .. }) = &mut self.sink else { return Ok(()) };
        // What was sent of it goes on taking its place until all is.
        let whole = self.bytes.len();
        while !self.bytes.is_empty() {
            match socket.try_write(&self.bytes) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                Ok(sent) => {
                    self.bytes.advance(sent);
                    self.sent_bytes += sent as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    share.note(whole);
                    match timeout(*stall_max, socket.writable()).await {
                        Ok(writable) => writable?,
                        Err(_) => return Err(SendError::Stalled(self.bytes.len())),
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        share.note(0);
        Ok(())
    }

    /// Adds a reply.
    pub(crate) fn push(&mut self, reply: &Reply, protocol: Protocol) {
        write(&mut self.bytes, reply, protocol);
    }

    /// How much is waiting.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// What is waiting, to be sent and taken off.
    pub(crate) fn bytes_mut(&mut self) -> &mut BytesMut {
        &mut self.bytes
    }
}

fn write(out: &mut BytesMut, reply: &Reply, protocol: Protocol) {
    match reply {
        Reply::Simple(text) => simple(out, text),
        Reply::SimpleText(text) => simple(out, text),
        Reply::Error(text) => error(out, text.as_bytes()),
        Reply::ErrorBytes(text) => error(out, text),
        Reply::Integer(integer) => number(out, b':', *integer),
        Reply::Bulk(bytes) => bulk(out, bytes),
        Reply::Id(id) => bulk(out, id.digits(&mut [0; TEXT_BYTES_MAX])),
        Reply::Null => out.put_slice(if protocol == Protocol::Three { b"_\r\n" } else { b"$-1\r\n" }),
        Reply::NullArray => out.put_slice(if protocol == Protocol::Three { b"_\r\n" } else { b"*-1\r\n" }),
        Reply::Array(replies) => all(out, b'*', replies, protocol),
        Reply::Set(replies) => all(out, if protocol == Protocol::Three { b'~' } else { b'*' }, replies, protocol),
        Reply::Map(pairs) => {
            match protocol {
                Protocol::Two => header(out, b'*', pairs.len() * 2),
                Protocol::Three => header(out, b'%', pairs.len()),
            }
            for (key, value) in pairs {
                write(out, key, protocol);
                write(out, value, protocol);
            }
        }
        Reply::Written(two, three) => out.put_slice(if protocol == Protocol::Three { three } else { two }.as_bytes()),
        Reply::Pairs(pairs) => {
            header(out, b'*', if protocol == Protocol::Three { pairs.len() } else { pairs.len() * 2 });
            for (first, second) in pairs {
                if protocol == Protocol::Three {
                    header(out, b'*', 2);
                }
                write(out, first, protocol);
                write(out, second, protocol);
            }
        }
        Reply::Verbatim(text) => {
            match protocol {
                Protocol::Two => header(out, b'$', text.len()),
                Protocol::Three => {
                    header(out, b'=', text.len() + 4);
                    out.put_slice(b"txt:");
                }
            }
            out.put_slice(text.as_bytes());
            out.put_slice(b"\r\n");
        }
    }
}

fn all(out: &mut BytesMut, kind: u8, replies: &[Reply], protocol: Protocol) {
    header(out, kind, replies.len());
    for reply in replies {
        write(out, reply, protocol);
    }
}

/// Adds the kind and the count that an aggregate begins with.
pub(crate) fn header(out: &mut BytesMut, kind: u8, count: usize) {
    number(out, kind, length(count));
}

/// Adds a string.
pub(crate) fn bulk(out: &mut BytesMut, bytes: &[u8]) {
    out.reserve(bytes.len() + 26);
    number(out, b'$', length(bytes.len()));
    out.put_slice(bytes);
    out.put_slice(b"\r\n");
}

/// A kind and a number, as they begin most replies.
fn number(out: &mut BytesMut, kind: u8, number: i64) {
    let mut line = [0; 23];
    let mut start = line.len() - 2;
    line[start..].copy_from_slice(b"\r\n");
    let mut rest = number.unsigned_abs();
    loop {
        start -= 1;
        line[start] = b"0123456789"[(rest % 10) as usize];
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        start -= 1;
        line[start] = b'-';
    }
    start -= 1;
    line[start] = kind;
    out.put_slice(&line[start..]);
}

fn simple(out: &mut BytesMut, text: &str) {
    out.put_u8(b'+');
    out.put_slice(text.as_bytes());
    out.put_slice(b"\r\n");
}

/// An error is one line, whatever is quoted in it.
fn error(out: &mut BytesMut, text: &[u8]) {
    out.put_u8(b'-');
    let end = text.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |last| last + 1);
    out.extend(text[..end].iter().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }));
    out.put_slice(b"\r\n");
}

fn length(length: usize) -> i64 {
    i64::try_from(length).expect("a length is less than 2^63")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn written(reply: &Reply, protocol: Protocol) -> String {
        let mut output = Output::default();
        output.push(reply, protocol);
        String::from_utf8(output.bytes_mut().to_vec()).expect("it is text")
    }

    #[test]
    fn each_reply_has_its_form_in_both_versions() {
        let both = [
            (Reply::OK, "+OK\r\n", "+OK\r\n"),
            (Reply::Integer(-120), ":-120\r\n", ":-120\r\n"),
            (Reply::Integer(i64::MIN), ":-9223372036854775808\r\n", ":-9223372036854775808\r\n"),
            (Reply::Bulk(Bytes::from_static(b"a\r\n")), "$3\r\na\r\n\r\n", "$3\r\na\r\n\r\n"),
            (Reply::Null, "$-1\r\n", "_\r\n"),
            (Reply::NullArray, "*-1\r\n", "_\r\n"),
            (Reply::Map(vec![(Reply::text("a"), Reply::Integer(0))]), "*2\r\n$1\r\na\r\n:0\r\n", "%1\r\n$1\r\na\r\n:0\r\n"),
            (Reply::Set(vec![Reply::OK]), "*1\r\n+OK\r\n", "~1\r\n+OK\r\n"),
            (Reply::Verbatim("a".to_owned()), "$1\r\na\r\n", "=5\r\ntxt:a\r\n"),
        ];
        for (reply, two, three) in both {
            assert_eq!(written(&reply, Protocol::Two), two);
            assert_eq!(written(&reply, Protocol::Three), three);
        }
    }

    #[test]
    fn an_error_is_one_line() {
        assert_eq!(written(&Reply::Error("ERR a\r\nb\n".into()), Protocol::Two), "-ERR a  b\r\n");
    }
}
