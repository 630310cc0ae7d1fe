//! How a layer is cut into pieces, and the scratch that takes. Portable: hosts plan for boards.

mod outer;

use releq_format::graph::{Op, Storage, TensorRecord, Weights};
use releq_format::pack::Layout;
use releq_format::quant::{end_terms, field_terms};

pub(super) use outer::OuterPlan;
#[cfg(releq_dsp)]
pub(super) use outer::ROWS;

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
        let affordable = match expands || ends {
            // Patch, start and outputs of a pixel, out of what pairs or gathered patches, table and band leave.
            true => {
                let table = if tabled { 4 * QUAD * quads } else { 0 };
                SCRATCH_BUDGET.saturating_sub(8 * EXPANDED_PAIRS * quads + band + table) / (8 * quads + 8 + rows).max(1)
            }
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

/// Longest run of steps before fields are emptied, as long as the unrolled code.
pub(super) const MOST_STEPS: usize = 33;
/// Taps in a word: the width of windows that run along lines.
pub(super) const TAPS: usize = 3;
/// Scratch that lines may take.
const LINE_BUDGET: usize = 6144;
/// Most window rows.
pub(super) const MOST_WINDOW_ROWS: usize = 7;
/// Most runs of one window row.
pub(super) const MOST_RUNS: usize = 23;
/// Most channels.
pub(super) const MOST_CHANNELS: usize = 256;

/// Places of fields in a 64-bit product, as there is code to empty them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fields {
    /// 13 bits apart, 3 pixels a word.
    Wide,
    /// 12 bits apart, 3 pixels a word.
    Middle,
    /// 10 bits apart, 4 pixels a word.
    Narrow,
    /// 15 bits apart, 2 pixels a word.
    Long,
}

impl Fields {
    const ALL: [Self; 4] = [Self::Wide, Self::Middle, Self::Narrow, Self::Long];

    /// Its number in the assembly.
    pub(super) const fn number(self) -> usize {
        self as usize
    }

    /// Bits from code to code, and codes of a word of pixels.
    pub(super) const fn places(self) -> (u32, usize) {
        match self {
            Self::Wide => (13, 3),
            Self::Middle => (12, 3),
            Self::Narrow => (10, 4),
            Self::Long => (15, 2),
        }
    }
}

/// How a convolution with few bits is cut: `lines` output rows at a time, three taps times some pixels a
/// multiplication.
#[derive(Clone, Copy, Debug)]
pub(super) struct LinePlan {
    /// Where fields lie.
    pub(super) fields: Fields,
    /// Steps until fields are emptied.
    pub(super) run: usize,
    /// Whether fields have room for the sums of all window rows.
    pub(super) joins: bool,
    /// Output rows a round, which share one expansion of the weights.
    pub(super) lines: usize,
    /// Pairs of blocks of pixels in a row.
    pub(super) blocks: usize,
    /// Input rows that are kept, spaced.
    pub(super) slots: usize,
    /// Columns of the padded input.
    pub(super) width: usize,
    channels: usize,
    kernel_rows: usize,
    outputs: usize,
    unpacked: usize,
}

impl LinePlan {
    /// The plan; `None` where products do not fit, other windows, or where lines gain nothing.
    pub(super) fn new(op: &Op, input: &TensorRecord, output: &TensorRecord) -> Option<Self> {
        let Op::Conv2d { window, weights } = op else { return None };
        let channels = usize::from(input.channels);
        let kernel_rows = usize::from(window.kernel[0]);
        let suits = weights.layout == Layout::Lanes
            && output.storage != Storage::Logits
            && (usize::from(window.kernel[1]), window.stride[1]) == (TAPS, 1)
            && kernel_rows <= MOST_WINDOW_ROWS
            && channels.is_multiple_of(QUAD)
            && channels <= MOST_CHANNELS;
        if !suits {
            return None;
        }
        let width = usize::from(input.width) + usize::from(window.padding[1]) + usize::from(window.padding[3]);
        let price = |fields: Fields| {
            let (spacing, pixels) = fields.places();
            let terms = field_terms(spacing, TAPS as u32, pixels as u32, weights.bits, input.bits) as usize;
            let longest = terms.min(MOST_STEPS).min(channels);
            let runs = if longest == 0 { usize::MAX } else { channels.div_ceil(longest) };
            let joins = terms >= channels * kernel_rows && channels < MOST_STEPS;
            (runs <= MOST_RUNS).then(|| {
                // A step takes 6 instructions, emptying 66; each pair of blocks does all runs.
                let emptied = if joins { 1 } else { runs * kernel_rows };
                let blocks = width.div_ceil(pixels).div_ceil(2);
                (
                    blocks * (6 * channels * kernel_rows + 66 * emptied),
                    fields,
                    channels.div_ceil(runs.max(1)),
                    blocks,
                    joins,
                )
            })
        };
        let (cost, fields, run, blocks, joins) =
            Fields::ALL.into_iter().filter_map(price).min_by_key(|priced| priced.0)?;
        // Two rows × width × three taps by dual multiplication, at 0.9 a product.
        if cost * 10 > 9 * 6 * usize::from(output.width) * channels * kernel_rows {
            return None;
        }
        let stride = usize::from(window.stride[0]);
        let mut plan = Self {
            fields,
            run,
            joins,
            lines: 0,
            blocks,
            slots: 0,
            width,
            channels,
            kernel_rows,
            outputs: usize::from(output.width),
            unpacked: if input.storage == Storage::Bits8 { 0 } else { usize::from(input.width) * channels },
        };
        for lines in 1..=usize::from(output.height).min(8) {
            let next = Self { lines, slots: (lines - 1) * stride + kernel_rows, ..plan };
            if lines > 1 && next.parts().into_iter().sum::<usize>() > LINE_BUDGET {
                break;
            }
            plan = next;
        }
        Some(plan)
    }

    /// Bytes of one spaced input row.
    pub(super) const fn row_bytes(&self) -> usize {
        8 * self.blocks * self.channels
    }

    /// Bytes of spaced rows, their column sums, spaced taps, byte lanes, sums, corrections and codes.
    /// An unpacked row takes the place of the byte lanes.
    pub(super) fn parts(&self) -> [usize; 7] {
        let (_, pixels) = self.fields.places();
        let steps = self.kernel_rows * self.channels;
        [
            self.slots * self.row_bytes(),
            4 * self.slots * self.width,
            8 * steps,
            (2 * TAPS * steps).max(self.unpacked).next_multiple_of(4),
            8 * (2 * pixels * self.blocks + 2),
            4 * self.outputs * self.lines,
            (2 * self.outputs).next_multiple_of(4),
        ]
    }

    /// All of it.
    pub(super) fn scratch_bytes(&self) -> Option<u32> {
        u32::try_from(self.parts().into_iter().sum::<usize>()).ok()
    }
}

/// Scratch of a convolution, by whichever plan it has.
pub(super) fn conv_scratch(op: &Op, input: &TensorRecord, output: &TensorRecord) -> Option<u32> {
    if let Some(plan) = OuterPlan::new(op, input, output) {
        return plan.scratch_bytes();
    }
    match LinePlan::new(op, input, output) {
        Some(plan) => plan.scratch_bytes(),
        None => ConvPlan::new(op, input, output)?.scratch_bytes(),
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
                && (input.bits.get() > 4 || LinePlan::new(op, input, output).is_none())
                && ConvPlan::new(&ends, input, output).is_some()
        }
        _ => false,
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
