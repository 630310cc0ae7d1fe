//! The NEON loop: CNT counts the ones of 16 bytes at a time.
#![allow(unsafe_code, reason = "vector loads and stores; each block says why its bytes are there")]

use core::arch::aarch64::*;

use super::PIXELS;
use super::planes::{BlockWord, Counts, ROWS, RowsWord, WORDS_PER_FLUSH, pairs, places};

/// Vectors of a block: two pixels each.
const VECTORS: usize = PIXELS / 2;

/// Weighted popcounts of a group of rows and a block.
pub(super) fn count(rows: &[RowsWord], block: &[BlockWord], words: usize) -> Counts {
    // SAFETY: every AArch64 processor that runs this program has NEON.
    unsafe { count_neon(rows, block, words) }
}

#[target_feature(enable = "neon")]
fn count_neon(rows: &[RowsWord], block: &[BlockWord], words: usize) -> Counts {
    let mut sums = [[vdupq_n_u64(0); VECTORS]; ROWS];
    // Horner over the place value, from the top: all pairs of planes of one place share their counters.
    for place in places(rows, block, words) {
        for sum in sums.as_flattened_mut() {
            *sum = vaddq_u64(*sum, *sum);
        }
        let (mut bytes, mut counted) = ([[vdupq_n_u8(0); VECTORS]; ROWS], 0);
        for (weights, pixels) in pairs(rows, block, words, place) {
            for (weights, pixels) in weights.iter().zip(pixels) {
                if counted == WORDS_PER_FLUSH {
                    flush(&mut sums, &bytes);
                    (bytes, counted) = ([[vdupq_n_u8(0); VECTORS]; ROWS], 0);
                }
                for (bytes, weight) in bytes.iter_mut().zip(weights.as_chunks::<8>().0) {
                    let weight = vreinterpretq_u8_u64(vdupq_n_u64(u64::from_le_bytes(*weight)));
                    for (bytes, pair) in bytes.iter_mut().zip(pixels.as_chunks::<16>().0) {
                        // SAFETY: 16 bytes are there, and the load needs no alignment.
                        let pair = unsafe { vld1q_u8(pair.as_ptr()) };
                        *bytes = vaddq_u8(*bytes, vcntq_u8(vandq_u8(weight, pair)));
                    }
                }
                counted += 1;
            }
        }
        flush(&mut sums, &bytes);
    }
    let mut counts = [[0u64; PIXELS]; ROWS];
    for (counts, &sum) in counts.as_flattened_mut().as_chunks_mut::<2>().0.iter_mut().zip(sums.as_flattened()) {
        // SAFETY: 16 bytes are there, and the store needs no alignment.
        unsafe { vst1q_u64(counts.as_mut_ptr(), sum) };
    }
    counts.map(|row| row.map(|count| count as u32))
}

/// Adds the counters of all bytes to the sums of their pixels.
#[inline]
#[target_feature(enable = "neon")]
fn flush(sums: &mut [[uint64x2_t; VECTORS]; ROWS], bytes: &[[uint8x16_t; VECTORS]; ROWS]) {
    for (sum, &bytes) in sums.as_flattened_mut().iter_mut().zip(bytes.as_flattened()) {
        *sum = vaddq_u64(*sum, vpaddlq_u32(vpaddlq_u16(vpaddlq_u8(bytes))));
    }
}
