//! Who a node is: its name, its cluster's name, and which life of the node is meant.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest node or cluster id, in bytes.
const ID_BYTES_MAX: usize = 64;

/// A node id or cluster id that does not follow the rules. The caller's input is at fault; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// The id is empty.
    #[error("an id may not be empty")]
    Empty,
    /// The id is longer than 64 bytes.
    #[error("an id has at most {ID_BYTES_MAX} bytes, this one has {length}")]
    TooLong {
        /// Length of the refused id, in bytes.
        length: usize,
    },
    /// The id holds a character outside `[A-Za-z0-9._-]`.
    #[error("an id is made of letters, digits, '.', '_' and '-', not {character:?}")]
    Character {
        /// The first character that is not allowed.
        character: char,
    },
}

fn check_id(text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    if text.len() > ID_BYTES_MAX {
        return Err(IdError::TooLong { length: text.len() });
    }
    match text.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))) {
        Some(character) => Err(IdError::Character { character }),
        None => Ok(()),
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the text and makes an id of it.
            ///
            /// # Errors
            ///
            /// [`IdError`] when the text is empty, longer than 64 bytes, or holds a character outside `[A-Za-z0-9._-]`.
            pub fn new(text: &str) -> Result<Self, IdError> {
                check_id(text)?;
                Ok(Self(Arc::from(text)))
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;

                impl serde::de::Visitor<'_> for Text {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("an id of 1 to 64 letters, digits, '.', '_' and '-'")
                    }

                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$name, E> {
                        $name::new(text).map_err(E::custom)
                    }
                }

                deserializer.deserialize_str(Text)
            }
        }
    };
}

text_id! {
    /// The name of a node: 1 to 64 of `[A-Za-z0-9._-]`, cheap to clone.
    ///
    /// It stays the same over restarts; [`Incarnation`] and [`BootId`] tell one life of a node from the next.
    NodeId
}

text_id! {
    /// The name of a cluster: 1 to 64 of `[A-Za-z0-9._-]`. Nodes of different clusters refuse each other.
    ClusterId
}

/// A random number that a process draws when it starts: two lives of one node, or two nodes that claim one name, differ in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BootId(pub u64);

impl fmt::Debug for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "boot:{:016x}", self.0)
    }
}

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// How new a statement about a node is: the generation of its process in the high 32 bits, a counter in the low 32.
///
/// Only the node itself raises it. A restarted process has a higher generation, so whatever it says beats everything that was
/// said of its former life; within one life the counter is raised to refute a suspicion or to publish changed metadata.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Incarnation(u64);

impl Incarnation {
    /// The first incarnation of a generation.
    pub const fn first_of(generation: u32) -> Self {
        Self((generation as u64) << 32)
    }

    /// From its number on a wire.
    pub const fn from_u64(raw: u64) -> Self {
        Self(raw)
    }

    /// Its number on a wire.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// Which life of the process: unix seconds at its start, or more where a peer remembered more.
    pub const fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// How often this life has spoken anew.
    pub const fn counter(self) -> u32 {
        self.0 as u32
    }

    /// The next one of the same life; at the end of the counter, the first of the next generation. Saturates at the very end.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.generation(), self.counter())
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.generation(), self.counter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S18: names are of a small alphabet, and short.
    #[test]
    fn ids_follow_the_rules() {
        assert_eq!(NodeId::new("node-1.a_B").expect("legal").as_str(), "node-1.a_B");
        assert_eq!(NodeId::new(""), Err(IdError::Empty));
        assert_eq!(NodeId::new(&"x".repeat(65)), Err(IdError::TooLong { length: 65 }));
        assert_eq!(NodeId::new("a b"), Err(IdError::Character { character: ' ' }));
        assert_eq!(ClusterId::new("käse"), Err(IdError::Character { character: 'ä' }));
        assert!(NodeId::new(&"x".repeat(64)).is_ok());
    }

    #[test]
    fn a_restart_beats_everything_said_of_the_former_life() {
        let old = Incarnation::first_of(7).next().next();
        assert_eq!((old.generation(), old.counter()), (7, 2));
        assert!(Incarnation::first_of(8) > old);
        assert_eq!(Incarnation::from_u64(u64::MAX).next(), Incarnation::from_u64(u64::MAX));
        assert_eq!(Incarnation::from_u64(0x0000_0007_ffff_ffff).next(), Incarnation::first_of(8));
    }
}
