//! Imports of small models built here from the same protobuf types, and of real ones where the machine has them.

mod folding;
mod hostile;
mod joining;

use std::path::{Path, PathBuf};

use prost::Message;

use super::proto::*;
use super::{ImportError, Imported, layer_table, onnx};
use crate::network::{Graph, Op, Source, Window};

fn attribute(name: &str) -> AttributeProto {
    AttributeProto { name: name.to_owned(), ..AttributeProto::default() }
}

fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto { ints: values.to_vec(), ..attribute(name) }
}

fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { i: value, ..attribute(name) }
}

fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto { f: value, ..attribute(name) }
}

fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto { s: value.as_bytes().to_vec(), ..attribute(name) }
}

/// A node that makes `output` from `inputs`; its name is `output`, too.
fn node(op: &str, inputs: &[&str], output: &str, attributes: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        op_type: op.to_owned(),
        input: inputs.iter().map(|&name| name.to_owned()).collect(),
        output: vec![output.to_owned()],
        name: output.to_owned(),
        attribute: attributes,
        ..NodeProto::default()
    }
}

/// Values 0, 1, 2… as raw bytes.
fn counted(name: &str, dims: &[i64]) -> TensorProto {
    let count: i64 = dims.iter().product();
    let raw_data = (0..count).flat_map(|value| (value as f32).to_le_bytes()).collect();
    TensorProto {
        name: name.to_owned(),
        dims: dims.to_vec(),
        data_type: element::FLOAT,
        raw_data,
        ..TensorProto::default()
    }
}

fn whole(name: &str, values: &[i64]) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        dims: vec![values.len() as i64],
        data_type: element::INT64,
        int64_data: values.to_vec(),
        ..TensorProto::default()
    }
}

fn value(name: &str, dims: &[Option<i64>]) -> ValueInfoProto {
    let dim = dims.iter().map(|&dim_value| DimensionProto { dim_value }).collect();
    let tensor_type = Some(TensorTypeProto { elem_type: element::FLOAT, shape: Some(TensorShapeProto { dim }) });
    ValueInfoProto { name: name.to_owned(), r#type: Some(TypeProto { tensor_type }) }
}

/// A model over a `[n, 2, 6, 6]` image `x` whose last node's output is the model's.
fn model(node: Vec<NodeProto>, initializer: Vec<TensorProto>) -> ModelProto {
    let output = node.last().map_or("", |last| &last.output[0]);
    let graph = GraphProto {
        initializer,
        input: vec![value("x", &[None, Some(2), Some(6), Some(6)])],
        output: vec![value(output, &[None, None])],
        value_info: Vec::new(),
        node,
    };
    let opset_import = vec![OperatorSetIdProto { domain: String::new(), version: 18 }];
    ModelProto { graph: Some(graph), opset_import }
}

/// Leaves a file for the fuzzer to start from (host/fuzz), where `RELEQ_SEEDS` names a directory for them.
pub(super) fn keep_seed(kind: &str, bytes: &[u8]) {
    const MOST: usize = 8 << 10;
    if let Some(seeds) = std::env::var_os("RELEQ_SEEDS").filter(|_| bytes.len() <= MOST) {
        let directory = Path::new(&seeds).join(kind);
        std::fs::create_dir_all(&directory).unwrap();
        let name = format!("{:08x}", releq_format::crc::crc32(bytes));
        std::fs::write(directory.join(name), bytes).unwrap();
    }
}

fn import_bytes(bytes: &[u8]) -> Result<Imported, ImportError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tiny.onnx");
    std::fs::write(&path, bytes).unwrap();
    onnx(&path)
}

fn import(model: &ModelProto) -> Result<Imported, ImportError> {
    let bytes = model.encode_to_vec();
    keep_seed("onnx", &bytes);
    import_bytes(&bytes)
}

/// The whole message, without the scratch directory.
fn refusal(model: &ModelProto) -> String {
    let text = import(model).unwrap_err().to_string();
    match text.split_once("tiny.onnx") {
        Some((before, after)) if text.starts_with("cannot") => {
            let start = before.rfind(' ').map_or(0, |at| at + 1);
            format!("{}tiny.onnx{after}", &before[..start])
        }
        _ => text,
    }
}

/// The image, pooled to two numbers.
fn pooled() -> NodeProto {
    node("GlobalAveragePool", &["x"], "pooled", vec![])
}

/// `last` after a flattened image of 2 features, with two constants to choose from.
fn after_features(last: NodeProto) -> ModelProto {
    let nodes = vec![pooled(), node("Flatten", &["pooled"], "flat", vec![]), last];
    model(nodes, vec![counted("fc.weight", &[3, 2]), counted("right", &[2, 3]), counted("bias", &[3])])
}

fn ops(imported: &Imported) -> Vec<(&str, &Op)> {
    imported.network.graph.nodes.iter().map(|node| (node.name.as_str(), &node.op)).collect()
}

fn data<'a>(imported: &'a Imported, name: &str) -> &'a [f32] {
    &imported.network.parameters[name].data
}

#[test]
fn a_small_network_imports_layer_by_layer() {
    let nodes = vec![
        node(
            "Conv",
            &["x", "stem.weight", "stem.bias"],
            "a",
            vec![ints("pads", &[1, 0, 2, 1]), ints("strides", &[2, 1])],
        ),
        node("BatchNormalization", &["a", "g", "b", "m", "v"], "c", vec![float("epsilon", 0.5)]),
        node("Relu", &["c"], "d", vec![]),
        node("Conv", &["d", "dw"], "e", vec![int("group", 4), text("auto_pad", "SAME_UPPER")]),
        node("Add", &["e", "d"], "f", vec![]),
        node("MaxPool", &["f"], "g1", vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])]),
        node("Dropout", &["g1"], "g2", vec![]),
        node("Flatten", &["g2"], "h", vec![]),
        node("Gemm", &["h", "head.weight", "head.bias"], "i", vec![int("transB", 1)]),
        node("Softmax", &["i"], "y", vec![]),
    ];
    let weights = vec![
        counted("stem.weight", &[4, 2, 3, 3]),
        counted("stem.bias", &[4]),
        counted("g", &[4]),
        counted("b", &[4]),
        counted("m", &[4]),
        counted("v", &[4]),
        counted("dw", &[4, 1, 2, 2]),
        counted("head.weight", &[5, 16]),
        counted("head.bias", &[5]),
    ];
    let imported = import(&model(nodes, weights)).unwrap();
    let stem = Window { kernel: [3, 3], stride: [2, 1], padding: [1, 0, 2, 1] };
    let depthwise = Window { kernel: [2, 2], stride: [1, 1], padding: [0, 0, 1, 1] };
    assert_eq!(
        ops(&imported),
        [
            ("stem", &Op::Conv { out: 4, window: stem, groups: 1, bias: true }),
            ("bn1", &Op::BatchNorm { eps: 0.5 }),
            ("relu1", &Op::Relu),
            ("conv1", &Op::Conv { out: 4, window: depthwise, groups: 4, bias: false }),
            ("add1", &Op::Add),
            ("maxpool1", &Op::MaxPool { window: Window::square(2, 2, 0) }),
            ("flatten1", &Op::Flatten),
            ("head", &Op::Dense { out: 5, bias: true }),
        ]
    );
    assert_eq!(imported.network.graph.nodes[4].inputs, [Source::Node(3), Source::Node(2)]);
    assert_eq!(
        imported.notes,
        [
            "Dropout `g2` was left out; it does nothing at inference",
            "Softmax `y` was left out; the network gives logits, whose largest is the same class",
            "the file does not say how pixels become floats, so pixel / 255 is taken; \
             give mean and std if training used others",
        ]
    );
    assert_eq!(imported.network.graph.name, "tiny");
    let rows = layer_table(&imported.network).unwrap();
    let row = |at: usize| (rows[at].name.as_str(), rows[at].op, rows[at].output, rows[at].parameters, rows[at].macs);
    assert_eq!(row(0), ("stem", "conv", [4, 4, 5], 76, 4 * 4 * 5 * 2 * 9));
    assert_eq!(row(1), ("bn1", "batchnorm", [4, 4, 5], 16, 0));
    assert_eq!(row(3), ("conv1", "depthwise", [4, 4, 5], 16, 4 * 4 * 5 * 4));
    assert_eq!(row(5), ("maxpool1", "maxpool", [4, 2, 2], 0, 0));
}

#[test]
fn a_network_with_too_few_features_for_its_weights_is_refused() {
    let last = node("Gemm", &["flat", "right"], "y", vec![int("transB", 1)]);
    assert_eq!(
        refusal(&after_features(last)),
        "cannot import Gemm `y`: its weights take 3 features and its input has 2; \
         the file contradicts itself; export it again"
    );
}

#[test]
fn gemm_transposes_and_scales() {
    let scaled = vec![float("alpha", 2.0), float("beta", 0.5)];
    let imported = import(&after_features(node("Gemm", &["flat", "right", "bias"], "y", scaled))).unwrap();
    assert_eq!(data(&imported, "fc1.weight"), [0.0, 6.0, 2.0, 8.0, 4.0, 10.0]);
    assert_eq!(data(&imported, "fc1.bias"), [0.0, 0.5, 1.0]);
    let straight = node("Gemm", &["flat", "fc.weight"], "y", vec![int("transB", 1)]);
    let imported = import(&after_features(straight)).unwrap();
    assert_eq!(data(&imported, "fc.weight"), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    let turned = node("Gemm", &["flat", "right"], "y", vec![int("transA", 1)]);
    assert_eq!(
        refusal(&after_features(turned)),
        "cannot import Gemm `y`: it transposes its input; multiply [n, features] by the weights"
    );
}

#[test]
fn a_constant_added_after_a_layer_is_its_bias() {
    let mut tiny = after_features(node("MatMul", &["flat", "right"], "m", vec![]));
    let graph = tiny.graph.as_mut().unwrap();
    graph.node.push(node("Add", &["bias", "m"], "y", vec![]));
    graph.output[0].name = "y".to_owned();
    let imported = import(&tiny).unwrap();
    assert_eq!(ops(&imported)[2], ("fc1", &Op::Dense { out: 3, bias: true }));
    assert_eq!(data(&imported, "fc1.weight"), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    assert_eq!(data(&imported, "fc1.bias"), [0.0, 1.0, 2.0]);
    // Read twice, the layer's own output is wanted, too.
    let graph = tiny.graph.as_mut().unwrap();
    graph.node.push(node("Add", &["m", "y"], "z", vec![]));
    graph.output[0].name = "z".to_owned();
    assert_eq!(
        refusal(&tiny),
        "cannot import Add `y`: it combines a constant with what another node reads, too; \
         move it right after the convolution or fully connected layer whose weights and bias it changes"
    );
}

#[test]
fn sizes_computed_from_the_image_flatten_it() {
    let nodes = vec![
        node("Shape", &["x"], "s", vec![]),
        node("Constant", &[], "zero", vec![int("value_int", 0)]),
        node("Gather", &["s", "zero"], "n", vec![int("axis", 0)]),
        node("Unsqueeze", &["n", "axes"], "n1", vec![]),
        node("Constant", &[], "rest", vec![ints("value_ints", &[-1])]),
        node("Concat", &["n1", "rest"], "target", vec![int("axis", 0)]),
        node("Reshape", &["x", "target"], "flat", vec![]),
        node("Gemm", &["flat", "w"], "y", vec![]),
    ];
    let imported = import(&model(nodes, vec![whole("axes", &[0]), counted("w", &[72, 3])])).unwrap();
    assert_eq!(ops(&imported).len(), 2);
    assert_eq!(ops(&imported)[0], ("flatten1", &Op::Flatten));
    // The same as newer exporters write it.
    let nodes = vec![
        node("Shape", &["x"], "n", vec![int("start", 0), int("end", 1)]),
        node("Shape", &["x"], "c", vec![int("start", -3), int("end", -2)]),
        node("Concat", &["n", "c", "rest"], "image", vec![int("axis", 0)]),
        node("Reshape", &["x", "image"], "same", vec![]),
        node("Concat", &["n", "all"], "target", vec![int("axis", 0)]),
        node("Reshape", &["same", "target"], "flat", vec![]),
        node("Gemm", &["flat", "w"], "y", vec![]),
    ];
    let constants = vec![whole("rest", &[6, -1]), whole("all", &[72]), counted("w", &[72, 3])];
    assert_eq!(ops(&import(&model(nodes, constants)).unwrap())[0], ("flatten1", &Op::Flatten));
}

#[test]
fn reshapes_that_keep_the_batch_are_taken_and_others_refused() {
    let reshaped = |target: &[i64]| {
        let nodes = vec![node("Reshape", &["x", "to"], "flat", vec![]), node("Gemm", &["flat", "w"], "y", vec![])];
        model(nodes, vec![whole("to", target), counted("w", &[72, 3])])
    };
    for target in [[-1, 72], [0, -1]] {
        assert_eq!(ops(&import(&reshaped(&target)).unwrap())[0].0, "flatten1");
    }
    assert_eq!(
        refusal(&reshaped(&[-1, 36])),
        "cannot import Reshape `flat`: it reshapes [2, 6, 6] to [-1, 36]; \
         flatten to [n, features] once, before the fully connected layers"
    );
    let mut fixed = reshaped(&[1, -1]);
    fixed.graph.as_mut().unwrap().input[0] = value("x", &[Some(1), Some(2), Some(6), Some(6)]);
    assert_eq!(ops(&import(&fixed).unwrap())[0].0, "flatten1");
}

#[test]
fn means_over_height_and_width_pool() {
    for (axes, attributes) in
        [(Some("axes"), vec![int("keepdims", 0)]), (None, vec![int("keepdims", 0), ints("axes", &[-1, 2])])]
    {
        let inputs: Vec<&str> = std::iter::once("x").chain(axes).collect();
        let tiny = model(vec![node("ReduceMean", &inputs, "y", attributes)], vec![whole("axes", &[2, 3])]);
        assert_eq!(ops(&import(&tiny).unwrap()), [("gap1", &Op::GlobalAvgPool)]);
    }
    assert_eq!(
        refusal(&model(vec![node("ReduceMean", &["x"], "y", vec![ints("axes", &[1])])], vec![])),
        "cannot import ReduceMean `y`: it averages over axes [1]; average over height and width, axes 2 and 3"
    );
}

#[test]
fn windows_that_would_compute_something_else_are_refused() {
    let pool = |op: &str, attributes: Vec<AttributeProto>| {
        refusal(&model(vec![node(op, &["x"], "y", attributes)], vec![counted("w", &[2, 2, 3, 3])]))
    };
    let conv = |attributes: Vec<AttributeProto>| {
        refusal(&model(vec![node("Conv", &["x", "w"], "y", attributes)], vec![counted("w", &[2, 2, 3, 3])]))
    };
    assert_eq!(
        conv(vec![ints("dilations", &[2, 2])]),
        "cannot import Conv `y`: its dilations are [2, 2]; use dilation 1; releq has no kernel with gaps"
    );
    assert_eq!(
        conv(vec![ints("pads", &[-1, 0, 0, 0])]),
        "cannot import Conv `y`: its pads are [-1, 0, 0, 0], not 4 sizes from 0 to 65536; \
         use two-dimensional layers without negative padding"
    );
    assert_eq!(
        conv(vec![ints("kernel_shape", &[2, 2])]),
        "cannot import Conv `y`: its kernel_shape is not that of its weights; \
         the file contradicts itself; export it again"
    );
    assert_eq!(
        pool("MaxPool", vec![ints("kernel_shape", &[3, 3]), ints("strides", &[2, 2]), int("ceil_mode", 1)]),
        "cannot import MaxPool `y`: it rounds its output size up over a 6×6 image; \
         export it with ceil_mode=False, or pad so that the windows fit"
    );
    assert_eq!(
        pool("AveragePool", vec![ints("kernel_shape", &[3, 3]), ints("pads", &[1, 1, 1, 1])]),
        "cannot import AveragePool `y`: it pads and leaves the padding out of the mean; \
         use count_include_pad=True, or no padding"
    );
    assert_eq!(
        pool("MaxPool", vec![ints("kernel_shape", &[9, 9])]),
        "cannot import MaxPool `y`: layer `maxpool1`: its 9×9 kernel does not fit a 6×6 input; \
         change its sizes so that they fit; releq neither broadcasts nor groups otherwise"
    );
    assert_eq!(
        pool("MaxPool", vec![ints("kernel_shape", &[2, 2]), int("surprise", 1)]),
        "cannot import MaxPool `y`: releq does not know its attribute `surprise`; \
         export it with the standard operators of opset 11 to 21"
    );
}

#[test]
fn rounding_up_that_changes_nothing_is_taken() {
    let attributes = vec![ints("kernel_shape", &[6, 6]), ints("strides", &[6, 6]), int("ceil_mode", 1)];
    let imported = import(&model(vec![node("MaxPool", &["x"], "y", attributes)], vec![])).unwrap();
    assert_eq!(ops(&imported), [("maxpool1", &Op::MaxPool { window: Window::square(6, 6, 0) })]);
}

#[test]
fn operators_without_a_layer_are_named_with_a_way_out() {
    assert_eq!(
        refusal(&model(vec![node("Clip", &["x"], "y", vec![])], vec![])),
        "cannot import Clip `y`: it clips to -inf … inf; \
         clip from 0 up, as ReLU and ReLU6 do; fine-tune with one of them and export again"
    );
    assert_eq!(
        refusal(&model(vec![node("LSTM", &["x"], "y", vec![])], vec![])),
        "cannot import LSTM `y`: releq has no layer for this operator; rewrite the model with Conv, Gemm, MatMul, \
         BatchNormalization, Relu, Clip, MaxPool, AveragePool, GlobalAveragePool, ReduceMean, Add, Concat, Flatten \
         and Reshape"
    );
    let mut foreign = node("Conv", &["x"], "y", vec![]);
    foreign.domain = "com.microsoft".to_owned();
    assert_eq!(
        refusal(&model(vec![foreign], vec![])),
        "cannot import Conv `y`: it is of the domain `com.microsoft`; export it with the standard operators of ONNX"
    );
    let inner = vec![node("Softmax", &["x"], "s", vec![]), node("GlobalAveragePool", &["s"], "y", vec![])];
    assert_eq!(
        refusal(&model(inner, vec![])),
        "cannot import Softmax `s`: it is not the last node, over the classes; \
         keep it for the very end, over [n, classes]"
    );
}

#[test]
fn groups_are_one_or_depthwise() {
    let mut tiny =
        model(vec![node("Conv", &["x", "w"], "y", vec![int("group", 2)])], vec![counted("w", &[4, 1, 6, 6])]);
    assert_eq!(
        refusal(&tiny),
        "cannot import Conv `y`: its 2 groups take 2 channels to 4; \
         use one group, or as many groups as input and output channels (depthwise)"
    );
    tiny.graph.as_mut().unwrap().initializer[0] = counted("w", &[2, 1, 6, 6]);
    assert_eq!(layer_table(&import(&tiny).unwrap().network).unwrap()[0].op, "depthwise");
}

#[test]
fn outlines_that_are_no_classifier_are_refused() {
    let mut tiny = model(vec![pooled()], vec![]);
    tiny.opset_import[0].version = 6;
    assert_eq!(
        refusal(&tiny),
        "cannot import tiny.onnx: its operator set is version 6, older than 7; export it with opset 13 or later"
    );
    tiny.opset_import.clear();
    assert_eq!(
        refusal(&tiny),
        "cannot import tiny.onnx: it names no operator set, so it was cut short; export it again"
    );
    let mut tiny = model(vec![pooled()], vec![]);
    tiny.graph.as_mut().unwrap().input[0] = value("x", &[None, Some(2), None, Some(6)]);
    assert_eq!(
        refusal(&tiny),
        "cannot import tiny.onnx: its input `x` is not [batch, channels, height, width] with the last three sizes \
         fixed; export it with a four-dimensional input of fixed image size; only the batch may be dynamic"
    );
    assert_eq!(
        refusal(&model(vec![node("Relu", &["x"], "y", vec![])], vec![])),
        "cannot import tiny.onnx: its output is a map of shape [2, 6, 6] and not one logit a class; \
         releq runs classifiers; export the network with its pooling and last layer"
    );
}

#[test]
fn weights_that_cannot_be_read_are_named() {
    let with = |weight: TensorProto| refusal(&model(vec![node("Conv", &["x", "w"], "y", vec![])], vec![weight]));
    let good = || counted("w", &[2, 2, 6, 6]);
    let half = TensorProto { data_type: 10, ..good() };
    assert_eq!(
        with(half),
        "cannot read tensor `w`: its element type is float16, where weights are float32; \
         export the float32 model; releq chooses the bits itself"
    );
    let mut short = good();
    short.raw_data.truncate(400);
    assert_eq!(
        with(short),
        "cannot read tensor `w`: it has 100 elements for sizes [2, 2, 6, 6]; the file is damaged; export it again"
    );
    let mut broken = good();
    broken.raw_data[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    assert_eq!(
        with(broken),
        "cannot read tensor `w`: it holds NaN; training diverged; export a checkpoint from before that"
    );
}

fn in_file(location: &str, offset: &str, length: &str) -> TensorProto {
    let entry = |key: &str, value: &str| StringStringEntryProto { key: key.to_owned(), value: value.to_owned() };
    TensorProto {
        raw_data: Vec::new(),
        data_location: 1,
        external_data: vec![entry("location", location), entry("offset", offset), entry("length", length)],
        ..counted("w", &[2, 2, 6, 6])
    }
}

#[test]
fn weights_beside_the_model_are_read_and_nowhere_else() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tiny.onnx");
    let with = |weight: TensorProto| {
        let tiny = model(vec![node("Conv", &["x", "w"], "y", vec![])], vec![weight]);
        std::fs::write(&path, tiny.encode_to_vec()).unwrap();
        onnx(&path).map_err(|error| error.to_string().replace(&directory.path().display().to_string(), "DIR"))
    };
    let mut blob = vec![0xEE; 8];
    blob.extend(counted("w", &[2, 2, 6, 6]).raw_data);
    std::fs::write(directory.path().join("tiny.data"), &blob).unwrap();
    let imported = with(in_file("tiny.data", "8", "576")).unwrap();
    assert_eq!(data(&imported, "conv1.weight")[..3], [0.0, 1.0, 2.0]);
    assert_eq!(
        with(in_file("tiny.data", "12", "576")).unwrap_err(),
        "cannot read tensor `w`: DIR/tiny.data ends after 572 of its 576 bytes; \
         the copy was cut short; fetch that file again"
    );
    assert_eq!(
        with(in_file("../secret", "0", "576")).unwrap_err(),
        "cannot read tensor `w`: its elements lie in `../secret`, outside the model's directory; \
         put that file beside the model and export again"
    );
    let missing = with(in_file("gone.data", "0", "576")).unwrap_err();
    assert!(missing.starts_with("cannot read tensor `w`: its elements lie in DIR/gone.data, which cannot be read ("));
    assert!(missing.ends_with("; keep that file beside the model"), "{missing}");
}

#[test]
fn cut_and_foreign_files_are_no_onnx() {
    let whole = model(vec![pooled()], vec![counted("w", &[8, 8])]).encode_to_vec();
    let error = import_bytes(&whole[..whole.len() / 2]).unwrap_err().to_string();
    assert!(error.contains("tiny.onnx as ONNX: decoding its "), "{error}");
    assert!(error.ends_with("; the file was cut short or is something else; export it again or fetch it again"));
    let error = import_bytes(b"").unwrap_err().to_string();
    assert!(error.contains("as ONNX: there is no graph in its 0 bytes; the file was cut short"), "{error}");
    assert!(matches!(import_bytes(b"<!DOCTYPE html><html>"), Err(ImportError::NotOnnx { .. })));
}

/// No prefix of a model and no flipped byte makes the import panic.
#[test]
fn damage_is_an_error_or_harmless() {
    let nodes = vec![
        node("Conv", &["x", "c.weight"], "a", vec![ints("pads", &[1, 1, 1, 1])]),
        node("MaxPool", &["a"], "b", vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])]),
        node("Reshape", &["b", "to"], "d", vec![]),
        node("Gemm", &["d", "f.weight"], "y", vec![]),
    ];
    let weights = vec![counted("c.weight", &[2, 2, 3, 3]), whole("to", &[0, -1]), counted("f.weight", &[18, 2])];
    let whole = model(nodes, weights).encode_to_vec();
    assert!(import_bytes(&whole).is_ok());
    for length in 0..whole.len() {
        assert!(import_bytes(&whole[..length]).is_err(), "a prefix of {length} bytes imported");
    }
    for at in 0..whole.len() {
        for flip in [0x01, 0x80, 0xFF] {
            let mut damaged = whole.clone();
            damaged[at] ^= flip;
            let _ = import_bytes(&damaged);
        }
    }
}

#[test]
fn nodes_beside_the_way_are_left_out_and_noted() {
    let mut tiny = model(vec![node("LSTM", &["x"], "unused", vec![]), pooled()], vec![]);
    tiny.graph.as_mut().unwrap().output[0].name = "pooled".to_owned();
    let imported = import(&tiny).unwrap();
    assert_eq!(imported.notes[0], "1 node(s) that do not lead to the output were left out");
}

#[test]
fn normalisation_is_one_value_a_channel() {
    let imported = import(&model(vec![pooled()], vec![])).unwrap();
    let set = imported.clone().normalised(&[0.5, 0.25], &[0.5, 2.0]).unwrap();
    assert_eq!((set.network.graph.input.mean, set.network.graph.input.std), (vec![0.5, 0.25], vec![0.5, 2.0]));
    assert!(set.notes.is_empty());
    assert_eq!(
        imported.normalised(&[0.5], &[0.5]).unwrap_err().to_string(),
        "cannot set the input's normalisation: the input has 2 channel(s), not 1 means and 1 stds; \
         pass one mean and one std a channel, every std above 0"
    );
}

/// A trained model of this machine: where `RELEQ_DATA` says, or beside the workspace.
fn real(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("RELEQ_DATA").map(PathBuf::from);
    let root = root.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"));
    let path = root.join("models").join(name);
    if !path.is_file() {
        println!("skipped: no data");
    }
    path.is_file().then_some(path)
}

fn totals(imported: &Imported) -> (usize, u64) {
    let rows = layer_table(&imported.network).unwrap();
    (rows.iter().map(|row| row.parameters).sum(), rows.iter().map(|row| row.macs).sum())
}

#[test]
fn trained_lenet_has_the_parameters_of_its_safetensors() {
    let (Some(model), Some(weights)) = (real("lenet-mnist.onnx"), real("lenet-mnist.safetensors")) else { return };
    let imported = onnx(&model).unwrap();
    let bytes = std::fs::read(weights).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(tensors.len(), imported.network.parameters.len());
    for (name, view) in tensors.iter() {
        let ours = &imported.network.parameters[name];
        let ours_bytes: Vec<u8> = ours.data.iter().flat_map(|value| value.to_le_bytes()).collect();
        assert_eq!((ours.shape.as_slice(), ours_bytes.as_slice()), (view.shape(), view.data()), "{name}");
    }
    assert_eq!(totals(&imported), (431_080, 2_293_000));
}

#[test]
fn trained_networks_import_with_their_sizes() {
    // MobileNet's exporter folded batch norm: of its 823,722 parameters one in each of 5,472 channels is gone.
    for (name, weighted, sizes) in
        [("simplenet-cifar10.onnx", 5, (62_006, 651_720)), ("mobilenetv1-w0.5-cifar10.onnx", 28, (818_250, 12_167_168))]
    {
        let Some(path) = real(name) else { return };
        let imported = onnx(&path).unwrap();
        assert_eq!((imported.network.graph.weighted().len(), totals(&imported)), (weighted, sizes), "{name}");
    }
}

/// The shortcuts of ResNet-20 without parameters: slices and pads in both exporters' files, and chains of sizes in one.
#[test]
fn shortcuts_by_slicing_and_padding_are_one_layer() {
    for name in ["resnet20-cifar10.onnx", "resnet20-cifar10-dynamo.onnx"] {
        let Some(path) = real(name) else { return };
        let imported = onnx(&path).unwrap();
        let shortcuts: Vec<&Op> =
            imported.network.graph.nodes.iter().map(|node| &node.op).filter(is_shortcut).collect();
        let shortcut = |channels| Op::Shortcut { stride: [2, 2], before: channels, after: channels };
        assert_eq!(shortcuts, [&shortcut(8), &shortcut(16)], "{name}");
        assert_eq!((imported.network.graph.weighted().len(), totals(&imported)), (20, (269_034, 40_551_040)), "{name}");
    }
}

fn is_shortcut(op: &&Op) -> bool {
    matches!(op, Op::Shortcut { .. })
}

#[test]
fn a_cut_copy_of_a_real_model_says_so() {
    let Some(path) = real("lenet-mnist.onnx") else { return };
    let bytes = std::fs::read(path).unwrap();
    let error = import_bytes(&bytes[..1_000_000]).unwrap_err().to_string();
    assert!(error.contains("tiny.onnx as ONNX: decoding its 1000000 bytes failed ("), "{error}");
}
