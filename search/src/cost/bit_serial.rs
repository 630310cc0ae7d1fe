//! Hardware that takes weights bit by bit: an accelerator from its paper, and a workstation's kernels.

use serde::{Deserialize, Serialize};

use super::fit::non_negative;
use super::{Case, CostModel, Unpriced};

/// Products of one bit that the accelerator makes in a cycle: 16 tiles × 16 filters × 16 windows × 16 products
/// (Stripes; Judd et al., MICRO 2016, doi 10.1109/MICRO.2016.7783722).
const BIT_PRODUCTS: f64 = 65_536.0;

/// An accelerator in the manner of Stripes: cycles are linear in the bits of the weights, as ReLeQ evaluates plans
/// (arXiv 1811.01704); activations are taken whole.
///
/// Only what is common to all plans depends on how many products a cycle has; ratios do not. Its energy, linear in bits
/// too, with a fetched weight at 120 multiply-accumulates, is [`StateOfQuantization::Energy`].
///
/// [`StateOfQuantization::Energy`]: crate::network::StateOfQuantization::Energy
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BitSerialAccelerator;

impl CostModel for BitSerialAccelerator {
    fn name(&self) -> String {
        "bitserial-accelerator".to_owned()
    }

    fn unit(&self) -> &'static str {
        "cycles"
    }

    fn cost(&self, case: &Case<'_>) -> Result<f64, Unpriced> {
        Ok(case.layer.macs as f64 * f64::from(case.weights) / BIT_PRODUCTS)
    }
}

/// Bit-plane kernels of a workstation: each multiply-accumulate costs something whatever its widths, something for each
/// bit of its code, and something for each pair of bits.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BitSerialCpu {
    /// In units of an 8-bit multiply-accumulate on the same machine's vectors, per multiply-accumulate.
    pub whole: f64,
    /// The same, for each bit of a code.
    pub by_code_bit: f64,
    /// The same, for each bit of a weight and bit of a code.
    pub by_bit_pair: f64,
}

impl BitSerialCpu {
    /// The prices with the least squared relative error over `(weight bits, code bits, time)`, times in units of the
    /// 8-bit kernel's on the same layer.
    pub fn fitted(times: &[(u8, u8, f64)]) -> Self {
        let row = |&(weights, codes, time): &(u8, u8, f64)| {
            let (weights, codes) = (f64::from(weights), f64::from(codes));
            vec![1.0 / time, codes / time, weights * codes / time]
        };
        let rows: Vec<Vec<f64>> = times.iter().map(row).collect();
        let found = non_negative(&rows, &vec![1.0; rows.len()]);
        Self { whole: found[0], by_code_bit: found[1], by_bit_pair: found[2] }
    }

    /// Time of a multiply-accumulate, in units of an 8-bit one.
    pub fn per_mac(&self, weights: u8, codes: u8) -> f64 {
        let (weights, codes) = (f64::from(weights), f64::from(codes));
        self.whole + self.by_code_bit * codes + self.by_bit_pair * weights * codes
    }
}

impl CostModel for BitSerialCpu {
    fn name(&self) -> String {
        "bitserial-cpu".to_owned()
    }

    fn unit(&self) -> &'static str {
        "8-bit multiply-accumulates' time"
    }

    fn cost(&self, case: &Case<'_>) -> Result<f64, Unpriced> {
        Ok(case.layer.macs as f64 * self.per_mac(case.weights, case.activations))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::Costs;
    use crate::network::tests::lenet;

    /// The paper gives LeNet's plan a speed-up of 1.86 over ADMM's {5,3,2,3} on Stripes and 1.42 on a CPU; counted in
    /// weight bits of multiply-accumulates it is the latter.
    #[test]
    fn golden_ratio_of_two_published_plans() {
        let costs = Costs::priced(&lenet(), &BitSerialAccelerator).unwrap();
        let ratio = costs.of(&"5,3,2,3".parse().unwrap()) / costs.of(&"2,2,3,2".parse().unwrap());
        assert!((ratio - 1.415).abs() < 1e-3, "{ratio}");
    }

    #[test]
    fn prices_of_a_plane_are_found_again() {
        let truth = BitSerialCpu { whole: 0.5, by_code_bit: 0.1, by_bit_pair: 0.08 };
        let times: Vec<(u8, u8, f64)> =
            [(8, 8), (2, 8), (1, 1), (4, 4)].map(|(w, a)| (w, a, truth.per_mac(w, a))).into();
        let found = BitSerialCpu::fitted(&times);
        assert!((found.per_mac(3, 5) / truth.per_mac(3, 5) - 1.0).abs() < 1e-6, "{found:?}");
    }
}
