//! The protocol that Redis speaks, in both of its versions: bytes to requests, replies to bytes.

mod inline;
mod output;
mod parser;
mod reply;
mod request;

pub(crate) use output::{Output, SendError, bulk, header};
pub(crate) use parser::{Parser, ParserLimits, ProtocolError, integer};
pub(crate) use reply::Reply;
pub(crate) use request::Request;

/// The version of the protocol that a connection speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// RESP2, which every connection begins with.
    #[default]
    Two,
    /// RESP3, after `HELLO 3`.
    Three,
}
