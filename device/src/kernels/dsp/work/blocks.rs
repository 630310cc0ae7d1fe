//! Convolution in blocks of two rows × four pixels: what is gathered, expanded and multiplied.

use core::ops::Range;

use releq_format::graph::{Op, Storage, Window};
use releq_format::pack::{Layout, Matrix};
use releq_format::quant::end_terms;

use super::{Layer, are_bytes, expand, pack, stored, unpack};
use crate::kernels::dsp::column_plan::ColumnPlan;
use crate::kernels::dsp::plan::{BLOCK, ConvPlan, EXPANDED_PAIRS, QUAD};
use crate::kernels::work::Work;

/// Patches gathered a few at a time.
pub(super) fn of(layer: &Layer<'_>, plan: &ConvPlan) -> Option<Work> {
    let Op::Conv2d { window, .. } = layer.op else { return None };
    let matrix = layer.op.matrix(layer.input, layer.output)?;
    let ends = matrix.layout == Layout::Ends;
    let mut work = Work::new("dsp::CONV2D", if ends { "blocks of ends" } else { "blocks" });
    let pixel_bytes = layer.output.pixel_bytes() as usize;
    let in_place = are_bytes(layer.output) && pixel_bytes.is_multiple_of(2);
    let (pixels, mut rounds, mut turns) = (layer.output.pixels() as usize, 0, Turns::default());
    let mut walk = Walk::new(layer, window);
    while rounds * plan.pixels < pixels {
        let count = plan.pixels.min(pixels - rounds * plan.pixels);
        let direct = if in_place { count / BLOCK } else { 0 };
        let staged = count.div_ceil(BLOCK) - direct;
        turns.rounds += 1;
        turns.visits += usize::from(direct > 0) + usize::from(staged > 0);
        turns.blocks += direct + staged;
        gather(&mut work, layer, plan, &mut walk, count);
        if staged > 0 {
            pack(&mut work, layer.output, count - direct * BLOCK, plan.rows);
        }
        rounds += 1;
    }
    if plan.tabled {
        work.add("table entries", QUAD * plan.quads);
    }
    if ends {
        work.add("cleared words", plan.patch_bytes() / 4);
    }
    if layer.input.storage != Storage::Bits8 {
        for _ in 0..layer.input.height {
            unpack(&mut work, layer.input, usize::from(layer.input.width));
        }
    }
    multiply(&mut work, layer, &matrix, [plan.quads, plan.rows / 2], plan.expands, &turns);
    Some(work)
}

/// Columns of blocks whose patches share rows.
pub(super) fn in_columns(layer: &Layer<'_>, plan: &ColumnPlan) -> Option<Work> {
    let Op::Conv2d { window, .. } = layer.op else { return None };
    let matrix = layer.op.matrix(layer.input, layer.output)?;
    let mut work = Work::new("dsp::CONV2D", "columns");
    let [top, left, ..] = window.padding.map(usize::from);
    let [kernel_rows, kernel_columns] = window.kernel.map(usize::from);
    let [height, width] = [layer.input.height, layer.input.width].map(usize::from);
    let (channels, pixels) = (usize::from(layer.input.channels), BLOCK - 1 + kernel_columns);
    let mut turns = Turns::default();
    for y in (0..usize::from(layer.output.height)).step_by(plan.lines.max(1)) {
        let lines = plan.lines.min(usize::from(layer.output.height) - y);
        for x in (0..usize::from(layer.output.width)).step_by(BLOCK) {
            turns.rounds += 1;
            turns.visits += 1;
            turns.blocks += lines;
            for row in y..y + lines + kernel_rows - 1 {
                let (row, column) = (row.wrapping_sub(top), x.wrapping_sub(left));
                let whole = row < height && column < width && column + pixels <= width;
                work.add("widened rows", 1);
                work.add("widened quads", BLOCK / 2 * (plan.run / QUAD));
                if !whole {
                    let before = left.saturating_sub(x).min(pixels);
                    let count = (pixels - before).min(width.saturating_sub(x.saturating_sub(left)));
                    work.add("segments", 1);
                    work.add("segment codes", plan.segment);
                    work.add("copied codes", if row < height { count * channels } else { 0 });
                }
            }
            work.add("lines", lines);
            work.add("rows of lines", lines * kernel_rows);
        }
    }
    multiply(&mut work, layer, &matrix, [plan.quads, usize::from(layer.output.channels) / 2], plan.expands, &turns);
    Some(work)
}

/// How often all rows meet patches.
#[derive(Default)]
struct Turns {
    /// Times that rows are made ready.
    rounds: usize,
    /// Calls of the loop for each piece of rows.
    visits: usize,
    /// Blocks of pixels in all.
    blocks: usize,
}

/// All rows over all blocks, expanded for each round where they must be.
fn multiply(
    work: &mut Work,
    layer: &Layer<'_>,
    matrix: &Matrix,
    [quads, pairs]: [usize; 2],
    expands: bool,
    turns: &Turns,
) {
    let bits = matrix.bits.get();
    let odd = pairs - matrix.rows as usize / 2;
    if matrix.layout == Layout::Ends {
        let terms = end_terms(matrix.bits, layer.input.bits) / 16;
        // Groups of the last pairs may lack words; these pairs are copied, and called for one by one.
        let one_pair = Matrix { rows: 2, ..*matrix };
        let (stride, bytes) = (one_pair.bytes().unwrap_or(0) as usize, quads * usize::from(bits));
        let section = matrix.bytes().unwrap_or(0) as usize;
        let ready = section.checked_sub(bytes).map_or(0, |last| last / stride.max(1) + 1).min(pairs - odd);
        work.add("block calls", turns.visits * (1 + pairs - ready));
        work.add("copied pairs", turns.rounds * (pairs - ready));
        work.add("bytes of copied pairs", turns.rounds * (pairs - ready) * bytes);
        work.add_for("block pairs", [bits, 0], turns.blocks * pairs);
        let groups = quads / 4;
        let name = if terms == 1 { "turns emptied each" } else { "turns" };
        work.add_for(name, [bits, 0], turns.blocks * pairs * groups);
        if terms > 1 {
            work.add_for("emptyings", [bits, 0], turns.blocks * pairs * groups.div_ceil(terms));
        }
        return;
    }
    work.add("block pairs", turns.blocks * pairs);
    work.add("block turns", turns.blocks * pairs * quads);
    if expands {
        work.add("block calls", turns.visits * (pairs.div_ceil(EXPANDED_PAIRS) + odd));
        // Steps of two are doubled on the way.
        let doubled = matrix.levels.affine(matrix.bits).0 == 2;
        work.add("expanded pairs", turns.rounds * pairs);
        expand(work, matrix, quads, doubled, turns.rounds * pairs);
        // Doubled codes of seven bits fill a lane, whose sign is then flipped.
        let flipped = if doubled && bits == 7 { 2 * quads } else { 0 };
        work.add("flipped words", turns.rounds * pairs * flipped);
    } else {
        work.add("block calls", turns.visits * (1 + odd));
    }
}

/// The next `count` pixels' patches, two at a time.
fn gather(work: &mut Work, layer: &Layer<'_>, plan: &ConvPlan, walk: &mut Walk, count: usize) {
    let channels = usize::from(layer.input.channels);
    let run = walk.kernel[1] * channels;
    let words = run.is_multiple_of(QUAD);
    let mut left = count;
    while left > 0 {
        if left > 1 && walk.both_inside() && (plan.tabled || words) {
            walk.next();
            walk.next();
            whole_pair(work, plan, walk, run, "pairs in a line");
            left -= 2;
            continue;
        }
        let first = walk.next();
        let second = if left > 1 { walk.next() } else { first };
        left = left.saturating_sub(2);
        let all_whole = [first, second].iter().all(|inside| *inside == walk.kernel);
        if all_whole && (plan.tabled || words) {
            whole_pair(work, plan, walk, run, "pairs apart");
            continue;
        }
        work.add("assembled pairs", 1);
        work.add("assembled quads", plan.quads);
        for [rows, columns] in [first, second] {
            work.add_for("copied rows", [0, stored(layer.input)], rows);
            work.add("copied codes", rows * columns * channels);
            if [rows, columns] != walk.kernel {
                work.add("filled codes", run * walk.kernel[0]);
            }
        }
    }
}

fn whole_pair(work: &mut Work, plan: &ConvPlan, walk: &Walk, run: usize, name: &'static str) {
    work.add(name, 1);
    if plan.tabled {
        work.add("fetched quads", plan.quads);
    } else {
        work.add("widened rows", walk.kernel[0]);
        work.add("widened quads", walk.kernel[0] * (run / QUAD));
    }
}

/// Walks over output pixels as gathering does.
struct Walk {
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    size: [usize; 2],
    /// Outputs whose windows lie inside bytes altogether.
    whole: [Range<usize>; 2],
    width: usize,
    y: usize,
    x: usize,
}

impl Walk {
    fn new(layer: &Layer<'_>, window: &Window) -> Self {
        let [kernel, stride] = [window.kernel, window.stride].map(|pair| pair.map(usize::from));
        let padding = [usize::from(window.padding[0]), usize::from(window.padding[1])];
        let size = [layer.input.height, layer.input.width].map(usize::from);
        let whole = [0, 1].map(|side| {
            let end = (size[side] + padding[side]).checked_sub(kernel[side]).map_or(0, |last| last / stride[side] + 1);
            if layer.input.storage == Storage::Bits8 { padding[side].div_ceil(stride[side])..end } else { 0..0 }
        });
        Self { kernel, stride, padding, size, whole, width: usize::from(layer.output.width), y: 0, x: 0 }
    }

    /// Whether the next two pixels' windows lie whole in one line.
    fn both_inside(&self) -> bool {
        let [rows, columns] = &self.whole;
        rows.contains(&self.y) && self.x >= columns.start && self.x + 1 < columns.end
    }

    /// Rows and columns of the next window that lie inside.
    fn next(&mut self) -> [usize; 2] {
        let at = [self.y, self.x];
        let inside = [0, 1].map(|side| {
            let start = at[side] * self.stride[side];
            let before = self.padding[side].saturating_sub(start);
            let first = start.saturating_sub(self.padding[side]);
            self.kernel[side].saturating_sub(before).min(self.size[side].saturating_sub(first))
        });
        self.x += 1;
        if self.x >= self.width {
            (self.y, self.x) = (self.y + 1, 0);
        }
        inside
    }
}
