//! The one arithmetic: how accumulators become codes and logits, and the bounds under which that is exact.
//!
//! Host and device, reference and packed kernels all call these functions; nothing else in releq rounds an integer.
//! All shifts of negative numbers are arithmetic, so every rounding here is "half up" (towards +∞ on a tie).

use serde::{Deserialize, Serialize};

use crate::bits::BitWidth;

/// Largest pre-shift of an accumulator.
pub const MAX_SHIFT: u8 = 19;

/// Per-channel constants of a weighted layer, as stored in the image: 8 bytes, little-endian.
///
/// `bias` is in units of (weight scale × input scale) and already holds −zero_point · Σ weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channel {
    /// Where the accumulator starts.
    pub bias: i32,
    /// Fixed-point ratio of scales, 0..2^31.
    pub multiplier: i32,
}

impl From<[i32; 2]> for Channel {
    fn from([bias, multiplier]: [i32; 2]) -> Self {
        Self { bias, multiplier }
    }
}

/// `clamp(zp + floor(((acc << shift) · multiplier + 2^39) / 2^40), 0, 2^a − 1)`: an activation code.
///
/// Exact if `acc << shift` fits 32 bits, which [`Bound::fits`] promises. On a core with the DSP extension this is
/// `lsl; smmla; usat #8, asr #8` (Armv7-M ARM A7.7): the constant 2^39 and the zero point ride in the accumulator
/// operand of SMMLA.
#[inline]
pub const fn requantize(acc: i32, shift: u8, multiplier: i32, zero_point: u8, bits: BitWidth) -> u8 {
    let product = ((acc << shift) as i64) * multiplier as i64;
    let code = zero_point as i32 + ((product + (1 << 39)) >> 40) as i32;
    saturate(code, bits)
}

/// `floor(((acc << shift) · multiplier + 2^31) / 2^32)`: a logit at the image's one logit scale.
#[inline]
pub const fn logit(acc: i32, shift: u8, multiplier: i32) -> i32 {
    let product = ((acc << shift) as i64) * multiplier as i64;
    ((product + (1 << 31)) >> 32) as i32
}

/// `code` limited to 0..=2^a − 1.
#[inline]
pub const fn saturate(code: i32, bits: BitWidth) -> u8 {
    let max = bits.max_code();
    if code < 0 {
        0
    } else if code > max as i32 {
        max
    } else {
        code as u8
    }
}

/// How a residual add brings two scales to one: `(a·multipliers[0] + b·multipliers[1] + constant) >> shift`, clamped.
///
/// The constant holds both zero points, the output's, and one half for rounding. One SMLAD on DSP cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddScale {
    /// Ratios of input to output scale, times 2^shift.
    pub multipliers: [i16; 2],
    /// Zero points and rounding, at 2^shift; magnitude at most 2^30.
    pub constant: i32,
    /// 0..=30.
    pub shift: u8,
}

impl AddScale {
    /// The sum of two codes, as a code of `bits`.
    #[inline]
    pub const fn apply(&self, left: u8, right: u8, bits: BitWidth) -> u8 {
        let [first, second] = self.multipliers;
        let sum = left as i32 * first as i32 + right as i32 * second as i32 + self.constant;
        saturate(sum >> self.shift, bits)
    }

    /// Whether [`AddScale::apply`] cannot overflow: 2 · 255 · 2^15 + 2^30 < 2^31.
    pub const fn is_valid(&self) -> bool {
        self.shift <= 30 && self.constant.unsigned_abs() <= 1 << 30
    }
}

/// The largest magnitude an accumulator can reach before the bias: terms × weight magnitude × largest activation code.
///
/// Computed from (w, a, K) on host and device alike; an image never states it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound(u32);

impl Bound {
    /// The bound of a sum of `terms` products; what does not fit 32 bits is as good as their largest number.
    pub const fn new(weight_magnitude: u32, activations: BitWidth, terms: u32) -> Self {
        Self(weight_magnitude.saturating_mul(activations.max_code() as u32).saturating_mul(terms))
    }

    /// Whether an accumulator that starts at `bias` stays exact through `<< shift`, a number below 2^31.
    pub const fn fits(self, bias: i32, shift: u8) -> bool {
        shift <= MAX_SHIFT && self.0.saturating_add(bias.unsigned_abs()) <= (i32::MAX as u32) >> shift
    }

    /// The largest shift that fits `bias`, or `None` if not even 0 does.
    pub fn largest_shift(self, bias: i32) -> Option<u8> {
        (0..=MAX_SHIFT).rev().find(|&shift| self.fits(bias, shift))
    }
}

/// How many products of a `field`-bit code with an activation one 16-bit lane can sum without overflow.
///
/// 4-bit fields on 8-bit activations give 17, 2-bit 85, 1-bit 257.
#[inline]
pub const fn lane_terms(field: u8, activations: BitWidth) -> usize {
    let product = ((1u32 << field) - 1) * activations.max_code() as u32;
    // Never 0, which the compiler cannot know; a division by it would be the engine's only panic.
    let product = if product == 0 { 1 } else { product };
    (u16::MAX as u32 / product) as usize
}

/// How many products of codes with activations the low field of [`Layout::Ends`](crate::pack::Layout::Ends) can sum
/// before it overflows into the high one, 16 − b bits above.
///
/// At 8-bit activations 128 for 1-bit codes, 21 for 2, 4 for 3 and 1 for 4. The high field, signed, holds at least as
/// many.
pub const fn end_terms(weights: BitWidth, activations: BitWidth) -> usize {
    spaced_terms(16u32.wrapping_sub(weights.get() as u32), weights, activations)
}

/// How many products of codes with activations a field of `spacing` bits can sum: of the outer product of some rows
/// and some pixels, where each field is one row's and one pixel's.
pub const fn spaced_terms(spacing: u32, weights: BitWidth, activations: BitWidth) -> usize {
    let product = weights.max_code() as u32 * activations.max_code() as u32;
    // Never 0, as in `lane_terms`.
    let product = if product == 0 { 1 } else { product };
    (((1u32 << (spacing & 31)) - 1) / product) as usize
}

/// How many steps fields of a product can be summed before they overflow into their neighbours.
///
/// Each operand of a multiplication holds codes `spacing` bits apart: `taps` weight codes and `pixels` activation
/// codes. Field f of the 64-bit product is the sum of the products of all pairs whose places add up to f: a 1-D
/// convolution. 0 where the operands do not fit 32 bits.
pub const fn field_terms(spacing: u32, taps: u32, pixels: u32, weights: BitWidth, activations: BitWidth) -> u32 {
    let fits =
        (taps - 1) * spacing + weights.get() as u32 <= 32 && (pixels - 1) * spacing + activations.get() as u32 <= 32;
    let top = (taps + pixels - 2) * spacing;
    if !fits || top >= 64 {
        return 0;
    }
    let product = weights.max_code() as u32 * activations.max_code() as u32;
    // Never 0, as in `lane_terms`.
    let product = if product == 0 { 1 } else { product };
    let shared = product * if taps < pixels { taps } else { pixels };
    let inner = ((1 << spacing) - 1) / if shared == 0 { 1 } else { shared };
    let room = 64 - top;
    let outer = if room >= 32 { u32::MAX } else { (1 << room) - 1 } / product;
    if inner < outer { inner } else { outer }
}

/// How many steps fields of a signed product can be summed, as [`field_terms`] for codes less the middle of their range:
/// −2^(b−1) ..= 2^(b−1) − 1.
///
/// A product of two such codes is at most a quarter of that of whole ones, its sign takes half of a field: nearly twice as
/// many steps. Field f holds numbers of `spacing` bits, two's complement. 0 where the operands do not fit 32 bits.
pub const fn centred_terms(spacing: u32, taps: u32, pixels: u32, weights: BitWidth, activations: BitWidth) -> u32 {
    let [weight, code] = [1u64 << (weights.get() - 1), 1u64 << (activations.get() - 1)];
    let top = (taps + pixels - 2) * spacing;
    if top >= 63 || !centred_fits(spacing, taps, weight) || !centred_fits(spacing, pixels, code) {
        return 0;
    }
    let product = (weight * code) as u32;
    let shared = product * if taps < pixels { taps } else { pixels };
    // Never 0, as in `lane_terms`.
    let (product, shared) = (if product == 0 { 1 } else { product }, if shared == 0 { 1 } else { shared });
    let inner = ((1u32 << (spacing - 1)) - 1) / shared;
    let room = 63 - top;
    let outer = if room >= 31 { u32::MAX } else { (1 << room) - 1 } / product;
    if inner < outer { inner } else { outer }
}

/// Whether `count` codes of at most this magnitude, `spacing` bits apart, are a signed word.
const fn centred_fits(spacing: u32, count: u32, magnitude: u64) -> bool {
    let (mut places, mut place) = (0u64, 0);
    while place < count {
        places += 1 << (place * spacing);
        place += 1;
    }
    magnitude * places <= 1 << 31
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn width(bits: u8) -> BitWidth {
        BitWidth::new(bits).unwrap()
    }

    proptest! {
        #[test]
        fn requantize_is_the_rounded_ratio(acc in -(1i64 << 30)..(1i64 << 30), shift in 0u8..=19, m in 0i32..=i32::MAX, zp: u8, bits in 1u8..=8) {
            let acc = (acc >> shift) as i32;
            let exact = (i128::from(acc) << shift) * i128::from(m) + (1i128 << 39);
            let expected = (i128::from(zp) + exact.div_euclid(1 << 40)).clamp(0, i128::from(width(bits).max_code()));
            prop_assert_eq!(i128::from(requantize(acc, shift, m, zp, width(bits))), expected);
        }

        #[test]
        fn dsp_sequence_gives_the_same_code(acc in -(1i64 << 30)..(1i64 << 30), shift in 0u8..=19, m in 0i32..=i32::MAX, zp: u8) {
            // lsl acc, #k; smmla acc, acc, m, (zp << 8 | 128); usat #8, acc, asr #8
            let acc = (acc >> shift) as i32;
            let high = ((i64::from(acc << shift) * i64::from(m)) >> 32) as i32;
            let code = (high.wrapping_add(i32::from(zp) << 8 | 128) >> 8).clamp(0, 255);
            prop_assert_eq!(i32::from(requantize(acc, shift, m, zp, BitWidth::EIGHT)), code);
        }

        #[test]
        fn the_largest_shift_is_exact_and_maximal(magnitude in 1u32..=128, a in 1u8..=8, terms in 1u32..100_000, bias in -(1i32 << 24)..(1i32 << 24)) {
            let bound = Bound::new(magnitude, width(a), terms);
            let largest = i64::from(magnitude) * i64::from(width(a).max_code()) * i64::from(terms) + i64::from(bias.unsigned_abs());
            match bound.largest_shift(bias) {
                Some(shift) => {
                    prop_assert!(largest << shift <= i64::from(i32::MAX));
                    prop_assert!(shift == MAX_SHIFT || !bound.fits(bias, shift + 1));
                }
                None => prop_assert!(largest > i64::from(i32::MAX)),
            }
        }
    }

    #[test]
    fn a_sum_beyond_any_word_fits_nothing() {
        // 2^47 << 19, of which 64 bits would keep nothing.
        let most = Bound::new(128, BitWidth::EIGHT, u32::MAX);
        assert!((0..=MAX_SHIFT).all(|shift| !most.fits(0, shift)));
        assert!(Bound::new(1, width(1), i32::MAX as u32).fits(0, 0));
        assert!(!Bound::new(1, width(1), i32::MAX as u32).fits(1, 0));
        assert!(!Bound::new(1, width(1), 1 << 31).fits(0, 0));
    }

    proptest! {
        /// The rounded quotient, ties upward, in integers wide enough for anything.
        #[test]
        fn a_logit_is_the_rounded_product(acc in -(1i64 << 30)..(1i64 << 30), shift in 0u8..=MAX_SHIFT, m in 0i32..=i32::MAX) {
            let acc = (acc >> shift) as i32;
            let exact = (i128::from(acc) << shift) * i128::from(m);
            let found = i128::from(logit(acc, shift, m));
            // |exact − found · 2^32| ≤ 2^31, and where it is a tie, the larger one.
            let over = exact - (found << 32);
            prop_assert!((-(1i128 << 31)..1 << 31).contains(&over), "{acc} {shift} {m}");
        }
    }

    #[test]
    fn logits_round_ties_up() {
        assert_eq!(logit(1, 1, 1 << 30), 1); // 2^31 / 2^32
        assert_eq!(logit(-1, 1, 1 << 30), 0);
        assert_eq!(logit(-3, 1, 1 << 30), -1);
        assert_eq!(logit(7, 3, 1 << 29), 7);
    }

    /// As documented; the widest sums that fit fill the low field and no more.
    #[test]
    fn ends_hold_what_they_promise() {
        assert_eq!([1, 2, 3, 4].map(|bits| end_terms(width(bits), BitWidth::EIGHT)), [128, 21, 4, 1]);
        for (bits, activations) in (1..=4).flat_map(|bits| (1..=8).map(move |activations| (bits, activations))) {
            let terms = end_terms(width(bits), width(activations)) as u64;
            let largest = u64::from(width(bits).max_code()) * u64::from(width(activations).max_code());
            let room = (1 << (16 - bits)) - 1;
            assert!(terms * largest <= room && (terms + 1) * largest > room, "{bits} {activations}");
        }
    }

    #[test]
    fn ties_round_up_and_ends_saturate() {
        let half = 1 << 30; // acc << 9 times 2^30 is acc / 2 in units of 2^40
        assert_eq!(requantize(1, 9, half, 0, width(8)), 1);
        assert_eq!(requantize(-1, 9, half, 10, width(8)), 10);
        assert_eq!(requantize(-3, 9, half, 10, width(8)), 9);
        assert_eq!(requantize(i32::MAX, 0, i32::MAX, 255, width(8)), 255);
        assert_eq!(requantize(i32::MIN, 0, i32::MAX, 0, width(8)), 0);
        assert_eq!(requantize(i32::MAX, 0, i32::MAX, 3, width(2)), 3);
    }

    #[test]
    fn the_widest_sums_fit_nowhere() {
        // With this bias the sum is 2^45, of which 64 bits keep nothing once it is shifted by 19.
        let widest = Bound::new(128, width(8), 1_077_952_576);
        assert_eq!(128 * 255 * 1_077_952_576 + 8_192, 1u64 << 45);
        assert!((0..=MAX_SHIFT).all(|shift| !widest.fits(8_192, shift)));
    }

    #[test]
    fn lanes_hold_what_they_promise() {
        assert_eq!([4, 2, 1].map(|field| lane_terms(field, BitWidth::EIGHT)), [17, 85, 257]);
        for field in [1, 2, 4] {
            for a in 1..=8 {
                let product = ((1u32 << field) - 1) * u32::from(width(a).max_code());
                let terms = lane_terms(field, width(a)) as u32;
                assert!(terms * product <= 65_535 && (terms + 1) * product > 65_535);
            }
        }
    }

    #[test]
    fn fields_hold_what_they_promise() {
        assert_eq!(field_terms(13, 3, 3, width(4), width(4)), 12);
        assert_eq!(field_terms(15, 3, 2, width(2), width(8)), 21);
        assert_eq!(field_terms(15, 3, 3, width(2), width(8)), 0);
        assert_eq!(field_terms(31, 2, 2, width(1), width(1)), 3);
    }

    /// With the largest codes everywhere: as many products as is said leave every field its own sum, and one more does not,
    /// unless there is only one field.
    #[test]
    #[cfg_attr(miri, ignore = "arithmetic over all widths, too slow here")]
    fn fields_hold_no_more_than_they_promise() {
        let operand = |count: u32, code: u32, spacing: u32| -> u128 {
            (0..count).map(|place| u128::from(code) << (place * spacing)).sum()
        };
        let sizes = (1..=4).flat_map(|taps| (1..=4).map(move |pixels| (taps, pixels)));
        let cases = sizes.flat_map(|sizes| (1..=31).map(move |spacing| (sizes, spacing)));
        for ((taps, pixels), spacing) in cases {
            for (w, a) in (1..=8).flat_map(|w| (1..=8).map(move |a| (w, a))) {
                let [largest_weight, largest_code] = [w, a].map(|bits| u32::from(width(bits).max_code()));
                let (weights, codes) = (operand(taps, largest_weight, spacing), operand(pixels, largest_code, spacing));
                let pairs = |field: u32| (0..taps).filter(|tap| (0..pixels).any(|pixel| tap + pixel == field)).count();
                // What the highest field holds beyond its spacing disturbs nobody within 64 bits.
                let widest = (0..taps + pixels - 2).map(pairs).max().unwrap_or(0) as u128;
                let hold = |terms: u128| {
                    weights < 1 << 32
                        && codes < 1 << 32
                        && terms * weights * codes < 1 << 64
                        && terms * widest * u128::from(largest_weight * largest_code) < 1 << spacing
                };
                let terms = u128::from(field_terms(spacing, taps, pixels, width(w), width(a)));
                assert!(
                    (terms == 0 || hold(terms)) && (taps + pixels == 2 || !hold(terms + 1)),
                    "{taps} taps of {w} bits, {pixels} pixels of {a}, {spacing} bits apart: {terms}"
                );
            }
        }
    }

    #[test]
    fn centred_codes_have_room_for_nearly_twice_as_many_steps() {
        assert_eq!(centred_terms(13, 3, 3, width(4), width(4)), 21);
        assert_eq!(centred_terms(13, 3, 3, width(3), width(4)), 42);
        assert_eq!(centred_terms(13, 3, 3, width(6), width(2)), 0);
        assert_eq!(centred_terms(13, 3, 3, width(2), width(6)), 0);
    }

    /// With the codes of largest magnitude everywhere, whose products are of one sign or the other: as many as is said
    /// leave every field its own sum, and one more does not.
    #[test]
    #[cfg_attr(miri, ignore = "arithmetic over all widths, too slow here")]
    fn centred_fields_hold_no_more_than_they_promise() {
        for (taps, pixels, spacing) in [(3, 3, 13), (3, 4, 10), (3, 2, 14), (2, 3, 12), (1, 3, 13), (4, 4, 8)] {
            for (w, a) in (1..=8).flat_map(|w| (1..=8).map(move |a| (w, a))) {
                let [weight, code] = [w, a].map(|bits| -(1i128 << (bits - 1)));
                let operand = |count: u32, code: i128| (0..count).map(|place| code << (place * spacing)).sum::<i128>();
                let (weights, codes) = (operand(taps, weight), operand(pixels, code));
                let fields = taps + pixels - 1;
                let pairs =
                    |field: u32| (0..taps).filter(|tap| (0..pixels).any(|pixel| tap + pixel == field)).count() as i128;
                let hold = |terms: i128| {
                    let fits =
                        |number: i128, bits: u32| (-(1i128 << (bits - 1)) + 1..1 << (bits - 1)).contains(&number);
                    let room = |field| if field + 1 < fields { spacing } else { 64 - (fields - 1) * spacing };
                    fits(weights + 1, 32)
                        && fits(codes + 1, 32)
                        && (0..fields).all(|field| fits(terms * pairs(field) * weight * code, room(field)))
                };
                let terms = i128::from(centred_terms(spacing, taps, pixels, width(w), width(a)));
                assert!(
                    (terms == 0 || hold(terms)) && !hold(terms + 1),
                    "{taps} taps of {w} bits, {pixels} pixels of {a}, {spacing} bits apart: {terms}"
                );
            }
        }
    }

    #[test]
    fn a_valid_add_never_overflows() {
        let scale = AddScale { multipliers: [i16::MIN, i16::MIN], constant: -(1 << 30), shift: 0 };
        assert!(scale.is_valid());
        assert_eq!(scale.apply(255, 255, width(8)), 0);
        let half = AddScale { multipliers: [1 << 13, 1 << 13], constant: 1 << 13, shift: 14 };
        assert_eq!(half.apply(3, 4, width(8)), 4);
    }
}
