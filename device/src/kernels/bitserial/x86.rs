//! AVX2 and AVX-512 loops, and the look for them.
//!
//! Loops stand where iterators could: `map` over an array has not this file's target features, so what it is given is
//! called and not inlined.
#![allow(unsafe_code, reason = "vector instructions; each block says why its processor has them")]

use core::arch::x86_64::*;

use super::bytes::PixelPair;
use super::planes::{BlockWord, Counts, ROWS, RowsWord, WORDS_PER_FLUSH, pairs, places};
use super::walk::{COLUMN_MULTIPLE, MOST_ROWS, Sums};
use super::{Isa, PIXELS};

/// Asks the processor, and whether the operating system keeps its wide registers (Intel SDM vol. 1, §14.3 and §15.2).
#[cfg(not(miri))]
pub(super) fn look() -> Isa {
    const OSXSAVE: u32 = 1 << 27;
    const AVX2: u32 = 1 << 5;
    const AVX512F: u32 = 1 << 16;
    const VPOPCNTDQ: u32 = 1 << 14;
    const YMM_STATE: u64 = 0b110;
    const ZMM_STATE: u64 = 0b1110_0110;
    let has = |register: u32, bits: u32| register & bits == bits;
    if __cpuid(0).eax < 7 || !has(__cpuid(1).ecx, OSXSAVE) {
        return Isa::Portable;
    }
    // SAFETY: OSXSAVE says that XGETBV exists and is enabled.
    let state = unsafe { _xgetbv(0) };
    let leaf = __cpuid_count(7, 0);
    match () {
        () if state & YMM_STATE != YMM_STATE || !has(leaf.ebx, AVX2) => Isa::Portable,
        () if state & ZMM_STATE == ZMM_STATE && has(leaf.ebx, AVX512F) && has(leaf.ecx, VPOPCNTDQ) => Isa::Avx512,
        () => Isa::Avx2,
    }
}

/// Miri has no processor to ask: it has the vectors that the program is compiled for.
#[cfg(miri)]
pub(super) const fn look() -> Isa {
    match () {
        () if cfg!(all(target_feature = "avx512f", target_feature = "avx512vpopcntdq")) => Isa::Avx512,
        () if cfg!(target_feature = "avx2") => Isa::Avx2,
        () => Isa::Portable,
    }
}

/// The bit-planes of 64 codes; `isa` must be one of this file's.
pub(super) fn split(isa: Isa, codes: &[u8; COLUMN_MULTIPLE]) -> [u64; 8] {
    debug_assert!(matches!(isa, Isa::Avx2 | Isa::Avx512));
    // SAFETY: both instruction sets include AVX2, and an `Isa` is only given out where it was found.
    unsafe { split_avx2(codes) }
}

/// Weighted popcounts; `isa` must be one of this file's.
pub(super) fn count(isa: Isa, rows: &[RowsWord], block: &[BlockWord], words: usize) -> Counts {
    match isa {
        // SAFETY: the instruction set was found on this processor.
        Isa::Avx512 => unsafe { count_avx512(rows, block, words) },
        // SAFETY: as above; AVX-512 was handled, so this is AVX2.
        _ => unsafe { count_avx2(rows, block, words) },
    }
}

/// Sums of products of 16 rows and a block of pixels; the caller has found AVX2.
pub(super) fn products(group: &[[u8; 4 * MOST_ROWS]], block: &[PixelPair]) -> Sums {
    // SAFETY: callers take this path only for an `Isa` with AVX2.
    unsafe { products_avx2(group, block) }
}

#[target_feature(enable = "avx2")]
fn split_avx2(codes: &[u8; COLUMN_MULTIPLE]) -> [u64; 8] {
    let (halves, _) = codes.as_chunks::<32>();
    let mut planes = [0u64; 8];
    for (half, codes) in halves.iter().enumerate() {
        // SAFETY: 32 bytes are there, and the load needs no alignment.
        let mut codes = unsafe { _mm256_loadu_si256(codes.as_ptr().cast()) };
        // The top bit of every byte, then the next after a doubling.
        for plane in planes.iter_mut().rev() {
            *plane |= u64::from(_mm256_movemask_epi8(codes) as u32) << (32 * half);
            codes = _mm256_add_epi8(codes, codes);
        }
    }
    planes
}

/// The ones of each byte, by a table of nibbles (Muła's method).
#[inline]
#[target_feature(enable = "avx2")]
fn ones_per_byte(bits: __m256i) -> __m256i {
    let table = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
    let nibble = _mm256_set1_epi8(15);
    let low = _mm256_shuffle_epi8(table, _mm256_and_si256(bits, nibble));
    let high = _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16::<4>(bits), nibble));
    _mm256_add_epi8(low, high)
}

#[target_feature(enable = "avx2")]
fn count_avx2(rows: &[RowsWord], block: &[BlockWord], words: usize) -> Counts {
    let zero = _mm256_setzero_si256();
    let mut sums = [[zero; 2]; ROWS];
    // Horner over the place value, from the top: all pairs of planes of one place share their counters.
    for place in places(rows, block, words) {
        for sum in sums.as_flattened_mut() {
            *sum = _mm256_add_epi64(*sum, *sum);
        }
        let (mut bytes, mut counted) = ([[zero; 2]; ROWS], 0usize);
        for (mut weights, mut pixels) in pairs(rows, block, words, place) {
            while !weights.is_empty() {
                if counted == WORDS_PER_FLUSH {
                    flush(&mut sums, &bytes);
                    (bytes, counted) = ([[zero; 2]; ROWS], 0);
                }
                let run = weights.len().min(WORDS_PER_FLUSH.wrapping_sub(counted));
                let (head, rest) = (weights.split_at(run), pixels.split_at(run));
                bytes = count_run(bytes, head.0, rest.0);
                (weights, pixels) = (head.1, rest.1);
                counted += run;
            }
        }
        flush(&mut sums, &bytes);
    }
    let mut counts = [[0u64; PIXELS]; ROWS];
    for (counts, &sum) in counts.as_flattened_mut().as_chunks_mut::<4>().0.iter_mut().zip(sums.as_flattened()) {
        // SAFETY: 32 bytes are there, and the store needs no alignment.
        unsafe { _mm256_storeu_si256(counts.as_mut_ptr().cast(), sum) };
    }
    low_halves(&counts)
}

/// Counts modulo 2^32.
fn low_halves(counts: &[[u64; PIXELS]; ROWS]) -> Counts {
    counts.map(|row| row.map(|count| count as u32))
}

/// Adds the counters of all bytes to the sums of their pixels.
#[inline]
#[target_feature(enable = "avx2")]
fn flush(sums: &mut [[__m256i; 2]; ROWS], bytes: &[[__m256i; 2]; ROWS]) {
    for (sum, &bytes) in sums.as_flattened_mut().iter_mut().zip(bytes.as_flattened()) {
        *sum = _mm256_add_epi64(*sum, _mm256_sad_epu8(bytes, _mm256_setzero_si256()));
    }
}

/// Adds the ones of a run of words to the counters of every byte.
#[inline]
#[target_feature(enable = "avx2")]
fn count_run(mut bytes: [[__m256i; 2]; ROWS], weights: &[RowsWord], pixels: &[BlockWord]) -> [[__m256i; 2]; ROWS] {
    for (weights, pixels) in weights.iter().zip(pixels) {
        // SAFETY: 64 bytes are there, and the loads need no alignment.
        let pixels =
            unsafe { [_mm256_loadu_si256(pixels.as_ptr().cast()), _mm256_loadu_si256(pixels.as_ptr().add(32).cast())] };
        for (bytes, weight) in bytes.iter_mut().zip(weights.as_chunks::<8>().0) {
            let weight = _mm256_set1_epi64x(i64::from_le_bytes(*weight));
            for (bytes, pixels) in bytes.iter_mut().zip(pixels) {
                *bytes = _mm256_add_epi8(*bytes, ones_per_byte(_mm256_and_si256(weight, pixels)));
            }
        }
    }
    bytes
}

#[target_feature(enable = "avx512f,avx512vpopcntdq")]
fn count_avx512(rows: &[RowsWord], block: &[BlockWord], words: usize) -> Counts {
    let mut sums = [_mm512_setzero_si512(); ROWS];
    for place in places(rows, block, words) {
        for sum in &mut sums {
            *sum = _mm512_add_epi64(*sum, *sum);
        }
        for (weights, pixels) in pairs(rows, block, words, place) {
            for (weights, pixels) in weights.iter().zip(pixels) {
                // SAFETY: 64 bytes are there, and the load needs no alignment.
                let pixels = unsafe { _mm512_loadu_si512(pixels.as_ptr().cast()) };
                for (sum, weight) in sums.iter_mut().zip(weights.as_chunks::<8>().0) {
                    let weight = _mm512_set1_epi64(i64::from_le_bytes(*weight));
                    *sum = _mm512_add_epi64(*sum, _mm512_popcnt_epi64(_mm512_and_si512(weight, pixels)));
                }
            }
        }
    }
    let mut counts = [[0u64; PIXELS]; ROWS];
    for (counts, &sum) in counts.iter_mut().zip(&sums) {
        // SAFETY: 64 bytes are there, and the store needs no alignment.
        unsafe { _mm512_storeu_si512(counts.as_mut_ptr().cast(), sum) };
    }
    low_halves(&counts)
}

/// 16 rows in two vectors, four pixels at a time: eight accumulators, two weights and a pixel in registers.
#[target_feature(enable = "avx2")]
fn products_avx2(group: &[[u8; 4 * MOST_ROWS]], block: &[PixelPair]) -> Sums {
    let mut sums = [[0i32; PIXELS]; MOST_ROWS];
    for (quad, patches) in block.chunks_exact((4 * group.len()).max(1)).enumerate() {
        let mut patches = patches.chunks_exact(group.len());
        let [Some(a), Some(b), Some(c), Some(d)] = [patches.next(), patches.next(), patches.next(), patches.next()]
        else {
            break;
        };
        let mut lanes = [[_mm256_setzero_si256(); 2]; 4];
        for ((((weights, a), b), c), d) in group.iter().zip(a).zip(b).zip(c).zip(d) {
            // SAFETY: 64 bytes are there, and the loads need no alignment.
            let weights = unsafe {
                [_mm256_loadu_si256(weights.as_ptr().cast()), _mm256_loadu_si256(weights.as_ptr().add(32).cast())]
            };
            for (lanes, pixel) in lanes.iter_mut().zip([a, b, c, d]) {
                let pixel = _mm256_set1_epi32(i32::from_le_bytes(*pixel));
                for (lane, &weights) in lanes.iter_mut().zip(&weights) {
                    *lane = _mm256_add_epi32(*lane, _mm256_madd_epi16(weights, pixel));
                }
            }
        }
        for (pixel, lanes) in lanes.iter().enumerate() {
            let mut rows = [0i32; MOST_ROWS];
            for (rows, &lane) in rows.as_chunks_mut::<8>().0.iter_mut().zip(lanes) {
                // SAFETY: 32 bytes are there, and the store needs no alignment.
                unsafe { _mm256_storeu_si256(rows.as_mut_ptr().cast(), lane) };
            }
            for (sums, row) in sums.iter_mut().zip(rows) {
                if let Some(sum) = sums.get_mut(4 * quad + pixel) {
                    *sum = row;
                }
            }
        }
    }
    sums
}
