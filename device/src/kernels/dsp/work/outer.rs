//! 1 × 1 convolution by outer products: what is spaced, coupled and multiplied.

use releq_format::graph::Op;

use super::{Layer, expand, stored};
use crate::kernels::dsp::plan::OuterPlan;
use crate::kernels::work::Work;

/// Rows that are multiplied at a time.
const ROWS: usize = 4;

/// The work of a convolution that has a plan.
pub(super) fn of(layer: &Layer<'_>, plan: &OuterPlan) -> Option<Work> {
    let Op::Conv2d { weights, .. } = layer.op else { return None };
    let matrix = layer.op.matrix(layer.input, layer.output)?;
    let mut work = Work::new("dsp::CONV2D", "outer products");
    let (channels, pixels) = (usize::from(layer.input.channels), layer.output.pixels() as usize);
    let rows = usize::from(layer.output.channels).div_ceil(ROWS);
    let (from, to) = (stored(layer.input), stored(layer.output));
    let group = plan.group as u8;
    let block = 2 * plan.group;
    let words = channels * usize::from(from) / 32;
    // What Σ a takes off lies within sums, or beside them where steps are two.
    let step = weights.levels.affine(weights.bits).0 as u8;
    let coupled = [if plan.expands { 8 } else { weights.bits.get() }, group];
    let mut done = 0;
    while done < pixels {
        let count = (plan.blocks * block).min(pixels - done);
        let (whole, tail) = (count / block, usize::from(!count.is_multiple_of(block)));
        let groups = count.div_ceil(plan.group);
        work.add_for("spaced groups", [step, group], groups);
        work.add_for("spaced words", [from, group], groups * words);
        if plan.expands {
            expand(&mut work, &matrix, channels / 4, false, 2 * rows);
        }
        work.add_for("coupled fours", coupled, rows);
        work.add_for("coupled columns", coupled, rows * channels);
        work.add("calls", rows * (1 + tail));
        work.add_for("blocks", [step, group], rows * (whole + tail));
        work.add_for("stored blocks", [0, to], rows * (whole + tail));
        work.add_for("products", [0, group], rows * (whole + tail) * channels);
        work.add("copied bytes", (count - whole * block) * layer.output.pixel_bytes() as usize);
        done += count;
    }
    Some(work)
}
