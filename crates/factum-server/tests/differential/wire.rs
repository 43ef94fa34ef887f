//! A client that knows nothing but the protocol: what it reads is compared, so it keeps every type apart.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// No reply is waited for longer than this, on however slow a machine.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// A connection to a server.
pub(crate) struct Wire {
    reader: BufReader<TcpStream>,
}

/// A reply, or a part of one: its type's byte and what it says.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Value {
    /// A line: `+`, `-`, `,`, `#`, `(`.
    Line(u8, Vec<u8>),
    Integer(i64),
    /// A string: `$`, `=`.
    Bulk(u8, Vec<u8>),
    /// `$-1`, `*-1`, `_`.
    Null(&'static str),
    /// `*`, `~`, `>`, `%`; the elements of a map stand one after the other.
    All(u8, Vec<Value>),
}

impl Wire {
    pub(crate) fn connect(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(WAIT_MAX))?;
        Ok(Self { reader: BufReader::new(stream) })
    }

    pub(crate) fn send(&mut self, requests: &[Vec<Vec<u8>>]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for request in requests {
            bytes.extend_from_slice(format!("*{}\r\n", request.len()).as_bytes());
            for argument in request {
                bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
                bytes.extend_from_slice(argument);
                bytes.extend_from_slice(b"\r\n");
            }
        }
        self.reader.get_mut().write_all(&bytes)
    }

    pub(crate) fn read(&mut self) -> io::Result<Value> {
        let mut line = Vec::new();
        self.reader.read_until(b'\n', &mut line)?;
        let broken = || io::Error::other("the connection ended, or what came is not the protocol");
        let (kind, text) = line.strip_suffix(b"\r\n").and_then(|line| line.split_first()).ok_or_else(broken)?;
        let number = || std::str::from_utf8(text).ok().and_then(|text| text.parse::<i64>().ok()).ok_or_else(broken);
        Ok(match kind {
            b'+' | b'-' | b',' | b'#' | b'(' => Value::Line(*kind, text.to_vec()),
            b':' => Value::Integer(number()?),
            b'_' => Value::Null("_"),
            b'$' | b'=' => match usize::try_from(number()?) {
                Ok(length) => {
                    let mut bytes = vec![0; length + 2];
                    self.reader.read_exact(&mut bytes)?;
                    bytes.truncate(length);
                    Value::Bulk(*kind, bytes)
                }
                Err(_) => Value::Null("$-1"),
            },
            b'*' | b'~' | b'>' | b'%' => match usize::try_from(number()?) {
                Ok(length) => {
                    let length = if *kind == b'%' { length * 2 } else { length };
                    Value::All(*kind, (0..length).map(|_| self.read()).collect::<io::Result<_>>()?)
                }
                Err(_) => Value::Null("*-1"),
            },
            _ => return Err(broken()),
        })
    }

    pub(crate) fn call(&mut self, request: &[Vec<u8>]) -> io::Result<Value> {
        self.send(&[request.to_vec()])?;
        self.read()
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(kind, text) => write!(f, "{}{}", *kind as char, text.escape_ascii()),
            Self::Integer(number) => write!(f, ":{number}"),
            Self::Bulk(kind, text) => write!(f, "{}\"{}\"", if *kind == b'=' { "=" } else { "" }, text.escape_ascii()),
            Self::Null(text) => f.write_str(text),
            Self::All(kind, all) => {
                write!(f, "{}", *kind as char)?;
                f.debug_list().entries(all).finish()
            }
        }
    }
}
