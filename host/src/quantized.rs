//! A network with its quantizers: what fine-tuning hands to lowering.

use std::collections::BTreeMap;

use releq_format::bits::{BitWidth, Levels};

use crate::network::{Network, Source};

/// How one layer's weights become integers.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightQuant {
    /// Bits of each code.
    pub bits: BitWidth,
    /// The integers a code may stand for.
    pub levels: Levels,
    /// Real value of one unit, per output channel; positive.
    pub scales: Vec<f32>,
}

/// How one activation tensor becomes codes: `code = clamp(floor(x / scale + 0.5) + zero_point, 0, 2^bits − 1)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ActivationQuant {
    /// Bits of each code.
    pub bits: BitWidth,
    /// Real value of one unit; positive.
    pub scale: f32,
    /// The code of 0.0.
    pub zero_point: u8,
}

/// A folded network (no batch normalisation) and everything needed to compute its fake-quantized forward pass.
#[derive(Clone, Debug, PartialEq)]
pub struct QuantizedNetwork {
    /// Float weights and biases after fine-tuning.
    pub network: Network,
    /// By index of the convolution or dense node.
    pub weights: BTreeMap<usize, WeightQuant>,
    /// By the source whose value is rounded: the input and the last node of each fused block, except the logits.
    pub activations: BTreeMap<Source, ActivationQuant>,
}

/// The rounding rule of one level set, ready for many weights.
///
/// The single author of weight → integer: fake-quantization multiplies its result by the scale, lowering packs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rounder {
    smallest: i32,
    gain: i32,
    steps: i32,
}

impl Rounder {
    /// The level nearest to `ratio` = weight / scale; ties go up, a NaN to the smallest level.
    #[inline]
    pub fn integer(self, ratio: f32) -> i32 {
        // Counted from the smallest level, so that truncation is rounding down and no libm call is needed.
        let step = (ratio - self.smallest as f32) / self.gain as f32 + 0.5;
        self.smallest + self.gain * step.clamp(0.0, self.steps as f32) as i32
    }

    /// Smallest and largest integer of the level set.
    pub fn limits(self) -> (i32, i32) {
        (self.smallest, self.smallest + self.gain * self.steps)
    }
}

impl WeightQuant {
    /// The rounding rule.
    pub fn rounder(&self) -> Rounder {
        let smallest_code = u8::from(self.levels == Levels::MidTread);
        let (gain, _) = self.levels.affine(self.bits);
        let steps = i32::from(self.bits.max_code()) - i32::from(smallest_code);
        Rounder { smallest: self.levels.value(smallest_code, self.bits), gain, steps }
    }

    /// The integers of a whole tensor `[out, …]`, row-major.
    pub fn integers(&self, weights: &[f32]) -> Vec<i8> {
        let per_channel = (weights.len() / self.scales.len().max(1)).max(1);
        let rounder = self.rounder();
        let rows = weights.chunks(per_channel).zip(&self.scales);
        rows.flat_map(|(row, scale)| row.iter().map(move |weight| rounder.integer(weight / scale) as i8)).collect()
    }
}

impl ActivationQuant {
    /// The code of a real value.
    #[inline]
    pub fn code(&self, value: f32) -> u8 {
        // Counted from code 0, so that truncation is rounding down and no libm call is needed.
        let steps = value / self.scale + (0.5 + f32::from(self.zero_point));
        steps.clamp(0.0, f32::from(self.bits.max_code())) as i32 as u8
    }

    /// How far the code of `value` is from the zero point.
    #[inline]
    pub fn steps(&self, value: f32) -> f32 {
        let steps = value / self.scale + (0.5 + f32::from(self.zero_point));
        let code = steps.clamp(0.0, f32::from(self.bits.max_code())) as i32;
        (code - i32::from(self.zero_point)) as f32
    }

    /// The real value of the code of `value`.
    #[inline]
    pub fn round(&self, value: f32) -> f32 {
        self.steps(value) * self.scale
    }

    /// The real value a code stands for.
    pub fn real(&self, code: u8) -> f32 {
        (f32::from(code) - f32::from(self.zero_point)) * self.scale
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quant(bits: u8, levels: Levels) -> WeightQuant {
        WeightQuant { bits: BitWidth::new(bits).unwrap(), levels, scales: vec![0.5] }
    }

    #[test]
    fn integers_are_the_nearest_levels() {
        let weights = [-9.0, -0.76, -0.74, -0.1, 0.0, 0.1, 0.26, 0.74, 0.76, 9.0];
        assert_eq!(quant(2, Levels::MidTread).integers(&weights), [-1, -1, -1, 0, 0, 0, 1, 1, 1, 1]);
        assert_eq!(quant(2, Levels::TwosComplement).integers(&weights), [-2, -2, -1, 0, 0, 0, 1, 1, 1, 1]);
        assert_eq!(quant(2, Levels::MidRise).integers(&weights), [-3, -1, -1, -1, 1, 1, 1, 1, 1, 3]);
        assert_eq!(quant(1, Levels::MidRise).integers(&weights), [-1, -1, -1, -1, 1, 1, 1, 1, 1, 1]);
    }

    #[test]
    fn every_integer_is_a_level() {
        for bits in 1..=8 {
            for levels in [Levels::TwosComplement, Levels::MidTread, Levels::MidRise] {
                let quant = quant(bits, levels);
                if !levels.allows(quant.bits) || (bits == 1 && levels == Levels::MidTread) {
                    continue;
                }
                for weight in [-1e30, -3.3, 0.0, 0.2, 7.7, 1e30, f32::NAN] {
                    let value = quant.rounder().integer(weight / quant.scales[0]);
                    assert!(levels.code(value, quant.bits).is_some(), "{levels:?} {bits} {weight} → {value}");
                }
            }
        }
    }
}
