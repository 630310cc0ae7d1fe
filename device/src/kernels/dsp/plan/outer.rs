//! How a 1 × 1 convolution with few bits on both sides is cut: outer products of two rows and two or three pixels.

use releq_format::graph::{Op, Storage, TensorRecord};
use releq_format::pack::Layout;
use releq_format::quant::spaced_terms;

use super::{SCRATCH_BUDGET, TAPS};

/// Most input channels.
const MOST_CHANNELS: usize = 256;
/// Most blocks of pixels that share a round.
const MOST_BLOCKS: usize = 32;
/// Rows that are multiplied at a time.
pub(in crate::kernels::dsp) const ROWS: usize = 4;

/// `blocks` blocks of two groups of pixels a round, which share the words that weights are coupled into.
#[derive(Clone, Copy, Debug)]
pub(in crate::kernels::dsp) struct OuterPlan {
    /// Pixels of a group: 3, their codes 10 bits apart, or 2, 14 bits apart.
    pub(in crate::kernels::dsp) group: usize,
    pub(in crate::kernels::dsp) blocks: usize,
    channels: usize,
    pixel_bytes: usize,
    /// Whether pairs of rows become byte lanes before they are coupled.
    pub(in crate::kernels::dsp) expands: bool,
}

impl OuterPlan {
    /// The plan; `None` where sums of all channels do not fit, or codes do not come in whole words.
    pub(in crate::kernels::dsp) fn new(op: &Op, input: &TensorRecord, output: &TensorRecord) -> Option<Self> {
        let Op::Conv2d { window, weights } = op else { return None };
        let channels = usize::from(input.channels);
        let whole = match input.storage {
            Storage::Bits4 => channels.is_multiple_of(8),
            Storage::Bits2 => channels.is_multiple_of(16),
            Storage::Bits8 | Storage::Bits1 | Storage::Logits => false,
        };
        // Only a byte of crumbs can hold fewer rows than are multiplied at a time.
        let stores = match output.storage {
            Storage::Bits2 => true,
            Storage::Bits4 | Storage::Bits8 => usize::from(output.channels).is_multiple_of(ROWS),
            Storage::Bits1 | Storage::Logits => false,
        };
        let bits = weights.bits.get();
        let suits = weights.layout == Layout::Lanes && window.kernel == [1; 2] && channels <= MOST_CHANNELS;
        if !(suits && whole && stores && bits <= 4) {
            return None;
        }
        let holds = |spacing| spaced_terms(spacing, weights.bits, input.bits) >= channels;
        let group = match (bits <= 2 && input.storage == Storage::Bits2 && holds(10), holds(14)) {
            (true, _) => TAPS,
            (false, true) => 2,
            (false, false) => return None,
        };
        let plan = Self {
            group,
            blocks: 0,
            channels,
            pixel_bytes: output.pixel_bytes() as usize,
            // A word of single bits holds sixteen channels.
            expands: bits == 3 || bits == 1 && !channels.is_multiple_of(16),
        };
        let fixed = plan.parts().into_iter().sum::<usize>();
        let pixels = (output.pixels() as usize).div_ceil(2 * group);
        let affordable = SCRATCH_BUDGET.saturating_sub(fixed) / plan.block_bytes().max(1);
        let blocks = affordable.min(pixels).min(MOST_BLOCKS);
        (blocks > 0).then_some(Self { blocks, ..plan })
    }

    /// Bytes of a block's words and of what its accumulators start with.
    const fn block_bytes(&self) -> usize {
        8 * self.channels + 8 * self.group
    }

    /// Bytes of the pixels' words, of what accumulators start with, of the coupled words, of byte lanes of two pairs of
    /// rows, and of the outputs of a last block that is not whole.
    pub(in crate::kernels::dsp) const fn parts(&self) -> [usize; 5] {
        [
            8 * self.channels * self.blocks,
            8 * self.group * self.blocks,
            8 * self.channels,
            if self.expands { 8 * self.channels } else { 0 },
            (2 * self.group * self.pixel_bytes).next_multiple_of(4),
        ]
    }

    /// All of it.
    pub(super) fn scratch_bytes(&self) -> Option<u32> {
        u32::try_from(self.parts().into_iter().sum::<usize>()).ok()
    }
}
