//! ONNX operators that compute with weights or element by element.

use super::ImportError;
use super::call::Call;
use super::pooling::window;
use super::walk::{Activation, Value, Walk};
use crate::network::{Op, Source, Tensor};

type Translated<'a> = Result<Value<'a>, ImportError>;

pub(super) fn conv<'a>(walk: &mut Walk<'a>, call: Call<'a>) -> Translated<'a> {
    call.only(&["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"])?;
    let (input, shape) = walk.map(call, 0)?;
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
    let window = window(call, [shape[1], shape[2]], [high, wide])?;
    let bias = optional_vector(walk, call, 2, out)?;
    let op = Op::Conv { out, window, groups, bias: bias.is_some() };
    walk.push(call, "conv", op, vec![input.source], with_bias(weight, bias), false)
}

pub(super) fn gemm<'a>(walk: &mut Walk<'a>, call: Call<'a>) -> Translated<'a> {
    call.only(&["alpha", "beta", "transA", "transB"])?;
    let input = features(walk, call)?;
    if call.int("transA", 0) != 0 {
        return Err(call.refuse("it transposes its input", "multiply [n, features] by the weights"));
    }
    let mut weight = matrix(walk.floats(call, 1)?, call.int("transB", 0) != 0, call)?;
    scale(&mut weight, call.float("alpha", 1.0));
    let mut bias = optional_vector(walk, call, 2, weight.shape[0])?;
    bias.iter_mut().for_each(|bias| scale(bias, call.float("beta", 1.0)));
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
    if input.flat {
        Ok(input)
    } else {
        Err(call.refuse("its input is not [n, features]", "flatten the image before it"))
    }
}

fn dense<'a>(
    walk: &mut Walk<'a>,
    call: Call<'a>,
    input: Activation,
    weight: Tensor,
    bias: Option<Tensor>,
) -> Translated<'a> {
    let [out, given] = [weight.shape[0], weight.shape[1]];
    let wanted = walk.shape(input)[0];
    if given != wanted {
        return Err(call.broken(format!("its weights take {given} features and its input has {wanted}")));
    }
    let op = Op::Dense { out, bias: bias.is_some() };
    walk.push(call, "fc", op, vec![input.source], with_bias(weight, bias), true)
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

pub(super) fn add<'a>(walk: &mut Walk<'a>, call: Call<'a>) -> Translated<'a> {
    call.only(&[])?;
    match (walk.value(call, 0)?, walk.value(call, 1)?) {
        (Value::Activation(left), Value::Activation(right)) => {
            let (left, right) = (*left, *right);
            if left.flat != right.flat {
                return Err(call.refuse("it adds [n, features] to an image", "add tensors of one shape"));
            }
            walk.push(call, "add", Op::Add, vec![left.source, right.source], Vec::new(), left.flat)
        }
        (Value::Activation(left), _) => add_constant(walk, call, *left, 1),
        (_, Value::Activation(right)) => add_constant(walk, call, *right, 0),
        _ => Err(call.refuse("it adds constants", "simplify the model (onnxsim) so that constants are folded")),
    }
}

/// `x + constant` is a bias of the layer that makes `x`.
fn add_constant<'a>(walk: &mut Walk<'a>, call: Call<'a>, input: Activation, constant: usize) -> Translated<'a> {
    let len = walk.shape(input)[0];
    let given = walk.floats(call, constant)?;
    let fits = match given.shape.as_slice() {
        [] | [1] => true,
        [_] | [1, _] => input.flat,
        [_, 1, 1] | [1, _, 1, 1] => !input.flat,
        _ => false,
    };
    let bias = spread(given, len, fits)
        .map_err(|shape| call.refuse(format!("it adds a constant of sizes {shape:?}"), "add one value a channel"))?;
    let remedy = "add constants right after the convolution or fully connected layer whose bias they are";
    let Source::Node(index) = input.source else {
        return Err(call.refuse("it adds a constant to the image", "normalise the image outside of the model"));
    };
    if input.shared {
        return Err(call.refuse("it adds a constant to what another node reads, too", remedy));
    }
    let node = &mut walk.network.graph.nodes[index];
    match &mut node.op {
        Op::Conv { bias, .. } | Op::Dense { bias, .. } => *bias = true,
        Op::BatchNorm { .. } => {}
        _ => return Err(call.refuse("it adds a constant to what no weighted layer made", remedy)),
    }
    let name = format!("{}.bias", node.name);
    let sum = walk.network.parameters.entry(name).or_insert_with(|| Tensor { shape: vec![len], data: vec![0.0; len] });
    sum.data.iter_mut().zip(bias.data).for_each(|(sum, value)| *sum += value);
    walk.renamed(call, input, input.flat)
}

pub(super) fn batch_norm<'a>(walk: &mut Walk<'a>, call: Call<'a>) -> Translated<'a> {
    call.only(&["epsilon", "momentum", "spatial", "training_mode"])?;
    if call.int("training_mode", 0) != 0 || call.int("spatial", 1) != 1 {
        return Err(call
            .refuse("it normalises by the batch's own statistics", "export the network for inference (model.eval())"));
    }
    let input = walk.activation(call, 0)?;
    let channels = walk.shape(input)[0];
    let mut parameters = Vec::new();
    for (index, part) in ["weight", "bias", "running_mean", "running_var"].into_iter().enumerate() {
        let tensor = walk.floats(call, index + 1)?;
        if tensor.shape != [channels] {
            return Err(call.broken(format!("its {part} has sizes {:?} for {channels} channels", tensor.shape)));
        }
        parameters.push((part, tensor));
    }
    let op = Op::BatchNorm { eps: call.float("epsilon", 1e-5) };
    walk.push(call, "bn", op, vec![input.source], parameters, input.flat)
}

pub(super) fn relu<'a>(walk: &mut Walk<'a>, call: Call<'a>) -> Translated<'a> {
    call.only(&[])?;
    let input = walk.activation(call, 0)?;
    walk.push(call, "relu", Op::Relu, vec![input.source], Vec::new(), input.flat)
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
    let over_classes = input.flat && [1, -1].contains(&call.int("axis", default));
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
