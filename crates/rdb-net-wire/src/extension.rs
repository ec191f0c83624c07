//! Extensions of an envelope: what only some frames have to say. A reader steps over those that it does not know.

use crate::FrameError;
use crate::frame::WORD;

/// Which part of its message the frame is: two u32.
const FRAGMENT: u8 = 0x03;
/// How many bytes of the message, at its end, are the attachment: u32.
const ATTACHMENT: u8 = 0x04;
/// How many bytes of a stream of replies may come before more are asked for: u32.
const STREAM_WINDOW: u8 = 0x07;

/// The smallest fragment that is not its message's last one, in raw bytes: what the receiver needs for a fragment beside its
/// bytes is little against it.
pub const FRAGMENT_BYTES_MIN: u32 = 2048;

/// Which part of its message a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragment {
    /// Length of the whole body, in bytes before compression.
    pub total_bytes: u32,
    /// How many bytes of it come before this part.
    pub offset: u32,
}

/// What the extensions of a frame say; those with nothing to say are not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Extensions {
    pub(crate) attachment_bytes: u32,
    pub(crate) fragment: Option<Fragment>,
    pub(crate) stream_window: u32,
}

impl Extensions {
    #[inline]
    pub(crate) fn words(&self) -> usize {
        let attachment = if self.attachment_bytes != 0 { 2 } else { 0 };
        let fragment = if self.fragment.is_some() { 3 } else { 0 };
        attachment + fragment + if self.stream_window != 0 { 2 } else { 0 }
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        if let Some(fragment) = &self.fragment {
            out.extend_from_slice(&[FRAGMENT, 3, 0, 0]);
            out.extend_from_slice(&fragment.total_bytes.to_be_bytes());
            out.extend_from_slice(&fragment.offset.to_be_bytes());
        }
        if self.attachment_bytes != 0 {
            out.extend_from_slice(&[ATTACHMENT, 2, 0, 0]);
            out.extend_from_slice(&self.attachment_bytes.to_be_bytes());
        }
        if self.stream_window != 0 {
            out.extend_from_slice(&[STREAM_WINDOW, 2, 0, 0]);
            out.extend_from_slice(&self.stream_window.to_be_bytes());
        }
    }

    /// Each extension is a type, its whole length in words, and data; at least one word, so the walk is bounded by the
    /// envelope's 1,020 bytes.
    pub(crate) fn read(mut rest: &[u8]) -> Result<Self, FrameError> {
        let mut read = Self::default();
        while let [kind, words, ..] = *rest {
            let length = usize::from(words) * WORD;
            if length == 0 || length > rest.len() {
                return Err(FrameError::Extension);
            }
            let (this, behind) = rest.split_at(length);
            match kind {
                FRAGMENT => {
                    let [total_bytes, offset] = numbers(this)?;
                    read.fragment = Some(Fragment { total_bytes, offset });
                }
                ATTACHMENT => [read.attachment_bytes] = numbers(this)?,
                STREAM_WINDOW => [read.stream_window] = numbers(this)?,
                _ => {}
            }
            rest = behind;
        }
        Ok(read)
    }
}

/// The numbers of an extension that consists of so many and nothing else.
fn numbers<const N: usize>(extension: &[u8]) -> Result<[u32; N], FrameError> {
    if extension.len() != WORD * (1 + N) {
        return Err(FrameError::Extension);
    }
    let at = |index: usize| {
        let at = WORD * (1 + index);
        u32::from_be_bytes([extension[at], extension[at + 1], extension[at + 2], extension[at + 3]])
    };
    Ok(std::array::from_fn(at))
}
