//! How a convolution with few bits is cut along lines: fields, runs of steps, and lines that share spaced weights.

use releq_format::graph::{Op, Storage, TensorRecord, Window};
use releq_format::pack::Layout;
use releq_format::quant::field_terms;

use super::plan::{QUAD, TAPS};

/// Longest run of steps in the unrolled code; one that goes on with earlier sums lacks the first of them.
pub(super) const MOST_STEPS: usize = 33;
/// Scratch that lines may take.
const BUDGET: usize = 6144;
/// Most lines of outputs a round.
const MOST_LINES: usize = 8;
/// Most window rows, and rows from line to line.
pub(super) const MOST_WINDOW_ROWS: usize = 7;
const MOST_STRIDE: usize = 4;
/// Most input rows of a round.
pub(super) const MOST_ROWS: usize = MOST_WINDOW_ROWS + (MOST_LINES - 1) * MOST_STRIDE;
/// Most runs of a window.
pub(super) const MOST_RUNS: usize = 48;
/// Most channels: sums of a column's codes fit 16 bits.
pub(super) const MOST_CHANNELS: usize = 256;

/// Places of fields in a 64-bit product, as there is code to empty them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fields {
    /// 13 bits apart, 3 pixels a word.
    Three,
    /// 10 bits apart, 4 pixels a word.
    Four,
    /// 14 bits apart, 2 pixels a word.
    Two14,
    /// 15 bits apart, 2 pixels a word.
    Two15,
}

impl Fields {
    const ALL: [Self; 4] = [Self::Three, Self::Four, Self::Two14, Self::Two15];

    /// Its number in the assembly.
    pub(super) const fn number(self) -> usize {
        self as usize
    }

    /// Bits from code to code, and codes of a word of pixels.
    pub(super) const fn places(self) -> (u32, usize) {
        match self {
            Self::Three => (13, 3),
            Self::Four => (10, 4),
            Self::Two14 => (14, 2),
            Self::Two15 => (15, 2),
        }
    }

    /// Instructions that empty a pair of blocks, and that end one.
    const fn costs(self) -> (usize, usize) {
        match self {
            Self::Three => (58, 12),
            Self::Four => (64, 12),
            Self::Two14 | Self::Two15 => (38, 65),
        }
    }

    /// Whether taps of single-plane weights are spaced straight from their plane: first and last must not collide when
    /// they are turned into one byte.
    const fn weaves_planes(self, weight_bits: u32) -> bool {
        let last = 2 * self.places().0 & 7;
        weight_bits.is_power_of_two() && weight_bits <= 4 && last >= weight_bits && last + weight_bits <= 8
    }
}

/// A run of steps, one an input channel, along one window row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) row: usize,
    pub(super) start: usize,
    pub(super) steps: usize,
    /// Whether sums start anew.
    pub(super) begins: bool,
    /// Whether sums are full after it, or complete.
    pub(super) ends: bool,
}

/// The runs of a window of `rows` × `channels` steps whose sums are emptied after at most `longest`.
pub(super) fn runs(rows: usize, channels: usize, longest: usize) -> impl Iterator<Item = Run> {
    let (mut row, mut start, mut filled) = (0, 0, 0);
    core::iter::from_fn(move || {
        let most = if filled == 0 { MOST_STEPS } else { MOST_STEPS - 1 };
        let steps = most.min(longest.saturating_sub(filled)).min(channels.saturating_sub(start));
        if row >= rows || steps == 0 {
            return None;
        }
        let mut run = Run { row, start, steps, begins: filled == 0, ends: false };
        (start, filled) = (start + steps, filled + steps);
        if start >= channels {
            (row, start) = (row + 1, 0);
        }
        run.ends = filled >= longest || row >= rows;
        if run.ends {
            filled = 0;
        }
        Some(run)
    })
}

/// How a convolution with few bits is cut: `lines` output rows at a time, three taps times some pixels a
/// multiplication.
#[derive(Clone, Copy, Debug)]
pub(super) struct LinePlan {
    /// Where fields lie.
    pub(super) fields: Fields,
    /// Steps until fields are emptied.
    pub(super) longest: usize,
    /// Output rows a round, which share one expansion of the weights.
    pub(super) lines: usize,
    /// Pairs of blocks of pixels in a row.
    pub(super) blocks: usize,
    /// Input rows that are kept, spaced.
    pub(super) slots: usize,
    /// Columns of the padded input, less those left out.
    pub(super) width: usize,
    /// Columns of padding left out before them: they hold code 0, and adding nothing is free.
    pub(super) skipped: usize,
    /// Whether taps are spaced straight from the weights' only plane.
    pub(super) weaves_plane: bool,
    channels: usize,
    kernel_rows: usize,
    outputs: usize,
}

impl LinePlan {
    /// The plan; `None` where products do not fit, other windows, or where lines gain nothing.
    pub(super) fn new(op: &Op, input: &TensorRecord, output: &TensorRecord) -> Option<Self> {
        let Op::Conv2d { window, weights } = op else { return None };
        let channels = usize::from(input.channels);
        let kernel_rows = usize::from(window.kernel[0]);
        let suits = weights.layout == Layout::Lanes
            && weights.bits.get() < 8
            && output.storage != Storage::Logits
            && (usize::from(window.kernel[1]), window.stride[1]) == (TAPS, 1)
            && (1..=MOST_WINDOW_ROWS).contains(&kernel_rows)
            && usize::from(window.stride[0]) <= MOST_STRIDE
            && channels.is_multiple_of(QUAD)
            && (QUAD..=MOST_CHANNELS).contains(&channels);
        if !suits {
            return None;
        }
        let [_, left, _, right] = window.padding.map(usize::from);
        let skip = |padding: usize| if input.zero_point == 0 { padding.min(TAPS - 1) } else { 0 };
        let plan_of = |fields: Fields| {
            let (spacing, pixels) = fields.places();
            let terms = field_terms(spacing, TAPS as u32, pixels as u32, weights.bits, input.bits) as usize;
            let steps = channels * kernel_rows;
            // Runs of equal lengths: as many emptyings as there must be, and no run longer than it need be.
            let emptyings = if terms == 0 { return None } else { steps.div_ceil(terms) };
            let width = usize::from(input.width) + left + right - skip(left) - skip(right);
            // Words of lanes must not hold two taps.
            let columns_of_a_word = 16 >> weights.bits.get().trailing_zeros();
            let plan = Self {
                fields,
                longest: steps.div_ceil(emptyings.max(1)),
                lines: 1,
                blocks: width.div_ceil(2 * pixels),
                slots: kernel_rows,
                width,
                skipped: skip(left),
                weaves_plane: fields.weaves_planes(u32::from(weights.bits.get()))
                    && channels.is_multiple_of(columns_of_a_word),
                channels,
                kernel_rows,
                outputs: usize::from(output.width),
            };
            (plan.runs().take(MOST_RUNS + 1).count() <= MOST_RUNS).then(|| plan.with_lines(window, output))
        };
        let pairs = usize::from(output.channels).div_ceil(2);
        let plan = Fields::ALL.into_iter().filter_map(plan_of).min_by_key(|plan| plan.price(pairs))?;
        // Two rows × width × three taps by dual multiplication, at 0.9 a product.
        let fits = plan.parts().into_iter().sum::<usize>() <= BUDGET;
        (fits && plan.price(pairs) * 10 <= 54 * (plan.outputs * plan.steps()) as u64).then_some(plan)
    }

    /// As many lines a round as the scratch has room for, and no more than make the same number of rounds.
    fn with_lines(self, window: &Window, output: &TensorRecord) -> Self {
        let (height, stride) = (usize::from(output.height), usize::from(window.stride[0]));
        let of = |lines: usize| Self { lines, slots: (lines - 1) * stride + self.kernel_rows, ..self };
        let fits = |lines: &usize| of(*lines).parts().into_iter().sum::<usize>() <= BUDGET;
        let most = (1..=MOST_LINES.min(height)).take_while(fits).last().unwrap_or(1);
        of(height.div_ceil(height.div_ceil(most).max(1)).max(1))
    }

    /// Instructions of one line of one pair of rows, as far as plans differ.
    fn price(&self, pairs: usize) -> u64 {
        let (emptied, ended) = self.fields.costs();
        let steps = self.steps();
        let (runs, emptyings) = self.runs().fold((0, 0), |(all, ends), run| (all + 1, ends + usize::from(run.ends)));
        let blocks = self.blocks * (6 * steps + 14 * runs + emptied * emptyings + ended);
        let woven = steps * if self.weaves_plane { 9 } else { 18 } / self.lines.max(1);
        let spaced = self.blocks * self.channels * 25 / pairs.max(1);
        (blocks + woven + spaced + 25 * self.outputs) as u64
    }

    const fn steps(&self) -> usize {
        self.kernel_rows * self.channels
    }

    /// The runs of the window.
    pub(super) fn runs(&self) -> impl Iterator<Item = Run> {
        runs(self.kernel_rows, self.channels, self.longest)
    }

    /// Bytes of one spaced input row.
    pub(super) const fn row_bytes(&self) -> usize {
        8 * self.blocks * self.channels
    }

    /// Bytes of the codes of all its blocks.
    pub(super) const fn padded_bytes(&self) -> usize {
        let (_, pixels) = self.fields.places();
        2 * pixels * self.blocks * self.channels
    }

    /// Bytes of the sums of its columns.
    pub(super) const fn column_sums_bytes(&self) -> usize {
        (2 * self.width).next_multiple_of(4)
    }

    /// Bytes of spaced rows, their column sums, spaced taps, byte lanes, sums and corrections.
    /// A padded row takes the place of the taps.
    pub(super) fn parts(&self) -> [usize; 6] {
        let (_, pixels) = self.fields.places();
        [
            self.slots * self.row_bytes(),
            self.slots * self.column_sums_bytes(),
            (8 * self.steps()).max(self.padded_bytes()).next_multiple_of(4),
            if self.weaves_plane { 0 } else { (2 * TAPS * self.steps()).next_multiple_of(4) },
            8 * (2 * pixels * self.blocks + 2),
            4 * self.outputs * self.lines,
        ]
    }

    /// All of it.
    pub(super) fn scratch_bytes(&self) -> Option<u32> {
        u32::try_from(self.parts().into_iter().sum::<usize>()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_cover_a_window_and_never_overfill() {
        for (rows, channels, longest) in [(3, 32, 20), (3, 32, 96), (1, 4, 1), (7, 256, 33), (3, 64, 60), (2, 36, 34)] {
            let (mut next, mut filled) = (0, 0);
            for run in runs(rows, channels, longest) {
                assert_eq!((run.row * channels + run.start, run.begins), (next, filled == 0));
                assert!(run.steps > 0 && run.steps <= MOST_STEPS - usize::from(!run.begins));
                (next, filled) = (next + run.steps, filled + run.steps);
                assert!(filled <= longest);
                if run.ends {
                    filled = 0;
                }
            }
            assert_eq!((next, filled), (rows * channels, 0));
        }
    }
}
