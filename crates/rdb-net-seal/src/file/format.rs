//! The bytes of a file.
//!
//! | offset | bytes | field |
//! |-------:|------:|-------|
//! | 0 | 4 | `RDBF` |
//! | 4 | 1 | version, 1 |
//! | 5 | 1 | protection: 0 clear, 1 AES-256-GCM |
//! | 6 | 2 | kind of content |
//! | 8 | 8 | owner: the first bytes of a digest of cluster and node |
//! | 16 | 8 | generation: how many writes there were |
//! | 24 | 8 | length of the content |
//! | 32 | 4 | name of the key, 0 in a clear file |
//! | 36 | 32 | salt of the derived key, 0 in a clear file |
//! | 68 | 12 | nonce, 0 in a clear file |
//! | 80 | n | content |
//! | 80 + n | 16 | tag; in a clear file the first bytes of SHA-256 over all that is before |
//!
//! All integers are big-endian, and nothing may follow. The header is associated data. A sealed file has a key of its own,
//! derived with a random salt of 256 bits, and a random nonce: however often files are written, no nonce repeats under a key.
//!
//! The checksum of a clear file finds damage. It does not find an attacker.

use std::fmt;

use aws_lc_rs::aead::{Aad, Nonce};
use rdb_net_types::{ClusterId, NodeId};

use super::problem::Flaw;
use crate::cipher::{self, CipherError, NONCE_BYTES, TAG_BYTES};
use crate::key::{KeyId, StoreKey};
use crate::secret::SecretBytes;

const MAGIC: [u8; 4] = *b"RDBF";
const VERSION: u8 = 1;
const CLEAR: u8 = 0;
const SEALED: u8 = 1;
const SALT_BYTES: usize = 32;
const LABEL: &[u8] = b"rdb-net-seal file v1";

pub(crate) const HEADER_BYTES: usize = 80;
/// What a file has besides its content, in bytes.
pub(crate) const FILE_OVERHEAD_BYTES: usize = HEADER_BYTES + TAG_BYTES;

/// What a file holds. A file of another kind is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileKind(pub u16);

impl FileKind {
    /// The members that were known, and this node's own generation.
    pub const MEMBERSHIP: Self = Self(1);
    /// What discovery said last.
    pub const DISCOVERY: Self = Self(2);
    /// The gossip keys, as a [`KeyringOffer`](crate::KeyringOffer) holds them.
    pub const KEYRING: Self = Self(3);
    /// The members with what each said of itself, and when that was written.
    pub const VIEW: Self = Self(4);
}

/// Whose file it is. A file of another node or cluster is refused.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileOwner([u8; 8]);

impl FileOwner {
    /// A node of a cluster.
    pub fn of(cluster: &ClusterId, node: &NodeId) -> Self {
        // No id holds a zero byte.
        let parts = [cluster.as_str().as_bytes(), &[0], node.as_str().as_bytes()];
        Self(cipher::truncated(cipher::digest(b"rdb-net-seal file owner v1", &parts)))
    }
}

impl fmt::Debug for FileOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "owner:{:016x}", u64::from_be_bytes(self.0))
    }
}

/// What every file of one place has in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) kind: FileKind,
    pub(super) owner: FileOwner,
}

/// A file that was read.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) generation: u64,
    pub(super) is_sealed: bool,
    pub(super) payload: SecretBytes,
}

/// The bytes of a file: sealed where there is a key.
pub(super) fn encode(
    place: Place,
    generation: u64,
    key: Option<&StoreKey>,
    payload: &[u8],
) -> Result<SecretBytes, CipherError> {
    let (mut salt, mut nonce) = ([0; SALT_BYTES], [0; NONCE_BYTES]);
    if key.is_some() {
        (salt, nonce) = (cipher::random()?, cipher::random()?);
    }
    // Wiped when dropped: until it is sealed it holds the content.
    let mut file = SecretBytes::new(Vec::with_capacity(FILE_OVERHEAD_BYTES + payload.len()));
    let bytes = file.as_mut_vec();
    bytes.extend(MAGIC);
    bytes.extend([VERSION, if key.is_some() { SEALED } else { CLEAR }]);
    bytes.extend(place.kind.0.to_be_bytes());
    bytes.extend(place.owner.0);
    bytes.extend(generation.to_be_bytes());
    bytes.extend((payload.len() as u64).to_be_bytes());
    bytes.extend(key.map_or(0, |key| key.id().as_u32()).to_be_bytes());
    bytes.extend(salt);
    bytes.extend(nonce);
    bytes.extend_from_slice(payload);
    match key {
        None => {
            let checksum = checksum(bytes);
            bytes.extend(checksum);
        }
        Some(key) => {
            let cipher = cipher::derive(&key.bytes, &salt, LABEL)?;
            let (header, content) = bytes.split_at_mut(HEADER_BYTES);
            let tag = cipher
                .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(&*header), content)
                .map_err(|_| CipherError)?;
            bytes.extend_from_slice(tag.as_ref());
        }
    }
    Ok(file)
}

/// Reads a file, and proves that it is whole.
pub(super) fn decode(place: Place, keys: &[StoreKey], mut file: SecretBytes) -> Result<Content, Flaw> {
    let header = *file.first_chunk::<HEADER_BYTES>().ok_or(Flaw::Torn)?;
    let field = |from: usize| -> [u8; 8] { std::array::from_fn(|index| header[from + index]) };
    if header[..4] != MAGIC {
        return Err(Flaw::Foreign);
    }
    if header[4] != VERSION {
        return Err(Flaw::Version { version: header[4] });
    }
    let kind = FileKind(u16::from_be_bytes([header[6], header[7]]));
    if kind != place.kind {
        return Err(Flaw::OtherKind { kind });
    }
    if FileOwner(field(8)) != place.owner {
        return Err(Flaw::OtherOwner);
    }
    let generation = u64::from_be_bytes(field(16));
    let length = (file.len() as u64).checked_sub(FILE_OVERHEAD_BYTES as u64);
    if length != Some(u64::from_be_bytes(field(24))) {
        return Err(Flaw::Torn);
    }
    let id = KeyId::from_u32(u32::from_be_bytes([header[32], header[33], header[34], header[35]]));
    let is_sealed = match header[5] {
        CLEAR => {
            let (content, found) = file.split_at(file.len() - TAG_BYTES);
            let is_whole = checksum(content) == found && header[32..].iter().all(|byte| *byte == 0);
            if is_whole { false } else { return Err(Flaw::Torn) }
        }
        SEALED => {
            let key = keys.iter().find(|key| key.id() == id).ok_or(Flaw::UnknownKey { id })?;
            let cipher = cipher::derive(&key.bytes, &header[36..68], LABEL)?;
            let nonce = Nonce::try_assume_unique_for_key(&header[68..]).map_err(|_| Flaw::Torn)?;
            let sealed = &mut file.as_mut_vec()[HEADER_BYTES..];
            cipher.open_in_place(nonce, Aad::from(header), sealed).map_err(|_| Flaw::Forged)?;
            true
        }
        _ => return Err(Flaw::Foreign),
    };
    file.drop_back(TAG_BYTES);
    file.drop_front(HEADER_BYTES);
    Ok(Content { generation, is_sealed, payload: file })
}

fn checksum(bytes: &[u8]) -> [u8; TAG_BYTES] {
    cipher::truncated(cipher::digest(b"rdb-net-seal file checksum v1", &[bytes]))
}
