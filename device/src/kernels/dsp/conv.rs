//! Convolution with any window: patches of some pixels are gathered side by side, then all rows pass over them.

use releq_format::graph::{KernelHint, Op, Storage, TensorRecord, Window};
use releq_format::pack::Matrix;

use super::asm::{self, Block};
use super::finish;
use super::plan::{BLOCK, ConvPlan, QUAD};
use crate::kernels::{Kernel, Task, gather};
use crate::tensor::{Input, copy};

/// Convolution of [`Layout::Lanes`](releq_format::pack::Layout::Lanes), every width.
pub const CONV2D: Kernel =
    Kernel { name: "dsp::CONV2D", family: KernelHint::DSP, supports, scratch_bytes, run: conv2d };

fn plan(op: &Op, input: &TensorRecord, output: &TensorRecord) -> Option<ConvPlan> {
    matches!(op, Op::Conv2d { .. }).then(|| ConvPlan::new(op, input, output)).flatten()
}

fn supports(op: &Op, input: &TensorRecord, output: &TensorRecord) -> bool {
    plan(op, input, output).is_some()
}

fn scratch_bytes(op: &Op, input: &TensorRecord, output: &TensorRecord) -> u32 {
    plan(op, input, output).and_then(|plan| plan.scratch_bytes()).unwrap_or(u32::MAX)
}

fn conv2d(task: Task<'_>) {
    let Op::Conv2d { window, weights } = task.op else { return };
    let Some(plan) = ConvPlan::new(task.op, &task.input.record, &task.output_record) else { return };
    let Some(matrix) = task.op.matrix(&task.input.record, &task.output_record) else { return };
    let record = task.output_record;
    let Some(mut scratch) = Scratch::split(&plan, task.scratch) else { return };
    scratch.gather.fill(0);
    let (gain, offset) = weights.levels.affine(weights.bits);
    let layer = Layer {
        record,
        plan,
        matrix,
        codes: task.codes,
        channels: task.channels,
        scale: gain.trailing_zeros(),
        shift: weights.shift,
    };
    // By how much the lanes of even and odd rows exceed the weights.
    let odd = if layer.flips_odd_rows() || !plan.expands { offset - 128 } else { offset };
    let correction = [offset + 256 * odd, odd];
    let mut gatherer = Gatherer { input: task.input, window, plan, width: usize::from(record.width), y: 0, x: 0 };
    let pixel_bytes = record.pixel_bytes() as usize;
    for output in task.output.chunks_mut((plan.pixels * pixel_bytes).max(1)) {
        let count = output.len() / pixel_bytes.max(1);
        gatherer.gather(count, &mut scratch, correction);
        layer.round(output, count, &mut scratch);
    }
}

/// The pieces of a layer's scratch.
struct Scratch<'a> {
    patches: &'a mut [u8],
    starts: &'a mut [u8],
    gather: &'a mut [u8],
    expanded: &'a mut [u8],
    staging: &'a mut [u8],
}

impl<'a> Scratch<'a> {
    fn split(plan: &ConvPlan, scratch: &'a mut [u8]) -> Option<Self> {
        let (patches, rest) = scratch.split_at_mut_checked(plan.patch_bytes())?;
        let (starts, rest) = rest.split_at_mut_checked(plan.start_bytes())?;
        let (gather, rest) = rest.split_at_mut_checked(plan.gather_bytes())?;
        let (expanded, rest) = rest.split_at_mut_checked(plan.expanded_bytes())?;
        let staging = rest.get_mut(..plan.staging_bytes())?;
        Some(Self { patches, starts, gather, expanded, staging })
    }
}

/// Walks over output pixels and widens what lies under their windows.
struct Gatherer<'a> {
    input: Input<'a>,
    window: &'a Window,
    plan: ConvPlan,
    /// Of the output.
    width: usize,
    y: usize,
    x: usize,
}

impl<'a> Gatherer<'a> {
    /// Gathers the next `count` pixels, two at a time; `correction` times their sums is taken off X and O.
    fn gather(&mut self, count: usize, scratch: &mut Scratch<'_>, correction: [i32; 2]) {
        let block_bytes = 8 * BLOCK * self.plan.quads;
        let blocks = scratch.patches.chunks_exact_mut(block_bytes.max(1)).zip(scratch.starts.as_chunks_mut::<32>().0);
        for (block, (patches, starts)) in blocks.enumerate().take(count.div_ceil(BLOCK)) {
            let (starts, _) = starts.as_chunks_mut::<4>();
            for (half, pixel) in [(0, BLOCK * block), (1, BLOCK * block + 2)] {
                if pixel >= count {
                    break;
                }
                let first = self.next();
                let second = if pixel + 1 < count { self.next() } else { first };
                let to = patches.get_mut(8 * half..).unwrap_or(&mut []);
                let sums = self.widen(to, [first, second], scratch.gather);
                for (pixel, sum) in sums.into_iter().enumerate() {
                    for (accumulator, correction) in correction.into_iter().enumerate() {
                        if let Some(start) = starts.get_mut(4 * accumulator + 2 * half + pixel) {
                            *start = correction.wrapping_mul(sum as i32).wrapping_neg().to_le_bytes();
                        }
                    }
                }
            }
        }
    }

    /// The next output pixel's row and column.
    fn next(&mut self) -> [usize; 2] {
        let at = [self.y, self.x];
        self.x += 1;
        if self.x >= self.width {
            (self.y, self.x) = (self.y + 1, 0);
        }
        at
    }

    /// Widens the patches of two pixels; straight from the input where whole words lie under whole windows.
    fn widen(&self, to: &mut [u8], pixels: [[usize; 2]; 2], patches: &mut [u8]) -> [u32; 2] {
        let run = usize::from(self.window.kernel[1]).wrapping_mul(usize::from(self.input.record.channels));
        let inside = pixels.map(|pixel| self.inside(pixel));
        if let [Some(first), Some(second)] = inside
            && run.is_multiple_of(QUAD)
        {
            let mut sums = [0u32; 2];
            let steps = to.chunks_mut((8 * run).max(1)).take(usize::from(self.window.kernel[0]));
            for (ky, to) in steps.enumerate() {
                let [left, right] = asm::widen_pair(to, [self.row(first, ky), self.row(second, ky)], run / QUAD);
                sums = [sums[0].wrapping_add(left), sums[1].wrapping_add(right)];
            }
            return sums;
        }
        let (first, second) = patches.split_at_mut_checked(patches.len() / 2).unwrap_or_default();
        let columns = run.wrapping_mul(usize::from(self.window.kernel[0]));
        for ((patch, pixel), inside) in [&mut *first, &mut *second].into_iter().zip(pixels).zip(inside) {
            let patch = patch.get_mut(..columns).unwrap_or(&mut []);
            match inside {
                Some(start) => {
                    for (ky, patch) in patch.chunks_exact_mut(run.max(1)).enumerate() {
                        copy(patch, self.row(start, ky));
                    }
                }
                None => gather::patch(&self.input, self.window, pixel[0], pixel[1], patch),
            }
        }
        asm::widen_pair(to, [first, second], self.plan.quads)
    }

    /// Where the window at an output pixel starts in the input, if the input is bytes and all of it lies inside.
    fn inside(&self, [y, x]: [usize; 2]) -> Option<usize> {
        let record = &self.input.record;
        let span = |at: usize, stride: u8, padding: u8, kernel: u8, size: u16| {
            let start = (at * usize::from(stride)).checked_sub(usize::from(padding))?;
            (start + usize::from(kernel) <= usize::from(size)).then_some(start)
        };
        let Window { kernel, stride, padding } = self.window;
        let top = span(y, stride[0], padding[0], kernel[0], record.height)?;
        let left = span(x, stride[1], padding[1], kernel[1], record.width)?;
        let start = (top * usize::from(record.width) + left) * usize::from(record.channels);
        (record.storage == Storage::Bits8).then_some(start)
    }

    /// The input from row `ky` of a window on.
    fn row(&self, start: usize, ky: usize) -> &'a [u8] {
        let row = usize::from(self.input.record.width) * usize::from(self.input.record.channels);
        self.input.bytes.get(start + ky * row..).unwrap_or(&[])
    }
}

/// What all rounds of a layer share.
struct Layer<'a> {
    record: TensorRecord,
    plan: ConvPlan,
    matrix: Matrix,
    codes: &'a [u8],
    channels: &'a [u8],
    /// log2 of what a code step is worth.
    scale: u32,
    shift: u8,
}

impl Layer<'_> {
    /// All rows over the patches of `count` pixels.
    fn round(&self, output: &mut [u8], count: usize, scratch: &mut Scratch<'_>) {
        let pixel_bytes = self.record.pixel_bytes() as usize;
        let in_place =
            self.record.storage == Storage::Bits8 && self.record.bits.get() == 8 && pixel_bytes.is_multiple_of(2);
        let direct = if in_place { count / BLOCK } else { 0 };
        let staged = count.div_ceil(BLOCK) - direct;
        let (output, rest) = output.split_at_mut_checked(direct * BLOCK * pixel_bytes).unwrap_or_default();
        self.rows(scratch, |round, scratch| {
            let patches = scratch.patches.split_at_checked(direct * 8 * BLOCK * self.plan.quads).unwrap_or_default();
            let starts = scratch.starts.split_at_checked(direct * 32).unwrap_or_default();
            let mut block = Block {
                weights: round.weights,
                patches: patches.0,
                starts: starts.0,
                channels: round.channels,
                output: output.get_mut(2 * round.first..).unwrap_or(&mut []),
                pixel_bytes,
                quads: self.plan.quads,
                pairs: round.pairs,
                blocks: direct,
                shift: self.shift,
                zero_point: self.record.zero_point,
            };
            asm::block(&mut block);
            if staged > 0 {
                let staging = scratch.staging.get_mut(2 * round.first..).unwrap_or(&mut []);
                let (patches, starts) = (patches.1, starts.1);
                asm::block(&mut Block {
                    patches,
                    starts,
                    output: staging,
                    pixel_bytes: self.plan.rows,
                    blocks: staged,
                    ..block
                });
            }
        });
        if staged > 0 {
            finish::write(&self.record, rest, scratch.staging, self.plan.rows);
        }
    }

    /// Whether codes times what a step is worth exceed the 7 bits that a signed lane has for them.
    const fn flips_odd_rows(&self) -> bool {
        self.matrix.bits.get() as u32 + self.scale == 8 && self.plan.expands
    }

    /// Calls `run` for pairs of rows: all at once where they lie ready, else one by one as they are expanded.
    fn rows(&self, scratch: &mut Scratch<'_>, mut run: impl FnMut(&Pairs<'_>, &mut Scratch<'_>)) {
        let one_pair = Matrix { rows: 2, ..self.matrix };
        let pair_bytes = (one_pair.bytes().unwrap_or(0) as usize).max(1);
        let whole = self.matrix.rows as usize / 2;
        // The partner of a last odd row has no constants in the image.
        let mut last = [0; 16];
        copy(&mut last, self.channels.get(16 * whole..).unwrap_or(&[]));
        let odd = self.plan.rows / 2 - whole;
        if !self.plan.expands {
            run(&Pairs { weights: self.codes, channels: self.channels, first: 0, pairs: whole }, scratch);
            let weights = self.codes.get(pair_bytes * whole..).unwrap_or(&[]);
            run(&Pairs { weights, channels: &last, first: whole, pairs: odd }, scratch);
            return;
        }
        let expanded = core::mem::take(&mut scratch.expanded);
        for (first, words) in self.codes.chunks_exact(pair_bytes).enumerate() {
            self.expand(words, expanded);
            let channels = self.channels.get(16 * first..).filter(|rest| rest.len() >= 16).unwrap_or(&last);
            run(&Pairs { weights: expanded, channels, first, pairs: 1 }, scratch);
        }
        scratch.expanded = expanded;
    }

    /// One pair's planes as byte lanes.
    fn expand(&self, mut words: &[u8], to: &mut [u8]) {
        for (index, plane) in self.matrix.planes().enumerate() {
            let bytes = 4 * self.matrix.plane_words(plane) as usize;
            let Some((head, rest)) = words.split_at_checked(bytes) else { return };
            words = rest;
            asm::expand_plane(to, head, plane, self.scale, index == 0);
        }
        if self.flips_odd_rows() {
            for lanes in to.as_chunks_mut::<4>().0 {
                *lanes = (u32::from_le_bytes(*lanes) ^ 0x8000_8000).to_le_bytes();
            }
        }
    }
}

/// Some pairs of rows, ready to be multiplied.
struct Pairs<'a> {
    weights: &'a [u8],
    channels: &'a [u8],
    /// Index of the first pair.
    first: usize,
    pairs: usize,
}
