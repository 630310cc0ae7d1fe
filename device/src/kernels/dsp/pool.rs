//! Max pooling of bytes: four pixels of a window at a time, over whole rows of outputs.

use core::ops::Range;

use releq_format::graph::{KernelHint, Op, TensorRecord};

use super::asm;
use crate::kernels::{Kernel, Task};

/// Maximum over windows of byte codes.
pub const MAXPOOL: Kernel =
    Kernel { name: "dsp::MAXPOOL", family: KernelHint::DSP, supports, scratch_bytes: |_, _, _| 0, run: maxpool };

fn supports(op: &Op, input: &TensorRecord, output: &TensorRecord) -> bool {
    matches!(op, Op::MaxPool { .. }) && super::plan::pools(input, output)
}

fn maxpool(task: Task<'_>) {
    let Op::MaxPool { window } = task.op else { return };
    let (input, output) = (&task.input.record, &task.output_record);
    let channels = usize::from(input.channels);
    let row_bytes = usize::from(output.width).wrapping_mul(channels).max(1);
    let [top, left, ..] = window.padding.map(usize::from);
    let columns = Side {
        stride: usize::from(window.stride[1]),
        padding: left,
        kernel: usize::from(window.kernel[1]),
        size: usize::from(input.width),
    };
    let rows = Side {
        stride: usize::from(window.stride[0]),
        padding: top,
        kernel: usize::from(window.kernel[0]),
        size: usize::from(input.height),
    };
    let whole = columns.whole(usize::from(output.width));
    for (y, out) in task.output.chunks_exact_mut(row_bytes).enumerate() {
        let pool = Pool { input: task.input.bytes, width: usize::from(input.width), channels, rows: rows.inside(y) };
        let mut x = 0;
        // Windows that hang over the edges one by one, all others of the row at once.
        while x < usize::from(output.width) {
            let count = if whole.contains(&x) { whole.end - x } else { 1 };
            let out = out.get_mut(x * channels..).unwrap_or(&mut []);
            pool.run(out, columns.inside(x), count, columns.stride);
            x += count;
        }
    }
}

/// Windows along one side of the input.
#[derive(Clone, Copy)]
struct Side {
    stride: usize,
    padding: usize,
    kernel: usize,
    size: usize,
}

impl Side {
    /// The positions under the window of output `at` that lie inside.
    fn inside(&self, at: usize) -> Range<usize> {
        let start = at.wrapping_mul(self.stride);
        let end = start.wrapping_add(self.kernel).saturating_sub(self.padding).min(self.size);
        start.saturating_sub(self.padding)..end
    }

    /// The outputs out of `count` whose windows lie inside altogether.
    fn whole(&self, count: usize) -> Range<usize> {
        let is_whole = |at: &usize| self.inside(*at).len() == self.kernel;
        let first = (0..count).find(is_whole).unwrap_or(count);
        let end = (first..count).find(|at| !is_whole(at)).unwrap_or(count);
        first..end
    }
}

/// One row of outputs.
struct Pool<'a> {
    input: &'a [u8],
    width: usize,
    channels: usize,
    /// Input rows under it.
    rows: Range<usize>,
}

impl Pool<'_> {
    /// `count` outputs, the first of which covers `columns`, in batches of four pixels, the last filled up.
    fn run(&self, out: &mut [u8], columns: Range<usize>, count: usize, stride: usize) {
        let (mut y, mut x) = (self.rows.start, columns.start);
        let mut next = || {
            let start =
                (y < self.rows.end).then(|| y.wrapping_mul(self.width).wrapping_add(x).wrapping_mul(self.channels));
            x += 1;
            if x >= columns.end {
                (x, y) = (columns.start, y + 1);
            }
            start
        };
        let (bytes, step) = (self.channels, stride.wrapping_mul(self.channels));
        let mut merge = false;
        while let Some(first) = next() {
            // From the second batch on, the output itself takes the first place.
            let mut from = [first; 4];
            for place in from.iter_mut().skip(if merge { 2 } else { 1 }) {
                *place = next().unwrap_or(first);
            }
            asm::max_four(out, self.input, from, bytes, count, step, merge);
            merge = true;
        }
    }
}
