//! Fully connected layers: the input is widened once, then every pair of rows passes over it.

use releq_format::graph::{KernelHint, Op, Storage, TensorRecord};
use releq_format::pack::{Layout, Matrix};
use releq_format::quant::{end_terms, logit};

use super::asm;
use super::asm::{Ends, Rows, Settle};
use super::finish;
use super::plan::{DensePlan, QUAD};
use super::rows::{Constants, whole_groups};
use crate::kernels::{Kernel, Task};
use crate::tensor::{self, Input, copy};

/// Fully connected, of [`Layout::Lanes`], every width, and of [`Layout::Ends`] where its fields have room.
pub const DENSE: Kernel = Kernel { name: "dsp::DENSE", family: KernelHint::DSP, supports, scratch_bytes, run: dense };

fn plan(op: &Op, input: &TensorRecord, output: &TensorRecord) -> Option<DensePlan> {
    matches!(op, Op::Dense { .. }).then(|| DensePlan::new(op, input, output)).flatten()
}

fn supports(op: &Op, input: &TensorRecord, output: &TensorRecord) -> bool {
    plan(op, input, output).is_some()
}

fn scratch_bytes(op: &Op, input: &TensorRecord, output: &TensorRecord) -> u32 {
    plan(op, input, output).and_then(|plan| plan.scratch_bytes()).unwrap_or(u32::MAX)
}

fn dense(task: Task<'_>) {
    let Op::Dense { weights } = task.op else { return };
    let Some(plan) = DensePlan::new(task.op, &task.input.record, &task.output_record) else { return };
    let Some(matrix) = task.op.matrix(&task.input.record, &task.output_record) else { return };
    let Some((codes, rest)) = task.scratch.split_at_mut_checked(plan.code_bytes()) else { return };
    let Some((sums, rest)) = rest.split_at_mut_checked(plan.sum_bytes()) else { return };
    let ends = matrix.layout == Layout::Ends;
    let scale = if ends { u32::from(matrix.bits.get()) } else { 0 };
    let total = widen(&task.input, codes, rest, matrix.columns as usize, scale);
    let (gain, offset) = weights.levels.affine(weights.bits);
    // Odd rows of whole bytes and of ends are signed.
    let mut odd = offset;
    if ends {
        multiply_ends(&matrix, end_terms(matrix.bits, task.input.record.bits), task.codes, codes, sums, rest);
        odd = offset.wrapping_sub(gain << (matrix.bits.get().wrapping_sub(1) & 7));
    } else {
        sums.fill(0);
        multiply(&matrix, task.codes, codes, sums, rest);
        odd = if matrix.bits.get() == 8 { 0 } else { odd };
    }
    let corrections = [offset, odd].map(|offset| offset.wrapping_mul(total as i32));
    if task.output_record.storage == Storage::Logits {
        let rows = sums.as_chunks::<8>().0.iter().flat_map(|pair| {
            let [x, o] =
                [pair.first_chunk(), pair.last_chunk()].map(|sum| sum.map_or(0, |sum| i32::from_le_bytes(*sum)));
            [x.wrapping_sub(o << 8).wrapping_mul(gain), o.wrapping_mul(gain)]
        });
        let corrected = rows.zip(corrections.into_iter().cycle()).map(|(sum, correction)| sum.wrapping_sub(correction));
        let constants = tensor::channels(task.channels);
        for ((logit_bytes, channel), sum) in task.output.as_chunks_mut::<4>().0.iter_mut().zip(constants).zip(corrected)
        {
            *logit_bytes = logit(channel.bias.wrapping_add(sum), weights.shift, channel.multiplier).to_le_bytes();
        }
        return;
    }
    let record = task.output_record;
    let settle =
        Settle { corrections, scale: gain.trailing_zeros(), shift: weights.shift, zero_point: record.zero_point };
    let bytes = record.storage == Storage::Bits8 && record.bits.get() == 8 && task.output.len().is_multiple_of(2);
    if bytes {
        return asm::settle_pairs(&settle, sums, task.channels, task.output);
    }
    asm::settle_pairs(&settle, sums, task.channels, rest);
    // The partner of a last odd row has no constants in the image.
    let whole = matrix.rows as usize / 2;
    let last = Constants::<16>::of(task.channels.get(16 * whole..).unwrap_or(&[]));
    let (sum, staged) = (sums.get(8 * whole..).unwrap_or(&[]), rest.get_mut(2 * whole..).unwrap_or(&mut []));
    asm::settle_pairs(&settle, sum, last.bytes(), staged);
    finish::write(&record, task.output, rest, rest.len());
}

/// Widens the input into `codes`, times 2^scale and filled up with zeros, and returns its sum.
fn widen(input: &Input<'_>, codes: &mut [u8], rest: &mut [u8], columns: usize, scale: u32) -> u32 {
    let record = &input.record;
    let quads = columns / QUAD;
    let (whole, tail) = codes.split_at_mut_checked(8 * quads).unwrap_or_default();
    tail.fill(0);
    let mut last = [0; QUAD];
    let sum = if record.storage == Storage::Bits8 {
        copy(&mut last, input.bytes.get(QUAD * quads..).unwrap_or(&[]));
        asm::widen_vector(whole, input.bytes, quads, scale)
    } else {
        let unpacked = rest.get_mut(..columns).unwrap_or(&mut []);
        let row = usize::from(record.width).wrapping_mul(usize::from(record.channels)).max(1);
        for (y, row) in unpacked.chunks_exact_mut(row).enumerate() {
            input.unpack(y, 0, row);
        }
        copy(&mut last, unpacked.get(QUAD * quads..).unwrap_or(&[]));
        asm::widen_vector(whole, unpacked, quads, scale)
    };
    sum.wrapping_add(asm::widen_vector(tail, &last, 1, scale))
}

/// X and O of every pair of ends.
fn multiply_ends(matrix: &Matrix, terms: usize, words: &[u8], codes: &[u8], sums: &mut [u8], rest: &mut [u8]) {
    let (stride, pairs) = (matrix.group_bytes() as usize, (matrix.rows as usize).div_ceil(2));
    let ends = Ends { words, bits: matrix.bits.get(), terms, stride, pairs };
    let bytes = codes.len() * usize::from(ends.bits) / 8;
    let ready = whole_groups(words, stride, bytes).min(pairs);
    asm::dense_ends(&Ends { pairs: ready, ..ends }, codes, sums);
    for pair in ready..pairs {
        rest.get_mut(..bytes).unwrap_or(&mut []).fill(0);
        copy(rest, words.get(stride * pair..).unwrap_or(&[]));
        asm::dense_ends(&Ends { words: rest, pairs: 1, ..ends }, codes, sums.get_mut(8 * pair..).unwrap_or(&mut []));
    }
}

/// X and O of every pair, plane by plane.
fn multiply(matrix: &Matrix, words: &[u8], codes: &[u8], sums: &mut [u8], rest: &mut [u8]) {
    let (stride, columns) = (matrix.group_bytes() as usize, matrix.columns as usize);
    let pairs = (matrix.rows as usize).div_ceil(2);
    let mut start = 0;
    for plane in matrix.planes() {
        let bytes = 4 * matrix.plane_words(plane) as usize;
        let words = words.get(start..).unwrap_or(&[]);
        let plane_of = |words, pairs| Rows { words, width: plane.width, shift: plane.shift, stride, pairs };
        // The last turn of the last pair must not read beyond the section: its words are copied to where it may.
        let ready = if asm::dense_overrun(plane.width, columns, bytes) == 0 { pairs } else { pairs.saturating_sub(1) };
        asm::dense_rows(&plane_of(words, ready), codes, sums, columns);
        if ready < pairs {
            rest.fill(0);
            copy(rest.get_mut(..bytes).unwrap_or(&mut []), words.get(stride * ready..).unwrap_or(&[]));
            let sums = sums.get_mut(8 * ready..).unwrap_or(&mut []);
            asm::dense_rows(&plane_of(rest, 1), codes, sums, columns);
        }
        start += bytes;
    }
}
