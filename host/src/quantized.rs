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

impl WeightQuant {
    /// The integer nearest to `weight / scale` among the levels; ties go up. The single author of weight → integer:
    /// fake-quantization multiplies it by the scale, lowering packs it.
    pub fn integer(&self, weight: f32, channel: usize) -> i8 {
        let ratio = weight / self.scales[channel];
        let (smallest, largest) = self.limits();
        let rounded = match self.levels {
            // Odd integers: the nearest even number of a half-step grid, then one up.
            Levels::MidRise => 2.0 * (ratio / 2.0).floor() + 1.0,
            Levels::TwosComplement | Levels::MidTread => (ratio + 0.5).floor(),
        };
        // A NaN weight becomes 0 or the level nearest it, so that lowering meets only levels of the set.
        if rounded.is_nan() { largest.min(1) as i8 } else { rounded.clamp(smallest as f32, largest as f32) as i8 }
    }

    /// The integers of a whole tensor `[out, …]`, row-major.
    pub fn integers(&self, weights: &[f32]) -> Vec<i8> {
        let per_channel = (weights.len() / self.scales.len().max(1)).max(1);
        weights.iter().enumerate().map(|(index, &weight)| self.integer(weight, index / per_channel)).collect()
    }

    /// Smallest and largest integer of the level set.
    pub fn limits(&self) -> (i32, i32) {
        let smallest = if self.levels == Levels::MidTread { 1 } else { 0 };
        (self.levels.value(smallest, self.bits), self.levels.value(self.bits.max_code(), self.bits))
    }
}

impl ActivationQuant {
    /// The code of a real value.
    pub fn code(&self, value: f32) -> u8 {
        let code = (value / self.scale + 0.5).floor() + f32::from(self.zero_point);
        code.clamp(0.0, f32::from(self.bits.max_code())) as u8
    }

    /// The real value of the code of `value`.
    pub fn round(&self, value: f32) -> f32 {
        let zero = f32::from(self.zero_point);
        let steps = (value / self.scale + 0.5).floor();
        steps.clamp(-zero, f32::from(self.bits.max_code()) - zero) * self.scale
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
                    let value = i32::from(quant.integer(weight, 0));
                    assert!(levels.code(value, quant.bits).is_some(), "{levels:?} {bits} {weight} → {value}");
                }
            }
        }
    }
}
