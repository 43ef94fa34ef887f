//! Reading JSON lines as events: bytes to lines, lines to proposals, on a thread of its own.

mod identity;
mod line;
mod lines;
mod reader;

pub(crate) use reader::{Chunk, Item, Reader, Rejection};
