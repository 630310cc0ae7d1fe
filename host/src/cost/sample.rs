//! Random networks to calibrate on: a few layers each, every op and every width, sizes from small to what boards hold.
//!
//! Nothing of a real network is copied, so that those can tell whether prices hold elsewhere.

use rand::RngExt;
use rand::seq::{IndexedRandom, IteratorRandom};
use rand_chacha::ChaCha8Rng;
use releq_format::bits::Levels;
use releq_search::plan::{BitPlan, LayerBits};
use releq_search::seed;

use super::nominal;
use crate::lower::{LowerError, Lowered, lower};
use crate::network::{Graph, InputSpec, Node, Op, Source, Window};
use crate::quantized::QuantizedNetwork;

/// Multiply-accumulates of a layer that is worth its emulation.
const MOST_MACS: usize = 6_000_000;
/// Weights of a layer: an image of several must fit the boards.
const MOST_WEIGHTS: usize = 400_000;
/// Channels that layers have: any, and those that networks for boards mostly have.
const CHANNELS: [usize; 17] = [2, 3, 4, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128];
const USUAL_CHANNELS: [usize; 8] = [8, 16, 16, 32, 32, 64, 128, 256];

/// The `index`-th sample network, lowered; the same at every call.
///
/// # Errors
/// [`LowerError`], which its ranges rule out.
pub fn lowered(index: u64) -> Result<Lowered, LowerError> {
    let mut rng = seed::stream(index, "calibration sample");
    let graph = graph(index, &mut rng);
    // Most networks have one width of codes; some have another in each layer.
    let common =
        [Some(8), Some(8), Some(8), Some(8), Some(4), Some(4), Some(2), None, None].choose(&mut rng).copied().flatten();
    let layers = graph.weighted().into_iter().map(|_| LayerBits {
        weights: rng.random_range(1..=8),
        activations: common.unwrap_or_else(|| codes(&mut rng)),
    });
    let plan = BitPlan::new(layers.collect()).map_err(|error| LowerError::Shape(error.to_string()))?;
    lower(&leveled(nominal::quantized(&graph, &plan)?, &mut rng))
}

/// How many networks of joined channels there are; [`lowered`] has none, and stays what it was when they came.
pub const JOINED: u64 = 96;

/// The `index`-th network of joined channels, lowered; the same at every call.
///
/// # Errors
/// [`LowerError`], which its ranges rule out.
pub fn joined(index: u64) -> Result<Lowered, LowerError> {
    let mut rng = seed::stream(index, "calibration sample of joined channels");
    let side = *[1, 2, 4, 5, 7, 8, 12, 16].choose(&mut rng).unwrap_or(&4);
    let input = InputSpec::unit([3, side, side]);
    let mut chain = Chain { shape: input.shape, nodes: Vec::new() };
    // Some meet within a byte.
    let within = index.is_multiple_of(3);
    let first = if within { *[1, 3, 5, 7, 9, 13, 21, 27].choose(&mut rng).unwrap_or(&3) } else { channels(&mut rng) };
    let second = channels(&mut rng);
    let mut branch = |out: usize| {
        let window = Window::square(1, 1, 0);
        chain.push("conv", Op::Conv { out, window, groups: 1, bias: false }, vec![Source::Input]);
        let inputs = vec![chain.end()];
        chain.push("relu", Op::Relu, inputs);
        chain.end()
    };
    let (left, right) = (branch(first), branch(second));
    chain.push("concat", Op::Concat, vec![left, right]);
    chain.shape = [first + second, side, side];
    chain.finish(&mut rng);
    let codes: &[u8] = if within { &[4, 2, 1] } else { &[8, 4, 2, 1] };
    let codes = *codes.choose(&mut rng).unwrap_or(&4);
    let layers = vec![LayerBits { weights: 4, activations: codes }; 4];
    let graph = Graph { name: format!("joined-{index}"), input, nodes: chain.nodes, held_out: 0 };
    let plan = layers.into_iter().take(graph.weighted().len()).collect();
    let plan = BitPlan::new(plan).map_err(|error| LowerError::Shape(error.to_string()))?;
    lower(&nominal::quantized(&graph, &plan)?)
}

/// How many networks of 3 × 3 convolutions with sums there are: [`lowered`] has few of these at few bits.
pub const RESIDUAL: u64 = 128;

/// The `index`-th network of 3 × 3 convolutions at few bits and a sum, lowered; the same at every call.
///
/// # Errors
/// [`LowerError`], which its ranges rule out.
pub fn residual(index: u64) -> Result<Lowered, LowerError> {
    let mut rng = seed::stream(index, "calibration sample with a sum");
    let [height, width] = std::array::from_fn(|_| *[5, 8, 8, 11, 12, 16, 16, 20, 32].choose(&mut rng).unwrap_or(&8));
    let most = (MOST_MACS / (9 * height * width)).isqrt();
    let channels = [8, 16, 16, 20, 24, 32, 32, 48, 64].into_iter().filter(|&channels| channels <= most);
    let channels = channels.choose(&mut rng).unwrap_or(8);
    let input = InputSpec::unit([3, height, width]);
    let mut chain = Chain { shape: input.shape, nodes: Vec::new() };
    let mut convolve = |out: usize, rectified: bool| {
        let window = Window::square(3, 1, 1);
        let inputs = vec![chain.end()];
        chain.push("conv", Op::Conv { out, window, groups: 1, bias: false }, inputs);
        if rectified {
            let inputs = vec![chain.end()];
            chain.push("relu", Op::Relu, inputs);
        }
        chain.end()
    };
    let stream = convolve(channels, true);
    convolve(channels, true);
    let branch = convolve(channels, false);
    chain.push("add", Op::Add, vec![stream, branch]);
    chain.shape = [channels, height, width];
    chain.rectify(&mut rng);
    chain.finish(&mut rng);
    let graph = Graph { name: format!("residual-{index}"), input, nodes: chain.nodes, held_out: 0 };
    let codes = *[4, 4, 4, 2, 3, 5].choose(&mut rng).unwrap_or(&4);
    let layers =
        graph.weighted().into_iter().map(|_| LayerBits { weights: rng.random_range(1..=5), activations: codes });
    let plan = BitPlan::new(layers.collect()).map_err(|error| LowerError::Shape(error.to_string()))?;
    lower(&leveled(nominal::quantized(&graph, &plan)?, &mut rng))
}

/// With mid-rise levels in some layers.
fn leveled(mut quantized: QuantizedNetwork, rng: &mut ChaCha8Rng) -> QuantizedNetwork {
    for quant in quantized.weights.values_mut().filter(|quant| (2..8).contains(&quant.bits.get())) {
        if rng.random_bool(0.4) {
            quant.levels = Levels::MidRise;
            // Odd levels reach twice as far.
            quant.scales.iter_mut().for_each(|scale| *scale /= 2.0);
        }
    }
    quantized
}

/// How many networks [`all`] has.
pub fn count(samples: u64) -> u64 {
    samples + samples.min(JOINED) + samples.min(RESIDUAL)
}

/// The first `samples` networks of each kind, as far as there are so many.
pub fn all(samples: u64) -> impl Iterator<Item = Result<Lowered, LowerError>> {
    let joined = (0..samples.min(JOINED)).map(joined);
    (0..samples).map(lowered).chain(joined).chain((0..samples.min(RESIDUAL)).map(residual))
}

/// Mostly the widths that storages have.
fn codes(rng: &mut ChaCha8Rng) -> u8 {
    *[8, 8, 4, 4, 2, 2, 1, 3, 5, 6, 7].choose(rng).unwrap_or(&8)
}

/// A chain of layers, one in a while with a residual add, that ends in a dense layer.
fn graph(index: u64, rng: &mut ChaCha8Rng) -> Graph {
    let side = *[5, 7, 8, 8, 10, 12, 14, 16, 16, 20, 24, 28, 32].choose(rng).unwrap_or(&8);
    let channels = if rng.random_bool(0.3) { *[1, 3].choose(rng).unwrap_or(&1) } else { channels(rng) };
    let width = if rng.random_bool(0.6) { side } else { rng.random_range(side / 2 + 1..=side + 1) };
    let mut input = InputSpec::unit([channels, side, width]);
    if rng.random_bool(0.5) {
        // Centred codes.
        input.mean.iter_mut().for_each(|mean| *mean = 0.5);
    }
    let mut chain = Chain { shape: input.shape, nodes: Vec::new() };
    for _ in 0..rng.random_range(2..=5) {
        chain.grow(rng);
    }
    chain.finish(rng);
    Graph { name: format!("sample-{index}"), input, nodes: chain.nodes, held_out: 0 }
}

fn channels(rng: &mut ChaCha8Rng) -> usize {
    *if rng.random_bool(0.6) { USUAL_CHANNELS.choose(rng) } else { CHANNELS.choose(rng) }.unwrap_or(&8)
}

/// A network that grows at its end.
struct Chain {
    shape: [usize; 3],
    nodes: Vec<Node>,
}

impl Chain {
    fn end(&self) -> Source {
        self.nodes.len().checked_sub(1).map_or(Source::Input, Source::Node)
    }

    fn push(&mut self, kind: &str, op: Op, inputs: Vec<Source>) {
        let name = format!("{kind}{}", self.nodes.len());
        self.nodes.push(Node { name, op, inputs });
    }

    /// Adds a layer if it fits, and mostly a ReLU where one may stand.
    fn grow(&mut self, rng: &mut ChaCha8Rng) {
        let [channels, height, width] = self.shape;
        match rng.random_range(0..12) {
            0..=6 => self.convolve(rng, 1),
            7 | 8 => self.convolve(rng, channels),
            9 => {
                let window = window(rng, &[2, 3], [2, 2]);
                if let Some([height, width]) = window.output(height, width) {
                    let inputs = vec![self.end()];
                    self.push("maxpool", Op::MaxPool { window }, inputs);
                    self.shape = [channels, height, width];
                }
            }
            10 => {
                let window = window(rng, &[2, 3], [2, 2]);
                if let Some([height, width]) = window.output(height, width).filter(|_| channels >= 4) {
                    let inputs = vec![self.end()];
                    self.push("avgpool", Op::AvgPool { window }, inputs);
                    self.shape = [channels, height, width];
                }
            }
            _ => {
                let before = self.end();
                self.convolve(rng, channels);
                if self.shape == [channels, height, width] && self.end() != before {
                    let branch = self.end();
                    self.push("add", Op::Add, vec![before, branch]);
                    self.rectify(rng);
                    // A branch that is read twice has codes of its own width, not 8 bits for the sum alone.
                    if self.nodes.len().is_multiple_of(3) {
                        let inputs = vec![self.end(), branch];
                        self.push("add", Op::Add, inputs);
                    }
                }
            }
        }
    }

    fn convolve(&mut self, rng: &mut ChaCha8Rng, groups: usize) {
        let [channels, height, width] = self.shape;
        let depthwise = groups > 1;
        let kernels: &[usize] = if depthwise { &[3] } else { &[1, 1, 1, 3, 3, 3, 3, 5, 7, 2] };
        let strides = if rng.random_bool(0.25) { [2, 2] } else { [1, 1] };
        let window = window(rng, kernels, strides);
        let out = if depthwise { channels } else { self::channels(rng) };
        let Some([rows, columns]) = window.output(height, width) else { return };
        let weights = out * channels / groups * window.kernel[0] * window.kernel[1];
        let bytes = out * rows * columns;
        if weights > MOST_WEIGHTS || weights * rows * columns > MOST_MACS || bytes > 200_000 {
            return;
        }
        let inputs = vec![self.end()];
        self.push("conv", Op::Conv { out, window, groups, bias: false }, inputs);
        self.shape = [out, rows, columns];
        self.rectify(rng);
    }

    fn rectify(&mut self, rng: &mut ChaCha8Rng) {
        if rng.random_bool(0.8) {
            let inputs = vec![self.end()];
            self.push("relu", Op::Relu, inputs);
        }
    }

    /// One or two dense layers, over everything where there is room, else over an average.
    fn finish(&mut self, rng: &mut ChaCha8Rng) {
        let elements = |shape: [usize; 3]| shape.iter().product::<usize>();
        if elements(self.shape) > 3000 || rng.random_bool(0.3) && self.shape[0] >= 4 {
            let inputs = vec![self.end()];
            self.push("average", Op::GlobalAvgPool, inputs);
            self.shape = [self.shape[0], 1, 1];
        }
        let inner = *[10, 16, 33, 50, 84, 120, 128, 200, 256, 500].choose(rng).unwrap_or(&16);
        if elements(self.shape) * inner <= MOST_WEIGHTS && rng.random_bool(0.5) {
            let inputs = vec![self.end()];
            self.push("dense", Op::Dense { out: inner, bias: false }, inputs);
            self.shape = [inner, 1, 1];
            self.rectify(rng);
        }
        let inputs = vec![self.end()];
        self.push("logits", Op::Dense { out: *[2, 5, 10, 35, 100].choose(rng).unwrap_or(&10), bias: false }, inputs);
    }
}

/// A square window of one of `kernels`, sometimes padded to keep the size.
fn window(rng: &mut ChaCha8Rng, kernels: &[usize], [stride, _]: [usize; 2]) -> Window {
    let kernel = *kernels.choose(rng).unwrap_or(&3);
    let padding = if rng.random_bool(0.7) { kernel / 2 } else { 0 };
    let padding = if kernel == 2 { 0 } else { padding };
    Window::square(kernel, stride, padding)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use releq_format::graph::KernelHint;
    use releq_format::image::Image;

    use super::*;
    use crate::cost::layer::layers;

    /// A few dozen samples have every kernel and every one of its ways.
    #[test]
    fn samples_are_lowered_and_meet_every_kernel() {
        let mut kernels = BTreeSet::new();
        for index in 0..60 {
            let lowered = lowered(index).unwrap();
            let image = Image::open(&lowered.image).unwrap();
            kernels.extend(layers(&image).iter().map(|layer| layer.work(KernelHint::DSP).kernel));
        }
        let prices = crate::cost::prices("virt-m4").unwrap();
        for index in 0..JOINED {
            let lowered = joined(index).unwrap();
            let image = Image::open(&lowered.image).unwrap();
            for work in layers(&image).iter().map(|layer| layer.work(KernelHint::DSP)) {
                let joins = work.kernel.starts_with("packed::CONCAT");
                assert!(!joins || prices.instructions(&work).is_ok_and(|count| count > 0.0), "{work:?}");
                kernels.insert(work.kernel);
            }
        }
        for scheme in [
            "dsp::ADD bytes",
            "dsp::ADD bytes to nibbles",
            "dsp::ADD nibbles",
            "dsp::AVGPOOL windows",
            "dsp::CONV2D blocks",
            "dsp::CONV2D blocks of ends",
            "dsp::CONV2D columns",
            "dsp::CONV2D lines",
            "dsp::CONV2D outer products",
            "dsp::DENSE ends",
            "dsp::DENSE lanes",
            "dsp::DEPTHWISE planes",
            "dsp::DEPTHWISE planes apart",
            "dsp::MAXPOOL windows",
            "packed::CONCAT bytes",
            "packed::CONCAT shifted",
        ] {
            assert!(kernels.contains(scheme), "{scheme} is not among {kernels:?}");
        }
    }
}
