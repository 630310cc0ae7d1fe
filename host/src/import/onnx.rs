//! Opens an ONNX file and checks its outline; [`super::walk`] turns its nodes into layers.

use std::path::Path;

use prost::Message;

use super::proto::{GraphProto, ModelProto, NodeProto, ValueInfoProto, element};
use super::walk::{Form, Walk};
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
    /// How the file orders the input's axes.
    pub(super) form: Form,
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
    let bytes = read(path).map_err(|source| ImportError::Unreadable { file: path.to_owned(), source })?;
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

/// Protobuf's own limit on a message, and more than any model for a microcontroller takes.
const MOST_BYTES: u64 = 1 << 31;

/// The bytes of an ordinary file; a device or a pipe may never end.
pub(super) fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let about = std::fs::metadata(path)?;
    if !about.is_file() {
        return Err(std::io::Error::other("it is no ordinary file"));
    }
    if about.len() > MOST_BYTES {
        return Err(std::io::Error::other("it is larger than 2 GiB, which no model for a microcontroller is"));
    }
    std::fs::read(path)
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
    let (batch, shape, form) = input_shape(input, graph)?;
    Ok(Outline { graph, opset, input: &input.name, shape, batch, form, output: &output.name })
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

/// Batch, channels, height and width, and the order they have in the file.
fn input_shape(input: &ValueInfoProto, graph: &GraphProto) -> Result<(Option<i64>, [usize; 3], Form), Fault> {
    if input.element() != element::FLOAT {
        return Err((
            format!("its input `{}` has element type {}, not float32", input.name, input.element()),
            "export it for float32 input",
        ));
    }
    let usual = |size: i64| (size <= LARGEST).then_some(size as usize);
    let fixed = |sizes: [Option<i64>; 3]| {
        let [a, b, c] = sizes.map(|size| size.and_then(usual));
        Some([a?, b?, c?])
    };
    let shape = match input.sizes()[..] {
        [batch, a, b, c] => fixed([a, b, c]).map(|[a, b, c]| {
            if becomes_channels_first(&input.name, graph) {
                (batch, [c, a, b], Form::ChannelsLast)
            } else {
                (batch, [a, b, c], Form::Image)
            }
        }),
        // Features without channels are one row of pixels.
        [batch, Some(features)] => usual(features).map(|features| (batch, [1, 1, features], Form::Flat)),
        _ => None,
    };
    shape.ok_or_else(|| {
        (
            format!(
                "its input `{}` is not [batch, channels, height, width] with the last three sizes fixed",
                input.name
            ),
            "export it with a four-dimensional input of fixed image size; only the batch may be dynamic",
        )
    })
}

/// Whether every reader of `input` first puts its channels before height and width, as converters from Keras write it.
fn becomes_channels_first(input: &str, graph: &GraphProto) -> bool {
    let mut readers = graph.node.iter().filter(|node| node.input.iter().any(|name| name == input)).peekable();
    let turns = |node: &NodeProto| {
        node.op_type == "Transpose"
            && node.attribute.iter().any(|perm| perm.name == "perm" && perm.ints == [0, 3, 1, 2])
    };
    readers.peek().is_some() && readers.all(turns)
}
