//! Pooling and residual add: whole pixels at a time.

use core::ops::Range;

use releq_format::graph::{Op, Storage, TensorRecord, Window};

use super::{Kernel, Task, kernel};
use crate::kernels::reference;
use crate::tensor::{self, Input, Sink, pixels_mut};

/// Maximum over windows.
pub const MAXPOOL: Kernel =
    kernel("packed::MAXPOOL", |op, _, _| matches!(op, Op::MaxPool { .. }), maxpool_bytes, maxpool);
/// Mean over windows.
pub const AVGPOOL: Kernel =
    kernel("packed::AVGPOOL", |op, _, _| matches!(op, Op::AvgPool { .. }), avgpool_bytes, avgpool);
/// Residual add of byte codes; other storages take the reference loop.
pub const ADD: Kernel = kernel("packed::ADD", |op, _, _| matches!(op, Op::Add { .. }), |_, _, _| 0, add);

/// Scratch: the largest codes so far and the codes of one pixel.
fn maxpool_bytes(_: &Op, input: &TensorRecord, _: &TensorRecord) -> u32 {
    (2 * u32::from(input.channels)).next_multiple_of(4)
}

fn maxpool(task: Task<'_>) {
    let Op::MaxPool { window } = task.op else { return };
    let channels = usize::from(task.input.record.channels);
    let Some((largest, rest)) = task.scratch.split_at_mut_checked(channels) else { return };
    let Some(codes) = rest.get_mut(..channels) else { return };
    for (y, x, pixel) in pixels_mut(&task.output_record, task.output) {
        largest.fill(0);
        inside(&task.input, window, [y, x], codes, |codes| {
            for (largest, &code) in largest.iter_mut().zip(codes) {
                *largest = code.max(*largest);
            }
        });
        for (index, &code) in largest.iter().enumerate() {
            tensor::store(pixel, task.output_record.storage, index, code);
        }
    }
}

/// Scratch: 32-bit sums and the codes of one pixel.
fn avgpool_bytes(_: &Op, input: &TensorRecord, _: &TensorRecord) -> u32 {
    (5 * u32::from(input.channels)).next_multiple_of(4)
}

fn avgpool(task: Task<'_>) {
    let Op::AvgPool { window, shift, bias, multiplier } = task.op else { return };
    let record = task.input.record;
    let channels = usize::from(record.channels);
    let sink = Sink::new(task.output_record, *shift);
    let Some((sums, rest)) = task.scratch.split_at_mut_checked(4 * channels) else { return };
    let Some(codes) = rest.get_mut(..channels) else { return };
    let (sums, _) = sums.as_chunks_mut::<4>();
    for (y, x, pixel) in pixels_mut(&task.output_record, task.output) {
        sums.fill([0; 4]);
        let mut padded = window.taps() as i32;
        inside(&task.input, window, [y, x], codes, |codes| {
            padded = padded.wrapping_sub(1);
            for (sum, &code) in sums.iter_mut().zip(codes) {
                *sum = i32::from_le_bytes(*sum).wrapping_add(i32::from(code)).to_le_bytes();
            }
        });
        let start = bias.wrapping_add(padded.wrapping_mul(i32::from(record.zero_point)));
        for (index, sum) in sums.iter().enumerate() {
            sink.put(pixel, index, start.wrapping_add(i32::from_le_bytes(*sum)), *multiplier);
        }
    }
}

/// Unpacks each input pixel under the window at output pixel (y, x) that is not padding, and shows it.
fn inside(input: &Input<'_>, window: &Window, [y, x]: [usize; 2], codes: &mut [u8], mut show: impl FnMut(&[u8])) {
    let [top, left, ..] = window.padding;
    let rows = span(y, window.stride[0], top, window.kernel[0], input.record.height);
    let columns = span(x, window.stride[1], left, window.kernel[1], input.record.width);
    for y in rows {
        for x in columns.clone() {
            input.unpack(y, x, codes);
            show(codes);
        }
    }
}

/// The positions under a window that are not padding, along one side.
fn span(output: usize, stride: u8, padding: u8, kernel: u8, size: u16) -> Range<usize> {
    let start = output.wrapping_mul(usize::from(stride));
    let end = start.wrapping_add(usize::from(kernel)).saturating_sub(usize::from(padding));
    start.saturating_sub(usize::from(padding))..end.min(usize::from(size))
}

fn add(task: Task<'_>) {
    let Op::Add { scale } = task.op else { return };
    let bytes = [task.input.record.storage, task.other.record.storage, task.output_record.storage];
    if bytes != [Storage::Bits8; 3] {
        return (reference::ADD.run)(task);
    }
    let bits = task.output_record.bits;
    if task.input.bytes.is_empty() {
        for (left, &right) in task.output.iter_mut().zip(task.other.bytes) {
            *left = scale.apply(*left, right, bits);
        }
        return;
    }
    for ((output, &left), &right) in task.output.iter_mut().zip(task.input.bytes).zip(task.other.bytes) {
        *output = scale.apply(left, right, bits);
    }
}
