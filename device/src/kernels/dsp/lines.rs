//! Convolution with few bits, three taps wide: 1-D convolutions along lines, several products in one multiplication.
//!
//! A round makes some lines of outputs. Input rows are spaced once and kept in a ring, the weights of each pair of rows
//! are spaced once a round. Sums over codes become sums over weights as everywhere: w = gain · code − offset, and Σ a
//! under each window comes from the sums of its columns.

use releq_format::graph::{Op, Storage, TensorRecord, Weights, Window};

use super::asm::{self, Codes, LineParts, Lines, Pair, PlaneWeaver, Program, Settle, Source, Spacing};
use super::line_plan::{Fields, LinePlan, centred_affine, middle};
use super::plan::{QUAD, TAPS};
use super::rows::Planes;
use super::weaving::Weaving;
use crate::kernels::Task;
use crate::tensor::{self, Input};

/// Runs a convolution that has a plan.
pub(super) fn conv2d(task: Task<'_>, plan: &LinePlan) {
    let Op::Conv2d { window, weights } = task.op else { return };
    let Some(matrix) = task.op.matrix(&task.input.record, &task.output_record) else { return };
    let Some(mut scratch) = Scratch::split(plan, task.scratch) else { return };
    let centre = (plan.fields == Fields::Centred).then(|| Centre::new(weights, plan, &task.input.record));
    let (gain, offset) = if centre.is_some() { centred_affine(weights) } else { weights.levels.affine(weights.bits) };
    let record = task.output_record;
    let settle = Settle {
        corrections: [0; 2],
        scale: gain.trailing_zeros(),
        shift: weights.shift,
        zero_point: record.zero_point,
    };
    let channels = usize::from(task.input.record.channels);
    let size = [usize::from(window.kernel[0]), channels];
    let (spacing, pixels) = plan.fields.places();
    let weaver = |(plane, taps)| Some((plane, PlaneWeaver::new(taps, size, plan.fields)?));
    let weavers = match plan.weaving {
        Weaving::Lanes => [None; 2],
        Weaving::Plane(taps) => [weaver((0, taps)), None],
        Weaving::Halves(halves) => halves.map(weaver),
    };
    let program = Program::new(plan.runs(), plan.fields);
    let places = Places::of(&record);
    let planes = Planes::of(&matrix);
    let layer =
        Layer { plan, window, record, channels, program: &program, settle, offset, centre, planes, weavers, places };
    let how = match centre {
        Some(_) if plan.nibbles => Spaced::Centred(Source::Nibbles),
        Some(centre) => Spaced::Centred(Source::Bytes(centre.code as u8)),
        None => match Spacing::new(pixels, channels, spacing) {
            Some(spacing) => Spaced::Blocks(spacing),
            None => return,
        },
    };
    let mut spacer = Spacer { plan, input: task.input, window, how, next: 0 };
    let line_bytes = (record.pixel_bytes() as usize).wrapping_mul(usize::from(record.width)).max(1);
    let mut first = 0;
    for output in task.output.chunks_mut(line_bytes.wrapping_mul(plan.lines).max(1)) {
        let lines = output.len() / line_bytes;
        spacer.reach(first, lines, &mut scratch);
        layer.round([first, lines], [task.codes, task.channels], output, &mut scratch);
        first += lines;
    }
}

/// The pieces of a layer's scratch.
struct Scratch<'a> {
    /// A ring of spaced input rows, and the sums of their columns over all channels.
    spaced: &'a mut [u8],
    column_sums: &'a mut [u8],
    /// Spaced taps of one pair of weight rows; before these, a padded input row.
    taps: &'a mut [u8],
    /// Byte lanes of a pair whose taps are not spaced straight from their plane.
    lanes: &'a mut [u8],
    sums: &'a mut [u8],
    corrections: &'a mut [u8],
    /// What centred codes add to each channel, once a round has found it.
    constants: &'a mut [u8],
}

impl<'a> Scratch<'a> {
    fn split(plan: &LinePlan, scratch: &'a mut [u8]) -> Option<Self> {
        let parts = plan.parts();
        let (spaced, rest) = scratch.split_at_mut_checked(parts[0])?;
        let (column_sums, rest) = rest.split_at_mut_checked(parts[1])?;
        let (taps, rest) = rest.split_at_mut_checked(parts[2])?;
        let (lanes, rest) = rest.split_at_mut_checked(parts[3])?;
        let (sums, rest) = rest.split_at_mut_checked(parts[4])?;
        let (corrections, rest) = rest.split_at_mut_checked(parts[5])?;
        let constants = rest.get_mut(..parts[6])?;
        Some(Self { spaced, column_sums, taps, lanes, sums, corrections, constants })
    }
}

/// How rows are spaced.
enum Spaced {
    /// Block by block.
    Blocks(Spacing),
    /// Whole rows of codes less their middle.
    Centred(Source),
}

/// Spaces input rows, padding included, as rounds need them.
struct Spacer<'a> {
    plan: &'a LinePlan,
    input: Input<'a>,
    window: &'a Window,
    how: Spaced,
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

    fn space(&mut self, padded: usize, scratch: &mut Scratch<'_>) {
        let record = &self.input.record;
        let channels = usize::from(record.channels).max(1);
        let slot = padded % self.plan.slots.max(1);
        let row_bytes = self.plan.row_bytes();
        let spaced = scratch.spaced.get_mut(slot.wrapping_mul(row_bytes)..).and_then(|rest| rest.get_mut(..row_bytes));
        let sums_bytes = self.plan.column_sums_bytes();
        let sums = scratch.column_sums.get_mut(slot.wrapping_mul(sums_bytes)..);
        let sums = sums.and_then(|rest| rest.get_mut(..sums_bytes)).unwrap_or(&mut []);
        let (_, pixels) = self.plan.fields.places();
        let row = scratch.taps.get_mut(..self.plan.padded_bytes()).unwrap_or(&mut []);
        let pixel_bytes = self.plan.pixel_bytes();
        let y = padded.wrapping_sub(usize::from(self.window.padding[0]));
        let as_stored = (record.storage == Storage::Bits8 || self.plan.nibbles)
            && y < usize::from(record.height)
            && row.len() == usize::from(record.width).wrapping_mul(pixel_bytes);
        let mut codes: &[u8] = if as_stored {
            self.input.pixels(y, 0, usize::from(record.width))
        } else {
            self.pad(y, pixel_bytes, row);
            row
        };
        let spaced = spaced.unwrap_or(&mut []);
        let spacing = match &mut self.how {
            Spaced::Centred(source) => {
                return asm::space_row(spaced, codes, sums, [channels, self.plan.blocks], *source);
            }
            Spaced::Blocks(spacing) => spacing,
        };
        // Columns left out come to nothing.
        sums.fill(0);
        let mut sums = sums.as_chunks_mut::<2>().0.iter_mut().skip(self.plan.skipped).take(self.plan.width);
        for pair in spaced.chunks_exact_mut((8 * channels).max(1)) {
            for half in 0..2 {
                let to = pair.get_mut(4 * half..).unwrap_or(&mut []);
                for (total, sum) in spacing.run(to, codes).iter().zip(sums.by_ref()) {
                    *sum = (*total as u16).to_le_bytes();
                }
                codes = codes.get(pixels * pixel_bytes..).unwrap_or(&[]);
            }
        }
    }

    /// The codes of row `y`, padded but for columns left out, and zeros up to the end of the last block.
    fn pad(&self, y: usize, pixel_bytes: usize, row: &mut [u8]) {
        let record = &self.input.record;
        let inside = usize::from(record.width).wrapping_mul(pixel_bytes);
        let before = usize::from(self.window.padding[1]).wrapping_sub(self.plan.skipped).wrapping_mul(pixel_bytes);
        let padded = if self.plan.nibbles { record.zero_point | record.zero_point << 4 } else { record.zero_point };
        let (padding, beyond) = row.split_at_mut_checked(self.plan.width.wrapping_mul(pixel_bytes)).unwrap_or_default();
        beyond.fill(0);
        if y >= usize::from(record.height) {
            return padding.fill(padded);
        }
        let (left, rest) = padding.split_at_mut_checked(before).unwrap_or_default();
        let (codes, right) = rest.split_at_mut_checked(inside).unwrap_or_default();
        left.fill(padded);
        let stored = self.input.pixels(y, 0, usize::from(record.width));
        if self.plan.nibbles {
            tensor::copy(codes, stored);
        } else if record.storage == Storage::Bits4 && record.channels.is_multiple_of(8) {
            asm::unpack_nibbles(codes, stored);
        } else {
            self.input.unpack(y, 0, codes);
        }
        right.fill(padded);
    }
}

/// What is taken off codes, so that products are signed, and what makes up for it.
#[derive(Clone, Copy)]
struct Centre {
    /// The middle of activation codes, and of weight codes.
    code: i32,
    weight: u8,
    /// What sums have too much after all emptyings.
    filled: i32,
    gain: i32,
}

impl Centre {
    fn new(weights: &Weights, plan: &LinePlan, input: &TensorRecord) -> Self {
        Self {
            code: middle(input.bits),
            weight: middle(weights.bits) as u8,
            filled: asm::FILL.wrapping_mul(plan.counts().1 as i32),
            gain: weights.levels.affine(weights.bits).0,
        }
    }

    /// What two rows' accumulators lack: the middle of activations times all weights, less what fields were filled with.
    fn constants(&self, taps: &[u8]) -> [i32; 2] {
        let lacks = |sum: i32| self.gain.wrapping_mul(self.code.wrapping_mul(sum).wrapping_sub(self.filled));
        asm::tap_sums(taps).map(lacks)
    }
}

/// What all rounds share.
struct Layer<'a> {
    plan: &'a LinePlan,
    window: &'a Window,
    record: TensorRecord,
    channels: usize,
    program: &'a Program,
    settle: Settle,
    /// Taken off accumulators once for each activation; of weights' codes, or of those less their middle.
    offset: i32,
    centre: Option<Centre>,
    planes: Planes,
    /// What spaces taps straight from planes, one a pass, with the plane's index; none where byte lanes come first.
    weavers: [Option<(usize, PlaneWeaver)>; 2],
    places: Places,
}

impl Layer<'_> {
    /// `lines` lines of outputs from line `first` on, of all pairs of rows.
    fn round(
        &self,
        [first, lines]: [usize; 2],
        [codes, channels]: [&[u8]; 2],
        output: &mut [u8],
        scratch: &mut Scratch<'_>,
    ) {
        for line in 0..lines {
            if self.plan.summed {
                self.correct(first + line, line, scratch);
            }
        }
        let (stride, slots) = (usize::from(self.window.stride[0]), self.plan.slots);
        let parts = LineParts {
            spaced: scratch.spaced,
            row_bytes: self.plan.row_bytes(),
            slots,
            slot: first.wrapping_mul(stride).checked_rem(slots).unwrap_or(0),
            stride,
            pixels: self.plan.fields.places().1,
            blocks: self.plan.blocks,
            program: self.program,
            lines,
            sums: scratch.sums,
            // The window of output x starts at padded column x, where field TAPS − 1 of a block is complete.
            first: (TAPS - 1).saturating_sub(self.plan.skipped),
            corrections: scratch.corrections,
            centred: self.centre.is_some(),
            width: usize::from(self.record.width),
            pixel_bytes: self.record.pixel_bytes() as usize,
            settle: &self.settle,
        };
        let Some(mut round) = Lines::new(parts) else { return };
        if self.places.shares {
            output.fill(0);
        }
        let mut constants = tensor::channels(channels);
        let mut next = || constants.next().map_or([0; 2], |channel| [channel.bias, channel.multiplier]);
        let mut lacking = scratch.constants.as_chunks_mut::<8>().0.iter_mut();
        for (pair, words) in codes.chunks_exact(self.planes.bytes().max(1)).enumerate() {
            self.weave(words, scratch.taps, scratch.lanes);
            let ([mut bias, multiplier], [mut odd_bias, odd_multiplier]) = (next(), next());
            if let Some((centre, constants)) = self.centre.as_ref().zip(lacking.next()) {
                if first == 0 {
                    let taps = scratch.taps.get(..self.plan.pass_bytes()).unwrap_or(&[]);
                    *constants = words_of(centre.constants(taps));
                }
                let [even, odd] = of_words(*constants);
                (bias, odd_bias) = (bias.wrapping_add(even), odd_bias.wrapping_add(odd));
            }
            round.run(scratch.taps, &mut self.pair(pair, [bias, multiplier, odd_bias, odd_multiplier], output));
        }
    }

    /// Spaces the taps of the pair of rows at `words`.
    fn weave(&self, words: &[u8], taps: &mut [u8], lanes: &mut [u8]) {
        match &self.weavers {
            [None, _] => {}
            [Some((_, weaver)), None] => return weaver.run(taps, words),
            [Some((upper_plane, upper)), Some((lower_plane, lower))] => {
                let (first, last) = taps.split_at_mut_checked(self.plan.pass_bytes()).unwrap_or_default();
                upper.run(first, self.planes.words(words, *upper_plane));
                return lower.run(last, self.planes.words(words, *lower_plane));
            }
        }
        let (spacing, _) = self.plan.fields.places();
        let middle = self.centre.map_or(0, |centre| centre.weight);
        let rows = usize::from(self.window.kernel[0]);
        self.planes.expand(words, 0, lanes);
        let tap_bytes = 2 * self.channels;
        let taps = taps.chunks_exact_mut((8 * self.channels).max(1));
        for (to, lanes) in taps.zip(lanes.chunks_exact((TAPS * tap_bytes).max(1))).take(rows) {
            let tap = |index: usize| lanes.get(index * tap_bytes..).unwrap_or(&[]);
            asm::weave_taps(to, [tap(0), tap(1), tap(2)], self.channels / QUAD, spacing, middle);
        }
    }

    /// −offset · Σ a under each window of line `y`, the `line`-th of a round, shifted as accumulators are.
    fn correct(&self, y: usize, line: usize, scratch: &mut Scratch<'_>) {
        let first = y.wrapping_mul(usize::from(self.window.stride[0]));
        let (bytes, sums_bytes) = (4 * usize::from(self.record.width), self.plan.column_sums_bytes());
        let corrections = scratch.corrections.get_mut(line.wrapping_mul(bytes)..);
        let corrections = corrections.and_then(|rest| rest.get_mut(..bytes)).unwrap_or(&mut []);
        let corrections = corrections.as_chunks_mut::<4>().0;
        corrections.fill([0; 4]);
        let factor = self.offset.wrapping_neg().wrapping_shl(u32::from(self.settle.shift));
        for ky in 0..usize::from(self.window.kernel[0]) {
            let slot = first.wrapping_add(ky) % self.plan.slots.max(1);
            let sums = scratch.column_sums.get(slot.wrapping_mul(sums_bytes)..).unwrap_or(&[]);
            asm::add_window_sums(corrections, sums.as_chunks().0, factor);
        }
    }

    /// The `pair`-th pair of rows: its constants, and where its codes go.
    fn pair<'b>(&self, pair: usize, channels: [i32; 4], output: &'b mut [u8]) -> Pair<'b> {
        let Places { log_lanes, width, whole, .. } = self.places;
        // The partner of a last odd row is no channel; its code must not show in the padding.
        let partner = 2 * pair + 1 < usize::from(self.record.channels);
        let most = self.record.bits.max_code();
        let place = (2 * pair * width) & 7;
        Pair {
            channels,
            output: output.get_mut(2 * pair >> log_lanes..).unwrap_or(&mut []),
            codes: if partner { whole[pair & 1] } else { Codes::Shared },
            most: [most, if partner { most } else { 0 }],
            places: [1 << place, if partner { 1u16 << ((place + width) & 15) } else { 0 }],
        }
    }
}

fn words_of(pair: [i32; 2]) -> [u8; 8] {
    let [[a, b, c, d], [e, f, g, h]] = pair.map(i32::to_le_bytes);
    [a, b, c, d, e, f, g, h]
}

fn of_words([a, b, c, d, e, f, g, h]: [u8; 8]) -> [i32; 2] {
    [[a, b, c, d], [e, f, g, h]].map(i32::from_le_bytes)
}

/// How an output stores codes.
#[derive(Clone, Copy)]
struct Places {
    /// log2 of the codes of a byte, and bits of one.
    log_lanes: u32,
    width: usize,
    /// Where codes of even and odd pairs go, unless a partner is missing.
    whole: [Codes; 2],
    /// Whether a byte gets codes of several pairs one by one, so that it must be 0 first.
    shares: bool,
}

impl Places {
    fn of(record: &TensorRecord) -> Self {
        let (log_lanes, width) = match record.storage {
            Storage::Bits8 | Storage::Logits => (0, 8),
            Storage::Bits4 => (1, 4),
            Storage::Bits2 => (2, 2),
            Storage::Bits1 => (3, 1),
        };
        let whole = match (width, record.bits.get()) {
            (8, 8) => [Codes::Bytes; 2],
            (8, _) => [Codes::Limited; 2],
            (4, 4) => [Codes::Nibbles; 2],
            (2, 2) => [Codes::LowerCrumbs, Codes::UpperCrumbs],
            _ => [Codes::Shared; 2],
        };
        let shares = !record.channels.is_multiple_of(2) || matches!(whole, [Codes::Shared, _]);
        Self { log_lanes, width, whole, shares }
    }
}
