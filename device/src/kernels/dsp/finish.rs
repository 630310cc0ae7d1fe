//! From one code a byte to how the output stores them.

use releq_format::graph::{Storage, TensorRecord};

use super::asm;

/// Writes staged codes, one a byte and `staged_bytes` from pixel to pixel, into the pixels of `output`, each limited
/// to the output's bits.
pub(super) fn write(record: &TensorRecord, output: &mut [u8], staged: &[u8], staged_bytes: usize) {
    let pixel_bytes = (record.pixel_bytes() as usize).max(1);
    let channels = usize::from(record.channels);
    let group = 4 * record.storage.bits() as usize / 8;
    let seamless = channels == staged_bytes && 4 * pixel_bytes == group * channels && staged.len().is_multiple_of(4);
    if seamless && asm::pack_fours(output, group, staged, record.storage, record.bits.max_code()) {
        return;
    }
    let pixels = output.chunks_exact_mut(pixel_bytes).zip(staged.chunks_exact(staged_bytes.max(1)));
    for (pixel, codes) in pixels {
        let codes = codes.get(..channels).unwrap_or(&[]);
        let most = record.bits.max_code();
        match record.storage {
            Storage::Bits4 => pack::<2>(pixel, codes, most),
            Storage::Bits2 => pack::<4>(pixel, codes, most),
            Storage::Bits1 => pack::<8>(pixel, codes, most),
            Storage::Bits8 | Storage::Logits => pack::<1>(pixel, codes, most),
        }
    }
}

/// `LANES` codes a byte, from the low bits up.
#[inline]
fn pack<const LANES: usize>(pixel: &mut [u8], codes: &[u8], most: u8) {
    let width = 8 / LANES as u32;
    let join = |codes: &[u8]| {
        codes.iter().rev().fold(0u8, |byte, &code| byte.checked_shl(width).unwrap_or(0) | code.min(most))
    };
    let (whole, rest) = codes.as_chunks::<LANES>();
    let mut bytes = pixel.iter_mut();
    for (codes, byte) in whole.iter().zip(bytes.by_ref()) {
        *byte = join(codes);
    }
    if let Some(byte) = bytes.next() {
        *byte = join(rest);
    }
}

/// Writes four codes, one a byte, from where they start in a pixel: at its byte, or in its upper half.
pub(super) fn write_four(record: &TensorRecord, pixel: &mut [u8], codes: [u8; 4], upper: bool) {
    let [a, b, c, d] = codes.map(|code| code.min(record.bits.max_code()));
    match (record.storage, pixel) {
        (Storage::Bits8 | Storage::Logits, [p, q, r, s, ..]) => (*p, *q, *r, *s) = (a, b, c, d),
        (Storage::Bits4, [p, q, ..]) => (*p, *q) = (a | b << 4, c | d << 4),
        (Storage::Bits2, [p, ..]) => *p = a | b << 2 | c << 4 | d << 6,
        (Storage::Bits1, [p, ..]) => {
            let half = a | b << 1 | c << 2 | d << 3;
            *p = if upper { *p | half << 4 } else { half };
        }
        _ => {}
    }
}
