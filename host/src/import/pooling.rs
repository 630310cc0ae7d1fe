//! ONNX operators that slide a window or average, and the window itself.

use super::ImportError;
use super::call::Call;
use super::walk::{Activation, Form, Value, Walk};
use crate::network::{Op, Source, Window};

type Translated<'a> = Result<Value<'a>, ImportError>;

/// The window of a convolution or pooling over an image of `size` (height, width), its padding before it included.
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

/// An image's shape with `padding` (top, left, bottom, right) around it.
pub(super) fn grown([channels, height, width]: [usize; 3], padding: [usize; 4]) -> [usize; 3] {
    [channels, height + padding[0] + padding[2], width + padding[1] + padding[3]]
}

/// `window` with the padding of a node before it added to its own.
pub(super) fn widened(mut window: Window, padding: [usize; 4]) -> Window {
    window.padding.iter_mut().zip(padding).for_each(|(own, more)| *own += more);
    window
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
    let (input, shape) = walk.padded_map(call, 0)?;
    let window = pool_window(call, grown(shape, input.padding))?;
    if input.padding != [0; 4] && !walk.is_rectified(input) {
        return Err(call.refuse("zeros pad an image that may be negative", "pad inside the pooling, or after a ReLU"));
    }
    let window = widened(window, input.padding);
    walk.push(call, "maxpool", Op::MaxPool { window }, vec![input.source], Vec::new(), Form::Image)
}

pub(super) fn average<'a>(walk: &mut Walk<'a>, call: Call<'a>) -> Translated<'a> {
    call.only(&["auto_pad", "ceil_mode", "count_include_pad", "dilations", "kernel_shape", "pads", "strides"])?;
    let (input, shape) = walk.padded_map(call, 0)?;
    let window = pool_window(call, grown(shape, input.padding))?;
    if call.int("count_include_pad", 0) == 0 && window.padding != [0; 4] {
        return Err(
            call.refuse("it pads and leaves the padding out of the mean", "use count_include_pad=True, or no padding")
        );
    }
    // Zeros of a Pad before it are pixels like others: they count.
    let window = widened(window, input.padding);
    walk.push(call, "avgpool", Op::AvgPool { window }, vec![input.source], Vec::new(), Form::Image)
}

pub(super) fn global<'a>(walk: &mut Walk<'a>, call: Call<'a>) -> Translated<'a> {
    call.only(&[])?;
    let (input, [_, height, width]) = walk.map(call, 0)?;
    if call.op() == "GlobalMaxPool" {
        let window = Window { kernel: [height, width], stride: [1; 2], padding: [0; 4] };
        return walk.push(call, "maxpool", Op::MaxPool { window }, vec![input.source], Vec::new(), Form::Image);
    }
    walk.push(call, "gap", Op::GlobalAvgPool, vec![input.source], Vec::new(), Form::Image)
}

/// The mean over height, width or both; axes are an attribute before opset 18 and an input from then on.
pub(super) fn reduce_mean<'a>(walk: &mut Walk<'a>, call: Call<'a>) -> Translated<'a> {
    call.only(&["axes", "keepdims", "noop_with_empty_axes"])?;
    let input = walk.activation(call, 0)?;
    let rank = walk.sizes(input).len();
    let axes = match call.input(1) {
        Some(_) => walk.ints(call, 1)?,
        None => call.ints("axes").unwrap_or_default().to_vec(),
    };
    let sides =
        axes.iter().map(|&axis| Ok(side(walk, input, call.axis(axis, rank)?))).collect::<Result<Vec<_>, _>>()?;
    let keeps = call.int("keepdims", 1) != 0;
    match (&sides[..], input.form) {
        ([Some(a), Some(b)], form) if a != b => {
            let form = if keeps { form } else { Form::Flat };
            walk.push(call, "gap", Op::GlobalAvgPool, vec![input.source], Vec::new(), form)
        }
        (&[Some(side)], form) => {
            let form = match form {
                form if keeps => form,
                Form::Image => Form::Line { channels_last: false },
                Form::ChannelsLast => Form::Line { channels_last: true },
                _ => Form::Flat,
            };
            over_side(walk, call, input, side, form)
        }
        _ => Err(call.refuse(format!("it averages over axes {axes:?}"), "average over height and width, axes 2 and 3")),
    }
}

/// 0 where an axis of `input` is its height, 1 where it is its width.
fn side(walk: &Walk<'_>, input: Activation, axis: usize) -> Option<usize> {
    match (input.form, axis) {
        (Form::Image, 2 | 3) => Some(axis - 2),
        (Form::ChannelsLast, 1 | 2) => Some(axis - 1),
        // The axis that is left is the one that is longer than 1.
        (Form::Line { channels_last: true }, 1) | (Form::Line { channels_last: false }, 2) => {
            Some(usize::from(walk.shape(input)[1] == 1))
        }
        _ => None,
    }
}

/// The mean over height or width; a second one over what the first left makes it a mean over both.
fn over_side<'a>(walk: &mut Walk<'a>, call: Call<'a>, input: Activation, side: usize, form: Form) -> Translated<'a> {
    let size = walk.shape(input)[1 + side];
    if size == 1 {
        return walk.renamed(call, input, form);
    }
    let strip = |side: usize, size: usize| {
        let mut kernel = [1; 2];
        kernel[side] = size;
        Window { kernel, stride: [1; 2], padding: [0; 4] }
    };
    if let (Source::Node(index), false) = (input.source, input.shared) {
        let node = &walk.network.graph.nodes[index];
        let other = |window: &Window| {
            let before = walk.shape(Activation { source: node.inputs[0], ..input });
            *window == strip(1 - side, before[2 - side])
        };
        if matches!(&node.op, Op::AvgPool { window } if other(window)) {
            walk.replace(call, index, Op::GlobalAvgPool)?;
            return walk.renamed(call, input, form);
        }
    }
    let op = Op::AvgPool { window: strip(side, size) };
    walk.push(call, "avgpool", op, vec![input.source], Vec::new(), form)
}
