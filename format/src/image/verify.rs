//! Every rule that makes an image safe to run: shapes, bounds, ranges and the arena map.

use super::read::Reader;
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
    let mut records = image.layers().reader();
    for index in 0..image.header().layers {
        let layer = records.layer();
        let checked = if records.is_sound() { check_layer(image, index, &layer) } else { Err(Fault::Record) };
        checked.map_err(|fault| ImageError::Layer { layer: index, fault })?;
    }
    if !records.rest().is_empty() {
        return Err(ImageError::Trailing);
    }
    let (mut records, mut tensor) = (image.layers().reader(), image.header().input);
    for id in 0..image.header().layers {
        check_life(image, id, &tensor, records)?;
        tensor = records.layer().output;
    }
    Ok(())
}

fn check_header(image: &Image<'_>) -> Option<()> {
    let header = image.header();
    let normalised = header.normalisation.len() == 8 * usize::from(header.input.channels);
    let codes = header.input.storage != Storage::Logits;
    (header.layers > 0 && normalised && codes && has_sound_encoding(&header.input)).then_some(())?;
    in_arena(image, &header.input.region()?).then_some(())
}

/// Checks layer `index`, but not whether it harms what others need.
#[inline(never)]
fn check_layer(image: &Image<'_>, index: u16, layer: &LayerRecord<'_>) -> Result<(), Fault> {
    let [first, second] = layer.inputs;
    if first > index || second > index || (layer.op.arity() == 1 && second != 0) {
        return Err(Fault::Input);
    }
    let (input, other) = (image.known_tensor(first), image.known_tensor(second));
    let last = index + 1 == image.header().layers;
    if (layer.output.storage == Storage::Logits) != last || input.storage == Storage::Logits {
        return Err(Fault::Logits);
    }
    if !has_sound_encoding(&layer.output) {
        return Err(Fault::Encoding);
    }
    check_shape(layer, &input, &other)?;
    check_constants(image, layer, &input)?;
    check_arena(image, layer)
}

fn has_sound_encoding(tensor: &TensorRecord) -> bool {
    let sized = tensor.height > 0 && tensor.width > 0 && tensor.channels > 0;
    sized && u32::from(tensor.bits.get()) <= tensor.storage.bits() && tensor.zero_point <= tensor.bits.max_code()
}

fn check_shape(layer: &LayerRecord<'_>, input: &TensorRecord, other: &TensorRecord) -> Result<(), Fault> {
    let output = &layer.output;
    let place = |tensor: &TensorRecord| [tensor.height, tensor.width];
    let keeps_code = |from: &TensorRecord| output.bits == from.bits && output.zero_point == from.zero_point;
    let joins = matches!(layer.op, Op::Concat);
    let passes_codes = joins || matches!(layer.op, Op::MaxPool { .. });
    let size = match &layer.op {
        Op::Conv2d { window, .. }
        | Op::Depthwise { window, .. }
        | Op::AvgPool { window, .. }
        | Op::MaxPool { window } => window.output(input.height, input.width),
        Op::Dense { .. } => Some([1, 1]),
        Op::Add { .. } | Op::Concat => Some(place(input)).filter(|size| *size == place(other)),
    };
    let channels = match &layer.op {
        Op::Conv2d { .. } | Op::Dense { .. } => u32::from(output.channels),
        Op::Concat => u32::from(input.channels) + u32::from(other.channels),
        Op::Add { .. } if input.channels != other.channels => 0,
        _ => u32::from(input.channels),
    };
    if size != Some(place(output)) || channels != u32::from(output.channels) {
        return Err(Fault::Shape);
    }
    // Joined codes lie side by side in the fields they came in.
    let alike = !joins || keeps_code(other) && input.storage == output.storage && other.storage == output.storage;
    if passes_codes && !(keeps_code(input) && alike) {
        return Err(Fault::Encoding);
    }
    let logits = output.storage == Storage::Logits;
    if logits && (passes_codes || matches!(layer.op, Op::Add { .. }) || output.pixels() != 1) {
        return Err(Fault::Logits);
    }
    Ok(())
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

fn in_arena(image: &Image<'_>, region: &Region) -> bool {
    region.offset.is_multiple_of(4) && region.end().is_some_and(|end| end as usize <= image.arena_bytes())
}

/// Checks where a layer writes.
#[inline(never)]
fn check_arena(image: &Image<'_>, layer: &LayerRecord<'_>) -> Result<(), Fault> {
    let output = layer.output.region().ok_or(Fault::Arena)?;
    if !in_arena(image, &output) || !in_arena(image, &layer.scratch) {
        return Err(Fault::Arena);
    }
    if output.overlaps(&layer.scratch) { Err(Fault::Overlap) } else { Ok(()) }
}

/// Tensor `id` is whole whenever a layer reads it; only an add may write over an input it is the last to read.
///
/// `records` gives the layers from `id` on. Each tensor takes one walk over them, so that the time of all grows with the
/// square of the layers, whatever they read.
#[inline(never)]
fn check_life(image: &Image<'_>, id: u16, tensor: &TensorRecord, mut records: Reader<'_>) -> Result<(), ImageError> {
    let Some(live) = tensor.region() else { return Ok(()) };
    let mut overwritten = None;
    for index in id..image.header().layers {
        let layer = records.layer();
        let by_scratch = layer.scratch.overlaps(&live);
        let overwrites = by_scratch || layer.output.region().is_some_and(|output| output.overlaps(&live));
        let spares = !overwrites || (!by_scratch && adds_in_place(&layer, id, tensor));
        let harmed = overwritten.or((!spares).then_some(index));
        if let (Some(layer), true) = (harmed, layer.reads().any(|read| read == id)) {
            return Err(ImageError::Layer { layer, fault: Fault::Overlap });
        }
        overwritten = overwritten.or(overwrites.then_some(index));
    }
    Ok(())
}

/// Whether `layer` is an add that writes exactly over its first input `id`, code for code.
pub(crate) fn adds_in_place(layer: &LayerRecord<'_>, id: u16, tensor: &TensorRecord) -> bool {
    let same_place = tensor.offset == layer.output.offset && tensor.storage == layer.output.storage;
    matches!(layer.op, Op::Add { .. }) && layer.inputs[0] == id && layer.inputs[1] != id && same_place
}

#[cfg(all(test, feature = "alloc"))]
mod tests {
    use super::*;
    use crate::image::view::{at, checksum};
    use crate::image::{ImageBuffer, ImageBuilder};
    use crate::pack::Layout;

    const EVERY_OP: &[u8] = include_bytes!("../../golden/v1/every-op.rlq");
    const CONCAT: &[u8] = include_bytes!("../../golden/v1/concat.rlq");

    /// The fault of the golden image with every op, once the first layer that `choose` takes is changed; with its index
    /// and that of the layer that is refused.
    fn fault(
        choose: fn(&LayerRecord<'_>) -> bool,
        change: fn(&mut LayerRecord<'_>, arena: u32),
    ) -> Option<(u16, u16, Fault)> {
        let buffer = ImageBuffer::from(EVERY_OP);
        let image = Image::open(&buffer).unwrap();
        let (arena, mut builder) = (image.arena_bytes() as u32, ImageBuilder::new());
        let sections = image.bytes()[at::SECTIONS..].first_chunk().map(|word| u32::from_le_bytes(*word)).unwrap();
        builder.section(&image.bytes()[sections as usize..]);
        let changed = image.layers().position(|layer| choose(&layer)).unwrap();
        for (index, mut layer) in image.layers().enumerate() {
            if index == changed {
                change(&mut layer, arena);
            }
            builder.layer(&layer);
        }
        match builder.finish(*image.header(), arena) {
            Err(ImageError::Layer { layer, fault }) => Some((changed as u16, layer, fault)),
            other => other.map(|_| None).unwrap(),
        }
    }

    fn weights<'r>(layer: &'r mut LayerRecord<'_>) -> &'r mut Weights {
        match &mut layer.op {
            Op::Conv2d { weights, .. } | Op::Depthwise { weights, .. } | Op::Dense { weights } => weights,
            _ => unreachable!("a layer with weights is chosen"),
        }
    }

    #[test]
    fn every_rule_refuses_what_breaks_it() {
        let conv = |layer: &LayerRecord<'_>| matches!(layer.op, Op::Conv2d { .. });
        let pool = |layer: &LayerRecord<'_>| matches!(layer.op, Op::MaxPool { .. });
        let add = |layer: &LayerRecord<'_>| matches!(layer.op, Op::Add { .. });
        let average = |layer: &LayerRecord<'_>| matches!(layer.op, Op::AvgPool { .. });
        let last = |layer: &LayerRecord<'_>| layer.output.storage == Storage::Logits;
        type Case = (Fault, fn(&LayerRecord<'_>) -> bool, fn(&mut LayerRecord<'_>, u32));
        let cases: &[Case] = &[
            (Fault::Input, conv, |layer, _| layer.inputs[0] = 99),
            (Fault::Input, pool, |layer, _| layer.inputs[1] = 1),
            (Fault::Input, add, |layer, _| layer.inputs[1] = 99),
            (Fault::Shape, conv, |layer, _| layer.output.height += 1),
            (Fault::Shape, pool, |layer, _| layer.output.channels += 1),
            (Fault::Shape, add, |layer, _| layer.output.width += 1),
            (Fault::Shape, last, |layer, _| layer.output.height += 1),
            (Fault::Encoding, conv, |layer, _| layer.output.height = 0),
            (Fault::Encoding, conv, |layer, _| layer.output.storage = Storage::Bits1),
            (Fault::Encoding, pool, |layer, _| layer.output.zero_point ^= 1),
            (Fault::Weights, conv, |layer, _| weights(layer).layout = Layout::Rows),
            (Fault::Section, conv, |layer, _| weights(layer).codes += 1),
            (Fault::Section, conv, |layer, _| weights(layer).codes = 1 << 20),
            (Fault::Section, conv, |layer, _| weights(layer).channels = 1 << 20),
            (Fault::Range, conv, |layer, _| weights(layer).shift = 20),
            (Fault::Range, average, |layer, _| {
                if let Op::AvgPool { multiplier, .. } = &mut layer.op {
                    *multiplier = -1;
                }
            }),
            (Fault::Range, add, |layer, _| {
                if let Op::Add { scale } = &mut layer.op {
                    scale.shift = 31;
                }
            }),
            (Fault::Arena, conv, |layer, _| layer.output.offset += 2),
            (Fault::Arena, conv, |layer, arena| layer.output.offset = arena),
            (Fault::Arena, conv, |layer, arena| layer.scratch = Region { offset: arena, bytes: 4 }),
            (Fault::Arena, conv, |layer, _| layer.scratch = Region { offset: 4, bytes: u32::MAX }),
            (Fault::Overlap, conv, |layer, _| layer.scratch = Region { offset: layer.output.offset, bytes: 4 }),
            (Fault::Overlap, conv, |layer, _| layer.output.offset = 0),
            (Fault::Logits, last, |layer, _| layer.output.storage = Storage::Bits8),
            (Fault::Logits, conv, |layer, _| layer.output.storage = Storage::Logits),
        ];
        for (number, &(expected, choose, change)) in cases.iter().enumerate().step_by(if cfg!(miri) { 5 } else { 1 }) {
            let (changed, layer, fault) = fault(choose, change).unwrap();
            assert_eq!((layer, fault), (changed, expected), "case {number}");
        }
    }

    #[test]
    fn an_op_that_is_not_announced_is_refused() {
        let mut buffer = ImageBuffer::from(CONCAT);
        assert!(Image::open(&buffer).is_ok());
        buffer[at::FEATURES] = 0;
        let crc = checksum(&buffer).to_le_bytes();
        buffer[at::CRC..at::CRC + 4].copy_from_slice(&crc);
        let unannounced = |fault| matches!(fault, Fault::Unannounced | Fault::Weights);
        assert!(matches!(Image::open(&buffer), Err(ImageError::Layer { fault, .. }) if unannounced(fault)));
    }
}
