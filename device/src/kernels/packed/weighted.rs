//! Convolution, dense and depthwise layers over packed weights.

use releq_format::bits::{BitWidth, Levels};
use releq_format::graph::{Op, TensorRecord, Weights};
use releq_format::pack::{Layout, Matrix};
use releq_format::quant::Channel;

use super::dot::{PATCH_MULTIPLE, pair, row_bytes};
use super::{Kernel, Task, batch, kernel};
use crate::kernels::gather;
use crate::tensor::{self, Sink, pixels_mut};

/// Convolution.
pub const CONV2D: Kernel = kernel("packed::CONV2D", |op, _, _| matches!(op, Op::Conv2d { .. }), patch_bytes, patches);
/// Fully connected.
pub const DENSE: Kernel = kernel("packed::DENSE", |op, _, _| matches!(op, Op::Dense { .. }), patch_bytes, patches);
/// Depthwise convolution.
pub const DEPTHWISE: Kernel =
    kernel("packed::DEPTHWISE", |op, _, _| matches!(op, Op::Depthwise { .. }), depthwise_bytes, depthwise);

/// Scratch: the codes of one patch, padded to whole chunks.
fn patch_bytes(op: &Op, input: &TensorRecord, _: &TensorRecord) -> u32 {
    op.terms(input).and_then(|terms| terms.checked_next_multiple_of(PATCH_MULTIPLE as u32)).unwrap_or(u32::MAX)
}

/// Convolution and dense layers: patch after patch, each meets all rows.
fn patches(task: Task<'_>) {
    let (Some(matrix), Some(weights)) = (task.op.matrix(&task.input.record, &task.output_record), task.op.weights())
    else {
        return;
    };
    let columns = matrix.columns as usize;
    if let Op::Conv2d { window, .. } = task.op
        && matrix.layout == Layout::Lanes
        && let Some(pixels) = batch::pixels(task.scratch, columns)
    {
        return batch::conv2d(task, window, weights, &matrix, pixels);
    }
    let rows = Rows::new(&task, weights, matrix);
    let sink = Sink::new(task.output_record, weights.shift);
    let padded = padded_patch(task.scratch, columns);
    for (y, x, pixel) in pixels_mut(&task.output_record, task.output) {
        if let Some(patch) = padded.get_mut(..columns) {
            match task.op {
                Op::Conv2d { window, .. } => gather::patch(&task.input, window, y, x, patch),
                _ => gather::everything(&task.input, patch),
            }
        }
        rows.accumulate(padded, &sink, pixel);
    }
}

/// A cleared patch of `columns` codes, filled up to whole chunks; the scratch may be longer, for other kernels' sake.
fn padded_patch(scratch: &mut [u8], columns: usize) -> &mut [u8] {
    let length = scratch.len().min(columns.next_multiple_of(PATCH_MULTIPLE));
    let (patch, _) = scratch.split_at_mut(length);
    patch.fill(0);
    patch
}

/// All rows of a weight matrix, ready to meet patches.
struct Rows<'a> {
    matrix: Matrix,
    gain: i32,
    offset: i32,
    activations: BitWidth,
    codes: &'a [u8],
    channels: &'a [u8],
    /// Bytes of one row, or of one pair of rows.
    stride: usize,
}

impl<'a> Rows<'a> {
    fn new(task: &Task<'a>, weights: &Weights, matrix: Matrix) -> Self {
        let (gain, offset) = match matrix.layout {
            // They are values, not codes.
            Layout::Bytes => (1, 0),
            _ => weights.levels.affine(weights.bits),
        };
        let stride = (matrix.group_bytes() as usize).max(1);
        let activations = task.input.record.bits;
        Self { matrix, gain, offset, activations, codes: task.codes, channels: task.channels, stride }
    }

    /// Puts the outcome of every row with `patch` into an output pixel.
    fn accumulate(&self, patch: &[u8], sink: &Sink, pixel: &mut [u8]) {
        let mut channels = tensor::channels(self.channels).enumerate();
        let correction = match self.offset {
            0 => 0,
            offset => patch.iter().fold(0i32, |sum, &code| sum.wrapping_add(i32::from(code))).wrapping_mul(offset),
        };
        let rows = if self.matrix.layout == Layout::Bytes { 1 } else { 2 };
        for words in self.codes.chunks_exact(self.stride) {
            let sums = match self.matrix.layout {
                Layout::Bytes => [row_bytes(words, patch), 0],
                _ => pair(words, &self.matrix, self.activations, patch),
            };
            for sum in sums.into_iter().take(rows) {
                let Some((index, Channel { bias, multiplier })) = channels.next() else { return };
                let sum = self.gain.wrapping_mul(sum).wrapping_sub(correction);
                sink.put(pixel, index, bias.wrapping_add(sum), multiplier);
            }
        }
    }
}

/// Scratch: 32-bit accumulators and the codes of one pixel, and unless they are bytes already, all weights as bytes.
fn depthwise_bytes(op: &Op, input: &TensorRecord, output: &TensorRecord) -> u32 {
    let channels = u32::from(input.channels);
    let expanded = match op.matrix(input, output) {
        Some(Matrix { layout: Layout::Bytes, .. }) | None => 0,
        Some(matrix) => matrix.rows.saturating_mul(channels),
    };
    channels.saturating_mul(5).saturating_add(expanded).checked_next_multiple_of(4).unwrap_or(u32::MAX)
}

fn depthwise(task: Task<'_>) {
    let Op::Depthwise { window, weights } = task.op else { return };
    let Some(matrix) = task.op.matrix(&task.input.record, &task.output_record) else { return };
    let channels = usize::from(task.input.record.channels).max(1);
    let sink = Sink::new(task.output_record, weights.shift);
    let Some((sums, rest)) = task.scratch.split_at_mut_checked(4 * channels) else { return };
    let Some((codes, expanded)) = rest.split_at_mut_checked(channels) else { return };
    let (sums, _) = sums.as_chunks_mut::<4>();
    let taps: &[u8] = match weights.layout {
        Layout::Bytes => task.codes,
        _ => expand(&matrix, weights.levels, task.codes, expanded),
    };
    let width = usize::from(window.kernel[1]).max(1);
    for (y, x, pixel) in pixels_mut(&task.output_record, task.output) {
        for (sum, channel) in sums.iter_mut().zip(tensor::channels(task.channels)) {
            *sum = channel.bias.to_le_bytes();
        }
        for (tap, row) in taps.chunks_exact(channels).take(matrix.rows as usize).enumerate() {
            let at = |output: usize, stride: u8, tap: usize, padding: u8| {
                (output.wrapping_mul(usize::from(stride)).wrapping_add(tap)).wrapping_sub(usize::from(padding))
            };
            let iy = at(y, window.stride[0], tap / width, window.padding[0]);
            let ix = at(x, window.stride[1], tap % width, window.padding[1]);
            // A position before the first row or column wraps to a huge one, so one comparison tells inside.
            match iy < usize::from(task.input.record.height) && ix < usize::from(task.input.record.width) {
                true => task.input.unpack(iy, ix, codes),
                false => codes.fill(task.input.record.zero_point),
            }
            for ((sum, &weight), &code) in sums.iter_mut().zip(row).zip(codes.iter()) {
                let product = i32::from(weight as i8).wrapping_mul(i32::from(code));
                *sum = i32::from_le_bytes(*sum).wrapping_add(product).to_le_bytes();
            }
        }
        for (index, (sum, channel)) in sums.iter().zip(tensor::channels(task.channels)).enumerate() {
            sink.put(pixel, index, i32::from_le_bytes(*sum), channel.multiplier);
        }
    }
}

/// Unpacks plane-packed depthwise weights to signed bytes, once per layer.
fn expand<'a>(matrix: &Matrix, levels: Levels, codes: &[u8], expanded: &'a mut [u8]) -> &'a [u8] {
    let columns = (matrix.columns as usize).max(1);
    let (mut words, _) = codes.as_chunks::<4>();
    for row in expanded.chunks_exact_mut(columns).take(matrix.rows as usize) {
        row.fill(0);
        for plane in matrix.bits.planes() {
            let Some((head, tail)) = words.split_at_checked(matrix.plane_words(plane) as usize) else { return &[] };
            words = tail;
            let per_word = (matrix.fields_per_word(plane) as usize).max(1);
            for (codes, word) in row.chunks_mut(per_word).zip(head) {
                let mut word = u32::from_le_bytes(*word);
                for code in codes {
                    *code |= ((word & ((1 << plane.width) - 1)) << plane.shift) as u8;
                    word >>= plane.width;
                }
            }
        }
        for code in row {
            *code = levels.value(*code, matrix.bits) as u8;
        }
    }
    expanded
}
