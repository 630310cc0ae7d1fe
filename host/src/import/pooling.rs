//! ONNX operators that slide a window or average, and the window itself.

use super::ImportError;
use super::call::Call;
use super::walk::{Value, Walk};
use crate::network::{Op, Window};

type Translated<'a> = Result<Value<'a>, ImportError>;

/// The window of a convolution or pooling over an image of `size` (height, width).
pub(super) fn window(call: Call<'_>, size: [usize; 2], kernel: [usize; 2]) -> Result<Window, ImportError> {
    if call.sizes("dilations", [1, 1])? != [1, 1] {
        return Err(call.refuse(
            format!("its dilations are {:?}", call.ints("dilations").unwrap_or_default()),
            "use dilation 1; releq has no kernel with gaps",
        ));
    }
    let stride = call.sizes("strides", [1, 1])?;
    if stride.contains(&0) || kernel.contains(&0) {
        return Err(call.broken("its kernel or stride is zero"));
    }
    let padding = match call.text("auto_pad", "NOTSET") {
        "NOTSET" | "" => call.sizes("pads", [0; 4])?,
        "VALID" => [0; 4],
        "SAME_UPPER" => same(size, kernel, stride, false),
        "SAME_LOWER" => same(size, kernel, stride, true),
        other => return Err(call.broken(format!("its auto_pad is `{other}`"))),
    };
    Ok(Window { kernel, stride, padding })
}

/// Padding that makes the output `ceil(size / stride)`; an odd rest goes after the image, or before it for `lower`.
pub(super) fn same(size: [usize; 2], kernel: [usize; 2], stride: [usize; 2], lower: bool) -> [usize; 4] {
    let [high, wide] = [0, 1].map(|axis| {
        let steps = size[axis].div_ceil(stride[axis]);
        let total = ((steps - 1) * stride[axis] + kernel[axis]).saturating_sub(size[axis]);
        if lower { [total.div_ceil(2), total / 2] } else { [total / 2, total.div_ceil(2)] }
    });
    [high[0], wide[0], high[1], wide[1]]
}

/// The window of a pooling; rounding up is refused where it would add an output.
fn pool_window(call: Call<'_>, shape: [usize; 3]) -> Result<Window, ImportError> {
    let kernel = match call.attribute("kernel_shape") {
        Some(_) => call.sizes("kernel_shape", [0, 0])?,
        None => return Err(call.broken("it lacks its kernel_shape")),
    };
    let window = window(call, [shape[1], shape[2]], kernel)?;
    let [top, left, bottom, right] = window.padding;
    let spans = [shape[1] + top + bottom, shape[2] + left + right];
    let rest = |axis: usize| spans[axis].saturating_sub(kernel[axis]) % window.stride[axis];
    if call.int("ceil_mode", 0) != 0 && (rest(0) != 0 || rest(1) != 0) {
        return Err(call.refuse(
            format!("it rounds its output size up over a {}×{} image", shape[1], shape[2]),
            "export it with ceil_mode=False, or pad so that the windows fit",
        ));
    }
    Ok(window)
}

pub(super) fn max<'a>(walk: &mut Walk<'a>, call: Call<'a>) -> Translated<'a> {
    // `storage_order` only orders the indices, a second output that is refused.
    call.only(&["auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "storage_order", "strides"])?;
    let (input, shape) = walk.map(call, 0)?;
    let window = pool_window(call, shape)?;
    walk.push(call, "maxpool", Op::MaxPool { window }, vec![input.source], Vec::new(), false)
}

pub(super) fn average<'a>(walk: &mut Walk<'a>, call: Call<'a>) -> Translated<'a> {
    call.only(&["auto_pad", "ceil_mode", "count_include_pad", "dilations", "kernel_shape", "pads", "strides"])?;
    let (input, shape) = walk.map(call, 0)?;
    let window = pool_window(call, shape)?;
    if call.int("count_include_pad", 0) == 0 && window.padding != [0; 4] {
        return Err(
            call.refuse("it pads and leaves the padding out of the mean", "use count_include_pad=True, or no padding")
        );
    }
    walk.push(call, "avgpool", Op::AvgPool { window }, vec![input.source], Vec::new(), false)
}

pub(super) fn global<'a>(walk: &mut Walk<'a>, call: Call<'a>) -> Translated<'a> {
    call.only(&[])?;
    let (input, _) = walk.map(call, 0)?;
    walk.push(call, "gap", Op::GlobalAvgPool, vec![input.source], Vec::new(), false)
}

/// The mean over height and width; axes are an attribute before opset 18 and an input from then on.
pub(super) fn reduce_mean<'a>(walk: &mut Walk<'a>, call: Call<'a>) -> Translated<'a> {
    call.only(&["axes", "keepdims", "noop_with_empty_axes"])?;
    let (input, _) = walk.map(call, 0)?;
    let axes = match call.input(1) {
        Some(_) => walk.ints(call, 1)?,
        None => call.ints("axes").unwrap_or_default().to_vec(),
    };
    let mut sorted: Vec<i64> = axes.iter().map(|&axis| if axis < 0 { axis + 4 } else { axis }).collect();
    sorted.sort_unstable();
    if sorted != [2, 3] {
        return Err(
            call.refuse(format!("it averages over axes {axes:?}"), "average over height and width, axes 2 and 3")
        );
    }
    let flat = call.int("keepdims", 1) == 0;
    walk.push(call, "gap", Op::GlobalAvgPool, vec![input.source], Vec::new(), flat)
}
