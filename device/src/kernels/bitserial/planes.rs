//! The bit-serial scheme: codes as bit-planes of 64-bit words, products as AND and popcount.
//!
//! A weight row is its planes one after another, low bits first, one word per 64 columns. A block of activations is
//! its planes in the same order, each word beside the same word of the block's other pixels.

use releq_format::bits::BitWidth;
use releq_format::pack::Matrix;

use super::walk::{COLUMN_MULTIPLE, MOST_ROWS, Rows, Scheme};
use super::{Isa, PIXELS, codes};

/// The scheme; weights are borrowed by [`Rows`].
pub(super) struct Planes<'a>(core::marker::PhantomData<&'a ()>);

/// One word of one weight plane.
pub(super) type Word = [u8; 8];
/// One word of one activation plane, for every pixel of a block.
pub(super) type BlockWord = [u8; 8 * PIXELS];

/// Words that a vector of bytes can count before one overflows: 8 bits each, at most 255.
#[cfg_attr(not(any(target_arch = "x86_64", target_arch = "aarch64")), allow(dead_code))]
pub(super) const WORDS_PER_FLUSH: usize = 31;

fn words(matrix: &Matrix) -> usize {
    (matrix.columns as usize).div_ceil(COLUMN_MULTIPLE)
}

impl Scheme for Planes<'_> {
    const ROWS: usize = 1;

    fn sizes(matrix: &Matrix, activations: BitWidth) -> [usize; 3] {
        let (words, rows) = (words(matrix), matrix.rows as usize);
        let [weight_bits, activation_bits] = [matrix.bits, activations].map(|bits| usize::from(bits.get()));
        [
            words.saturating_mul(COLUMN_MULTIPLE),
            words.saturating_mul(size_of::<BlockWord>()).saturating_mul(activation_bits),
            words.saturating_mul(size_of::<Word>()).saturating_mul(weight_bits).saturating_mul(rows),
        ]
    }

    fn arrange(matrix: &Matrix, section: &[u8], codes: &mut [u8], weights: &mut [u8], isa: Isa) {
        let (words, bits) = (words(matrix), usize::from(matrix.bits.get()));
        let row_bytes = (words * bits * size_of::<Word>()).max(1);
        for (row, place) in weights.chunks_exact_mut(row_bytes).enumerate() {
            codes::row(matrix, section, row, codes);
            let (place, _) = place.as_chunks_mut::<8>();
            split(isa, codes, bits, |plane, word, value| {
                if let Some(place) = place.get_mut(plane * words + word) {
                    *place = value.to_le_bytes();
                }
            });
        }
    }

    fn load(activations: BitWidth, isa: Isa, codes: &[u8], pixel: usize, block: &mut [u8]) {
        let words = codes.len() / COLUMN_MULTIPLE;
        let (block, _) = block.as_chunks_mut::<{ 8 * PIXELS }>();
        split(isa, codes, usize::from(activations.get()), |plane, word, value| {
            let place = block.get_mut(plane * words + word).and_then(|word| word.as_chunks_mut::<8>().0.get_mut(pixel));
            if let Some(place) = place {
                *place = value.to_le_bytes();
            }
        });
    }

    #[inline]
    fn sums(rows: &Rows<'_>, first: usize, block: &[u8], totals: &[i32; PIXELS]) -> [[i32; PIXELS]; MOST_ROWS] {
        let words = words(&rows.matrix);
        let row_words = words * usize::from(rows.matrix.bits.get());
        let (weights, _) = rows.weights.as_chunks::<8>();
        let row = weights.get(first * row_words..).and_then(|weights| weights.get(..row_words)).unwrap_or(&[]);
        let (block, _) = block.as_chunks::<{ 8 * PIXELS }>();
        let counts = count(rows.isa, row, block, words);
        let (gain, offset) = rows.matrix.levels.affine(rows.matrix.bits);
        let mut sums = [[0; PIXELS]; MOST_ROWS];
        for ((sum, &count), total) in sums[0].iter_mut().zip(&counts).zip(totals) {
            *sum = gain.wrapping_mul(count as i32).wrapping_sub(offset.wrapping_mul(*total));
        }
        sums
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

/// Σ over planes i of the row and j of the block: 2^(i+j) · popcount(row i AND block j), modulo 2^32, for every pixel.
fn count(isa: Isa, row: &[Word], block: &[BlockWord], words: usize) -> [u32; PIXELS] {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 | Isa::Avx512 => super::x86::count(isa, row, block, words),
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => super::neon::count(row, block, words),
        _ => count_portable(row, block, words),
    }
}

fn count_portable(row: &[Word], block: &[BlockWord], words: usize) -> [u32; PIXELS] {
    let mut sums = [0u32; PIXELS];
    for (i, weights) in row.chunks_exact(words.max(1)).enumerate() {
        for (j, activations) in block.chunks_exact(words.max(1)).enumerate() {
            let mut ones = [0u32; PIXELS];
            for (weight, pixels) in weights.iter().zip(activations) {
                let weight = u64::from_le_bytes(*weight);
                for (ones, pixel) in ones.iter_mut().zip(pixels.as_chunks::<8>().0) {
                    *ones += (weight & u64::from_le_bytes(*pixel)).count_ones();
                }
            }
            for (sum, ones) in sums.iter_mut().zip(ones) {
                *sum = sum.wrapping_add(ones << (i + j));
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    /// Every instruction set of this machine against the portable loop, over lengths that flush and do not.
    #[test]
    fn every_instruction_set_counts_alike() {
        let mut state = 0x9E37_79B9_7F4A_7C15u64;
        let mut byte = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        for words in [1, 2, 5, 31, 32, 40] {
            for (weight_bits, activation_bits) in [(1, 1), (2, 8), (3, 5), (4, 4), (8, 8)] {
                for saturated in [false, true] {
                    let mut byte = || if saturated { 0xFF } else { byte() };
                    let row: Vec<Word> = (0..words * weight_bits).map(|_| [0; 8].map(|_: u8| byte())).collect();
                    let block: Vec<BlockWord> =
                        (0..words * activation_bits).map(|_| [0; 8 * PIXELS].map(|_: u8| byte())).collect();
                    let expected = count_portable(&row, &block, words);
                    for isa in Isa::all() {
                        assert_eq!(
                            count(isa, &row, &block, words),
                            expected,
                            "{isa:?} {weight_bits} {activation_bits}"
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
