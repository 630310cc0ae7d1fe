//! What a layer costs on hardware, width by width: models that a plan may be weighed by.
//!
//! * [`PackedSimd`]: instructions of a Cortex-M, at prices fitted from a board's own counts;
//! * [`BitSerialAccelerator`]: cycles of an accelerator whose time is linear in weight bits;
//! * [`BitSerialCpu`]: time of bit-plane kernels on a workstation, at fitted prices;
//! * [`StateOfQuantization`] is one too: bits, alike for all layers or weighted by energy.
//!
//! A model prices one layer at its widths. [`Costs`] are the prices of a whole network under any plan, and say of each layer
//! which widths cost no less than a wider one. How a layer is run, its [`Work`], is plain data that a caller counts.

mod bit_serial;
mod costs;
pub mod fit;
mod packed;
mod seen;

pub use bit_serial::{BitSerialAccelerator, BitSerialCpu};
pub use costs::{Axis, Costs, LayerCosts};
pub use packed::PackedSimd;
pub use seen::Seen;

use serde::{Deserialize, Serialize};

use crate::network::{BITS_MAX, LayerFeatures, StateOfQuantization};
/// One kind of work: how often a piece of a kernel runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// The piece, with the widths it is written for: `turns w4`.
    pub name: String,
    /// How often it runs in one inference.
    pub count: f64,
}

/// All work of a layer, as its kernel does it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Work {
    /// The kernel and which of its ways: `dsp::CONV2D columns`.
    pub kernel: String,
    /// Its parts, each once.
    pub parts: Vec<Part>,
}

/// A layer at one choice of widths, as models see it.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// The layer's sizes.
    pub layer: &'a LayerFeatures,
    /// Bits of each weight, 1..=8.
    pub weights: u8,
    /// Bits of each code it reads, 1..=8.
    pub activations: u8,
    /// How it is run, for models that ask.
    pub work: &'a Work,
}

/// Why a model has no price for a layer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{model} has no price for `{part}` of {kernel}: nothing that it was fitted from does that; \
     calibrate it with `releq calibrate` on layers of this kind"
)]
pub struct Unpriced {
    /// The model.
    pub model: String,
    /// The kernel.
    pub kernel: String,
    /// The piece.
    pub part: String,
}

/// A price for running a layer; [`Costs::priced`] makes those of a network from it.
pub trait CostModel {
    /// A short name: `packed-simd virt-m4`.
    fn name(&self) -> String;

    /// What its prices are in, a plural.
    fn unit(&self) -> &'static str;

    /// What one inference spends in the layer; at least 0.
    ///
    /// # Errors
    /// [`Unpriced`] for work that the model knows nothing of.
    fn cost(&self, case: &Case<'_>) -> Result<f64, Unpriced>;
}

/// The two States of Quantization as costs: what a layer keeps, as it counts there.
impl CostModel for StateOfQuantization {
    fn name(&self) -> String {
        match self {
            Self::Mean => "mean bits".to_owned(),
            Self::Energy => "energy-weighted bits".to_owned(),
        }
    }

    fn unit(&self) -> &'static str {
        match self {
            Self::Mean => "8-bit layers",
            Self::Energy => "8-bit multiply-accumulates' energy",
        }
    }

    fn cost(&self, case: &Case<'_>) -> Result<f64, Unpriced> {
        Ok(self.keeps(case.layer, case.weights, case.activations) / BITS_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::tests::lenet;

    #[test]
    fn states_of_quantization_are_costs() {
        let network = lenet();
        for state in [StateOfQuantization::Mean, StateOfQuantization::Energy] {
            let costs = Costs::priced(&network, &state).unwrap();
            for plan in ["2,2,3,2", "8:4,2:3,5:1,1:8"] {
                let plan = plan.parse().unwrap();
                assert!((costs.relative(&plan) - state.of(&network, &plan)).abs() < 1e-12);
            }
        }
    }
}
