//! Convolution with any window: patches of some pixels are gathered side by side, then all rows pass over them.

use releq_format::graph::{KernelHint, Op, Storage, TensorRecord, Weights};
use releq_format::pack::{Layout, Matrix};
use releq_format::quant::end_terms;

use super::asm::{self, Block, Packing};
use super::column_plan::ColumnPlan;
use super::finish;
use super::gather::Gatherer;
use super::line_plan::LinePlan;
use super::plan::{self, BLOCK, ConvPlan, EXPANDED_PAIRS, OuterPlan};
use super::rows::{Constants, Planes, whole_groups};
use super::{columns, lines, outer};
use crate::kernels::{Kernel, Task};
use crate::tensor::copy;

/// Convolution of [`Layout::Lanes`], every width, and of [`Layout::Ends`] where its fields have room.
pub const CONV2D: Kernel =
    Kernel { name: "dsp::CONV2D", family: KernelHint::DSP, supports, scratch_bytes, run: conv2d };

fn supports(op: &Op, input: &TensorRecord, output: &TensorRecord) -> bool {
    matches!(op, Op::Conv2d { .. }) && plan::conv_scratch(op, input, output).is_some()
}

fn scratch_bytes(op: &Op, input: &TensorRecord, output: &TensorRecord) -> u32 {
    plan::conv_scratch(op, input, output).unwrap_or(u32::MAX)
}

fn conv2d(task: Task<'_>) {
    let Op::Conv2d { window, weights } = task.op else { return };
    if let Some(plan) = OuterPlan::new(task.op, &task.input.record, &task.output_record) {
        return outer::conv2d(task, &plan);
    }
    if let Some(plan) = LinePlan::new(task.op, &task.input.record, &task.output_record) {
        return lines::conv2d(task, &plan);
    }
    if let Some(plan) = ColumnPlan::new(task.op, &task.input.record, &task.output_record) {
        return columns::conv2d(task, &plan);
    }
    let Some(plan) = ConvPlan::new(task.op, &task.input.record, &task.output_record) else { return };
    let Some(matrix) = task.op.matrix(&task.input.record, &task.output_record) else { return };
    let record = task.output_record;
    let Some(mut scratch) = Scratch::split(&plan, task.scratch) else { return };
    let gain = weights.levels.affine(weights.bits).0;
    let terms = end_terms(matrix.bits, task.input.record.bits);
    let scale = match matrix.layout {
        // What is fetched through a table is not scaled on the way.
        Layout::Ends if !plan.tabled => asm::ends_scale(matrix.bits.get(), terms),
        _ => 0,
    };
    let layer = Layer {
        record,
        plan,
        matrix,
        packing: packing(&matrix, gain, terms, scale),
        codes: task.codes,
        channels: task.channels,
        scale: gain.trailing_zeros(),
        shift: weights.shift,
        planes: Planes::of(&matrix),
        pair_bytes: matrix.group_bytes() as usize,
    };
    let correction = layer.correction(weights);
    // Groups of ends reach beyond the last column.
    if matrix.layout == Layout::Ends {
        scratch.patches.fill(0);
    }
    let (band, table) = (core::mem::take(&mut scratch.band), core::mem::take(&mut scratch.table));
    let mut gatherer = Gatherer::new(task.input, window, usize::from(record.width), band, table, scale);
    let pixel_bytes = record.pixel_bytes() as usize;
    for output in task.output.chunks_mut((plan.pixels * pixel_bytes).max(1)) {
        let count = output.len() / pixel_bytes.max(1);
        gatherer.gather(count, plan.quads, &mut scratch, correction);
        layer.round(output, count, &mut scratch);
    }
}

/// How the block's loop finds the weights of `matrix`.
fn packing(matrix: &Matrix, gain: i32, terms: usize, scale: u32) -> Packing {
    if matrix.layout != Layout::Ends {
        return Packing::Bytes;
    }
    Packing::Ends { bits: matrix.bits.get(), terms, stride: matrix.group_bytes() as usize, gain: gain as u32, scale }
}

/// The pieces of a layer's scratch.
pub(super) struct Scratch<'a> {
    /// Widened patches, block after block.
    pub(super) patches: &'a mut [u8],
    /// What accumulators start with, eight words a block.
    pub(super) starts: &'a mut [u8],
    /// Two patches before they are widened; then some pairs of weight rows in byte lanes.
    pub(super) gather: &'a mut [u8],
    /// Unpacked input rows.
    pub(super) band: &'a mut [u8],
    /// Offsets of columns.
    pub(super) table: &'a mut [u8],
    /// Outputs that cannot be written in place.
    pub(super) staging: &'a mut [u8],
}

impl<'a> Scratch<'a> {
    fn split(plan: &ConvPlan, scratch: &'a mut [u8]) -> Option<Self> {
        let (patches, rest) = scratch.split_at_mut_checked(plan.patch_bytes())?;
        let (starts, rest) = rest.split_at_mut_checked(plan.start_bytes())?;
        let (gather, rest) = rest.split_at_mut_checked(plan.gather_bytes())?;
        let (band, rest) = rest.split_at_mut_checked(plan.band)?;
        let (table, rest) = rest.split_at_mut_checked(plan.table_bytes())?;
        let staging = rest.get_mut(..plan.staging_bytes())?;
        Some(Self { patches, starts, gather, band, table, staging })
    }
}

/// What all rounds of a layer share.
pub(super) struct Layer<'a> {
    pub(super) record: TensorRecord,
    pub(super) plan: ConvPlan,
    pub(super) matrix: Matrix,
    pub(super) packing: Packing,
    pub(super) codes: &'a [u8],
    pub(super) channels: &'a [u8],
    /// log2 of what a code step is worth.
    pub(super) scale: u32,
    pub(super) shift: u8,
    pub(super) planes: Planes,
    /// Of the codes of a pair of rows.
    pub(super) pair_bytes: usize,
}

impl Layer<'_> {
    /// What is taken off accumulators for each code under a window.
    pub(super) fn correction(&self, weights: &Weights) -> [i32; 2] {
        let (gain, offset) = weights.levels.affine(weights.bits);
        // By how much the codes of even and odd rows exceed the weights.
        let odd = if self.flips_odd_rows() || !self.plan.expands { offset - 128 } else { offset };
        match self.packing {
            Packing::Bytes => [offset + 256 * odd, odd],
            // Odd rows are signed, and sums shifted.
            Packing::Ends { .. } => [offset, offset - (gain << (weights.bits.get().wrapping_sub(1) & 7))]
                .map(|takes| takes << (weights.shift & 31)),
        }
    }

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
                packing: self.packing,
                patches: patches.0,
                patch_step: 8 * BLOCK * self.plan.quads,
                starts: starts.0,
                channels: round.channels,
                output: output.get_mut(2 * round.first..).unwrap_or(&mut []),
                pixel_bytes,
                output_step: BLOCK * pixel_bytes,
                quads: self.plan.quads,
                pairs: round.pairs,
                blocks: direct,
                shift: self.shift,
                zero_point: self.record.zero_point,
            };
            if direct > 0 {
                asm::block(&mut block);
            }
            if staged > 0 {
                let staging = scratch.staging.get_mut(2 * round.first..).unwrap_or(&mut []);
                let (patches, starts) = (patches.1, starts.1);
                asm::block(&mut Block {
                    patches,
                    starts,
                    output: staging,
                    pixel_bytes: self.plan.rows,
                    output_step: BLOCK * self.plan.rows,
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

    /// Calls `run` for pairs of rows: all at once where they lie ready, else a few at a time as they are expanded.
    pub(super) fn rows(&self, scratch: &mut Scratch<'_>, mut run: impl FnMut(&Pairs<'_>, &mut Scratch<'_>)) {
        let pair_bytes = self.pair_bytes.max(1);
        let whole = self.matrix.rows as usize / 2;
        // The partner of a last odd row has no constants in the image.
        let last = Constants::<16>::of(self.channels.get(16 * whole..).unwrap_or(&[]));
        let odd = self.plan.rows / 2 - whole;
        if self.matrix.layout == Layout::Ends {
            let groups = self.plan.quads * usize::from(self.matrix.bits.get());
            let ready = whole_groups(self.codes, pair_bytes, groups).min(whole);
            run(&Pairs { weights: self.codes, channels: self.channels, first: 0, pairs: ready }, scratch);
            let copied = core::mem::take(&mut scratch.gather);
            for first in ready..whole + odd {
                let last = Constants::<16>::of(self.channels.get(16 * first..).unwrap_or(&[]));
                copied.get_mut(..groups).unwrap_or(&mut []).fill(0);
                copy(copied, self.codes.get(pair_bytes * first..).unwrap_or(&[]));
                run(&Pairs { weights: copied, channels: last.bytes(), first, pairs: 1 }, scratch);
            }
            scratch.gather = copied;
            return;
        }
        if !self.plan.expands {
            run(&Pairs { weights: self.codes, channels: self.channels, first: 0, pairs: whole }, scratch);
            let weights = self.codes.get(pair_bytes * whole..).unwrap_or(&[]);
            if odd > 0 {
                run(&Pairs { weights, channels: last.bytes(), first: whole, pairs: odd }, scratch);
            }
            return;
        }
        let expanded = core::mem::take(&mut scratch.gather);
        let lanes_bytes = 8 * self.plan.quads;
        let mut first = 0;
        for words in self.codes.chunks(pair_bytes.saturating_mul(EXPANDED_PAIRS).max(1)) {
            // Some whole pairs, and apart from them one whose partner is missing.
            let ready = words.chunks_exact(pair_bytes).zip(expanded.chunks_exact_mut(lanes_bytes.max(1)));
            let pairs = ready.map(|(words, to)| self.expand(words, to)).count();
            let both = pairs.min(whole.saturating_sub(first));
            let channels = self.channels.get(16 * first..).unwrap_or(&[]);
            run(&Pairs { weights: expanded, channels, first, pairs: both }, scratch);
            if both < pairs {
                let weights = expanded.get(lanes_bytes * both..).unwrap_or(&[]);
                run(&Pairs { weights, channels: last.bytes(), first: first + both, pairs: pairs - both }, scratch);
            }
            first += pairs;
        }
        scratch.gather = expanded;
    }

    /// One pair's planes as byte lanes.
    fn expand(&self, words: &[u8], to: &mut [u8]) {
        self.planes.expand(words, self.scale, to);
        if self.flips_odd_rows() {
            for lanes in to.as_chunks_mut::<4>().0 {
                *lanes = (u32::from_le_bytes(*lanes) ^ 0x8000_8000).to_le_bytes();
            }
        }
    }
}

/// Some pairs of rows, ready to be multiplied.
pub(super) struct Pairs<'a> {
    pub(super) weights: &'a [u8],
    pub(super) channels: &'a [u8],
    /// Index of the first pair.
    pub(super) first: usize,
    pub(super) pairs: usize,
}
