//! From one code a byte to how the output stores them.

use releq_format::graph::{Storage, TensorRecord};

use super::asm;
use crate::tensor;

/// Writes staged codes, one a byte and `staged_bytes` from pixel to pixel, into the pixels of `output`, each limited
/// to the output's bits.
pub(super) fn write(record: &TensorRecord, output: &mut [u8], staged: &[u8], staged_bytes: usize) {
    let pixel_bytes = (record.pixel_bytes() as usize).max(1);
    let channels = usize::from(record.channels);
    let whole = channels == staged_bytes && (channels as u32).wrapping_mul(record.storage.bits()).is_multiple_of(8);
    if whole {
        // No padding between pixels: all are like one.
        return row(record, output, staged);
    }
    let pixels = output.chunks_exact_mut(pixel_bytes).zip(staged.chunks_exact(staged_bytes.max(1)));
    for (pixel, codes) in pixels {
        row(record, pixel, codes.get(..channels).unwrap_or(&[]));
    }
}

/// Neighbouring codes; as many as `to` holds.
fn row(record: &TensorRecord, to: &mut [u8], codes: &[u8]) {
    let (storage, most) = (record.storage, record.bits.max_code());
    let room = (to.len() << 3) >> storage.bits().trailing_zeros();
    let codes = codes.get(..codes.len().min(room)).unwrap_or(&[]);
    let done = asm::pack_words(to, codes, storage.bits(), most);
    let (bits, rest) = (storage.bits() as usize, codes.get(done..).unwrap_or(&[]));
    let to = to.get_mut(done.wrapping_mul(bits) / 8..).unwrap_or(&mut []);
    if storage == Storage::Bits8 {
        for (to, &code) in to.iter_mut().zip(rest) {
            *to = code.min(most);
        }
        return;
    }
    to.iter_mut().take(rest.len().wrapping_mul(bits).div_ceil(8)).for_each(|byte| *byte = 0);
    for (index, &code) in rest.iter().enumerate() {
        tensor::store(to, storage, index, code.min(most));
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
