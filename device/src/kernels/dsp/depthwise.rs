//! Depthwise 3 × 3: tiles of the image, four channels at a time.

use releq_format::graph::{KernelHint, Op, TensorRecord, Window};
use releq_format::quant::Channel;

use super::asm;
use super::asm::depthwise::Outputs;
use super::asm::spread::{LINE_BYTES, Pixels, ROW_BYTES};
use super::asm::taps::WORDS;
use super::finish;
use super::plan::{DepthwisePlan, GROUP, PLANES_BYTES, TAPS};
use super::taps::Taps;
use crate::kernels::{Kernel, Task};
use crate::tensor;

/// Depthwise 3 × 3, one or two pixels a step across; every width of weights and codes.
pub const DEPTHWISE: Kernel =
    Kernel { name: "dsp::DEPTHWISE", family: KernelHint::DSP, supports, scratch_bytes, run: depthwise };

fn supports(op: &Op, input: &TensorRecord, output: &TensorRecord) -> bool {
    DepthwisePlan::new(op, input, output).is_some()
}

fn scratch_bytes(op: &Op, input: &TensorRecord, output: &TensorRecord) -> u32 {
    DepthwisePlan::new(op, input, output).and_then(|plan| plan.scratch_bytes()).unwrap_or(u32::MAX)
}

fn depthwise(task: Task<'_>) {
    let Op::Depthwise { window, weights } = task.op else { return };
    let Some(plan) = DepthwisePlan::new(task.op, &task.input.record, &task.output_record) else { return };
    let Some(matrix) = task.op.matrix(&task.input.record, &task.output_record) else { return };
    let Some((planes, staging)) = task.scratch.split_at_mut_checked(PLANES_BYTES) else { return };
    let layer = Layer {
        input: task.input.record,
        output: task.output_record,
        codes: task.input.bytes,
        window,
        plan,
        taps: Taps::new(weights, &matrix, task.codes),
        constants: task.channels,
    };
    let [height, width] = [layer.output.height, layer.output.width].map(usize::from);
    for top in (0..height).step_by(plan.rows.max(1)) {
        for left in (0..width).step_by(plan.columns.max(1)) {
            let size = [plan.rows.min(height - top), plan.columns.min(width - left)];
            layer.tile([top, left], size, planes, staging, task.output);
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
    taps: Taps<'a>,
    constants: &'a [u8],
}

impl Layer<'_> {
    /// `size` outputs from row and column `at` on, all channels.
    fn tile(&self, at: [usize; 2], size: [usize; 2], planes: &mut [u8], staging: &mut [u8], output: &mut [u8]) {
        // Padding stays where it is from group to group.
        let padding = u16::from(self.input.zero_point).to_le_bytes();
        planes.as_chunks_mut::<4>().0.fill([padding[0], 0, padding[0], 0]);
        let channels = usize::from(self.input.channels);
        let inside = Inside::of(self, at, size);
        let width = usize::from(self.output.width);
        let mut first = 0;
        while first < channels {
            // The last group of an odd number begins early, and does some channels again.
            let group = first.min(channels.saturating_sub(GROUP));
            asm::spread::spread(planes, inside.to, &self.pixels(group, &inside));
            if self.plan.staged {
                self.group(group, size, planes, staging, [GROUP, GROUP * self.plan.columns]);
                self.pack(group, at, size, staging, output);
            } else {
                let start = (at[0] * width + at[1]) * channels + group;
                self.group(
                    group,
                    size,
                    planes,
                    output.get_mut(start..).unwrap_or(&mut []),
                    [channels, width * channels],
                );
            }
            first += GROUP;
        }
    }

    /// The channels from `group` on of what lies under a tile.
    fn pixels(&self, group: usize, inside: &Inside) -> Pixels<'_> {
        let pixel_bytes = self.input.pixel_bytes() as usize;
        let bit = group * self.input.storage.bits() as usize;
        Pixels {
            from: self.codes.get(inside.from.wrapping_mul(pixel_bytes).wrapping_add(bit / 8)..).unwrap_or(&[]),
            storage: self.input.storage,
            upper: bit % 8 != 0,
            pixel_bytes,
            count: inside.size[1],
            rows: inside.size[0],
            row_bytes: usize::from(self.input.width).wrapping_mul(pixel_bytes),
        }
    }

    /// Four channels over their planes, to bytes `steps` apart from pixel to pixel and from row to row.
    fn group(&self, group: usize, size: [usize; 2], planes: &mut [u8], output: &mut [u8], steps: [usize; 2]) {
        let mut weights = [[0; WORDS]; GROUP];
        self.taps.lanes(group, &mut weights);
        let mut constants = [Channel { bias: 0, multiplier: 0 }; GROUP];
        let mut doublings = [0; GROUP];
        let channels = tensor::channels(self.constants.get(8 * group..).unwrap_or(&[]));
        for ((to, doublings), channel) in constants.iter_mut().zip(&mut doublings).zip(channels) {
            // Hardly ever is a multiplier so large that it has no room for what weights left of the shift.
            let room = channel.multiplier.leading_zeros().saturating_sub(1).min(self.taps.rest);
            *doublings = self.taps.rest - room;
            to.bias = self.taps.bias(channel.bias).wrapping_shl(self.taps.rest - room);
            to.multiplier = channel.multiplier.wrapping_shl(room);
        }
        let shifts = doublings != [0; GROUP];
        if shifts {
            shift_codes(planes, &doublings, u32::wrapping_shl);
        }
        let outputs = Outputs {
            count: size[1],
            rows: size[0],
            stride: self.plan.stride,
            across: self.plan.across,
            pixel_bytes: steps[0],
            row_bytes: steps[1],
            zero_point: self.output.zero_point,
        };
        asm::depthwise::planes(&outputs, &weights, &constants, planes, output);
        if shifts {
            shift_codes(planes, &doublings, u32::wrapping_shr);
        }
    }

    /// Four channels of a tile from bytes to how the output stores them.
    fn pack(&self, group: usize, at: [usize; 2], size: [usize; 2], staged: &[u8], output: &mut [u8]) {
        let pixel_bytes = (self.output.pixel_bytes() as usize).max(1);
        let bit = group * self.output.storage.bits() as usize;
        let rows = staged.chunks_exact((GROUP * self.plan.columns).max(1)).take(size[0]);
        for (y, row) in (at[0]..).zip(rows) {
            let start = (y * usize::from(self.output.width) + at[1]) * pixel_bytes + bit / 8;
            let to = output.get_mut(start..).unwrap_or(&mut []);
            let row = row.get(..GROUP * size[1]).unwrap_or(&[]);
            if asm::pack_fours(to, pixel_bytes, row, self.output.storage, self.output.bits.max_code()) {
                continue;
            }
            for (pixel, codes) in to.chunks_mut(pixel_bytes).zip(row.as_chunks::<GROUP>().0) {
                finish::write_four(&self.output, pixel, *codes, bit % 8 != 0);
            }
        }
    }
}

/// Shifts all codes of each channel, two a word.
#[cold]
fn shift_codes(planes: &mut [u8], by: &[u32; GROUP], shift: fn(u32, u32) -> u32) {
    for (row, &by) in planes.as_chunks_mut::<ROW_BYTES>().0.iter_mut().zip(by.iter().cycle()) {
        for codes in row.as_chunks_mut::<4>().0 {
            *codes = shift(u32::from_le_bytes(*codes), by).to_le_bytes();
        }
    }
}

/// The part of a tile's input that is no padding.
struct Inside {
    /// Its first pixel in the input, and its first byte in a channel's plane.
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
        let (x, before, columns) = span(at[1], size[1], layer.plan.across, left, layer.input.width);
        let from = y * usize::from(layer.input.width) + x;
        Self { from, to: above * LINE_BYTES + 2 * before, size: [rows, columns] }
    }
}
