//! Channels side by side: the bytes of one pixel after those of another, shifted where they do not meet at a byte.

use releq_format::graph::Op;

use super::{Kernel, Task, kernel};
use crate::tensor;

/// Concatenation of channels; codes are copied as they lie.
pub const CONCAT: Kernel = kernel("packed::CONCAT", |op, _, _| matches!(op, Op::Concat), |_, _, _| 0, concat);

fn concat(task: Task<'_>) {
    let [left, right, whole] =
        [&task.input.record, &task.other.record, &task.output_record].map(|record| record.pixel_bytes() as usize);
    let pairs = task.input.bytes.chunks_exact(left.max(1)).zip(task.other.bytes.chunks_exact(right.max(1)));
    let pixels = task.output.chunks_exact_mut(whole.max(1)).zip(pairs);
    let used = u32::from(task.input.record.channels).wrapping_mul(task.input.record.storage.bits()) & 7;
    if used == 0 {
        for (pixel, (left, right)) in pixels {
            let Some((first, rest)) = pixel.split_at_mut_checked(left.len()) else { return };
            tensor::copy(first, left);
            tensor::copy(rest, right);
        }
        return;
    }
    for (pixel, (left, right)) in pixels {
        join(pixel, left, right, used);
    }
}

/// Writes `left`, whose last byte has `used` bits and zeros above, and then the fields of `right`.
fn join(pixel: &mut [u8], left: &[u8], right: &[u8], used: u32) {
    let Some((first, rest)) = pixel.split_at_mut_checked(left.len()) else { return };
    tensor::copy(first, left);
    let mut shifted = 0u8;
    if let (Some(last), Some(&next)) = (first.last_mut(), right.first()) {
        *last |= next << used;
        shifted = next >> (8u32.wrapping_sub(used) & 7);
    }
    // The last byte of the right may end in the one before.
    let following = right.iter().skip(1).copied().chain(core::iter::once(0));
    for (byte, next) in rest.iter_mut().zip(following) {
        *byte = shifted | next << used;
        shifted = next >> (8u32.wrapping_sub(used) & 7);
    }
}
