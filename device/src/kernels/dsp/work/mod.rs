//! What this family's kernels do for a layer, from the plans they follow; counted on any machine.

mod blocks;
mod dense;
mod lines;
mod outer;
mod pointwise;

use releq_format::graph::{Op, Storage, TensorRecord};
use releq_format::pack::Matrix;

use super::column_plan::ColumnPlan;
use super::line_plan::LinePlan;
use super::plan::{ConvPlan, OuterPlan};
use crate::kernels::work::Work;

/// The work of a layer; `None` where another family runs it.
pub(in crate::kernels) fn of(op: &Op, inputs: [&TensorRecord; 2], output: &TensorRecord) -> Option<Work> {
    let layer = Layer { op, input: inputs[0], output };
    match op {
        Op::Conv2d { .. } => conv(&layer),
        Op::Depthwise { .. } => pointwise::depthwise(&layer),
        Op::Dense { .. } => dense::of(&layer),
        Op::MaxPool { .. } => pointwise::maxpool(&layer),
        Op::AvgPool { .. } => pointwise::avgpool(&layer),
        Op::Add { .. } => pointwise::add(inputs, output),
        Op::Concat => None,
    }
}

/// A layer with one input.
#[derive(Clone, Copy)]
struct Layer<'a> {
    op: &'a Op,
    input: &'a TensorRecord,
    output: &'a TensorRecord,
}

/// In the order in which the kernel looks for a plan.
fn conv(layer: &Layer<'_>) -> Option<Work> {
    let Layer { op, input, output } = *layer;
    if let Some(plan) = OuterPlan::new(op, input, output) {
        return outer::of(layer, &plan);
    }
    if let Some(plan) = LinePlan::new(op, input, output) {
        return lines::of(layer, &plan);
    }
    if let Some(plan) = ColumnPlan::new(op, input, output) {
        return blocks::in_columns(layer, &plan);
    }
    blocks::of(layer, &ConvPlan::new(op, input, output)?)
}

/// Bits of a stored code.
fn stored(record: &TensorRecord) -> u8 {
    record.storage.bits() as u8
}

/// Whether codes are bytes that need no limit but their own.
fn are_bytes(record: &TensorRecord) -> bool {
    record.storage == Storage::Bits8 && record.bits.get() == 8
}

/// Codes of some neighbouring pixels, a byte each, from how a tensor stores them.
fn unpack(work: &mut Work, record: &TensorRecord, pixels: usize) {
    if record.storage == Storage::Bits8 {
        return;
    }
    let (bits, channels) = (stored(record), usize::from(record.channels));
    let gapless = (channels * usize::from(bits)).is_multiple_of(8);
    let runs = if gapless { 1 } else { pixels };
    let codes = if gapless { pixels * channels } else { channels };
    work.add_for("unpacked runs", [0, bits], runs);
    work.add_for("unpacked fours", [0, bits], runs * (codes / 4));
    work.add_for("unpacked rests", [0, bits], runs * (codes % 4));
}

/// Byte lanes of `quads` groups of four columns from the planes of a pair of rows, `times` times; codes may be doubled.
fn expand(work: &mut Work, matrix: &Matrix, quads: usize, doubled: bool, times: usize) {
    let bits = matrix.bits.get();
    // All planes of odd and other mixed widths at once, where columns come in sixteens.
    if !doubled && matches!(bits, 3 | 5 | 6 | 7) && quads.is_multiple_of(4) {
        work.add_for("merged pairs", [bits, 0], times);
        work.add_for("merged turns", [bits, 0], times * (quads / 4));
        return;
    }
    for plane in matrix.planes() {
        // A word of lanes for each field; the first plane is written, plain or doubled, the others are added.
        let way = if plane.shift > 0 { 3 } else { 1 + u8::from(doubled) };
        let (fields, words) = (8 / usize::from(plane.width), matrix.plane_words(plane) as usize);
        let whole = (2 * quads / fields).min(words);
        work.add_for("planes", [plane.width, way], times);
        work.add_for("words of planes", [plane.width, way], times * whole);
        work.add_for("last fields", [plane.width, 0], times * (words - whole) * (2 * quads - whole * fields));
    }
}

/// `pixels` pixels of staged codes, `staged_channels` apart, to how the output stores them.
fn pack(work: &mut Work, record: &TensorRecord, pixels: usize, staged_channels: usize) {
    let (bits, channels) = (stored(record), usize::from(record.channels));
    let gapless = channels == staged_channels && (channels * usize::from(bits)).is_multiple_of(8);
    let (runs, codes) = if gapless { (1, pixels * channels) } else { (pixels, channels) };
    // Nibbles and crumbs are packed in whole words, everything else code by code.
    let word = match bits {
        4 => 8,
        2 => 16,
        _ => codes + 1,
    };
    work.add_for("packed runs", [0, bits], runs);
    work.add_for("packed words", [0, bits], runs * (codes / word));
    work.add_for("packed rests", [0, bits], runs * (codes % word));
}
