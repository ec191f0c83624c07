//! Bytes that are wiped when they are dropped, and that nothing prints.

use std::fmt;
use std::ops::Deref;

use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bytes that may hold a secret: wiped when dropped, their content in no `Debug`.
///
/// They are not cloned, and do not grow: a growing vector leaves copies behind.
#[derive(PartialEq, Eq)]
pub struct SecretBytes(Vec<u8>);

impl SecretBytes {
    /// Takes the bytes over.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Drops the first bytes, where there are so many.
    pub(crate) fn drop_front(&mut self, bytes: usize) {
        let length = self.0.len();
        let dropped = bytes.min(length);
        self.0.copy_within(dropped.., 0);
        self.0.truncate(length - dropped);
    }

    /// Drops the last bytes, where there are so many.
    pub(crate) fn drop_back(&mut self, bytes: usize) {
        self.0.truncate(self.0.len().saturating_sub(bytes));
    }

    /// The vector itself, for those who fill it within its capacity.
    pub(crate) fn as_mut_vec(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

impl Deref for SecretBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} bytes]", self.0.len())
    }
}

impl Drop for SecretBytes {
    fn drop(&mut self) {
        // The whole capacity, that is: also what was cut off.
        self.0.zeroize();
    }
}

impl ZeroizeOnDrop for SecretBytes {}
