//! The NEON loop: CNT counts the ones of 16 bytes at a time.
#![allow(unsafe_code, reason = "vector loads and stores; each block says why its bytes are there")]

use core::arch::aarch64::*;

use super::PIXELS;
use super::planes::{BlockWord, WORDS_PER_FLUSH, Word};

/// Vectors of a block: two pixels each.
const VECTORS: usize = PIXELS / 2;

/// Weighted popcounts of a row and a block.
pub(super) fn count(row: &[Word], block: &[BlockWord], words: usize) -> [u32; PIXELS] {
    // SAFETY: every AArch64 processor that runs this program has NEON.
    unsafe { count_neon(row, block, words) }
}

#[target_feature(enable = "neon")]
fn count_neon(row: &[Word], block: &[BlockWord], words: usize) -> [u32; PIXELS] {
    let mut sums = [vdupq_n_u64(0); VECTORS];
    let words = words.max(1);
    let (weight_bits, activation_bits) = (row.len() / words, block.len() / words);
    // Horner over the place value, from the top: all pairs of planes of one place share their counters.
    for place in (0..(weight_bits + activation_bits).saturating_sub(1)).rev() {
        sums = sums.map(|sum| vaddq_u64(sum, sum));
        let (mut bytes, mut left) = ([vdupq_n_u8(0); VECTORS], WORDS_PER_FLUSH);
        for i in place.saturating_sub(activation_bits - 1)..weight_bits.min(place + 1) {
            let weights = row.get(i * words..).unwrap_or(&[]);
            let activations = block.get((place - i) * words..).unwrap_or(&[]);
            for (weight, pixels) in weights.iter().zip(activations).take(words) {
                let weight = vreinterpretq_u8_u64(vdupq_n_u64(u64::from_le_bytes(*weight)));
                for (bytes, pair) in bytes.iter_mut().zip(pixels.as_chunks::<16>().0) {
                    // SAFETY: 16 bytes are there, and the load needs no alignment.
                    let pair = unsafe { vld1q_u8(pair.as_ptr()) };
                    *bytes = vaddq_u8(*bytes, vcntq_u8(vandq_u8(weight, pair)));
                }
                left -= 1;
                if left == 0 {
                    for (sum, bytes) in sums.iter_mut().zip(&mut bytes) {
                        *sum = vaddq_u64(*sum, vpaddlq_u32(vpaddlq_u16(vpaddlq_u8(*bytes))));
                        *bytes = vdupq_n_u8(0);
                    }
                    left = WORDS_PER_FLUSH;
                }
            }
        }
        for (sum, bytes) in sums.iter_mut().zip(bytes) {
            *sum = vaddq_u64(*sum, vpaddlq_u32(vpaddlq_u16(vpaddlq_u8(bytes))));
        }
    }
    let mut counts = [0u64; PIXELS];
    for (counts, sum) in counts.as_chunks_mut::<2>().0.iter_mut().zip(sums) {
        // SAFETY: 16 bytes are there, and the store needs no alignment.
        unsafe { vst1q_u64(counts.as_mut_ptr(), sum) };
    }
    counts.map(|count| count as u32)
}
