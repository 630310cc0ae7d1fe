//! 1 × 1 convolution with few bits on both sides: words of pixels times words of rows.
//!
//! A round spaces out some blocks of pixels, then couples four rows at a time into words that all blocks share.

use releq_format::graph::{Op, Storage, TensorRecord, Weights, Window};
use releq_format::pack::Matrix;

use super::asm::{self, Blocks, Outer, Starts, Store};
use super::plan::{OuterPlan, ROWS};
use super::rows::{Constants, Planes};
use crate::kernels::Task;
use crate::tensor::{Input, copy};

/// Runs a convolution that has a plan.
pub(super) fn conv2d(task: Task<'_>, plan: &OuterPlan) {
    let Op::Conv2d { window, weights } = task.op else { return };
    let Some(matrix) = task.op.matrix(&task.input.record, &task.output_record) else { return };
    let Some(mut scratch) = Scratch::split(plan, task.scratch) else { return };
    let record = task.output_record;
    let layer = Layer {
        plan,
        matrix,
        record,
        planes: Planes::of(&matrix),
        codes: task.codes,
        channels: task.channels,
        shift: weights.shift,
        takes: Takes::of(weights, &task.input.record),
    };
    let mut pixels = Pixels { input: task.input, window, width: usize::from(record.width), y: 0, x: 0 };
    let pixel_bytes = (record.pixel_bytes() as usize).max(1);
    let block = (2 * plan.group).max(1);
    for output in task.output.chunks_mut(plan.blocks.wrapping_mul(block * pixel_bytes).max(1)) {
        let count = output.len() / pixel_bytes;
        pixels.space(count, plan, &layer.takes, &mut scratch);
        layer.round(output, count, &mut scratch);
    }
}

/// What Σ a takes off a sum of codes: w = gain · code − offset.
#[derive(Clone, Copy)]
enum Takes {
    /// Gain 1: `offset` times, within the sum, which is `surplus` larger so that it stays positive.
    Within { offset: u32, surplus: u32 },
    /// Gain 2: this many times, shifted.
    Beside(i32),
}

impl Takes {
    fn of(weights: &Weights, input: &TensorRecord) -> Self {
        match weights.levels.affine(weights.bits) {
            (1, offset) => {
                let offset = offset as u32;
                let most = u32::from(input.channels).wrapping_mul(u32::from(input.bits.max_code()));
                Self::Within { offset, surplus: offset.wrapping_mul(most) }
            }
            (_, offset) => Self::Beside(offset << (weights.shift & 31)),
        }
    }
}

/// The pieces of a layer's scratch.
struct Scratch<'a> {
    /// Words of pixels, block after block.
    pixels: &'a mut [u8],
    /// What sums start with.
    starts: &'a mut [u8],
    /// Words of four rows.
    weights: &'a mut [u8],
    /// Byte lanes of four rows, where they are not coupled as they are.
    lanes: &'a mut [u8],
    /// Outputs of a block that is not whole.
    staging: &'a mut [u8],
}

impl<'a> Scratch<'a> {
    fn split(plan: &OuterPlan, scratch: &'a mut [u8]) -> Option<Self> {
        let [pixels, starts, weights, lanes, staging] = plan.parts();
        let (pixels, rest) = scratch.split_at_mut_checked(pixels)?;
        let (starts, rest) = rest.split_at_mut_checked(starts)?;
        let (weights, rest) = rest.split_at_mut_checked(weights)?;
        let (lanes, rest) = rest.split_at_mut_checked(lanes)?;
        Some(Self { pixels, starts, weights, lanes, staging: rest.get_mut(..staging)? })
    }
}

/// Walks over the pixels under the outputs.
struct Pixels<'a> {
    input: Input<'a>,
    window: &'a Window,
    /// Of the output.
    width: usize,
    /// The next output.
    y: usize,
    x: usize,
}

impl<'a> Pixels<'a> {
    /// Spaces out the next `count` pixels, and starts with what their sums take off.
    fn space(&mut self, count: usize, plan: &OuterPlan, takes: &Takes, scratch: &mut Scratch<'_>) {
        let channels = usize::from(self.input.record.channels);
        let bits = self.input.record.storage.bits();
        let words = channels.wrapping_mul(bits as usize) / 32;
        let mut left = count;
        let mut starts = scratch.starts.as_chunks_mut::<4>().0.iter_mut();
        // Split by hand: the compiler cannot rule out that chunks of this size are empty.
        let mut rest = &mut *scratch.pixels;
        while left > 0 {
            let Some((block, next)) = rest.split_at_mut_checked(8 * channels) else { return };
            rest = next;
            for half in 0..2 {
                if left == 0 {
                    return;
                }
                let mut pixels: [&[u8]; 3] = [&[]; 3];
                let Some(group) = pixels.get_mut(..plan.group) else { return };
                let mut pixel: &[u8] = &[];
                for place in group.iter_mut() {
                    // A group that is not whole repeats its last pixel.
                    if left > 0 {
                        pixel = self.next();
                        left -= 1;
                    }
                    *place = pixel;
                }
                let sums = asm::spread_pixels(block.get_mut(4 * half..).unwrap_or(&mut []), group, words, bits);
                match *takes {
                    Takes::Within { offset, surplus } => {
                        let start = within(plan, sums.map(|sum| surplus.wrapping_sub(offset.wrapping_mul(sum))));
                        for (word, start) in [start as u32, (start >> 32) as u32].into_iter().zip(starts.by_ref()) {
                            *start = word.to_le_bytes();
                        }
                    }
                    Takes::Beside(offset) => {
                        for (sum, start) in sums.into_iter().take(plan.group).zip(starts.by_ref()) {
                            *start = offset.wrapping_mul(sum as i32).wrapping_neg().to_le_bytes();
                        }
                    }
                }
            }
        }
    }

    /// The codes under the next output.
    fn next(&mut self) -> &'a [u8] {
        let [down, across] = self.window.stride.map(usize::from);
        let pixel = self.input.pixels(self.y.wrapping_mul(down), self.x.wrapping_mul(across), 1);
        self.x += 1;
        if self.x >= self.width {
            (self.y, self.x) = (self.y + 1, 0);
        }
        pixel
    }
}

/// The pixels' values in all fields of a sum: of the even row, and of the odd one above.
fn within(plan: &OuterPlan, [first, second, third]: [u32; 3]) -> u64 {
    let [first, second, third] = [first, second, third].map(u64::from);
    if plan.group == 2 {
        let row = first | second << 14;
        return row | row << 28;
    }
    let row = first | second << 10 | third << 20;
    row | row << 30
}

/// What all rounds share.
struct Layer<'a> {
    plan: &'a OuterPlan,
    matrix: Matrix,
    record: TensorRecord,
    planes: Planes,
    codes: &'a [u8],
    channels: &'a [u8],
    shift: u8,
    takes: Takes,
}

impl Layer<'_> {
    /// All rows over `count` pixels.
    fn round(&self, output: &mut [u8], count: usize, scratch: &mut Scratch<'_>) {
        let pixel_bytes = (self.record.pixel_bytes() as usize).max(1);
        let (channels, bits) = (usize::from(self.record.channels), self.record.storage.bits() as usize);
        let columns = self.matrix.columns as usize;
        let block = (2 * self.plan.group).max(1);
        let whole = count / block;
        let (output, last) = output.split_at_mut_checked(whole * block * pixel_bytes).unwrap_or_default();
        let Scratch { pixels, starts, weights, lanes, staging } = scratch;
        let blocks = Blocks {
            pixels,
            group: self.plan.group,
            columns,
            starts: self.starts(starts, 0),
            pixel_bytes,
            store: self.store(),
            shift: self.shift,
            zero_point: self.record.zero_point,
            blocks: whole,
        };
        let tail = Blocks {
            pixels: pixels.get(8 * columns * whole..).unwrap_or(&[]),
            starts: self.starts(starts, whole),
            blocks: usize::from(!last.is_empty()),
            ..blocks
        };
        let (mut blocks, mut tail) = (Outer::new(&blocks), Outer::new(&tail));
        let most = u32::from(self.record.bits.max_code()) * 0x0101_0101;
        for first in (0..channels).step_by(ROWS) {
            self.couple(first, weights, lanes);
            let there = self.channels.get(8 * first..).unwrap_or(&[]);
            // Rows that do not exist have constants of 0, and their codes are limited to 0.
            let padded;
            let constants = match there.get(..8 * ROWS) {
                Some(constants) => constants,
                None => {
                    padded = Constants::<{ 8 * ROWS }>::of(there);
                    padded.bytes()
                }
            };
            let missing = (first + ROWS).saturating_sub(channels) as u32;
            let excess = !(most & u32::MAX >> (8 * missing & 31));
            let at = (first * bits) >> 3;
            if let Some(outer) = &mut blocks {
                outer.rows(weights, constants, excess, output.get_mut(at..).unwrap_or(&mut []));
            }
            if let Some(outer) = &mut tail {
                outer.rows(weights, constants, excess, staging.get_mut(at..).unwrap_or(&mut []));
            }
        }
        copy(last, staging);
    }

    const fn store(&self) -> Store {
        match self.record.storage {
            Storage::Bits2 => Store::Crumbs,
            Storage::Bits4 => Store::Nibbles,
            Storage::Bits1 | Storage::Bits8 | Storage::Logits => Store::Bytes,
        }
    }

    /// What sums of the blocks from `first` on start with.
    fn starts<'b>(&self, words: &'b [u8], first: usize) -> Starts<'b> {
        match self.takes {
            Takes::Within { surplus, .. } => Starts::Within { words: words.get(16 * first..).unwrap_or(&[]), surplus },
            Takes::Beside(_) => Starts::Beside(words.get(8 * self.plan.group * first..).unwrap_or(&[])),
        }
    }

    /// The words of four rows from `first` on.
    fn couple(&self, first: usize, to: &mut [u8], lanes: &mut [u8]) {
        let bytes = self.planes.bytes();
        let pair =
            |index: usize| self.codes.get((first / 2 + index).wrapping_mul(bytes)..).and_then(|rest| rest.get(..bytes));
        let even = pair(0).unwrap_or(&[]);
        let odd = pair(1).unwrap_or(even);
        if lanes.is_empty() {
            return asm::couple_pairs(to, [even, odd], u32::from(self.matrix.bits.get()), self.plan.group);
        }
        let (lanes, more) = lanes.split_at_mut_checked(lanes.len() / 2).unwrap_or_default();
        self.planes.expand(even, 0, lanes);
        self.planes.expand(odd, 0, more);
        asm::couple_pairs(to, [lanes, more], 8, self.plan.group);
    }
}
