//! im2col, one output pixel at a time: the input codes under a window, in weight-column order.

use releq_format::graph::Window;

use crate::tensor::{Input, copy};

/// Fills `patch` with the codes under `window` at output pixel (y, x), the zero point where it hangs over the edge.
pub(in crate::kernels) fn patch(input: &Input<'_>, window: &Window, y: usize, x: usize, patch: &mut [u8]) {
    let channels = usize::from(input.record.channels);
    let width = usize::from(window.kernel[1]);
    let row_codes = width.wrapping_mul(channels).max(1);
    let top = start(y, window.stride[0], window.padding[0]);
    let left = start(x, window.stride[1], window.padding[1]);
    // The part of a window row that lies inside: columns skip..skip + inside of it.
    let skip = left.min(0).unsigned_abs();
    let first = left.max(0) as usize;
    let inside = width.saturating_sub(skip).min(usize::from(input.record.width).saturating_sub(first));
    let (skip, inside) = (skip.wrapping_mul(channels), inside.wrapping_mul(channels));
    for (row, iy) in patch.chunks_exact_mut(row_codes).zip(top..) {
        if !(0..input.record.height as isize).contains(&iy) {
            row.fill(input.record.zero_point);
            continue;
        }
        if inside < row_codes {
            row.fill(input.record.zero_point);
        }
        let middle = row.get_mut(skip..).and_then(|row| row.get_mut(..inside)).unwrap_or(&mut []);
        input.unpack(iy as usize, first, middle);
    }
}

/// The whole input in storage order, for a dense layer.
pub(in crate::kernels) fn everything(input: &Input<'_>, patch: &mut [u8]) {
    use releq_format::graph::Storage;
    if input.record.storage == Storage::Bits8 {
        copy(patch, input.bytes);
        return;
    }
    let row = usize::from(input.record.width).wrapping_mul(usize::from(input.record.channels)).max(1);
    for (y, row) in patch.chunks_exact_mut(row).enumerate() {
        input.unpack(y, 0, row);
    }
}

/// First input position under a window.
fn start(output: usize, stride: u8, padding: u8) -> isize {
    (output.wrapping_mul(usize::from(stride)) as isize).wrapping_sub(isize::from(padding))
}
