//! Convolution over byte lanes, some pixels at a time: each pair of rows is unpacked once for all of them.

use releq_format::graph::{Weights, Window};
use releq_format::pack::Matrix;
use releq_format::quant::Channel;

use super::Task;
use super::dot::{PATCH_MULTIPLE, row_bytes};
use crate::kernels::gather;
use crate::tensor::{self, Sink};

/// Fewest pixels that unpacking pays for, and most that gain something.
const PIXELS: core::ops::RangeInclusive<usize> = 3..=16;

/// Pixels whose patches lie in `scratch` beside one unpacked pair of rows; `None` if too few for it to pay, and where size
/// is what counts.
pub(super) fn pixels(scratch: &[u8], columns: usize) -> Option<usize> {
    if cfg!(releq_small) {
        return None;
    }
    let fit = scratch.len().checked_div(columns.next_multiple_of(PATCH_MULTIPLE))?.saturating_sub(2);
    (fit >= *PIXELS.start()).then_some(fit.min(*PIXELS.end()))
}

/// Runs the layer, `pixels` at a time.
pub(super) fn conv2d(task: Task<'_>, window: &Window, weights: &Weights, matrix: &Matrix, pixels: usize) {
    let columns = matrix.columns as usize;
    let padded = columns.next_multiple_of(PATCH_MULTIPLE).max(1);
    let stride = (Matrix { rows: 2, ..*matrix }.bytes().unwrap_or(0) as usize).max(1);
    let sink = Sink::new(task.output_record, weights.shift);
    let width = usize::from(task.output_record.width).max(1);
    let pixel_bytes = (task.output_record.pixel_bytes() as usize).max(1);
    // Columns beyond the last stay 0 in patches, so that they may hold anything in rows.
    task.scratch.fill(0);
    let Some((even, rest)) = task.scratch.split_at_mut_checked(padded) else { return };
    let Some((odd, patches)) = rest.split_at_mut_checked(padded) else { return };
    let mut next = (0, 0);
    for batch in task.output.chunks_mut((pixel_bytes * pixels).max(1)) {
        for patch in patches.chunks_exact_mut(padded).take(batch.len() / pixel_bytes) {
            let (y, x) = next;
            gather::patch(&task.input, window, y, x, patch.get_mut(..columns).unwrap_or(&mut []));
            next = if x + 1 < width { (y, x + 1) } else { (y + 1, 0) };
        }
        batch.fill(0);
        let mut channels = tensor::channels(task.channels).enumerate();
        for pair in task.codes.chunks_exact(stride) {
            unpack(pair, matrix, even, odd);
            for (row, (index, Channel { bias, multiplier })) in [&*even, &*odd].into_iter().zip(channels.by_ref()) {
                for (pixel, patch) in batch.chunks_exact_mut(pixel_bytes).zip(patches.chunks_exact(padded)) {
                    sink.put(pixel, index, bias.wrapping_add(row_bytes(row, patch)), multiplier);
                }
            }
        }
    }
}

/// The values of a pair of rows as signed bytes.
#[inline(never)]
fn unpack(words: &[u8], matrix: &Matrix, even: &mut [u8], odd: &mut [u8]) {
    let (mut words, _) = words.as_chunks::<4>();
    for plane in matrix.planes() {
        let Some((head, tail)) = words.split_at_checked(matrix.plane_words(plane) as usize) else { return };
        words = tail;
        match plane.width {
            8 => return whole(head, even, odd),
            4 => fields(4, head, plane.shift, even, odd),
            2 => fields(2, head, plane.shift, even, odd),
            _ => fields(1, head, plane.shift, even, odd),
        }
    }
    let (gain, offset) = matrix.levels.affine(matrix.bits);
    let offset = (offset as u32).wrapping_mul(0x0101_0101);
    for codes in [even, odd].into_iter().flat_map(|row| row.as_chunks_mut::<4>().0) {
        // Four subtractions at once: top bits are set so that none borrows from its neighbour, and then put right.
        let value = u32::from_le_bytes(*codes).wrapping_mul(gain as u32);
        let difference = (value | TOPS).wrapping_sub(offset & !TOPS);
        *codes = (difference ^ (value ^ !offset) & TOPS).to_le_bytes();
    }
}

/// The top bit of each byte.
const TOPS: u32 = 0x8080_8080;

/// Four columns of a pair of rows out of two words of two columns, a row a word.
#[inline]
const fn parted(first: u32, second: u32) -> [u32; 2] {
    const EVEN: u32 = 0x00FF_00FF;
    [first & EVEN | (second & EVEN) << 8, first >> 8 & EVEN | second & !EVEN]
}

/// Whole bytes: two words for four columns; even rows are stored with their top bit flipped.
fn whole(words: &[[u8; 4]], even: &mut [u8], odd: &mut [u8]) {
    let rows = even.as_chunks_mut::<4>().0.iter_mut().zip(odd.as_chunks_mut::<4>().0);
    for ([first, second], (even, odd)) in words.as_chunks::<2>().0.iter().zip(rows) {
        let [low, high] = parted(u32::from_le_bytes(*first), u32::from_le_bytes(*second));
        (*even, *odd) = ((low ^ TOPS).to_le_bytes(), high.to_le_bytes());
    }
}

/// Fields of `width` bits, 4, 2 or 1, worth 2^shift: a word holds 16 bits of each row. The first plane writes, others
/// join. As in [`dot`](super::dot), one loop for all widths or one for each.
#[cfg_attr(not(releq_small), inline(always))]
fn fields(width: u32, words: &[[u8; 4]], shift: u8, even: &mut [u8], odd: &mut [u8]) {
    let mask = 0x0101_0101u32.wrapping_mul((1 << width) - 1);
    let keep = if shift == 0 { 0 } else { !0 };
    let columns = (16 >> width.trailing_zeros()).max(1);
    let rows = even.chunks_exact_mut(columns).zip(odd.chunks_exact_mut(columns));
    for (word, (even, odd)) in words.iter().zip(rows) {
        let mut word = u32::from_le_bytes(*word);
        let fours = even.as_chunks_mut::<4>().0.iter_mut().zip(odd.as_chunks_mut::<4>().0);
        for (even, odd) in fours {
            let [low, high] = parted(word & mask, word >> width & mask);
            word >>= (2 * width) & 31;
            *even = (u32::from_le_bytes(*even) & keep | low << (shift & 7)).to_le_bytes();
            *odd = (u32::from_le_bytes(*odd) & keep | high << (shift & 7)).to_le_bytes();
        }
    }
}
