//! A quantized network in integers: what each layer of its image computes, before layouts and places are chosen.

use std::collections::BTreeMap;

use releq_format::bits::{BitWidth, Levels};
use releq_format::quant::{AddScale, Channel};

use super::fuse::Block;
use super::rescale::{self, Rescaled};
use super::{LowerError, shortcut};
use crate::network::{InputSpec, Op, Source, Tensor, Window};
use crate::quantized::{ActivationQuant, QuantizedNetwork, WeightQuant};

/// The integers of a network, one step a layer of its image, in execution order.
#[derive(Clone, Debug)]
pub struct IntegerNetwork {
    /// What enters, and how pixels become reals.
    pub input: InputSpec,
    /// How those become codes.
    pub codes: ActivationQuant,
    /// The layers; the last gives the logits.
    pub steps: Vec<Step>,
    /// Real value of one logit unit.
    pub logit_unit: f32,
}

/// One layer of the image to be.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its name.
    pub name: String,
    /// What it reads: the network's input or the output of an earlier step.
    pub inputs: Vec<Operand>,
    /// What it computes.
    pub operation: Operation,
    /// Shape of its output: channels, height, width.
    pub shape: [usize; 3],
    /// The quantizer of its output; `None` for logits.
    pub output: Option<ActivationQuant>,
}

/// A tensor that a step reads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Operand {
    /// 0 for the network's input, i + 1 for the output of step i.
    pub tensor: usize,
    /// Channels, height, width.
    pub shape: [usize; 3],
    /// Its quantizer.
    pub quant: ActivationQuant,
}

/// What a step computes, in integers.
#[derive(Clone, Debug)]
pub enum Operation {
    /// Convolution, plain or depthwise.
    Conv {
        /// Kernel, stride, padding.
        window: Window,
        /// 1, or the number of channels.
        groups: usize,
        /// `[out, in / groups, kh, kw]`.
        weights: Integers,
    },
    /// Fully connected over the flattened input.
    Dense {
        /// `[out, in]`, columns in the order channel, row, column.
        weights: Integers,
    },
    /// Largest code of each window.
    MaxPool {
        /// Kernel, stride, padding.
        window: Window,
    },
    /// Requantized sum of each window.
    AvgPool {
        /// Kernel, stride, padding.
        window: Window,
        /// Left shift of every sum.
        shift: u8,
        /// The constants of all channels.
        channel: Channel,
    },
    /// Element-wise sum.
    Add {
        /// The two scales brought to one.
        scale: AddScale,
    },
    /// The channels of one input, then those of the other.
    Concat,
}

/// The weights of a step.
#[derive(Clone, Debug)]
pub struct Integers {
    /// Their quantizer, at the width they are stored in.
    pub quant: WeightQuant,
    /// Row-major, outputs outermost.
    pub values: Vec<i8>,
    /// What brings sums to codes or logits.
    pub rescaled: Rescaled,
}

/// What making integers of a network reads.
pub(super) struct Reading<'a> {
    pub quantized: &'a QuantizedNetwork,
    pub shapes: &'a [[usize; 3]],
    pub blocks: &'a [Block],
    /// Bits that weights are stored in, by node, where these are more than they have.
    pub stored: &'a BTreeMap<usize, BitWidth>,
}

impl Reading<'_> {
    /// Raises the scales of near-dead channels of one block: the scales it then has.
    pub(super) fn raised(&self, block: &Block) -> Result<Option<WeightQuant>, LowerError> {
        let Some(quant) = self.quantized.weights.get(&block.node).cloned() else { return Ok(None) };
        // Accumulators have to hold what the stored codes could be.
        let mut wide = self.stored(block.node, &quant);
        let input = self.activation(block.inputs[0], block)?;
        let (weight, bias) = self.parameters(block)?;
        let terms = weight.data.len() / quant.scales.len().max(1);
        rescale::raise_scales(&mut wide, &input, terms as u32, &bias);
        Ok(Some(WeightQuant { scales: wide.scales, ..quant }))
    }

    /// The whole network.
    pub(super) fn network(&self) -> Result<IntegerNetwork, LowerError> {
        let mut logit_unit = 1.0;
        let mut steps = Vec::with_capacity(self.blocks.len());
        let mut tensors = BTreeMap::from([(Source::Input, 0)]);
        for (index, block) in self.blocks.iter().enumerate() {
            let last = index + 1 == self.blocks.len();
            let operand = |&source: &Source| self.operand(source, block, &tensors);
            let inputs = block.inputs.iter().map(operand).collect::<Result<Vec<_>, _>>()?;
            let output = if last { None } else { Some(self.activation(block.output, block)?) };
            if let (Op::Concat, Some(quant)) = (&self.quantized.network.graph.nodes[block.node].op, output) {
                self.join(block, &inputs, quant, &mut steps)?;
                tensors.insert(block.output, steps.len());
                continue;
            }
            let (operation, unit) = self.operation(block, &inputs, output.as_ref())?;
            logit_unit = unit.unwrap_or(logit_unit);
            let shape = self.quantized.network.graph.shape_of(block.output, self.shapes);
            steps.push(Step { name: self.name(block).to_owned(), inputs, operation, shape, output });
            tensors.insert(block.output, steps.len());
        }
        let codes = self.activation(Source::Input, &self.blocks[0])?;
        Ok(IntegerNetwork { input: self.quantized.network.graph.input.clone(), codes, steps, logit_unit })
    }

    /// The quantizer of a node's weights as they are stored.
    ///
    /// One bit more and mid-tread levels hold every level of any set.
    fn stored(&self, node: usize, quant: &WeightQuant) -> WeightQuant {
        match self.stored.get(&node) {
            Some(&bits) if bits > quant.bits => WeightQuant { bits, levels: Levels::MidTread, ..quant.clone() },
            _ => quant.clone(),
        }
    }

    fn name(&self, block: &Block) -> &str {
        &self.quantized.network.graph.nodes[block.node].name
    }

    fn missing(&self, block: &Block, what: &'static str) -> LowerError {
        LowerError::Missing { layer: self.name(block).to_owned(), what }
    }

    /// The quantizer of what `source` holds; nodes that keep codes hand on their input's.
    fn activation(&self, source: Source, block: &Block) -> Result<ActivationQuant, LowerError> {
        shortcut::quantizer(self.quantized, source).ok_or_else(|| self.missing(block, "activation quantizer"))
    }

    /// Weight tensor and biases (zeros where the node has none) of a weighted block.
    fn parameters(&self, block: &Block) -> Result<(&Tensor, Vec<f32>), LowerError> {
        let parameters = &self.quantized.network.parameters;
        let name = self.name(block);
        let weight = parameters.get(&format!("{name}.weight")).ok_or_else(|| self.missing(block, "weights"))?;
        let bias = parameters.get(&format!("{name}.bias")).map(|bias| bias.data.clone());
        Ok((weight, bias.unwrap_or_else(|| vec![0.0; weight.shape.first().copied().unwrap_or(0)])))
    }

    /// Appends the steps of a concatenation, two inputs at a time.
    fn join(
        &self,
        block: &Block,
        inputs: &[Operand],
        quant: ActivationQuant,
        steps: &mut Vec<Step>,
    ) -> Result<(), LowerError> {
        let (name, pixels) = (self.name(block), &inputs[0].shape[1..]);
        if inputs.iter().any(|input| input.quant != quant) {
            return Err(LowerError::UnlikeCodes { layer: name.to_owned() });
        }
        if inputs.iter().any(|input| input.shape[1..] != *pixels) || self.shapes[block.node][1..] != *pixels {
            let what = "joins flattened maps, whose codes do not lie side by side";
            return Err(LowerError::Shape(format!("layer `{name}` {what}; join the maps, then flatten")));
        }
        let mut left = inputs[0];
        for (index, right) in inputs.iter().enumerate().skip(1) {
            let shape = [left.shape[0] + right.shape[0], left.shape[1], left.shape[2]];
            let name = if index + 1 == inputs.len() { name.to_owned() } else { format!("{name}.{index}") };
            let inputs = vec![left, *right];
            steps.push(Step { name, inputs, operation: Operation::Concat, shape, output: Some(quant) });
            left = Operand { tensor: steps.len(), shape, quant };
        }
        Ok(())
    }

    fn operand(&self, source: Source, block: &Block, tensors: &BTreeMap<Source, usize>) -> Result<Operand, LowerError> {
        Ok(Operand {
            tensor: *tensors.get(&source).ok_or_else(|| self.missing(block, "input"))?,
            shape: self.quantized.network.graph.shape_of(source, self.shapes),
            quant: self.activation(source, block)?,
        })
    }

    /// What a block computes, for `output` codes or logits; and the logit unit if it gives logits.
    fn operation(
        &self,
        block: &Block,
        inputs: &[Operand],
        output: Option<&ActivationQuant>,
    ) -> Result<(Operation, Option<f32>), LowerError> {
        let no_logits = || LowerError::NoLogits { layer: self.name(block).to_owned() };
        match self.quantized.network.graph.nodes[block.node].op {
            Op::Conv { window, groups, .. } => {
                let (weights, unit) = self.integers(block, &inputs[0], output)?;
                Ok((Operation::Conv { window, groups, weights }, unit))
            }
            Op::Dense { .. } => {
                let (weights, unit) = self.integers(block, &inputs[0], output)?;
                Ok((Operation::Dense { weights }, unit))
            }
            Op::MaxPool { window } if output.is_some() => Ok((Operation::MaxPool { window }, None)),
            Op::AvgPool { window } => self.average(block, window, &inputs[0], output),
            Op::GlobalAvgPool => {
                let [_, height, width] = inputs[0].shape;
                let window = Window { kernel: [height, width], stride: [1; 2], padding: [0; 4] };
                self.average(block, window, &inputs[0], output)
            }
            Op::Add => {
                let scale = rescale::add([&inputs[0].quant, &inputs[1].quant], output.ok_or_else(no_logits)?);
                Ok((Operation::Add { scale: scale.map_err(|_| self.out_of_range(block))? }, None))
            }
            Op::MaxPool { .. }
            | Op::Concat
            | Op::Relu
            | Op::ClippedRelu { .. }
            | Op::Shortcut { .. }
            | Op::Flatten
            | Op::BatchNorm { .. } => Err(no_logits()),
        }
    }

    fn out_of_range(&self, block: &Block) -> LowerError {
        LowerError::Range { layer: self.name(block).to_owned() }
    }

    fn average(
        &self,
        block: &Block,
        window: Window,
        input: &Operand,
        output: Option<&ActivationQuant>,
    ) -> Result<(Operation, Option<f32>), LowerError> {
        let scale = input.quant.scale;
        // Logits of an average are its mean in 2^-8 steps of a code: the same rule with 8 more fraction bits.
        let unit = ActivationQuant { bits: BitWidth::EIGHT, scale, zero_point: 0 };
        let taps = u32::try_from(window.kernel[0] * window.kernel[1]).map_err(|_| self.out_of_range(block))?;
        let (shift, channel) =
            rescale::average(&input.quant, output.unwrap_or(&unit), taps).map_err(|_| self.out_of_range(block))?;
        Ok((Operation::AvgPool { window, shift, channel }, output.is_none().then_some(scale / 256.0)))
    }

    fn integers(
        &self,
        block: &Block,
        input: &Operand,
        output: Option<&ActivationQuant>,
    ) -> Result<(Integers, Option<f32>), LowerError> {
        let quant = self.quantized.weights.get(&block.node).ok_or_else(|| self.missing(block, "weight quantizer"))?;
        let (weight, biases) = self.parameters(block)?;
        let values = quant.integers(&weight.data);
        let quant = self.stored(block.node, quant);
        let (rescaled, unit) = match output {
            Some(output) => rescale::to_codes(&quant, &input.quant, output, &values, &biases).map(|it| (it, None)),
            None => rescale::to_logits(&quant, &input.quant, &values, &biases).map(|(it, unit)| (it, Some(unit))),
        }
        .map_err(|_| self.out_of_range(block))?;
        Ok((Integers { quant, values, rescaled }, unit))
    }
}
