//! How a layer is cut into pieces, and the scratch that takes. Portable: hosts plan for boards.

use releq_format::graph::{Op, Storage, TensorRecord};
use releq_format::pack::Layout;

use super::column_plan::ColumnPlan;
use super::line_plan::LinePlan;

/// Pixels that one assembly block computes at a time.
pub(super) const BLOCK: usize = 4;
/// Patches are widened to 16 bits, so columns come in fours: two words of two columns.
pub(super) const QUAD: usize = 4;
/// Scratch that patches may take; more of them share what a round costs.
const PATCH_BUDGET: usize = 2688;
/// Scratch in all where a round also expands all weights, which more patches share.
const SCRATCH_BUDGET: usize = 6144;
/// Most patches that are expanded for at once; more would gain nothing.
const MOST_PIXELS: usize = 48;
/// Pairs of rows that are expanded at a time.
pub(super) const EXPANDED_PAIRS: usize = 2;
/// Longest patch, in columns: beyond it the scratch of one block would be out of proportion.
const MOST_COLUMNS: usize = 2304;

/// Longest patch, in columns, that is fetched through a table: its sums fit 16-bit lanes.
const MOST_TABLED: usize = 256;

/// How a convolution is cut: `pixels` output pixels at a time, gathered side by side.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConvPlan {
    /// Groups of four columns, the last filled up.
    pub(super) quads: usize,
    /// Output pixels per round, a multiple of [`BLOCK`].
    pub(super) pixels: usize,
    /// Whether weights are expanded to bytes before use.
    pub(super) expands: bool,
    /// Bytes of as many unpacked input rows as the windows of two neighbouring pixels have; none where the input is bytes.
    pub(super) band: usize,
    /// Whether columns are fetched one by one through a table of offsets: where runs are no whole words, but short.
    pub(super) tabled: bool,
    /// Output channels, rounded up to whole pairs.
    pub(super) rows: usize,
}

impl ConvPlan {
    /// The plan; `None` where another family must run it: other layouts, logits, very long patches.
    pub(super) fn new(op: &Op, input: &TensorRecord, output: &TensorRecord) -> Option<Self> {
        let Op::Conv2d { window, .. } = op else { return None };
        let matrix = op.matrix(input, output)?;
        let columns = matrix.columns as usize;
        if matrix.layout != Layout::Lanes || output.storage == Storage::Logits || columns > MOST_COLUMNS {
            return None;
        }
        let quads = columns.div_ceil(QUAD).max(1);
        let expands = matrix.bits.get() < 8;
        let wanted = (output.pixels() as usize).min(MOST_PIXELS);
        let (run, bytes) = (columns / usize::from(window.kernel[0]).max(1), input.storage == Storage::Bits8);
        let tabled = bytes && !run.is_multiple_of(QUAD) && columns <= MOST_TABLED;
        let band = if bytes {
            0
        } else {
            let rows = usize::from(window.kernel[0]) + usize::from(window.stride[0]);
            rows * usize::from(input.width) * usize::from(input.channels)
        };
        let rows = (matrix.rows as usize).next_multiple_of(2);
        let affordable = match expands {
            // Patch, start and outputs of a pixel, out of what expanded pairs and the band leave.
            true => SCRATCH_BUDGET.saturating_sub(8 * EXPANDED_PAIRS * quads + band) / (8 * quads + 8 + rows).max(1),
            false => PATCH_BUDGET / (8 * quads).max(1),
        };
        let pixels = (wanted.min(affordable) & !(BLOCK - 1)).max(BLOCK);
        Some(Self { quads, pixels, expands, band: band.next_multiple_of(4), tabled, rows })
    }

    /// Bytes of all widened patches of a round.
    pub(super) const fn patch_bytes(&self) -> usize {
        8 * self.quads * self.pixels
    }

    /// Bytes of what accumulators start with: two words a pixel.
    pub(super) const fn start_bytes(&self) -> usize {
        8 * self.pixels
    }

    /// Bytes of two patches before they are widened, or of some expanded pairs of rows.
    pub(super) const fn gather_bytes(&self) -> usize {
        2 * QUAD * self.quads * if self.expands { EXPANDED_PAIRS } else { 1 }
    }

    /// Bytes of the table of column offsets.
    pub(super) const fn table_bytes(&self) -> usize {
        if self.tabled { 4 * QUAD * self.quads } else { 0 }
    }

    /// Bytes of a round's outputs where they cannot be written in place.
    pub(super) const fn staging_bytes(&self) -> usize {
        (self.pixels * self.rows).next_multiple_of(4)
    }

    /// All of it.
    pub(super) fn scratch_bytes(&self) -> Option<u32> {
        let parts = [
            self.patch_bytes(),
            self.start_bytes(),
            self.gather_bytes(),
            self.band,
            self.table_bytes(),
            self.staging_bytes(),
        ];
        u32::try_from(parts.into_iter().sum::<usize>()).ok()
    }
}

/// Taps of a window's row that have loops of their own.
pub(super) const TAPS: usize = 3;

/// Scratch of a convolution, by whichever plan it has.
pub(super) fn conv_scratch(op: &Op, input: &TensorRecord, output: &TensorRecord) -> Option<u32> {
    match LinePlan::new(op, input, output) {
        Some(plan) => plan.scratch_bytes(),
        None => match ColumnPlan::new(op, input, output) {
            Some(plan) => plan.scratch_bytes(),
            None => ConvPlan::new(op, input, output)?.scratch_bytes(),
        },
    }
}

/// Widest input of a dense layer, in codes.
const MOST_INPUTS: usize = 8192;

/// How a dense layer is run: the whole input at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct DensePlan {
    /// Columns, rounded up to what a turn of any plane's loop takes.
    columns: usize,
    pairs: usize,
}

impl DensePlan {
    /// The plan; `None` where another family must run it: other layouts, very wide inputs.
    pub(super) fn new(op: &Op, input: &TensorRecord, output: &TensorRecord) -> Option<Self> {
        let matrix = op.matrix(input, output)?;
        let columns = (matrix.columns as usize).next_multiple_of(16);
        let suits = matrix.layout == Layout::Lanes && columns <= MOST_INPUTS;
        suits.then_some(Self { columns, pairs: (matrix.rows as usize).div_ceil(2) })
    }

    /// Bytes of the widened input.
    pub(super) const fn code_bytes(&self) -> usize {
        2 * self.columns
    }

    /// Bytes of two sums a pair of rows.
    pub(super) const fn sum_bytes(&self) -> usize {
        8 * self.pairs
    }

    /// All of it, with room for the unpacked input, the widest plane of a pair of rows, or the outputs.
    pub(super) fn scratch_bytes(&self) -> Option<u32> {
        let rest = (2 * self.columns).max(2 * self.pairs).next_multiple_of(4);
        u32::try_from(self.code_bytes() + self.sum_bytes() + rest).ok()
    }
}

/// Whether max pooling runs on whole bytes.
pub(super) fn pools(input: &TensorRecord, output: &TensorRecord) -> bool {
    input.storage == Storage::Bits8 && output.storage == Storage::Bits8
}

/// Channels of a depthwise layer that are run together.
pub(super) const GROUP: usize = 4;
/// A plane: rows of 32 codes of 16 bits; of the columns, a row's last group of four outputs reads two more.
const PLANE_ROWS: usize = 18;
const PLANE_BYTES: usize = 64 * PLANE_ROWS;
const MOST_PLANE_OUTPUTS: usize = 28;

/// How a depthwise 3 × 3 is cut into tiles.
#[derive(Clone, Copy, Debug)]
pub(super) struct DepthwisePlan {
    /// Outputs of a tile.
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// Rows from output to output.
    pub(super) stride: usize,
    expanded: usize,
}

impl DepthwisePlan {
    /// The plan; `None` where another family must run it: other windows, steps across, codes below 8 bits.
    pub(super) fn new(op: &Op, input: &TensorRecord, output: &TensorRecord) -> Option<Self> {
        let Op::Depthwise { window, weights } = op else { return None };
        let bytes = [input.storage, output.storage] == [Storage::Bits8; 2] && output.bits.get() == 8;
        let three = window.kernel.map(usize::from) == [TAPS; 2];
        let stride = usize::from(window.stride[0]);
        let suits = bytes && three && window.stride[1] == 1 && (1..=4).contains(&stride);
        let expanded = match weights.layout {
            Layout::Bytes => 0,
            _ => TAPS * TAPS * usize::from(input.channels),
        };
        (suits && usize::from(input.channels) >= GROUP).then_some(Self {
            rows: (PLANE_ROWS - TAPS) / stride.max(1) + 1,
            columns: MOST_PLANE_OUTPUTS,
            stride,
            expanded,
        })
    }

    /// Bytes of the planes of a group, and of the weights unless they are bytes already.
    pub(super) fn scratch_bytes(&self) -> Option<u32> {
        u32::try_from((GROUP * PLANE_BYTES + self.expanded).next_multiple_of(4)).ok()
    }
}
