//! Opens a float TFLite file and checks its outline; [`walk`] turns its operators into layers.
//!
//! TFLite is channel-last: the network's input is told as `[channels, height, width]`, weights are turned to match, and
//! a dense layer over a flattened map reads its columns in the network's order.

mod constant;
mod layers;
mod operator;
mod pooling;
mod schema;
mod shaping;
#[cfg(test)]
mod tests;
mod walk;

use std::path::Path;

use operator::LARGEST;
use schema::{Model, SubGraph, Tensor};
use walk::Walk;

use super::onnx::read;
use super::{ImportError, Imported};
use crate::network::InputSpec;

/// Larger graphs are no microcontroller's, and would take long to refuse.
const MOST_OPERATORS: usize = 1024;

/// Said of every file, since TFLite has no place for it.
pub(super) const ASSUMED_UNIT: &str = "the file does not say how bytes become floats, so pixel / 255 is taken; \
     give mean and std, or scale and zero point, if training used others";

/// Whether a file that starts with `head` is a TFLite model.
pub(super) fn is_tflite(head: &[u8]) -> bool {
    head.get(4..8) == Some(schema::IDENTIFIER)
}

/// Imports a float TFLite model of a plain convolutional network.
///
/// Its input is one batch `[n, height, width, channels]` or `[n, features]` in `f32`; features become one channel of
/// height 1. Weights at float32, or at int8 as dynamic-range quantization stores them, are read as the floats they
/// stand for. The network is named after the file.
///
/// # Errors
/// A file that is no TFLite model, one that is quantized throughout, or everything in it that releq cannot take.
pub fn tflite(path: &Path) -> Result<Imported, ImportError> {
    let bytes = read(path).map_err(|source| ImportError::Unreadable { file: path.to_owned(), source })?;
    imported(&bytes, path)
}

/// What the bytes of `path` hold.
fn imported(bytes: &[u8], path: &Path) -> Result<Imported, ImportError> {
    let not_tflite = |reason: String| ImportError::NotTflite { file: path.to_owned(), reason };
    if !is_tflite(bytes) {
        return Err(not_tflite(format!("its {} bytes do not say TFL3 at byte 4", bytes.len())));
    }
    let model = schema::decode(bytes)
        .map_err(|reason| not_tflite(format!("decoding its {} bytes failed ({reason})", bytes.len())))?;
    let outline = outline(&model).map_err(|(cause, remedy)| ImportError::Model {
        file: path.to_owned(),
        cause,
        remedy: remedy.to_owned(),
    })?;
    let name = path.file_stem().map_or_else(|| "network".to_owned(), |stem| stem.to_string_lossy().into_owned());
    let mut imported = Walk::new(path, &model, &outline, name).run()?;
    imported.notes.push(ASSUMED_UNIT.to_owned());
    Ok(imported)
}

/// The outline of a model that can be walked.
struct Outline<'a> {
    graph: &'a SubGraph<'a>,
    input: usize,
    spec: InputSpec,
    /// Whether the input is `[n, features]`.
    flat: bool,
    output: usize,
}

type Fault = (String, &'static str);

fn outline<'a>(model: &'a Model<'a>) -> Result<Outline<'a>, Fault> {
    if model.version != 3 {
        return Err((format!("its schema is version {}, not 3", model.version), "convert it with TensorFlow 2"));
    }
    let [graph] = &model.subgraphs[..] else {
        let count = model.subgraphs.len();
        return Err((format!("it has {count} graphs"), "convert one network without control flow"));
    };
    if graph.operators.is_empty() || graph.operators.len() > MOST_OPERATORS {
        let count = graph.operators.len();
        return Err((
            format!("it has {count} operators, not 1 to {MOST_OPERATORS}"),
            "convert a network for a microcontroller",
        ));
    }
    let tensor = |ids: &[i32], what: &str| match ids {
        &[id] => usize::try_from(id)
            .ok()
            .and_then(|id| Some((id, graph.tensors.get(id)?)))
            .ok_or_else(|| (format!("its {what} is no tensor of it"), "convert it again")),
        ids => Err((format!("it has {} {what}s", ids.len()), "convert a network with one image input and one output")),
    };
    let ((input, entry), (output, _)) = (tensor(&graph.inputs, "input")?, tensor(&graph.outputs, "output")?);
    if let Some(tensor) = quantized(graph) {
        return Err((
            format!("it is quantized already: its `{}` is {}", name(tensor), element_name(tensor.element)),
            "import the float model, converted without representative dataset; releq chooses the bits itself",
        ));
    }
    let (spec, flat) = input_spec(entry)?;
    if !walk::is_usual(spec.shape) {
        return Err((format!("its input has sizes {:?}", spec.shape), "convert a network for a microcontroller"));
    }
    Ok(Outline { graph, input, spec, flat, output })
}

/// The first tensor between layers that is no float.
fn quantized<'a>(graph: &'a SubGraph<'a>) -> Option<&'a Tensor<'a>> {
    let between = graph.inputs.iter().chain(graph.operators.iter().flat_map(|operator| &operator.outputs));
    let mut tensors = between.filter_map(|&id| graph.tensors.get(usize::try_from(id).ok()?));
    tensors.find(|tensor| [UINT8, INT16, INT8].contains(&tensor.element))
}

fn input_spec(input: &Tensor<'_>) -> Result<(InputSpec, bool), Fault> {
    let name = name(input);
    if input.element != FLOAT32 {
        let kind = element_name(input.element);
        return Err((format!("its input `{name}` is {kind}, not float32"), "convert it for float32 input"));
    }
    let shape = if input.signature.is_empty() { &input.shape } else { &input.signature };
    let usual = |sizes: &[i32]| sizes.iter().all(|size| (1..=LARGEST).contains(size));
    match shape[..] {
        [_, h, w, c] if usual(&[h, w, c]) => Ok((InputSpec::unit([c as usize, h as usize, w as usize]), false)),
        [_, features] if usual(&[features]) => Ok((InputSpec::unit([1, 1, features as usize]), true)),
        _ => Err((
            format!("its input `{name}` has sizes {shape:?}, not [n, height, width, channels] or [n, features]"),
            "convert it with a fixed image size; only the batch may be dynamic",
        )),
    }
}

/// The name of a tensor, up to where a converter joined another.
fn name<'a>(tensor: &Tensor<'a>) -> &'a str {
    tensor.name.unwrap_or_default().split(';').next().unwrap_or_default()
}

const FLOAT32: i8 = 0;
const INT32: i8 = 2;
const UINT8: i8 = 3;
const INT16: i8 = 7;
const INT8: i8 = 9;

fn element_name(element: i8) -> String {
    match element {
        FLOAT32 => "float32".to_owned(),
        1 => "float16".to_owned(),
        INT32 => "int32".to_owned(),
        UINT8 => "uint8".to_owned(),
        4 => "int64".to_owned(),
        INT16 => "int16".to_owned(),
        INT8 => "int8".to_owned(),
        other => format!("of number {other} in TFLite's list of types"),
    }
}
