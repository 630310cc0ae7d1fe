//! Post-training quantization: ranges from sample inputs and corrected biases, without labels and without training.
//!
//! Rounding weights moves the mean of each output channel; what calibration inputs show of that is taken off the bias,
//! layer after layer, each seeing those before it corrected (empirical bias correction, Nagel et al., arXiv 1906.04721).

use std::ops::ControlFlow;

use releq_search::plan::BitPlan;

use super::calibrate::Calibration;
use super::model::Model;
use super::norms::Norms;
use super::quantize::{QuantizeError, Recipe, quantize};
use crate::data::Dataset;
use crate::lower::fuse::{self, Block};
use crate::lower::quantizer;
use crate::network::{Network, Op, Source, Tensor};
use crate::quantized::QuantizedNetwork;

/// How to quantize without training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How activation ranges are chosen, above 4 bits; narrower ones always take the least square error.
    pub calibration: Calibration,
    /// Inputs that calibration looks at.
    pub inputs: usize,
    /// Whether biases are corrected.
    pub correct_biases: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { calibration: Calibration::Percentile, inputs: 512, correct_biases: true }
    }
}

/// What one layer got.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerOutcome {
    /// Its name.
    pub name: String,
    /// Bits of its weights, if it has some.
    pub weight_bits: Option<u8>,
    /// Bits of its output's codes; `None` for logits.
    pub activation_bits: Option<u8>,
    /// The reals that its output's codes reach from and to; `None` for logits.
    pub range: Option<[f32; 2]>,
    /// Its weights over what rounding changed of them, in decibels of power; infinite where nothing was.
    pub weight_ratio: Option<f64>,
    /// Its output over the difference between quantized and float network, in decibels of power, on the inputs that
    /// calibration looked at.
    pub output_ratio: f64,
    /// The largest correction of a bias, in units of the layer's output.
    pub largest_correction: f32,
}

/// A network quantized without training.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Ready for lowering.
    pub quantized: QuantizedNetwork,
    /// One entry a layer of the image, in order.
    pub layers: Vec<LayerOutcome>,
}

/// Inputs that one pass takes.
const BATCH: usize = 64;

/// Quantizes `network` by `plan`, with ranges and means from the first inputs of `data`. `watch` sees how many layers
/// of how many are done.
///
/// # Errors
/// [`QuantizeError`], as fine-tuning has them.
pub fn ptq(
    network: &Network,
    plan: &BitPlan,
    data: &Dataset,
    options: &Options,
    watch: &mut dyn FnMut(usize, usize),
) -> Result<Outcome, QuantizeError> {
    let recipe = Recipe {
        calibration: options.calibration,
        calibration_images: options.inputs,
        norms: Norms::Folded,
        distill: None,
        ..Recipe::learned(0.0, 1)
    };
    let mut quantized = quantize(network, plan, data, &recipe, None, &mut |_| ControlFlow::Continue(()))?;
    let blocks = fuse::blocks(&quantized.network.graph)?;
    let float = Model::new(&quantized.network)?;
    let inputs: Vec<usize> = (0..data.len().min(options.inputs)).collect();
    let mut corrections = vec![0.0; blocks.len()];
    if options.correct_biases {
        let weighted = quantized.network.graph.weighted();
        let wanted = means(&float, &weighted, data, &inputs)?;
        for (done, (&node, wanted)) in weighted.iter().zip(&wanted).enumerate() {
            watch(done, weighted.len());
            let largest = correct(&mut quantized, node, wanted, data, &inputs)?;
            let block = blocks.iter().position(|block| block.node == node);
            block.into_iter().for_each(|block| corrections[block] = largest);
        }
    }
    let ratios = output_ratios(&float, &Model::from_quantized(&quantized)?, &blocks, data, &inputs)?;
    let outcomes = blocks.iter().zip(ratios).zip(corrections);
    let layers = outcomes.map(|((block, ratio), correction)| outcome(&quantized, block, ratio, correction)).collect();
    Ok(Outcome { quantized, layers })
}

/// The mean of each channel of each of `nodes`' outputs, before any rounding of their own.
fn means(model: &Model, nodes: &[usize], data: &Dataset, inputs: &[usize]) -> candle_core::Result<Vec<Vec<f32>>> {
    let count = nodes.iter().max().map_or(0, |last| last + 1);
    let mut sums: Vec<Vec<f32>> = vec![Vec::new(); nodes.len()];
    for indices in inputs.chunks(BATCH) {
        let values = model.first_values(&model.input(data, indices)?, count)?;
        let share = indices.len() as f32 / inputs.len() as f32;
        for (&node, sums) in nodes.iter().zip(&mut sums) {
            let value = &values[node];
            let channels = value.dim(1)?;
            let mean: Vec<f32> = value.reshape((indices.len(), channels, ()))?.mean((0, 2))?.to_vec1()?;
            sums.resize(channels, 0.0);
            sums.iter_mut().zip(mean).for_each(|(sum, mean)| *sum += mean * share);
        }
    }
    Ok(sums)
}

/// Moves the biases of `node` so that its channels have the means `wanted`; gives the largest move.
fn correct(
    quantized: &mut QuantizedNetwork,
    node: usize,
    wanted: &[f32],
    data: &Dataset,
    inputs: &[usize],
) -> candle_core::Result<f32> {
    let mut unrounded = quantized.clone();
    unrounded.activations.remove(&Source::Node(node));
    let found = means(&Model::from_quantized(&unrounded)?, &[node], data, inputs)?;
    let layer = &mut quantized.network.graph.nodes[node];
    if let Op::Conv { bias, .. } | Op::Dense { bias, .. } = &mut layer.op {
        *bias = true;
    }
    let none = || Tensor { shape: vec![wanted.len()], data: vec![0.0; wanted.len()] };
    let biases = quantized.network.parameters.entry(format!("{}.bias", layer.name)).or_insert_with(none);
    let mut largest = 0f32;
    for ((bias, wanted), found) in biases.data.iter_mut().zip(wanted).zip(&found[0]) {
        *bias += wanted - found;
        largest = largest.max((wanted - found).abs());
    }
    Ok(largest)
}

/// Each block's output over what quantization changed of it, in decibels.
fn output_ratios(
    float: &Model,
    quantized: &Model,
    blocks: &[Block],
    data: &Dataset,
    inputs: &[usize],
) -> candle_core::Result<Vec<f64>> {
    let mut powers = vec![(0f64, 0f64); blocks.len()];
    for indices in inputs.chunks(BATCH) {
        let (exact, rounded) = (float.input(data, indices)?, quantized.input(data, indices)?);
        let count = float.graph().nodes.len();
        let (exact, rounded) = (float.first_values(&exact, count)?, quantized.first_values(&rounded, count)?);
        for (block, (signal, noise)) in blocks.iter().zip(&mut powers) {
            let Source::Node(node) = block.output else { continue };
            let sum = |tensor: candle_core::Tensor| tensor.sqr()?.sum_all()?.to_scalar::<f32>().map(f64::from);
            *signal += sum(exact[node].clone())?;
            *noise += sum((&exact[node] - &rounded[node])?)?;
        }
    }
    Ok(powers.into_iter().map(|(signal, noise)| decibels(signal, noise)).collect())
}

fn decibels(signal: f64, noise: f64) -> f64 {
    10.0 * (signal / noise).log10()
}

fn outcome(quantized: &QuantizedNetwork, block: &Block, output_ratio: f64, largest_correction: f32) -> LayerOutcome {
    let name = quantized.network.graph.nodes[block.node].name.clone();
    let weights = quantized.weights.get(&block.node);
    let activation = quantizer(quantized, block.output);
    let weight_ratio =
        weights.zip(quantized.network.parameters.get(&format!("{name}.weight"))).map(|(quant, tensor)| {
            let row = (tensor.data.len() / quant.scales.len().max(1)).max(1);
            let integers = quant.integers(&tensor.data);
            let real = |(at, integer): (usize, i8)| f64::from(integer) * f64::from(quant.scales[at / row]);
            let rounded = integers.into_iter().enumerate().map(real);
            let (signal, noise) =
                tensor.data.iter().zip(rounded).fold((0.0, 0.0), |(signal, noise), (&weight, rounded)| {
                    let weight = f64::from(weight);
                    (signal + weight * weight, noise + (weight - rounded).powi(2))
                });
            decibels(signal, noise)
        });
    LayerOutcome {
        name,
        weight_bits: weights.map(|quant| quant.bits.get()),
        activation_bits: activation.map(|quant| quant.bits.get()),
        range: activation.map(|quant| [quant.real(0), quant.real(quant.bits.max_code())]),
        weight_ratio,
        output_ratio,
        largest_correction,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::glyphs;
    use crate::zoo;

    #[test]
    fn corrected_biases_bring_the_means_of_the_float_network_back() {
        let data = glyphs::generate(1, 64);
        let network = zoo::build("lenet", data.shape, data.classes, 1).unwrap();
        let plan = "3,3,3,3".parse().unwrap();
        let [plain, corrected] = [false, true].map(|correct_biases| {
            let options = Options { correct_biases, inputs: 64, ..Options::default() };
            ptq(&network, &plan, &data, &options, &mut |_, _| {}).unwrap()
        });
        let inputs: Vec<usize> = (0..64).collect();
        let nodes = plain.quantized.network.graph.weighted();
        let last = &nodes[nodes.len() - 1..];
        let wanted = means(&Model::new(&plain.quantized.network).unwrap(), last, &data, &inputs).unwrap();
        let distance = |outcome: &Outcome| {
            let found = means(&Model::from_quantized(&outcome.quantized).unwrap(), last, &data, &inputs).unwrap();
            wanted[0].iter().zip(&found[0]).map(|(wanted, found)| (wanted - found).abs()).fold(0f32, f32::max)
        };
        assert!(distance(&plain) > 1e-3, "{}", distance(&plain));
        assert!(distance(&corrected) < 1e-5, "{}", distance(&corrected));
        assert!(plain.layers.iter().all(|layer| layer.largest_correction == 0.0));
        assert!(corrected.layers.iter().all(|layer| layer.weight_bits.is_none() || layer.largest_correction > 0.0));
    }

    #[test]
    fn every_layer_of_the_image_is_told_of() {
        let data = glyphs::generate(1, 64);
        let network = zoo::build("lenet", data.shape, data.classes, 1).unwrap();
        let outcome = ptq(&network, &"8,4,2:4,8".parse().unwrap(), &data, &Options::default(), &mut |_, _| {}).unwrap();
        let weighted: Vec<&LayerOutcome> = outcome.layers.iter().filter(|layer| layer.weight_bits.is_some()).collect();
        assert_eq!(weighted.iter().filter_map(|layer| layer.weight_bits).collect::<Vec<_>>(), [8, 4, 2, 8]);
        assert_eq!(
            weighted.iter().map(|layer| layer.activation_bits).collect::<Vec<_>>(),
            [Some(8), Some(8), Some(4), None]
        );
        let ratio = |layer: usize| weighted[layer].weight_ratio.unwrap();
        assert!(ratio(0) > ratio(1) + 15.0 && ratio(1) > ratio(2) + 8.0, "about 6 dB a bit: {weighted:?}");
    }
}
