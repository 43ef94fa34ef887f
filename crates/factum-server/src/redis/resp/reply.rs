//! A reply, before it is written in one of the two versions.

use std::borrow::Cow;

use bytes::Bytes;

use crate::redis::entry::EntryId;

/// A reply.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reply {
    /// `+OK`.
    Simple(&'static str),
    /// A line of text that is made.
    SimpleText(Cow<'static, str>),
    /// `-ERR …`; line breaks in it become blanks.
    Error(Cow<'static, str>),
    /// An error whose text quotes bytes that need not be text.
    ErrorBytes(Bytes),
    /// A number.
    Integer(i64),
    /// A string of bytes.
    Bulk(Bytes),
    /// An entry's id, milliseconds and sequence: a string. It is written when it is sent.
    Id(EntryId),
    /// Nothing where a string would be.
    Null,
    /// Nothing where an array would be. The same as [`Reply::Null`] in RESP3.
    NullArray,
    /// Several replies.
    Array(Vec<Reply>),
    /// Pairs; an array of twice as many in RESP2.
    Map(Vec<(Reply, Reply)>),
    /// Arrays of two in an array; one array of all in RESP2.
    Pairs(Vec<(Reply, Reply)>),
    /// An array in RESP2.
    Set(Vec<Reply>),
    /// Text to be shown; a string in RESP2.
    Verbatim(String),
    /// Bytes as they are sent in RESP2 and in RESP3: what no command but DEBUG PROTOCOL answers.
    Written(&'static str, &'static str),
}

impl Reply {
    /// `+OK`.
    pub(crate) const OK: Self = Self::Simple("OK");

    /// A string of a text that is known beforehand.
    pub(crate) fn text(text: &'static str) -> Self {
        Self::Bulk(Bytes::from_static(text.as_bytes()))
    }

    /// A string.
    pub(crate) fn string(text: impl Into<String>) -> Self {
        Self::Bulk(Bytes::from(text.into().into_bytes()))
    }

    /// An error of a text that is known beforehand, its code included.
    pub(crate) const fn error(text: &'static str) -> Self {
        Self::Error(Cow::Borrowed(text))
    }

    /// A count.
    pub(crate) fn count(count: usize) -> Self {
        Self::Integer(i64::try_from(count).unwrap_or(i64::MAX))
    }

    /// How many bytes it is when written, about.
    pub(crate) fn size(&self) -> usize {
        let all = |replies: &[Self]| replies.iter().map(Self::size).sum::<usize>();
        let pairs = |pairs: &[(Self, Self)]| pairs.iter().map(|(first, second)| first.size() + second.size()).sum::<usize>();
        let content = match self {
            Self::Simple(text) => text.len(),
            Self::SimpleText(text) | Self::Error(text) => text.len(),
            Self::ErrorBytes(bytes) | Self::Bulk(bytes) => bytes.len(),
            Self::Integer(_) | Self::Id(_) | Self::Null | Self::NullArray => 16,
            Self::Array(replies) | Self::Set(replies) => all(replies),
            Self::Map(members) | Self::Pairs(members) => pairs(members),
            Self::Verbatim(text) => text.len(),
            Self::Written(two, three) => two.len().max(three.len()),
        };
        content + 8
    }

    /// The word that an error begins with, such as `WRONGTYPE`.
    pub(crate) fn error_code(&self) -> Option<String> {
        let text = match self {
            Self::Error(text) => text.as_bytes(),
            Self::ErrorBytes(bytes) => bytes,
            _ => return None,
        };
        let word = text.split(|byte| byte.is_ascii_whitespace()).next().unwrap_or_default();
        Some(String::from_utf8_lossy(&word[..word.len().min(64)]).into_owned())
    }

    /// Whether it is an error.
    pub(crate) fn is_error(&self) -> bool {
        matches!(self, Self::Error(_) | Self::ErrorBytes(_))
    }
}

impl From<String> for Reply {
    fn from(text: String) -> Self {
        Self::string(text)
    }
}
