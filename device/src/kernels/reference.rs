//! The obvious loops: every layer from its definition, one element at a time. The oracle for all other kernels.

use releq_format::graph::{KernelHint, Op, TensorRecord, Window};
use releq_format::quant::Channel;

use super::{Kernel, Task};
use crate::tensor::{self, Input, Sink, pixels_mut};

const fn kernel(name: &'static str, supports: super::Supports, run: fn(Task<'_>)) -> Kernel {
    Kernel { name, family: KernelHint::REFERENCE, supports, scratch_bytes: no_scratch, run }
}

fn no_scratch(_: &Op, _: &TensorRecord, _: &TensorRecord) -> u32 {
    0
}

/// Convolution.
pub const CONV2D: Kernel = kernel("reference::CONV2D", |op, _, _| matches!(op, Op::Conv2d { .. }), weighted);
/// Depthwise convolution.
pub const DEPTHWISE: Kernel = kernel("reference::DEPTHWISE", |op, _, _| matches!(op, Op::Depthwise { .. }), weighted);
/// Fully connected.
pub const DENSE: Kernel = kernel("reference::DENSE", |op, _, _| matches!(op, Op::Dense { .. }), weighted);
/// Maximum over windows.
pub const MAXPOOL: Kernel = kernel("reference::MAXPOOL", |op, _, _| matches!(op, Op::MaxPool { .. }), maxpool);
/// Mean over windows.
pub const AVGPOOL: Kernel = kernel("reference::AVGPOOL", |op, _, _| matches!(op, Op::AvgPool { .. }), avgpool);
/// Channels side by side.
pub const CONCAT: Kernel = kernel("reference::CONCAT", |op, _, _| matches!(op, Op::Concat), concat);
/// Residual add.
pub const ADD: Kernel = kernel("reference::ADD", |op, _, _| matches!(op, Op::Add { .. }), add);

fn weighted(task: Task<'_>) {
    let Some(matrix) = task.op.matrix(&task.input.record, &task.output_record) else { return };
    let Some(weights) = task.op.weights() else { return };
    let window = whole_or_window(task.op, &task.input.record);
    let depthwise = matches!(task.op, Op::Depthwise { .. });
    let sink = Sink::new(task.output_record, weights.shift);
    let in_channels = u32::from(task.input.record.channels);
    for (y, x, pixel) in pixels_mut(&task.output_record, task.output) {
        for (index, Channel { bias, multiplier }) in tensor::channels(task.channels).enumerate() {
            let mut acc = bias;
            for (tap, (iy, ix)) in taps(&window, y, x).enumerate() {
                if depthwise {
                    let weight = matrix.value(task.codes, tap as u32, index as u32).unwrap_or(0);
                    acc = acc.wrapping_add(weight.wrapping_mul(i32::from(task.input.code(iy, ix, index))));
                    continue;
                }
                for channel in 0..in_channels {
                    let column = (tap as u32).wrapping_mul(in_channels).wrapping_add(channel);
                    let weight = matrix.value(task.codes, index as u32, column).unwrap_or(0);
                    acc = acc.wrapping_add(weight.wrapping_mul(i32::from(task.input.code(iy, ix, channel as usize))));
                }
            }
            sink.put(pixel, index, acc, multiplier);
        }
    }
}

/// A window as the loops take it: sizes wide enough for a dense layer's, which covers the whole input.
struct Reach {
    kernel: [usize; 2],
    stride: [usize; 2],
    before: [usize; 2],
}

impl From<&Window> for Reach {
    fn from(window: &Window) -> Self {
        let [top, left, ..] = window.padding;
        Self {
            kernel: window.kernel.map(usize::from),
            stride: window.stride.map(usize::from),
            before: [top, left].map(usize::from),
        }
    }
}

fn whole_or_window(op: &Op, input: &TensorRecord) -> Reach {
    match op {
        Op::Conv2d { window, .. } | Op::Depthwise { window, .. } => Reach::from(window),
        _ => Reach { kernel: [input.height, input.width].map(usize::from), stride: [1; 2], before: [0; 2] },
    }
}

/// The input positions under the window of output pixel (y, x), padding included.
fn taps(window: &Reach, y: usize, x: usize) -> impl Iterator<Item = (isize, isize)> {
    let [height, width] = window.kernel;
    let top = (y.wrapping_mul(window.stride[0])).wrapping_sub(window.before[0]) as isize;
    let left = (x.wrapping_mul(window.stride[1])).wrapping_sub(window.before[1]) as isize;
    (0..height as isize)
        .flat_map(move |ky| (0..width as isize).map(move |kx| (top.wrapping_add(ky), left.wrapping_add(kx))))
}

fn maxpool(task: Task<'_>) {
    let Op::MaxPool { window } = task.op else { return };
    let record = task.input.record;
    let window = Reach::from(window);
    for (y, x, pixel) in pixels_mut(&task.output_record, task.output) {
        for channel in 0..usize::from(record.channels) {
            let inside = |&(y, x): &(isize, isize)| {
                (0..record.height as isize).contains(&y) && (0..record.width as isize).contains(&x)
            };
            let codes = taps(&window, y, x).filter(inside).map(|(y, x)| task.input.code(y, x, channel));
            tensor::store(pixel, task.output_record.storage, channel, codes.max().unwrap_or(0));
        }
    }
}

fn avgpool(task: Task<'_>) {
    let Op::AvgPool { window, shift, bias, multiplier } = task.op else { return };
    let sink = Sink::new(task.output_record, *shift);
    let window = Reach::from(window);
    for (y, x, pixel) in pixels_mut(&task.output_record, task.output) {
        for channel in 0..usize::from(task.output_record.channels) {
            let codes = taps(&window, y, x).map(|(y, x)| i32::from(task.input.code(y, x, channel)));
            let acc = codes.fold(*bias, i32::wrapping_add);
            sink.put(pixel, channel, acc, *multiplier);
        }
    }
}

fn add(task: Task<'_>) {
    let Op::Add { scale } = task.op else { return };
    let storage = task.output_record.storage;
    let in_place = task.input.bytes.is_empty();
    let stride = (task.output_record.pixel_bytes() as usize).max(1);
    for (index, pixel) in task.output.chunks_exact_mut(stride).enumerate() {
        let left = pixel_at(&task.input, index);
        let right = pixel_at(&task.other, index);
        for channel in 0..usize::from(task.output_record.channels) {
            let right = tensor::load(right, task.other.record.storage, channel);
            let left = match in_place {
                true => tensor::load(pixel, storage, channel),
                false => tensor::load(left, task.input.record.storage, channel),
            };
            let code = scale.apply(left, right, task.output_record.bits);
            tensor::replace(pixel, storage, channel, code);
        }
        tensor::clear_padding(pixel, storage, usize::from(task.output_record.channels));
    }
}

fn concat(task: Task<'_>) {
    let sources = [task.input, task.other];
    for (y, x, pixel) in pixels_mut(&task.output_record, task.output) {
        let codes = sources.iter().flat_map(|source| {
            let channels = 0..usize::from(source.record.channels);
            channels.map(move |channel| source.code(y as isize, x as isize, channel))
        });
        for (index, code) in codes.enumerate() {
            tensor::store(pixel, task.output_record.storage, index, code);
        }
    }
}

/// The bytes of the `index`-th pixel in storage order.
fn pixel_at<'a>(input: &Input<'a>, index: usize) -> &'a [u8] {
    let width = usize::from(input.record.width).max(1);
    input.pixels(index / width, index % width, 1)
}
