//! Bytes that are in no text.

use std::fmt;

/// Stands for bytes that prove something, in `Debug` output of what has them: it tells how many they are.
#[derive(Clone, Copy)]
pub struct Hidden<'a>(pub &'a [u8]);

impl fmt::Debug for Hidden<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} bytes)", self.0.len())
    }
}
