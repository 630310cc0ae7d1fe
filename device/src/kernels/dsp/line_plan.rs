//! How a convolution with few bits is cut along lines: fields, runs of steps, and lines that share spaced weights.

use releq_format::bits::BitWidth;
use releq_format::graph::{Op, Storage, TensorRecord, Weights};
use releq_format::pack::Layout;
use releq_format::quant::{centred_terms, field_terms};

use super::plan::{QUAD, SCRATCH_BUDGET, TAPS};
use super::weaving::Weaving;

/// Longest run of steps in the unrolled code; one that goes on with earlier sums lacks the first of them.
pub(super) const MOST_STEPS: usize = 33;
/// Most lines of outputs a round.
const MOST_LINES: usize = 8;
/// Most window rows, and rows from line to line.
pub(super) const MOST_WINDOW_ROWS: usize = 7;
const MOST_STRIDE: usize = 2;
/// Most input rows of a round.
pub(super) const MOST_ROWS: usize = MOST_WINDOW_ROWS + (MOST_LINES - 1) * MOST_STRIDE;
/// Most runs of a window.
pub(super) const MOST_RUNS: usize = 36;
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
    /// 13 bits apart, 3 pixels a word, of codes less the middle of their range: signed products have room for nearly
    /// twice as many steps.
    Centred,
}

impl Fields {
    const ALL: [Self; 5] = [Self::Three, Self::Four, Self::Two14, Self::Two15, Self::Centred];

    /// Its number in the assembly.
    pub(super) const fn number(self) -> usize {
        self as usize
    }

    /// Bits from code to code, and codes of a word of pixels.
    pub(super) const fn places(self) -> (u32, usize) {
        match self {
            Self::Three | Self::Centred => (13, 3),
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
            Self::Centred => (64, 12),
        }
    }

    /// Steps until a field is full.
    fn terms(self, weights: BitWidth, codes: BitWidth) -> usize {
        let (spacing, pixels) = self.places();
        let terms = if self == Self::Centred { centred_terms } else { field_terms };
        terms(spacing, TAPS as u32, pixels as u32, weights, codes) as usize
    }
}

/// A run of steps, one an input channel, along one window row; without any, totals are shifted to make room for two
/// lower bits.
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
    /// Steps until fields are emptied, in the first pass and in the last.
    longest: [usize; 2],
    /// Where taps come from.
    pub(super) weaving: Weaving,
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
    /// Whether outputs need the sums of the codes under their windows.
    pub(super) summed: bool,
    /// Whether pixels are spaced from codes of four bits as they are stored; else from bytes.
    pub(super) nibbles: bool,
    /// Runs, and those of them that end with full sums.
    counts: (usize, usize),
    channels: usize,
    kernel_rows: usize,
    outputs: usize,
    /// Pairs of weight rows.
    pairs: usize,
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
        let uncut = Self {
            fields: Fields::Three,
            longest: [0; 2],
            weaving: Weaving::Lanes,
            counts: (0, 0),
            lines: 1,
            blocks: 0,
            slots: kernel_rows,
            width: usize::from(input.width) + left + right,
            skipped: 0,
            summed: true,
            nibbles: false,
            channels,
            kernel_rows,
            outputs: usize::from(output.width),
            pairs: usize::from(output.channels).div_ceil(2),
        };
        let (_, offset) = centred_affine(weights);
        let nibbles = input.storage == Storage::Bits4 && input.bits.get() == 4 && channels.is_multiple_of(2 * QUAD);
        let skips = [left, right].map(|padding| if input.zero_point == 0 { padding.min(TAPS - 1) } else { 0 });
        let plans = Fields::ALL.into_iter().filter_map(|fields| {
            let weaving = Weaving::of(weights.bits.get(), fields, channels);
            let plan = match fields {
                Fields::Centred => Self { summed: offset != 0, nibbles, ..uncut },
                _ => Self { width: uncut.width - skips[0] - skips[1], skipped: skips[0], ..uncut },
            };
            let plan = plan.cut(fields, weaving, [weights.bits, input.bits])?;
            let plan = plan.with_lines(usize::from(window.stride[0]), usize::from(output.height))?;
            Some((plan.price(), plan))
        });
        let (price, plan) = plans.min_by_key(|&(price, _)| price)?;
        // Two rows × width × three taps by dual multiplication, at 0.9 a product.
        let otherwise = 54;
        (price * 10 <= otherwise * (plan.outputs * plan.steps()) as u64).then_some(plan)
    }

    /// Cut for these fields; `None` where products do not fit.
    fn cut(self, fields: Fields, weaving: Weaving, [weights, codes]: [BitWidth; 2]) -> Option<Self> {
        let (_, pixels) = fields.places();
        // As many emptyings as there must be; between them whole window rows, or else equal lengths.
        let longest = |weights: BitWidth| {
            let terms = fields.terms(weights, codes);
            let emptyings = divide_up(self.steps(), terms)?;
            let rows = terms.checked_div(self.channels)?;
            if divide_up(self.kernel_rows, rows) == Some(emptyings) {
                return Some(rows.min(self.kernel_rows) * self.channels);
            }
            divide_up(self.steps(), emptyings)
        };
        let longest = match weaving {
            Weaving::Halves(halves) => {
                let [upper, lower] = halves.map(|(_, taps)| BitWidth::new(taps.bits_and_columns().0 as u8));
                [longest(upper?)?, longest(lower?)?]
            }
            _ => [longest(weights)?; 2],
        };
        let plan = Self { fields, longest, weaving, blocks: divide_up(self.width, 2 * pixels)?, ..self };
        let count = |(all, ends), run: Run| (all + 1, ends + usize::from(run.ends));
        let counts = plan.runs().take(MOST_RUNS + 1).fold((0, 0), count);
        (counts.0 <= MOST_RUNS).then_some(Self { counts, ..plan })
    }

    /// As many lines a round as the scratch has room for, and no more than make the same number of rounds; `None` if
    /// not even one fits.
    fn with_lines(self, stride: usize, height: usize) -> Option<Self> {
        let of = |lines: usize| Self { lines, slots: lines.saturating_sub(1) * stride + self.kernel_rows, ..self };
        let bytes = |lines: usize| of(lines).parts().into_iter().sum::<usize>();
        let more = SCRATCH_BUDGET.checked_sub(bytes(1))?.checked_div(bytes(2).saturating_sub(bytes(1)))?;
        let rounds = divide_up(height, (1 + more).min(MOST_LINES))?;
        Some(of(divide_up(height, rounds)?))
    }

    /// Instructions of one line of one pair of rows, as far as plans differ.
    fn price(&self) -> u64 {
        let (emptied, ended) = self.fields.costs();
        let (steps, passes) = (self.steps(), self.weaving.passes());
        let (runs, emptyings) = self.counts;
        let blocks = self.blocks * (6 * steps * passes + 14 * runs + emptied * emptyings + ended);
        let woven = match (self.weaving, self.fields) {
            (Weaving::Lanes, _) => 18 * steps,
            (_, Fields::Centred) => 12 * steps,
            _ => 9 * passes * steps,
        };
        let woven = woven / self.lines.max(1);
        let spaced = self.blocks * self.channels * 25 / self.pairs.max(1);
        let settled = if self.summed { 25 } else { 20 } * self.outputs;
        (blocks + woven + spaced + settled) as u64
    }

    const fn steps(&self) -> usize {
        self.kernel_rows * self.channels
    }

    /// The runs of the window, of all passes.
    pub(super) fn runs(&self) -> impl Iterator<Item = Run> {
        let [first, last] = self.longest.map(|longest| runs(self.kernel_rows, self.channels, longest));
        let shift = Run { row: 0, start: 0, steps: 0, begins: false, ends: true };
        let first = first.chain([shift]).filter(move |_| self.weaving.passes() > 1);
        first.chain(last)
    }

    /// Bytes of the spaced taps of one pass.
    pub(super) const fn pass_bytes(&self) -> usize {
        8 * self.steps()
    }

    /// Bytes of one spaced input row.
    pub(super) const fn row_bytes(&self) -> usize {
        8 * self.blocks * self.channels
    }

    /// Bytes of the codes of a pixel as it is spaced.
    pub(super) const fn pixel_bytes(&self) -> usize {
        if self.nibbles { self.channels / 2 } else { self.channels }
    }

    /// Bytes of the codes of all its blocks.
    pub(super) const fn padded_bytes(&self) -> usize {
        let (_, pixels) = self.fields.places();
        2 * pixels * self.blocks * self.pixel_bytes()
    }

    /// Bytes of the sums of its columns, those left out among them, if outputs need any.
    pub(super) const fn column_sums_bytes(&self) -> usize {
        let (_, pixels) = self.fields.places();
        match self.fields {
            _ if !self.summed => 0,
            // Whole blocks.
            Fields::Centred => 4 * pixels * self.blocks,
            _ => (2 * (self.outputs + TAPS - 1)).next_multiple_of(4),
        }
    }

    /// Runs of a window, and those of them after which sums are emptied.
    pub(super) const fn counts(&self) -> (usize, usize) {
        self.counts
    }

    /// Bytes of spaced rows, their column sums, spaced taps, byte lanes, sums, corrections of a round's outputs, and
    /// constants of centred codes.
    /// A padded row takes the place of the taps.
    pub(super) fn parts(&self) -> [usize; 7] {
        let (_, pixels) = self.fields.places();
        [
            self.slots * self.row_bytes(),
            self.slots * self.column_sums_bytes(),
            (self.pass_bytes() * self.weaving.passes()).max(self.padded_bytes()).next_multiple_of(4),
            if self.weaving == Weaving::Lanes { (2 * TAPS * self.steps()).next_multiple_of(4) } else { 0 },
            8 * (2 * pixels * self.blocks + 2),
            if self.summed { 4 * self.outputs * self.lines } else { 0 },
            if self.fields == Fields::Centred { 8 * self.pairs } else { 0 },
        ]
    }

    /// All of it.
    pub(super) fn scratch_bytes(&self) -> Option<u32> {
        u32::try_from(self.parts().into_iter().sum::<usize>()).ok()
    }
}

/// `(gain, offset)` of weights in terms of their codes less the middle of their range: an offset is left to mid-rise levels
/// alone.
pub(super) const fn centred_affine(weights: &Weights) -> (i32, i32) {
    let (gain, offset) = weights.levels.affine(weights.bits);
    (gain, offset - gain * middle(weights.bits))
}

/// The middle of a range of codes: 2^(b−1).
pub(super) const fn middle(bits: BitWidth) -> i32 {
    1 << ((bits.get() - 1) & 7)
}

/// `None` for a divisor of 0, which division would panic at.
pub(super) fn divide_up(dividend: usize, divisor: usize) -> Option<usize> {
    let quotient = dividend.checked_div(divisor)?;
    Some(quotient + usize::from(quotient * divisor < dividend))
}

#[cfg(test)]
mod tests {
    use releq_format::bits::Levels;
    use releq_format::graph::Window;

    use super::*;

    /// What the kernel suites of the virtual boards run is what they mean to run.
    #[test]
    fn codes_of_few_bits_are_centred() {
        let fields = |[width, channels]: [u16; 2], [weights, codes]: [u8; 2], levels| {
            let bits = |bits| BitWidth::new(bits).unwrap();
            let storage = if codes == 4 { Storage::Bits4 } else { Storage::Bits8 };
            let record =
                TensorRecord { height: 9, width, channels, bits: bits(codes), zero_point: 0, storage, offset: 0 };
            let window = Window { kernel: [3, 3], stride: [1, 1], padding: [1; 4] };
            let bits = bits(weights);
            let weights = Weights { bits, levels, layout: Layout::Lanes, shift: 0, codes: 0, channels: 0 };
            LinePlan::new(&Op::Conv2d { window, weights }, &record, &record).map(|plan| plan.fields)
        };
        for levels in [Levels::TwosComplement, Levels::MidTread, Levels::MidRise] {
            for shape in [[15, 16], [16, 32], [10, 20], [32, 16]] {
                assert_eq!(fields(shape, [4, 4], levels), Some(Fields::Centred), "{shape:?} {levels:?}");
            }
            assert_eq!(fields([16, 32], [2, 8], levels), Some(Fields::Two15));
            // Lines of eight pixels waste less in words of two.
            assert_eq!(fields([8, 64], [4, 4], levels), Some(Fields::Two14));
        }
    }

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
