//! Pooling and residual add: whole pixels at a time.

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
        for (iy, ix) in inside(&task.input, window, y, x) {
            task.input.unpack(iy, ix, codes);
            for (largest, &code) in largest.iter_mut().zip(codes.iter()) {
                *largest = code.max(*largest);
            }
        }
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
        for (iy, ix) in inside(&task.input, window, y, x) {
            padded = padded.wrapping_sub(1);
            task.input.unpack(iy, ix, codes);
            for (sum, &code) in sums.iter_mut().zip(codes.iter()) {
                *sum = i32::from_le_bytes(*sum).wrapping_add(i32::from(code)).to_le_bytes();
            }
        }
        let start = bias.wrapping_add(padded.wrapping_mul(i32::from(record.zero_point)));
        for (index, sum) in sums.iter().enumerate() {
            sink.put(pixel, index, start.wrapping_add(i32::from_le_bytes(*sum)), *multiplier);
        }
    }
}

/// The input positions under the window at output pixel (y, x) that are not padding.
fn inside(input: &Input<'_>, window: &Window, y: usize, x: usize) -> impl Iterator<Item = (usize, usize)> + use<> {
    let span = |output: usize, stride: u8, padding: u8, kernel: u8, size: u16| {
        let start = output.wrapping_mul(usize::from(stride));
        let end = start.wrapping_add(usize::from(kernel)).saturating_sub(usize::from(padding));
        start.saturating_sub(usize::from(padding))..end.min(usize::from(size))
    };
    let [top, left, ..] = window.padding;
    let rows = span(y, window.stride[0], top, window.kernel[0], input.record.height);
    let columns = span(x, window.stride[1], left, window.kernel[1], input.record.width);
    rows.flat_map(move |y| columns.clone().map(move |x| (y, x)))
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
