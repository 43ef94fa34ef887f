//! A connection on which a test says exactly what it wants to.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// No answer is waited for longer than this, on however slow a machine.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(60);

pub(crate) struct Wire(TcpStream);

impl Wire {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_read_timeout(Some(WAIT_MAX)).expect("it is a socket");
        stream.set_write_timeout(Some(WAIT_MAX)).expect("it is a socket");
        stream.set_nodelay(true).expect("it is a socket");
        Self(stream)
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).expect("it takes it");
    }

    /// Sends what the other side may no longer take.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.0.write_all(bytes.as_ref())
    }

    /// Reads exactly this.
    #[track_caller]
    pub(crate) fn expect(&mut self, answer: impl AsRef<[u8]>) {
        let answer = answer.as_ref();
        let mut read = vec![0; answer.len()];
        let outcome = self.0.read_exact(&mut read);
        assert_eq!(String::from_utf8_lossy(&read), String::from_utf8_lossy(answer), "{outcome:?}");
    }

    /// Reads until the other side ends the connection.
    pub(crate) fn read_to_end(&mut self) -> Vec<u8> {
        let mut read = Vec::new();
        // That it is reset is an end too.
        _ = self.0.read_to_end(&mut read);
        read
    }

    /// A request, and the line that answers it.
    pub(crate) fn ask(&mut self, words: &[&str]) -> String {
        self.send(request(words));
        self.line()
    }

    pub(crate) fn line(&mut self) -> String {
        let mut line = Vec::new();
        let mut byte = [0];
        while !line.ends_with(b"\r\n") {
            self.0.read_exact(&mut byte).expect("an answer comes");
            line.push(byte[0]);
        }
        String::from_utf8_lossy(&line[..line.len() - 2]).into_owned()
    }

    /// Ends our side of it.
    pub(crate) fn end(&self) {
        self.0.shutdown(std::net::Shutdown::Write).expect("it is connected");
    }
}

/// A request as clients write it.
pub(crate) fn request(words: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        let word = word.as_ref();
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}
