//! Short checked texts: the one rule behind stream ids, event types, tags and record names.

use crate::error::Error;

/// Checks that `text` has 1 to `bytes_max` bytes and no control characters.
pub(crate) fn check(what: &'static str, text: &str, bytes_max: usize) -> Result<(), Error> {
    if text.is_empty() {
        return Err(Error::invalid(format!("{what} is empty; it needs 1 to {bytes_max} bytes")));
    }
    if text.len() > bytes_max {
        return Err(Error::invalid(format!("{what} has {} bytes; the limit is {bytes_max}", text.len())));
    }
    if let Some(character) = text.chars().find(|c| c.is_control()) {
        return Err(Error::invalid(format!("{what} {text:?} contains the control character U+{:04X}", u32::from(character))));
    }
    Ok(())
}

/// Defines a newtype over shared text that is checked once, when it is made.
macro_rules! text_type {
    ($(#[$docs:meta])* $name:ident, $what:literal, $max:literal) => {
        $(#[$docs])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(smol_str::SmolStr);

        impl $name {
            /// The longest one, in bytes of UTF-8.
            pub const BYTES_MAX: usize = $max;

            #[doc = concat!("Checks `text` and makes a ", $what, " of it.")]
            ///
            /// # Errors
            /// [`Error::Invalid`](crate::Error::Invalid) if it is empty, too long or contains control characters.
            pub fn new(text: impl AsRef<str>) -> Result<Self, crate::Error> {
                let text = text.as_ref();
                crate::text::check($what, text, Self::BYTES_MAX)?;
                Ok(Self(text.into()))
            }

            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($name), "({:?})"), self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = crate::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::new(text)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = crate::Error;

            fn try_from(text: &str) -> Result<Self, Self::Error> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = crate::Error;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                Self::new(text)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                self.0 == *other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                self.0 == **other
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                Self::new(text).map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use text_type;

/// Takes texts that were checked before they were stored.
#[cfg(any(feature = "embedded", feature = "postgres"))]
pub(crate) trait Trusted {
    fn trusted(text: &str) -> Self;
}

#[cfg(any(feature = "embedded", feature = "postgres"))]
macro_rules! trusted {
    ($($name:ty),*) => {
        $(impl crate::text::Trusted for $name {
            fn trusted(text: &str) -> Self {
                Self(text.into())
            }
        })*
    };
}
#[cfg(any(feature = "embedded", feature = "postgres"))]
pub(crate) use trusted;

#[cfg(test)]
mod tests {
    use crate::{StreamId, Tag};

    #[test]
    fn texts_are_checked_at_the_edge() {
        assert!(StreamId::new("Order-1").is_ok());
        assert!(StreamId::new("").is_err());
        assert!(StreamId::new("Order\n1").is_err());
        assert!(StreamId::new("x".repeat(1_024)).is_ok());
        assert!(StreamId::new("x".repeat(1_025)).is_err());
        assert!(Tag::new("x".repeat(256)).is_err());
    }
}
