//! Every rule that makes an image safe to run: shapes, bounds, ranges and the arena map.

use super::{Image, ImageError};
use crate::graph::{LayerRecord, Op, Region, Storage, TensorRecord, Weights};
use crate::quant::{Bound, Channel};

/// What is wrong with a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Its record does not decode.
    Record,
    /// It reads a tensor that does not exist yet.
    Input,
    /// Its output shape does not follow from its input and window.
    Shape,
    /// Bits, zero point and storage do not go together.
    Encoding,
    /// Bits, levels and layout of the weights do not go together.
    Weights,
    /// Its weights or constants lie outside the sections.
    Section,
    /// An accumulator could overflow, or a multiplier is negative.
    Range,
    /// A tensor or its scratch lies outside the arena or is misaligned.
    Arena,
    /// It would overwrite a tensor that is still needed.
    Overlap,
    /// Logits anywhere but at the end, or none there.
    Logits,
    /// It needs a feature that the container does not name.
    Unannounced,
}

impl core::fmt::Display for Fault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Record => "does not decode",
            Self::Input => "reads a tensor that does not exist yet",
            Self::Shape => "has an output shape that does not follow from its input",
            Self::Encoding => "has activation bits, zero point and storage that do not go together",
            Self::Weights => "has weight bits, levels and layout that do not go together",
            Self::Section => "has constants outside the image",
            Self::Range => "could overflow its accumulator",
            Self::Arena => "uses memory outside the arena",
            Self::Overlap => "would overwrite a tensor that is still needed",
            Self::Logits => "breaks the rule that logits are the last layer's output and only that",
            Self::Unannounced => "needs a feature that the image does not announce",
        })
    }
}

/// Checks everything that the container's own fields do not.
pub(super) fn verify(image: &Image<'_>) -> Result<(), ImageError> {
    check_header(image).ok_or(ImageError::Header)?;
    let mut layers = image.layers();
    for index in 0..image.header().layers {
        let fault = |fault| ImageError::Layer { layer: index, fault };
        let layer = layers.next().ok_or(fault(Fault::Record))?;
        check_layer(image, index, &layer).map_err(fault)?;
    }
    if layers.rest().is_empty() { Ok(()) } else { Err(ImageError::Trailing) }
}

fn check_header(image: &Image<'_>) -> Option<()> {
    let header = image.header();
    let arena = u32::try_from(image.arena_bytes()).ok()?;
    let normalised = header.normalisation.len() == 8 * usize::from(header.input.channels);
    let codes = header.input.storage != Storage::Logits;
    (header.layers > 0 && normalised && codes && has_sound_encoding(&header.input)).then_some(())?;
    in_arena(&header.input.region()?, arena).then_some(())
}

fn check_layer(image: &Image<'_>, index: u16, layer: &LayerRecord<'_>) -> Result<(), Fault> {
    let input = read(image, index, layer.inputs[0])?;
    let other = read(image, index, layer.inputs[1])?;
    if layer.op.arity() == 1 && layer.inputs[1] != 0 {
        return Err(Fault::Input);
    }
    let last = index + 1 == image.header().layers;
    if (layer.output.storage == Storage::Logits) != last || input.storage == Storage::Logits {
        return Err(Fault::Logits);
    }
    if !has_sound_encoding(&layer.output) {
        return Err(Fault::Encoding);
    }
    check_shape(layer, &input, &other)?;
    check_constants(image, layer, &input)?;
    check_arena(image, index, layer)
}

/// The tensor `id`, if layer `index` may read it.
fn read(image: &Image<'_>, index: u16, id: u16) -> Result<TensorRecord, Fault> {
    if id > index {
        return Err(Fault::Input);
    }
    image.tensor(id).ok_or(Fault::Input)
}

fn has_sound_encoding(tensor: &TensorRecord) -> bool {
    let sized = tensor.height > 0 && tensor.width > 0 && tensor.channels > 0;
    sized && u32::from(tensor.bits.get()) <= tensor.storage.bits() && tensor.zero_point <= tensor.bits.max_code()
}

fn check_shape(layer: &LayerRecord<'_>, input: &TensorRecord, other: &TensorRecord) -> Result<(), Fault> {
    let output = &layer.output;
    let sound = match &layer.op {
        Op::Conv2d { window, .. } => window.output(input.height, input.width) == Some([output.height, output.width]),
        Op::Depthwise { window, .. } | Op::AvgPool { window, .. } | Op::MaxPool { window } => {
            let slides = window.output(input.height, input.width) == Some([output.height, output.width]);
            slides && input.channels == output.channels
        }
        Op::Dense { .. } => [output.height, output.width] == [1, 1],
        Op::Add { .. } => {
            let shape = |tensor: &TensorRecord| [tensor.height, tensor.width, tensor.channels];
            shape(input) == shape(output) && shape(other) == shape(output)
        }
        Op::Concat => {
            let place = |tensor: &TensorRecord| [tensor.height, tensor.width];
            let joined = u32::from(input.channels) + u32::from(other.channels) == u32::from(output.channels);
            joined && place(input) == place(output) && place(other) == place(output)
        }
    };
    let logits = output.storage == Storage::Logits;
    let passes_codes = matches!(layer.op, Op::MaxPool { .. } | Op::Concat);
    let keeps_code = |from: &TensorRecord| output.bits == from.bits && output.zero_point == from.zero_point;
    // Joined codes lie side by side in the fields they came in.
    let joins = matches!(layer.op, Op::Concat);
    let alike = !joins || keeps_code(other) && [input, other].iter().all(|from| from.storage == output.storage);
    match () {
        () if !sound => Err(Fault::Shape),
        () if passes_codes && !(keeps_code(input) && alike) => Err(Fault::Encoding),
        () if logits && (passes_codes || matches!(layer.op, Op::Add { .. }) || output.pixels() != 1) => {
            Err(Fault::Logits)
        }
        () => Ok(()),
    }
}

fn check_constants(image: &Image<'_>, layer: &LayerRecord<'_>, input: &TensorRecord) -> Result<(), Fault> {
    let terms = layer.op.terms(input).ok_or(Fault::Range)?;
    match &layer.op {
        Op::Conv2d { weights, .. } | Op::Depthwise { weights, .. } | Op::Dense { weights } => {
            check_weights(image, layer, weights, input, terms)
        }
        Op::AvgPool { shift, bias, multiplier, .. } => {
            let channel = Channel { bias: *bias, multiplier: *multiplier };
            in_range(Bound::new(1, input.bits, terms), channel, *shift).then_some(()).ok_or(Fault::Range)
        }
        Op::Add { scale } => scale.is_valid().then_some(()).ok_or(Fault::Range),
        Op::MaxPool { .. } => Ok(()),
        Op::Concat if layer.op.features() & !image.features() != 0 => Err(Fault::Unannounced),
        Op::Concat => Ok(()),
    }
}

fn check_weights(
    image: &Image<'_>,
    layer: &LayerRecord<'_>,
    weights: &Weights,
    input: &TensorRecord,
    terms: u32,
) -> Result<(), Fault> {
    let matrix = layer.op.matrix(input, &layer.output).ok_or(Fault::Weights)?;
    let unannounced = weights.layout.features() & !image.features() != 0;
    if !matrix.is_valid() || !layout_suits(layer, weights) || unannounced {
        return Err(Fault::Weights);
    }
    let aligned = weights.codes.is_multiple_of(4) && weights.channels.is_multiple_of(4);
    let codes = matrix.bytes().and_then(|bytes| image.section(weights.codes, bytes));
    let channels = image.section(weights.channels, 8 * u32::from(layer.output.channels));
    let (Some(_), Some(channels), true) = (codes, channels, aligned) else {
        return Err(Fault::Section);
    };
    let bound = Bound::new(weights.levels.magnitude(weights.bits), input.bits, terms);
    let sound = channels.chunks_exact(8).all(|bytes| in_range(bound, channel(bytes), weights.shift));
    sound.then_some(()).ok_or(Fault::Range)
}

fn layout_suits(layer: &LayerRecord<'_>, weights: &Weights) -> bool {
    use crate::pack::Layout;
    match weights.layout {
        Layout::Bytes => true,
        Layout::RowPairs | Layout::Lanes | Layout::Ends => !matches!(layer.op, Op::Depthwise { .. }),
        Layout::Rows => matches!(layer.op, Op::Depthwise { .. }),
    }
}

fn channel(bytes: &[u8]) -> Channel {
    let word = |half: Option<&[u8; 4]>| half.map_or(0, |half| i32::from_le_bytes(*half));
    Channel { bias: word(bytes.first_chunk()), multiplier: word(bytes.last_chunk()) }
}

fn in_range(bound: Bound, channel: Channel, shift: u8) -> bool {
    channel.multiplier >= 0 && bound.fits(channel.bias, shift)
}

fn in_arena(region: &Region, arena: u32) -> bool {
    region.offset.is_multiple_of(4) && region.end().is_some_and(|end| end <= arena)
}

fn check_arena(image: &Image<'_>, index: u16, layer: &LayerRecord<'_>) -> Result<(), Fault> {
    let arena = u32::try_from(image.arena_bytes()).map_err(|_| Fault::Arena)?;
    let output = layer.output.region().ok_or(Fault::Arena)?;
    if !in_arena(&output, arena) || !in_arena(&layer.scratch, arena) {
        return Err(Fault::Arena);
    }
    if output.overlaps(&layer.scratch) {
        return Err(Fault::Overlap);
    }
    // A tensor is live if this layer or a later one reads it; only an add may write over an input it is the last to read.
    for (reader, later) in image.layers().enumerate().skip(usize::from(index)) {
        for id in later.reads().filter(|&id| id <= index) {
            let tensor = image.tensor(id).ok_or(Fault::Input)?;
            let live = tensor.region().ok_or(Fault::Arena)?;
            let in_place = reader == usize::from(index) && adds_in_place(layer, id, &tensor);
            if layer.scratch.overlaps(&live) || (output.overlaps(&live) && !in_place) {
                return Err(Fault::Overlap);
            }
        }
    }
    Ok(())
}

/// Whether `layer` is an add that writes exactly over its first input `id`, code for code.
pub(crate) fn adds_in_place(layer: &LayerRecord<'_>, id: u16, tensor: &TensorRecord) -> bool {
    let same_place = tensor.offset == layer.output.offset && tensor.storage == layer.output.storage;
    matches!(layer.op, Op::Add { .. }) && layer.inputs[0] == id && layer.inputs[1] != id && same_place
}
