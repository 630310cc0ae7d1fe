//! The walk that both schemes share: weights once, then blocks of output pixels, then every row.

use releq_format::bits::BitWidth;
use releq_format::graph::{Op, Storage, TensorRecord};
use releq_format::pack::Matrix;

use super::{Isa, PIXELS};
use crate::kernels::{Task, gather};
use crate::tensor::{self, Input, Sink, pixels_mut};

/// Codes of a patch are padded with zeros to a multiple of this, the bits of a word.
pub(super) const COLUMN_MULTIPLE: usize = 64;

/// A way to multiply weight rows with a block of patches.
pub(super) trait Scheme {
    /// Rows whose sums come together, at most [`MOST_ROWS`].
    const ROWS: usize;

    /// Bytes of scratch: one patch of codes, one block of patches, all weights.
    fn sizes(matrix: &Matrix, activations: BitWidth) -> [usize; 3];

    /// Rearranges the weights of `section` into `weights`; `codes` is room for one row of codes.
    fn arrange(matrix: &Matrix, section: &[u8], codes: &mut [u8], weights: &mut [u8], isa: Isa);

    /// Puts one patch of codes into a block.
    fn load(activations: BitWidth, isa: Isa, codes: &[u8], pixel: usize, block: &mut [u8]);

    /// Σ weight · activation of the [`Scheme::ROWS`] rows from `first` on, for every pixel of the block; `totals` are the
    /// pixels' Σ activation.
    fn sums(rows: &Rows<'_>, first: usize, block: &[u8], totals: &[i32; PIXELS], sums: &mut Sums);
}

/// Most rows whose sums come together.
pub(super) const MOST_ROWS: usize = 16;
/// Sums of some rows, each for every pixel of a block.
pub(super) type Sums = [[i32; PIXELS]; MOST_ROWS];

/// Arranged weights, and what is needed to read them.
pub(super) struct Rows<'a> {
    pub(super) matrix: Matrix,
    pub(super) isa: Isa,
    pub(super) weights: &'a [u8],
}

/// Runs a convolution or a dense layer.
pub(super) fn walk<S: Scheme>(task: Task<'_>, isa: Isa) {
    let (record, output_record) = (task.input.record, task.output_record);
    let Some(weights) = task.op.weights() else { return };
    let Some(matrix) = task.op.matrix(&record, &output_record) else { return };
    let [codes, block, arranged] = S::sizes(&matrix, record.bits);
    let Some((codes, rest)) = task.scratch.split_at_mut_checked(codes) else { return };
    let Some((block, rest)) = rest.split_at_mut_checked(block) else { return };
    let Some((arranged, rest)) = rest.split_at_mut_checked(arranged) else { return };
    let Some(bytes) = rest.get_mut(..expanded_bytes(&record)) else { return };
    let input = expanded(&task.input, bytes);
    codes.fill(0);
    S::arrange(&matrix, task.codes, codes, arranged, isa);
    codes.fill(0);
    let rows = Rows { matrix, isa, weights: arranged };
    let sink = Sink::new(output_record, weights.shift);
    let columns = matrix.columns as usize;
    let mut pixels = pixels_mut(&output_record, task.output);
    loop {
        // A last block that is not full multiplies what the one before left in its other lanes, and drops it.
        let mut outputs: [&mut [u8]; PIXELS] = Default::default();
        let mut totals = [0; PIXELS];
        let mut filled = 0;
        for ((output, total), (y, x, pixel)) in outputs.iter_mut().zip(&mut totals).zip(&mut pixels) {
            let patch = codes.get_mut(..columns).unwrap_or(&mut []);
            match task.op {
                Op::Conv2d { window, .. } => gather::patch(&input, window, y, x, patch),
                _ => gather::everything(&input, patch),
            }
            *total = patch.iter().fold(0i32, |sum, &code| sum.wrapping_add(i32::from(code)));
            S::load(record.bits, isa, codes, filled, block);
            *output = pixel;
            filled += 1;
        }
        if filled == 0 {
            return;
        }
        put_block::<S>(&rows, &sink, task.channels, block, &totals, outputs.get_mut(..filled).unwrap_or(&mut []));
        if filled < PIXELS {
            return;
        }
    }
}

/// Bytes of an input with one code a byte, where it is not stored so: windows overlap, so each code is unpacked once.
pub(super) fn expanded_bytes(record: &TensorRecord) -> usize {
    match record.storage {
        Storage::Bits8 => 0,
        _ => record.elements().map_or(usize::MAX, |elements| elements as usize),
    }
}

/// The input with one code a byte.
fn expanded<'a>(input: &Input<'a>, bytes: &'a mut [u8]) -> Input<'a> {
    if input.record.storage == Storage::Bits8 {
        return *input;
    }
    gather::everything(input, bytes);
    Input { record: TensorRecord { storage: Storage::Bits8, ..input.record }, bytes }
}

/// Every row's outcome at every pixel of a block.
fn put_block<S: Scheme>(
    rows: &Rows<'_>,
    sink: &Sink,
    channels: &[u8],
    block: &[u8],
    totals: &[i32; PIXELS],
    outputs: &mut [&mut [u8]],
) {
    let mut channels = tensor::channels(channels).enumerate();
    let mut sums = [[0; PIXELS]; MOST_ROWS];
    for first in (0..rows.matrix.rows as usize).step_by(S::ROWS.max(1)) {
        S::sums(rows, first, block, totals, &mut sums);
        for (sums, (index, channel)) in sums.iter().take(S::ROWS).zip(channels.by_ref()) {
            for (pixel, &sum) in outputs.iter_mut().zip(sums) {
                sink.put(pixel, index, channel.bias.wrapping_add(sum), channel.multiplier);
            }
        }
    }
}
