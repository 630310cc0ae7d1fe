//! Max pooling: four pixels of a window at a time, over all windows that lie inside, then over those at the edges.

use releq_format::graph::{KernelHint, Op, TensorRecord};

use super::asm;
use super::windows::Windows;
use crate::kernels::{Kernel, Task};

/// Maximum over windows, codes of any storage.
pub const MAXPOOL: Kernel =
    Kernel { name: "dsp::MAXPOOL", family: KernelHint::DSP, supports, scratch_bytes: |_, _, _| 0, run: maxpool };

fn supports(op: &Op, input: &TensorRecord, output: &TensorRecord) -> bool {
    matches!(op, Op::MaxPool { .. }) && super::plan::pools(input, output)
}

fn maxpool(task: Task<'_>) {
    let Op::MaxPool { window } = task.op else { return };
    let windows = Windows::new(&task.input.record, window, &task.output_record);
    windows.each(|area| {
        let Some(output) = task.output.get_mut(area.output..) else { return };
        let mut places = area.places(&windows);
        let mut merge = false;
        while let Some(first) = places.next() {
            // From the second batch on, the output itself takes the first place.
            let mut from = [first; 4];
            for place in from.iter_mut().skip(if merge { 2 } else { 1 }) {
                *place = places.next().unwrap_or(first);
            }
            asm::max_four(output, task.input.bytes, &area.fours(&windows, from), task.input.record.storage, merge);
            merge = true;
        }
    });
}
