//! Compression of one frame's body.
//!
//! A body is compressed by itself, so that a frame is read without its neighbours and one that is large stalls nobody: the
//! unit is the frame, and a large message is cut into frames first. What a reader sets aside is the raw length that the frame
//! declares, which is checked against the largest frame and against what the codec could have made of the bytes that came.

use crate::FrameError;
use crate::frame::Flags;

/// The largest ratio of raw to compressed bytes that is written and read. LZ4 cannot exceed 255; the others could, and are
/// not worth more to an honest peer than to one that wants to be expensive.
pub const COMPRESSION_RATIO_MAX: u32 = 1024;

/// A way to compress a body. The number is its code on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Codec {
    /// The LZ4 block format: the fastest.
    Lz4 = 1,
    /// The raw Snappy format.
    Snappy = 2,
    /// Zstandard at level 1: the smallest, for networks that are slower than memory.
    Zstd = 3,
}

impl Codec {
    /// All of them, by number.
    pub const ALL: [Self; 3] = [Self::Lz4, Self::Snappy, Self::Zstd];

    /// The codec of this number.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Lz4),
            2 => Some(Self::Snappy),
            3 => Some(Self::Zstd),
            _ => None,
        }
    }

    /// Its number on the wire.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// Its name in lower case, as configurations and metrics have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lz4 => "lz4",
            Self::Snappy => "snappy",
            Self::Zstd => "zstd",
        }
    }

    /// Whether this build can read and write it: each codec is a feature of this crate, `lz4`, `snappy`, `zstd`.
    pub const fn is_built_in(self) -> bool {
        match self {
            Self::Lz4 => cfg!(feature = "lz4"),
            Self::Snappy => cfg!(feature = "snappy"),
            Self::Zstd => cfg!(feature = "zstd"),
        }
    }

    pub(crate) const fn flags(self) -> Flags {
        Flags((self as u16) << 4)
    }

    pub(crate) const fn of(flags: Flags) -> Option<Self> {
        Self::from_number(((flags.0 & Flags::CODEC.0) >> 4) as u8)
    }

    /// Appends the compressed bytes. `false`, with `out` as before, where they save less than a sixteenth, would be a larger
    /// ratio than a reader takes, or the codec is not built in.
    pub(crate) fn compress(self, raw: &[u8], out: &mut Vec<u8>) -> bool {
        let start = out.len();
        if !self.append(raw, out) {
            out.truncate(start);
            return false;
        }
        let compressed = out.len() - start;
        let is_worth_it = compressed <= raw.len() - raw.len() / 16;
        let is_readable = raw.len() <= compressed.saturating_mul(COMPRESSION_RATIO_MAX as usize);
        if !is_worth_it || !is_readable {
            out.truncate(start);
        }
        is_worth_it && is_readable
    }

    #[cfg_attr(
        not(any(feature = "lz4", feature = "snappy", feature = "zstd")),
        expect(unused_variables, clippy::ptr_arg, reason = "no codec is built in")
    )]
    fn append(self, raw: &[u8], out: &mut Vec<u8>) -> bool {
        match self {
            #[cfg(feature = "lz4")]
            Self::Lz4 => {
                let start = out.len();
                out.resize(start + lz4_flex::block::get_maximum_output_size(raw.len()), 0);
                let written = lz4_flex::block::compress_into(raw, &mut out[start..]);
                out.truncate(start + written.as_ref().copied().unwrap_or(0));
                written.is_ok()
            }
            #[cfg(feature = "snappy")]
            Self::Snappy => {
                let start = out.len();
                out.resize(start + snap::raw::max_compress_len(raw.len()), 0);
                let written = snap::raw::Encoder::new().compress(raw, &mut out[start..]);
                out.truncate(start + written.as_ref().copied().unwrap_or(0));
                written.is_ok()
            }
            #[cfg(feature = "zstd")]
            Self::Zstd => zstandard::append(raw, out),
            #[cfg(not(all(feature = "lz4", feature = "snappy", feature = "zstd")))]
            _ => false,
        }
    }

    /// The raw bytes, exactly as many as were declared. The caller has checked that number: so much is allocated.
    ///
    /// # Errors
    ///
    /// [`FrameError::Compression`] where the bytes are not what the codec writes, or are longer or shorter than declared.
    pub(crate) fn decompress(self, bytes: &[u8], raw_bytes: usize) -> Result<Vec<u8>, FrameError> {
        let read = |fill: &dyn Fn(&mut [u8]) -> Option<usize>| {
            let mut raw = vec![0; raw_bytes];
            (fill(&mut raw) == Some(raw_bytes)).then_some(raw).ok_or(FrameError::Compression)
        };
        match self {
            #[cfg(feature = "lz4")]
            Self::Lz4 => read(&|raw| lz4_flex::block::decompress_into(bytes, raw).ok()),
            #[cfg(feature = "snappy")]
            Self::Snappy => match snap::raw::decompress_len(bytes) {
                Ok(length) if length == raw_bytes => read(&|raw| snap::raw::Decoder::new().decompress(bytes, raw).ok()),
                _ => Err(FrameError::Compression),
            },
            #[cfg(feature = "zstd")]
            Self::Zstd => read(&|raw| zstandard::read(bytes, raw)),
            #[cfg(not(all(feature = "lz4", feature = "snappy", feature = "zstd")))]
            _ => {
                let _not_built_in = (bytes, read);
                Err(FrameError::Compression)
            }
        }
    }
}

/// Zstandard's contexts are large, so each thread keeps one of either kind.
#[cfg(feature = "zstd")]
mod zstandard {
    use std::cell::RefCell;

    use zstd::bulk::{Compressor, Decompressor};

    const LEVEL: i32 = 1;

    thread_local! {
        static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
        static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
    }

    pub(super) fn append(raw: &[u8], out: &mut Vec<u8>) -> bool {
        COMPRESSOR.with_borrow_mut(|kept| {
            if kept.is_none() {
                *kept = Compressor::new(LEVEL).ok();
            }
            let Some(compressor) = kept else { return false };
            let start = out.len();
            out.resize(start + zstd::zstd_safe::compress_bound(raw.len()), 0);
            let written = compressor.compress_to_buffer(raw, &mut out[start..]);
            out.truncate(start + written.as_ref().copied().unwrap_or(0));
            written.is_ok()
        })
    }

    pub(super) fn read(bytes: &[u8], raw: &mut [u8]) -> Option<usize> {
        DECOMPRESSOR.with_borrow_mut(|kept| {
            if kept.is_none() {
                *kept = Decompressor::new().ok();
            }
            kept.as_mut()?.decompress_to_buffer(bytes, raw).ok()
        })
    }
}

/// A set of codecs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Codecs(u8);

impl Codecs {
    /// None.
    pub const NONE: Self = Self(0);

    /// Those that this build can read.
    pub fn built_in() -> Self {
        Codec::ALL.into_iter().filter(|codec| codec.is_built_in()).collect()
    }

    /// Whether it has this one.
    pub const fn has(self, codec: Codec) -> bool {
        self.0 & 1 << codec as u8 != 0
    }
}

impl FromIterator<Codec> for Codecs {
    fn from_iter<I: IntoIterator<Item = Codec>>(codecs: I) -> Self {
        Self(codecs.into_iter().fold(0, |set, codec| set | 1 << codec as u8))
    }
}
