//! ONNX operators that change a tensor's shape, and the arithmetic on sizes that exporters write around them.

use std::borrow::Cow;

use super::ImportError;
use super::call::Call;
use super::proto::{TensorProto, element};
use super::walk::{Activation, Size, Value, Walk};
use crate::network::Op;

type Translated<'a> = Result<Value<'a>, ImportError>;

const REMEDY: &str = "flatten to [n, features] once, before the fully connected layers";

pub(super) fn flatten<'a>(walk: &mut Walk<'a>, call: Call<'a>) -> Translated<'a> {
    call.only(&["axis"])?;
    let input = walk.activation(call, 0)?;
    let rank = if input.flat { 2 } else { 4 };
    let axis = call.int("axis", 1);
    if axis != 1 && axis != 1 - rank {
        return Err(call.refuse(format!("it flattens from axis {axis}"), REMEDY));
    }
    to_features(walk, call, input)
}

fn to_features<'a>(walk: &mut Walk<'a>, call: Call<'a>, input: Activation) -> Translated<'a> {
    if input.flat {
        return walk.renamed(call, input, true);
    }
    walk.push(call, "flatten", Op::Flatten, vec![input.source], Vec::new(), true)
}

/// A reshape that flattens, or that changes nothing.
pub(super) fn reshape<'a>(walk: &mut Walk<'a>, call: Call<'a>) -> Translated<'a> {
    call.only(&["allowzero"])?;
    let input = walk.activation(call, 0)?;
    let shape = walk.shape(input);
    let target = sizes(walk, call, 1)?;
    let current = sizes_of(input, shape);
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
    let image = [Size::Batch, Size::Known(shape[0] as i64), Size::Known(shape[1] as i64), Size::Known(shape[2] as i64)];
    if fits(&target, &image) {
        return walk.renamed(call, input, false);
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

fn sizes_of(activation: Activation, shape: [usize; 3]) -> Vec<Size> {
    let known = shape.iter().take(if activation.flat { 1 } else { 3 }).map(|&size| Size::Known(size as i64));
    std::iter::once(Size::Batch).chain(known).collect()
}

/// Input `index` as sizes: computed ones, or a constant.
fn sizes<'a>(walk: &Walk<'a>, call: Call<'a>, index: usize) -> Result<Vec<Size>, ImportError> {
    match walk.value(call, index)? {
        Value::Sizes(sizes) => Ok(sizes.clone()),
        Value::Constant(_) => Ok(walk.ints(call, index)?.into_iter().map(Size::Known).collect()),
        Value::Activation(_) => Err(no_sizes(call)),
    }
}

fn no_sizes(call: Call<'_>) -> ImportError {
    call.refuse("releq computes it on shapes only, not on images", "rewrite the model without it")
}

pub(super) fn shape<'a>(walk: &Walk<'a>, call: Call<'a>) -> Translated<'a> {
    call.only(&["end", "start"])?;
    let input = walk.activation(call, 0)?;
    let sizes = sizes_of(input, walk.shape(input));
    let rank = sizes.len() as i64;
    // Negative ends count from the last axis, and ends beyond it mean it.
    let axis = |at: i64| (if at < 0 { at + rank } else { at }).clamp(0, rank) as usize;
    let [start, end] = [axis(call.int("start", 0)), axis(call.int("end", rank))];
    Ok(Value::Sizes(sizes.get(start..end).unwrap_or_default().to_vec()))
}

pub(super) fn gather<'a>(walk: &Walk<'a>, call: Call<'a>) -> Translated<'a> {
    call.only(&["axis"])?;
    let from = sizes(walk, call, 0)?;
    let pick = |index: i64| {
        let index = if index < 0 { index + from.len() as i64 } else { index };
        usize::try_from(index).ok().and_then(|index| from.get(index)).copied()
    };
    let picked: Option<Vec<Size>> = walk.ints(call, 1)?.into_iter().map(pick).collect();
    picked.map(Value::Sizes).ok_or_else(|| call.broken("it picks a size that is not there"))
}

/// Operators that keep a list of sizes as it is.
pub(super) fn same_sizes<'a>(walk: &Walk<'a>, call: Call<'a>) -> Translated<'a> {
    Ok(Value::Sizes(sizes(walk, call, 0)?))
}

pub(super) fn concat<'a>(walk: &Walk<'a>, call: Call<'a>) -> Translated<'a> {
    let parts = (0..call.0.input.len()).map(|index| sizes(walk, call, index)).collect::<Result<Vec<_>, _>>();
    parts.map(|parts| Value::Sizes(parts.concat()))
}

/// A constant as a node of its own: a tensor, or numbers in the attribute itself.
pub(super) fn constant(call: Call<'_>) -> Translated<'_> {
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
