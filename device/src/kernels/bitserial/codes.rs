//! Weight rows of any layout as one code a byte.

use releq_format::bits::Plane;
use releq_format::pack::{Layout, Matrix};

/// Fills `codes` with the offset-binary codes of `row`; what is behind the last column is left alone.
pub(super) fn row(matrix: &Matrix, section: &[u8], row: usize, codes: &mut [u8]) {
    let columns = matrix.columns as usize;
    let Some(codes) = codes.get_mut(..columns) else { return };
    match matrix.layout {
        Layout::Bytes => {
            let values = section.get(row.wrapping_mul(columns)..).unwrap_or(&[]);
            for (code, &value) in codes.iter_mut().zip(values) {
                *code = value ^ 0x80;
            }
        }
        Layout::RowPairs => row_of_pair(matrix, section, row, codes),
        _ => any(matrix, section, row, codes),
    }
}

/// One row of a pair, plane by plane: its half of every word.
fn row_of_pair(matrix: &Matrix, section: &[u8], row: usize, codes: &mut [u8]) {
    let (words, _) = section.as_chunks::<4>();
    let planes = || matrix.bits.planes().map(|plane| (plane, matrix.plane_words(plane) as usize));
    let stride: usize = planes().map(|(_, words)| words).sum();
    let mut words = words.get((row / 2).wrapping_mul(stride)..).unwrap_or(&[]);
    codes.fill(0);
    for (plane, count) in planes() {
        let (plane_words, rest) = words.split_at_checked(count).unwrap_or((words, &[]));
        words = rest;
        match plane.width {
            4 => fields::<4, 4>(plane, plane_words, row % 2, codes),
            2 => fields::<2, 8>(plane, plane_words, row % 2, codes),
            _ => fields::<1, 16>(plane, plane_words, row % 2, codes),
        }
    }
}

/// `FIELDS` fields of `WIDTH` bits in each half-word.
#[inline]
fn fields<const WIDTH: u32, const FIELDS: usize>(plane: Plane, words: &[[u8; 4]], half: usize, codes: &mut [u8]) {
    let mask = (1u32 << WIDTH) - 1;
    for (codes, word) in codes.chunks_mut(FIELDS).zip(words) {
        let word = u32::from_le_bytes(*word) >> (16 * half);
        for (field, code) in codes.iter_mut().enumerate() {
            *code |= (((word >> (field as u32 * WIDTH)) & mask) << plane.shift) as u8;
        }
    }
}

/// By the layout's own rule, whatever it is.
fn any(matrix: &Matrix, section: &[u8], row: usize, codes: &mut [u8]) {
    for (column, code) in codes.iter_mut().enumerate() {
        let value = matrix.value(section, row as u32, column as u32);
        *code = value.and_then(|value| matrix.levels.code(value, matrix.bits)).unwrap_or(0);
    }
}
