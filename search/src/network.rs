//! What a search knows of a network without running it: each weighted layer's sizes, and how much a plan saves of them.

use serde::{Deserialize, Serialize};

use crate::plan::{BITS, BitPlan};

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

/// Codes that something reads or writes: as wide as the widest that some layers hand on.
///
/// Pools and shortcuts hand on the codes they read, and a sum has those of the layer that hands on to it alone, so what lies
/// between weighted layers needs no width of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Codes(Vec<usize>);

/// The weighted layers of a network in forward order, each with weights and with the codes that it reads; at least one.
///
/// Records are those of the layers, with a field `reads` where a layer reads others than the one before it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Record>", into = "Vec<Record>")]
pub struct Network {
    layers: Vec<LayerFeatures>,
    reads: Vec<Codes>,
}

/// One layer as it is written.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Record {
    #[serde(flatten)]
    layer: LayerFeatures,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reads: Option<Vec<usize>>,
}

/// Why layers are no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// There are none.
    #[error("the network has no weighted layer to choose bits for; list one record for each")]
    NoLayers,
    /// A layer that holds no weights.
    #[error("layer {0} has 0 weights, so it has no bits to choose; list weighted layers only")]
    NoWeights(usize),
    /// A layer that reads one that is not there, or codes for another number of layers.
    #[error("layer {0} reads layers that are not there; list for each layer those whose codes it reads, from 0")]
    NotThere(usize),
}

/// How much of an 8-bit network's cost a plan keeps, in (0, 1]: the two definitions of State of Quantization.
///
/// The paper's know weights only; with narrower codes each layer counts by both widths, see [`keeps`](Self::keeps).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StateOfQuantization {
    /// Mean bits over 8, each layer counting the same: the authors' code, and the published assignments.
    #[default]
    Mean,
    /// Each layer counts by the energy of its weights' fetches and multiply-accumulates: the paper's text.
    Energy,
}

impl Codes {
    /// The network's input, or anything else that always has 8 bits.
    pub const EIGHT: Self = Self(Vec::new());

    /// What `layer`, counted from 0, hands on.
    pub fn of(layer: usize) -> Self {
        Self(vec![layer])
    }

    /// The wider of both.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        if self.0.is_empty() || other.0.is_empty() {
            return Self::EIGHT;
        }
        let mut layers = [self.0.as_slice(), &other.0].concat();
        layers.sort_unstable();
        layers.dedup();
        Self(layers)
    }

    /// The layers, counted from 0, whose widest codes these are; none where they always have 8 bits.
    pub fn layers(&self) -> &[usize] {
        &self.0
    }

    /// Their bits under `plan`; 8 for a layer that it lacks.
    pub fn bits(&self, plan: &BitPlan) -> u8 {
        let of = |&layer: &usize| plan.layers().get(layer).map_or(*BITS.end(), |bits| bits.activations);
        self.0.iter().map(of).max().unwrap_or(*BITS.end())
    }
}

impl Network {
    /// A network from its layers, each of which reads the one before it.
    ///
    /// # Errors
    /// [`NetworkError`] for no layers, or one without weights.
    pub fn new(layers: Vec<LayerFeatures>) -> Result<Self, NetworkError> {
        let reads = (0..layers.len()).map(|layer| layer.checked_sub(1).map_or(Codes::EIGHT, Codes::of));
        let reads = reads.collect();
        Self::reading(layers, reads)
    }

    /// A network from its layers and the codes that each reads.
    ///
    /// # Errors
    /// [`NetworkError`].
    pub fn reading(layers: Vec<LayerFeatures>, reads: Vec<Codes>) -> Result<Self, NetworkError> {
        if layers.is_empty() {
            return Err(NetworkError::NoLayers);
        }
        if let Some(index) = layers.iter().position(|layer| layer.weights == 0) {
            return Err(NetworkError::NoWeights(index + 1));
        }
        let known = |layer: &usize| *layer < layers.len();
        let there = |index: usize| reads.get(index).is_some_and(|codes| codes.0.iter().all(known));
        match (0..layers.len().max(reads.len())).find(|&index| index >= layers.len() || !there(index)) {
            Some(index) => Err(NetworkError::NotThere(index + 1)),
            None => Ok(Self { layers, reads }),
        }
    }

    /// The layers in forward order.
    pub fn layers(&self) -> &[LayerFeatures] {
        &self.layers
    }

    /// The codes that each layer reads, in forward order.
    pub fn reads(&self) -> &[Codes] {
        &self.reads
    }

    /// Mean bits of a weight: the plan's widths weighted by how many weights each layer has.
    pub fn mean_bits_per_weight(&self, plan: &BitPlan) -> f64 {
        let bits = self.layers.iter().zip(plan.weights()).map(|(layer, bits)| layer.weights as f64 * f64::from(bits));
        bits.sum::<f64>() / self.layers.iter().map(|layer| layer.weights as f64).sum::<f64>()
    }
}

impl TryFrom<Vec<Record>> for Network {
    type Error = NetworkError;

    fn try_from(records: Vec<Record>) -> Result<Self, NetworkError> {
        let reads = records.iter().map(|record| record.reads.clone()).collect::<Vec<_>>();
        let Self { layers, reads: mut chain } = Self::new(records.into_iter().map(|record| record.layer).collect())?;
        for (codes, named) in chain.iter_mut().zip(reads) {
            *codes = named.map_or_else(|| codes.clone(), Codes);
        }
        Self::reading(layers, chain)
    }
}

impl From<Network> for Vec<Record> {
    fn from(network: Network) -> Self {
        let before = |index: usize, codes: &Codes| match index.checked_sub(1) {
            Some(before) => codes.0 == [before],
            None => codes.0.is_empty(),
        };
        let records = network.layers.into_iter().zip(network.reads).enumerate();
        let record = |(index, (layer, codes))| {
            let reads = (!before(index, &codes)).then_some(codes.0);
            Record { layer, reads }
        };
        records.map(record).collect()
    }
}

impl StateOfQuantization {
    /// The State of Quantization of `plan` on `network`: what its layers [`keep`](Self::keeps), over what they do at 8
    /// bits. Pinned layers count like any other.
    pub fn of(self, network: &Network, plan: &BitPlan) -> f64 {
        let layers = network.layers.iter().zip(&network.reads).zip(plan.weights());
        let (kept, total) = layers.fold((0.0, 0.0), |(kept, total), ((layer, reads), bits)| {
            (kept + self.keeps(layer, bits, reads.bits(plan)), total + self.weight(layer))
        });
        kept / total / BITS_MAX
    }

    /// How much one layer counts, up to a factor common to all.
    pub fn weight(self, layer: &LayerFeatures) -> f64 {
        match self {
            Self::Mean => 1.0,
            Self::Energy => layer.weights as f64 * MEMORY_OVER_MAC + layer.macs as f64,
        }
    }

    /// What one layer counts with weights of `weights` bits that read codes of `codes` bits, 8 times as much at 8 and 8.
    ///
    /// A multiply-accumulate counts by the product of both widths over 8, a fetched weight by its own. With 8-bit codes
    /// that is the published definition, bits times [`weight`](Self::weight).
    pub fn keeps(self, layer: &LayerFeatures, weights: u8, codes: u8) -> f64 {
        let (bits, share) = (f64::from(weights), f64::from(codes) / BITS_MAX);
        match self {
            Self::Mean => bits * share,
            Self::Energy => (layer.weights as f64 * MEMORY_OVER_MAC + layer.macs as f64 * share) * bits,
        }
    }
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
    fn narrow_codes_count_in_the_layer_that_reads_them() {
        use StateOfQuantization::{Energy, Mean};
        // Inputs have 8 bits; what the last layer hands on is read by none.
        let plan = "8:4,4:2,8:8,2:1".parse().unwrap();
        close(Mean.of(&lenet(), &plan), (64.0 + 16.0 + 16.0 + 16.0) / 256.0);
        let layers = lenet();
        let energy = |index: usize, weights: f64, codes: f64| {
            let layer = &layers.layers()[index];
            (120.0 * layer.weights as f64 + layer.macs as f64 * codes / 8.0) * weights / 8.0
        };
        let kept = energy(0, 8.0, 8.0) + energy(1, 4.0, 4.0) + energy(2, 8.0, 2.0) + energy(3, 2.0, 8.0);
        let whole: f64 = (0..4).map(|index| energy(index, 8.0, 8.0)).sum();
        close(Energy.of(&layers, &plan), kept / whole);
    }

    #[test]
    fn codes_follow_the_graph_and_survive_json() {
        let sum = Codes::of(2).or(&Codes::of(0));
        let plan = "8:3,8:6,8:5,8:8".parse().unwrap();
        assert_eq!((sum.layers(), sum.bits(&plan)), (&[0, 2][..], 5));
        assert_eq!(sum.or(&Codes::EIGHT).bits(&plan), 8);
        let chain = serde_json::to_string(&lenet()).unwrap();
        assert!(!chain.contains("reads"), "{chain}");
        assert_eq!(serde_json::from_str::<Network>(&chain).unwrap(), lenet());
        let reads = vec![Codes::EIGHT, Codes::of(0), Codes::EIGHT, sum];
        let network = Network::reading(lenet().layers, reads).unwrap();
        let text = serde_json::to_string(&network).unwrap();
        assert_eq!(text.matches("\"reads\":").count(), 2, "{text}");
        assert_eq!(serde_json::from_str::<Network>(&text).unwrap(), network);
    }

    #[test]
    fn bits_per_weight_follow_the_largest_layer() {
        close(lenet().mean_bits_per_weight(&"2,2,3,2".parse().unwrap()), (61_000.0 + 1_200_000.0) / 430_500.0);
        close(lenet().mean_bits_per_weight(&"5,5,5,5".parse().unwrap()), 5.0);
    }

    #[test]
    fn nonsense_is_named() {
        assert_eq!(Network::new(vec![]), Err(NetworkError::NoLayers));
        let mut layers = lenet().layers;
        layers[2].weights = 0;
        assert_eq!(Network::new(layers), Err(NetworkError::NoWeights(3)));
        let of_none = vec![Codes::EIGHT, Codes::of(0), Codes::of(4), Codes::of(2)];
        assert_eq!(Network::reading(lenet().layers, of_none), Err(NetworkError::NotThere(3)));
        assert_eq!(Network::reading(lenet().layers, vec![Codes::EIGHT]), Err(NetworkError::NotThere(2)));
    }
}
