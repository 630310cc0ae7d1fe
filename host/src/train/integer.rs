//! A quantized network evaluated in the engine's own integers, by matrix products of floats.
//!
//! Fake quantization knows neither whole biases nor 16-bit multipliers of adds, and over twenty layers it comes to other
//! codes. Here every float is an integer below 2^24, so that no product and no sum is rounded, in whatever order they
//! come; then `format::quant` makes codes of the sums. Training keeps its fake quantization.

use std::ops::Range;

use candle_core::Result;
use rayon::prelude::*;
use releq_format::quant::{AddScale, Channel, logit, requantize};

use super::conv::{Sizes, Work, convolve};
use super::pool::{Pool, Reduce};
use super::product::{Accum, Form, product};
use super::vectors::{widest, zipped};
use crate::data::Dataset;
use crate::lower::integer::{IntegerNetwork, Integers, Operand, Operation, Step};
use crate::network::{InputSpec, Window};
use crate::quantized::ActivationQuant;

/// Images that one task takes through the whole network.
const GROUP: usize = 32;
/// Floats hold all integers up to here.
const EXACT: i64 = 1 << 24;

/// A network ready to be evaluated on many images.
#[derive(Clone, Debug)]
pub struct IntegerModel<'a> {
    network: &'a IntegerNetwork,
    /// Of each step; empty where it has no weights.
    weights: Vec<Weights>,
    /// The step that reads each tensor last.
    last_read: Vec<usize>,
}

/// A step's weights as floats.
#[derive(Clone, Debug, Default)]
struct Weights {
    /// Sums over all parts are the products' sums.
    parts: Vec<Part>,
    /// Biases without the zero point's share: the floats are codes less their zero point.
    biases: Vec<i32>,
}

/// Terms few enough that no sum of their products leaves the integers a float holds.
#[derive(Clone, Debug)]
struct Part {
    /// The input channels (of a dense layer: elements) they belong to.
    channels: Range<usize>,
    /// `[out, …]` over these channels, 0 for terms of other parts.
    values: Vec<f32>,
}

impl<'a> IntegerModel<'a> {
    /// Of `network`.
    pub fn new(network: &'a IntegerNetwork) -> Self {
        let mut last_read = vec![0; network.steps.len() + 1];
        for (index, step) in network.steps.iter().enumerate() {
            step.inputs.iter().for_each(|operand| last_read[operand.tensor] = index);
        }
        Self { network, weights: network.steps.iter().map(Weights::of).collect(), last_read }
    }

    /// The logits of each image of `data`, in units of [`IntegerNetwork::logit_unit`], one row an image.
    ///
    /// # Errors
    /// Images of another shape.
    pub fn logits(&self, data: &Dataset) -> Result<Vec<Vec<i32>>> {
        let shape = self.network.input.shape;
        if data.shape != shape {
            candle_core::bail!("the network takes images of {shape:?}, the data has {:?}", data.shape)
        }
        let tables = code_tables(&self.network.input, &self.network.codes);
        let groups: Vec<usize> = (0..data.len()).step_by(GROUP).collect();
        let group = |start| self.run(start_values(data, start..data.len().min(start + GROUP), &tables));
        Ok(groups.into_par_iter().map(group).collect::<Vec<_>>().concat())
    }

    /// As [`logits`](Self::logits), as reals.
    ///
    /// # Errors
    /// Images of another shape.
    pub fn real_logits(&self, data: &Dataset) -> Result<Vec<Vec<f32>>> {
        let real = |row: Vec<i32>| row.into_iter().map(|logit| logit as f32 * self.network.logit_unit).collect();
        Ok(self.logits(data)?.into_iter().map(real).collect())
    }

    /// The class of each image of `data`; the lowest on a tie.
    ///
    /// # Errors
    /// Images of another shape.
    pub fn answers(&self, data: &Dataset) -> Result<Vec<usize>> {
        let largest = |row: &Vec<i32>| (0..row.len()).rev().max_by_key(|&class| row[class]).unwrap_or(0);
        Ok(self.logits(data)?.iter().map(largest).collect())
    }

    /// Takes a group of images, codes less their zero point, through the network.
    fn run(&self, input: Vec<f32>) -> Vec<Vec<i32>> {
        let images = input.len() / self.network.input.shape.iter().product::<usize>().max(1);
        let mut values = vec![input];
        for (index, (step, weights)) in self.network.steps.iter().zip(&self.weights).enumerate() {
            let operands: Vec<&[f32]> = step.inputs.iter().map(|operand| values[operand.tensor].as_slice()).collect();
            let outcome = match step.output {
                Some(quant) => compute(step, weights, &operands, images, &quant),
                None => return self.answered(step, weights, &operands, images),
            };
            values.push(outcome);
            for operand in step.inputs.iter().filter(|operand| self.last_read[operand.tensor] == index) {
                values[operand.tensor] = Vec::new();
            }
        }
        Vec::new()
    }

    /// The logits of the last step.
    fn answered(&self, step: &Step, weights: &Weights, operands: &[&[f32]], images: usize) -> Vec<Vec<i32>> {
        let [classes, ..] = step.shape;
        let mut logits = Vec::with_capacity(images * classes);
        sums(step, weights, operands, images, |sums, shift, channel| {
            logits.extend(sums.iter().map(|&sum| logit(sum, shift, channel.multiplier)));
        });
        logits.chunks(classes.max(1)).map(<[i32]>::to_vec).collect()
    }
}

/// What each value of a pixel is as a code less its zero point, per channel.
fn code_tables(input: &InputSpec, codes: &ActivationQuant) -> Vec<[f32; 256]> {
    let table = |(mean, std): (&f32, &f32)| {
        std::array::from_fn(|pixel| {
            let code = codes.code((pixel as f32 / 255.0 - mean) / std);
            f32::from(code) - f32::from(codes.zero_point)
        })
    };
    input.mean.iter().zip(&input.std).map(table).collect()
}

fn start_values(data: &Dataset, images: Range<usize>, tables: &[[f32; 256]]) -> Vec<f32> {
    let [_, height, width] = data.shape;
    let planes = images.flat_map(|index| data.image(index).chunks_exact(height * width).zip(tables));
    planes.flat_map(|(plane, table)| plane.iter().map(|&pixel| table[usize::from(pixel)])).collect()
}

/// The codes, less their zero point, that `step` makes of its operands.
fn compute(step: &Step, weights: &Weights, operands: &[&[f32]], images: usize, quant: &ActivationQuant) -> Vec<f32> {
    let zero = f32::from(quant.zero_point);
    let [channels, rows, columns] = step.shape;
    match &step.operation {
        Operation::Concat => joined(operands, images),
        Operation::MaxPool { window } => largest(window, &step.inputs[0], step.shape, operands[0]),
        Operation::Add { scale } => {
            let zeros = [0, 1].map(|index| f32::from(step.inputs[index].quant.zero_point));
            let sum = |left, right| added(scale, [left + zeros[0], right + zeros[1]], quant) - zero;
            zipped(operands[0], operands[1], sum)
        }
        _ => {
            let mut codes = vec![0f32; images * channels * rows * columns];
            let mut planes = codes.chunks_exact_mut((rows * columns).max(1));
            sums(step, weights, operands, images, |sums, shift, channel| {
                let code = |sum| requantize(sum, shift, channel.multiplier, quant.zero_point, quant.bits);
                let pairs = planes.next().into_iter().flatten().zip(sums);
                widest(|| pairs.for_each(|(value, &sum)| *value = f32::from(code(sum)) - zero));
            });
            codes
        }
    }
}

/// The channels of each operand in turn, image by image.
fn joined(operands: &[&[f32]], images: usize) -> Vec<f32> {
    let image = |at: usize| operands.iter().flat_map(move |x| &x[x.len() / images * at..x.len() / images * (at + 1)]);
    (0..images).flat_map(image).copied().collect()
}

fn added(scale: &AddScale, [left, right]: [f32; 2], quant: &ActivationQuant) -> f32 {
    f32::from(scale.apply(left as u8, right as u8, quant.bits))
}

/// The largest code of each window.
fn largest(window: &Window, input: &Operand, [_, rows, columns]: [usize; 3], x: &[f32]) -> Vec<f32> {
    let [_, height, width] = input.shape;
    let pool = Pool { reduce: Reduce::Max, window: *window };
    let mut y = vec![0f32; x.len() / (height * width) * rows * columns];
    for (plane, y) in x.chunks_exact(height * width).zip(y.chunks_exact_mut(rows * columns)) {
        pool.plane(plane, [height, width], y, [rows, columns]);
    }
    y
}

/// Calls `finish(sums with their bias, shift, constants)` for each channel of each image, in order.
fn sums(
    step: &Step,
    weights: &Weights,
    operands: &[&[f32]],
    images: usize,
    mut finish: impl FnMut(&[i32], u8, Channel),
) {
    let [out, rows, columns] = step.shape;
    let pixels = rows * columns;
    match &step.operation {
        Operation::Conv { window, groups, weights: Integers { rescaled, .. } } => {
            let [channels, height, width] = step.inputs[0].shape;
            let image = channels * height * width;
            let mut work = (Work::default(), vec![0f32; out * pixels], vec![0i32; out * pixels]);
            for x in operands[0].chunks_exact(image) {
                convolved(window, *groups > 1, weights, [out, height, width], x, &mut work);
                let planes = work.2.chunks_exact(pixels).zip(&rescaled.channels);
                planes.for_each(|(sums, channel)| finish(sums, rescaled.shift, *channel));
            }
        }
        Operation::Dense { weights: Integers { rescaled, .. } } => {
            let sums = multiplied(weights, operands[0], images);
            for row in sums.chunks_exact(out) {
                let each = row.chunks_exact(1).zip(&rescaled.channels);
                each.for_each(|(sum, channel)| finish(sum, rescaled.shift, *channel));
            }
        }
        Operation::AvgPool { window, shift, channel } => {
            let [_, height, width] = step.inputs[0].shape;
            let pool = Pool { reduce: Reduce::Mean, window: *window };
            let mut sums = vec![0i32; pixels];
            for plane in operands[0].chunks_exact(height * width) {
                pool.windows([height, width], [rows, columns], |at, under, across| {
                    let row = |y: usize| &plane[y * width + across.start..y * width + across.end];
                    // The zero point's share, which the bias takes off, is not in these codes.
                    sums[at] = under.flat_map(row).map(|&code| code as i32).sum();
                });
                finish(&sums, *shift, *channel);
            }
        }
        Operation::MaxPool { .. } | Operation::Add { .. } | Operation::Concat => {}
    }
}

/// The sums of one image's convolution with their biases, in the last of `work`: what the product works in, a part's sums, all sums.
fn convolved(
    window: &Window,
    depthwise: bool,
    weights: &Weights,
    [out, height, width]: [usize; 3],
    x: &[f32],
    (work, part_sums, sums): &mut (Work, Vec<f32>, Vec<i32>),
) {
    let pixels = sums.len() / out.max(1);
    for (sums, bias) in sums.chunks_exact_mut(pixels).zip(&weights.biases) {
        sums.fill(*bias);
    }
    for Part { channels, values } in &weights.parts {
        let Some(sizes) = Sizes::of(window, depthwise, 1, [channels.len(), height, width], out) else { continue };
        part_sums.fill(0.0);
        let x = &x[channels.start * height * width..channels.end * height * width];
        convolve(window, &sizes, x, values, work, part_sums);
        add_to(sums, part_sums);
    }
}

/// The sums of a dense layer, with their biases, `[images, out]`.
fn multiplied(weights: &Weights, x: &[f32], images: usize) -> Vec<i32> {
    let (out, terms) = (weights.biases.len(), x.len() / images.max(1));
    let mut sums = weights.biases.repeat(images);
    let mut part_sums = vec![0f32; images * out];
    for Part { channels, values } in &weights.parts {
        part_sums.fill(0.0);
        let some: Vec<f32>;
        let x = if channels.len() == terms {
            x
        } else {
            some = x.chunks_exact(terms).flat_map(|row| &row[channels.clone()]).copied().collect();
            &some
        };
        product(Form::RightTransposed, x, values, Accum::Add, &mut part_sums, [images, channels.len(), out]);
        add_to(&mut sums, &part_sums);
    }
    sums
}

/// Adds floats that are integers.
fn add_to(sums: &mut [i32], part: &[f32]) {
    widest(|| sums.iter_mut().zip(part).for_each(|(sum, &part)| *sum = sum.wrapping_add(part as i32)));
}

impl Weights {
    fn of(step: &Step) -> Self {
        let (integers, taps, depthwise) = match &step.operation {
            Operation::Conv { window, groups, weights } => (weights, window.kernel[0] * window.kernel[1], *groups > 1),
            Operation::Dense { weights } => (weights, 1, false),
            Operation::MaxPool { .. } | Operation::AvgPool { .. } | Operation::Add { .. } | Operation::Concat => {
                return Self::default();
            }
        };
        let quant = &step.inputs[0].quant;
        let channels = &integers.rescaled.channels;
        let rows = integers.values.chunks_exact((integers.values.len() / channels.len().max(1)).max(1));
        let zero = i32::from(quant.zero_point);
        let biases = rows.clone().zip(channels).map(|(row, channel)| {
            // The sums themselves fit 32 bits, so what leaves them on the way comes back.
            row.iter().fold(channel.bias, |bias, &value| bias.wrapping_add(zero * i32::from(value)))
        });
        let rows: Vec<&[i8]> = rows.collect();
        let reach = [zero, i32::from(quant.bits.max_code()) - zero].map(i64::from);
        let parts = terms_apart(&rows, reach, EXACT).into_iter();
        let part = |terms| Part::of(&rows, terms, taps, depthwise.then_some(channels.len()));
        Self { parts: parts.map(part).collect(), biases: biases.collect() }
    }
}

impl Part {
    /// The `terms` of `rows`, `taps` to a channel; a depthwise kernel, of so many channels, is one row a channel.
    fn of(rows: &[&[i8]], terms: Range<usize>, taps: usize, depthwise: Option<usize>) -> Self {
        let channels = match depthwise {
            Some(channels) => 0..channels,
            None => terms.start / taps..terms.end.div_ceil(taps),
        };
        let covered = if depthwise.is_some() { 0..taps } else { channels.start * taps..channels.end * taps };
        let own = |row: &[i8]| -> Vec<f32> {
            covered.clone().map(|term| if terms.contains(&term) { f32::from(row[term]) } else { 0.0 }).collect()
        };
        Self { channels, values: rows.iter().flat_map(|row| own(row)).collect() }
    }
}

/// Ranges of terms over which no sum of products reaches `limit`, for inputs from −`below` to `above`.
fn terms_apart(rows: &[&[i8]], [below, above]: [i64; 2], limit: i64) -> Vec<Range<usize>> {
    let terms = rows.first().map_or(0, |row| row.len());
    let (mut ranges, mut start) = (Vec::new(), 0);
    // The largest and the smallest sum of each row so far; sums of fewer terms lie between them.
    let mut reach = vec![[0i64; 2]; rows.len()];
    for term in 0..terms {
        let product = |row: &[i8]| {
            let (value, size) = (row[term], i64::from(row[term]).abs());
            if value >= 0 { [size * above, size * below] } else { [size * below, size * above] }
        };
        let over = rows.iter().zip(&reach).any(|(row, sums)| {
            let more = product(row);
            sums[0] + more[0] >= limit || sums[1] + more[1] >= limit
        });
        if over && term > start {
            ranges.push(start..term);
            start = term;
            reach.fill([0; 2]);
        }
        for (row, sums) in rows.iter().zip(&mut reach) {
            let more = product(row);
            *sums = [sums[0] + more[0], sums[1] + more[1]];
        }
    }
    if start < terms {
        ranges.push(start..terms);
    }
    ranges
}

#[cfg(test)]
mod tests;
