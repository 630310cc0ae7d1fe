//! Convolution in columns of blocks: each input row is widened once for all lines of a column whose windows see it.

use releq_format::graph::{Op, Window};

use super::asm::{self, Block, Packing};
use super::column_plan::{ColumnPlan, MOST_ROWS};
use super::conv::{Layer, Scratch};
use super::plan::{BLOCK, ConvPlan, QUAD};
use super::rows::Planes;
use crate::kernels::Task;
use crate::tensor::Input;

/// Runs a convolution that has a plan.
pub(super) fn conv2d(task: Task<'_>, plan: &ColumnPlan) {
    let Op::Conv2d { window, weights } = task.op else { return };
    let Some(matrix) = task.op.matrix(&task.input.record, &task.output_record) else { return };
    let record = task.output_record;
    let [patches, starts, gather] = plan.parts();
    let Some((patches, rest)) = task.scratch.split_at_mut_checked(patches) else { return };
    let Some((starts, rest)) = rest.split_at_mut_checked(starts) else { return };
    let Some(gather) = rest.get_mut(..gather) else { return };
    let mut scratch = Scratch { patches, starts, gather, band: &mut [], table: &mut [], staging: &mut [] };
    let rows = usize::from(record.channels);
    let layer = Layer {
        record,
        plan: ConvPlan { quads: plan.quads, pixels: 0, expands: plan.expands, band: 0, tabled: false, rows },
        matrix,
        packing: Packing::Bytes,
        codes: task.codes,
        channels: task.channels,
        scale: weights.levels.affine(weights.bits).0.trailing_zeros(),
        shift: weights.shift,
        planes: Planes::of(&matrix),
        pair_bytes: matrix.group_bytes() as usize,
    };
    let correction = layer.correction(weights);
    let column = Column { plan, input: task.input, window, correction };
    let pixel_bytes = record.pixel_bytes() as usize;
    let line_bytes = usize::from(record.width).wrapping_mul(pixel_bytes).max(1);
    let mut y = 0;
    for lines in task.output.chunks_mut(line_bytes.wrapping_mul(plan.lines).max(1)) {
        let blocks = lines.len() / line_bytes;
        for x in (0..usize::from(record.width)).step_by(BLOCK) {
            column.widen([y, x], blocks, &mut scratch);
            layer.rows(&mut scratch, |round, scratch| {
                let first = x.wrapping_mul(pixel_bytes).wrapping_add(2 * round.first);
                asm::block(&mut Block {
                    weights: round.weights,
                    packing: Packing::Bytes,
                    patches: scratch.patches,
                    patch_step: plan.row_bytes(),
                    starts: scratch.starts,
                    channels: round.channels,
                    output: lines.get_mut(first..).unwrap_or(&mut []),
                    pixel_bytes,
                    output_step: line_bytes,
                    quads: plan.quads,
                    pairs: round.pairs,
                    blocks,
                    shift: layer.shift,
                    zero_point: record.zero_point,
                });
            });
        }
        y += blocks;
    }
}

/// What lies under columns.
struct Column<'a> {
    plan: &'a ColumnPlan,
    input: Input<'a>,
    window: &'a Window,
    correction: [i32; 2],
}

impl Column<'_> {
    /// Widens all rows under the `lines` blocks whose first output is at `y`, `x`, and sets their starts.
    fn widen(&self, [y, x]: [usize; 2], lines: usize, scratch: &mut Scratch<'_>) {
        let kernel_rows = usize::from(self.window.kernel[0]);
        let mut sums = [[0u32; BLOCK]; MOST_ROWS];
        let rows = scratch.patches.chunks_exact_mut(self.plan.row_bytes().max(1)).zip(&mut sums);
        for (index, (to, sums)) in rows.enumerate().take(lines + kernel_rows - 1) {
            *sums = self.widen_row([y.wrapping_add(index), x], to, scratch.gather);
        }
        for (line, start) in scratch.starts.as_chunks_mut::<32>().0.iter_mut().enumerate().take(lines) {
            let under = sums.get(line..).unwrap_or(&[]).iter().take(kernel_rows);
            let total = under.fold([0u32; BLOCK], |total, row| {
                let [a, b, c, d] = total;
                [a.wrapping_add(row[0]), b.wrapping_add(row[1]), c.wrapping_add(row[2]), d.wrapping_add(row[3])]
            });
            let takes = self.correction.map(|factor| total.map(|sum| factor.wrapping_mul(sum as i32).wrapping_neg()));
            for (place, take) in start.as_chunks_mut::<4>().0.iter_mut().zip(takes.into_iter().flatten()) {
                *place = take.to_le_bytes();
            }
        }
    }

    /// Widens a padded row under four pixels, and returns the sums of each one's codes.
    fn widen_row(&self, [y, x]: [usize; 2], to: &mut [u8], segment: &mut [u8]) -> [u32; BLOCK] {
        let record = &self.input.record;
        let channels = usize::from(record.channels);
        let [top, left, ..] = self.window.padding.map(usize::from);
        let [height, width] = [record.height, record.width].map(usize::from);
        let pixels = BLOCK - 1 + usize::from(self.window.kernel[1]);
        let (row, column) = (y.wrapping_sub(top), x.wrapping_sub(left));
        let codes: &[u8] = if row < height && column < width && column + pixels <= width {
            self.input.pixels(row, column, pixels)
        } else {
            let segment = segment.get_mut(..self.plan.segment).unwrap_or(&mut []);
            segment.fill(record.zero_point);
            let before = left.saturating_sub(x).min(pixels);
            let first = x.saturating_sub(left);
            let count = (pixels - before).min(width.saturating_sub(first));
            if row < height {
                let to = segment.get_mut(before * channels..).unwrap_or(&mut []);
                asm::copy_rectangle(to, self.input.pixels(row, first, count), [0; 2], count * channels, 1);
            }
            segment
        };
        let mut sums = [0; BLOCK];
        for half in 0..BLOCK / 2 {
            let from = |pixel: usize| codes.get(pixel * channels..).unwrap_or(&[]);
            let to = to.get_mut(8 * half..).unwrap_or(&mut []);
            let pair = asm::widen_pair(to, [from(2 * half), from(2 * half + 1)], self.plan.run / QUAD, 0);
            for (sum, total) in sums.iter_mut().skip(2 * half).zip(pair) {
                *sum = total;
            }
        }
        sums
    }
}
