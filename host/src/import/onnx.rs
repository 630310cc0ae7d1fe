//! Opens an ONNX file and checks its outline; [`super::walk`] turns its nodes into layers.

use std::path::Path;

use prost::Message;

use super::proto::{GraphProto, ModelProto, ValueInfoProto, element};
use super::walk::Walk;
use super::{ImportError, Imported};
use crate::network::InputSpec;

/// Said of every file, since ONNX has no place for it.
pub(super) const ASSUMED_UNIT: &str = "the file does not say how pixels become floats, so pixel / 255 is taken; give mean and std if training used others";
/// Before this version inference and training were told apart by other means.
const OLDEST_OPSET: i64 = 7;
/// Larger sizes are damage, and sums of three such sizes cannot overflow.
const LARGEST: i64 = 1 << 16;

/// The outline of a model that can be walked.
pub(super) struct Outline<'a> {
    pub(super) graph: &'a GraphProto,
    pub(super) opset: i64,
    pub(super) input: &'a str,
    /// Channels, height, width.
    pub(super) shape: [usize; 3],
    /// The batch size, where the file fixes one.
    pub(super) batch: Option<i64>,
    pub(super) output: &'a str,
}

/// Imports an ONNX model of a plain convolutional classifier, weights inside or in files beside it.
///
/// Its input is one image batch `[n, channels, height, width]` in `f32`; its output is `[n, classes]`.
/// The network is named after the file; layers are named after their weights where those have names.
///
/// # Errors
/// A file that is no ONNX model, or the first thing in it that releq cannot take, with what would make it work.
pub fn onnx(path: &Path) -> Result<Imported, ImportError> {
    let bytes = std::fs::read(path).map_err(|source| ImportError::Unreadable { file: path.to_owned(), source })?;
    let not_onnx = |reason: String| ImportError::NotOnnx { file: path.to_owned(), reason };
    let model = ModelProto::decode(bytes.as_slice())
        .map_err(|error| not_onnx(format!("decoding its {} bytes failed ({error})", bytes.len())))?;
    if model.graph.as_ref().is_none_or(|graph| graph.node.is_empty()) {
        return Err(not_onnx(format!("there is no graph in its {} bytes", bytes.len())));
    }
    let outline = outline(&model).map_err(|(cause, remedy)| ImportError::Model {
        file: path.to_owned(),
        cause,
        remedy: remedy.to_owned(),
    })?;
    let name = path.file_stem().map_or_else(|| "network".to_owned(), |stem| stem.to_string_lossy().into_owned());
    let mut imported = Walk::new(path, &outline, name, InputSpec::unit(outline.shape)).run(&outline)?;
    imported.notes.push(ASSUMED_UNIT.to_owned());
    Ok(imported)
}

type Fault = (String, &'static str);

fn outline(model: &ModelProto) -> Result<Outline<'_>, Fault> {
    let graph = model.graph.as_ref().ok_or_else(|| ("it has no graph".to_owned(), "export it again"))?;
    let opset = opset(model)?;
    let constants: std::collections::HashSet<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
    let inputs: Vec<&ValueInfoProto> = graph.input.iter().filter(|i| !constants.contains(i.name.as_str())).collect();
    let [input] = inputs[..] else {
        return Err((format!("it has {} inputs", inputs.len()), "export a network with one image input"));
    };
    let [output] = &graph.output[..] else {
        return Err((
            format!("it has {} outputs", graph.output.len()),
            "export the network with its logits as only output",
        ));
    };
    let (batch, shape) = input_shape(input)?;
    Ok(Outline { graph, opset, input: &input.name, shape, batch, output: &output.name })
}

fn opset(model: &ModelProto) -> Result<i64, Fault> {
    let own = |domain: &str| domain.is_empty() || domain == "ai.onnx";
    match model.opset_import.iter().find(|opset| own(&opset.domain)).map(|opset| opset.version) {
        Some(version) if version >= OLDEST_OPSET => Ok(version),
        Some(version) => Err((
            format!("its operator set is version {version}, older than {OLDEST_OPSET}"),
            "export it with opset 13 or later",
        )),
        None => Err(("it names no operator set, so it was cut short".to_owned(), "export it again")),
    }
}

fn input_shape(input: &ValueInfoProto) -> Result<(Option<i64>, [usize; 3]), Fault> {
    let tensor = input.r#type.as_ref().and_then(|kind| kind.tensor_type.as_ref());
    let element = tensor.map_or(0, |tensor| tensor.elem_type);
    if element != element::FLOAT {
        return Err((
            format!("its input `{}` has element type {element}, not float32", input.name),
            "export it for float32 input",
        ));
    }
    let dims: Vec<Option<i64>> = tensor
        .and_then(|tensor| tensor.shape.as_ref())
        .map(|shape| shape.dim.iter().map(|dim| dim.dim_value.filter(|&size| size > 0)).collect())
        .unwrap_or_default();
    match dims[..] {
        [batch, Some(c), Some(h), Some(w)] if [c, h, w].iter().all(|&size| size <= LARGEST) => {
            Ok((batch, [c as usize, h as usize, w as usize]))
        }
        _ => Err((
            format!(
                "its input `{}` is not [batch, channels, height, width] with the last three sizes fixed",
                input.name
            ),
            "export it with a four-dimensional input of fixed image size; only the batch may be dynamic",
        )),
    }
}
