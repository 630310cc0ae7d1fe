//! What a layer costs on hardware, width by width: models that a plan may be weighed by.
//!
//! * [`PackedSimd`]: instructions of a Cortex-M, at prices fitted from a board's own counts;
//! * [`BitSerialAccelerator`]: cycles of an accelerator whose time is linear in weight bits;
//! * [`BitSerialCpu`]: time of bit-plane kernels on a workstation, at fitted prices;
//! * [`StateOfQuantization`] is one too: bits, alike for all layers or weighted by energy.
//!
//! A model prices one layer at one width. [`Costs`] are the prices of a whole network, and say of each layer which
//! widths cost no less than a wider one. How a layer is run, its [`Work`], is plain data that a caller counts.

mod bit_serial;
pub mod fit;
mod packed;

pub use bit_serial::{BitSerialAccelerator, BitSerialCpu};
pub use packed::PackedSimd;

use serde::{Deserialize, Serialize};

use crate::network::{BITS_MAX, LayerFeatures, StateOfQuantization};
use crate::plan::{BITS, BitPlan};

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

/// A price for running a layer.
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

/// The two States of Quantization as costs: bits over 8, each layer counted as it counts there.
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
        Ok(self.weight(case.layer) * f64::from(case.weights) / BITS_MAX)
    }
}

/// Costs of every weighted layer of a network at every weight width, and of what has no weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Costs {
    /// By layer, then by weight bits less 1.
    layers: Vec<[f64; 8]>,
    rest: f64,
}

impl Costs {
    /// Costs from each layer's, at 1 to 8 bits, and what layers without weights cost together.
    pub fn new(layers: Vec<[f64; 8]>, rest: f64) -> Self {
        Self { layers, rest }
    }

    /// What layer `layer`, counted from 0, costs at 1 to 8 bits.
    pub fn layer(&self, layer: usize) -> Option<&[f64; 8]> {
        self.layers.get(layer)
    }

    /// The whole network's cost under `plan`.
    pub fn of(&self, plan: &BitPlan) -> f64 {
        let at = |(costs, bits): (&[f64; 8], u8)| costs[usize::from(bits - BITS.start())];
        self.layers.iter().zip(plan.weights()).map(at).sum::<f64>() + self.rest
    }

    /// That cost over the cost at 8 bits everywhere, as a State of Quantization is; may exceed 1.
    pub fn relative(&self, plan: &BitPlan) -> f64 {
        self.of(plan) / (self.layers.iter().map(|costs| costs[7]).sum::<f64>() + self.rest)
    }

    /// For each width of a layer the cheapest wider one that costs no more: who asks for speed had better take that.
    pub fn better(&self, layer: usize) -> [Option<u8>; 8] {
        let mut better = [None; 8];
        let Some(costs) = self.layers.get(layer) else { return better };
        for (narrow, place) in better.iter_mut().enumerate() {
            let wider = (narrow + 1..costs.len()).filter(|&wide| costs[wide] <= costs[narrow]);
            *place = wider.min_by(|&one, &other| costs[one].total_cmp(&costs[other])).map(|wide| wide as u8 + 1);
        }
        better
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::tests::lenet;

    #[test]
    fn states_of_quantization_are_costs() {
        let work = Work { kernel: String::new(), parts: vec![] };
        let plan: BitPlan = "2,2,3,2".parse().unwrap();
        for state in [StateOfQuantization::Mean, StateOfQuantization::Energy] {
            let network = lenet();
            let row = |layer| {
                core::array::from_fn(|index| {
                    let case = Case { layer, weights: index as u8 + 1, activations: 8, work: &work };
                    state.cost(&case).unwrap()
                })
            };
            let costs = Costs::new(network.layers().iter().map(row).collect(), 0.0);
            assert!((costs.relative(&plan) - state.of(&network, &plan)).abs() < 1e-12);
        }
    }

    #[test]
    fn widths_that_cost_no_less_than_a_wider_one_are_named() {
        let costs = Costs::new(vec![[1.0, 2.0, 3.0, 3.0, 9.0, 8.0, 9.0, 4.0]], 10.0);
        let expected = [None, None, Some(4), None, Some(8), Some(8), Some(8), None];
        assert_eq!(costs.better(0), expected);
        assert_eq!(costs.better(1), [None; 8]);
        assert_eq!(costs.of(&"3".parse().unwrap()), 13.0);
    }
}
