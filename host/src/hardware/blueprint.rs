//! The image of any plan of a network, drawn without its constants: every size is known before anything is trained.
//!
//! Lowering is followed step by step on records alone. What a plan does not change is taken from one lowered nominal
//! image; what it does (widths, storages, layouts, scratch, places) is worked out as lowering works it out, so flash and
//! RAM are those of the real image, byte for byte (`tests/hardware.rs`).

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use releq_device::kernels;
use releq_format::bits::{BitWidth, Levels};
use releq_format::graph::{KernelHint, LayerRecord, Op, Region, Storage, TensorRecord, Weights};
use releq_format::image::{Header, Image, SelfTest};
use releq_search::plan::BitPlan;

use crate::cost::layer::Layer;
use crate::cost::nominal::{self, NominalError};
use crate::lower::fuse::{self, Block};
use crate::lower::{self, LowerError, length};
use crate::network::Network;
use crate::train::fold::fold;
use crate::train::quantize::{Method, activation_bits, levels_at};

/// What plans of one network have in common, and how each becomes an image.
#[derive(Debug)]
pub struct Blueprint {
    /// Folded, as quantization sees it.
    network: Network,
    blocks: Vec<Block>,
    method: Method,
    header: Fixed,
    /// The layers at 8 bits; one for each block.
    layers: Vec<Template>,
    /// Levels of a weighted layer at a width, where they had to be known.
    levels: Mutex<BTreeMap<(usize, u8), Levels>>,
    /// What was worked out for a layer at certain widths.
    pieces: Mutex<BTreeMap<Widths, Piece>>,
}

/// The image's header, as far as its length goes.
#[derive(Debug)]
struct Fixed {
    name: String,
    input: TensorRecord,
    normalisation: Vec<u8>,
    self_test: SelfTest,
}

/// One layer as the nominal image has it.
#[derive(Debug)]
struct Template {
    name: String,
    op: Op,
    inputs: [u16; 2],
    output: TensorRecord,
    /// Its place in a plan, if it has one.
    planned: Option<usize>,
}

/// A layer and the widths that its record follows from: of weights, of what it reads and of what it writes.
type Widths = (usize, u8, [u8; 2], u8);

/// What follows from them.
#[derive(Clone, Copy, Debug)]
struct Piece {
    op: Op,
    scratch: u32,
    /// Bytes of packed weights.
    weights: u32,
}

/// One layer of a drawn image.
#[derive(Clone, Debug, PartialEq)]
pub struct Drawn {
    /// The layer, as cost models take it.
    pub layer: Layer,
    /// Numbers of the tensors that it reads.
    inputs: [u16; 2],
    /// Its constants in flash, bytes.
    pub constants: u32,
    /// Its working memory, bytes.
    pub scratch: u32,
}

/// An image without constants.
#[derive(Clone, Debug, PartialEq)]
pub struct Drawing {
    /// The layers in execution order.
    pub layers: Vec<Drawn>,
    /// Bytes of the whole image.
    pub flash: u32,
    /// Bytes of the arena.
    pub ram: u32,
}

impl Blueprint {
    /// Of `network`, whose weights will be quantized by `method`.
    ///
    /// # Errors
    /// [`NominalError`] for a network that cannot be lowered.
    pub fn of(network: &Network, method: Method) -> Result<Self, NominalError> {
        let eight = BitPlan::uniform(8, network.graph.weighted().len()).expect("8 is a width");
        let lowered = nominal::image(network, &eight)?;
        let image = Image::open(&lowered.image).map_err(LowerError::Refused)?;
        let mut network = fold(network)?;
        fuse::hoist_relu(&mut network.graph);
        let blocks = fuse::blocks(&network.graph)?;
        let weighted = network.graph.weighted();
        let template = |(record, block): (LayerRecord<'_>, &Block)| Template {
            name: record.name.to_owned(),
            op: record.op,
            inputs: record.inputs,
            output: record.output,
            planned: weighted.iter().position(|&node| node == block.node),
        };
        let layers = image.layers().zip(&blocks).map(template).collect();
        let &Header { name, input, normalisation, self_test, .. } = image.header();
        let header = Fixed { name: name.to_owned(), input, normalisation: normalisation.to_vec(), self_test };
        Ok(Self { network, blocks, method, header, layers, levels: Mutex::default(), pieces: Mutex::default() })
    }

    /// The network's name.
    pub fn name(&self) -> &str {
        &self.header.name
    }

    /// Names of the layers that a plan gives widths to, in its order.
    pub fn planned(&self) -> Vec<&str> {
        self.layers.iter().filter(|layer| layer.planned.is_some()).map(|layer| &*layer.name).collect()
    }

    /// The image of `plan`.
    ///
    /// # Errors
    /// [`LowerError::Refused`] for a network that no image holds.
    pub fn draw(&self, plan: &BitPlan) -> Result<Drawing, LowerError> {
        let tensors = self.tensors(plan);
        let mut pieces = Vec::with_capacity(self.layers.len());
        for (index, template) in self.layers.iter().enumerate() {
            let read = template.inputs.map(|id| tensors[usize::from(id)]);
            pieces.push(self.piece(index, plan, &read, &tensors[index + 1]));
        }
        let steps: Vec<(Op, [u16; 2], u32)> = self
            .layers
            .iter()
            .zip(&pieces)
            .map(|(template, piece)| (piece.op, template.inputs, piece.scratch))
            .collect();
        let (places, ram) = lower::place(&tensors, &steps);
        let flash = self.flash(&tensors, &pieces, &places)?;
        let drawn = |(index, (template, piece)): (usize, (&Template, &Piece))| {
            let [first, second] = template.inputs.map(|id| tensors[usize::from(id)]);
            let second = if piece.op.arity() == 2 { second } else { first };
            let output = tensors[index + 1];
            Drawn {
                constants: piece.weights + channel_bytes(piece, &output),
                layer: Layer { name: template.name.clone(), op: piece.op, inputs: [first, second], output },
                inputs: template.inputs,
                scratch: piece.scratch,
            }
        };
        let layers = self.layers.iter().zip(&pieces).enumerate().map(drawn).collect();
        Ok(Drawing { layers, flash, ram })
    }

    /// The input's record, then each layer's output's, without places.
    fn tensors(&self, plan: &BitPlan) -> Vec<TensorRecord> {
        let bits = activation_bits(&self.network.graph, &self.blocks, plan);
        let mut tensors = vec![TensorRecord { offset: 0, ..self.header.input }];
        for (template, block) in self.layers.iter().zip(&self.blocks) {
            let output = template.output;
            let bits = bits.get(&block.output).copied().unwrap_or(BitWidth::EIGHT);
            tensors.push(if output.storage == Storage::Logits {
                TensorRecord { offset: 0, ..output }
            } else {
                at(output, bits)
            });
        }
        tensors
    }

    /// What lowering makes of layer `index` between these tensors.
    fn piece(&self, index: usize, plan: &BitPlan, read: &[TensorRecord; 2], output: &TensorRecord) -> Piece {
        let template = &self.layers[index];
        let weights = template.planned.and_then(|layer| plan.layers().get(layer)).map_or(0, |layer| layer.weights);
        let widths = (index, weights, read.map(|tensor| tensor.bits.get()), output.bits.get());
        if let Some(piece) = lock(&self.pieces).get(&widths) {
            return *piece;
        }
        let op = match (template.op.weights(), BitWidth::new(weights)) {
            (Some(&own), Some(bits)) => self.at_width(template, own, bits, &read[0], output),
            _ => template.op,
        };
        let piece = sized(op, &read[0], output);
        lock(&self.pieces).insert(widths, piece);
        piece
    }

    /// A planned layer's op at `bits`. Its levels are looked for only where they make a difference.
    fn at_width(
        &self,
        template: &Template,
        own: Weights,
        bits: BitWidth,
        input: &TensorRecord,
        output: &TensorRecord,
    ) -> Op {
        let with = |levels| laid_out(template.op, Weights { bits, levels, ..own }, input, output);
        let fixed = match (self.method, bits.get()) {
            (_, 1) => Some(Levels::MidRise),
            (_, 8) | (Method::Wrpn, _) => Some(Levels::MidTread),
            (Method::Dorefa, _) => Some(Levels::MidRise),
            (Method::Learned | Method::Fixed | Method::Tensor, _) => None,
        };
        if let Some(levels) = fixed {
            return with(levels);
        }
        let (tread, rise) = (with(Levels::MidTread), with(Levels::MidRise));
        let same = |family| {
            let work = |op: &Op| kernels::work(family, op, [input, input], output);
            work(&tread) == work(&rise)
        };
        let [one, other] = [tread, rise].map(|op| sized(op, input, output));
        let alike = (one.scratch, one.weights) == (other.scratch, other.weights);
        if alike && same(KernelHint::DSP) && same(KernelHint::PACKED) {
            return tread;
        }
        let layer = template.planned.unwrap_or(0);
        let known = lock(&self.levels).get(&(layer, bits.get())).copied();
        let levels = known.unwrap_or_else(|| self.best_levels(layer, bits));
        if levels == Levels::MidRise { rise } else { tread }
    }

    fn best_levels(&self, layer: usize, bits: BitWidth) -> Levels {
        let node = self.network.graph.weighted()[layer];
        let weight = self.network.parameters.get(&format!("{}.weight", self.network.graph.nodes[node].name));
        let levels = weight.map_or(Levels::MidTread, |weight| levels_at(self.method, weight, bits));
        lock(&self.levels).insert((layer, bits.get()), levels);
        levels
    }

    fn flash(&self, tensors: &[TensorRecord], pieces: &[Piece], places: &[Region]) -> Result<u32, LowerError> {
        let placed = |id: usize| TensorRecord { offset: places[id].offset, ..tensors[id] };
        let mut sections = 0;
        let mut records = Vec::with_capacity(pieces.len());
        for (index, (template, piece)) in self.layers.iter().zip(pieces).enumerate() {
            let output = placed(index + 1);
            let channels = sections;
            let codes = channels + channel_bytes(piece, &output);
            sections = codes + piece.weights;
            let op = match piece.op.weights() {
                Some(&weights) => with_weights(piece.op, Weights { codes, channels, ..weights }),
                None => piece.op,
            };
            let scratch = Region { bytes: piece.scratch, ..places[tensors.len() + index] };
            let (name, inputs) = (&*template.name, template.inputs);
            records.push(LayerRecord { name, op, inputs, output, scratch, kernel: KernelHint::DSP });
        }
        let Fixed { name, normalisation, self_test, .. } = &self.header;
        let header = Header {
            name,
            input: placed(0),
            input_scale: 0,
            normalisation,
            logit_scale: 0,
            self_test: *self_test,
            layers: 0,
        };
        Ok(length::sections_at(header, records)? as u32 + sections)
    }
}

impl Drawing {
    /// For each layer, the bytes that are live in the arena while it runs: what it reads and writes, what waits for later
    /// layers, and its scratch.
    pub fn live(&self) -> Vec<u32> {
        let last_read = |id: usize| {
            let reads =
                |drawn: &Drawn| drawn.inputs[..drawn.layer.op.arity()].iter().any(|&input| usize::from(input) == id);
            self.layers.iter().rposition(reads).map_or(id, |layer| layer + 1)
        };
        let input = self.layers.first().map(|first| first.layer.inputs[0]);
        let tensors: Vec<TensorRecord> =
            input.into_iter().chain(self.layers.iter().map(|drawn| drawn.layer.output)).collect();
        let alive = |step: usize| {
            let tensors = tensors.iter().enumerate();
            let alive = tensors.filter(|(id, _)| *id <= step && (last_read(*id) >= step || *id == step));
            alive.map(|(_, tensor)| tensor.bytes().unwrap_or(0)).sum::<u32>()
        };
        (1..=self.layers.len()).map(|step| alive(step) + self.layers[step - 1].scratch).collect()
    }
}

/// A tensor of codes of `bits`, centred where it was.
fn at(record: TensorRecord, bits: BitWidth) -> TensorRecord {
    let zero_point = if record.zero_point == 0 { 0 } else { bits.max_code().div_ceil(2) };
    TensorRecord { bits, zero_point, storage: Storage::narrowest(bits), offset: 0, ..record }
}

fn with_weights(op: Op, weights: Weights) -> Op {
    match op {
        Op::Conv2d { window, .. } => Op::Conv2d { window, weights },
        Op::Depthwise { window, .. } => Op::Depthwise { window, weights },
        Op::Dense { .. } => Op::Dense { weights },
        Op::MaxPool { .. } | Op::AvgPool { .. } | Op::Add { .. } | Op::Concat => op,
    }
}

fn laid_out(op: Op, weights: Weights, input: &TensorRecord, output: &TensorRecord) -> Op {
    let layout = lower::best_layout(&with_weights(op, weights), input, output);
    with_weights(op, Weights { layout, ..weights })
}

fn sized(op: Op, input: &TensorRecord, output: &TensorRecord) -> Piece {
    let matrix = op.matrix(input, output);
    Piece {
        op,
        scratch: kernels::scratch_bytes(&op, input, output),
        weights: matrix.and_then(|matrix| matrix.bytes()).unwrap_or(0),
    }
}

fn channel_bytes(piece: &Piece, output: &TensorRecord) -> u32 {
    if piece.op.weights().is_some() { 8 * u32::from(output.channels) } else { 0 }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
