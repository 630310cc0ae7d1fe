//! ONNX operators that change a tensor's shape or the order of its axes.

use std::borrow::Cow;

use super::ImportError;
use super::call::Call;
use super::proto::{TensorProto, element};
use super::walk::{Activation, Form, Value, Walk};
use super::whole::{self, Size};
use crate::network::{Op, Tensor};

type Translated<'a> = Result<Value<'a>, ImportError>;

const REMEDY: &str = "flatten to [n, features] once, before the fully connected layers";

pub(super) fn flatten<'a>(walk: &mut Walk<'a>, call: Call<'a>) -> Translated<'a> {
    call.only(&["axis"])?;
    let input = walk.activation(call, 0)?;
    let rank = walk.sizes(input).len() as i64;
    let axis = call.int("axis", 1);
    if axis != 1 && axis != 1 - rank {
        return Err(call.refuse(format!("it flattens from axis {axis}"), REMEDY));
    }
    to_features(walk, call, input)
}

fn to_features<'a>(walk: &mut Walk<'a>, call: Call<'a>, input: Activation) -> Translated<'a> {
    let [channels, height, width] = walk.shape(input);
    let form = match input.form {
        Form::Flat | Form::FlatChannelsLast(_) => return walk.renamed(call, input, input.form),
        // The order of the elements is the network's own where there is one channel or one pixel.
        Form::ChannelsLast | Form::Line { channels_last: true } if channels > 1 && height * width > 1 => {
            Form::FlatChannelsLast([channels, height, width])
        }
        Form::ChannelsLast | Form::Image | Form::Line { .. } => Form::Flat,
    };
    walk.push(call, "flatten", Op::Flatten, vec![input.source], Vec::new(), form)
}

/// A reshape that flattens, or that changes nothing; constants take any.
pub(super) fn reshape<'a>(walk: &mut Walk<'a>, call: Call<'a>) -> Translated<'a> {
    call.only(&["allowzero"])?;
    if walk.is_whole(call, 0) {
        return whole::reshape(walk, call);
    }
    if let Value::Constant(_) = walk.value(call, 0)? {
        let Tensor { shape, data } = walk.floats(call, 0)?;
        let target = walk.ints(call, 1)?;
        let shape = whole::reshaped(&target, &shape, data.len())
            .ok_or_else(|| call.broken(format!("it reshapes {shape:?} to {target:?}")))?;
        return Ok(constant_of(call, Tensor { shape, data }));
    }
    let input = walk.activation(call, 0)?;
    let shape = walk.shape(input);
    let target = walk.whole(call, 1)?.data;
    let current = whole::sizes_of(input.form, shape);
    let copies = call.int("allowzero", 0) == 0;
    let target: Vec<Size> = target
        .iter()
        .enumerate()
        .map(|(axis, &size)| match size {
            Size::Known(0) if copies => current.get(axis).copied().unwrap_or(size),
            Size::Known(batch) if axis == 0 && Some(batch) == walk.batch => Size::Batch,
            other => other,
        })
        .collect();
    let features: usize = shape.iter().product();
    let flat = [Size::Batch, Size::Known(features as i64)];
    if fits(&target, &flat) {
        return to_features(walk, call, input);
    }
    if fits(&target, &current) {
        return walk.renamed(call, input, input.form);
    }
    let pixel = [Size::Batch, Size::Known(features as i64), Size::Known(1), Size::Known(1)];
    if input.form == Form::Flat && shape[1..] == [1, 1] && fits(&target, &pixel) {
        return walk.renamed(call, input, Form::Image);
    }
    Err(call.refuse(format!("it reshapes {shape:?} to {}", text(&target)), REMEDY))
}

/// Whether `target` is `shape`, where at most one size may be left to be found (−1).
fn fits(target: &[Size], shape: &[Size]) -> bool {
    let open = target.iter().filter(|&&size| size == Size::Known(-1)).count();
    let same = |(target, size): (&Size, &Size)| target == size || *target == Size::Known(-1);
    target.len() == shape.len() && open <= 1 && target.iter().zip(shape).all(same)
}

fn text(sizes: &[Size]) -> String {
    let shown = |size: &Size| match size {
        Size::Batch => "n".to_owned(),
        Size::Known(size) => size.to_string(),
    };
    format!("[{}]", sizes.iter().map(shown).collect::<Vec<_>>().join(", "))
}

/// Axes of size 1 taken out: of numbers, or the pixel of `[n, c, 1, 1]`.
pub(super) fn squeeze<'a>(walk: &mut Walk<'a>, call: Call<'a>) -> Translated<'a> {
    call.only(&["axes"])?;
    if walk.is_whole(call, 0) {
        return whole::reshape(walk, call);
    }
    if let Value::Constant(_) = walk.value(call, 0)? {
        let Tensor { mut shape, data } = walk.floats(call, 0)?;
        shape.retain(|&size| size != 1);
        return Ok(constant_of(call, Tensor { shape, data }));
    }
    let input = walk.activation(call, 0)?;
    let axes = match call.input(1) {
        Some(_) => walk.ints(call, 1)?,
        None => call.ints("axes").map_or_else(|| vec![2, 3], <[i64]>::to_vec),
    };
    let sizes = walk.sizes(input);
    let taken = axes.iter().map(|&axis| call.axis(axis, sizes.len())).collect::<Result<Vec<_>, _>>()?;
    let pixel = match input.form {
        Form::Image => [2, 3],
        Form::ChannelsLast => [1, 2],
        Form::Line { .. } | Form::Flat | Form::FlatChannelsLast(_) => [usize::MAX; 2],
    };
    if taken.iter().all(|&axis| sizes[axis] == 1) && pixel.iter().all(|axis| taken.contains(axis)) && taken.len() == 2 {
        return to_features(walk, call, input);
    }
    Err(call.refuse(format!("it takes axes {axes:?} out of {:?}", walk.shape(input)), REMEDY))
}

/// Axes of size 1 put in: into numbers, or a pixel around `[n, features]`.
pub(super) fn unsqueeze<'a>(walk: &mut Walk<'a>, call: Call<'a>) -> Translated<'a> {
    call.only(&["axes"])?;
    if walk.is_whole(call, 0) {
        return whole::reshape(walk, call);
    }
    let mut axes = match call.input(1) {
        Some(_) => walk.ints(call, 1)?,
        None => call.ints("axes").unwrap_or_default().to_vec(),
    };
    if let Value::Constant(_) = walk.value(call, 0)? {
        let Tensor { mut shape, data } = walk.floats(call, 0)?;
        let rank = shape.len() + axes.len();
        axes.sort_unstable();
        for &axis in &axes {
            let axis = call.axis(axis, rank)?.min(shape.len());
            shape.insert(axis, 1);
        }
        return Ok(constant_of(call, Tensor { shape, data }));
    }
    let input = walk.activation(call, 0)?;
    axes.iter_mut().for_each(|axis| *axis += if *axis < 0 { 4 } else { 0 });
    axes.sort_unstable();
    if input.form == Form::Flat && walk.shape(input)[1..] == [1, 1] && axes == [2, 3] {
        return walk.renamed(call, input, Form::Image);
    }
    Err(call.refuse(format!("it puts axes {axes:?} into {:?}", walk.shape(input)), REMEDY))
}

/// Orders of axes that images have: channels first or last. Constants take any.
pub(super) fn transpose<'a>(walk: &mut Walk<'a>, call: Call<'a>) -> Translated<'a> {
    call.only(&["perm"])?;
    if walk.is_whole(call, 0) {
        return whole::transpose(walk, call);
    }
    if let Value::Constant(_) = walk.value(call, 0)? {
        let Tensor { shape, data } = walk.floats(call, 0)?;
        let (data, shape) = whole::transposed(&data, &shape, &whole::permutation(call, shape.len())?);
        return Ok(constant_of(call, Tensor { shape, data }));
    }
    let input = walk.activation(call, 0)?;
    let perm = whole::permutation(call, walk.sizes(input).len())?;
    let form = match (input.form, &perm[..]) {
        (form, [0, 1, 2, 3] | [0, 1]) => form,
        (Form::Image, [0, 2, 3, 1]) => Form::ChannelsLast,
        (Form::ChannelsLast, [0, 3, 1, 2]) => Form::Image,
        _ => {
            return Err(call.refuse(
                format!("it puts axes in the order {perm:?}"),
                "export the model channels first (NCHW), or with transposes between channels first and last only",
            ));
        }
    };
    walk.renamed(call, input, form)
}

/// A change of element type: of numbers on shapes, or to the floats that everything is.
pub(super) fn cast<'a>(walk: &mut Walk<'a>, call: Call<'a>) -> Translated<'a> {
    call.only(&["saturate", "to"])?;
    let to = call.int("to", 0);
    let numbers = [element::INT32, element::INT64].map(i64::from).contains(&to);
    if walk.is_whole(call, 0) {
        let whole = walk.whole(call, 0)?;
        return match whole.known() {
            _ if numbers => Ok(Value::Whole(whole)),
            Some(known) if to == i64::from(element::FLOAT) => {
                let data = known.into_iter().map(|number| number as f32).collect();
                Ok(constant_of(call, Tensor { shape: whole.dims, data }))
            }
            _ => Err(call.refuse(format!("it casts sizes to type {to}"), "cast them to int64")),
        };
    }
    if to == i64::from(element::FLOAT) {
        return walk.alias(call);
    }
    Err(call.refuse(format!("it casts floats to type {to} of ONNX's list"), "export the float32 model"))
}

fn constant_of<'a>(call: Call<'a>, tensor: Tensor) -> Value<'a> {
    Value::Constant(Cow::Owned(TensorProto {
        name: call.label().to_owned(),
        dims: tensor.shape.iter().map(|&size| size as i64).collect(),
        data_type: element::FLOAT,
        raw_data: tensor.data.iter().flat_map(|value| value.to_le_bytes()).collect(),
        ..TensorProto::default()
    }))
}

/// A constant as a node of its own: a tensor, or numbers in the attribute itself.
pub(super) fn constant<'a>(_: &mut Walk<'a>, call: Call<'a>) -> Translated<'a> {
    if let Some(tensor) = call.tensor("value") {
        return Ok(Value::Constant(Cow::Borrowed(tensor)));
    }
    let name = call.label().to_owned();
    let [attribute] = call.0.attribute.as_slice() else {
        return Err(call.broken("it has no value"));
    };
    let mut tensor = TensorProto { name, ..TensorProto::default() };
    match attribute.name.as_str() {
        "value_float" => tensor.float_data = vec![attribute.f],
        "value_floats" => tensor.float_data = attribute.floats.clone(),
        "value_int" => tensor.int64_data = vec![attribute.i],
        "value_ints" => tensor.int64_data = attribute.ints.clone(),
        other => {
            return Err(call.refuse(format!("its value is a `{other}`"), "releq reads float and integer constants"));
        }
    }
    let ints = attribute.name.starts_with("value_int");
    tensor.data_type = if ints { element::INT64 } else { element::FLOAT };
    if attribute.name.ends_with('s') {
        tensor.dims = vec![tensor.float_data.len().max(tensor.int64_data.len()) as i64];
    }
    Ok(Value::Constant(Cow::Owned(tensor)))
}
