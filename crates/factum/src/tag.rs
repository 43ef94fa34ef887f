//! Tags: labels such as `course:42`, for queries across streams.

use crate::text::text_type;

text_type! {
    /// A label on an event, such as `course:42`; conditions and reads can ask for it across streams.
    Tag, "tag", 255
}

#[cfg(any(feature = "embedded", feature = "postgres"))]
crate::text::trusted!(Tag);
