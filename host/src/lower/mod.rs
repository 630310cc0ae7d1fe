//! Lowering: a quantized network becomes one checked image.
//!
//! Shortcuts to convolutions (`shortcut`) → fuse ([`fuse`]) → integers and fixed-point constants ([`rescale`]) →
//! places in the arena ([`memory`]) → bytes, as many as [`length`] says (`releq_format::image`). Everything clever happens here; the device only
//! walks the result.

pub mod fuse;
pub mod length;
pub mod memory;
pub mod rescale;
mod shortcut;

use std::collections::BTreeMap;

use releq_device::{OpenError, kernels};
use releq_format::bits::{BitWidth, Levels};
use releq_format::graph::{LayerRecord, Op, Region, Storage, TensorRecord, Weights, Window};
use releq_format::image::{Header, Image, ImageBuffer, ImageBuilder, ImageError, SelfTest};
use releq_format::pack::Layout;

use crate::network::{self, Source, Tensor};
use crate::quantized::{ActivationQuant, QuantizedNetwork, WeightQuant};
use fuse::Block;
use memory::Need;
use rescale::Rescaled;

/// Why a network cannot become an image.
#[derive(Debug, thiserror::Error)]
pub enum LowerError {
    /// The graph has no layer.
    #[error("the network has no layers; lowering needs at least one; check what was imported with `releq inspect`")]
    Empty,
    /// A batch normalisation is still there.
    #[error("layer `{layer}` is a batch normalisation; images have none; fold the network before quantizing it")]
    Unfolded {
        /// The node.
        layer: String,
    },
    /// A ReLU that follows nothing it can fuse with.
    #[error(
        "ReLU `{layer}` follows no convolution, dense, add or average layer of its own; \
         images fuse every ReLU into one; give it such a layer"
    )]
    LoneRelu {
        /// The node.
        layer: String,
    },
    /// The shapes do not fit.
    #[error("the network contradicts itself: {0}; correct the model or import it again")]
    Shape(String),
    /// A size beyond the image format's fields.
    #[error("layer `{layer}` has {what} {size}; an image holds at most {most}; make the layer smaller")]
    TooLarge {
        /// The layer.
        layer: String,
        /// What is too large.
        what: &'static str,
        /// How large it is.
        size: usize,
        /// The format's limit.
        most: usize,
    },
    /// A parameter or quantizer is missing.
    #[error("layer `{layer}` has no {what}; the checkpoint or the quantizers are incomplete; quantize the model again")]
    Missing {
        /// The layer.
        layer: String,
        /// What is missing.
        what: &'static str,
    },
    /// Scales whose ratio has no fixed-point form.
    #[error(
        "layer `{layer}` mixes scales too far apart for 32-bit arithmetic; \
         its activation range is likely wrong; calibrate on more images or with another method"
    )]
    Range {
        /// The layer.
        layer: String,
    },
    /// The last layer is a pool without rounding or an add.
    #[error("the network ends in `{layer}`, which gives no logits; end it in a dense, convolution or average layer")]
    NoLogits {
        /// The layer.
        layer: String,
    },
    /// The image was refused by the reader's own rules.
    #[error("the image of this network is refused: {0}; this is a defect of releq, please report it")]
    Refused(#[from] ImageError),
    /// More layers than the engine on this machine holds.
    #[error("the image of this network does not run: {0}; split the network")]
    Unrunnable(#[from] OpenError),
}

/// A lowered network: the image, and the scales that near-dead channels were raised to.
#[derive(Clone, Debug)]
pub struct Lowered {
    /// The image, checked.
    pub image: ImageBuffer,
    /// The quantized network as the image computes it; fake-quantize with this one when comparing.
    pub quantized: QuantizedNetwork,
}

/// Turns `quantized` into an image.
///
/// # Errors
/// [`LowerError`], naming the layer.
pub fn lower(quantized: &QuantizedNetwork) -> Result<Lowered, LowerError> {
    lower_stored(quantized, &BTreeMap::new())
}

/// As [`lower`], with the weights of some nodes stored in more bits than they have: it takes flash, and may be faster.
///
/// The weights stay the integers they are; a width that is no wider is not taken.
///
/// # Errors
/// [`LowerError`], naming the layer.
pub fn lower_stored(quantized: &QuantizedNetwork, stored: &BTreeMap<usize, BitWidth>) -> Result<Lowered, LowerError> {
    let mut quantized = quantized.clone();
    shortcut::to_convolutions(&mut quantized)?;
    let shapes = quantized.network.graph.shapes().map_err(LowerError::Shape)?;
    let blocks = fuse::blocks(&quantized.network.graph)?;
    for block in &blocks {
        raise(&mut quantized, block, &shapes, stored)?;
    }
    let lowering = Lowering { quantized: &quantized, shapes: &shapes, blocks: &blocks, stored };
    let untested = lowering.image(SelfTest { seed: 0, digest: 0 })?;
    let image = lowering.image(self_test(&untested)?)?;
    Ok(Lowered { image, quantized })
}

/// The input seed of every image's self-test.
const SELF_TEST_SEED: u32 = 0x5EED_0001;

/// Runs the image's own engine on the self-test input.
fn self_test(bytes: &[u8]) -> Result<SelfTest, LowerError> {
    let image = Image::open(bytes)?;
    let logits = crate::target::native::run_once(&image, |input| {
        SelfTest::fill(SELF_TEST_SEED, &image.header().input, input);
    })?;
    let bytes: Vec<u8> = logits.iter().flat_map(|logit| logit.to_le_bytes()).collect();
    Ok(SelfTest { seed: SELF_TEST_SEED, digest: releq_format::crc::crc32(&bytes) })
}

/// Raises the scales of near-dead channels of one block.
fn raise(
    quantized: &mut QuantizedNetwork,
    block: &Block,
    shapes: &[[usize; 3]],
    stored: &BTreeMap<usize, BitWidth>,
) -> Result<(), LowerError> {
    let Some(quant) = quantized.weights.get(&block.node).cloned() else { return Ok(()) };
    let lowering = Lowering { quantized, shapes, blocks: &[], stored };
    // Accumulators have to hold what the stored codes could be.
    let mut wide = lowering.stored(block.node, &quant);
    let input = lowering.activation(block.inputs[0], block)?;
    let (weight, bias) = lowering.parameters(block)?;
    let terms = weight.data.len() / quant.scales.len().max(1);
    rescale::raise_scales(&mut wide, &input, terms as u32, &bias);
    quantized.weights.insert(block.node, WeightQuant { scales: wide.scales, ..quant });
    Ok(())
}

/// What one lowering reads.
struct Lowering<'a> {
    quantized: &'a QuantizedNetwork,
    shapes: &'a [[usize; 3]],
    blocks: &'a [Block],
    /// Bits that weights are stored in, by node, where these are more than they have.
    stored: &'a BTreeMap<usize, BitWidth>,
}

impl Lowering<'_> {
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

    /// The record of the tensor that `source` holds, without its place.
    fn tensor(&self, source: Source, block: &Block) -> Result<TensorRecord, LowerError> {
        let quant = self.activation(source, block)?;
        let shape = self.quantized.network.graph.shape_of(source, self.shapes);
        self.record(shape, block, quant.bits, quant.zero_point, Storage::narrowest(quant.bits))
    }

    fn record(
        &self,
        [channels, height, width]: [usize; 3],
        block: &Block,
        bits: BitWidth,
        zero_point: u8,
        storage: Storage,
    ) -> Result<TensorRecord, LowerError> {
        let size = |what, size: usize| {
            let most = usize::from(u16::MAX);
            let layer = || self.name(block).to_owned();
            u16::try_from(size).map_err(|_| LowerError::TooLarge { layer: layer(), what, size, most })
        };
        Ok(TensorRecord {
            height: size("height", height)?,
            width: size("width", width)?,
            channels: size("channels", channels)?,
            bits,
            zero_point,
            storage,
            offset: 0,
        })
    }

    fn output(&self, index: usize) -> Result<TensorRecord, LowerError> {
        let block = &self.blocks[index];
        if index + 1 < self.blocks.len() {
            return self.tensor(block.output, block);
        }
        let shape = self.quantized.network.graph.shape_of(block.output, self.shapes);
        self.record(shape, block, BitWidth::EIGHT, 0, Storage::Logits)
    }

    fn image(&self, self_test: SelfTest) -> Result<ImageBuffer, LowerError> {
        let mut builder = ImageBuilder::new();
        let first = &self.blocks[0];
        let ids = self.tensor_ids();
        let mut tensors = vec![self.tensor(Source::Input, first)?];
        for index in 0..self.blocks.len() {
            tensors.push(self.output(index)?);
        }
        let mut layers = Vec::with_capacity(self.blocks.len());
        let mut logit_scale = 1.0;
        for (index, block) in self.blocks.iter().enumerate() {
            let inputs = self.inputs(block, &ids)?;
            let input = tensors[usize::from(inputs[0])];
            let (op, unit) = self.op(block, &input, &tensors[index + 1], &mut builder)?;
            logit_scale = unit.unwrap_or(logit_scale);
            let scratch = kernels::scratch_bytes(&op, &input, &tensors[index + 1]);
            layers.push((op, inputs, scratch));
        }
        let (places, arena) = place(&tensors, &layers);
        for (tensor, region) in tensors.iter_mut().zip(&places) {
            tensor.offset = region.offset;
        }
        let record = |(index, (op, inputs, bytes)): (usize, (Op, [u16; 2], u32))| {
            let scratch = Region { bytes, ..places[tensors.len() + index] };
            let name = self.name(&self.blocks[index]);
            let (input, output) = (tensors[usize::from(inputs[0])], tensors[index + 1]);
            let kernel = kernels::hint(&op, &input, &output);
            LayerRecord { name, op, inputs, output, scratch, kernel }
        };
        let records: Vec<LayerRecord<'_>> = layers.into_iter().enumerate().map(record).collect();
        records.iter().for_each(|record| builder.layer(record));
        let normalisation = self.normalisation();
        let header = Header {
            name: &self.quantized.network.graph.name,
            input: tensors[0],
            input_scale: self.activation(Source::Input, first)?.scale.to_bits(),
            normalisation: &normalisation,
            logit_scale: f32::to_bits(logit_scale),
            self_test,
            layers: 0,
        };
        let saved = length::sections_at(header, records)? - builder.sections_at(header)?;
        builder.section(&vec![0; saved]);
        Ok(builder.finish(header, arena)?)
    }

    /// Tensor numbers by the source they hold.
    fn tensor_ids(&self) -> BTreeMap<Source, u16> {
        let outputs = self.blocks.iter().enumerate().map(|(index, block)| (block.output, index as u16 + 1));
        std::iter::once((Source::Input, 0)).chain(outputs).collect()
    }

    fn inputs(&self, block: &Block, ids: &BTreeMap<Source, u16>) -> Result<[u16; 2], LowerError> {
        let id = |source: &Source| ids.get(source).copied().ok_or_else(|| self.missing(block, "input"));
        let first = id(&block.inputs[0])?;
        Ok([first, block.inputs.get(1).map_or(Ok(0), id)?])
    }

    /// Mean and standard deviation of each input channel, as the header stores them.
    fn normalisation(&self) -> Vec<u8> {
        let input = &self.quantized.network.graph.input;
        input
            .mean
            .iter()
            .zip(&input.std)
            .flat_map(|(mean, std)| [mean.to_le_bytes(), std.to_le_bytes()].concat())
            .collect()
    }

    /// The op of a block with its constants in the builder, and the logit unit if it gives logits.
    fn op(
        &self,
        block: &Block,
        input: &TensorRecord,
        output: &TensorRecord,
        builder: &mut ImageBuilder,
    ) -> Result<(Op, Option<f32>), LowerError> {
        let range = |_| LowerError::Range { layer: self.name(block).to_owned() };
        let logits = output.storage == Storage::Logits;
        let no_logits = || LowerError::NoLogits { layer: self.name(block).to_owned() };
        match &self.quantized.network.graph.nodes[block.node].op {
            network::Op::Conv { .. } | network::Op::Dense { .. } => self.weighted(block, input, output, builder),
            network::Op::MaxPool { .. } | network::Op::Add if logits => Err(no_logits()),
            network::Op::MaxPool { window } => Ok((Op::MaxPool { window: self.window(block, window)? }, None)),
            network::Op::AvgPool { window } => self.average(block, self.window(block, window)?, logits),
            network::Op::GlobalAvgPool => {
                let whole = [usize::from(input.height), usize::from(input.width)];
                let window = network::Window { kernel: whole, stride: [1; 2], padding: [0; 4] };
                self.average(block, self.window(block, &window)?, logits)
            }
            network::Op::Add => {
                let quant = |index: usize| self.activation(block.inputs[index], block);
                let output = self.activation(block.output, block)?;
                let scale = rescale::add([&quant(0)?, &quant(1)?], &output).map_err(range)?;
                Ok((Op::Add { scale }, None))
            }
            network::Op::Relu
            | network::Op::ClippedRelu { .. }
            | network::Op::Shortcut { .. }
            | network::Op::Flatten
            | network::Op::BatchNorm { .. } => Err(no_logits()),
        }
    }

    fn average(&self, block: &Block, window: Window, logits: bool) -> Result<(Op, Option<f32>), LowerError> {
        let input = self.activation(block.inputs[0], block)?;
        // Logits of an average are its mean in 2^-8 steps of a code: the same rule with 8 more fraction bits.
        let unit = ActivationQuant { bits: BitWidth::EIGHT, scale: input.scale, zero_point: 0 };
        let output = if logits { unit } else { self.activation(block.output, block)? };
        let (shift, channel) = rescale::average(&input, &output, window.taps())
            .map_err(|_| LowerError::Range { layer: self.name(block).to_owned() })?;
        let op = Op::AvgPool { window, shift, bias: channel.bias, multiplier: channel.multiplier };
        Ok((op, logits.then_some(input.scale / 256.0)))
    }

    fn weighted(
        &self,
        block: &Block,
        input: &TensorRecord,
        output: &TensorRecord,
        builder: &mut ImageBuilder,
    ) -> Result<(Op, Option<f32>), LowerError> {
        let quant = self.quantized.weights.get(&block.node).ok_or_else(|| self.missing(block, "weight quantizer"))?;
        let node = &self.quantized.network.graph.nodes[block.node];
        let (weight, biases) = self.parameters(block)?;
        let from = self.activation(block.inputs[0], block)?;
        let shape = [input.channels, input.height, input.width].map(usize::from);
        let order = Order::of(&node.op, shape);
        let integers = quant.integers(&weight.data);
        let quant = self.stored(block.node, quant);
        let (rescaled, unit) = self.constants(block, &quant, &from, output, &integers, &biases)?;
        let Rescaled { shift, channels } = rescaled;
        let channels = builder.channels(&channels);
        let lanes = Layout::Lanes;
        let mut weights = Weights { bits: quant.bits, levels: quant.levels, layout: lanes, shift, codes: 0, channels };
        let op = |weights| -> Result<Op, LowerError> {
            Ok(match &node.op {
                network::Op::Conv { window, groups: 1, .. } => {
                    Op::Conv2d { window: self.window(block, window)?, weights }
                }
                network::Op::Conv { window, .. } => Op::Depthwise { window: self.window(block, window)?, weights },
                _ => Op::Dense { weights },
            })
        };
        let mismatch = || LowerError::Shape(format!("`{}` has weights of another shape", node.name));
        weights.layout = layout(&op(weights)?, input, output);
        let matrix = op(weights)?.matrix(input, output).ok_or_else(mismatch)?;
        let section = matrix.pack(&order.arrange(&integers)).map_err(|_| mismatch())?;
        weights.codes = builder.section(&section);
        Ok((op(weights)?, unit))
    }

    fn constants(
        &self,
        block: &Block,
        quant: &WeightQuant,
        from: &ActivationQuant,
        output: &TensorRecord,
        integers: &[i8],
        biases: &[f32],
    ) -> Result<(Rescaled, Option<f32>), LowerError> {
        let range = |_| LowerError::Range { layer: self.name(block).to_owned() };
        if output.storage == Storage::Logits {
            let (rescaled, unit) = rescale::to_logits(quant, from, integers, biases).map_err(range)?;
            return Ok((rescaled, Some(unit)));
        }
        let to = self.activation(block.output, block)?;
        Ok((rescale::to_codes(quant, from, &to, integers, biases).map_err(range)?, None))
    }

    fn window(&self, block: &Block, window: &network::Window) -> Result<Window, LowerError> {
        let byte = |what, size: usize| {
            let layer = || self.name(block).to_owned();
            u8::try_from(size).map_err(|_| LowerError::TooLarge { layer: layer(), what, size, most: 255 })
        };
        let [kernel_h, kernel_w] = window.kernel;
        let [stride_h, stride_w] = window.stride;
        let [top, left, bottom, right] = window.padding;
        Ok(Window {
            kernel: [byte("a kernel of", kernel_h)?, byte("a kernel of", kernel_w)?],
            stride: [byte("a stride of", stride_h)?, byte("a stride of", stride_w)?],
            padding: [byte("padding", top)?, byte("padding", left)?, byte("padding", bottom)?, byte("padding", right)?],
        })
    }
}

/// How float weights `[out, channel, y, x]` become rows and columns of an image's matrix.
enum Order {
    /// Rows: out; columns: (y, x, channel).
    ChannelLast { channels: usize, pixels: usize },
    /// Rows: (y, x); columns: channel.
    TapMajor { taps: usize },
}

impl Order {
    fn of(op: &network::Op, [channels, height, width]: [usize; 3]) -> Self {
        match op {
            network::Op::Conv { window, groups: 1, .. } => {
                Self::ChannelLast { channels, pixels: window.kernel[0] * window.kernel[1] }
            }
            network::Op::Conv { window, .. } => Self::TapMajor { taps: window.kernel[0] * window.kernel[1] },
            _ => Self::ChannelLast { channels, pixels: height * width },
        }
    }

    fn arrange(&self, weights: &[i8]) -> Vec<i8> {
        let (outer, inner) = match *self {
            Self::ChannelLast { channels, pixels } => (channels, pixels),
            Self::TapMajor { taps } => (weights.len() / taps.max(1), taps),
        };
        // Both turn blocks of [outer, inner] into [inner, outer]: a depthwise kernel is one block of [channel, tap].
        let transposed = |block: &[i8]| -> Vec<i8> {
            (0..inner).flat_map(|i| (0..outer).map(move |o| (o, i))).map(|(o, i)| block[o * inner + i]).collect()
        };
        weights.chunks_exact((outer * inner).max(1)).flat_map(transposed).collect()
    }
}

/// How the weights of `op` had better lie, whatever layout it names.
pub(crate) fn layout(op: &Op, input: &TensorRecord, output: &TensorRecord) -> Layout {
    let layout = Layout::Lanes;
    match *op {
        Op::Depthwise { weights, .. } if weights.bits == BitWidth::EIGHT => Layout::Bytes,
        Op::Depthwise { .. } => Layout::Rows,
        Op::Conv2d { window, weights } => {
            kernels::layout(&Op::Conv2d { window, weights: Weights { layout, ..weights } }, input, output)
        }
        Op::Dense { weights } => kernels::layout(&Op::Dense { weights: Weights { layout, ..weights } }, input, output),
        Op::MaxPool { .. } | Op::AvgPool { .. } | Op::Add { .. } => layout,
    }
}

/// Places of all tensors, then of each layer's scratch; and the arena's size.
pub(crate) fn place(tensors: &[TensorRecord], layers: &[(Op, [u16; 2], u32)]) -> (Vec<Region>, u32) {
    // Tensor i is written in step i and layer i runs in step i + 1; the logits outlive the last step.
    let mut last_read: Vec<usize> = (0..tensors.len()).collect();
    for (layer, (op, inputs, _)) in layers.iter().enumerate() {
        let reads = if matches!(op, Op::Add { .. }) { 2 } else { 1 };
        for &input in &inputs[..reads] {
            last_read[usize::from(input)] = layer + 1;
        }
    }
    let hosts = in_place_hosts(tensors, layers, &mut last_read);
    let tensor_need = |(id, tensor): (usize, &TensorRecord)| Need {
        bytes: if hosts[id] == id { tensor.bytes().unwrap_or(u32::MAX / 2) } else { 0 },
        live: id..=last_read[id],
    };
    let scratch_need =
        |(layer, (_, _, bytes)): (usize, &(Op, [u16; 2], u32))| Need { bytes: *bytes, live: layer + 1..=layer + 1 };
    let mut needs: Vec<Need> = tensors.iter().enumerate().map(tensor_need).collect();
    needs.extend(layers.iter().enumerate().map(scratch_need));
    let (mut places, arena) = memory::plan(&needs);
    for (id, &host) in hosts.iter().enumerate() {
        places[id] = places[host];
    }
    (places, arena)
}

/// Which tensor's bytes each tensor uses: its own, or for an add that may write in place, its left operand's.
fn in_place_hosts(tensors: &[TensorRecord], layers: &[(Op, [u16; 2], u32)], last_read: &mut [usize]) -> Vec<usize> {
    let mut hosts: Vec<usize> = (0..tensors.len()).collect();
    for (layer, (op, inputs, _)) in layers.iter().enumerate() {
        let (left, output) = (usize::from(inputs[0]), layer + 1);
        let dies_here = last_read[left] == layer + 1 && inputs[0] != inputs[1];
        if matches!(op, Op::Add { .. }) && dies_here && tensors[left].storage == tensors[output].storage {
            let host = hosts[left];
            hosts[output] = host;
            last_read[host] = last_read[host].max(last_read[output]);
        }
    }
    hosts
}
