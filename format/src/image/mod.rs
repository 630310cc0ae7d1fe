//! The `.rlq` container: check once, then infallible.
//!
//! [`Image::open`] is the only door: it checks the checksum, every record, every bound and the arena map, and returns
//! the first reason why an image is refused. After it, nothing read through the view can fail, so engines need no
//! error path. The promise holds while the borrowed bytes live. [`ImageBuilder`] (feature `alloc`) emits exactly what
//! the view parses. `SPEC.md` beside this crate is the normative text, with an annotated hexdump that a test checks.
//!
//! It is not self-describing: a reader needs this version of the records. Images are untrusted input.

#[cfg(feature = "alloc")]
mod build;
mod read;
mod signature;
mod verify;
mod view;

#[cfg(feature = "alloc")]
pub use build::{ImageBuffer, ImageBuilder, with_signature};
pub use signature::{SIGNATURE, SIGNATURE_BYTES, signature, signed_digest};
pub use verify::Fault;
pub use view::{Image, Layers};

use serde::{Deserialize, Serialize};

use crate::graph::TensorRecord;

/// The first bytes of every image. The high bit catches 7-bit transports.
pub const MAGIC: [u8; 4] = [0xF2, b'R', b'L', b'Q'];
/// The version of the layout this crate reads and writes.
pub const VERSION: u16 = 1;
/// Required feature: the layout [`Layout::Lanes`](crate::pack::Layout::Lanes).
pub const LANES: u32 = 1;
/// Required feature: the layout [`Layout::Ends`](crate::pack::Layout::Ends).
pub const ENDS: u32 = 2;
/// Required feature: the op [`Op::Concat`](crate::graph::Op::Concat).
pub const CONCAT: u32 = 4;
/// All features this reader has.
pub const FEATURES: u32 = LANES | ENDS | CONCAT;
/// Bytes of the fixed part before the postcard body.
pub const CONTAINER_BYTES: usize = 96;
/// Alignment, in bytes, that an image's first byte and the arena need.
pub const ALIGNMENT: usize = 8;

/// What precedes the layers in the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header<'a> {
    /// The network's name.
    pub name: &'a str,
    /// Shape and encoding of the input codes. The host makes codes, the device takes codes.
    pub input: TensorRecord,
    /// Bits of the `f32` by which an input code counts: real = (code − zero point) · scale.
    pub input_scale: u32,
    /// `f32` mean and standard deviation of each channel, little-endian, 8 bytes a channel, in units of pixel / 255.
    pub normalisation: &'a [u8],
    /// Bits of the `f32` value of one logit unit.
    pub logit_scale: u32,
    /// A known answer, so that a device can test itself.
    pub self_test: SelfTest,
    /// Number of layers that follow.
    pub layers: u16,
}

/// A known answer: the engine fed with [`SelfTest::fill`] gives logits whose CRC-32 is `digest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelfTest {
    /// Seed of the input; odd, or 0 where no test was recorded.
    pub seed: u32,
    /// CRC-32 over the logits as little-endian `i32`.
    pub digest: u32,
}

impl SelfTest {
    /// Fills a stored input tensor with pseudo-random codes (xorshift32), pad lanes left at 0.
    pub fn fill(seed: u32, input: &TensorRecord, bytes: &mut [u8]) {
        let storage = input.storage.bits();
        let per_byte = (8 / storage).max(1);
        let mut state = seed | 1;
        for pixel in bytes.chunks_mut(input.pixel_bytes().max(1) as usize) {
            let mut left = u32::from(input.channels);
            for byte in pixel {
                *byte = 0;
                for lane in 0..per_byte.min(left) {
                    state ^= state << 13;
                    state ^= state >> 17;
                    state ^= state << 5;
                    *byte |= ((state >> 24) as u8 & input.bits.max_code()) << (lane * storage);
                }
                left = left.saturating_sub(per_byte);
            }
        }
    }
}

/// Why an image is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ImageError {
    /// The first byte is not at a multiple of [`ALIGNMENT`].
    Misaligned,
    /// It does not begin with [`MAGIC`].
    NotAnImage,
    /// Another layout version than [`VERSION`].
    Version(u16),
    /// Shorter than it says.
    Truncated,
    /// Longer than it says, or padding that is not zero.
    Trailing,
    /// The checksum does not match: a bit was flipped.
    Checksum,
    /// It needs something this reader lacks; the unknown feature bits.
    Features(u32),
    /// The header record does not decode or contradicts itself.
    Header,
    /// A layer is refused.
    Layer {
        /// Its index.
        layer: u16,
        /// Why.
        fault: Fault,
    },
}

impl core::fmt::Display for ImageError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Misaligned => write!(f, "the image does not start at a multiple of {ALIGNMENT} bytes"),
            Self::NotAnImage => f.write_str("it does not begin with the mark of a releq image"),
            Self::Version(version) => write!(f, "it has format version {version}, this reader has {VERSION}"),
            Self::Truncated => f.write_str("it is shorter than it says"),
            Self::Trailing => f.write_str("it carries bytes beyond its end"),
            Self::Checksum => f.write_str("its checksum does not match: it was damaged"),
            Self::Features(bits) => write!(f, "it needs features {bits:#x} that this reader lacks"),
            Self::Header => f.write_str("its header contradicts itself"),
            Self::Layer { layer, fault } => write!(f, "layer {layer} {fault}"),
        }
    }
}

impl core::error::Error for ImageError {}
