//! Integers become an image: layouts are chosen, weights packed, tensors placed, records written.

use releq_device::kernels;
use releq_format::bits::BitWidth;
use releq_format::graph::{LayerRecord, Op, Region, Storage, TensorRecord, Weights, Window};
use releq_format::image::{Header, ImageBuffer, ImageBuilder, SelfTest};
use releq_format::pack::Layout;

use super::LowerError;
use super::integer::{IntegerNetwork, Integers, Operation, Step};
use super::length;
use super::place::place;
use crate::network;
use crate::quantized::ActivationQuant;

/// The image of `integers`, called `name`.
pub(super) fn image(integers: &IntegerNetwork, name: &str, self_test: SelfTest) -> Result<ImageBuffer, LowerError> {
    let mut builder = ImageBuilder::new();
    let first = integers.steps.first().map_or("input", |step| &step.name);
    let mut tensors = vec![record(integers.input.shape, first, Some(&integers.codes))?];
    for step in &integers.steps {
        tensors.push(record(step.shape, &step.name, step.output.as_ref())?);
    }
    let mut layers = Vec::with_capacity(integers.steps.len());
    for (index, step) in integers.steps.iter().enumerate() {
        let inputs = inputs(step);
        let (input, output) = (&tensors[usize::from(inputs[0])], &tensors[index + 1]);
        let op = op(step, input, output, &mut builder)?;
        layers.push((op, inputs, kernels::scratch_bytes(&op, input, output)));
    }
    let (places, arena) = place(&tensors, &layers);
    for (tensor, region) in tensors.iter_mut().zip(&places) {
        tensor.offset = region.offset;
    }
    let mut records = Vec::with_capacity(layers.len());
    for (index, ((op, inputs, bytes), step)) in layers.into_iter().zip(&integers.steps).enumerate() {
        let scratch = Region { bytes, ..places[tensors.len() + index] };
        let (input, output) = (tensors[usize::from(inputs[0])], tensors[index + 1]);
        let kernel = kernels::hint(&op, &input, &output);
        let record = LayerRecord { name: &step.name, op, inputs, output, scratch, kernel };
        builder.layer(&record);
        records.push(record);
    }
    let normalisation = normalisation(&integers.input);
    let header = Header {
        name,
        input: tensors[0],
        input_scale: integers.codes.scale.to_bits(),
        normalisation: &normalisation,
        logit_scale: integers.logit_unit.to_bits(),
        self_test,
        layers: 0,
    };
    let saved = length::sections_at(header, records)? - builder.sections_at(header)?;
    builder.section(&vec![0; saved]);
    Ok(builder.finish(header, arena)?)
}

/// The record of a tensor, without its place; of logits where there is no quantizer.
fn record(
    [channels, height, width]: [usize; 3],
    layer: &str,
    quant: Option<&ActivationQuant>,
) -> Result<TensorRecord, LowerError> {
    let size = |what, size: usize| {
        let most = usize::from(u16::MAX);
        u16::try_from(size).map_err(|_| LowerError::TooLarge { layer: layer.to_owned(), what, size, most })
    };
    Ok(TensorRecord {
        height: size("height", height)?,
        width: size("width", width)?,
        channels: size("channels", channels)?,
        bits: quant.map_or(BitWidth::EIGHT, |quant| quant.bits),
        zero_point: quant.map_or(0, |quant| quant.zero_point),
        storage: quant.map_or(Storage::Logits, |quant| Storage::narrowest(quant.bits)),
        offset: 0,
    })
}

/// The tensors a step reads, as its record names them.
fn inputs(step: &Step) -> [u16; 2] {
    let id = |index: usize| step.inputs.get(index).map_or(0, |operand| operand.tensor as u16);
    [id(0), id(1)]
}

/// Mean and standard deviation of each input channel, as the header stores them.
fn normalisation(input: &network::InputSpec) -> Vec<u8> {
    let pairs = input.mean.iter().zip(&input.std);
    pairs.flat_map(|(mean, std)| [mean.to_le_bytes(), std.to_le_bytes()].concat()).collect()
}

/// The op of a step, with its constants in the builder.
fn op(step: &Step, input: &TensorRecord, output: &TensorRecord, builder: &mut ImageBuilder) -> Result<Op, LowerError> {
    let window = |of: &network::Window| window(of, &step.name);
    match &step.operation {
        Operation::Conv { window: of, groups, weights } => {
            let (window, taps) = (window(of)?, of.kernel[0] * of.kernel[1]);
            let channels = step.inputs[0].shape[0];
            match groups {
                1 => {
                    let order = Order::ChannelLast { channels, pixels: taps };
                    packed(step, weights, &order, input, output, builder, |weights| Op::Conv2d { window, weights })
                }
                _ => {
                    let order = Order::TapMajor { taps };
                    packed(step, weights, &order, input, output, builder, |weights| Op::Depthwise { window, weights })
                }
            }
        }
        Operation::Dense { weights } => {
            let [channels, height, width] = step.inputs[0].shape;
            let order = Order::ChannelLast { channels, pixels: height * width };
            packed(step, weights, &order, input, output, builder, |weights| Op::Dense { weights })
        }
        Operation::MaxPool { window: of } => Ok(Op::MaxPool { window: window(of)? }),
        Operation::AvgPool { window: of, shift, channel } => {
            Ok(Op::AvgPool { window: window(of)?, shift: *shift, bias: channel.bias, multiplier: channel.multiplier })
        }
        Operation::Add { scale } => Ok(Op::Add { scale: *scale }),
        Operation::Concat => Ok(Op::Concat),
    }
}

/// The op that `of` makes of its weights, which go to the builder in the best layout.
fn packed(
    step: &Step,
    integers: &Integers,
    order: &Order,
    input: &TensorRecord,
    output: &TensorRecord,
    builder: &mut ImageBuilder,
    of: impl Fn(Weights) -> Op,
) -> Result<Op, LowerError> {
    let Integers { quant, values, rescaled } = integers;
    let channels = builder.channels(&rescaled.channels);
    let (layout, shift) = (Layout::Lanes, rescaled.shift);
    let mut weights = Weights { bits: quant.bits, levels: quant.levels, layout, shift, codes: 0, channels };
    let mismatch = || LowerError::Shape(format!("`{}` has weights of another shape", step.name));
    weights.layout = best_layout(&of(weights), input, output);
    let matrix = of(weights).matrix(input, output).ok_or_else(mismatch)?;
    let section = matrix.pack(&order.arrange(values)).map_err(|_| mismatch())?;
    weights.codes = builder.section(&section);
    Ok(of(weights))
}

fn window(window: &network::Window, layer: &str) -> Result<Window, LowerError> {
    let byte = |what, size: usize| {
        u8::try_from(size).map_err(|_| LowerError::TooLarge { layer: layer.to_owned(), what, size, most: 255 })
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

/// How weights `[out, channel, y, x]` become rows and columns of an image's matrix.
enum Order {
    /// Rows: out; columns: (y, x, channel).
    ChannelLast { channels: usize, pixels: usize },
    /// Rows: (y, x); columns: channel.
    TapMajor { taps: usize },
}

impl Order {
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
pub(crate) fn best_layout(op: &Op, input: &TensorRecord, output: &TensorRecord) -> Layout {
    let layout = Layout::Lanes;
    match *op {
        Op::Depthwise { weights, .. } if weights.bits == BitWidth::EIGHT => Layout::Bytes,
        Op::Depthwise { .. } => Layout::Rows,
        Op::Conv2d { window, weights } => {
            kernels::layout(&Op::Conv2d { window, weights: Weights { layout, ..weights } }, input, output)
        }
        Op::Dense { weights } => kernels::layout(&Op::Dense { weights: Weights { layout, ..weights } }, input, output),
        Op::MaxPool { .. } | Op::AvgPool { .. } | Op::Add { .. } | Op::Concat => layout,
    }
}
