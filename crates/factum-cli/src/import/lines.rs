//! Lines out of a stream of bytes, many at a time, however long the input and whatever is in it.

use std::io::{self, Read};

use bytes::{Bytes, BytesMut};

/// How much is read at once.
const BLOCK_BYTES: usize = 256 << 10;

/// Splits input into blocks of whole lines.
pub(super) struct Lines<R> {
    input: R,
    /// The beginning of a line whose end has not been read.
    rest: BytesMut,
    /// The number of bytes up to the end of the last block.
    consumed: u64,
    /// Longer lines are given out as [`Block::TooLong`], without holding them in memory.
    line_bytes_max: usize,
    ended: bool,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Block {
    /// Whole lines, each with its end, but perhaps the last.
    Lines(Bytes),
    /// One line that is longer than any may be.
    TooLong,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(input: R, line_bytes_max: usize) -> Self {
        Self { input, rest: BytesMut::new(), consumed: 0, line_bytes_max, ended: false }
    }

    /// How many bytes have been given out.
    pub(super) fn consumed(&self) -> u64 {
        self.consumed
    }

    /// The next lines, `None` at the end of the input.
    pub(super) fn next(&mut self) -> io::Result<Option<Block>> {
        let mut searched = 0;
        loop {
            if let Some(end) = memchr::memrchr(b'\n', &self.rest[searched..]) {
                return Ok(Some(self.take(searched + end + 1)));
            }
            searched = self.rest.len();
            if self.ended {
                let left = self.rest.len();
                return Ok(if left == 0 { None } else { Some(self.take(left)) });
            }
            if self.rest.len() > self.line_bytes_max {
                self.skip_line()?;
                return Ok(Some(Block::TooLong));
            }
            self.fill()?;
        }
    }

    fn take(&mut self, bytes: usize) -> Block {
        self.consumed += bytes as u64;
        Block::Lines(self.rest.split_to(bytes).freeze())
    }

    fn fill(&mut self) -> io::Result<()> {
        let begin = self.rest.len();
        self.rest.resize(begin + BLOCK_BYTES, 0);
        let read = loop {
            match self.input.read(&mut self.rest[begin..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => break outcome?,
            }
        };
        self.rest.truncate(begin + read);
        self.ended = read == 0;
        Ok(())
    }

    /// Drops the rest of a line, up to its end.
    fn skip_line(&mut self) -> io::Result<()> {
        loop {
            let end = memchr::memchr(b'\n', &self.rest);
            let dropped = end.map_or(self.rest.len(), |end| end + 1);
            self.consumed += dropped as u64;
            _ = self.rest.split_to(dropped);
            if end.is_some() || self.ended {
                return Ok(());
            }
            self.fill()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives few bytes at a time, as a pipe does.
    struct Trickle<'a>(&'a [u8]);

    impl Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let read = self.0.len().min(3).min(buffer.len());
            buffer[..read].copy_from_slice(&self.0[..read]);
            self.0 = &self.0[read..];
            Ok(read)
        }
    }

    #[test]
    fn lines_come_whole_however_the_bytes_arrive() {
        for input in ["", "a", "a\n", "one\ntwo\r\n\nthree", "\n\n\n"] {
            let mut lines = Lines::new(Trickle(input.as_bytes()), 1_000);
            let mut all = Vec::new();
            while let Some(Block::Lines(block)) = lines.next().expect("it can be read") {
                assert!(block.ends_with(b"\n") || lines.ended);
                all.extend_from_slice(&block);
            }
            assert_eq!((all.as_slice(), lines.consumed()), (input.as_bytes(), input.len() as u64));
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_one_block_and_the_next_lines_follow() {
        let input = format!("a\n{}\nb\n", "x".repeat(1_000_000));
        let mut lines = Lines::new(Trickle(input.as_bytes()), 300_000);
        let mut blocks = Vec::new();
        while let Some(block) = lines.next().expect("it can be read") {
            blocks.push(block);
        }
        let line = |text: &'static str| Block::Lines(Bytes::from_static(text.as_bytes()));
        assert_eq!(blocks, [line("a\n"), Block::TooLong, line("b\n")]);
    }
}
