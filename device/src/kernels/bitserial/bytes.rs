//! The 8-bit scheme: 16-bit products of two columns at a time, 16 rows and four pixels in registers.
//!
//! Exact for every operand: `madd` on 16-bit pairs cannot saturate at these magnitudes, as the byte forms can.
//! Weights lie as 16 rows of one pair of columns, group after group; a block as the patches of its pixels in 16 bits.

use releq_format::bits::BitWidth;
use releq_format::pack::Matrix;

use super::walk::{COLUMN_MULTIPLE, MOST_ROWS, Rows, Scheme, Sums};
use super::{Isa, PIXELS, codes};

/// The scheme; weights are borrowed by [`Rows`].
pub(super) struct Bytes<'a>(core::marker::PhantomData<&'a ()>);

/// A pair of columns of 16 rows, as 16-bit integers.
pub(super) type RowPairs = [[[u8; 2]; 2]; MOST_ROWS];
/// A pair of columns of one pixel.
pub(super) type PixelPair = [u8; 4];

fn pairs(matrix: &Matrix) -> usize {
    (matrix.columns as usize).div_ceil(2)
}

impl Scheme for Bytes<'_> {
    const ROWS: usize = MOST_ROWS;

    fn sizes(matrix: &Matrix, _: BitWidth) -> [usize; 3] {
        let groups = (matrix.rows as usize).div_ceil(MOST_ROWS);
        [
            (matrix.columns as usize).next_multiple_of(COLUMN_MULTIPLE),
            pairs(matrix).saturating_mul(size_of::<PixelPair>() * PIXELS),
            pairs(matrix).saturating_mul(size_of::<RowPairs>()).saturating_mul(groups),
        ]
    }

    fn arrange(matrix: &Matrix, section: &[u8], codes: &mut [u8], weights: &mut [u8], _: Isa) {
        let (gain, offset) = matrix.levels.affine(matrix.bits);
        let pairs = pairs(matrix);
        weights.fill(0);
        let (columns, _) = weights.as_chunks_mut::<{ size_of::<RowPairs>() }>();
        for row in 0..matrix.rows as usize {
            codes::row(matrix, section, row, codes);
            let group = columns.get_mut(row / MOST_ROWS * pairs..).unwrap_or(&mut []);
            let codes = codes.get(..matrix.columns as usize).unwrap_or(&[]);
            for (place, codes) in group.iter_mut().zip(codes.chunks(2)) {
                let place = place.as_chunks_mut::<4>().0.get_mut(row % MOST_ROWS);
                let values = place.into_iter().flat_map(|pair| pair.as_chunks_mut::<2>().0);
                for (value, &code) in values.zip(codes) {
                    *value = (gain * i32::from(code) - offset).to_le_bytes()[..2].try_into().unwrap_or_default();
                }
            }
        }
    }

    fn load(_: BitWidth, _: Isa, codes: &[u8], pixel: usize, block: &mut [u8]) {
        let patch_bytes = (block.len() / PIXELS).max(1);
        let Some(patch) = block.chunks_exact_mut(patch_bytes).nth(pixel) else { return };
        for (wide, &code) in patch.as_chunks_mut::<2>().0.iter_mut().zip(codes) {
            *wide = [code, 0];
        }
    }

    #[inline]
    fn sums(rows: &Rows<'_>, first: usize, block: &[u8], _: &[i32; PIXELS], sums: &mut Sums) {
        let pairs = pairs(&rows.matrix);
        let (weights, _) = rows.weights.as_chunks::<{ size_of::<RowPairs>() }>();
        let group = weights.get(first / MOST_ROWS * pairs..).and_then(|weights| weights.get(..pairs)).unwrap_or(&[]);
        let (block, _) = block.as_chunks::<{ size_of::<PixelPair>() }>();
        *sums = match rows.isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 | Isa::Avx512 => super::x86::products(group, block),
            _ => products_portable(group, block),
        };
    }
}

/// Sums of products of a group of rows and a block, `group.len()` pairs a pixel.
fn products_portable(group: &[[u8; size_of::<RowPairs>()]], block: &[PixelPair]) -> Sums {
    let halves = |pair: &[u8; 4]| {
        let [a, b, c, d] = *pair;
        [i16::from_le_bytes([a, b]), i16::from_le_bytes([c, d])].map(i32::from)
    };
    let mut sums = [[0i32; PIXELS]; MOST_ROWS];
    for (pixel, patch) in block.chunks_exact(group.len().max(1)).enumerate().take(PIXELS) {
        for (weights, codes) in group.iter().zip(patch) {
            let [left, right] = halves(codes);
            for (sums, weight) in sums.iter_mut().zip(weights.as_chunks::<4>().0) {
                let [first, second] = halves(weight);
                sums[pixel] =
                    sums[pixel].wrapping_add(first.wrapping_mul(left)).wrapping_add(second.wrapping_mul(right));
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    /// This machine's instructions against the portable loop, at magnitudes that saturate the byte forms.
    #[test]
    fn every_instruction_set_multiplies_alike() {
        for pairs in [1usize, 2, 77] {
            let weight = |index: usize| -> i16 { [-128, 127, -128, -3][index % 4] };
            let group: Vec<[u8; size_of::<RowPairs>()]> = (0..pairs)
                .map(|pair| core::array::from_fn(|byte| weight(pair * 31 + byte / 2).to_le_bytes()[byte % 2]))
                .collect();
            let code = |index: usize| -> u8 { [255, 255, 0, 254, 7][index % 5] };
            let block: Vec<PixelPair> =
                (0..pairs * PIXELS).map(|pair| [code(2 * pair), 0, code(2 * pair + 1), 0]).collect();
            let expected = products_portable(&group, &block);
            #[cfg(target_arch = "x86_64")]
            if Isa::found() != Isa::Portable {
                assert_eq!(super::super::x86::products(&group, &block), expected);
            }
            assert!(expected.iter().flatten().any(|sum| sum.unsigned_abs() > 1 << 15));
        }
    }
}
