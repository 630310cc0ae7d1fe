//! Depthwise 3 × 3: tiles of the image, four channels at a time.

use releq_format::graph::{KernelHint, Op, TensorRecord, Window};
use releq_format::pack::Layout;

use super::asm;
use super::asm::depthwise::{Channel, PLANE_BYTES, Pixels, ROW_BYTES};
use super::plan::{DepthwisePlan, GROUP, TAPS};
use crate::kernels::packed::expand;
use crate::kernels::{Kernel, Task};
use crate::tensor;

/// Depthwise 3 × 3 over bytes, one pixel a step across; every weight width.
pub const DEPTHWISE: Kernel =
    Kernel { name: "dsp::DEPTHWISE", family: KernelHint::DSP, supports, scratch_bytes, run: depthwise };

fn plan(op: &Op, input: &TensorRecord, output: &TensorRecord) -> Option<DepthwisePlan> {
    matches!(op, Op::Depthwise { .. }).then(|| DepthwisePlan::new(op, input, output)).flatten()
}

fn supports(op: &Op, input: &TensorRecord, output: &TensorRecord) -> bool {
    plan(op, input, output).is_some()
}

fn scratch_bytes(op: &Op, input: &TensorRecord, output: &TensorRecord) -> u32 {
    plan(op, input, output).and_then(|plan| plan.scratch_bytes()).unwrap_or(u32::MAX)
}

fn depthwise(task: Task<'_>) {
    let Op::Depthwise { window, weights } = task.op else { return };
    let Some(plan) = DepthwisePlan::new(task.op, &task.input.record, &task.output_record) else { return };
    let Some(matrix) = task.op.matrix(&task.input.record, &task.output_record) else { return };
    let Some((planes, expanded)) = task.scratch.split_at_mut_checked(4 * PLANE_BYTES) else { return };
    let taps: &[u8] = match weights.layout {
        Layout::Bytes => task.codes,
        _ => expand(&matrix, weights.levels, task.codes, expanded),
    };
    let layer = Layer {
        input: task.input.record,
        output: task.output_record,
        codes: task.input.bytes,
        window,
        plan,
        taps,
        constants: task.channels,
        shift: weights.shift,
    };
    let [height, width] = [layer.output.height, layer.output.width].map(usize::from);
    for top in (0..height).step_by(plan.rows.max(1)) {
        for left in (0..width).step_by(plan.columns.max(1)) {
            let size = [plan.rows.min(height - top), plan.columns.min(width - left)];
            layer.tile([top, left], size, planes, task.output);
        }
    }
}

/// What all tiles share.
struct Layer<'a> {
    input: TensorRecord,
    output: TensorRecord,
    codes: &'a [u8],
    window: &'a Window,
    plan: DepthwisePlan,
    /// Signed bytes, a row of channels for each tap.
    taps: &'a [u8],
    constants: &'a [u8],
    shift: u8,
}

impl Layer<'_> {
    /// `size` outputs from row and column `at` on, all channels.
    fn tile(&self, at: [usize; 2], size: [usize; 2], planes: &mut [u8], output: &mut [u8]) {
        // Padding stays where it is from group to group.
        let padding = u16::from(self.input.zero_point).to_le_bytes();
        planes.as_chunks_mut::<2>().0.fill(padding);
        let channels = usize::from(self.input.channels);
        let inside = Inside::of(self, at, size);
        let mut first = 0;
        while first < channels {
            // The last group of an odd number begins early, and does some channels again.
            let group = first.min(channels.saturating_sub(GROUP));
            let start = inside.from.wrapping_mul(channels).wrapping_add(group);
            let pixels = Pixels {
                from: self.codes.get(start..).unwrap_or(&[]),
                pixel_bytes: channels,
                count: inside.size[1],
                rows: inside.size[0],
                row_bytes: usize::from(self.input.width).wrapping_mul(channels),
            };
            asm::depthwise::spread(planes, inside.to, &pixels);
            for (channel, plane) in planes.chunks_exact(PLANE_BYTES).enumerate() {
                self.channel(group + channel, at, size, plane, output);
            }
            first += GROUP;
        }
    }

    fn channel(&self, channel: usize, at: [usize; 2], size: [usize; 2], plane: &[u8], output: &mut [u8]) {
        let channels = usize::from(self.output.channels);
        let Some(constants) = tensor::channels(self.constants.get(8 * channel..).unwrap_or(&[])).next() else { return };
        let mut weights = [0; TAPS * TAPS];
        for (tap, weight) in weights.iter_mut().enumerate() {
            *weight = self.taps.get(tap * channels + channel).map_or(0, |&byte| byte as i8);
        }
        let work = Channel {
            weights,
            bias: constants.bias,
            multiplier: constants.multiplier,
            shift: self.shift,
            zero_point: self.output.zero_point,
            count: size[1],
            rows: size[0],
            stride: self.plan.stride,
        };
        let width = usize::from(self.output.width);
        let start = (at[0] * width + at[1]) * channels + channel;
        let to = output.get_mut(start..).unwrap_or(&mut []);
        asm::depthwise::plane(&work, plane, to, channels, width * channels);
    }
}

/// The part of a tile's input that is no padding.
struct Inside {
    /// Its first pixel in the input, and its first byte in a plane.
    from: usize,
    to: usize,
    /// Rows and columns.
    size: [usize; 2],
}

impl Inside {
    fn of(layer: &Layer<'_>, at: [usize; 2], size: [usize; 2]) -> Self {
        let [top, left, ..] = layer.window.padding.map(usize::from);
        let span = |at: usize, outputs: usize, stride: usize, padding: usize, limit: u16| {
            let start = at * stride;
            let end = (start + (outputs - 1) * stride + TAPS).saturating_sub(padding).min(usize::from(limit));
            let first = start.saturating_sub(padding);
            (first, padding.saturating_sub(start), end.saturating_sub(first))
        };
        let (y, above, rows) = span(at[0], size[0], layer.plan.stride, top, layer.input.height);
        let (x, before, columns) = span(at[1], size[1], 1, left, layer.input.width);
        let from = y * usize::from(layer.input.width) + x;
        Self { from, to: above * ROW_BYTES + 2 * before, size: [rows, columns] }
    }
}
