//! Residual add: bytes and halves of bytes where they lie, other codes some pixels at a time.
//!
//! A residual stream of 4 bits takes bytes in and stays one of 4 bits; so that has a loop of its own, too.

use releq_format::bits::BitWidth;
use releq_format::graph::{KernelHint, Op, Storage, TensorRecord};
use releq_format::quant::AddScale;

use super::plan::AddPlan;
use super::{asm, finish};
use crate::kernels::{Kernel, Task, reference};
use crate::tensor::Input;

/// Residual add, codes of any storage.
pub const ADD: Kernel = Kernel { name: "dsp::ADD", family: KernelHint::DSP, supports, scratch_bytes, run: add };

fn supports(op: &Op, input: &TensorRecord, output: &TensorRecord) -> bool {
    matches!(op, Op::Add { .. }) && AddPlan::new(input, output).is_some()
}

fn scratch_bytes(_: &Op, input: &TensorRecord, output: &TensorRecord) -> u32 {
    AddPlan::new(input, output).and_then(|plan| plan.scratch_bytes()).unwrap_or(u32::MAX)
}

fn add(task: Task<'_>) {
    let Op::Add { scale } = task.op else { return };
    let storages = [task.input.record.storage, task.other.record.storage, task.output_record.storage];
    if storages == [Storage::Bits8; 3] && task.output_record.bits == BitWidth::EIGHT {
        let left = left(&task);
        return asm::add_bytes(task.output, left, task.other.bytes, scale);
    }
    narrow(task, scale, storages);
}

/// The left operand's bytes; `None` in place, where the output holds them.
#[inline]
fn left<'a>(task: &Task<'a>) -> Option<&'a [u8]> {
    Some(task.input.bytes).filter(|left| !left.is_empty())
}

#[inline(never)]
fn narrow(task: Task<'_>, scale: &AddScale, storages: [Storage; 3]) {
    let TensorRecord { bits, channels, .. } = task.output_record;
    let gapless = storages == [Storage::Bits4; 3] && bits.get() == 4 && channels.is_multiple_of(2);
    let left = left(&task);
    if gapless && asm::add_nibbles(task.output, left, task.other.bytes, scale) {
        return;
    }
    if AddPlan::narrows(storages, &task.output_record) {
        let other = task.other.bytes;
        let done = match storages[0] {
            Storage::Bits8 => asm::add_narrowed(task.output, task.input.bytes, Some(other), scale),
            _ => asm::add_narrowed(task.output, other, left, &swapped(scale)),
        };
        if done > 0 {
            return;
        }
    }
    match AddPlan::new(&task.input.record, &task.output_record) {
        Some(plan) if plan.pixels > 0 => unpacked(task, scale, &plan),
        // Only the right operand is packed, and nothing was reserved for it.
        _ => (reference::ADD.run)(task),
    }
}

/// The same of operands that change places.
fn swapped(scale: &AddScale) -> AddScale {
    let [first, second] = scale.multipliers;
    AddScale { multipliers: [second, first], ..*scale }
}

/// Adds codes that are unpacked before and packed after.
#[inline(never)]
fn unpacked(task: Task<'_>, scale: &AddScale, plan: &AddPlan) {
    let record = task.output_record;
    let (channels, width) = (usize::from(record.channels), usize::from(record.width));
    let pixel_bytes = record.pixel_bytes() as usize;
    let Some((left, right)) = task.scratch.split_at_mut_checked(plan.row_bytes()) else { return };
    for y in 0..usize::from(record.height) {
        for x in (0..width).step_by(plan.pixels.max(1)) {
            let count = plan.pixels.min(width - x);
            let (Some(left), Some(right)) = (left.get_mut(..count * channels), right.get_mut(..count * channels))
            else {
                return;
            };
            match task.input.bytes.is_empty() {
                true => Input { record: task.input.record, bytes: task.output }.unpack(y, x, left),
                false => task.input.unpack(y, x, left),
            }
            task.other.unpack(y, x, right);
            asm::add_bytes(left, None, right, scale);
            let start = (y * width + x) * pixel_bytes;
            let output = task.output.get_mut(start..).and_then(|rest| rest.get_mut(..count * pixel_bytes));
            finish::write(&record, output.unwrap_or(&mut []), left, channels);
        }
    }
}
