//! Keys of 32 bytes: where they come from, and what may be shown of them.

mod error;
mod text;

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::cipher::{self, CipherError};
use crate::secret::SecretBytes;

pub use error::{KeyError, KeyFault, KeySource};

/// Length of a key, in bytes.
pub const KEY_BYTES: usize = 32;

/// The longest file that is read as a key, in bytes: the longest form is hexadecimal, with white space around it.
const KEY_FILE_BYTES_MAX: u64 = 256;

/// The name of a key, made from the key by a digest: it may be shown, logged and sent in the clear.
///
/// It has 32 bits. Two keys of one keyring that share a name are refused when the second is installed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(u32);

impl KeyId {
    /// From its number, as a packet or file tells it.
    pub const fn from_u32(raw: u32) -> Self {
        Self(raw)
    }

    /// Its number, as a packet or file tells it.
    pub const fn as_u32(self) -> u32 {
        self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key:{:08x}", self.0)
    }
}

/// The bytes of a key. They stay in one place on the heap, so that moving the owner leaves no copy behind, and are wiped there.
pub(crate) struct KeyBytes(Box<[u8; KEY_BYTES]>);

impl KeyBytes {
    /// Takes a key from where it stands, and wipes it there.
    pub(crate) fn take(from: &mut [u8; KEY_BYTES]) -> Self {
        let mut key = Self(Box::new([0; KEY_BYTES]));
        key.0.copy_from_slice(from);
        from.zeroize();
        key
    }

    pub(crate) fn expose(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    fn generate() -> Result<Self, CipherError> {
        Ok(Self::take(&mut cipher::random()?))
    }

    /// Reads a file that only its owner may read. The rights are those of the file that is open, not of the name.
    fn from_file(path: &Path) -> Result<Self, KeyError> {
        let fail = |fault| KeyError { origin: KeySource::File(path.to_owned()), fault };
        let unreadable = |error: io::Error| fail(KeyFault::Unreadable(error.kind()));
        // Asked before it is opened: opening a pipe would wait for somebody to write.
        if !fs::metadata(path).map_err(unreadable)?.is_file() {
            return Err(fail(KeyFault::NotAFile));
        }
        let file = File::open(path).map_err(unreadable)?;
        #[cfg(unix)]
        {
            use rdb_net_types::SecretFile;
            use std::os::unix::fs::MetadataExt;
            let metadata = file.metadata().map_err(unreadable)?;
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let real = fs::canonicalize(path).map_err(unreadable)?;
            let folder = fs::canonicalize(folder).map_err(unreadable)?;
            let user = rustix::process::geteuid().as_raw();
            let secret =
                SecretFile { mode: metadata.mode(), owner: metadata.uid(), user, file: &real, folder: &folder };
            secret.check().map_err(|problem| fail(problem.into()))?;
        }
        let mut content = SecretBytes::new(Vec::with_capacity(KEY_FILE_BYTES_MAX as usize + 1));
        file.take(KEY_FILE_BYTES_MAX + 1).read_to_end(content.as_mut_vec()).map_err(unreadable)?;
        if content.len() as u64 > KEY_FILE_BYTES_MAX {
            return Err(fail(KeyFault::TooLong { bytes_max: KEY_FILE_BYTES_MAX }));
        }
        text::parse(&content).map_err(fail)
    }

    fn from_environment(variable: &str) -> Result<Self, KeyError> {
        let fail = |fault| KeyError { origin: KeySource::Environment(variable.to_owned()), fault };
        let Some(value) = std::env::var_os(variable) else { return Err(fail(KeyFault::Unset)) };
        let value = SecretBytes::new(value.into_encoded_bytes());
        text::parse_text(&value).map_err(fail)
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        verify_slices_are_equal(self.expose(), other.expose()).is_ok()
    }
}

impl Drop for KeyBytes {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl ZeroizeOnDrop for KeyBytes {}

macro_rules! key {
    ($(#[$doc:meta])* $name:ident, $label:literal) => {
        $(#[$doc])*
        ///
        /// It is wiped when dropped, is neither cloned nor serialised, and shows its [`KeyId`] only.
        pub struct $name {
            pub(crate) bytes: KeyBytes,
            id: KeyId,
        }

        impl $name {
            pub(crate) fn new(bytes: KeyBytes) -> Self {
                let id = cipher::truncated(cipher::digest($label, &[bytes.expose()]));
                Self { bytes, id: KeyId(u32::from_be_bytes(id)) }
            }

            /// Takes the key from where it stands, and wipes it there.
            pub fn take(from: &mut [u8; KEY_BYTES]) -> Self {
                Self::new(KeyBytes::take(from))
            }

            /// A key that nobody knows yet.
            ///
            /// # Errors
            ///
            /// [`CipherError`] when the machine gives no random bytes.
            pub fn generate() -> Result<Self, CipherError> {
                KeyBytes::generate().map(Self::new)
            }

            /// Reads a key from a file: 32 bytes as they are, 64 hexadecimal digits, or base64 (either alphabet, with or
            /// without padding) with white space around it. The file is this process's user's or root's, nobody else has
            /// rights on it, and it lies in its folder ([`SecretFile`](rdb_net_types::SecretFile)).
            ///
            /// # Errors
            ///
            /// [`KeyError`] names the file and what is wrong with it, never its content.
            pub fn from_file(path: &Path) -> Result<Self, KeyError> {
                KeyBytes::from_file(path).map(Self::new)
            }

            /// Reads a key from an environment variable, in hexadecimal or base64. A file is better: the environment of a
            /// process can be read by its user for as long as it runs, and is inherited by its children.
            ///
            /// # Errors
            ///
            /// [`KeyError`] names the variable and what is wrong with it, never its content.
            pub fn from_environment(variable: &str) -> Result<Self, KeyError> {
                KeyBytes::from_environment(variable).map(Self::new)
            }

            /// Its name, which may be shown.
            pub fn id(&self) -> KeyId {
                self.id
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).field("id", &self.id).finish_non_exhaustive()
            }
        }
    };
}

key! {
    /// A key that the members of a cluster share to seal gossip packets.
    GossipKey, b"rdb-net-seal gossip key id v1"
}

key! {
    /// A key that seals files of one node.
    StoreKey, b"rdb-net-seal store key id v1"
}
