//! TFLite operators that compute with weights or element by element.

use super::operator::Call;
use super::pooling::window;
use super::walk::{Activation, Form, Translated, Walk};
use crate::import::ImportError;
use crate::network::{Op, Tensor};

pub(super) fn conv<'a>(walk: &mut Walk<'a>, call: Call<'a>) -> Translated {
    let (input, shape) = walk.map(call, 0)?;
    let weight = weights(walk, call)?;
    let &[out, high, wide, channels] = weight.shape.as_slice() else {
        return Err(call.broken(format!("its weights have sizes {:?}, not [out, height, width, in]", weight.shape)));
    };
    if channels != shape[0] {
        return Err(call.refuse(
            format!("its weights take {channels} channels and its input has {}", shape[0]),
            "use one group, or as many groups as input and output channels (depthwise)",
        ));
    }
    let window = window(call, input, shape, [high, wide])?;
    let bias = bias(walk, call, out)?;
    let op = Op::Conv { out, window, groups: 1, bias: bias.is_some() };
    let weight = permuted(&weight, [0, 3, 1, 2]);
    let source = walk.push(call, "conv", op, vec![input.source], with_bias(weight, bias))?;
    activated(walk, call, Activation { source, form: Form::Image, padding: [0; 4] })
}

pub(super) fn depthwise<'a>(walk: &mut Walk<'a>, call: Call<'a>) -> Translated {
    let (input, shape) = walk.map(call, 0)?;
    let weight = weights(walk, call)?;
    let &[1, high, wide, out] = weight.shape.as_slice() else {
        return Err(call.broken(format!("its weights have sizes {:?}, not [1, height, width, out]", weight.shape)));
    };
    // A convolution of one channel is what several filters on one channel are.
    let groups = if shape[0] == 1 { 1 } else { out };
    if shape[0] != 1 && out != shape[0] {
        return Err(call.refuse(
            format!("it makes {out} channels of {}: a depth multiplier of {}", shape[0], call.options().multiplier),
            "use a depth multiplier of 1",
        ));
    }
    let window = window(call, input, shape, [high, wide])?;
    let bias = bias(walk, call, out)?;
    let op = Op::Conv { out, window, groups, bias: bias.is_some() };
    let weight = permuted(&weight, [3, 0, 1, 2]);
    let source = walk.push(call, "conv", op, vec![input.source], with_bias(weight, bias))?;
    activated(walk, call, Activation { source, form: Form::Image, padding: [0; 4] })
}

pub(super) fn dense<'a>(walk: &mut Walk<'a>, call: Call<'a>) -> Translated {
    if call.options().weights_format != 0 {
        return Err(call.refuse("its weights are shuffled for another engine", "convert the float model"));
    }
    let mut input = walk.activation(call, 0)?;
    if input.form == Form::Image {
        input = super::shaping::flattened(walk, call, input)?;
    }
    let mut weight = weights(walk, call)?;
    let &[out, given] = weight.shape.as_slice() else {
        return Err(call.broken(format!("its weights have sizes {:?}, not [out, in]", weight.shape)));
    };
    let wanted: usize = walk.shape(input).iter().product();
    if given != wanted {
        return Err(call.broken(format!("its weights take {given} features and its input has {wanted}")));
    }
    if let Form::Features(Some([c, h, w])) = input.form {
        // Its columns follow a channel-last map; the network flattens channel by channel.
        weight = permuted(&Tensor { shape: vec![out, h, w, c], ..weight }, [0, 3, 1, 2]);
        weight.shape = vec![out, given];
    }
    let bias = bias(walk, call, out)?;
    let op = Op::Dense { out, bias: bias.is_some() };
    let source = walk.push(call, "fc", op, vec![input.source], with_bias(weight, bias))?;
    activated(walk, call, Activation { source, form: Form::Features(None), padding: [0; 4] })
}

pub(super) fn add<'a>(walk: &mut Walk<'a>, call: Call<'a>) -> Translated {
    let (left, right) = (walk.activation(call, 0)?, walk.activation(call, 1)?);
    if left.form != right.form {
        return Err(call.refuse("it adds tensors of two layouts", "add tensors of one shape"));
    }
    let source = walk.push(call, "add", Op::Add, vec![left.source, right.source], Vec::new())?;
    activated(walk, call, Activation { source, ..left })
}

/// Maps or features side by side along their last axis, the channels.
pub(super) fn concat<'a>(walk: &mut Walk<'a>, call: Call<'a>) -> Translated {
    let inputs = (0..call.inputs().count()).map(|index| walk.activation(call, index)).collect::<Result<Vec<_>, _>>()?;
    let Some(&first) = inputs.first() else { return Err(call.broken("it joins nothing")) };
    if inputs.iter().any(|input| input.form != first.form) {
        return Err(call.refuse("it joins tensors of two layouts", "join maps with maps"));
    }
    let last = if first.form == Form::Image { 3 } else { 1 };
    let axis = call.options().axis;
    if axis != last && axis != -1 {
        return Err(call.refuse(
            format!("it joins along axis {axis}"),
            format!("join along the channels, axis {last}; releq joins neither rows, columns nor batches"),
        ));
    }
    let flattened = |input: &Activation| walk.flattens(*input).is_some_and(|[_, height, width]| height * width > 1);
    if matches!(first.form, Form::Features(Some(_))) || inputs.iter().any(flattened) {
        return Err(call.refuse("it joins flattened maps", "join the maps along their channels, then flatten"));
    }
    let source = match inputs[..] {
        [only] => only.source,
        _ => walk.push(call, "concat", Op::Concat, inputs.iter().map(|input| input.source).collect(), Vec::new())?,
    };
    activated(walk, call, Activation { source, ..first })
}

pub(super) fn relu<'a>(walk: &mut Walk<'a>, call: Call<'a>) -> Translated {
    let input = walk.activation(call, 0)?;
    let op = if call.op() == "RELU" { Op::Relu } else { Op::ClippedRelu { ceiling: 6.0 } };
    rectified(walk, call, input, op)
}

/// A softmax at the very end changes no answer.
pub(super) fn softmax<'a>(walk: &mut Walk<'a>, call: Call<'a>) -> Translated {
    let input = walk.activation(call, 0)?;
    if !call.outputs().eq([walk.output]) || walk.shape(input)[1..] != [1, 1] {
        return Err(call.refuse("it is not the last operator, over the classes", "keep it for the very end"));
    }
    walk.notes.push(format!(
        "SOFTMAX `{}` was left out; the network gives logits, whose largest is the same class",
        call.label()
    ));
    Ok(input)
}

/// The activation that a converter fused into an operator, as a layer of its own.
pub(super) fn activated<'a>(walk: &mut Walk<'a>, call: Call<'a>, input: Activation) -> Translated {
    let refused = |name: &str| {
        call.refuse(format!("its fused activation is {name}"), "train it with RELU, RELU6 or no activation")
    };
    match call.options().activation {
        0 => Ok(input),
        1 => rectified(walk, call, input, Op::Relu),
        2 => Err(refused("RELU_N1_TO_1")),
        3 => rectified(walk, call, input, Op::ClippedRelu { ceiling: 6.0 }),
        4 => Err(refused("TANH")),
        5 => Err(refused("SIGN_BIT")),
        other => Err(refused(&format!("number {other} of TFLite's list"))),
    }
}

fn rectified<'a>(walk: &mut Walk<'a>, call: Call<'a>, input: Activation, op: Op) -> Translated {
    let source = walk.push(call, "relu", op, vec![input.source], Vec::new())?;
    Ok(Activation { source, ..input })
}

/// Weights of input 1.
fn weights<'a>(walk: &mut Walk<'a>, call: Call<'a>) -> Result<Tensor, ImportError> {
    walk.int8_layers += usize::from(walk.is_int8(call, 1));
    walk.floats(call, 1)
}

/// One value an output channel from an optional third input.
fn bias<'a>(walk: &mut Walk<'a>, call: Call<'a>, out: usize) -> Result<Option<Tensor>, ImportError> {
    if call.optional(2).is_none() {
        return Ok(None);
    }
    let bias = walk.floats(call, 2)?;
    if bias.shape == [out] {
        Ok(Some(bias))
    } else {
        Err(call.broken(format!("its bias has sizes {:?} for {out} outputs", bias.shape)))
    }
}

fn with_bias(weight: Tensor, bias: Option<Tensor>) -> Vec<(&'static str, Tensor)> {
    std::iter::once(("weight", weight)).chain(bias.map(|bias| ("bias", bias))).collect()
}

/// A tensor of four axes with those of `order`, outermost first.
fn permuted(tensor: &Tensor, order: [usize; 4]) -> Tensor {
    let sizes = |axis: usize| tensor.shape.get(axis).copied().unwrap_or(1);
    let stride = |axis: usize| (axis + 1..4).map(sizes).product::<usize>();
    let [a, b, c, d] = order.map(|axis| (sizes(axis), stride(axis)));
    let mut data = Vec::with_capacity(tensor.data.len());
    for i in 0..a.0 {
        for j in 0..b.0 {
            for k in 0..c.0 {
                let start = i * a.1 + j * b.1 + k * c.1;
                data.extend((0..d.0).map(|l| tensor.data[start + l * d.1]));
            }
        }
    }
    Tensor { shape: order.map(sizes).to_vec(), data }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_trade_places() {
        let tensor = Tensor { shape: vec![2, 1, 2, 3], data: (0..12).map(|value| value as f32).collect() };
        let turned = permuted(&tensor, [0, 3, 1, 2]);
        assert_eq!(turned.shape, [2, 3, 1, 2]);
        assert_eq!(turned.data, [0., 3., 1., 4., 2., 5., 6., 9., 7., 10., 8., 11.]);
    }
}
