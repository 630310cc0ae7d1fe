//! Pooling: all windows that lie inside at once, then those at the edges.

use releq_format::graph::{KernelHint, Op, Storage, TensorRecord};

use super::asm::average::{Inside, Scale};
use super::plan::AveragePlan;
use super::windows::Windows;
use super::{asm, finish};
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

/// Mean over windows, codes of any storage.
pub const AVGPOOL: Kernel = Kernel {
    name: "dsp::AVGPOOL",
    family: KernelHint::DSP,
    supports: |op, input, output| AveragePlan::new(op, input, output).is_some(),
    scratch_bytes: |op, input, output| {
        AveragePlan::new(op, input, output).and_then(|plan| plan.scratch_bytes()).unwrap_or(u32::MAX)
    },
    run: avgpool,
};

fn avgpool(task: Task<'_>) {
    let Op::AvgPool { window, shift, bias, multiplier } = *task.op else { return };
    let Some(plan) = AveragePlan::new(task.op, &task.input.record, &task.output_record) else { return };
    let record = TensorRecord { storage: Storage::Bits8, ..task.input.record };
    let windows = Windows::new(&record, &window, &task.output_record);
    let output = &task.output_record;
    let average = Average {
        taps: window.taps() as i32,
        padding: i32::from(record.zero_point),
        scale: Scale::new(bias, shift, multiplier, output.zero_point),
    };
    if plan.is_direct() {
        return average.run(&windows, task.input.bytes, task.output);
    }
    // A row of outputs at a time: the rows under it are unpacked, and it is packed.
    let Some((band, staging)) = task.scratch.split_at_mut_checked(plan.band) else { return };
    let Some(staging) = staging.get_mut(..plan.staging) else { return };
    let row_bytes = usize::from(output.width).wrapping_mul(output.pixel_bytes() as usize).max(1);
    for (y, row) in task.output.chunks_exact_mut(row_bytes).enumerate() {
        let (rows, above) = windows.of_row(y);
        let start = rows.start.wrapping_mul(windows.row);
        let under = if plan.band == 0 {
            task.input.bytes.get(start..).unwrap_or(&[])
        } else {
            for (codes, y) in band.chunks_exact_mut(windows.row.max(1)).zip(rows) {
                task.input.unpack(y, 0, codes);
            }
            &*band
        };
        if plan.staging == 0 {
            average.run(&above, under, row);
        } else {
            average.run(&above, under, staging);
            let used = staging.get(..usize::from(output.width).wrapping_mul(windows.pixel)).unwrap_or(&[]);
            finish::write(output, row, used, windows.pixel);
        }
    }
}

/// What all windows of an average share.
struct Average {
    taps: i32,
    /// What counts where a window hangs over the edge.
    padding: i32,
    scale: Scale,
}

impl Average {
    fn run(&self, windows: &Windows, input: &[u8], output: &mut [u8]) {
        windows.each(|area| {
            let [rows, columns] = area.inside.clone().map(|side| side.len());
            let Some(output) = output.get_mut(area.output..) else { return };
            let outside = self.taps.wrapping_sub(rows.wrapping_mul(columns) as i32);
            let scale = self.scale.raised(outside.wrapping_mul(self.padding));
            let mut places = area.places(windows);
            let fours = area.fours(windows, [(); 4].map(|()| places.next().unwrap_or(0)));
            if rows.wrapping_mul(columns) == 4 && asm::average::four(output, input, &fours, &scale) {
                return;
            }
            let [first, ..] = fours.from;
            for y in 0..fours.rows {
                for x in 0..fours.count {
                    let (down, across) = (y.wrapping_mul(fours.row_step), x.wrapping_mul(fours.step));
                    let from = first.wrapping_add(down).wrapping_add(across);
                    let inside = Inside { from, rows, columns, pixel: windows.pixel, row: windows.row };
                    let start = y.wrapping_mul(fours.output_row).wrapping_add(x.wrapping_mul(windows.pixel));
                    asm::average::window(output.get_mut(start..).unwrap_or(&mut []), input, &inside, &scale);
                }
            }
        });
    }
}
