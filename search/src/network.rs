//! What a search knows of a network without running it: each weighted layer's sizes, and how much a plan saves of them.

use serde::{Deserialize, Serialize};

use crate::plan::BitPlan;

/// Energy of fetching a weight over that of one multiply-accumulate, as the paper takes it.
pub const MEMORY_OVER_MAC: f64 = 120.0;

/// The widest a weight may be; State of Quantization is always measured against it, whatever the space's widest is.
pub const BITS_MAX: f64 = 8.0;

/// Sizes of one weighted layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerFeatures {
    /// Weights, biases not counted.
    pub weights: u64,
    /// Multiply-accumulates of one inference.
    pub macs: u64,
    /// Input channels or neurons that one output sees; 1 in a depthwise convolution.
    pub inputs: u32,
    /// Output channels or neurons.
    pub outputs: u32,
    /// Side of the kernel, 0 in a fully connected layer.
    pub kernel: u32,
    /// Standard deviation of the float weights.
    pub deviation: f64,
}

/// The weighted layers of a network in forward order; at least one, each with weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<LayerFeatures>", into = "Vec<LayerFeatures>")]
pub struct Network(Vec<LayerFeatures>);

/// Why layers are no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// There are none.
    #[error("the network has no weighted layer to choose bits for; list one record for each")]
    NoLayers,
    /// A layer that holds no weights.
    #[error("layer {0} has 0 weights, so it has no bits to choose; list weighted layers only")]
    NoWeights(usize),
}

/// How much of an 8-bit network's cost a plan keeps, in (0, 1]: the two definitions of State of Quantization.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StateOfQuantization {
    /// Mean bits over 8, each layer counting the same: the authors' code, and the published assignments.
    #[default]
    Mean,
    /// Each layer counts by the energy of its weights' fetches and multiply-accumulates: the paper's text.
    Energy,
}

impl Network {
    /// A network from its layers.
    ///
    /// # Errors
    /// [`NetworkError`] for no layers, or one without weights.
    pub fn new(layers: Vec<LayerFeatures>) -> Result<Self, NetworkError> {
        if layers.is_empty() {
            return Err(NetworkError::NoLayers);
        }
        match layers.iter().position(|layer| layer.weights == 0) {
            Some(index) => Err(NetworkError::NoWeights(index + 1)),
            None => Ok(Self(layers)),
        }
    }

    /// The layers in forward order.
    pub fn layers(&self) -> &[LayerFeatures] {
        &self.0
    }

    /// Mean bits of a weight: the plan's widths weighted by how many weights each layer has.
    pub fn mean_bits_per_weight(&self, plan: &BitPlan) -> f64 {
        weighted(self.0.iter().map(|layer| layer.weights as f64), plan)
    }
}

impl TryFrom<Vec<LayerFeatures>> for Network {
    type Error = NetworkError;

    fn try_from(layers: Vec<LayerFeatures>) -> Result<Self, NetworkError> {
        Self::new(layers)
    }
}

impl From<Network> for Vec<LayerFeatures> {
    fn from(network: Network) -> Self {
        network.0
    }
}

impl StateOfQuantization {
    /// The State of Quantization of `plan` on `network`. Pinned layers count like any other.
    pub fn of(self, network: &Network, plan: &BitPlan) -> f64 {
        weighted(network.0.iter().map(|layer| self.weight(layer)), plan) / BITS_MAX
    }

    /// How much one layer counts, up to a factor common to all.
    pub fn weight(self, layer: &LayerFeatures) -> f64 {
        match self {
            Self::Mean => 1.0,
            Self::Energy => layer.weights as f64 * MEMORY_OVER_MAC + layer.macs as f64,
        }
    }
}

/// Mean of the plan's weight bits, weighted.
fn weighted(weights: impl Iterator<Item = f64>, plan: &BitPlan) -> f64 {
    let (sum, total) = weights
        .zip(plan.weights())
        .fold((0.0, 0.0), |(sum, total), (weight, bits)| (sum + weight * f64::from(bits), total + weight));
    sum / total
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The authors' LeNet: 20 5x5, 50 5x5, 500, 10.
    pub(crate) fn lenet() -> Network {
        let layer = |weights, macs, outputs, inputs, kernel, deviation| LayerFeatures {
            weights,
            macs,
            inputs,
            outputs,
            kernel,
            deviation,
        };
        Network::new(vec![
            layer(500, 288_000, 20, 1, 5, 0.181_83),
            layer(25_000, 1_600_000, 50, 20, 5, 0.037_91),
            layer(400_000, 400_000, 500, 800, 0, 0.021_24),
            layer(5_000, 5_000, 10, 500, 0, 0.065_87),
        ])
        .unwrap()
    }

    fn close(found: f64, golden: f64) {
        assert!((found - golden).abs() < 5e-7, "{found} is not {golden}");
    }

    #[test]
    fn golden_states_of_quantization() {
        use StateOfQuantization::{Energy, Mean};
        for (text, mean, energy) in [
            ("8,8,8,8", 1.0, 1.0),
            ("2,2,2,2", 0.25, 0.25),
            ("2,2,3,2", 0.281_25, 0.362_135),
            ("5,3,2,3", 0.406_25, 0.264_478),
        ] {
            let plan = text.parse().unwrap();
            close(Mean.of(&lenet(), &plan), mean);
            close(Energy.of(&lenet(), &plan), energy);
        }
    }

    #[test]
    fn bits_per_weight_follow_the_largest_layer() {
        close(lenet().mean_bits_per_weight(&"2,2,3,2".parse().unwrap()), (61_000.0 + 1_200_000.0) / 430_500.0);
        close(lenet().mean_bits_per_weight(&"5,5,5,5".parse().unwrap()), 5.0);
    }

    #[test]
    fn nonsense_is_named() {
        assert_eq!(Network::new(vec![]), Err(NetworkError::NoLayers));
        let mut layers = lenet().0;
        layers[2].weights = 0;
        assert_eq!(Network::new(layers), Err(NetworkError::NoWeights(3)));
    }
}
