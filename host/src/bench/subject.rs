//! A layer to be measured, as a quantized network: weights and inputs of a fixed seed or at their extremes.
//!
//! The layer is lowered as any other, so it takes the layout, the scratch and the kernel hint that a user's would. All
//! weight scales are 1, so that each float weight is the integer it becomes. Behind the layer stands a global average,
//! because images end in logits.

use std::collections::BTreeMap;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use releq_format::bits::{BitWidth, Levels};
use releq_format::graph::TensorRecord;
use releq_format::image::{Header, ImageBuffer};
use releq_search::seed;

use super::shape::Case;
use crate::lower::{LowerError, lower};
use crate::network::{Graph, InputSpec, Network, Node, Op, Source, Tensor, Window};
use crate::quantized::{ActivationQuant, QuantizedNetwork, WeightQuant};

/// What weights and input codes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// Drawn evenly from all levels and codes.
    Random,
    /// Every weight and every code the largest.
    Largest,
    /// Every weight the smallest and every code the largest: the other end of the accumulator. Without weights, every
    /// code 0.
    Smallest,
}

impl Fill {
    /// All of them, the one that is counted first.
    pub const ALL: [Self; 3] = [Self::Random, Self::Largest, Self::Smallest];
}

/// An image of one layer of interest, with an input for it.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The image.
    pub image: ImageBuffer,
    /// Index of the layer of interest.
    pub layer: usize,
    rng: ChaCha8Rng,
    fill: Fill,
    weighted: bool,
}

/// The one seed of all subjects.
const SEED: u64 = 1;

impl Subject {
    /// Lowers `case` with weights as `fill` says.
    ///
    /// # Errors
    /// Where lowering refuses the case.
    pub fn new(case: &Case, fill: Fill) -> Result<Self, LowerError> {
        let mut rng = seed::stream(SEED, "bench subject");
        let quantized = network(case, fill, &mut rng);
        let lowered = lower(&quantized)?;
        assert_eq!(lowered.quantized.weights, quantized.weights, "a raised scale would change the integers asked for");
        let layer = usize::from(matches!(case.shape.op, Op::Add));
        Ok(Self { image: lowered.image, layer, rng, fill, weighted: case.weights.is_some() })
    }

    /// Packed input codes as `fill` says; the same at every call.
    pub fn input(&self, header: &Header<'_>) -> Vec<u8> {
        let TensorRecord { bits, storage, channels, .. } = header.input;
        let mut rng = self.rng.clone();
        let mut code = || match self.fill {
            Fill::Random => rng.random_range(0..=bits.max_code()),
            Fill::Smallest if !self.weighted => 0,
            Fill::Largest | Fill::Smallest => bits.max_code(),
        };
        let mut bytes = vec![0; header.input.bytes().unwrap_or(0) as usize];
        for pixel in bytes.chunks_exact_mut(header.input.pixel_bytes().max(1) as usize) {
            for channel in 0..usize::from(channels) {
                releq_device::tensor::store(pixel, storage, channel, code());
            }
        }
        bytes
    }
}

fn network(case: &Case, fill: Fill, rng: &mut ChaCha8Rng) -> QuantizedNetwork {
    let bits = width(case.activations);
    let largest = bits.max_code();
    let zero_point = if case.shape.first { largest.div_ceil(2) } else { 0 };
    let input = ActivationQuant { bits, scale: 1.0, zero_point };
    let mut quantized = QuantizedNetwork {
        network: Network { graph: graph(case), parameters: BTreeMap::new() },
        weights: BTreeMap::new(),
        activations: BTreeMap::from([(Source::Input, input)]),
    };
    let layer = quantized.network.graph.nodes.len() - 2;
    let output = match case.weights {
        Some(weights) => add_weights(&mut quantized, layer, case, width(weights), fill, rng),
        // Sums of two, and averages, spread over all codes at these scales.
        None if case.shape.op == Op::Add => ActivationQuant { scale: 2.0, ..input },
        None => input,
    };
    if !matches!(case.shape.op, Op::MaxPool { .. }) {
        quantized.activations.insert(Source::Node(layer), output);
    }
    quantized
}

/// The layer and the average behind it. An add needs a second operand: a copy of the input, by a pool of one tap.
fn graph(case: &Case) -> Graph {
    let shape = &case.shape;
    let node = |name: &str, op: &Op, inputs: Vec<Source>| Node { name: name.to_owned(), op: op.clone(), inputs };
    let mut nodes = Vec::new();
    if shape.op == Op::Add {
        let copy = Op::MaxPool { window: Window::square(1, 1, 0) };
        nodes.push(node("copy", &copy, vec![Source::Input]));
        nodes.push(node(shape.name, &shape.op, vec![Source::Input, Source::Node(0)]));
    } else {
        nodes.push(node(shape.name, &shape.op, vec![Source::Input]));
    }
    nodes.push(node("average", &Op::GlobalAvgPool, vec![Source::Node(nodes.len() - 1)]));
    Graph { name: shape.name.to_owned(), input: InputSpec::unit(shape.input), nodes, held_out: 0 }
}

/// Gives the layer its weights, and biases that spread its outputs over their codes; the quantizer of those.
///
/// At the extremes all sums of a layer are equal but for padding, so it is the biases that make outputs tell an
/// accumulator that went wrong from one that did not.
fn add_weights(
    quantized: &mut QuantizedNetwork,
    layer: usize,
    case: &Case,
    bits: BitWidth,
    fill: Fill,
    rng: &mut ChaCha8Rng,
) -> ActivationQuant {
    // One bit has no level set with a zero but two's complement; networks use {−1, +1} there.
    let levels = if bits.get() == 1 { Levels::MidRise } else { Levels::MidTread };
    let shape = weight_shape(case);
    let (out, terms) = (shape[0], shape[1..].iter().product::<usize>());
    let quant = WeightQuant { bits, levels, scales: vec![1.0; out] };
    let (smallest, largest) = quant.rounder().limits();
    let (gain, _) = levels.affine(bits);
    let mut level = || match fill {
        Fill::Random => smallest + gain * rng.random_range(0..=(largest - smallest) / gain),
        Fill::Largest => largest,
        Fill::Smallest => smallest,
    };
    let data: Vec<f32> = (0..out * terms).map(|_| level() as f32).collect();
    let input = quantized.activations[&Source::Input];
    let code = f32::from(input.bits.max_code() - input.zero_point);
    let span = match fill {
        // Two standard deviations of a sum of even draws.
        Fill::Random => 2.0 * (terms as f32).sqrt() * largest as f32 * code / 3.0,
        Fill::Largest | Fill::Smallest => terms as f32 * largest as f32 * code,
    };
    let biases = (0..out).map(|_| (rng.random_range(-0.5..0.5) * span).round()).collect();
    let name = quantized.network.graph.nodes[layer].name.clone();
    let parameters = &mut quantized.network.parameters;
    parameters.insert(format!("{name}.weight"), Tensor { shape, data });
    parameters.insert(format!("{name}.bias"), Tensor { shape: vec![out], data: biases });
    quantized.weights.insert(layer, quant);
    let codes = f32::from(input.bits.max_code());
    let zero_point = if fill == Fill::Smallest { input.bits.max_code() } else { 0 };
    ActivationQuant { bits: input.bits, scale: 1.5 * span / codes, zero_point }
}

fn weight_shape(case: &Case) -> Vec<usize> {
    let [channels, height, width] = case.shape.input;
    match case.shape.op {
        Op::Conv { out, window, groups, .. } => vec![out, channels / groups, window.kernel[0], window.kernel[1]],
        Op::Dense { out, .. } => vec![out, channels * height * width],
        _ => Vec::new(),
    }
}

fn width(bits: u8) -> BitWidth {
    BitWidth::new(bits).unwrap_or(BitWidth::EIGHT)
}

#[cfg(test)]
mod tests {
    use releq_format::image::Image;

    use super::super::shape::{cases, shapes};
    use super::*;
    use crate::target::native;

    /// Each subject computes what the oracle does, holds what was asked for, and its outputs are of many values.
    #[test]
    fn subjects_hold_what_was_asked_for_and_tell_outputs_apart() {
        for shape in shapes().iter().filter(|shape| shape.name != "conv1x1") {
            for case in cases(shape).into_iter().filter(|case| case.weights.is_none_or(|bits| bits % 3 == 2)) {
                for fill in Fill::ALL {
                    let subject = Subject::new(&case, fill).unwrap();
                    let image = Image::open(&subject.image).unwrap();
                    let record = image.layers().nth(subject.layer).unwrap();
                    assert_eq!(record.name, shape.name);
                    assert_eq!(record.op.weights().map(|weights| weights.bits.get()), case.weights);
                    assert_eq!(image.header().input.bits.get(), case.activations);
                    let input = subject.input(image.header());
                    let inference = native::infer(&image, &input).unwrap();
                    assert_eq!(inference, native::oracle(&image, &input).unwrap());
                    let mut logits = inference.logits;
                    logits.sort_unstable();
                    logits.dedup();
                    let varied = case.weights.is_some() || fill == Fill::Random;
                    assert!(!varied || logits.len() > 1, "{case:?} {fill:?}");
                }
            }
        }
    }
}
