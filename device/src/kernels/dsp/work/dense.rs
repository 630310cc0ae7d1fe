//! Fully connected layers: what is widened once, and the turns of every pair of rows.

use releq_format::graph::Storage;
use releq_format::pack::Layout;
use releq_format::quant::end_terms;

use super::{Layer, are_bytes, pack, unpack};
use crate::kernels::dsp::plan::{DensePlan, QUAD};
use crate::kernels::work::Work;

/// Columns of a turn over ends.
const GROUP: usize = 16;

/// The work of a dense layer; `None` without a plan.
pub(super) fn of(layer: &Layer<'_>) -> Option<Work> {
    DensePlan::new(layer.op, layer.input, layer.output)?;
    let matrix = layer.op.matrix(layer.input, layer.output)?;
    let (columns, pairs) = (matrix.columns as usize, (matrix.rows as usize).div_ceil(2));
    let ends = matrix.layout == Layout::Ends;
    let mut work = Work::new("dsp::DENSE", if ends { "ends" } else { "lanes" });
    for _ in 0..layer.input.height {
        unpack(&mut work, layer.input, usize::from(layer.input.width));
    }
    work.add("widened quads", columns.div_ceil(QUAD));
    if ends {
        let (bits, terms) = (matrix.bits.get(), end_terms(matrix.bits, layer.input.bits));
        let turns = columns.div_ceil(GROUP);
        // Loops of their own, by how often they empty sums.
        let name = match terms {
            0..16 => "turns emptied within",
            16..64 => "turns emptied each",
            _ => "turns",
        };
        work.add("pairs of rows", pairs);
        work.add_for(name, [bits, 0], pairs * turns);
    } else {
        work.add("cleared sums", pairs);
        for plane in matrix.planes() {
            let columns_of_turn = if plane.width == 1 { 16 } else { 8 };
            work.add("pairs of rows", pairs);
            work.add_for("turns", [plane.width, 0], pairs * columns.div_ceil(columns_of_turn));
        }
    }
    if layer.output.storage == Storage::Logits {
        work.add("logits", matrix.rows as usize);
        return Some(work);
    }
    work.add("settled pairs", pairs);
    if !(are_bytes(layer.output) && matrix.rows.is_multiple_of(2)) {
        pack(&mut work, layer.output, 1, 2 * pairs);
    }
    Some(work)
}
