//! How a layer is cut into pieces, and the scratch that takes. Portable: hosts plan for boards.

use releq_format::graph::{Op, Storage, TensorRecord};
use releq_format::pack::Layout;

/// Pixels that one assembly block computes at a time.
pub(super) const BLOCK: usize = 4;
/// Patches are widened to 16 bits, so columns come in fours: two words of two columns.
pub(super) const QUAD: usize = 4;
/// Scratch that patches may take where weights have to be expanded once for all of them.
const PATCH_BUDGET: usize = 4800;
/// Most patches that are expanded for at once; more would gain nothing.
const MOST_PIXELS: usize = 32;
/// Longest patch, in columns: beyond it the scratch of one block would be out of proportion.
const MOST_COLUMNS: usize = 2304;

/// How a convolution is cut: `pixels` output pixels at a time, gathered side by side.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConvPlan {
    /// Groups of four columns, the last filled up.
    pub(super) quads: usize,
    /// Output pixels per round, a multiple of [`BLOCK`].
    pub(super) pixels: usize,
    /// Whether weights are expanded to bytes before use.
    pub(super) expands: bool,
    /// Output channels, rounded up to whole pairs.
    pub(super) rows: usize,
}

impl ConvPlan {
    /// The plan; `None` where another family must run it: other layouts, logits, very long patches.
    pub(super) fn new(op: &Op, input: &TensorRecord, output: &TensorRecord) -> Option<Self> {
        let matrix = op.matrix(input, output)?;
        let columns = matrix.columns as usize;
        if matrix.layout != Layout::Lanes || output.storage == Storage::Logits || columns > MOST_COLUMNS {
            return None;
        }
        let quads = columns.div_ceil(QUAD).max(1);
        let expands = matrix.bits.get() < 8;
        let wanted = (output.pixels() as usize).min(MOST_PIXELS);
        let affordable = if expands { PATCH_BUDGET / (8 * quads) } else { BLOCK };
        let pixels = (wanted.min(affordable) & !(BLOCK - 1)).max(BLOCK);
        let rows = (matrix.rows as usize).next_multiple_of(2);
        Some(Self { quads, pixels, expands, rows })
    }

    /// Bytes of all widened patches of a round.
    pub(super) const fn patch_bytes(&self) -> usize {
        8 * self.quads * self.pixels
    }

    /// Bytes of what accumulators start with: two words a pixel.
    pub(super) const fn start_bytes(&self) -> usize {
        8 * self.pixels
    }

    /// Bytes of two patches before they are widened.
    pub(super) const fn gather_bytes(&self) -> usize {
        2 * QUAD * self.quads
    }

    /// Bytes of one expanded pair of rows.
    pub(super) const fn expanded_bytes(&self) -> usize {
        if self.expands { 8 * self.quads } else { 0 }
    }

    /// Bytes of a round's outputs where they cannot be written in place.
    pub(super) const fn staging_bytes(&self) -> usize {
        (self.pixels * self.rows).next_multiple_of(4)
    }

    /// All of it.
    pub(super) fn scratch_bytes(&self) -> Option<u32> {
        let parts =
            [self.patch_bytes(), self.start_bytes(), self.gather_bytes(), self.expanded_bytes(), self.staging_bytes()];
        u32::try_from(parts.into_iter().sum::<usize>()).ok()
    }
}
