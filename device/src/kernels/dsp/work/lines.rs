//! Convolution along lines: what is spaced, woven, multiplied and settled.

use releq_format::graph::{Op, Storage};

use super::{Layer, expand, stored};
use crate::kernels::dsp::line_plan::{Fields, LinePlan};
use crate::kernels::dsp::plan::QUAD;
use crate::kernels::dsp::weaving::Weaving;
use crate::kernels::work::Work;

/// Set in what tells spaced channels apart: they come from codes of four bits as they are stored.
const SPACED_FROM_NIBBLES: u8 = 4;

/// The work of a convolution that has a plan.
pub(super) fn of(layer: &Layer<'_>, plan: &LinePlan) -> Option<Work> {
    let Op::Conv2d { window, weights } = layer.op else { return None };
    let mut work = Work::new("dsp::CONV2D", "lines");
    let channels = usize::from(layer.input.channels);
    let [kernel_rows, stride] = [window.kernel[0], window.stride[0]].map(usize::from);
    let [height, width] = [layer.output.height, layer.output.width].map(usize::from);
    let pairs = usize::from(layer.output.channels).div_ceil(2);
    let rounds = height.div_ceil(plan.lines.max(1));
    space(&mut work, layer, plan, kernel_rows, stride);

    if plan.summed {
        work.add("corrected lines", height);
        work.add("corrected columns", height * (width + 2) * kernel_rows);
    }
    let whole_pairs = layer.output.channels.is_multiple_of(2);
    let kind = if whole_pairs && layer.output.bits.get() == stored(layer.output) { layer.output.bits.get() } else { 0 };
    if !whole_pairs || matches!(kind, 0 | 1) && layer.output.storage != Storage::Bits8 {
        work.add("cleared bytes", height * width * layer.output.pixel_bytes() as usize);
    }

    let places = places(plan);
    let [spacing, _] = places;
    let fields = [spacing, 0];
    let steps = kernel_rows * channels;
    work.add("woven pairs", rounds * pairs);
    let bits = weights.bits.get();
    match plan.weaving {
        Weaving::Lanes => {
            let matrix = layer.op.matrix(layer.input, layer.output)?;
            expand(&mut work, &matrix, (3 * steps).div_ceil(QUAD), false, rounds * pairs);
            work.add("woven quads", rounds * pairs * steps / QUAD);
            work.add("woven rows", rounds * pairs * kernel_rows);
        }
        _ => work.add_for("woven steps", [bits, spacing], rounds * pairs * steps),
    }
    if plan.fields == Fields::Centred {
        work.add("summed steps", pairs * steps);
    }

    let of_pairs = height * pairs;
    let of_blocks = of_pairs * plan.blocks;
    let (runs, emptyings) = plan.counts();
    work.add("lines of pairs", of_pairs);
    work.add_for("blocks", fields, of_blocks);
    work.add("steps", of_blocks * steps * plan.weaving.passes());
    work.add("runs", of_blocks * runs);
    work.add_for("emptyings", places, of_blocks * emptyings);
    let settled = if plan.summed { "settled outputs" } else { "uncorrected outputs" };
    work.add_for(settled, [kind, stored(layer.output)], of_pairs * width);
    Some(work)
}

/// Bits from code to code, signed ones apart from others, and codes of a word of pixels.
fn places(plan: &LinePlan) -> [u8; 2] {
    const SIGNED: u8 = 32;
    let (spacing, pixels) = plan.fields.places();
    let signed = if plan.fields == Fields::Centred { SIGNED } else { 0 };
    [signed + spacing as u8, pixels as u8]
}

/// Input rows, each spaced once.
fn space(work: &mut Work, layer: &Layer<'_>, plan: &LinePlan, kernel_rows: usize, stride: usize) {
    let Op::Conv2d { window, .. } = layer.op else { return };
    let record = layer.input;
    let (channels, height) = (usize::from(record.channels), usize::from(layer.output.height));
    let [spacing, pixels] = places(plan);
    // From bytes, or from codes of four bits as they are stored.
    let (source, held) = if plan.nibbles { (pixels + SPACED_FROM_NIBBLES, 2) } else { (pixels, 1) };
    let row = usize::from(record.width) * channels;
    let mut next = 0;
    for first in (0..height).step_by(plan.lines.max(1)) {
        let lines = plan.lines.min(height - first);
        let start = first * stride;
        let end = (first + lines).saturating_sub(1) * stride + kernel_rows;
        for padded in start.max(next)..end {
            let y = padded.wrapping_sub(usize::from(window.padding[0]));
            let inside = y < usize::from(record.height);
            work.add("spaced rows", 1);
            work.add("spaced blocks", 2 * plan.blocks);
            work.add_for("spaced channels", [spacing, source], 2 * plan.blocks * channels);
            if (record.storage == Storage::Bits8 || plan.nibbles) && inside && plan.padded_bytes() * held == row {
                continue;
            }
            let copied = if inside { row } else { 0 };
            // Codes that stay as they are stored are bytes of two.
            let unpacked = if plan.nibbles { 8 } else { stored(record) };
            work.add_for("padded rows", [0, unpacked], usize::from(inside));
            work.add_for("padded codes", [0, unpacked], copied / held);
            work.add("filled codes", plan.padded_bytes() - (copied / held).min(plan.padded_bytes()));
        }
        next = end;
    }
}
