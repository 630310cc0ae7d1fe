//! ONNX operators that cut, pad and join images: they fold into shortcuts and into the windows of later layers.

use super::ImportError;
use super::call::Call;
use super::walk::{Activation, Form, Value, Walk};
use super::whole::{self, Cut};
use crate::network::{Op, Source};

type Translated<'a> = Result<Value<'a>, ImportError>;

/// No padding is larger; see [`super::call`].
const LARGEST: i64 = 1 << 16;

/// Whole axes, or every n-th pixel from the first on.
pub(super) fn slice<'a>(walk: &mut Walk<'a>, call: Call<'a>) -> Translated<'a> {
    if walk.is_whole(call, 0) {
        return whole::slice(walk, call);
    }
    let cuts = whole::cuts(walk, call)?;
    let input = walk.activation(call, 0)?;
    let sizes = walk.sizes(input);
    let mut stride = [1, 1];
    for cut in cuts {
        let axis = call.axis(cut.axis, sizes.len())?;
        let size = sizes[axis];
        let whole = cut.start == 0 && cut.end >= size as i64;
        match (whole, cut.step, axis_of_image(input.form, axis)) {
            (true, 1, _) => {}
            (true, 2.., Some(side)) if cut.step <= LARGEST => stride[side] = cut.step as usize,
            _ => {
                return Err(
                    call.refuse(part(&cut, axis), "keep whole axes, or take every n-th pixel from the first on")
                );
            }
        }
    }
    if stride == [1, 1] {
        return walk.renamed(call, input, input.form);
    }
    shortcut(walk, call, input, Op::Shortcut { stride, before: 0, after: 0 })
}

fn part(cut: &Cut, axis: usize) -> String {
    let end = if cut.end >= LARGEST { "the end".to_owned() } else { cut.end.to_string() };
    format!("it takes a part of axis {axis}: from {} to {end} in steps of {}", cut.start, cut.step)
}

/// 0 for an image's height, 1 for its width.
fn axis_of_image(form: Form, axis: usize) -> Option<usize> {
    match (form, axis) {
        (Form::Image, 2 | 3) => Some(axis - 2),
        (Form::ChannelsLast, 1 | 2) => Some(axis - 1),
        _ => None,
    }
}

/// Appends a shortcut, or widens the one that made `input` for this node alone.
fn shortcut<'a>(walk: &mut Walk<'a>, call: Call<'a>, input: Activation, op: Op) -> Translated<'a> {
    let Op::Shortcut { stride: [down, right], before: more_before, after: more_after } = op else {
        return Err(call.broken("it is no shortcut"));
    };
    if let (Source::Node(index), false) = (input.source, input.shared)
        && let Op::Shortcut { stride, before, after } = walk.network.graph.nodes[index].op
    {
        let joined = Op::Shortcut {
            stride: [stride[0].saturating_mul(down), stride[1].saturating_mul(right)],
            before: before + more_before,
            after: after + more_after,
        };
        walk.replace(call, index, joined)?;
        return walk.renamed(call, input, input.form);
    }
    walk.push(call, "shortcut", op, vec![input.source], Vec::new(), input.form)
}

/// Zeros around the image fold into the window that reads them; channels of zeros are a shortcut.
pub(super) fn pad<'a>(walk: &mut Walk<'a>, call: Call<'a>) -> Translated<'a> {
    call.only(&["mode", "pads", "value"])?;
    let input = walk.activation(call, 0)?;
    let sizes = walk.sizes(input);
    let pads = pads(walk, call, sizes.len())?;
    let zeros = pads.iter().all(|&[before, after]| before == 0 && after == 0);
    let value = match call.input(2) {
        Some(_) => walk.scalar(call, 2)?,
        None => call.float("value", 0.0),
    };
    if !zeros && (call.text("mode", "constant") != "constant" || value != 0.0) {
        let how = if value == 0.0 { call.text("mode", "constant").to_owned() } else { format!("the constant {value}") };
        return Err(call.refuse(format!("it pads by {how}"), "pad with zeros, as convolutions do"));
    }
    if pads.iter().flatten().any(|size| !(0..=LARGEST).contains(size)) {
        return Err(
            call.refuse(format!("its padding {pads:?} cuts or is no size"), "pad with zeros, as convolutions do")
        );
    }
    let at = |axis: usize| pads.get(axis).map_or([0, 0], |ends| ends.map(|size| size as usize));
    let (channels, [high, wide]) = match input.form {
        Form::Image => (at(1), [at(2), at(3)]),
        Form::ChannelsLast => (at(3), [at(1), at(2)]),
        Form::Line { .. } | Form::Flat | Form::FlatChannelsLast(_) => ([0, 0], [[0, 0]; 2]),
    };
    let flat = !matches!(input.form, Form::Image | Form::ChannelsLast);
    if at(0) != [0, 0] || flat && !zeros {
        return Err(call.refuse("it pads the batch or features", "pad images only"));
    }
    if channels != [0, 0] && (high, wide) != ([0, 0], [0, 0]) {
        return Err(call.refuse("it pads channels and pixels at once", "pad one of them at a time"));
    }
    if channels != [0, 0] {
        let [before, after] = channels;
        return shortcut(walk, call, input, Op::Shortcut { stride: [1, 1], before, after });
    }
    walk.padded(call, input, [high[0], wide[0], high[1], wide[1]])
}

/// Zeros before and after each axis: inputs from opset 11 on, an attribute before.
fn pads<'a>(walk: &Walk<'a>, call: Call<'a>, rank: usize) -> Result<Vec<[i64; 2]>, ImportError> {
    let given = match call.input(1) {
        Some(_) => walk.ints(call, 1)?,
        None => call.ints("pads").unwrap_or_default().to_vec(),
    };
    let axes = match call.input(3) {
        Some(_) => walk.ints(call, 3)?,
        None => (0..rank as i64).collect(),
    };
    if given.len() != 2 * axes.len() {
        return Err(call.broken(format!("its pads {given:?} do not fit {} axes", axes.len())));
    }
    let mut pads = vec![[0, 0]; rank];
    for (at, &axis) in axes.iter().enumerate() {
        pads[call.axis(axis, rank)?] = [given[at], given[axes.len() + at]];
    }
    Ok(pads)
}

/// Images or features joined along their channels; one image and constant zeros are a shortcut.
pub(super) fn concat<'a>(walk: &mut Walk<'a>, call: Call<'a>) -> Translated<'a> {
    call.only(&["axis"])?;
    let count = call.0.input.len();
    if (0..count).all(|index| walk.is_whole(call, index)) {
        return whole::concat(walk, call);
    }
    let images: Vec<usize> = (0..count).filter(|&index| walk.activation(call, index).is_ok()).collect();
    if images.len() == count && count > 1 {
        return joined(walk, call, count);
    }
    let [image] = images[..] else {
        return Err(call.refuse("it joins activations and a constant", "join activations only, or one and zeros"));
    };
    let input = walk.activation(call, image)?;
    if count == 1 {
        return walk.renamed(call, input, input.form);
    }
    let sizes = walk.sizes(input);
    let mut zeros = [0, 0];
    for index in (0..count).filter(|&index| index != image) {
        let constant = walk.floats(call, index)?;
        let fits = input.form == Form::Image && constant.shape.len() == 4 && constant.shape[2..] == sizes[2..];
        if !fits || call.axis(call.int("axis", 0), 4)? != 1 || constant.data.iter().any(|&value| value != 0.0) {
            return Err(call.refuse("it joins an image and a constant", "join channels of zeros only"));
        }
        zeros[usize::from(index > image)] += constant.shape[1];
    }
    shortcut(walk, call, input, Op::Shortcut { stride: [1, 1], before: zeros[0], after: zeros[1] })
}

/// `count` activations side by side, whose codes an image copies.
fn joined<'a>(walk: &mut Walk<'a>, call: Call<'a>, count: usize) -> Translated<'a> {
    let inputs = (0..count).map(|index| walk.activation(call, index)).collect::<Result<Vec<_>, _>>()?;
    let form = inputs[0].form;
    if inputs.iter().any(|input| input.form != form) {
        return Err(call.refuse("it joins tensors whose axes differ", "join images with images, in one order of axes"));
    }
    let axis = call.axis(call.int("axis", 0), walk.sizes(inputs[0]).len())?;
    let channels = match form {
        Form::ChannelsLast => 3,
        Form::Line { channels_last: true } => 2,
        _ => 1,
    };
    if axis != channels {
        return Err(call.refuse(
            format!("it joins along axis {axis}"),
            format!("join along the channels, axis {channels}; releq joins neither rows, columns nor batches"),
        ));
    }
    let flattened = |input: &Activation| walk.flattens(*input).is_some_and(|[_, height, width]| height * width > 1);
    if matches!(form, Form::FlatChannelsLast(_)) || inputs.iter().any(flattened) {
        return Err(call.refuse("it joins flattened images", "join the images along their channels, then flatten"));
    }
    let sources = inputs.iter().map(|input| input.source).collect();
    walk.push(call, "concat", Op::Concat, sources, Vec::new(), form)
}
