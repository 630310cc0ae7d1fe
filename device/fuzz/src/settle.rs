//! Pieces brought back to what the rules ask: any list of ops becomes a network that opens.
//!
//! Shapes follow from windows, tensors lie one behind the other, and constants get sections of their own. What the
//! rules leave open (ops, windows, widths, layouts, hints, connections) stays as it was found.

use releq_format::bits::{BitWidth, Levels};
use releq_format::graph::{LayerRecord, Op, Region, Storage, TensorRecord, Weights, Window};
use releq_format::image::{FEATURES, Header};
use releq_format::pack::Layout;
use releq_format::quant::Bound;

use releq_device::kernels::hinted_scratch_bytes;

use crate::dice::Dice;
use crate::parts::Parts;

/// Most rows or columns, and most channels, of a tensor: enough for every block and tail of the kernels.
const MOST_SIDE: u16 = 8;
const MOST_CHANNELS: u16 = 20;
/// Mean and deviation of the input's channels, which no device reads.
const NORMALISATION: [u8; 8 * MOST_CHANNELS as usize] = [0; 8 * MOST_CHANNELS as usize];
/// Most layers, so that images stay short.
const MOST_LAYERS: usize = 8;

/// Makes an image of it that is likely to open.
pub fn settle(parts: &mut Parts<'_>, dice: &mut Dice) {
    parts.layers.truncate(MOST_LAYERS);
    parts.header.layers = parts.layers.len() as u16;
    parts.features = FEATURES;
    let mut arena = Arena(0);
    let mut sections = Sections { pool: std::mem::take(&mut parts.sections), laid: Vec::new() };
    settle_input(&mut parts.header, &mut arena);
    let mut tensors = vec![parts.header.input];
    let count = parts.layers.len();
    for (index, layer) in parts.layers.iter_mut().enumerate() {
        settle_layer(layer, index + 1 == count, &tensors, &mut sections, dice);
        place(layer, &tensors, &mut arena, dice);
        tensors.push(layer.output);
    }
    parts.sections = sections.laid;
    parts.arena = arena.0;
}

fn settle_input(header: &mut Header<'_>, arena: &mut Arena) {
    let input = &mut header.input;
    (input.height, input.width, input.channels) = (side(input.height), side(input.width), channels(input.channels));
    encode(input);
    input.offset = arena.take(input.bytes());
    header.normalisation = &NORMALISATION[..8 * usize::from(input.channels)];
}

/// Everything of a layer but its places.
fn settle_layer(
    layer: &mut LayerRecord<'_>,
    last: bool,
    tensors: &[TensorRecord],
    sections: &mut Sections,
    dice: &mut Dice,
) {
    connect(layer, tensors, last);
    let [left, right] = layer.inputs.map(|id| tensors[usize::from(id)]);
    layer.output = output(&mut layer.op, &left, &right, layer.output);
    if last {
        layer.output.storage = Storage::Logits;
    }
    constants(&mut layer.op, &left, &layer.output, sections, dice);
}

/// Output and scratch behind all others, but some sums over their first input, and some scratch too small.
fn place(layer: &mut LayerRecord<'_>, tensors: &[TensorRecord], arena: &mut Arena, dice: &mut Dice) {
    let left = tensors[usize::from(layer.inputs[0])];
    let adds = matches!(layer.op, Op::Add { .. }) && layer.inputs[0] != layer.inputs[1];
    if adds && left.storage.bits() >= layer.output.bits.get().into() && dice.once_in(2) {
        (layer.output.storage, layer.output.offset) = (left.storage, left.offset);
    } else {
        layer.output.offset = arena.take(layer.output.bytes());
    }
    let enough = hinted_scratch_bytes(layer.kernel, &layer.op, &left, &layer.output);
    let bytes = if dice.once_in(8) { (enough / 2) & !3 } else { enough };
    layer.scratch = Region { offset: arena.take(Some(bytes)), bytes };
}

/// A window that changes nothing.
const POINT: Window = Window { kernel: [1; 2], stride: [1; 2], padding: [0; 4] };

/// Bytes given out, one behind the other.
struct Arena(u32);

impl Arena {
    fn take(&mut self, bytes: Option<u32>) -> u32 {
        let offset = self.0;
        self.0 = offset.saturating_add(bytes.unwrap_or(u32::MAX)).saturating_add(3) & !3;
        offset
    }
}

/// Constants of all layers, filled from what there was.
struct Sections {
    pool: Vec<u8>,
    laid: Vec<u8>,
}

impl Sections {
    /// As many bytes as asked for, at a multiple of 4.
    fn lay(&mut self, bytes: usize, dice: &mut Dice) -> u32 {
        let offset = self.laid.len();
        let start = dice.below(self.pool.len().max(1));
        let found = self.pool.iter().cycle().skip(start).take(bytes);
        self.laid.extend(found);
        self.laid.resize((offset + bytes).next_multiple_of(4), 0);
        offset as u32
    }
}

fn side(size: u16) -> u16 {
    size % MOST_SIDE + u16::from(size.is_multiple_of(MOST_SIDE))
}

fn channels(count: u16) -> u16 {
    count % MOST_CHANNELS + u16::from(count.is_multiple_of(MOST_CHANNELS))
}

/// Storage that holds the codes, and a zero point that is one.
fn encode(tensor: &mut TensorRecord) {
    tensor.zero_point &= tensor.bits.max_code();
    if tensor.storage == Storage::Logits || tensor.storage.bits() < tensor.bits.get().into() {
        tensor.storage = Storage::narrowest(tensor.bits);
    }
}

fn shape(tensor: &TensorRecord) -> [u16; 3] {
    [tensor.height, tensor.width, tensor.channels]
}

fn joins(left: &TensorRecord, right: &TensorRecord) -> bool {
    let rules = |tensor: &TensorRecord| (tensor.height, tensor.width, tensor.bits, tensor.zero_point, tensor.storage);
    rules(left) == rules(right)
}

/// Inputs that exist and suit the op, and at the end an op that makes logits.
fn connect(layer: &mut LayerRecord<'_>, tensors: &[TensorRecord], last: bool) {
    layer.inputs = layer.inputs.map(|id| id % tensors.len() as u16);
    let [left, right] = layer.inputs.map(|id| tensors[usize::from(id)]);
    if last {
        layer.op = match layer.op {
            Op::Conv2d { weights, .. } if left.pixels() == 1 => Op::Conv2d { window: POINT, weights },
            Op::AvgPool { shift, bias, multiplier, .. } if left.pixels() == 1 => {
                Op::AvgPool { window: POINT, shift, bias, multiplier }
            }
            op => Op::Dense { weights: some_weights(&op) },
        };
    }
    let suits = match layer.op {
        Op::Add { .. } => shape(&left) == shape(&right),
        Op::Concat => joins(&left, &right) && left.channels + right.channels <= 2 * MOST_CHANNELS,
        _ => false,
    };
    if layer.op.arity() == 1 {
        layer.inputs[1] = 0;
    } else if !suits {
        layer.inputs[1] = layer.inputs[0];
    }
    if matches!(layer.op, Op::Concat) && left.channels > MOST_CHANNELS {
        (layer.op, layer.inputs[1]) = (Op::MaxPool { window: POINT }, 0);
    }
}

/// What the last layer has for weights, or bytes.
fn some_weights(op: &Op) -> Weights {
    let eight = BitWidth::EIGHT;
    let (levels, layout) = (Levels::MidTread, Layout::Bytes);
    op.weights().copied().unwrap_or(Weights { bits: eight, levels, layout, shift: 9, codes: 0, channels: 0 })
}

/// The output as it follows from op and inputs; windows are mended on the way.
fn output(op: &mut Op, left: &TensorRecord, right: &TensorRecord, found: TensorRecord) -> TensorRecord {
    let mut output = found;
    [output.height, output.width, output.channels] = match op {
        Op::Conv2d { window, .. } => {
            let [height, width] = mended(window, left);
            [height, width, channels(found.channels)]
        }
        Op::Depthwise { window, .. } | Op::AvgPool { window, .. } | Op::MaxPool { window } => {
            let [height, width] = mended(window, left);
            [height, width, left.channels]
        }
        Op::Dense { .. } => [1, 1, channels(found.channels)],
        Op::Add { .. } => shape(left),
        Op::Concat => [left.height, left.width, left.channels + right.channels],
    };
    if matches!(op, Op::MaxPool { .. } | Op::Concat) {
        (output.bits, output.zero_point) = (left.bits, left.zero_point);
    }
    encode(&mut output);
    if matches!(op, Op::Concat) {
        output.storage = left.storage;
    }
    output
}

/// The output size of a window, which becomes a point if it has none, and stops growing tensors.
fn mended(window: &mut Window, input: &TensorRecord) -> [u16; 2] {
    match window.output(input.height, input.width) {
        Some(size) if size.iter().all(|side| *side <= MOST_SIDE + 4) => size,
        _ => {
            *window = POINT;
            [input.height, input.width]
        }
    }
}

/// Weights that exist together, sections of their own, and a shift that keeps sums exact.
fn constants(op: &mut Op, input: &TensorRecord, output: &TensorRecord, sections: &mut Sections, dice: &mut Dice) {
    let depthwise = matches!(op, Op::Depthwise { .. });
    let terms = op.terms(input).unwrap_or(0);
    match op {
        Op::AvgPool { shift, bias, multiplier, .. } => {
            *multiplier &= i32::MAX;
            *bias %= 1 << 20;
            *shift = (*shift).min(Bound::new(1, input.bits, terms).largest_shift(*bias).unwrap_or(0));
        }
        Op::Add { scale } if !scale.is_valid() => {
            scale.shift %= 31;
            scale.constant >>= 2;
        }
        _ => {}
    }
    if let Op::Conv2d { weights, .. } | Op::Depthwise { weights, .. } | Op::Dense { weights } = op {
        agree(weights, depthwise);
    }
    let bytes = op.matrix(input, output).and_then(|matrix| matrix.bytes()).unwrap_or(0);
    let (Op::Conv2d { weights, .. } | Op::Depthwise { weights, .. } | Op::Dense { weights }) = op else { return };
    weights.codes = sections.lay(bytes as usize, dice);
    let bound = Bound::new(weights.levels.magnitude(weights.bits), input.bits, terms);
    weights.channels = sections.laid.len() as u32;
    let mut largest = 0u32;
    for _ in 0..output.channels {
        let (bias, multiplier) = ((dice.word().cast_signed()) >> (12 + dice.below(16)), dice.word() >> 1);
        largest = largest.max(bias.unsigned_abs());
        sections.laid.extend(bias.to_le_bytes());
        sections.laid.extend(multiplier.to_le_bytes());
    }
    weights.shift = weights.shift.min(bound.largest_shift(largest.cast_signed()).unwrap_or(0));
}

/// Levels and layout that exist at these bits, for this kind of layer.
fn agree(weights: &mut Weights, depthwise: bool) {
    if !weights.levels.allows(weights.bits) {
        weights.levels = Levels::TwosComplement;
    }
    let bits = weights.bits.get();
    weights.layout = match (weights.layout, depthwise, bits) {
        (_, true, 8) | (Layout::Bytes, false, 8) => Layout::Bytes,
        (_, true, _) => Layout::Rows,
        (Layout::Ends, false, ..=4) => Layout::Ends,
        (Layout::RowPairs, false, ..=7) => Layout::RowPairs,
        _ => Layout::Lanes,
    };
}
