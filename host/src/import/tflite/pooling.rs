//! TFLite operators that slide a window or average, and the window itself.

use super::operator::Call;
use super::walk::{Activation, Form, Translated, Walk};
use crate::import::ImportError;
use crate::import::pooling::same;
use crate::network::{Op, Window};

/// The window of an operator over `input` of `[c, h, w]`, with the zeros that a PAD before it left to be taken.
pub(super) fn window(
    call: Call<'_>,
    input: Activation,
    [_, high, wide]: [usize; 3],
    kernel: [usize; 2],
) -> Result<Window, ImportError> {
    let options = call.options();
    // Pools have no dilation, and their table leaves it at 0.
    if !options.dilation.iter().all(|gap| (0..=1).contains(gap)) {
        let [down, right] = options.dilation;
        return Err(
            call.refuse(format!("its dilation is {down}×{right}"), "use dilation 1; releq has no kernel with gaps")
        );
    }
    let stride = call.sizes("stride", options.stride)?;
    if kernel.contains(&0) {
        return Err(call.broken("its kernel has no elements"));
    }
    let [top, left, bottom, right] = input.padding;
    let own = match options.padding {
        0 => same([high + top + bottom, wide + left + right], kernel, stride, false),
        1 => [0; 4],
        other => return Err(call.broken(format!("its padding is number {other} of a list of two"))),
    };
    let padding = std::array::from_fn(|side| own[side] + input.padding[side]);
    Ok(Window { kernel, stride, padding })
}

fn pool_window<'a>(walk: &Walk<'a>, call: Call<'a>) -> Result<(Activation, Window), ImportError> {
    let (input, shape) = walk.map(call, 0)?;
    let filter = call.sizes("filter", call.options().filter)?;
    Ok((input, window(call, input, shape, filter)?))
}

pub(super) fn max<'a>(walk: &mut Walk<'a>, call: Call<'a>) -> Translated {
    let (input, window) = pool_window(walk, call)?;
    if input.padding != [0; 4] {
        return Err(call.refuse("zeros of a PAD take part in its maximum", "let the pool itself pad (SAME)"));
    }
    let source = walk.push(call, "maxpool", Op::MaxPool { window }, vec![input.source], Vec::new())?;
    super::layers::activated(walk, call, Activation { source, form: Form::Image, padding: [0; 4] })
}

pub(super) fn average<'a>(walk: &mut Walk<'a>, call: Call<'a>) -> Translated {
    let (input, window) = pool_window(walk, call)?;
    // Zeros of a PAD count in the mean, as the network's own padding does; those of SAME do not.
    if window.padding != input.padding {
        return Err(call.refuse(
            "its SAME padding is left out of the mean",
            "use VALID padding, after a PAD or over an image that the windows fit",
        ));
    }
    let source = walk.push(call, "avgpool", Op::AvgPool { window }, vec![input.source], Vec::new())?;
    super::layers::activated(walk, call, Activation { source, form: Form::Image, padding: [0; 4] })
}

/// The mean over height and width.
pub(super) fn mean<'a>(walk: &mut Walk<'a>, call: Call<'a>) -> Translated {
    let input = walk.activation(call, 0)?;
    let axes = walk.ints(call, 1)?;
    let mut sorted: Vec<i32> = axes.iter().map(|&axis| if axis < 0 { axis.saturating_add(4) } else { axis }).collect();
    sorted.sort_unstable();
    if sorted != [1, 2] || input.form != Form::Image {
        return Err(
            call.refuse(format!("it averages over axes {axes:?}"), "average over height and width, axes 1 and 2")
        );
    }
    let form = if call.options().keep_dims { Form::Image } else { Form::Features(None) };
    let source = walk.push(call, "gap", Op::GlobalAvgPool, vec![input.source], Vec::new())?;
    Ok(Activation { source, form, padding: [0; 4] })
}
