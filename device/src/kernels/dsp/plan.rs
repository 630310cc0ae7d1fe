//! How a layer is cut into pieces, and the scratch that takes. Portable: hosts plan for boards.

mod outer;

use releq_format::graph::{Op, Storage, TensorRecord, Weights};
use releq_format::pack::Layout;
use releq_format::quant::end_terms;

pub(super) use outer::OuterPlan;
#[cfg(releq_dsp)]
pub(super) use outer::ROWS;

use super::column_plan::ColumnPlan;
use super::line_plan::LinePlan;

/// Pixels that one assembly block computes at a time.
pub(super) const BLOCK: usize = 4;
/// Patches are widened to 16 bits, so columns come in fours: two words of two columns.
pub(super) const QUAD: usize = 4;
/// Scratch that patches may take; more of them share what a round costs.
const PATCH_BUDGET: usize = 2688;
/// Scratch of a layer in all, where more of it would be of use.
pub(super) const SCRATCH_BUDGET: usize = 6144;
/// Most patches that are expanded for at once; more would gain nothing.
const MOST_PIXELS: usize = 48;
/// Columns of a group of ends: whole groups are multiplied.
const GROUP_COLUMNS: usize = releq_format::ends::COLUMNS as usize;
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
        let ends = matrix.layout == Layout::Ends && end_terms(matrix.bits, input.bits) >= GROUP_COLUMNS;
        let suits = ends && matrix.is_valid() || matrix.layout == Layout::Lanes;
        if !suits || output.storage == Storage::Logits || columns > MOST_COLUMNS {
            return None;
        }
        let whole = if ends { GROUP_COLUMNS } else { QUAD };
        let quads = columns.next_multiple_of(whole).max(whole) / QUAD;
        let expands = matrix.bits.get() < 8 && !ends;
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
        let table = if tabled { 4 * QUAD * quads } else { 0 };
        // Patch, start and outputs of a pixel, out of what pairs or gathered patches, table and band leave.
        let left = SCRATCH_BUDGET.saturating_sub(8 * EXPANDED_PAIRS * quads + band + table);
        let affordable = left / (8 * quads + 8 + rows).max(1);
        // Without a round's expansion to share, more patches gain little.
        let useful = if expands || ends { affordable } else { affordable.min(PATCH_BUDGET / (8 * quads).max(1)) };
        let pixels = (wanted.min(useful) & !(BLOCK - 1)).max(BLOCK);
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
    if let Some(plan) = OuterPlan::new(op, input, output) {
        return plan.scratch_bytes();
    }
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
    /// The plan; `None` where another family must run it: other layouts, very wide inputs, ends without room for sums.
    pub(super) fn new(op: &Op, input: &TensorRecord, output: &TensorRecord) -> Option<Self> {
        let matrix = op.matrix(input, output)?;
        let columns = (matrix.columns as usize).next_multiple_of(16);
        let suits = match matrix.layout {
            Layout::Lanes => true,
            Layout::Ends if matrix.is_valid() => {
                let least = if matrix.bits.get() == 3 { QUAD } else { GROUP_COLUMNS };
                end_terms(matrix.bits, input.bits) >= least
            }
            _ => false,
        };
        (suits && columns <= MOST_INPUTS).then_some(Self { columns, pairs: (matrix.rows as usize).div_ceil(2) })
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

/// Whether `op` runs faster with its weights in ends: four products at once, where there is room for their sums.
pub(super) fn prefers_ends(op: &Op, input: &TensorRecord, output: &TensorRecord) -> bool {
    let layout = Layout::Ends;
    match *op {
        Op::Dense { weights } => {
            let ends = Op::Dense { weights: Weights { layout, ..weights } };
            DensePlan::new(&ends, input, output).is_some()
        }
        Op::Conv2d { window, weights } => {
            let ends = Op::Conv2d { window, weights: Weights { layout, ..weights } };
            OuterPlan::new(op, input, output).is_none()
                && LinePlan::new(op, input, output).is_none()
                && ConvPlan::new(&ends, input, output).is_some()
        }
        _ => false,
    }
}

/// Whether max pooling runs where it is: on codes of one storage.
pub(super) fn pools(input: &TensorRecord, output: &TensorRecord) -> bool {
    input.storage == output.storage && output.storage != Storage::Logits
}

/// Whether codes are bytes that need no limit but their own.
fn are_bytes(record: &TensorRecord) -> bool {
    record.storage == Storage::Bits8 && record.bits.get() == 8
}

/// Most codes under an average: their sums fit 16 bits.
const MOST_AVERAGED: u32 = 257;

/// What an average needs beside its tensors: nothing where both are bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct AveragePlan {
    /// Bytes of the unpacked rows under a row of outputs.
    pub(super) band: usize,
    /// Bytes of a row of outputs that waits for packing.
    pub(super) staging: usize,
}

impl AveragePlan {
    /// The plan; `None` where another family must run it: logits, few channels, huge windows, rows beyond the budget.
    pub(super) fn new(op: &Op, input: &TensorRecord, output: &TensorRecord) -> Option<Self> {
        let Op::AvgPool { window, .. } = op else { return None };
        let channels = usize::from(input.channels);
        let rows = usize::from(window.kernel[0].min(input.height.try_into().unwrap_or(u8::MAX)));
        let band = rows * usize::from(input.width) * channels;
        let staging = usize::from(output.width) * channels;
        let plan = Self {
            band: if input.storage == Storage::Bits8 { 0 } else { band.next_multiple_of(4) },
            staging: if are_bytes(output) { 0 } else { staging },
        };
        let suits = output.storage != Storage::Logits && channels >= 4 && window.taps() <= MOST_AVERAGED;
        (suits && plan.band + plan.staging <= SCRATCH_BUDGET).then_some(plan)
    }

    pub(super) const fn is_direct(&self) -> bool {
        self.band == 0 && self.staging == 0
    }

    /// All of it.
    pub(super) fn scratch_bytes(&self) -> Option<u32> {
        u32::try_from((self.band + self.staging).next_multiple_of(4)).ok()
    }
}

/// How an addition is cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct AddPlan {
    /// Neighbouring pixels of each operand that are unpacked at a time; 0 where all are bytes.
    pub(super) pixels: usize,
    channels: usize,
}

impl AddPlan {
    /// The plan, as far as the left operand and the output tell; `None` where one pixel is too long.
    pub(super) fn new(input: &TensorRecord, output: &TensorRecord) -> Option<Self> {
        let channels = usize::from(output.channels);
        let direct = input.storage == Storage::Bits8 && are_bytes(output);
        let most = (SCRATCH_BUDGET / 2).checked_div(channels)?.min(usize::from(output.width));
        let pixels = if direct { 0 } else { most };
        (direct || pixels > 0).then_some(Self { pixels, channels })
    }

    /// Whether bytes and codes of 4 bits become codes of 4 bits, eight at a time to the last.
    pub(super) fn narrows([left, right, to]: [Storage; 3], output: &TensorRecord) -> bool {
        let operands = matches!((left, right), (Storage::Bits8, Storage::Bits4) | (Storage::Bits4, Storage::Bits8));
        let codes = output.pixels().wrapping_mul(u32::from(output.channels));
        let gapless = output.channels.is_multiple_of(2) && codes.is_multiple_of(8);
        operands && to == Storage::Bits4 && output.bits.get() == 4 && gapless
    }

    /// Bytes of one operand's pixels.
    pub(super) const fn row_bytes(&self) -> usize {
        (self.pixels * self.channels).next_multiple_of(4)
    }

    /// All of it.
    pub(super) fn scratch_bytes(&self) -> Option<u32> {
        u32::try_from(2 * self.row_bytes()).ok()
    }
}

/// Channels of a depthwise layer that are run together.
pub(super) const GROUP: usize = 4;
/// Lines of the planes of a group: rows of 32 codes of 16 bits for each of its channels.
const PLANE_LINES: usize = 18;
/// Bytes of the planes of a group.
pub(super) const PLANES_BYTES: usize = 64 * GROUP * PLANE_LINES;
/// Most outputs a row: windows of two columns at once read two codes more.
const MOST_PLANE_OUTPUTS: usize = 30;
/// The same where windows lie two columns apart.
const MOST_APART_OUTPUTS: usize = 14;
/// Most outputs a row beside outputs that wait to be packed, in [`SCRATCH_BUDGET`].
const MOST_STAGED_OUTPUTS: usize = 24;

/// How a depthwise 3 × 3 is cut into tiles.
#[derive(Clone, Copy, Debug)]
pub(super) struct DepthwisePlan {
    /// Outputs of a tile.
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// Rows and columns from output to output.
    pub(super) stride: usize,
    pub(super) across: usize,
    /// Whether outputs are not whole bytes, and wait for packing a group at a time.
    pub(super) staged: bool,
}

impl DepthwisePlan {
    /// The plan; `None` where another family must run it: other windows, wide steps, packed codes of odd channels.
    pub(super) fn new(op: &Op, input: &TensorRecord, output: &TensorRecord) -> Option<Self> {
        let Op::Depthwise { window, .. } = op else { return None };
        let three = window.kernel.map(usize::from) == [TAPS; 2];
        let [stride, across] = window.stride.map(usize::from);
        let channels = usize::from(input.channels);
        let bytes = [input.storage, output.storage] == [Storage::Bits8; 2];
        // The last group of bytes may begin early; packed codes must start where a byte, or its half, does.
        let grouped = if bytes { channels >= GROUP } else { channels.is_multiple_of(GROUP) };
        let suits = three && grouped && output.storage != Storage::Logits;
        let steps = (1..=4).contains(&stride) && (1..=2).contains(&across);
        // Two rows share four lines; apart, each reads a line more than it needs.
        let rows = if stride == 1 && across == 1 { PLANE_LINES - 2 } else { (PLANE_LINES - 4) / stride.max(1) + 1 };
        let staged = output.storage != Storage::Bits8 || output.bits.get() < 8;
        let most = if staged { MOST_STAGED_OUTPUTS } else { MOST_PLANE_OUTPUTS };
        let columns = if across == 1 { most } else { MOST_APART_OUTPUTS };
        (suits && steps).then_some(Self { rows, columns, stride, across, staged })
    }

    /// Bytes of outputs that wait to be packed.
    pub(super) const fn staging_bytes(&self) -> usize {
        if self.staged { GROUP * self.rows * self.columns } else { 0 }
    }

    /// Bytes of the planes of a group, and of what waits.
    pub(super) fn scratch_bytes(&self) -> Option<u32> {
        u32::try_from(PLANES_BYTES + self.staging_bytes()).ok()
    }
}

#[cfg(test)]
mod tests {
    use releq_format::bits::BitWidth;
    use releq_format::graph::Window;
    use releq_format::quant::AddScale;

    use super::*;

    #[test]
    fn layers_without_sums_over_channels_stay_within_the_budget() {
        let window = Window { kernel: [3, 3], stride: [1, 1], padding: [1; 4] };
        let average = Op::AvgPool { window, shift: 0, bias: 0, multiplier: 0 };
        let add = Op::Add { scale: AddScale { multipliers: [0; 2], constant: 0, shift: 0 } };
        for (storage, bits) in [(Storage::Bits1, 1), (Storage::Bits2, 2), (Storage::Bits4, 4), (Storage::Bits8, 8)] {
            for (width, channels) in [(7, 4), (16, 64), (40, 128), (224, 16), (3, 2048)] {
                let bits = BitWidth::new(bits).unwrap();
                let record = TensorRecord { height: 9, width, channels, bits, zero_point: 0, storage, offset: 0 };
                for op in [&average, &add] {
                    let scratch = super::super::scratch_bytes(op, &record, &record);
                    assert!(scratch.unwrap_or(0) <= 6144, "{op:?} {record:?}");
                    assert_eq!(scratch == Some(0), storage == Storage::Bits8, "{op:?} {record:?}");
                }
            }
        }
        for staged in [false, true] {
            let columns = if staged { MOST_STAGED_OUTPUTS } else { MOST_PLANE_OUTPUTS };
            let plan = DepthwisePlan { rows: PLANE_LINES - 2, columns, stride: 1, across: 1, staged };
            assert!(plan.scratch_bytes().unwrap() <= 6144);
        }
    }
}
