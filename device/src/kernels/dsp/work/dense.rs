//! Fully connected layers: what is widened once, and the turns of every pair of rows.

use releq_format::graph::Storage;
use releq_format::pack::{Layout, Matrix};
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
        work.add_for("pairs of rows", [bits, 0], pairs);
        work.add_for(name, [bits, 0], pairs * turns);
        // Four copies of a turn are a round.
        work.add("rounds", pairs * turns.div_ceil(4));
        // Groups of the last pairs may lack words; these pairs are copied, and called for one by one.
        let one_pair = Matrix { rows: 2, ..matrix };
        let (stride, bytes) = (one_pair.bytes().unwrap_or(0) as usize, 4 * turns * usize::from(bits));
        let section = matrix.bytes().unwrap_or(0) as usize;
        let ready = section.checked_sub(bytes).map_or(0, |last| last / stride.max(1) + 1).min(pairs);
        work.add("copied pairs", pairs - ready);
        work.add("bytes of copied pairs", (pairs - ready) * bytes);
    } else {
        work.add("cleared sums", pairs);
        for plane in matrix.planes() {
            let columns_of_turn = if plane.width == 1 { 16 } else { 8 };
            let turns = columns.div_ceil(columns_of_turn);
            work.add("pairs of rows", pairs);
            work.add_for("turns", [plane.width, 0], pairs * turns);
            work.add("rounds", pairs * turns.div_ceil(4));
            // The last pair's words are copied where its last turn reads beyond them.
            let words = matrix.plane_words(plane) as usize;
            if turns * columns_of_turn * usize::from(plane.width) / 4 > 4 * words {
                let rest = (2 * columns.next_multiple_of(16)).max(2 * pairs);
                work.add("planes of copied pairs", 1);
                work.add("cleared bytes", rest.next_multiple_of(4));
                work.add("bytes of copied pairs", 4 * words);
            }
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
