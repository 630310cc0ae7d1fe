//! Dot products of packed weight rows with a patch of activation codes.
//!
//! Widths are arguments, not const parameters: where speed is what counts, each call with a constant is inlined and
//! becomes a loop of its own; where size is (`releq_small`, of `build.rs`), one loop serves all widths.

use releq_format::bits::BitWidth;
use releq_format::ends;
use releq_format::pack::{Layout, Matrix};
use releq_format::quant::lane_terms;

/// A patch's length is a multiple of this, filled up with zeros, so that every word of every plane meets whole chunks.
pub(super) const PATCH_MULTIPLE: usize = 16;

/// Σ code · activation of two rows that share `words`, in [`Layout::RowPairs`], [`Layout::Lanes`] or [`Layout::Ends`].
///
/// `patch` is the activations, padded to a multiple of [`PATCH_MULTIPLE`]. The sums wrap; the caller's bound makes
/// the final accumulator exact.
pub(super) fn pair(words: &[u8], matrix: &Matrix, activations: BitWidth, patch: &[u8]) -> [i32; 2] {
    let (words, _) = words.as_chunks::<4>();
    let sums = match matrix.layout {
        Layout::Ends => ends_pair(words, matrix.bits, patch),
        _ => planes_pair(words, matrix, activations, patch),
    };
    sums.map(|sum| sum as i32)
}

/// Plane by plane. A function of its own, as the one for ends, so that its loops have all registers.
#[inline(never)]
fn planes_pair(mut words: &[[u8; 4]], matrix: &Matrix, activations: BitWidth, patch: &[u8]) -> [u32; 2] {
    let (patch, _) = patch.as_chunks::<4>();
    let bytes = matrix.layout == Layout::Lanes;
    let mut sums = [0u32; 2];
    for plane in matrix.planes() {
        let Some((head, tail)) = words.split_at_checked(matrix.plane_words(plane) as usize) else { return sums };
        words = tail;
        let terms = lane_terms(plane.width, activations);
        let plane_sums = match plane.width {
            8 => whole_bytes(head, patch),
            width => lanes_of(bytes, u32::from(width), head, terms, patch),
        };
        for (sum, plane_sum) in sums.iter_mut().zip(plane_sums) {
            *sum = sum.wrapping_add(plane_sum << (plane.shift & 7));
        }
    }
    sums
}

/// Lanes of whole bytes: two words for four columns.
fn whole_bytes(words: &[[u8; 4]], patch: &[[u8; 4]]) -> [u32; 2] {
    let mut sums = [0u32; 2];
    for ([first, second], codes) in words.as_chunks::<2>().0.iter().zip(patch) {
        // Odd rows are stored signed.
        let (first, second) = (u32::from_le_bytes(*first) ^ 0x8000_8000, u32::from_le_bytes(*second) ^ 0x8000_8000);
        let row = |shift: u32| {
            let code = |word: u32, place: u32| word >> place >> shift & 0xFF;
            products((code(first, 0), code(second, 0), code(first, 16), code(second, 16)), codes)
        };
        sums = [sums[0].wrapping_add(row(0)), sums[1].wrapping_add(row(8))];
    }
    sums
}

/// [`lanes`], with constants for what they are where speed is what counts.
fn lanes_of(bytes: bool, width: u32, words: &[[u8; 4]], terms: usize, patch: &[[u8; 4]]) -> [u32; 2] {
    if cfg!(releq_small) {
        return lanes(bytes, width, words, terms, patch);
    }
    match (bytes, width) {
        (true, 4) => lanes(true, 4, words, terms, patch),
        (true, 2) => lanes(true, 2, words, terms, patch),
        (true, _) => lanes(true, 1, words, terms, patch),
        (false, 4) => lanes(false, 4, words, terms, patch),
        (false, 2) => lanes(false, 2, words, terms, patch),
        (false, _) => lanes(false, 1, words, terms, patch),
    }
}

/// One plane of `width`-bit fields, 4, 2 or 1, of which a word holds 16 bits a row: in its `bytes`, or in its halves.
/// Both rows' fields of a column, 16 bits apart, advance in one multiplication.
#[cfg_attr(not(releq_small), inline(always))]
fn lanes(bytes: bool, width: u32, words: &[[u8; 4]], terms: usize, patch: &[[u8; 4]]) -> [u32; 2] {
    let mask = 0x0001_0001u32.wrapping_mul((1 << width) - 1);
    // Fours of columns in a word.
    let fours = (4 >> width.trailing_zeros()).max(1);
    let words_per_flush = ((terms / 4) >> (2 - width.trailing_zeros())).max(1);
    let (mut low, mut high, mut lanes, mut room) = (0u32, 0u32, 0u32, words_per_flush);
    for (word, codes) in words.iter().zip(patch.chunks_exact(fours)) {
        let word = u32::from_le_bytes(*word);
        // Two columns of a four are in the low fields of one, two in those of the other.
        let (mut first, mut second, step) = match bytes {
            true => (halves(word), halves(word >> 16), 2 * width),
            false => (word, word >> (2 * width), 4 * width),
        };
        for codes in codes {
            let pairs = (first & mask, first >> width & mask, second & mask, second >> width & mask);
            lanes = lanes.wrapping_add(products(pairs, codes));
            (first, second) = (first >> (step & 31), second >> (step & 31));
        }
        room = room.wrapping_sub(1);
        if room == 0 {
            (low, high) = (low.wrapping_add(lanes & 0xFFFF), high.wrapping_add(lanes >> 16));
            (lanes, room) = (0, words_per_flush);
        }
    }
    [low.wrapping_add(lanes & 0xFFFF), high.wrapping_add(lanes >> 16)]
}

/// The low two bytes of a word, each in a half of its own.
#[inline]
const fn halves(word: u32) -> u32 {
    word & 0xFF | (word & 0xFF00) << 8
}

/// Σ pair · code: of both rows at once.
#[inline(always)]
fn products((first, second, third, fourth): (u32, u32, u32, u32), codes: &[u8; 4]) -> u32 {
    let product = |pair: u32, code: &u8| pair.wrapping_mul(u32::from(*code));
    let [a, b, c, d] = codes;
    product(first, a).wrapping_add(product(second, b)).wrapping_add(product(third, c)).wrapping_add(product(fourth, d))
}

/// Rows at the ends of halves.
#[inline(never)]
fn ends_pair(words: &[[u8; 4]], bits: BitWidth, patch: &[u8]) -> [u32; 2] {
    if cfg!(releq_small) {
        return ends_groups(u32::from(bits.get()), words, patch);
    }
    match bits.get() {
        1 => ends_groups(1, words, patch),
        2 => ends_groups(2, words, patch),
        3 => ends_groups(3, words, patch),
        _ => ends_groups(4, words, patch),
    }
}

/// [`ends::flipped`] by bits.
const FLIPPED: [[u32; 4]; 5] =
    [[0; 4], ends::flipped(1), ends::flipped(2), ends::flipped(3), ends::flipped(ends::MOST_BITS)];

/// Groups of `bits` words; the last may have fewer.
#[cfg_attr(not(releq_small), inline(always))]
fn ends_groups(bits: u32, words: &[[u8; 4]], patch: &[u8]) -> [u32; 2] {
    let low = (1 << bits) - 1;
    let mut sums = [0u32; 2];
    let flipped = FLIPPED.get(bits as usize).copied().unwrap_or_default();
    let whole = words.chunks_exact((bits as usize).max(1));
    // Filled up, so that every group has as many words.
    let mut last = [[0; 4]; ends::MOST_BITS as usize];
    for (to, word) in last.iter_mut().zip(whole.remainder()) {
        *to = *word;
    }
    let last = last.get(..bits as usize).unwrap_or(&[]);
    let patches = patch.as_chunks::<{ ends::COLUMNS as usize }>().0;
    for (words, codes) in whole.chain(core::iter::once(last)).zip(patches) {
        let word = |index: usize| words.get(index).map_or(0, |word| u32::from_le_bytes(*word));
        let group = [word(0) ^ flipped[0], word(1) ^ flipped[1], word(2) ^ flipped[2], word(3) ^ flipped[3]];
        let field = |index: usize| ends::field(&group, bits, index as u32);
        let pair = |field: u32| field & low | (field & low << (16 - bits)) << bits;
        // Sixteen products of a 4-bit and an 8-bit code fit 16 bits.
        let mut lanes = 0u32;
        for (index, codes) in codes.as_chunks::<4>().0.iter().enumerate() {
            let (even, odd) = (field(2 * index), field(2 * index + 1));
            lanes = lanes.wrapping_add(products((pair(even), pair(odd), pair(even >> 16), pair(odd >> 16)), codes));
        }
        sums = [sums[0].wrapping_add(lanes & 0xFFFF), sums[1].wrapping_add(lanes >> 16)];
    }
    sums
}

/// Σ weight · activation of one row of signed bytes.
#[inline]
pub(super) fn row_bytes(row: &[u8], patch: &[u8]) -> i32 {
    let product = |weight: u8, code: u8| i32::from(weight as i8).wrapping_mul(i32::from(code));
    if cfg!(releq_small) {
        return row.iter().zip(patch).fold(0, |sum, (&weight, &code)| product(weight, code).wrapping_add(sum));
    }
    let (rows, row_rest) = row.as_chunks::<16>();
    let (patches, patch_rest) = patch.as_chunks::<16>();
    let mut sum = 0i32;
    for (row, patch) in rows.iter().zip(patches) {
        for (&weight, &code) in row.iter().zip(patch) {
            sum = sum.wrapping_add(product(weight, code));
        }
    }
    // The patch is padded with zeros, so a row's last partial chunk still finds its activations.
    let rest = patches.get(rows.len()).map_or(patch_rest, |chunk| &chunk[..]);
    row_rest.iter().zip(rest).fold(sum, |sum, (&weight, &code)| sum.wrapping_add(product(weight, code)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use releq_format::bits::Levels;

    const LAYOUTS: [Layout; 3] = [Layout::RowPairs, Layout::Lanes, Layout::Ends];

    fn widths() -> impl Iterator<Item = BitWidth> {
        (1..=8).filter_map(BitWidth::new)
    }

    /// Calls `see` with a pair of rows of `columns` columns in every layout and width of codes and activations.
    fn every_pair(columns: u32, mut see: impl FnMut(Matrix, BitWidth)) {
        for (layout, bits) in LAYOUTS.into_iter().flat_map(|layout| widths().map(move |bits| (layout, bits))) {
            let matrix = Matrix { rows: 2, columns, bits, levels: Levels::TwosComplement, layout };
            if matrix.is_valid() {
                // Miri takes its time: the narrowest and the widest.
                widths().step_by(if cfg!(miri) { 7 } else { 1 }).for_each(|activations| see(matrix, activations));
            }
        }
    }

    fn padded(codes: impl Iterator<Item = u8>) -> Vec<u8> {
        let mut patch: Vec<u8> = codes.collect();
        patch.resize(patch.len().next_multiple_of(PATCH_MULTIPLE), 0);
        patch
    }

    #[test]
    fn extremes_do_not_overflow_the_lanes() {
        for &columns in if cfg!(miri) { &[17][..] } else { &[1, 15, 16, 17, 257, 1000] } {
            every_pair(columns, |matrix, activations| {
                let most = matrix.levels.value(matrix.bits.max_code(), matrix.bits) as i8;
                let section = matrix.pack(&alloc::vec![most; 2 * columns as usize]).unwrap();
                let patch = padded((0..columns).map(|_| activations.max_code()));
                let expected = columns as i32 * i32::from(matrix.bits.max_code()) * i32::from(activations.max_code());
                assert_eq!(pair(&section, &matrix, activations, &patch), [expected; 2], "{matrix:?} × {activations:?}");
            });
        }
    }

    #[test]
    fn sums_are_those_of_the_codes() {
        let mut state = 0x5EED_0001u32;
        let mut random = move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        for &columns in if cfg!(miri) { &[21][..] } else { &[1, 3, 8, 21, 48, 150] } {
            every_pair(columns, |matrix, activations| {
                let codes: Vec<u8> = (0..2 * columns).map(|_| random() & matrix.bits.max_code()).collect();
                let values: Vec<i8> = codes.iter().map(|&code| matrix.levels.value(code, matrix.bits) as i8).collect();
                let section = matrix.pack(&values).unwrap();
                let patch = padded((0..columns).map(|_| random() & activations.max_code()));
                let sum = |row: &[u8]| row.iter().zip(&patch).map(|(&code, &a)| i32::from(code) * i32::from(a)).sum();
                let (even, odd) = codes.split_at(columns as usize);
                assert_eq!(pair(&section, &matrix, activations, &patch), [even, odd].map(sum), "{matrix:?}");
            });
        }
    }

    #[test]
    fn bytes_with_a_tail() {
        let row: Vec<u8> = (0..21).map(|k| (k as i8 - 10) as u8).collect();
        let mut patch: Vec<u8> = (0..21).collect();
        let expected: i32 = (0..21).map(|k| (k - 10) * k).sum();
        patch.resize(32, 0);
        assert_eq!(row_bytes(&row, &patch), expected);
    }
}
