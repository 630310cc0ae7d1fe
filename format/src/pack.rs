//! Weight layouts: where each b-bit field lies, and how fields become codes again.
//!
//! A weighted layer's weights are a matrix. Convolution and dense layers: one row per output channel, columns in the
//! order (kernel row, kernel column, input channel). Depthwise layers: one row per kernel tap, one column per channel.
//! Packing (workstation) and unpacking (everywhere) stand on this one page so that they cannot drift apart.

use serde::{Deserialize, Serialize};

use crate::bits::{BitWidth, Levels, Plane, Planes};
use crate::ends;

/// The closed list of weight layouts of image version 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Layout {
    /// Signed bytes, row after row without gaps; the section is padded to 4 bytes. Only for 8-bit weights.
    Bytes,
    /// Rows 2p and 2p+1 share 32-bit words: row 2p in the low half, row 2p+1 in the high half, column by column from
    /// the low bits up. For each pair, the planes of [`BitWidth::planes`] one after another, each padded to a word.
    /// One multiplication by an activation then advances both rows. For 1..=7 bits of convolution and dense layers.
    RowPairs,
    /// Each row's planes one after another, fields from the low bits up, each plane padded to a 32-bit word.
    /// For 1..=7 bits of depthwise layers.
    Rows,
    /// Rows 2p and 2p+1 share words whose bytes are (row 2p, row 2p+1) of one column and, two columns on, the same
    /// again; each byte's fields, from the low bits up, are further columns. A half of such a word is both rows'
    /// codes, so one dual multiplication on a DSP core advances both rows by two columns. For 1..=8 bits of
    /// convolution and dense layers. Image feature [`LANES`](crate::image::LANES).
    Lanes,
    /// Rows 2p and 2p+1 share words; one AND leaves a code of each at the two ends of each half, so one dual
    /// multiplication does four products ([`ends`]). For 1..=4 bits of convolution and dense layers. Image feature
    /// [`ENDS`](crate::image::ENDS).
    Ends,
}

impl Layout {
    /// The image features that a reader needs for it.
    pub const fn features(self) -> u32 {
        match self {
            Self::Lanes => crate::image::LANES,
            Self::Ends => crate::image::ENDS,
            Self::Bytes | Self::RowPairs | Self::Rows => 0,
        }
    }
}

/// The shape and encoding of one layer's weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matrix {
    /// Rows: output channels, or taps of a depthwise kernel.
    pub rows: u32,
    /// Columns: K of the sum, or channels of a depthwise kernel.
    pub columns: u32,
    /// Bits of each code.
    pub bits: BitWidth,
    /// What a code stands for.
    pub levels: Levels,
    /// Where fields lie.
    pub layout: Layout,
}

impl Matrix {
    /// Whether the combination exists: bytes hold 8-bit two's complement values, lanes any code, ends up to 4 bits, the
    /// others up to 7.
    pub fn is_valid(&self) -> bool {
        let fits = match self.layout {
            Layout::Bytes => self.bits == BitWidth::EIGHT,
            Layout::RowPairs | Layout::Rows => self.bits < BitWidth::EIGHT,
            Layout::Lanes => true,
            Layout::Ends => u32::from(self.bits.get()) <= ends::MOST_BITS,
        };
        self.levels.allows(self.bits) && fits
    }

    /// Bytes of the section, a multiple of 4; `None` beyond `u32`.
    pub fn bytes(&self) -> Option<u32> {
        let groups = match self.layout {
            Layout::Bytes => return self.rows.checked_mul(self.columns)?.checked_next_multiple_of(4),
            Layout::RowPairs | Layout::Lanes | Layout::Ends => self.rows.div_ceil(2),
            Layout::Rows => self.rows,
        };
        groups.checked_mul(self.words_per_group())?.checked_mul(4)
    }

    /// Bytes of one row in [`Layout::Bytes`] and [`Layout::Rows`], of a pair of rows elsewhere. Wraps where
    /// [`Matrix::bytes`] is `None`.
    pub fn group_bytes(&self) -> u32 {
        match self.layout {
            Layout::Bytes => self.columns,
            _ => self.words_per_group().wrapping_mul(4),
        }
    }

    /// The planes a code is split into: those of its width, but a whole byte in [`Layout::Lanes`].
    pub const fn planes(&self) -> Planes {
        match self.layout {
            Layout::Lanes => self.bits.byte_or_planes(),
            _ => self.bits.planes(),
        }
    }

    /// Fields of `plane` in one word, per row.
    pub const fn fields_per_word(&self, plane: Plane) -> u32 {
        // A power of two that the compiler knows not to be 0, so that divisions by it have no panic path.
        1 << self.log2_fields(plane)
    }

    const fn log2_fields(&self, plane: Plane) -> u32 {
        let log2_bits: u32 = if matches!(self.layout, Layout::RowPairs | Layout::Lanes) { 4 } else { 5 };
        log2_bits.wrapping_sub(plane.width.trailing_zeros()) & 7
    }

    /// Words that one row (or pair of rows) takes in `plane`.
    pub const fn plane_words(&self, plane: Plane) -> u32 {
        let log2_fields = self.log2_fields(plane);
        let words = (self.columns >> log2_fields) + (self.columns & ((1 << log2_fields) - 1) != 0) as u32;
        // Four columns are the least that lanes hold; in bytes they take two words.
        if plane.width == 8 { (words + 1) & !1 } else { words }
    }

    /// Words of all planes of one row (or pair of rows): fewer than 2^32, since a column takes at most 16 bits of them.
    fn words_per_group(&self) -> u32 {
        if self.layout == Layout::Ends {
            return ends::words(u32::from(self.bits.get()), self.columns);
        }
        self.planes().fold(0, |words, plane| words.wrapping_add(self.plane_words(plane)))
    }

    /// The integer weight at `row`, `column`; `None` outside the matrix or the section.
    pub fn value(&self, section: &[u8], row: u32, column: u32) -> Option<i32> {
        if row >= self.rows || column >= self.columns {
            return None;
        }
        if self.layout == Layout::Bytes {
            let index = u64::from(row) * u64::from(self.columns) + u64::from(column);
            return section.get(usize::try_from(index).ok()?).map(|&byte| i32::from(byte as i8));
        }
        let mut code = 0;
        for (plane, word, bit) in self.fields(row, column) {
            let start = usize::try_from(word).ok()?.checked_mul(4)?;
            let bytes = section.get(start..)?.first_chunk::<4>()?;
            let field = (u32::from_le_bytes(*bytes) >> bit) & ((1 << plane.width) - 1);
            code |= (field as u8) << plane.shift;
        }
        Some(self.levels.value(code ^ self.sign(row), self.bits))
    }

    /// What is flipped in the codes of `row`: the odd rows of byte lanes and of ends are stored in two's complement,
    /// since they are the top of a signed half.
    fn sign(&self, row: u32) -> u8 {
        let signed = match self.layout {
            Layout::Lanes => self.bits == BitWidth::EIGHT,
            Layout::Ends => true,
            Layout::Bytes | Layout::RowPairs | Layout::Rows => false,
        };
        if signed && row % 2 == 1 { self.bits.max_code() / 2 + 1 } else { 0 }
    }

    /// Where the fields of one code lie: its planes with word index and lowest bit.
    fn fields(&self, row: u32, column: u32) -> impl Iterator<Item = (Plane, u64, u32)> {
        let group = match self.layout {
            Layout::RowPairs | Layout::Lanes | Layout::Ends => row / 2,
            Layout::Rows | Layout::Bytes => row,
        };
        let matrix = *self;
        let start = u64::from(group) * u64::from(matrix.words_per_group());
        let by_bits = self.layout == Layout::Ends;
        let planes = matrix.planes().filter(move |_| !by_bits).scan(start, move |next, plane| {
            let (word, bit) = matrix.place(plane, row, column);
            let word = *next + u64::from(word);
            *next += u64::from(matrix.plane_words(plane));
            Some((plane, word, bit))
        });
        let bits = (0..matrix.bits.get()).filter(move |_| by_bits).map(move |shift| {
            let (word, bit) = ends::place(u32::from(matrix.bits.get()), row, column, u32::from(shift));
            (Plane { width: 1, shift }, start + u64::from(word), bit)
        });
        planes.chain(bits)
    }

    /// Word within its group's plane, and lowest bit, of the field at `row`, `column`.
    fn place(&self, plane: Plane, row: u32, column: u32) -> (u32, u32) {
        let (width, per_word) = (u32::from(plane.width), self.fields_per_word(plane));
        let in_order = (column / per_word, column % per_word * width);
        match self.layout {
            Layout::RowPairs => (in_order.0, in_order.1 + 16 * (row % 2)),
            Layout::Rows | Layout::Bytes | Layout::Ends => in_order,
            Layout::Lanes => {
                // Columns 4c, 4c + 2 and 4c + 1, 4c + 3 lie in two neighbouring fields of the same bytes.
                let field = column / 4 * 2 + column % 2;
                let byte = column / 2 % 2 * 2 + row % 2;
                // As in `fields_per_word`, visibly not 0.
                let per_byte = 1u32 << (3u32.wrapping_sub(plane.width.trailing_zeros()) & 7);
                (field / per_byte, 8 * byte + field % per_byte * width)
            }
        }
    }

    /// Packs integer weights, row-major, into a section.
    ///
    /// # Errors
    /// The first value that is no level of the set, or the number of values if it is not rows × columns.
    #[cfg(feature = "alloc")]
    pub fn pack(&self, values: &[i8]) -> Result<alloc::vec::Vec<u8>, PackError> {
        let expected = u64::from(self.rows) * u64::from(self.columns);
        let bytes = self.bytes().filter(|_| self.is_valid()).ok_or(PackError::Unsupported)?;
        if values.len() as u64 != expected {
            return Err(PackError::Length);
        }
        let mut section = alloc::vec![0; bytes as usize];
        for (index, &value) in values.iter().enumerate() {
            let code = self.levels.code(i32::from(value), self.bits).ok_or(PackError::NoLevel(value))?;
            if self.layout == Layout::Bytes {
                section[index] = value as u8;
                continue;
            }
            let (row, column) = (index as u32 / self.columns, index as u32 % self.columns);
            let code = code ^ self.sign(row);
            for (plane, word, bit) in self.fields(row, column) {
                let field = (u32::from(code) >> plane.shift) & ((1 << plane.width) - 1);
                let start = word as usize * 4;
                for (byte, part) in section[start..start + 4].iter_mut().zip((field << bit).to_le_bytes()) {
                    *byte |= part;
                }
            }
        }
        Ok(section)
    }
}

/// Why weights cannot be packed.
#[cfg(feature = "alloc")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackError {
    /// Bits, levels and layout do not go together, or the section exceeds 4 GiB.
    Unsupported,
    /// There are not rows × columns values.
    Length,
    /// A value that the level set does not have.
    NoLevel(i8),
}

#[cfg(feature = "alloc")]
impl core::fmt::Display for PackError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Unsupported => f.write_str("no such combination of bits, levels and layout"),
            Self::Length => f.write_str("the weights are not rows × columns values"),
            Self::NoLevel(value) => write!(f, "the level set has no {value}"),
        }
    }
}

#[cfg(feature = "alloc")]
impl core::error::Error for PackError {}

#[cfg(all(test, feature = "alloc"))]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn matrices() -> impl Strategy<Value = Matrix> {
        let levels = prop_oneof![Just(Levels::TwosComplement), Just(Levels::MidTread), Just(Levels::MidRise)];
        (1u32..12, 1u32..70, 1u8..=8, levels, 0..4)
            .prop_map(|(rows, columns, bits, levels, layout)| {
                let bits = BitWidth::new(bits).unwrap();
                let layout = match (bits.get(), layout) {
                    (_, 0) => Layout::Lanes,
                    (1..=4, 3) => Layout::Ends,
                    (8, _) => Layout::Bytes,
                    (_, 1) => Layout::RowPairs,
                    _ => Layout::Rows,
                };
                Matrix { rows, columns, bits, levels, layout }
            })
            .prop_filter("combination exists", Matrix::is_valid)
    }

    proptest! {
        #[test]
        fn what_is_packed_is_read_back(matrix in matrices(), seed: u64) {
            let mut state = seed | 1;
            let values: Vec<i8> = (0..matrix.rows * matrix.columns).map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let code = ((state >> 40) as u8 & matrix.bits.max_code()).max(u8::from(matrix.levels == Levels::MidTread));
                let code = if matrix.levels == Levels::MidTread && matrix.bits.get() == 1 { 1 } else { code };
                matrix.levels.value(code, matrix.bits) as i8
            }).collect();
            let section = matrix.pack(&values).unwrap();
            prop_assert_eq!(section.len() as u32, matrix.bytes().unwrap());
            for row in 0..matrix.rows {
                for column in 0..matrix.columns {
                    let index = (row * matrix.columns + column) as usize;
                    prop_assert_eq!(matrix.value(&section, row, column), Some(i32::from(values[index])));
                }
            }
            prop_assert_eq!(matrix.value(&section, matrix.rows, 0), None);
            prop_assert_eq!(matrix.value(&section, 0, matrix.columns), None);
        }
    }

    #[test]
    fn bytes_of_a_three_bit_pair_are_as_specified() {
        let bits = BitWidth::new(3).unwrap();
        let matrix = Matrix { rows: 2, columns: 3, bits, levels: Levels::TwosComplement, layout: Layout::RowPairs };
        // Codes are value + 4. Row 0: 0, 1, 7; row 1: 4, 2, 3. Plane 2 bits: 0,1,3 | 0,2,3; plane 1 bit: 0,0,1 | 1,0,0.
        let section = matrix.pack(&[-4, -3, 3, 0, -2, -1]).unwrap();
        assert_eq!(section, [0b0011_0100, 0, 0b0011_1000, 0, 0b0000_0100, 0, 0b0000_0001, 0]);
    }

    #[test]
    fn refusals_say_what_is_wrong() {
        let bits = BitWidth::new(2).unwrap();
        let matrix = Matrix { rows: 1, columns: 1, bits, levels: Levels::MidRise, layout: Layout::Rows };
        let said = |matrix: Matrix, values: &[i8]| alloc::format!("{}", matrix.pack(values).unwrap_err());
        assert_eq!(said(matrix, &[0]), "the level set has no 0");
        assert_eq!(said(matrix, &[1, 1]), "the weights are not rows × columns values");
        let bytes = Matrix { layout: Layout::Bytes, ..matrix };
        assert_eq!(said(bytes, &[1]), "no such combination of bits, levels and layout");
    }

    #[test]
    fn lanes_are_as_specified() {
        let eight = BitWidth::EIGHT;
        let matrix = Matrix { rows: 2, columns: 3, bits: eight, levels: Levels::TwosComplement, layout: Layout::Lanes };
        // The even row is offset by 128, the odd one signed; columns 0 and 2, then 1 and (padding) 3.
        let section = matrix.pack(&[-128, 0, 1, -1, 2, 127]).unwrap();
        assert_eq!(section, [0x00, 0xFF, 0x81, 0x7F, 0x80, 0x02, 0, 0]);
        let four = BitWidth::new(4).unwrap();
        let matrix = Matrix { bits: four, ..matrix };
        // Codes: 0, 8, 15 | 1, 9, 14.
        assert_eq!(matrix.pack(&[-8, 0, 7, -7, 1, 6]).unwrap(), [0x80, 0x91, 0x0F, 0x0E]);
    }

    #[test]
    fn ends_are_as_specified() {
        let bits = BitWidth::new(2).unwrap();
        let matrix = Matrix { rows: 2, columns: 4, bits, levels: Levels::TwosComplement, layout: Layout::Ends };
        // The even row's codes are value + 2: 0, 1, 2, 3; the odd row's are signed: 1, 2, 3, 0.
        let section = matrix.pack(&[-2, -1, 0, 1, 1, -2, -1, 0]).unwrap();
        let word = |field: u32, turn: u32| field.rotate_left(turn);
        let expected = word(0xC002_4000, 0) | word(0x0003_8001, 4);
        assert_eq!(section, expected.to_le_bytes());
    }

    /// SPEC's sizes, counted another way than the code does.
    #[test]
    fn sections_are_as_long_as_specified() {
        let planes = |bits: u8| [1, 2, 4].into_iter().filter(move |plane| bits & plane != 0).map(u32::from);
        for (columns, rows, bits) in (1..70).flat_map(|columns| {
            [1, 2, 5].into_iter().flat_map(move |rows| (1..=8).map(move |bits| (columns, rows, bits)))
        }) {
            let bytes = |layout| {
                let bits = BitWidth::new(bits).unwrap();
                Matrix { rows, columns, bits, levels: Levels::TwosComplement, layout }.bytes()
            };
            let pairs = rows.div_ceil(2);
            let shared: u32 = planes(bits).map(|plane| columns.div_ceil(16 / plane)).sum();
            if bits < 8 {
                assert_eq!(bytes(Layout::RowPairs), Some(4 * pairs * shared));
                assert_eq!(bytes(Layout::Lanes), Some(4 * pairs * shared));
                let own: u32 = planes(bits).map(|plane| columns.div_ceil(32 / plane)).sum();
                assert_eq!(bytes(Layout::Rows), Some(4 * rows * own));
            } else {
                assert_eq!(bytes(Layout::Bytes), Some((rows * columns).next_multiple_of(4)));
                assert_eq!(bytes(Layout::Lanes), Some(8 * pairs * columns.div_ceil(4)));
            }
            if u32::from(bits) <= ends::MOST_BITS {
                assert_eq!(bytes(Layout::Ends), Some(4 * pairs * ends::words(bits.into(), columns)));
            }
            for (layout, groups) in [(Layout::RowPairs, pairs), (Layout::Rows, rows), (Layout::Bytes, rows)] {
                let matrix = Matrix { bits: BitWidth::new(bits).unwrap(), ..one(rows, columns, layout) };
                let whole = (groups * matrix.group_bytes()).next_multiple_of(4);
                assert!(!matrix.is_valid() || matrix.bytes() == Some(whole), "{matrix:?}");
            }
        }
    }

    fn one(rows: u32, columns: u32, layout: Layout) -> Matrix {
        Matrix { rows, columns, bits: BitWidth::EIGHT, levels: Levels::TwosComplement, layout }
    }

    #[test]
    fn combinations_exist_as_specified() {
        use Layout::{Bytes, Ends, Lanes, RowPairs, Rows};
        use Levels::{MidRise, MidTread, TwosComplement};
        let layouts = [Bytes, RowPairs, Rows, Lanes, Ends];
        let exist = |bits: u8, levels| {
            let bits = BitWidth::new(bits).unwrap();
            layouts.map(|layout| Matrix { rows: 1, columns: 1, bits, levels, layout }.is_valid())
        };
        for bits in 2..=4 {
            assert_eq!(exist(bits, TwosComplement), [false, true, true, true, true], "{bits} bits");
            assert_eq!(exist(bits, MidTread), [false, true, true, true, true], "{bits} bits");
        }
        for bits in 5..=7 {
            assert_eq!(exist(bits, TwosComplement), [false, true, true, true, false], "{bits} bits");
        }
        assert_eq!(exist(8, TwosComplement), [true, false, false, true, false]);
        for bits in 1..=8 {
            let allowed = MidRise.allows(BitWidth::new(bits).unwrap());
            assert!(allowed || exist(bits, MidRise) == [false; 5], "{bits} bits");
        }
        assert_eq!(layouts.map(Layout::features), [0, 0, 0, crate::image::LANES, crate::image::ENDS]);
    }

    #[test]
    fn values_outside_the_set_are_refused() {
        let bits = BitWidth::new(2).unwrap();
        let matrix = Matrix { rows: 1, columns: 1, bits, levels: Levels::MidRise, layout: Layout::Rows };
        assert_eq!(matrix.pack(&[2]), Err(PackError::NoLevel(2)));
        assert_eq!(matrix.pack(&[1, 1]), Err(PackError::Length));
    }
}
