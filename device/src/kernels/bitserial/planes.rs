//! The bit-serial scheme: codes as bit-planes of 64-bit words, products as AND and popcount.
//!
//! Four weight rows lie together: their planes one after another, low bits first, one word per 64 columns, each beside
//! the same word of the other rows. A block of activations is its planes in the same order, each word beside the same
//! word of the block's other pixels. So a word of activations meets four of weights while it is in a register.

use releq_format::bits::BitWidth;
use releq_format::pack::Matrix;

use super::walk::{COLUMN_MULTIPLE, Rows, Scheme, Sums};
use super::{Isa, PIXELS, codes};

/// The scheme; weights are borrowed by [`Rows`].
pub(super) struct Planes<'a>(core::marker::PhantomData<&'a ()>);

/// Weight rows that lie together.
pub(super) const ROWS: usize = 4;
/// One word of one weight plane, for every row of a group.
pub(super) type RowsWord = [u8; 8 * ROWS];
/// One word of one activation plane, for every pixel of a block.
pub(super) type BlockWord = [u8; 8 * PIXELS];

/// Words that a vector of bytes can count before one overflows: 8 bits each, at most 255.
#[cfg_attr(not(any(target_arch = "x86_64", target_arch = "aarch64")), allow(dead_code))]
pub(super) const WORDS_PER_FLUSH: usize = 31;

/// Place values of pairs of planes, i + j, from the top.
pub(super) fn places(rows: &[RowsWord], block: &[BlockWord], words: usize) -> impl Iterator<Item = usize> + use<> {
    let planes = (rows.len() + block.len()) / words.max(1);
    (0..planes.saturating_sub(1)).rev()
}

/// All planes that meet at one place value: a weight plane and an activation plane each.
#[inline]
pub(super) fn pairs<'r>(
    rows: &'r [RowsWord],
    block: &'r [BlockWord],
    words: usize,
    place: usize,
) -> impl Iterator<Item = (&'r [RowsWord], &'r [BlockWord])> {
    let (mut i, mut start, mut end) = (0, 0, place * words);
    core::iter::from_fn(move || {
        loop {
            // Additions only: a division by the plane's length costs more than a short plane's words.
            let weights = rows.get(start..start + words).filter(|_| i <= place)?;
            let activations = block.get(end..end + words);
            (i, start, end) = (i + 1, start + words, end.wrapping_sub(words));
            if let Some(activations) = activations {
                return Some((weights, activations));
            }
        }
    })
}

/// Counts of a group of rows, each for every pixel of a block.
pub(super) type Counts = [[u32; PIXELS]; ROWS];

fn words(matrix: &Matrix) -> usize {
    (matrix.columns as usize).div_ceil(COLUMN_MULTIPLE)
}

impl Scheme for Planes<'_> {
    const ROWS: usize = ROWS;

    fn sizes(matrix: &Matrix, activations: BitWidth) -> [usize; 3] {
        let (words, rows) = (words(matrix), matrix.rows as usize);
        let [weight_bits, activation_bits] = [matrix.bits, activations].map(|bits| usize::from(bits.get()));
        [
            words.saturating_mul(COLUMN_MULTIPLE),
            words.saturating_mul(size_of::<BlockWord>()).saturating_mul(activation_bits),
            words.saturating_mul(size_of::<RowsWord>()).saturating_mul(weight_bits).saturating_mul(rows.div_ceil(ROWS)),
        ]
    }

    fn arrange(matrix: &Matrix, section: &[u8], codes: &mut [u8], weights: &mut [u8], isa: Isa) {
        let (words, bits) = (words(matrix), usize::from(matrix.bits.get()));
        weights.fill(0);
        let (weights, _) = weights.as_chunks_mut::<{ 8 * ROWS }>();
        for row in 0..matrix.rows as usize {
            codes::row(matrix, section, row, codes);
            let group = weights.get_mut(row / ROWS * words * bits..).unwrap_or(&mut []);
            split(isa, codes, bits, |plane, word, value| set(group, plane * words + word, row % ROWS, value));
        }
    }

    fn load(activations: BitWidth, isa: Isa, codes: &[u8], pixel: usize, block: &mut [u8]) {
        let words = codes.len() / COLUMN_MULTIPLE;
        let (block, _) = block.as_chunks_mut::<{ 8 * PIXELS }>();
        split(isa, codes, usize::from(activations.get()), |plane, word, value| {
            set(block, plane * words + word, pixel, value);
        });
    }

    #[inline]
    fn sums(rows: &Rows<'_>, first: usize, block: &[u8], totals: &[i32; PIXELS], sums: &mut Sums) {
        let words = words(&rows.matrix);
        let group_words = words * usize::from(rows.matrix.bits.get());
        let (weights, _) = rows.weights.as_chunks::<{ 8 * ROWS }>();
        let group = weights.get(first / ROWS * group_words..).and_then(|weights| weights.get(..group_words));
        let (block, _) = block.as_chunks::<{ 8 * PIXELS }>();
        let counts = count(rows.isa, group.unwrap_or(&[]), block, words);
        let (gain, offset) = rows.matrix.levels.affine(rows.matrix.bits);
        for (sums, counts) in sums.iter_mut().zip(&counts) {
            for ((sum, &count), total) in sums.iter_mut().zip(counts).zip(totals) {
                *sum = gain.wrapping_mul(count as i32).wrapping_sub(offset.wrapping_mul(*total));
            }
        }
    }
}

/// Puts the word of one row or pixel in its place beside the others'.
#[inline]
fn set<const N: usize>(places: &mut [[u8; N]], index: usize, lane: usize, word: u64) {
    let place = places.get_mut(index).and_then(|words| words.as_chunks_mut::<8>().0.get_mut(lane));
    if let Some(place) = place {
        *place = word.to_le_bytes();
    }
}

/// Calls `put(plane, word, bits)` for each plane of each 64 codes; `codes` is a multiple of 64 long.
fn split(isa: Isa, codes: &[u8], planes: usize, mut put: impl FnMut(usize, usize, u64)) {
    for (word, codes) in codes.as_chunks::<COLUMN_MULTIPLE>().0.iter().enumerate() {
        #[cfg(target_arch = "x86_64")]
        if matches!(isa, Isa::Avx2 | Isa::Avx512) {
            let bits = super::x86::split(isa, codes);
            bits.into_iter().take(planes).enumerate().for_each(|(plane, bits)| put(plane, word, bits));
            continue;
        }
        let _ = isa;
        for plane in 0..planes {
            put(plane, word, plane_of(codes, plane as u32));
        }
    }
}

/// Bit `plane` of 64 codes.
fn plane_of(codes: &[u8; COLUMN_MULTIPLE], plane: u32) -> u64 {
    let mut bits = [0; 8];
    for (bits, codes) in bits.iter_mut().zip(codes.as_chunks::<8>().0) {
        let ones = (u64::from_le_bytes(*codes) >> plane) & 0x0101_0101_0101_0101;
        // Moves the lowest bit of byte n to bit 56 + n; no two terms of the product meet.
        *bits = (ones.wrapping_mul(0x0102_0408_1020_4080) >> 56) as u8;
    }
    u64::from_le_bytes(bits)
}

/// Σ over planes i of a row and j of a pixel: 2^(i+j) · popcount(row i AND pixel j), modulo 2^32, for every row of a
/// group and every pixel of a block.
fn count(isa: Isa, rows: &[RowsWord], block: &[BlockWord], words: usize) -> Counts {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 | Isa::Avx512 => super::x86::count(isa, rows, block, words),
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => super::neon::count(rows, block, words),
        _ => count_portable(rows, block, words),
    }
}

fn count_portable(rows: &[RowsWord], block: &[BlockWord], words: usize) -> Counts {
    let mut counts = [[0u32; PIXELS]; ROWS];
    // Horner over the place value, from the top.
    for place in places(rows, block, words) {
        counts = counts.map(|row| row.map(|count| count << 1));
        for (weights, pixels) in pairs(rows, block, words, place) {
            for (weights, pixels) in weights.iter().zip(pixels) {
                for (counts, weight) in counts.iter_mut().zip(weights.as_chunks::<8>().0) {
                    for (count, pixel) in counts.iter_mut().zip(pixels.as_chunks::<8>().0) {
                        let both = u64::from_le_bytes(*weight) & u64::from_le_bytes(*pixel);
                        *count = count.wrapping_add(both.count_ones());
                    }
                }
            }
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    /// Plane by plane and bit by bit.
    fn by_definition(rows: &[RowsWord], block: &[BlockWord], words: usize) -> Counts {
        core::array::from_fn(|row| {
            core::array::from_fn(|pixel| {
                let mut sum = 0u32;
                for (i, weights) in rows.chunks(words).enumerate() {
                    for (j, pixels) in block.chunks(words).enumerate() {
                        let bytes = weights.iter().flat_map(|word| &word[8 * row..8 * row + 8]);
                        let both = bytes.zip(pixels.iter().flat_map(|word| &word[8 * pixel..8 * pixel + 8]));
                        let ones: u32 = both.map(|(weight, code)| (weight & code).count_ones()).sum();
                        sum = sum.wrapping_add(ones << (i + j));
                    }
                }
                sum
            })
        })
    }

    /// Every instruction set of this machine against the definition, over lengths that flush and do not.
    #[test]
    fn every_instruction_set_counts_alike() {
        let mut state = 0x9E37_79B9_7F4A_7C15u64;
        let mut byte = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        type Sizes = (&'static [usize], &'static [(usize, usize)]);
        let all: Sizes = (&[1, 2, 5, 31, 32, 40], &[(1, 1), (2, 8), (3, 5), (4, 4), (8, 8)]);
        let (lengths, widths) = if cfg!(miri) { (&[1, 32][..], &[(1, 2)][..]) } else { all };
        for &words in lengths {
            for &(weight_bits, activation_bits) in widths {
                for saturated in [false, true] {
                    let mut byte = || if saturated { 0xFF } else { byte() };
                    let rows: Vec<RowsWord> =
                        (0..words * weight_bits).map(|_| [0; 8 * ROWS].map(|_: u8| byte())).collect();
                    let block: Vec<BlockWord> =
                        (0..words * activation_bits).map(|_| [0; 8 * PIXELS].map(|_: u8| byte())).collect();
                    let expected = by_definition(&rows, &block, words);
                    for isa in Isa::all() {
                        assert_eq!(
                            count(isa, &rows, &block, words),
                            expected,
                            "{isa:?} {weight_bits} {activation_bits} {words}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn every_instruction_set_splits_alike() {
        let codes: [u8; 64] = core::array::from_fn(|index| (index * 37 + 11) as u8);
        for isa in Isa::all() {
            split(isa, &codes, 8, |plane, word, bits| {
                let expected = (0..64).map(|k| u64::from(codes[k] >> plane & 1) << k).sum::<u64>();
                assert_eq!((word, bits), (0, expected), "{isa:?} plane {plane}");
            });
        }
    }
}
