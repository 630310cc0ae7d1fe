//! ONNX operators that compute with weights or element by element.

use super::ImportError;
use super::call::Call;
use super::pooling::{grown, widened, window};
use super::walk::{Activation, Form, Value, Walk};
use super::whole;
use crate::network::{Op, Source, Tensor};

type Translated<'a> = Result<Value<'a>, ImportError>;

pub(super) fn conv<'a>(walk: &mut Walk<'a>, call: Call<'a>) -> Translated<'a> {
    call.only(&["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"])?;
    let (input, shape) = walk.padded_map(call, 0)?;
    let weight = walk.floats(call, 1)?;
    let &[out, per_group, high, wide] = weight.shape.as_slice() else {
        return Err(call.refuse(
            format!("its weights have sizes {:?}, not [out, in, height, width]", weight.shape),
            "use two-dimensional convolutions",
        ));
    };
    let groups = usize::try_from(call.int("group", 1)).unwrap_or(0);
    let depthwise = groups == shape[0] && out == groups;
    if groups != 1 && !depthwise {
        return Err(call.refuse(
            format!("its {groups} groups take {} channels to {out}", shape[0]),
            "use one group, or as many groups as input and output channels (depthwise)",
        ));
    }
    if groups.checked_mul(per_group) != Some(shape[0]) {
        return Err(
            call.broken(format!("its weights take {per_group} × {groups} channels and its input has {}", shape[0]))
        );
    }
    if call.sizes("kernel_shape", [high, wide])? != [high, wide] {
        return Err(call.broken("its kernel_shape is not that of its weights"));
    }
    let [_, height, width] = grown(shape, input.padding);
    let window = widened(window(call, [height, width], [high, wide])?, input.padding);
    let bias = optional_vector(walk, call, 2, out)?;
    let op = Op::Conv { out, window, groups, bias: bias.is_some() };
    walk.push(call, "conv", op, vec![input.source], with_bias(weight, bias), Form::Image)
}

pub(super) fn gemm<'a>(walk: &mut Walk<'a>, call: Call<'a>) -> Translated<'a> {
    call.only(&["alpha", "beta", "transA", "transB"])?;
    let input = features(walk, call)?;
    if call.int("transA", 0) != 0 {
        return Err(call.refuse("it transposes its input", "multiply [n, features] by the weights"));
    }
    let mut weight = matrix(walk.floats(call, 1)?, call.int("transB", 0) != 0, call)?;
    scale(&mut weight, call.factor("alpha", 1.0)?);
    let mut bias = optional_vector(walk, call, 2, weight.shape[0])?;
    let beta = call.factor("beta", 1.0)?;
    bias.iter_mut().for_each(|bias| scale(bias, beta));
    dense(walk, call, input, weight, bias)
}

pub(super) fn mat_mul<'a>(walk: &mut Walk<'a>, call: Call<'a>) -> Translated<'a> {
    call.only(&[])?;
    let input = features(walk, call)?;
    let weight = matrix(walk.floats(call, 1)?, false, call)?;
    dense(walk, call, input, weight, None)
}

fn features<'a>(walk: &Walk<'a>, call: Call<'a>) -> Result<Activation, ImportError> {
    let input = walk.activation(call, 0)?;
    match input.form {
        Form::Flat | Form::FlatChannelsLast(_) => Ok(input),
        _ => Err(call.refuse("its input is not [n, features]", "flatten the image before it")),
    }
}

fn dense<'a>(
    walk: &mut Walk<'a>,
    call: Call<'a>,
    input: Activation,
    mut weight: Tensor,
    bias: Option<Tensor>,
) -> Translated<'a> {
    let [out, given] = [weight.shape[0], weight.shape[1]];
    let wanted: usize = walk.shape(input).iter().product();
    if given != wanted {
        return Err(call.broken(format!("its weights take {given} features and its input has {wanted}")));
    }
    if let Form::FlatChannelsLast([channels, height, width]) = input.form {
        // Its columns go through the image pixel by pixel, the network's channel by channel.
        let (data, _) = whole::transposed(&weight.data, &[out, height * width, channels], &[0, 2, 1]);
        weight.data = data;
    }
    let op = Op::Dense { out, bias: bias.is_some() };
    walk.push(call, "fc", op, vec![input.source], with_bias(weight, bias), Form::Flat)
}

/// Weights as `[out, in]`: ONNX multiplies from the right, by `[in, out]` unless it says `transposed`.
fn matrix(weight: Tensor, transposed: bool, call: Call<'_>) -> Result<Tensor, ImportError> {
    let &[rows, columns] = weight.shape.as_slice() else {
        return Err(call.refuse(
            format!("its weights have sizes {:?}, not two", weight.shape),
            "use fully connected layers over [n, features]",
        ));
    };
    if transposed {
        return Ok(weight);
    }
    let data = (0..columns).flat_map(|column| (0..rows).map(move |row| row * columns + column));
    let data = data.map(|at| weight.data[at]).collect();
    Ok(Tensor { shape: vec![columns, rows], data })
}

fn scale(tensor: &mut Tensor, factor: f32) {
    tensor.data.iter_mut().for_each(|value| *value *= factor);
}

fn with_bias(weight: Tensor, bias: Option<Tensor>) -> Vec<(&'static str, Tensor)> {
    std::iter::once(("weight", weight)).chain(bias.map(|bias| ("bias", bias))).collect()
}

/// One value an output channel from an optional constant input; a single value counts for all.
fn optional_vector<'a>(
    walk: &Walk<'a>,
    call: Call<'a>,
    index: usize,
    len: usize,
) -> Result<Option<Tensor>, ImportError> {
    if call.input(index).is_none() {
        return Ok(None);
    }
    let given = walk.floats(call, index)?;
    let fits = matches!(given.shape.as_slice(), [] | [_] | [1, _]);
    spread(given, len, fits)
        .map(Some)
        .map_err(|shape| call.broken(format!("its bias has sizes {shape:?} for {len} outputs")))
}

/// `len` values of a tensor that has as many, or one for all; the shape where it has not.
fn spread(tensor: Tensor, len: usize, fits: bool) -> Result<Tensor, Vec<usize>> {
    match tensor.data.len() {
        found if fits && found == len => Ok(Tensor { shape: vec![len], data: tensor.data }),
        1 if fits => Ok(Tensor { shape: vec![len], data: vec![tensor.data[0]; len] }),
        _ => Err(tensor.shape),
    }
}

/// `Add`, `Sub`, `Mul`, `Div`: of two images, of an image and a constant, or of sizes.
pub(super) fn arithmetic<'a>(walk: &mut Walk<'a>, call: Call<'a>) -> Translated<'a> {
    call.only(&[])?;
    if walk.is_whole(call, 0) && walk.is_whole(call, 1) {
        return whole::arithmetic(walk, call);
    }
    let activations = [0, 1].map(|index| matches!(walk.value(call, index), Ok(Value::Activation(_))));
    match (call.op(), activations) {
        ("Add", [true, true]) => add(walk, call),
        (_, [true, true]) => Err(call.refuse("it combines two activations", "releq has residual adds only; use Add")),
        ("Sub" | "Div", [false, true]) => {
            Err(call.refuse("its left side is a constant", "write it as a multiplication and an addition"))
        }
        (_, [true, false]) => with_constant(walk, call, 0),
        (_, [false, true]) => with_constant(walk, call, 1),
        _ => Err(call.refuse("it combines constants", "simplify the model (onnxsim) so that constants are folded")),
    }
}

fn add<'a>(walk: &mut Walk<'a>, call: Call<'a>) -> Translated<'a> {
    let (left, right) = (walk.activation(call, 0)?, walk.activation(call, 1)?);
    if left.form != right.form {
        return Err(call.refuse("it adds tensors whose axes differ", "add tensors of one shape"));
    }
    walk.push(call, "add", Op::Add, vec![left.source, right.source], Vec::new(), left.form)
}

/// `x + c`, `x − c`, `x · c` and `x / c` change the bias and the weights of the layer that makes `x`.
fn with_constant<'a>(walk: &mut Walk<'a>, call: Call<'a>, image: usize) -> Translated<'a> {
    let input = walk.activation(call, image)?;
    let values = channel_values(walk, call, input, 1 - image)?;
    let Source::Node(index) = input.source else {
        let ones = vec![1.0; values.len()];
        let zeros = vec![0.0; values.len()];
        let negative = || values.iter().map(|value| -value).collect();
        let [factors, offsets] = match call.op() {
            "Add" => [ones, values],
            "Sub" => [ones, negative()],
            "Mul" => [values, zeros],
            _ => [values.iter().map(|value| 1.0 / value).collect(), zeros],
        };
        return normalisation(walk, call, input, &factors, &offsets);
    };
    let remedy = "move it right after the convolution or fully connected layer whose weights and bias it changes";
    if input.shared {
        return Err(call.refuse("it combines a constant with what another node reads, too", remedy));
    }
    let node = &mut walk.network.graph.nodes[index];
    let adds = matches!(call.op(), "Add" | "Sub");
    match &mut node.op {
        Op::Conv { bias, .. } | Op::Dense { bias, .. } => *bias |= adds,
        Op::BatchNorm { .. } => {}
        _ => return Err(call.refuse("it combines a constant with what no weighted layer made", remedy)),
    }
    let (weight, bias) = (format!("{}.weight", node.name), format!("{}.bias", node.name));
    let parameters = &mut walk.network.parameters;
    if adds {
        let zeros = || Tensor { shape: vec![values.len()], data: vec![0.0; values.len()] };
        let bias = parameters.entry(bias).or_insert_with(zeros);
        let sign = if call.op() == "Sub" { -1.0 } else { 1.0 };
        bias.data.iter_mut().zip(&values).for_each(|(sum, value)| *sum += sign * value);
    } else {
        let factors: Vec<f32> =
            values.iter().map(|value| if call.op() == "Div" { 1.0 / value } else { *value }).collect();
        if factors.iter().any(|factor| !factor.is_finite()) {
            return Err(call.broken("it divides by zero"));
        }
        for name in [weight, bias] {
            scale_rows(parameters.get_mut(&name), &factors);
        }
    }
    walk.renamed(call, input, input.form)
}

/// The input as `factor · x + offset`, channel by channel: its mean and standard deviation change, and no layer is needed.
///
/// Zeros that a convolution puts around it are zeros of the new input, as in the file.
fn normalisation<'a>(
    walk: &mut Walk<'a>,
    call: Call<'a>,
    input: Activation,
    factors: &[f32],
    offsets: &[f32],
) -> Translated<'a> {
    let remedy = "normalise the image outside of the model, and give mean and std";
    if input.shared {
        return Err(call.refuse("it computes with the image that another node reads, too", remedy));
    }
    let spec = &mut walk.network.graph.input;
    for (channel, (&factor, &offset)) in factors.iter().zip(offsets).enumerate() {
        let (mean, std) = (f64::from(spec.mean[channel]), f64::from(spec.std[channel]));
        let std = (std / f64::from(factor)) as f32;
        let mean = (mean - f64::from(offset) * f64::from(std)) as f32;
        if !(std > 0.0 && std.is_finite() && mean.is_finite()) {
            return Err(call.refuse(format!("it multiplies the image by {factor} and adds {offset}"), remedy));
        }
        (spec.mean[channel], spec.std[channel]) = (mean, std);
    }
    walk.renamed(call, input, input.form)
}

/// Multiplies row `i` of a tensor by factor `i`.
fn scale_rows(tensor: Option<&mut Tensor>, factors: &[f32]) {
    let Some(tensor) = tensor else { return };
    let row = (tensor.data.len() / factors.len().max(1)).max(1);
    for (row, factor) in tensor.data.chunks_mut(row).zip(factors) {
        row.iter_mut().for_each(|value| *value *= factor);
    }
}

/// A constant input as one value a channel of `input`.
fn channel_values<'a>(
    walk: &Walk<'a>,
    call: Call<'a>,
    input: Activation,
    constant: usize,
) -> Result<Vec<f32>, ImportError> {
    let given = walk.floats(call, constant)?;
    let fits = match (given.shape.as_slice(), input.form) {
        ([] | [1], _) => true,
        ([_] | [1, _], Form::Flat) | ([_, 1, 1] | [1, _, 1, 1], Form::Image) => true,
        ([_] | [1, 1, 1, _], Form::ChannelsLast) => true,
        _ => given.data.len() == 1,
    };
    spread(given, walk.shape(input)[0], fits).map(|values| values.data).map_err(|shape| {
        call.refuse(format!("it combines an activation with a constant of sizes {shape:?}"), "use one value a channel")
    })
}

pub(super) fn batch_norm<'a>(walk: &mut Walk<'a>, call: Call<'a>) -> Translated<'a> {
    call.only(&["epsilon", "momentum", "spatial", "training_mode"])?;
    if call.int("training_mode", 0) != 0 || call.int("spatial", 1) != 1 {
        return Err(call
            .refuse("it normalises by the batch's own statistics", "export the network for inference (model.eval())"));
    }
    let input = walk.activation(call, 0)?;
    let channels = walk.shape(input)[0];
    let mut parameters = ["weight", "bias", "running_mean", "running_var"].map(|part| (part, Tensor::default()));
    for (index, (part, parameter)) in parameters.iter_mut().enumerate() {
        let tensor = walk.floats(call, index + 1)?;
        if tensor.shape != [channels] {
            return Err(call.broken(format!("its {part} has sizes {:?} for {channels} channels", tensor.shape)));
        }
        *parameter = tensor;
    }
    let eps = call.factor("epsilon", 1e-5)?;
    if eps < 0.0 || parameters[3].1.data.iter().any(|variance| variance + eps <= 0.0) {
        return Err(call.broken("it divides by the root of a variance that is not above zero"));
    }
    if input.source == Source::Input {
        let [weight, bias, mean, variance] = parameters.each_ref().map(|(_, tensor)| &tensor.data);
        let factors: Vec<f32> = weight.iter().zip(variance).map(|(weight, v)| weight / (v + eps).sqrt()).collect();
        let offsets: Vec<f32> =
            bias.iter().zip(mean).zip(&factors).map(|((bias, mean), factor)| bias - mean * factor).collect();
        return normalisation(walk, call, input, &factors, &offsets);
    }
    let op = Op::BatchNorm { eps };
    walk.push(call, "bn", op, vec![input.source], parameters.into(), input.form)
}

pub(super) fn relu<'a>(walk: &mut Walk<'a>, call: Call<'a>) -> Translated<'a> {
    call.only(&[])?;
    let input = walk.activation(call, 0)?;
    walk.push(call, "relu", Op::Relu, vec![input.source], Vec::new(), input.form)
}

/// A range from 0 up is a ReLU, with a ceiling where there is one; bounds are inputs from opset 11 on.
pub(super) fn clip<'a>(walk: &mut Walk<'a>, call: Call<'a>) -> Translated<'a> {
    call.only(&["max", "min"])?;
    let input = walk.activation(call, 0)?;
    let bound = |index: usize, name: &str, open: f32| match call.input(index) {
        Some(_) => walk.scalar(call, index),
        None => Ok(call.float(name, open)),
    };
    let (low, high) = (bound(1, "min", f32::NEG_INFINITY)?, bound(2, "max", f32::INFINITY)?);
    let op = match (low, high) {
        (0.0, f32::MAX..) => Op::Relu,
        (0.0, ceiling) if ceiling > 0.0 => Op::ClippedRelu { ceiling },
        _ => {
            return Err(call.refuse(
                format!("it clips to {low} … {high}"),
                "clip from 0 up, as ReLU and ReLU6 do; fine-tune with one of them and export again",
            ));
        }
    };
    walk.push(call, "relu", op, vec![input.source], Vec::new(), input.form)
}

/// Does nothing at inference.
pub(super) fn dropout<'a>(walk: &mut Walk<'a>, call: Call<'a>) -> Translated<'a> {
    call.only(&["ratio", "seed"])?;
    let training = call.input(2).is_some() && walk.ints(call, 2)?.iter().any(|&flag| flag != 0);
    if training {
        return Err(call.refuse("it drops values at random", "export the network for inference (model.eval())"));
    }
    walk.notes.push(format!("Dropout `{}` was left out; it does nothing at inference", call.label()));
    walk.alias(call)
}

/// Changes no order of classes, so a last one is left out and the network gives logits.
pub(super) fn softmax<'a>(walk: &mut Walk<'a>, call: Call<'a>) -> Translated<'a> {
    call.only(&["axis"])?;
    let input = walk.activation(call, 0)?;
    let default = if walk.opset < 13 { 1 } else { -1 };
    let over_classes = input.is_flat() && [1, -1].contains(&call.int("axis", default));
    if call.output()? != walk.output || !over_classes {
        return Err(
            call.refuse("it is not the last node, over the classes", "keep it for the very end, over [n, classes]")
        );
    }
    walk.notes.push(format!(
        "{} `{}` was left out; the network gives logits, whose largest is the same class",
        call.op(),
        call.label()
    ));
    walk.alias(call)
}
