//! 1 × 1 convolution with few bits on both sides: words of pixels times words of rows.
//!
//! A round spaces out some blocks of pixels, then couples four rows at a time into words that all blocks share.

use releq_format::graph::{Op, Storage, Window};
use releq_format::pack::Matrix;

use super::asm::{self, Outer, Store};
use super::plan::{OuterPlan, ROWS};
use super::rows::Planes;
use crate::kernels::Task;
use crate::tensor::{self, Input, copy};

/// Runs a convolution that has a plan.
pub(super) fn conv2d(task: Task<'_>, plan: &OuterPlan) {
    let Op::Conv2d { window, weights } = task.op else { return };
    let Some(matrix) = task.op.matrix(&task.input.record, &task.output_record) else { return };
    let Some(mut scratch) = Scratch::split(plan, task.scratch) else { return };
    let record = task.output_record;
    let (gain, offset) = weights.levels.affine(weights.bits);
    let store = match record.storage {
        Storage::Bits2 => Store::Crumbs,
        Storage::Bits4 => Store::Nibbles,
        _ => Store::Bytes,
    };
    let layer = Layer { plan, matrix, planes: Planes::of(&matrix), codes: task.codes, channels: task.channels };
    let mut pixels = Pixels { input: task.input, window, width: usize::from(record.width), y: 0, x: 0 };
    let pixel_bytes = (record.pixel_bytes() as usize).max(1);
    let block = 2 * plan.group;
    for output in task.output.chunks_mut(plan.blocks.wrapping_mul(block * pixel_bytes).max(1)) {
        let count = output.len() / pixel_bytes;
        pixels.space(count, plan, offset << (weights.shift & 31), &mut scratch);
        let (whole, rest) = (count / block, count % block);
        let (output, last) = output.split_at_mut_checked(whole * block * pixel_bytes).unwrap_or_default();
        for first in (0..usize::from(record.channels)).step_by(ROWS) {
            layer.couple(first, &mut scratch);
            let most = [0, 1, 2, 3].map(|row| if first + row < usize::from(record.channels) { record.bits.max_code() } else { 0 });
            let at = (first * record.storage.bits() as usize) >> 3;
            let words = 8 * usize::from(task.input.record.channels);
            let mut work = Outer {
                weights: scratch.weights,
                pixels: scratch.pixels,
                group: plan.group,
                columns: words / 8,
                starts: scratch.starts,
                channels: layer.constants(first),
                output: output.get_mut(at..).unwrap_or(&mut []),
                pixel_bytes,
                store,
                most,
                gain: gain as u32,
                shift: weights.shift,
                zero_point: record.zero_point,
                blocks: whole,
            };
            asm::outer(&mut work);
            if rest > 0 {
                asm::outer(&mut Outer {
                    pixels: scratch.pixels.get(words * whole..).unwrap_or(&[]),
                    starts: scratch.starts.get(4 * block * whole..).unwrap_or(&[]),
                    output: scratch.staging.get_mut(at..).unwrap_or(&mut []),
                    blocks: 1,
                    ..work
                });
            }
        }
        copy(last, scratch.staging);
    }
}

/// The pieces of a layer's scratch.
struct Scratch<'a> {
    /// Words of pixels, block after block.
    pixels: &'a mut [u8],
    /// What accumulators start with, a word a pixel.
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
    /// Spaces out the next `count` pixels; `correction` times the sum of each is taken off.
    fn space(&mut self, count: usize, plan: &OuterPlan, correction: i32, scratch: &mut Scratch<'_>) {
        let channels = usize::from(self.input.record.channels);
        let bits = self.input.record.storage.bits();
        let words = channels.wrapping_mul(bits as usize) / 32;
        let mut left = count;
        let mut starts = scratch.starts.as_chunks_mut::<4>().0.iter_mut();
        for block in scratch.pixels.chunks_exact_mut((8 * channels).max(1)) {
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
                let sums = asm::spread_group(block.get_mut(4 * half..).unwrap_or(&mut []), group, words, bits);
                for (start, sum) in starts.by_ref().zip(sums).take(plan.group) {
                    *start = correction.wrapping_mul(sum as i32).wrapping_neg().to_le_bytes();
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

/// What all rounds share.
struct Layer<'a> {
    plan: &'a OuterPlan,
    matrix: Matrix,
    planes: Planes,
    codes: &'a [u8],
    channels: &'a [u8],
}

impl Layer<'_> {
    /// The words of four rows from `first` on.
    fn couple(&self, first: usize, scratch: &mut Scratch<'_>) {
        let bytes = self.planes.bytes();
        let pair = |index: usize| self.codes.get((first / 2 + index).wrapping_mul(bytes)..).and_then(|rest| rest.get(..bytes));
        let even = pair(0).unwrap_or(&[]);
        // Rows that do not exist are stored as 0, whatever they are.
        let odd = pair(1).unwrap_or(even);
        if scratch.lanes.is_empty() {
            return asm::couple_pairs(scratch.weights, [even, odd], u32::from(self.matrix.bits.get()), self.plan.group);
        }
        let (lanes, more) = scratch.lanes.split_at_mut_checked(scratch.lanes.len() / 2).unwrap_or_default();
        self.planes.expand(even, 0, lanes);
        self.planes.expand(odd, 0, more);
        asm::couple_pairs(scratch.weights, [lanes, more], 8, self.plan.group);
    }

    /// Bias and multiplier of four rows from `first` on; 0 where there are none.
    fn constants(&self, first: usize) -> [i32; 8] {
        let mut constants = [0; 8];
        let there = tensor::channels(self.channels.get(8 * first..).unwrap_or(&[]));
        for (to, channel) in constants.as_chunks_mut::<2>().0.iter_mut().zip(there) {
            *to = [channel.bias, channel.multiplier];
        }
        constants
    }
}
