//! How a convolution is cut into columns of blocks: four pixels wide, some lines tall, whose patches share rows.

use releq_format::graph::{Op, Storage, TensorRecord};
use releq_format::pack::Layout;

use super::line_plan::divide_up;
use super::plan::{BLOCK, EXPANDED_PAIRS, QUAD, SCRATCH_BUDGET};

/// Most lines; more would gain little.
const MOST_LINES: usize = 6;
/// Most input rows under a column.
pub(super) const MOST_ROWS: usize = 16;

/// A column: where windows move down by one row, a line's patches are its neighbour's, moved on by one row.
#[derive(Clone, Copy, Debug)]
pub(super) struct ColumnPlan {
    /// Lines of outputs, each one block wide.
    pub(super) lines: usize,
    /// Input rows under them.
    pub(super) rows: usize,
    /// Codes of one row of a patch.
    pub(super) run: usize,
    /// Groups of four columns of a whole patch.
    pub(super) quads: usize,
    /// Whether weights are expanded to bytes before use.
    pub(super) expands: bool,
    /// Codes of a row under one block.
    pub(super) segment: usize,
}

impl ColumnPlan {
    /// The plan; `None` where blocks are no whole ones, or nothing is shared.
    pub(super) fn new(op: &Op, input: &TensorRecord, output: &TensorRecord) -> Option<Self> {
        let Op::Conv2d { window, weights } = op else { return None };
        let [kernel_rows, kernel_columns] = window.kernel.map(usize::from);
        let channels = usize::from(input.channels);
        let run = kernel_columns * channels;
        let suits = weights.layout == Layout::Lanes
            && window.stride == [1; 2]
            && [input.storage, output.storage] == [Storage::Bits8; 2]
            && output.bits.get() == 8
            && output.channels.is_multiple_of(2)
            && usize::from(output.width).is_multiple_of(BLOCK)
            && (2..MOST_ROWS - MOST_LINES).contains(&kernel_rows)
            && run.is_multiple_of(QUAD)
            && run > 0;
        if !suits {
            return None;
        }
        let plan = Self {
            lines: 1,
            rows: kernel_rows,
            run,
            quads: kernel_rows * run / QUAD,
            expands: weights.bits.get() < 8,
            segment: (BLOCK - 1 + kernel_columns) * channels,
        };
        let height = usize::from(output.height);
        let more = SCRATCH_BUDGET.checked_sub(plan.bytes())?.checked_div(plan.row_bytes() + 8 * BLOCK)?;
        let lines = divide_up(height, divide_up(height, (1 + more).min(MOST_LINES))?)?;
        (lines > 1).then_some(Self { lines, rows: kernel_rows + lines - 1, ..plan })
    }

    /// Bytes of one widened row under a block.
    pub(super) const fn row_bytes(&self) -> usize {
        2 * BLOCK * self.run
    }

    /// Bytes of widened rows, of what accumulators start with, and of a row's codes or else some expanded pairs.
    pub(super) fn parts(&self) -> [usize; 3] {
        let expanded = if self.expands { 2 * QUAD * self.quads * EXPANDED_PAIRS } else { 0 };
        [self.rows * self.row_bytes(), 8 * BLOCK * self.lines, expanded.max(self.segment).next_multiple_of(4)]
    }

    fn bytes(&self) -> usize {
        self.parts().into_iter().sum()
    }

    /// All of it.
    pub(super) fn scratch_bytes(&self) -> Option<u32> {
        u32::try_from(self.bytes()).ok()
    }
}
