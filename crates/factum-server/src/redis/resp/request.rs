//! A request: a command's name and its arguments, as slices of what was received.

use std::ops::Index;

use bytes::Bytes;
use smallvec::SmallVec;

/// Where an argument lies in its request's bytes.
pub(super) type Span = (u32, u32);

/// A request, never empty. `request[0]` is the command's name as it was sent.
#[derive(Clone)]
pub(crate) struct Request {
    frame: Bytes,
    arguments: SmallVec<[Span; 8]>,
}

impl Request {
    /// A request whose arguments lie at these places of the frame.
    pub(super) fn new(frame: Bytes, arguments: SmallVec<[Span; 8]>) -> Self {
        debug_assert!(!arguments.is_empty(), "a request has a name");
        Self { frame, arguments }
    }

    /// How many arguments there are, the name included.
    pub(crate) fn len(&self) -> usize {
        self.arguments.len()
    }

    /// An argument that shares the memory of what was received. Whoever keeps it long copies it, or keeps all of that.
    pub(crate) fn bytes(&self, index: usize) -> Bytes {
        let (start, end) = self.arguments[index];
        self.frame.slice(start as usize..end as usize)
    }

    /// An argument, if there is one.
    pub(crate) fn get(&self, index: usize) -> Option<&[u8]> {
        let &(start, end) = self.arguments.get(index)?;
        Some(&self.frame[start as usize..end as usize])
    }

    /// All arguments, beginning with the name.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &[u8]> + ExactSizeIterator {
        self.arguments.iter().map(|&(start, end)| &self.frame[start as usize..end as usize])
    }

    /// How many bytes it keeps in memory, about.
    pub(crate) fn size(&self) -> usize {
        self.frame.len() + size_of::<Self>() + if self.arguments.spilled() { self.arguments.len() * size_of::<Span>() } else { 0 }
    }
}

impl Index<usize> for Request {
    type Output = [u8];

    fn index(&self, index: usize) -> &[u8] {
        let (start, end) = self.arguments[index];
        &self.frame[start as usize..end as usize]
    }
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter().map(String::from_utf8_lossy)).finish()
    }
}

/// For tests and for the door's own requests.
impl<A: AsRef<[u8]>> FromIterator<A> for Request {
    fn from_iter<I: IntoIterator<Item = A>>(arguments: I) -> Self {
        let mut frame = Vec::new();
        let mut spans = SmallVec::new();
        for argument in arguments {
            let start = frame.len();
            frame.extend_from_slice(argument.as_ref());
            let place = |offset: usize| u32::try_from(offset).expect("a request is far shorter than 4 GiB");
            spans.push((place(start), place(frame.len())));
        }
        Self::new(Bytes::from(frame), spans)
    }
}
