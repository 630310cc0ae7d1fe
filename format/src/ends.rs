//! Where codes lie in [`Layout::Ends`](crate::pack::Layout::Ends): two rows at the ends of a half word.
//!
//! Sixteen columns of a pair of rows are a group of b words. Turned to the right and masked, a word gives up a field:
//! in each half, one column's code of the even row at the low end and of the odd row at the high end. Times an
//! activation, both rows' products lie 16 − b bits apart, so one dual multiplication does four products.

/// Columns of a group.
pub const COLUMNS: u32 = 16;
/// Fields of a group, two columns each.
pub const FIELDS: u32 = 8;
/// Widest codes: beyond them a half has too little room between its ends.
pub const MOST_BITS: u32 = 4;

/// Words that `columns` columns of a pair of rows take. Only at 3 bits do fields of one word depend on others.
pub const fn words(bits: u32, columns: u32) -> u32 {
    match bits {
        1 => columns.div_ceil(16),
        2 => columns.div_ceil(8),
        3 => 3 * columns.div_ceil(16),
        _ => columns.div_ceil(4),
    }
}

/// The bits of a word that are one field.
pub const fn mask(bits: u32) -> u32 {
    let low = (1 << (bits & 15)) - 1;
    0x0001_0001 * (low | low << (16u32.wrapping_sub(bits) & 15))
}

/// Word of the group, and how far to the right it is turned, for a field.
///
/// At 3 bits six fields leave eight bits of each word free; these, joined as [`rest`] does, hold the last two, and
/// count as word 3.
const fn turn(bits: u32, field: u32) -> (u32, u32) {
    match (bits, field) {
        (1, _) => (0, 2 * field),
        (2, _) => (field / 4, 4 * (field % 4)),
        (3, 6) => (3, 30),
        (3, 7) => (3, 24),
        (3, _) => (field / 2, 6 * (field % 2)),
        _ => (field / 2, 8 * (field % 2)),
    }
}

/// The bits that six fields of three bits leave free in each word.
const FREE: u32 = 0x1E00_1E00;

/// What is left of the three words of a group of 3-bit codes, side by side.
const fn rest([first, second, third, _]: [u32; 4]) -> u32 {
    first & FREE | (second & FREE).rotate_right(4) | (third & FREE).rotate_left(4)
}

/// A field of a group (missing words are 0): columns 4·⌊i/2⌋ + i mod 2 in the low half and that plus 2 in the high one.
#[inline]
pub const fn field(group: &[u32; 4], bits: u32, index: u32) -> u32 {
    let (word, turn) = turn(bits, index);
    let word = if bits == 3 && word == 3 { rest(*group) } else { group[word as usize & 3] };
    word.rotate_right(turn) & mask(bits)
}

/// Word and bit, counted from the first of a pair of rows, of one bit of the code at `row`, `column`.
pub const fn place(bits: u32, row: u32, column: u32, bit: u32) -> (u32, u32) {
    let (group, column) = (column / COLUMNS, column % COLUMNS);
    let (field, half) = (column / 4 * 2 + column % 2, column / 2 % 2);
    let end = if row.is_multiple_of(2) { 0 } else { 16u32.wrapping_sub(bits) };
    let (word, turn) = turn(bits, field);
    let at = (16 * half + end + bit + turn) % 32;
    let (word, at) = match (bits == 3 && word == 3, at % 16) {
        (false, _) => (word, at),
        (true, 5..=8) => (1, at + 4),
        (true, 9..=12) => (0, at),
        (true, _) => (2, (at + 28) % 32),
    };
    (group * bits + word, at)
}

/// In the words of a group, the top bit of every code of the odd row, which is stored flipped.
pub const fn flipped(bits: u32) -> [u32; 4] {
    let mut flipped = [0; 4];
    let mut column = 0;
    while column < COLUMNS {
        let (word, at) = place(bits, 1, column, bits.wrapping_sub(1));
        flipped[word as usize & 3] |= 1 << at;
        column += 1;
    }
    flipped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_has_a_place_of_its_own_where_fields_find_it() {
        for bits in 1..=MOST_BITS {
            let mut taken = [0u32; 4];
            for (column, row, bit) in
                (0..COLUMNS).flat_map(|column| (0..2 * bits).map(move |both| (column, both / bits, both % bits)))
            {
                let (word, at) = place(bits, row, column, bit);
                assert_eq!(taken[word as usize] & 1 << at, 0, "{bits} bits, row {row}, column {column}");
                taken[word as usize] |= 1 << at;
                let mut group = [0; 4];
                group[word as usize] = 1 << at;
                for index in 0..FIELDS {
                    let here = [index / 2 * 4 + index % 2, index / 2 * 4 + index % 2 + 2].map(|first| first == column);
                    let expected = match here {
                        [false, false] => 0,
                        [_, high] => 1 << (16 * u32::from(high) + row * (16 - bits) + bit),
                    };
                    assert_eq!(field(&group, bits, index), expected, "{bits} bits, row {row}, column {column}");
                }
            }
            assert_eq!(taken[..bits as usize], [u32::MAX; 4][..bits as usize]);
        }
    }

    #[test]
    fn what_is_flipped_are_the_top_bits_of_all_fields() {
        for bits in 1..=MOST_BITS {
            let group = flipped(bits);
            assert!((0..FIELDS).all(|index| field(&group, bits, index) == 0x8000_8000), "{bits} bits");
        }
    }

    /// The places that SPEC gives the lowest bits of an even row's codes, and of two odd ones: images of every version have
    /// them there.
    #[test]
    fn places_are_as_specified() {
        let even: [[(u32, u32); 16]; 4] = [
            [0, 2, 16, 18, 4, 6, 20, 22, 8, 10, 24, 26, 12, 14, 28, 30].map(|at| (0, at)),
            [0, 4, 16, 20, 8, 12, 24, 28, 32, 36, 48, 52, 40, 44, 56, 60].map(|at| (at / 32, at % 32)),
            [0, 6, 16, 22, 32, 38, 48, 54, 64, 70, 80, 86, 90, 60, 74, 44].map(|at| (at / 32, at % 32)),
            [0, 8, 16, 24, 32, 40, 48, 56, 64, 72, 80, 88, 96, 104, 112, 120].map(|at| (at / 32, at % 32)),
        ];
        let odd = [[(0, 15), (0, 13)], [(0, 14), (1, 10)], [(0, 13), (1, 25)], [(0, 12), (3, 4)]];
        for (bits, (even, odd)) in (1..).zip(even.into_iter().zip(odd)) {
            for (column, place_of) in (0..).zip(even) {
                assert_eq!(place(bits, 2, column, 0), place_of, "{bits} bits, column {column}");
                assert_eq!(place(bits, 0, column + COLUMNS, 0), (bits + place_of.0, place_of.1), "{bits} bits");
            }
            assert_eq!([0, COLUMNS - 1].map(|column| place(bits, 1, column, 0)), odd, "{bits} bits");
        }
    }

    #[test]
    fn words_are_those_that_have_columns() {
        let columns = [1, 4, 5, 8, 9, 16, 17, 32];
        assert_eq!(columns.map(|columns| words(1, columns)), [1, 1, 1, 1, 1, 1, 2, 2]);
        assert_eq!(columns.map(|columns| words(2, columns)), [1, 1, 1, 1, 2, 2, 3, 4]);
        assert_eq!(columns.map(|columns| words(3, columns)), [3, 3, 3, 3, 3, 3, 6, 6]);
        assert_eq!(columns.map(|columns| words(4, columns)), [1, 1, 2, 2, 3, 4, 5, 8]);
    }

    #[test]
    fn nothing_is_flipped_in_words_that_a_group_lacks() {
        for bits in 1..=MOST_BITS {
            let group = flipped(bits);
            assert_eq!(group.iter().map(|word| word.count_ones()).sum::<u32>(), COLUMNS, "{bits} bits");
            assert!(group[bits as usize..].iter().all(|word| *word == 0), "{bits} bits");
        }
    }
}
