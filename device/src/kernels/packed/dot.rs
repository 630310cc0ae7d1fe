//! Dot products of packed weight rows with a patch of activation codes.

use releq_format::bits::{BitWidth, Plane};
use releq_format::ends;
use releq_format::pack::Matrix;
use releq_format::quant::lane_terms;

/// A patch's length is a multiple of this, filled up with zeros, so that every word of every plane meets whole chunks.
pub(super) const PATCH_MULTIPLE: usize = 16;

/// Σ code · activation of two rows that share `words` ([`Layout::RowPairs`](releq_format::pack::Layout::RowPairs)).
///
/// `patch` is the activations, padded to a multiple of [`PATCH_MULTIPLE`]. The sums wrap; the caller's bound makes
/// the final accumulator exact.
pub(super) fn row_pair(words: &[u8], columns: usize, bits: BitWidth, activations: BitWidth, patch: &[u8]) -> [i32; 2] {
    let (mut words, _) = words.as_chunks::<4>();
    let mut sums = [0i32; 2];
    for plane in bits.planes() {
        // 16 bits a row, written so that the compiler sees a divisor that is never 0.
        let count = columns.div_ceil(1 << (4u32.wrapping_sub(plane.width.trailing_zeros()) & 7));
        let Some((head, tail)) = words.split_at_checked(count) else { return sums };
        words = tail;
        let [low, high] = plane_sums(plane, head, activations, patch);
        sums[0] = sums[0].wrapping_add((low << plane.shift) as i32);
        sums[1] = sums[1].wrapping_add((high << plane.shift) as i32);
    }
    sums
}

fn plane_sums(plane: Plane, words: &[[u8; 4]], activations: BitWidth, patch: &[u8]) -> [u32; 2] {
    let terms = lane_terms(plane.width, activations);
    match plane.width {
        4 => lanes::<4, 4>(words, terms, patch),
        2 => lanes::<2, 8>(words, terms, patch),
        _ => lanes::<1, 16>(words, terms, patch),
    }
}

/// `FIELDS` fields of `WIDTH` bits in each half of a word; both halves advance in one multiplication.
#[inline]
fn lanes<const WIDTH: u32, const FIELDS: usize>(words: &[[u8; 4]], terms: usize, patch: &[u8]) -> [u32; 2] {
    let mask = 0x0001_0001u32 * ((1 << WIDTH) - 1);
    let (mut patch, _) = patch.as_chunks::<FIELDS>();
    let mut words = words;
    let words_per_flush = (terms / FIELDS).max(1);
    let (mut low, mut high) = (0u32, 0u32);
    // Split by hand: `chunks` divides by its size, and the compiler cannot rule out that this is by 0.
    while !words.is_empty() {
        let (batch, rest) = words.split_at_checked(words_per_flush).unwrap_or((words, &[]));
        let (codes, codes_rest) = patch.split_at_checked(words_per_flush).unwrap_or((patch, &[]));
        (words, patch) = (rest, codes_rest);
        let mut lanes = 0u32;
        for (word, codes) in batch.iter().zip(codes) {
            let word = u32::from_le_bytes(*word);
            for (field, &code) in codes.iter().enumerate() {
                let pair = (word >> (field as u32 * WIDTH)) & mask;
                lanes = lanes.wrapping_add(pair.wrapping_mul(u32::from(code)));
            }
        }
        low = low.wrapping_add(lanes & 0xFFFF);
        high = high.wrapping_add(lanes >> 16);
    }
    [low, high]
}

/// Σ code · activation of two rows in byte lanes ([`Layout::Lanes`](releq_format::pack::Layout::Lanes)); the rest as
/// for [`row_pair`].
pub(super) fn lane_pair(words: &[u8], matrix: &Matrix, activations: BitWidth, patch: &[u8]) -> [i32; 2] {
    let (mut words, _) = words.as_chunks::<4>();
    let mut sums = [0i32; 2];
    for plane in matrix.planes() {
        let Some((head, tail)) = words.split_at_checked(matrix.plane_words(plane) as usize) else { return sums };
        words = tail;
        let terms = lane_terms(plane.width, activations);
        let [low, high] = match plane.width {
            8 => whole_bytes(head, patch),
            4 => byte_lanes::<4, 4>(head, terms, patch),
            2 => byte_lanes::<2, 8>(head, terms, patch),
            _ => byte_lanes::<1, 16>(head, terms, patch),
        };
        sums[0] = sums[0].wrapping_add((low << plane.shift) as i32);
        sums[1] = sums[1].wrapping_add((high << plane.shift) as i32);
    }
    sums
}

/// Lanes of whole bytes: two words for four columns.
fn whole_bytes(words: &[[u8; 4]], patch: &[u8]) -> [u32; 2] {
    let mut sums = [0u32; 2];
    for ([first, second], codes) in words.as_chunks::<2>().0.iter().zip(patch.as_chunks::<4>().0) {
        let [a, b, c, d] = codes.map(u32::from);
        let row = |row: usize, flip: u8| {
            let weight = |word: &[u8; 4], place: usize| u32::from(word.get(place).map_or(0, |byte| byte ^ flip));
            let (w0, w2) = (weight(first, row), weight(first, row + 2));
            let (w1, w3) = (weight(second, row), weight(second, row + 2));
            w0.wrapping_mul(a)
                .wrapping_add(w1.wrapping_mul(b))
                .wrapping_add(w2.wrapping_mul(c))
                .wrapping_add(w3.wrapping_mul(d))
        };
        // Odd rows are stored signed.
        sums = [sums[0].wrapping_add(row(0, 0)), sums[1].wrapping_add(row(1, 0x80))];
    }
    sums
}

/// One plane of `WIDTH`-bit fields; a word holds `COLUMNS` whole columns of both rows.
#[inline]
fn byte_lanes<const WIDTH: u32, const COLUMNS: usize>(words: &[[u8; 4]], terms: usize, patch: &[u8]) -> [u32; 2] {
    let mask = 0x0101_0101u32.wrapping_mul((1 << WIDTH) - 1);
    let (patch, _) = patch.as_chunks::<COLUMNS>();
    let (mut low, mut high, mut lanes, mut taken) = (0u32, 0u32, 0u32, 0);
    for (word, codes) in words.iter().zip(patch) {
        let word = u32::from_le_bytes(*word);
        for (field, column) in (0..COLUMNS / 2).map(|field| (field as u32, field / 2 * 4 + field % 2)) {
            let pairs = (word >> (field * WIDTH)) & mask;
            let product = |pair: u32, column: usize| {
                let code = u32::from(codes.get(column).copied().unwrap_or(0));
                ((pair & 0xFF) | ((pair & 0xFF00) << 8)).wrapping_mul(code)
            };
            lanes = lanes.wrapping_add(product(pairs, column)).wrapping_add(product(pairs >> 16, column + 2));
        }
        taken += COLUMNS;
        if taken + COLUMNS > terms {
            low = low.wrapping_add(lanes & 0xFFFF);
            high = high.wrapping_add(lanes >> 16);
            (lanes, taken) = (0, 0);
        }
    }
    [low.wrapping_add(lanes & 0xFFFF), high.wrapping_add(lanes >> 16)]
}

/// Σ code · activation of two rows at the ends of halves ([`Layout::Ends`](releq_format::pack::Layout::Ends)); the rest
/// as for [`row_pair`].
pub(super) fn ends_pair(words: &[u8], bits: BitWidth, patch: &[u8]) -> [i32; 2] {
    let (words, _) = words.as_chunks::<4>();
    match bits.get() {
        1 => ends_groups::<1>(words, patch),
        2 => ends_groups::<2>(words, patch),
        3 => ends_groups::<3>(words, patch),
        _ => ends_groups::<4>(words, patch),
    }
    .map(|sum| sum as i32)
}

/// Groups of `BITS` words; the last may have fewer.
#[inline]
fn ends_groups<const BITS: usize>(words: &[[u8; 4]], patch: &[u8]) -> [u32; 2] {
    const COLUMNS: usize = ends::COLUMNS as usize;
    let (groups, last) = words.as_chunks::<BITS>();
    let (patches, _) = patch.as_chunks::<COLUMNS>();
    let mut sums = [0u32; 2];
    let groups = groups.iter().map(|group| &group[..]).chain(core::iter::once(last));
    for (words, codes) in groups.zip(patches) {
        let mut group = [0; 4];
        for (to, word) in group.iter_mut().zip(words) {
            *to = u32::from_le_bytes(*word);
        }
        // Sixteen products of a 4-bit and an 8-bit code fit 16 bits.
        let mut lanes = 0u32;
        for index in 0..ends::FIELDS {
            // Odd rows are stored signed.
            let field = ends::field(&group, BITS as u32, index) ^ 0x8000_8000;
            let column = (index / 2 * 4 + index % 2) as usize;
            for (half, column) in [(field & 0xFFFF, column), (field >> 16, column + 2)] {
                let code = u32::from(codes.get(column).copied().unwrap_or(0));
                let pair = half & ((1 << BITS) - 1) | half >> (16 - BITS) << 16;
                lanes = lanes.wrapping_add(pair.wrapping_mul(code));
            }
        }
        sums = [sums[0].wrapping_add(lanes & 0xFFFF), sums[1].wrapping_add(lanes >> 16)];
    }
    sums
}

/// Σ weight · activation of one row of signed bytes.
#[inline]
pub(super) fn row_bytes(row: &[u8], patch: &[u8]) -> i32 {
    let (rows, row_rest) = row.as_chunks::<16>();
    let (patches, patch_rest) = patch.as_chunks::<16>();
    let product = |weight: u8, code: u8| i32::from(weight as i8).wrapping_mul(i32::from(code));
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
    use releq_format::pack::Layout;

    #[test]
    fn extremes_do_not_overflow_the_lanes() {
        for bits in (1..=7).map(|bits| BitWidth::new(bits).unwrap()) {
            for activations in (1..=8).map(|bits| BitWidth::new(bits).unwrap()) {
                for columns in [1u32, 15, 16, 17, 257, 1000] {
                    let matrix =
                        Matrix { rows: 2, columns, bits, levels: Levels::TwosComplement, layout: Layout::RowPairs };
                    let most = Levels::TwosComplement.value(bits.max_code(), bits) as i8;
                    let section = matrix.pack(&alloc::vec![most; 2 * columns as usize]).unwrap();
                    let mut patch: Vec<u8> = alloc::vec![activations.max_code(); columns as usize];
                    patch.resize(patch.len().next_multiple_of(PATCH_MULTIPLE), 0);
                    let expected = columns as i32 * i32::from(bits.max_code()) * i32::from(activations.max_code());
                    let sums = row_pair(&section, columns as usize, bits, activations, &patch);
                    assert_eq!(sums, [expected; 2], "{bits:?} × {activations:?} × {columns}");
                    let matrix = Matrix { layout: Layout::Lanes, ..matrix };
                    let section = matrix.pack(&alloc::vec![most; 2 * columns as usize]).unwrap();
                    let sums = lane_pair(&section, &matrix, activations, &patch);
                    assert_eq!(sums, [expected; 2], "lanes {bits:?} × {activations:?} × {columns}");
                    let matrix = Matrix { layout: Layout::Ends, ..matrix };
                    if matrix.is_valid() {
                        let section = matrix.pack(&alloc::vec![most; 2 * columns as usize]).unwrap();
                        let sums = ends_pair(&section, bits, &patch);
                        assert_eq!(sums, [expected; 2], "ends {bits:?} × {activations:?} × {columns}");
                    }
                }
            }
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
