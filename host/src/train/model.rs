//! A network as Candle variables: its forward pass, in floats or fake-quantized.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};

use candle_core::{Result, Tensor, Var};
use releq_format::bits::{BitWidth, Levels};

use super::applied::Applied;
use super::batch_norm::{BatchNorm, Statistics};
use super::conv::Conv2d;
use super::device;
use super::fake_quant::{FakeQuantActivation, FakeQuantWeight};
use super::pool::{Pool, Reduce};
use super::relu::Relu;
use super::shortcut::Shortcut;
use crate::data::Dataset;
use crate::network::{self, Graph, Network, Op, Source};
use crate::quantized::{ActivationQuant, QuantizedNetwork, WeightQuant};

/// What is done to float weights before they are rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transform {
    /// Nothing.
    Identity,
    /// `tanh(w) / max |tanh(w)|`, DoReFa's.
    Tanh,
}

/// A weight quantizer in training.
#[derive(Clone, Debug)]
pub struct WeightState {
    /// Bits of each code.
    pub bits: BitWidth,
    /// The integers a code may stand for.
    pub levels: Levels,
    /// Scales `[out]`, or `[1]` for all.
    pub scales: Var,
    /// Whether the scales learn.
    pub learn: bool,
    /// What happens before rounding.
    pub transform: Transform,
}

/// An activation quantizer in training.
#[derive(Clone, Debug)]
pub struct ActivationState {
    /// Bits of each code.
    pub bits: BitWidth,
    /// The code of 0.0.
    pub zero_point: u8,
    /// The scale `[1]`.
    pub scale: Var,
    /// Whether the scale learns.
    pub learn: bool,
}

/// The quantizers of a network, keyed as in [`QuantizedNetwork`].
#[derive(Clone, Debug, Default)]
pub struct Quantizers {
    /// By node.
    pub weights: BTreeMap<usize, WeightState>,
    /// By source.
    pub activations: BTreeMap<Source, ActivationState>,
}

/// A trainable network.
#[derive(Clone, Debug)]
pub struct Model {
    graph: Graph,
    parameters: BTreeMap<String, Var>,
    statistics: BTreeMap<usize, Arc<Mutex<Statistics>>>,
    quantizers: Quantizers,
    momentum: f32,
}

/// How far one batch of training moves the statistics of batch normalisation, as in most frameworks.
const MOMENTUM: f32 = 0.1;

fn var(tensor: &network::Tensor) -> Result<Var> {
    Var::from_tensor(&Tensor::from_vec(tensor.data.clone(), tensor.shape.clone(), &device::current())?)
}

fn floats(var: &Tensor) -> Result<network::Tensor> {
    Ok(network::Tensor { shape: var.dims().to_vec(), data: var.flatten_all()?.to_vec1()? })
}

/// Whether a parameter is a statistic that is measured, not learned.
fn is_statistic(name: &str) -> bool {
    name.ends_with(".running_mean") || name.ends_with(".running_var")
}

impl Model {
    /// The network in floats.
    ///
    /// # Errors
    /// Parameters that are missing or do not fit the graph.
    pub fn new(network: &Network) -> Result<Self> {
        let learned = network.parameters.iter().filter(|(name, _)| !is_statistic(name));
        let parameters = learned.map(|(name, tensor)| Ok((name.clone(), var(tensor)?))).collect::<Result<_>>()?;
        let mut statistics = BTreeMap::new();
        for (index, node) in network.graph.nodes.iter().enumerate() {
            if let Op::BatchNorm { .. } = node.op {
                let part = |part: &str| match network.parameters.get(&format!("{}.{part}", node.name)) {
                    Some(tensor) => Ok(tensor.data.clone()),
                    None => candle_core::bail!("`{}` has no {part}", node.name),
                };
                let running = Statistics { mean: part("running_mean")?, variance: part("running_var")? };
                statistics.insert(index, Arc::new(Mutex::new(running)));
            }
        }
        Ok(Self {
            graph: network.graph.clone(),
            parameters,
            statistics,
            quantizers: Quantizers::default(),
            momentum: MOMENTUM,
        })
    }

    /// The network with `quantizers`.
    ///
    /// # Errors
    /// As [`Model::new`].
    pub fn with_quantizers(network: &Network, quantizers: Quantizers) -> Result<Self> {
        Ok(Self { quantizers, ..Self::new(network)? })
    }

    /// A quantized network as it was exported, for evaluation.
    ///
    /// # Errors
    /// As [`Model::new`].
    pub fn from_quantized(quantized: &QuantizedNetwork) -> Result<Self> {
        let mut quantizers = Quantizers::default();
        for (&node, WeightQuant { bits, levels, scales }) in &quantized.weights {
            let scales = Var::from_slice(scales, scales.len(), &device::current())?;
            let state =
                WeightState { bits: *bits, levels: *levels, scales, learn: false, transform: Transform::Identity };
            quantizers.weights.insert(node, state);
        }
        for (&source, &quant) in &quantized.activations {
            quantizers.activations.insert(source, ActivationState::fixed(quant)?);
        }
        Self::with_quantizers(&quantized.network, quantizers)
    }

    /// The same variables and statistics, of which each batch of training moves the latter by `momentum`.
    pub(super) fn with_momentum(&self, momentum: f32) -> Self {
        Self { momentum, ..self.clone() }
    }

    /// The statistics of every batch normalisation, by node.
    pub(super) fn statistics(&self) -> impl Iterator<Item = &Mutex<Statistics>> {
        self.statistics.values().map(AsRef::as_ref)
    }

    /// The layers.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The variables that learn, with the factor on the learning rate of each.
    pub fn variables(&self) -> Vec<(Var, f32)> {
        let parameters = self.parameters.values().map(|var| (var.clone(), 1.0));
        let weights =
            self.quantizers.weights.values().filter(|state| state.learn).map(|state| (state.scales.clone(), 0.1));
        // Where sources share a quantizer, its scale is one variable.
        let mut seen = HashSet::new();
        let first = |state: &&ActivationState| state.learn && seen.insert(state.scale.id());
        let activations = self.quantizers.activations.values().filter(first);
        parameters.chain(weights).chain(activations.map(|state| (state.scale.clone(), 0.1))).collect()
    }

    /// The network as trained so far.
    ///
    /// # Errors
    /// Only Candle's own.
    pub fn network(&self) -> Result<Network> {
        let mut parameters: BTreeMap<String, network::Tensor> =
            self.parameters.iter().map(|(name, var)| Ok((name.clone(), floats(var)?))).collect::<Result<_>>()?;
        for (&index, running) in &self.statistics {
            let running = running.lock().expect("no panic while holding the lock");
            let name = &self.graph.nodes[index].name;
            for (part, data) in [("running_mean", &running.mean), ("running_var", &running.variance)] {
                let tensor = network::Tensor { shape: vec![data.len()], data: data.clone() };
                parameters.insert(format!("{name}.{part}"), tensor);
            }
        }
        Ok(Network { graph: self.graph.clone(), parameters })
    }

    /// The network and its quantizers as trained so far; transformed weights are stored as transformed.
    ///
    /// # Errors
    /// Only Candle's own.
    pub fn quantized(&self) -> Result<QuantizedNetwork> {
        let mut network = self.network()?;
        let mut weights = BTreeMap::new();
        for (&node, state) in &self.quantizers.weights {
            let name = format!("{}.weight", self.graph.nodes[node].name);
            network.parameters.insert(name.clone(), floats(&transformed(&self.parameters[&name], state.transform)?)?);
            let out = network.parameters[&name].shape[0];
            let scales = state.scales.broadcast_as(out)?.to_vec1()?;
            weights.insert(node, WeightQuant { bits: state.bits, levels: state.levels, scales });
        }
        let quant = |state: &ActivationState| state.quant();
        let activations = self.quantizers.activations.iter().map(|(&source, state)| Ok((source, quant(state)?)));
        Ok(QuantizedNetwork { network, weights, activations: activations.collect::<Result<_>>()? })
    }

    /// Images `indices` of `data` as the network's input, normalised and rounded by the input's quantizer if it has one.
    ///
    /// # Errors
    /// Images of another shape.
    pub fn input(&self, data: &Dataset, indices: &[usize]) -> Result<Tensor> {
        let spec = &self.graph.input;
        if data.shape != spec.shape {
            candle_core::bail!("the network takes images of {:?}, the data has {:?}", spec.shape, data.shape)
        }
        let quant = self.quantizers.activations.get(&Source::Input).map(ActivationState::quant).transpose()?;
        let table = |(mean, std): (&f32, &f32)| -> Vec<f32> {
            let real = (0..256).map(|pixel| (pixel as f32 / 255.0 - mean) / std);
            real.map(|x| quant.map_or(x, |quant| quant.round(x))).collect()
        };
        let tables: Vec<Vec<f32>> = spec.mean.iter().zip(&spec.std).map(table).collect();
        let [channels, height, width] = spec.shape;
        let mut floats = Vec::with_capacity(indices.len() * channels * height * width);
        for &index in indices {
            for (plane, table) in data.image(index).chunks_exact(height * width).zip(&tables) {
                floats.extend(plane.iter().map(|&pixel| table[usize::from(pixel)]));
            }
        }
        Tensor::from_vec(floats, (indices.len(), channels, height, width), &device::current())
    }

    /// Logits `[n, classes]` of an input from [`Model::input`].
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn forward(&self, x: &Tensor, training: bool) -> Result<Tensor> {
        let logits = self.values(x, training)?.pop();
        logits.map_or_else(|| candle_core::bail!("the network has no layers"), |logits| logits.flatten_from(1))
    }

    /// Every node's value, in order.
    pub(super) fn values(&self, x: &Tensor, training: bool) -> Result<Vec<Tensor>> {
        self.values_of(self.graph.nodes.len(), x, training)
    }

    /// The values of the first `count` nodes, for a trained network.
    pub(super) fn first_values(&self, x: &Tensor, count: usize) -> Result<Vec<Tensor>> {
        self.values_of(count, x, false)
    }

    fn values_of(&self, count: usize, x: &Tensor, training: bool) -> Result<Vec<Tensor>> {
        let mut values: Vec<Tensor> = Vec::with_capacity(count);
        for index in 0..count {
            let value = self.node(index, x, &values, training)?;
            values.push(value);
        }
        Ok(values)
    }

    /// The value of one node, given those before it.
    pub(super) fn node(&self, index: usize, x: &Tensor, values: &[Tensor], training: bool) -> Result<Tensor> {
        let value = self.applied(index, x, values)?.value(training)?;
        self.rounding(index, &value).map_or(Ok(value), |rounding| rounding.value(training))
    }

    /// What one node does before its result is rounded, given the values before it.
    pub(super) fn applied(&self, index: usize, x: &Tensor, values: &[Tensor]) -> Result<Applied> {
        let node = &self.graph.nodes[index];
        let read = |source: &Source| match *source {
            Source::Input => x.clone(),
            Source::Node(index) => values[index].clone(),
        };
        let input = read(&node.inputs[0]);
        Ok(match &node.op {
            Op::Conv { out, window, groups, .. } => {
                let input_gradient = node.inputs[0] != Source::Input;
                let conv = Conv2d { window: *window, groups: *groups, input_gradient };
                Applied::Conv(conv, [input, self.weight(index)?, self.bias(&node.name, *out)?])
            }
            Op::Dense { out, .. } => Applied::Dense([input, self.weight(index)?, self.bias(&node.name, *out)?]),
            Op::BatchNorm { eps } => {
                let norm = BatchNorm::new(*eps, self.momentum, self.statistics[&index].clone());
                let part = |part: &str| self.parameter(&format!("{}.{part}", node.name)).cloned();
                Applied::Norm(norm, [input, part("weight")?, part("bias")?])
            }
            // Rounding with zero point 0 clamps at zero and at the largest code, which is the ReLU: calibration saw no
            // value above a ceiling, and a scale that learns may move it.
            Op::Relu | Op::ClippedRelu { .. } if self.rounds_from_zero(index) => Applied::Same(input),
            Op::Relu => Applied::Relu(Relu::PLAIN, input),
            Op::ClippedRelu { ceiling } => Applied::Relu(Relu { ceiling: *ceiling }, input),
            Op::MaxPool { window } => Applied::Pool(Pool { reduce: Reduce::Max, window: *window }, input),
            Op::AvgPool { window } => Applied::Pool(Pool { reduce: Reduce::Mean, window: *window }, input),
            Op::GlobalAvgPool => {
                let (_, _, height, width) = input.dims4()?;
                Applied::Pool(Pool::global(height, width), input)
            }
            Op::Add => Applied::Add([input, read(&node.inputs[1])]),
            Op::Concat => Applied::Concat(node.inputs.iter().map(read).collect()),
            Op::Shortcut { stride, before, after } => {
                Applied::Shortcut(Shortcut { stride: *stride, before: *before, after: *after }, input)
            }
            Op::Flatten => Applied::Flatten(input),
        })
    }

    /// The rounding of a node's result `value`, if it has one.
    pub(super) fn rounding(&self, index: usize, value: &Tensor) -> Option<Applied> {
        let ActivationState { bits, zero_point, scale, learn } =
            self.quantizers.activations.get(&Source::Node(index))?;
        let rounding = FakeQuantActivation { bits: *bits, zero_point: *zero_point, learn: *learn };
        Some(Applied::Rounded(rounding, [value.clone(), scale.as_tensor().clone()]))
    }

    fn rounds_from_zero(&self, index: usize) -> bool {
        self.quantizers.activations.get(&Source::Node(index)).is_some_and(|state| state.zero_point == 0)
    }

    fn parameter(&self, name: &str) -> Result<&Tensor> {
        self.parameters
            .get(name)
            .map_or_else(|| candle_core::bail!("the network has no `{name}`"), |var| Ok(var.as_tensor()))
    }

    fn weight(&self, index: usize) -> Result<Tensor> {
        let weight = self.parameter(&format!("{}.weight", self.graph.nodes[index].name))?;
        let Some(state) = self.quantizers.weights.get(&index) else { return Ok(weight.clone()) };
        let weight = transformed(weight, state.transform)?;
        FakeQuantWeight { bits: state.bits, levels: state.levels, learn: state.learn }.forward(&weight, &state.scales)
    }

    fn bias(&self, name: &str, out: usize) -> Result<Tensor> {
        match self.parameters.get(&format!("{name}.bias")) {
            Some(bias) => Ok(bias.as_tensor().clone()),
            None => Tensor::zeros(out, candle_core::DType::F32, &device::current()),
        }
    }
}

impl ActivationState {
    /// A quantizer that does not learn.
    ///
    /// # Errors
    /// Only Candle's own.
    pub fn fixed(quant: ActivationQuant) -> Result<Self> {
        let scale = Var::from_slice(&[quant.scale], 1, &device::current())?;
        Ok(Self { bits: quant.bits, zero_point: quant.zero_point, scale, learn: false })
    }

    /// The quantizer as it is now.
    ///
    /// # Errors
    /// Only Candle's own.
    pub fn quant(&self) -> Result<ActivationQuant> {
        let scale = self.scale.to_vec1::<f32>()?[0];
        Ok(ActivationQuant { bits: self.bits, scale, zero_point: self.zero_point })
    }
}

/// Weights as they are before rounding.
pub(super) fn transformed(weight: &Tensor, transform: Transform) -> Result<Tensor> {
    match transform {
        Transform::Identity => Ok(weight.clone()),
        Transform::Tanh => {
            let tanh = weight.tanh()?;
            let largest = tanh.abs()?.flatten_all()?.max(0)?;
            tanh.broadcast_div(&largest)
        }
    }
}
