//! Convolution with few bits, three taps wide: 1-D convolutions along lines, several products in one multiplication.
//!
//! A round makes some lines of outputs. Input rows are spaced once and kept in a ring, the weights of each pair of rows
//! are spaced once a round. Sums over codes become sums over weights as everywhere: w = gain · code − offset, and Σ a
//! under each window comes from the sums of its columns.

use releq_format::graph::{Op, Storage, TensorRecord, Window};

use super::asm::{self, Codes, LineSettle, Lines, Program, Settle};
use super::line_plan::{LinePlan, MOST_CHANNELS as PADDING, MOST_ROWS};
use super::plan::{QUAD, TAPS};
use super::rows::Planes;
use crate::kernels::Task;
use crate::tensor::{self, Input};

/// Runs a convolution that has a plan.
pub(super) fn conv2d(task: Task<'_>, plan: &LinePlan) {
    let Op::Conv2d { window, weights } = task.op else { return };
    let Some(matrix) = task.op.matrix(&task.input.record, &task.output_record) else { return };
    let Some(mut scratch) = Scratch::split(plan, task.scratch) else { return };
    let (gain, offset) = weights.levels.affine(weights.bits);
    let record = task.output_record;
    let settle = Settle {
        corrections: [0; 2],
        scale: gain.trailing_zeros(),
        shift: weights.shift,
        zero_point: record.zero_point,
    };
    let planes = Planes::of(&matrix);
    let channels = usize::from(task.input.record.channels);
    let program = Program::new(plan.runs(), plan.fields);
    let round = Round { plan, window, record, channels, program, settle, offset, planes };
    let mut spacer = Spacer { plan, input: task.input, window, next: 0 };
    let line_bytes = (record.pixel_bytes() as usize).wrapping_mul(usize::from(record.width)).max(1);
    let mut first = 0;
    for output in task.output.chunks_mut(line_bytes.wrapping_mul(plan.lines).max(1)) {
        let lines = output.len() / line_bytes;
        output.fill(0);
        spacer.reach(first, lines, &mut scratch);
        for line in 0..lines {
            round.correct(first + line, line, &mut scratch);
        }
        let mut constants = tensor::channels(task.channels);
        for (pair, words) in task.codes.chunks_exact(planes.bytes().max(1)).enumerate() {
            round.weave(words, &mut scratch);
            let mut next = || constants.next().map_or([0; 2], |channel| [channel.bias, channel.multiplier]);
            let ([bias, multiplier], [odd_bias, odd_multiplier]) = (next(), next());
            let constants = [bias, multiplier, odd_bias, odd_multiplier];
            round.pair([first, lines], pair, constants, output, &mut scratch);
        }
        first += lines;
    }
}

/// The pieces of a layer's scratch.
struct Scratch<'a> {
    /// A ring of spaced input rows, and the sums of their columns over all channels.
    spaced: &'a mut [u8],
    column_sums: &'a mut [u8],
    /// Spaced taps of one pair of weight rows; before these, an unpacked input row.
    taps: &'a mut [u8],
    /// Byte lanes of a pair whose taps are not spaced straight from their plane.
    lanes: &'a mut [u8],
    sums: &'a mut [u8],
    corrections: &'a mut [u8],
}

impl<'a> Scratch<'a> {
    fn split(plan: &LinePlan, scratch: &'a mut [u8]) -> Option<Self> {
        let parts = plan.parts();
        let (spaced, rest) = scratch.split_at_mut_checked(parts[0])?;
        let (column_sums, rest) = rest.split_at_mut_checked(parts[1])?;
        let (taps, rest) = rest.split_at_mut_checked(parts[2])?;
        let (lanes, rest) = rest.split_at_mut_checked(parts[3])?;
        let (sums, rest) = rest.split_at_mut_checked(parts[4])?;
        let corrections = rest.get_mut(..parts[5])?;
        Some(Self { spaced, column_sums, taps, lanes, sums, corrections })
    }
}

/// Spaces input rows, padding included, as rounds need them.
struct Spacer<'a> {
    plan: &'a LinePlan,
    input: Input<'a>,
    window: &'a Window,
    /// First padded row not spaced yet.
    next: usize,
}

impl Spacer<'_> {
    /// Spaces all rows under `lines` lines from `first` on.
    fn reach(&mut self, first: usize, lines: usize, scratch: &mut Scratch<'_>) {
        let stride = usize::from(self.window.stride[0]);
        let start = first.wrapping_mul(stride);
        let end =
            (first + lines).saturating_sub(1).wrapping_mul(stride).wrapping_add(usize::from(self.window.kernel[0]));
        for padded in self.next.max(start)..end {
            self.space(padded, scratch);
        }
        self.next = end;
    }

    fn space(&self, padded: usize, scratch: &mut Scratch<'_>) {
        let record = &self.input.record;
        let channels = usize::from(record.channels).max(1);
        let slot = padded % self.plan.slots.max(1);
        let row_bytes = self.plan.row_bytes();
        let spaced = scratch.spaced.get_mut(slot.wrapping_mul(row_bytes)..).and_then(|rest| rest.get_mut(..row_bytes));
        let sums_bytes = self.plan.column_sums_bytes();
        let sums = scratch.column_sums.get_mut(slot.wrapping_mul(sums_bytes)..).unwrap_or(&mut []);
        let row = usize::from(record.width).wrapping_mul(channels);
        let y = padded.wrapping_sub(usize::from(self.window.padding[0]));
        let codes: &[u8] = match y < usize::from(record.height) {
            false => &[],
            true if record.storage == Storage::Bits8 => self.input.pixels(y, 0, usize::from(record.width)),
            true => {
                let unpacked = scratch.taps.get_mut(..row).unwrap_or(&mut []);
                self.input.unpack(y, 0, unpacked);
                unpacked
            }
        };
        let spaced = spaced.unwrap_or(&mut []);
        let (spacing, pixels) = self.plan.fields.places();
        let before = usize::from(self.window.padding[1]).wrapping_sub(self.plan.skipped);
        let padding = [record.zero_point; PADDING];
        let mut sums = sums.as_chunks_mut::<2>().0.iter_mut().take(self.plan.width);
        let mut x = 0;
        for pair in spaced.chunks_exact_mut((8 * channels).max(1)) {
            for half in 0..2 {
                let mut block: [&[u8]; 4] = [&NOTHING; 4];
                for (place, pixel) in block.iter_mut().enumerate().take(pixels) {
                    let at = (x + place).wrapping_sub(before).wrapping_mul(channels);
                    let inside = codes.get(at..).filter(|rest| rest.len() >= channels);
                    match inside {
                        Some(codes) => *pixel = codes,
                        None if x + place < self.plan.width => *pixel = &padding,
                        None => {}
                    }
                }
                let to = pair.get_mut(4 * half..).unwrap_or(&mut []);
                let block = block.get(..pixels).unwrap_or(&[]);
                let totals = asm::space_pixels(to, block, channels / QUAD, spacing);
                for (sum, total) in sums.by_ref().zip(totals).take(pixels) {
                    *sum = (total as u16).to_le_bytes();
                }
                x += pixels;
            }
        }
    }
}

/// What all lines share.
struct Round<'a> {
    plan: &'a LinePlan,
    window: &'a Window,
    record: TensorRecord,
    channels: usize,
    program: Program,
    settle: Settle,
    offset: i32,
    planes: Planes,
}

impl Round<'_> {
    /// Spaces the taps of the pair of rows at `words`.
    fn weave(&self, words: &[u8], scratch: &mut Scratch<'_>) {
        let (spacing, _) = self.plan.fields.places();
        let rows = usize::from(self.window.kernel[0]);
        if let Some(width) = self.planes.only().filter(|_| self.plan.weaves_plane) {
            return asm::weave_plane(scratch.taps, words, [rows, self.channels], width, spacing);
        }
        self.planes.expand(words, 0, scratch.lanes);
        let tap_bytes = 2 * self.channels;
        let taps = scratch.taps.chunks_exact_mut((8 * self.channels).max(1));
        for (to, lanes) in taps.zip(scratch.lanes.chunks_exact((TAPS * tap_bytes).max(1))).take(rows) {
            let tap = |index: usize| lanes.get(index * tap_bytes..).unwrap_or(&[]);
            asm::weave_taps(to, [tap(0), tap(1), tap(2)], self.channels / QUAD, spacing);
        }
    }

    /// `lines` lines of outputs, from line `first` on, of the pair of weight rows whose taps are ready.
    fn pair(
        &self,
        [first, lines]: [usize; 2],
        pair: usize,
        channels: [i32; 4],
        output: &mut [u8],
        scratch: &mut Scratch<'_>,
    ) {
        let stride = usize::from(self.window.stride[0]);
        let (row_bytes, slots) = (self.plan.row_bytes(), self.plan.slots);
        let mut rows: [&[u8]; MOST_ROWS] = [&[]; MOST_ROWS];
        let mut slot = first.wrapping_mul(stride).checked_rem(slots).unwrap_or(0);
        for row in rows.iter_mut().take(slots) {
            *row = scratch.spaced.get(slot.wrapping_mul(row_bytes)..).unwrap_or(&[]);
            slot = if slot + 1 < slots { slot + 1 } else { 0 };
        }
        let (_, pixels) = self.plan.fields.places();
        let work = Lines {
            weights: scratch.taps,
            rows: rows.get(..slots).unwrap_or(&[]),
            stride,
            pixels,
            program: &self.program,
            blocks: self.plan.blocks,
            // The window of output x starts at padded column x, where field TAPS − 1 of a block is complete.
            first: (TAPS - 1).saturating_sub(self.plan.skipped),
            lines,
        };
        let (byte, codes, most) = self.place(pair);
        let mut settle = LineSettle {
            settle: self.settle,
            corrections: scratch.corrections,
            channels,
            output: output.get_mut(byte..).unwrap_or(&mut []),
            pixel_bytes: self.record.pixel_bytes() as usize,
            width: usize::from(self.record.width),
            codes,
            most,
        };
        asm::lines(&work, scratch.sums, &mut settle);
    }

    /// −offset · Σ a under each window of line `y`, the `line`-th of a round, shifted as accumulators are.
    fn correct(&self, y: usize, line: usize, scratch: &mut Scratch<'_>) {
        let first = y.wrapping_mul(usize::from(self.window.stride[0]));
        let sums_bytes = self.plan.column_sums_bytes();
        let column = |x: usize| {
            let x = x.wrapping_sub(self.plan.skipped);
            if x >= self.plan.width {
                return 0;
            }
            (0..usize::from(self.window.kernel[0])).fold(0i32, |sum, ky| {
                let slot = first.wrapping_add(ky) % self.plan.slots.max(1);
                let at = slot.wrapping_mul(sums_bytes).wrapping_add(2 * x);
                let bytes = scratch.column_sums.get(at..).and_then(|rest| rest.first_chunk::<2>());
                sum.wrapping_add(bytes.map_or(0, |bytes| i32::from(u16::from_le_bytes(*bytes))))
            })
        };
        let bytes = 4 * usize::from(self.record.width);
        let corrections = scratch.corrections.get_mut(line.wrapping_mul(bytes)..).and_then(|rest| rest.get_mut(..bytes));
        let factor = self.offset.wrapping_neg().wrapping_shl(u32::from(self.settle.shift));
        let mut columns = [column(0), column(1), 0];
        for (x, correction) in corrections.unwrap_or(&mut []).as_chunks_mut::<4>().0.iter_mut().enumerate() {
            columns[2] = column(x + 2);
            let sum = columns.iter().fold(0i32, |sum, &column| sum.wrapping_add(column));
            *correction = factor.wrapping_mul(sum).to_le_bytes();
            columns = [columns[1], columns[2], 0];
        }
    }

    /// Where the codes of a pair of rows go: the first byte of a pixel, how, and their largest.
    fn place(&self, pair: usize) -> (usize, Codes, [u8; 2]) {
        let bits = self.record.bits;
        // The partner of a last odd row is no channel; its code must not show in the padding.
        let partner = 2 * pair + 1 < usize::from(self.record.channels);
        let most = [bits.max_code(), if partner { bits.max_code() } else { 0 }];
        let (log_lanes, width) = match self.record.storage {
            Storage::Bits8 | Storage::Logits if partner => {
                return (2 * pair, if bits.get() == 8 { Codes::Bytes } else { Codes::Limited }, most);
            }
            Storage::Bits8 | Storage::Logits => (0, 8),
            Storage::Bits4 => (1, 4),
            Storage::Bits2 => (2, 2),
            Storage::Bits1 => (3, 1),
        };
        let place = 2 * pair * width & 7;
        (2 * pair >> log_lanes, Codes::Shared { places: [1 << place, 1 << (place + width)] }, most)
    }
}

/// What a pixel beyond the padding reads, for as many channels as lines take.
static NOTHING: [u8; PADDING] = [0; PADDING];
