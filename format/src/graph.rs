//! Layer and tensor records: what an image says about each step, as postcard encodes it.
//!
//! Tensor 0 is the input; tensor i + 1 is the output of layer i. Layers read earlier tensors only, so their order is
//! an execution order.

use serde::{Deserialize, Serialize};

use crate::bits::{BitWidth, Levels};
use crate::pack::{Layout, Matrix};
use crate::quant::AddScale;

/// How many bits one element of a stored tensor takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Storage {
    /// Eight codes a byte.
    Bits1,
    /// Four codes a byte.
    Bits2,
    /// Two codes a byte.
    Bits4,
    /// One code a byte.
    Bits8,
    /// Signed 32-bit little-endian logits; only the last layer's output.
    Logits,
}

impl Storage {
    /// The narrowest storage of codes of `bits`.
    pub const fn narrowest(bits: BitWidth) -> Self {
        match bits.get() {
            1 => Self::Bits1,
            2 => Self::Bits2,
            3 | 4 => Self::Bits4,
            _ => Self::Bits8,
        }
    }

    /// Bits per element.
    #[inline]
    pub const fn bits(self) -> u32 {
        match self {
            Self::Bits1 => 1,
            Self::Bits2 => 2,
            Self::Bits4 => 4,
            Self::Bits8 => 8,
            Self::Logits => 32,
        }
    }
}

/// A tensor in the arena: NHWC with N = 1, each pixel starting at a whole byte, pad lanes holding code 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorRecord {
    /// Rows.
    pub height: u16,
    /// Columns.
    pub width: u16,
    /// Channels, innermost.
    pub channels: u16,
    /// Bits of each code; of no meaning for logits.
    pub bits: BitWidth,
    /// The code that stands for 0.0; convolution and average pooling pad with it.
    pub zero_point: u8,
    /// How codes are stored.
    pub storage: Storage,
    /// Byte offset in the arena, a multiple of 4.
    pub offset: u32,
}

impl TensorRecord {
    /// Bytes from one pixel to the next.
    #[inline]
    pub const fn pixel_bytes(&self) -> u32 {
        (self.channels as u32 * self.storage.bits()).div_ceil(8)
    }

    /// Pixels, height × width.
    pub const fn pixels(&self) -> u32 {
        self.height as u32 * self.width as u32
    }

    /// Bytes of the whole tensor; `None` beyond `u32`.
    pub const fn bytes(&self) -> Option<u32> {
        self.pixels().checked_mul(self.pixel_bytes())
    }

    /// Elements; `None` beyond `u32`.
    pub const fn elements(&self) -> Option<u32> {
        self.pixels().checked_mul(self.channels as u32)
    }

    /// Where the tensor lies in the arena.
    pub fn region(&self) -> Option<Region> {
        Some(Region { offset: self.offset, bytes: self.bytes()? })
    }
}

/// A piece of the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Region {
    /// First byte, a multiple of 4.
    pub offset: u32,
    /// Length in bytes.
    pub bytes: u32,
}

impl Region {
    /// One past the last byte; `None` beyond `u32`.
    pub const fn end(&self) -> Option<u32> {
        self.offset.checked_add(self.bytes)
    }

    /// Whether two regions share a byte. Regions that run past `u32` overlap everything.
    pub const fn overlaps(&self, other: &Self) -> bool {
        if self.bytes == 0 || other.bytes == 0 {
            return false;
        }
        match (self.end(), other.end()) {
            (Some(end), Some(other_end)) => self.offset < other_end && other.offset < end,
            _ => true,
        }
    }

    /// As a range of indices.
    pub const fn range(&self) -> core::ops::Range<usize> {
        self.offset as usize..(self.offset as usize).saturating_add(self.bytes as usize)
    }
}

/// A sliding window over a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Height and width.
    pub kernel: [u8; 2],
    /// Steps down and right, at least 1.
    pub stride: [u8; 2],
    /// Padding at the top, left, bottom and right; each less than the kernel's extent.
    pub padding: [u8; 4],
}

impl Window {
    /// Positions of the kernel, height × width.
    pub const fn taps(&self) -> u32 {
        self.kernel[0] as u32 * self.kernel[1] as u32
    }

    /// Output height and width over an input of `height` × `width`; `None` for a malformed window.
    pub fn output(&self, height: u16, width: u16) -> Option<[u16; 2]> {
        let [top, left, bottom, right] = self.padding;
        let span = |size: u16, before: u8, after: u8, kernel: u8, stride: u8| {
            if before >= kernel || after >= kernel {
                return None;
            }
            let room = (u32::from(size) + u32::from(before) + u32::from(after)).checked_sub(u32::from(kernel))?;
            u16::try_from(room.checked_div(u32::from(stride))? + 1).ok()
        };
        Some([
            span(height, top, bottom, self.kernel[0], self.stride[0])?,
            span(width, left, right, self.kernel[1], self.stride[1])?,
        ])
    }
}

/// A weighted layer's constants: what its codes mean and where they lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weights {
    /// Bits of each weight code.
    pub bits: BitWidth,
    /// What a code stands for.
    pub levels: Levels,
    /// Where fields lie.
    pub layout: Layout,
    /// Left shift of the accumulator before the channel multiplier, 0..=19.
    pub shift: u8,
    /// Offset of the packed codes in the section area, a multiple of 4.
    pub codes: u32,
    /// Offset of the channel constants ([`crate::quant::Channel`], 8 bytes each), a multiple of 4.
    pub channels: u32,
}

/// What a layer computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// 2-D convolution over all input channels.
    Conv2d {
        /// Kernel, stride, padding.
        window: Window,
        /// Rows: output channels; columns: (kernel row, kernel column, input channel).
        weights: Weights,
    },
    /// One kernel per channel.
    Depthwise {
        /// Kernel, stride, padding.
        window: Window,
        /// Rows: taps; columns: channels.
        weights: Weights,
    },
    /// Fully connected over all elements of the input, in storage order.
    Dense {
        /// Rows: outputs; columns: (row, column, channel) of the input.
        weights: Weights,
    },
    /// Largest code of each window; padding is ignored. Keeps bits and zero point.
    MaxPool {
        /// Kernel, stride, padding.
        window: Window,
    },
    /// Requantized sum of each window.
    AvgPool {
        /// Kernel, stride, padding.
        window: Window,
        /// As [`Weights::shift`].
        shift: u8,
        /// As [`crate::quant::Channel::bias`], for all channels.
        bias: i32,
        /// As [`crate::quant::Channel::multiplier`], for all channels.
        multiplier: i32,
    },
    /// Element-wise sum of two tensors of one shape.
    Add {
        /// The two scales brought to one.
        scale: AddScale,
    },
    /// The channels of one tensor, then those of another of the same height and width. Codes are copied: bits, zero
    /// point and storage of both and of the output are the same.
    Concat,
}

impl Op {
    /// A short lower-case name for tables.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Conv2d { .. } => "conv2d",
            Self::Depthwise { .. } => "depthwise",
            Self::Dense { .. } => "dense",
            Self::MaxPool { .. } => "maxpool",
            Self::AvgPool { .. } => "avgpool",
            Self::Add { .. } => "add",
            Self::Concat => "concat",
        }
    }

    /// How many tensors it reads.
    pub const fn arity(&self) -> usize {
        if matches!(self, Self::Add { .. } | Self::Concat) { 2 } else { 1 }
    }

    /// The features a reader needs for it, one bit each.
    pub(crate) fn features(&self) -> u32 {
        let own = if matches!(self, Self::Concat) { crate::image::CONCAT } else { 0 };
        own | self.weights().map_or(0, |weights| weights.layout.features())
    }

    /// The constants of a weighted layer.
    pub const fn weights(&self) -> Option<&Weights> {
        match self {
            Self::Conv2d { weights, .. } | Self::Depthwise { weights, .. } | Self::Dense { weights } => Some(weights),
            _ => None,
        }
    }

    /// Products (or summands) in one accumulator, for an input of `input`; `None` beyond `u32`.
    pub fn terms(&self, input: &TensorRecord) -> Option<u32> {
        match self {
            Self::Conv2d { window, .. } => window.taps().checked_mul(u32::from(input.channels)),
            Self::Depthwise { window, .. } | Self::AvgPool { window, .. } => Some(window.taps()),
            Self::Dense { .. } => input.elements(),
            Self::MaxPool { .. } | Self::Add { .. } | Self::Concat => Some(0),
        }
    }

    /// The weights as a matrix, for layers that have some.
    pub fn matrix(&self, input: &TensorRecord, output: &TensorRecord) -> Option<Matrix> {
        let (rows, columns) = match self {
            Self::Depthwise { window, .. } => (window.taps(), u32::from(input.channels)),
            _ => (u32::from(output.channels), self.terms(input)?),
        };
        let Weights { bits, levels, layout, .. } = *self.weights()?;
        Some(Matrix { rows, columns, bits, levels, layout })
    }

    /// Multiply-accumulates of one inference, padding included; `None` beyond `u64`.
    pub fn macs(&self, input: &TensorRecord, output: &TensorRecord) -> Option<u64> {
        self.weights()?;
        u64::from(output.elements()?).checked_mul(u64::from(self.terms(input)?))
    }
}

/// Which kernel the host's cost model would take. Engines that lack it take their best for the layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KernelHint(pub u8);

impl KernelHint {
    /// The obvious loops.
    pub const REFERENCE: Self = Self(0);
    /// Portable packed kernels.
    pub const PACKED: Self = Self(1);
    /// Assembly for Cortex-M cores with the DSP extension.
    pub const DSP: Self = Self(2);
    /// AND and popcount on the vectors of a workstation.
    pub const BITSERIAL: Self = Self(3);
    /// 8-bit products on the vectors of a workstation.
    pub const INT8: Self = Self(4);
}

/// One layer of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerRecord<'a> {
    /// The layer's name on the workstation; for tables only.
    pub name: &'a str,
    /// What it computes.
    pub op: Op,
    /// Tensors read; the second is 0 unless the op reads two.
    pub inputs: [u16; 2],
    /// Shape, encoding and place of the result.
    pub output: TensorRecord,
    /// Working memory while the layer runs.
    pub scratch: Region,
    /// The host's choice.
    pub kernel: KernelHint,
}

impl LayerRecord<'_> {
    /// The tensors this layer reads: one, or two for an add or a concatenation.
    pub fn reads(&self) -> impl Iterator<Item = u16> {
        self.inputs.into_iter().take(self.op.arity())
    }
}
