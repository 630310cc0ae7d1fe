//! Turning real scales into the fixed-point constants of `format::quant`, with the proof that they fit.

use releq_format::quant::{AddScale, Bound, Channel};

use crate::quantized::{ActivationQuant, WeightQuant};

/// The constants of one weighted layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Rescaled {
    /// Left shift of every accumulator.
    pub shift: u8,
    /// Bias and multiplier of each output channel.
    pub channels: Vec<Channel>,
}

/// A ratio of scales that no multiplier below 2^31 expresses at any exact shift.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfRange;

/// Raises the scale of each channel whose bias would take more than half of the accumulator's range.
///
/// Such a channel is nearly dead: its weights are tiny beside its bias, so a coarser grid costs it nothing, while its
/// bias in units of a tiny scale would cost every channel of the layer its precision. Fake-quantization uses the
/// raised scale too. `biases` are real.
pub fn raise_scales(quant: &mut WeightQuant, input: &ActivationQuant, terms: u32, biases: &[f32]) {
    let bound = Bound::new(quant.levels.magnitude(quant.bits), input.bits, terms);
    // The shift that leaves half of the range to the bias (the zero point's share is below the bound itself).
    let Some(shift) = (0..=releq_format::quant::MAX_SHIFT).rev().find(|&shift| bound.fits(0, shift + 1)) else {
        return;
    };
    let room = f64::from(1u32 << (30 - shift)) / 2.0;
    for (scale, &bias) in quant.scales.iter_mut().zip(biases) {
        let least = (f64::from(bias.abs()) / (f64::from(input.scale) * room)) as f32;
        *scale = scale.max(least).max(f32::MIN_POSITIVE);
    }
}

/// The constants that bring accumulators of `quant` × `input` to `output` codes.
///
/// `weights` are the integers, `[out, terms]`; `biases` are real.
pub fn to_codes(
    quant: &WeightQuant,
    input: &ActivationQuant,
    output: &ActivationQuant,
    weights: &[i8],
    biases: &[f32],
) -> Result<Rescaled, OutOfRange> {
    rescale(quant, input, weights, biases, |_| f64::from(output.scale), 40).map(|(rescaled, _)| rescaled)
}

/// The constants that bring accumulators to logits, and the real value of one logit unit: the finest that fits.
pub fn to_logits(
    quant: &WeightQuant,
    input: &ActivationQuant,
    weights: &[i8],
    biases: &[f32],
) -> Result<(Rescaled, f32), OutOfRange> {
    let largest = quant.scales.iter().copied().fold(0.0, f32::max);
    // The largest multiplier becomes just under 2^31; rounding the unit to f32 first keeps host and image at one value.
    let unit = |shift: u8| {
        let exact = f64::from(largest) * f64::from(input.scale) * 2f64.powi(1 - i32::from(shift));
        f64::from((exact * (1.0 + 1e-6)) as f32)
    };
    rescale(quant, input, weights, biases, unit, 32).map(|(rescaled, unit)| (rescaled, unit as f32))
}

fn rescale(
    quant: &WeightQuant,
    input: &ActivationQuant,
    weights: &[i8],
    biases: &[f32],
    unit: impl Fn(u8) -> f64,
    fraction_bits: i32,
) -> Result<(Rescaled, f64), OutOfRange> {
    let terms = weights.len() / quant.scales.len().max(1);
    let bound = Bound::new(quant.levels.magnitude(quant.bits), input.bits, terms as u32);
    let integer_bias = |(channel, (row, bias)): (usize, (&[i8], &f32))| {
        let real = f64::from(*bias) / (f64::from(quant.scales[channel]) * f64::from(input.scale));
        let sum: i64 = row.iter().map(|&weight| i64::from(weight)).sum();
        let bias = real.round() - (i64::from(input.zero_point) * sum) as f64;
        if bias.abs() < 2f64.powi(31) { Ok(bias as i32) } else { Err(OutOfRange) }
    };
    let rows = weights.chunks(terms.max(1)).zip(biases).enumerate();
    let integers: Vec<i32> = rows.map(integer_bias).collect::<Result<_, _>>()?;
    let largest = integers.iter().copied().max_by_key(|bias| bias.unsigned_abs()).unwrap_or(0);
    let shift = bound.largest_shift(largest).ok_or(OutOfRange)?;
    let unit = unit(shift);
    let multiplier = |scale: f32| {
        let ratio = f64::from(scale) * f64::from(input.scale) / unit;
        let multiplier = (ratio * 2f64.powi(fraction_bits - i32::from(shift))).round();
        if multiplier < 2f64.powi(31) { Ok(multiplier as i32) } else { Err(OutOfRange) }
    };
    let channels = integers
        .iter()
        .zip(&quant.scales)
        .map(|(&bias, &scale)| Ok(Channel { bias, multiplier: multiplier(scale)? }))
        .collect::<Result<_, _>>()?;
    Ok((Rescaled { shift, channels }, unit))
}

/// The constants of an average over `taps` codes: shift, bias and multiplier.
pub fn average(input: &ActivationQuant, output: &ActivationQuant, taps: u32) -> Result<(u8, Channel), OutOfRange> {
    let zeros = taps.checked_mul(u32::from(input.zero_point)).ok_or(OutOfRange)?;
    let bias = -i32::try_from(zeros).map_err(|_| OutOfRange)?;
    let shift = Bound::new(1, input.bits, taps).largest_shift(bias).ok_or(OutOfRange)?;
    let ratio = f64::from(input.scale) / (f64::from(output.scale) * f64::from(taps));
    let multiplier = (ratio * 2f64.powi(40 - i32::from(shift))).round();
    if multiplier >= 2f64.powi(31) {
        return Err(OutOfRange);
    }
    Ok((shift, Channel { bias, multiplier: multiplier as i32 }))
}

/// The constants of a residual add.
pub fn add(inputs: [&ActivationQuant; 2], output: &ActivationQuant) -> Result<AddScale, OutOfRange> {
    let ratios = inputs.map(|input| f64::from(input.scale) / f64::from(output.scale));
    let largest = ratios[0].max(ratios[1]);
    // The finest shift whose multipliers fit i16 and whose zero point leaves the constant below 2^30.
    let fits = |shift: &i32| (largest * 2f64.powi(*shift)).round() <= f64::from(i16::MAX);
    let shift = (0..=21).rev().find(fits).ok_or(OutOfRange)?;
    let multipliers = ratios.map(|ratio| (ratio * 2f64.powi(shift)).round() as i16);
    let half = if shift == 0 { 0 } else { 1i32 << (shift - 1) };
    let zero = |index: usize| i32::from(inputs[index].zero_point) * i32::from(multipliers[index]);
    let constant = (i32::from(output.zero_point) << shift) + half - zero(0) - zero(1);
    let scale = AddScale { multipliers, constant, shift: shift as u8 };
    if scale.is_valid() { Ok(scale) } else { Err(OutOfRange) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use releq_format::bits::{BitWidth, Levels};
    use releq_format::quant::{logit, requantize};

    fn eight(scale: f32, zero_point: u8) -> ActivationQuant {
        ActivationQuant { bits: BitWidth::EIGHT, scale, zero_point }
    }

    #[test]
    fn codes_and_logits_are_the_real_result_rounded() {
        let bits = BitWidth::new(4).unwrap();
        let quant = WeightQuant { bits, levels: Levels::MidTread, scales: vec![0.02, 0.3] };
        let (input, output) = (eight(0.01, 7), eight(0.05, 3));
        let (weights, biases) = ([3i8, -7, 1, 7, 7, 7], [0.4f32, -1.0]);
        let codes = [200u8, 3, 90];
        let rescaled = to_codes(&quant, &input, &output, &weights, &biases).unwrap();
        let (logits, unit) = to_logits(&quant, &input, &weights, &biases).unwrap();
        for channel in 0..2 {
            let row = &weights[3 * channel..][..3];
            let sum: i32 = row.iter().zip(codes).map(|(&w, a)| i32::from(w) * i32::from(a)).sum();
            let terms = row.iter().zip(codes).map(|(&w, a)| f32::from(w) * quant.scales[channel] * input.real(a));
            let real = terms.sum::<f32>() + biases[channel];
            let Channel { bias, multiplier } = rescaled.channels[channel];
            let code = requantize(bias + sum, rescaled.shift, multiplier, output.zero_point, output.bits);
            assert_eq!(code, output.code(real));
            let Channel { bias, multiplier } = logits.channels[channel];
            let value = logit(bias + sum, logits.shift, multiplier) as f32 * unit;
            assert!((value - real).abs() < 2e-3, "{value} {real}");
        }
    }

    #[test]
    fn a_nearly_dead_channel_does_not_cost_the_others_their_precision() {
        let bits = BitWidth::new(8).unwrap();
        let mut quant = WeightQuant { bits, levels: Levels::MidTread, scales: vec![0.01, 1e-12] };
        let input = eight(0.02, 0);
        let biases = [0.1, 2.0];
        let integers = |quant: &WeightQuant| quant.integers(&[0.5, -0.3, 1e-11, 1e-12]);
        assert!(to_codes(&quant, &input, &eight(0.05, 0), &integers(&quant), &biases).is_err());
        raise_scales(&mut quant, &input, 2, &biases);
        assert_eq!(quant.scales[0], 0.01);
        let rescaled = to_codes(&quant, &input, &eight(0.05, 0), &integers(&quant), &biases).unwrap();
        assert!(rescaled.shift >= 12, "{rescaled:?}");
        let Channel { bias, multiplier } = rescaled.channels[1];
        assert_eq!(requantize(bias, rescaled.shift, multiplier, 0, BitWidth::EIGHT), 40);
    }

    #[test]
    fn adds_bring_both_scales_to_one() {
        let (left, right, output) = (eight(0.1, 10), eight(0.03, 0), eight(0.12, 20));
        let scale = add([&left, &right], &output).unwrap();
        for (a, b) in [(0, 0), (10, 0), (255, 255), (100, 37), (3, 250)] {
            let real = left.real(a) + right.real(b);
            let code = scale.apply(a, b, BitWidth::EIGHT);
            assert!(i32::from(code).abs_diff(i32::from(output.code(real))) <= 1);
        }
    }

    #[test]
    fn averages_round_half_up() {
        let (shift, channel) = average(&eight(0.1, 5), &eight(0.1, 5), 4).unwrap();
        let mean = |sum: i32| requantize(sum + channel.bias, shift, channel.multiplier, 5, BitWidth::EIGHT);
        assert_eq!([mean(20), mean(22), mean(21), mean(1020)], [5, 6, 5, 255]);
    }
}
