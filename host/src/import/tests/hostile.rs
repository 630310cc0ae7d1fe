//! Files that are broken or mean harm: each ends in a sentence of fact, cause and remedy, soon and in little memory.

use std::path::Path;
use std::time::{Duration, Instant};

use super::*;

/// Nobody waits longer for a refusal.
const SOON: Duration = Duration::from_secs(1);

/// Imports `file` and checks that it is refused in time, in three parts, one of which is `fragment`.
fn refused(name: &str, fragment: &str, import: impl FnOnce() -> Result<Imported, ImportError>) {
    let started = Instant::now();
    let outcome = import();
    let taken = started.elapsed();
    let Err(error) = outcome else { panic!("{name}: it was imported") };
    let text = error.to_string();
    assert!(text.contains(fragment), "{name}: {text}");
    assert!(text.matches("; ").count() >= 1 && text.contains(": ") && text.len() < 60_000, "{name}: {text}");
    assert!(taken < SOON, "{name}: took {taken:?}");
    println!("figure: hostile model files refused 1");
}

/// A model whose one layer is `op` with `attributes` and a constant `w` beside the image.
fn layer(op: &str, attributes: Vec<AttributeProto>, w: TensorProto) -> ModelProto {
    model(vec![node(op, &["x", "w"], "y", attributes)], vec![w])
}

fn kernel() -> TensorProto {
    counted("w", &[2, 2, 3, 3])
}

fn conv(attributes: Vec<AttributeProto>) -> ModelProto {
    layer("Conv", attributes, kernel())
}

fn pool(attributes: Vec<AttributeProto>) -> ModelProto {
    model(vec![node("MaxPool", &["x"], "y", attributes)], vec![])
}

/// A reshape of the image to whole numbers that `nodes` compute as `to`.
fn shaped(mut nodes: Vec<NodeProto>, constants: Vec<TensorProto>) -> ModelProto {
    nodes.push(node("Reshape", &["x", "to"], "y", vec![]));
    model(nodes, constants)
}

fn with_input(dims: &[Option<i64>]) -> ModelProto {
    let mut tiny = model(vec![pooled()], vec![]);
    tiny.graph.as_mut().unwrap().input[0] = value("x", dims);
    tiny
}

fn changed(change: impl FnOnce(&mut GraphProto)) -> ModelProto {
    let mut tiny = conv(vec![]);
    change(tiny.graph.as_mut().unwrap());
    tiny
}

fn scalar(name: &str, value: f32) -> TensorProto {
    TensorProto { dims: vec![], raw_data: value.to_le_bytes().to_vec(), ..counted(name, &[1]) }
}

#[test]
fn bytes_that_are_no_model() {
    let whole = conv(vec![]).encode_to_vec();
    let endless = [&whole[..], &[0x3A, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F]].concat();
    let wrong_wire: Vec<u8> = whole.iter().map(|byte| byte ^ 0x05).collect();
    let nested: Vec<u8> = [0x3A, 0x7F].repeat(4096);
    for (name, bytes) in [
        ("nothing", Vec::new()),
        ("zeros", vec![0; 4096]),
        ("a page", b"<!DOCTYPE html><html><body>404</body></html>".to_vec()),
        ("gzip", [&[0x1F, 0x8B, 0x08][..], &[0x55; 999]].concat()),
        ("half", whole[..whole.len() / 2].to_vec()),
        ("all but a byte", whole[..whole.len() - 1].to_vec()),
        ("a length beyond the end", endless),
        ("wrong wire types", wrong_wire),
        ("nested lengths", nested),
        ("a graph without nodes", model(vec![], vec![]).encode_to_vec()),
    ] {
        refused(name, "as ONNX: ", || import_bytes(&bytes));
    }
}

#[test]
fn outlines_that_lie() {
    let named = |change: fn(&mut ModelProto)| {
        let mut tiny = conv(vec![]);
        change(&mut tiny);
        tiny
    };
    let of_bytes = changed(|graph| {
        let kind = graph.input[0].r#type.as_mut().unwrap().tensor_type.as_mut().unwrap();
        kind.elem_type = 3;
    });
    for (name, fragment, tiny) in [
        ("negative operator set", "version -5", named(|tiny| tiny.opset_import[0].version = -5)),
        ("no operator set", "names no operator set", named(|tiny| tiny.opset_import.clear())),
        ("no input", "0 inputs", changed(|graph| graph.input.clear())),
        ("two inputs", "2 inputs", changed(|graph| graph.input.push(value("z", &[Some(1)])))),
        ("no output", "0 outputs", changed(|graph| graph.output.clear())),
        ("an output nobody makes", "is not what its last layer", changed(|graph| graph.output[0].name = "z".into())),
        (
            "an output that is the input",
            "is not what its last layer",
            changed(|graph| graph.output[0].name = "x".into()),
        ),
        ("bytes for input", "element type 3", of_bytes),
        ("an image without size", "is not [batch", with_input(&[None, Some(0), Some(6), Some(6)])),
        ("a negative image", "is not [batch", with_input(&[None, Some(2), Some(-6), Some(6)])),
        ("a huge image", "is not [batch", with_input(&[None, Some(2), Some(1 << 40), Some(6)])),
        ("a cube", "is not [batch", with_input(&[None, Some(2), Some(6), Some(6), Some(6)])),
    ] {
        refused(name, fragment, || import(&tiny));
    }
}

#[test]
fn wiring_that_goes_nowhere_or_round_in_circles() {
    let pair = |first: NodeProto, second: NodeProto| model(vec![first, second], vec![]);
    let relu = |from: &str, to: &str| node("Relu", &[from], to, vec![]);
    let backwards = vec![relu("a", "b"), relu("x", "a"), node("Add", &["a", "b"], "y", vec![])];
    let mut silent = relu("x", "y");
    silent.output.clear();
    let mut two = relu("x", "y");
    two.output.push("z".into());
    let doubled: Vec<NodeProto> = std::iter::once(node("Shape", &["x"], "s0", vec![]))
        .chain((0..60).map(|at| {
            let (from, to) = (format!("s{at}"), if at == 59 { "to".to_owned() } else { format!("s{}", at + 1) });
            node("Concat", &[&from, &from], &to, vec![int("axis", 0)])
        }))
        .collect();
    let strange = (0..20_000).map(|at| node("Erf", &[&format!("e{at}")], &format!("e{}", at + 1), vec![]));
    let many = std::iter::once(node("Erf", &["x"], "e0", vec![])).chain(strange).collect();
    for (name, fragment, tiny) in [
        ("a circle of two", "comes from nowhere", pair(relu("y", "a"), relu("a", "y"))),
        ("a node that reads itself", "comes from nowhere", model(vec![relu("y", "y")], vec![])),
        ("nodes in the wrong order", "comes from nowhere", model(backwards, vec![])),
        ("an input from nowhere", "comes from nowhere", model(vec![relu("ghost", "y")], vec![])),
        ("a name made twice", "is made elsewhere", pair(relu("x", "x"), relu("x", "y"))),
        ("two outputs", "several outputs", model(vec![two], vec![])),
        ("no inputs", "lacks input 0", model(vec![node("Relu", &[], "y", vec![])], vec![])),
        ("lists that double and double", "whole numbers", shaped(doubled, vec![])),
        ("twenty thousand strangers", "and 19901 more", model(many, vec![])),
    ] {
        refused(name, fragment, || import(&tiny));
    }
    let mut tiny = model(vec![relu("x", "y")], vec![]);
    tiny.graph.as_mut().unwrap().node = vec![silent];
    refused("no outputs", "is not what its last layer", || import(&tiny));
}

#[test]
fn absurd_attributes() {
    let text = |name: &str, bytes: &[u8]| AttributeProto { s: bytes.to_vec(), ..attribute(name) };
    let kernel = |attribute: AttributeProto| pool(vec![ints("kernel_shape", &[2, 2]), attribute]);
    let gemm = |attribute: AttributeProto| after_features(node("Gemm", &["flat", "right"], "y", vec![attribute]));
    let norm = |epsilon: f32| {
        let last = node("BatchNormalization", &["x", "b", "b", "b", "b"], "y", vec![float("epsilon", epsilon)]);
        model(vec![last], vec![counted("b", &[2])])
    };
    let clip = |low: f32, high: f32| {
        model(vec![node("Clip", &["x", "low", "high"], "y", vec![])], vec![scalar("low", low), scalar("high", high)])
    };
    for (name, fragment, tiny) in [
        ("no groups", "its 0 groups", conv(vec![int("group", 0)])),
        ("negative groups", "its 0 groups", conv(vec![int("group", i64::MIN)])),
        ("more groups than atoms", "groups take 2 channels", conv(vec![int("group", i64::MAX)])),
        ("no stride", "kernel or stride is zero", conv(vec![ints("strides", &[0, 1])])),
        ("negative strides", "its strides are [-1, -1]", conv(vec![ints("strides", &[-1, -1])])),
        ("endless strides", "its strides are", conv(vec![ints("strides", &[i64::MAX, 1])])),
        ("padding without end", "its pads are", conv(vec![ints("pads", &[1 << 40, 0, 0, 0])])),
        ("three paddings", "its pads are", conv(vec![ints("pads", &[1, 1, 1])])),
        ("gaps", "its dilations are", conv(vec![ints("dilations", &[i64::MIN, 1])])),
        ("padding by mood", "its auto_pad is `MOOD`", conv(vec![text("auto_pad", b"MOOD")])),
        ("padding by noise", "its auto_pad is `(not text)`", conv(vec![text("auto_pad", &[0xFF, 0xFE])])),
        ("a kernel of nothing", "kernel or stride is zero", pool(vec![ints("kernel_shape", &[0, 0])])),
        ("no kernel", "lacks its kernel_shape", pool(vec![])),
        ("a kernel larger than the image", "does not fit", pool(vec![ints("kernel_shape", &[60_000, 60_000])])),
        ("a pool padded out of sight", "", kernel(ints("pads", &[65_536, 65_536, 65_536, 65_536]))),
        ("weights times nothing known", "its alpha is NaN", gemm(float("alpha", f32::NAN))),
        ("weights times everything", "its alpha is inf", gemm(float("alpha", f32::INFINITY))),
        ("no variance", "variance", norm(-1.0)),
        ("an unknown variance", "its epsilon is NaN", norm(f32::NAN)),
        ("a range of nothing", "it clips to 6 … 0", clip(6.0, 0.0)),
        ("a range below zero", "it clips to -1 … 1", clip(-1.0, 1.0)),
        ("a range that is no number", "numbers, where one belongs", clip(0.0, f32::NAN)),
    ] {
        refused(name, fragment, || import(&tiny));
    }
}

#[test]
fn absurd_arithmetic_on_shapes() {
    let fill = |dims: &[i64]| {
        let fill = node(
            "ConstantOfShape",
            &["dims"],
            "to",
            vec![AttributeProto { t: Some(whole("", &[1])), ..attribute("value") }],
        );
        shaped(vec![fill], vec![whole("dims", dims)])
    };
    let slice = |step: i64| {
        let last = node("Slice", &["x", "zero", "end", "axis", "step"], "y", vec![]);
        model(vec![last], vec![whole("zero", &[0]), whole("end", &[9]), whole("axis", &[2]), whole("step", &[step])])
    };
    let pick = |index: i64| {
        let nodes = vec![node("Shape", &["x"], "s", vec![]), node("Gather", &["s", "at"], "to", vec![])];
        shaped(nodes, vec![whole("at", &[index])])
    };
    let compute = |op: &str, left: i64, right: i64| {
        shaped(vec![node(op, &["a", "b"], "to", vec![])], vec![whole("a", &[left]), whole("b", &[right])])
    };
    let pad = |pads: &[i64]| model(vec![node("Pad", &["x", "pads"], "y", vec![])], vec![whole("pads", pads)]);
    let turn = |perm: &[i64]| model(vec![node("Transpose", &["x"], "y", vec![ints("perm", perm)])], vec![]);
    for (name, fragment, tiny) in [
        ("two sizes to be found", "it reshapes", shaped(vec![], vec![whole("to", &[-1, -1])])),
        ("sizes that overflow", "it reshapes", shaped(vec![], vec![whole("to", &[i64::MAX, i64::MAX, 4])])),
        ("sizes below nothing", "it reshapes", shaped(vec![], vec![whole("to", &[-7, 72])])),
        ("ones without end", "it makes a tensor of sizes", fill(&[1 << 40])),
        ("ones times ones", "it makes a tensor of sizes", fill(&[i64::MAX, i64::MAX])),
        ("fewer than no ones", "it makes a tensor of sizes", fill(&[-3])),
        ("no steps", "do not belong together", slice(0)),
        ("steps backwards", "it takes a part of axis 2", slice(i64::MIN)),
        ("steps out of the image", "it takes a part of axis 2", slice(i64::MAX)),
        ("a size that is not there", "a size that is not there", pick(4)),
        ("a size long before", "a size that is not there", pick(i64::MIN)),
        ("division by nothing", "divides by zero or overflows", compute("Div", 1, 0)),
        ("a product beyond all", "divides by zero or overflows", compute("Mul", i64::MAX, 2)),
        ("the one quotient beyond all", "divides by zero or overflows", compute("Div", i64::MIN, -1)),
        ("padding that cuts", "cuts or is no size", pad(&[0, 0, -1, 0, 0, 0, 0, 0])),
        ("padding beyond all", "cuts or is no size", pad(&[0, 0, i64::MAX, 0, 0, 0, 0, 0])),
        ("padding for fewer axes", "do not fit 4 axes", pad(&[0, 0, 1])),
        ("axes that do not exist", "does not order 4 axes", turn(&[0, 1, 2, 99])),
        ("negative axes", "does not order 4 axes", turn(&[0, -1, 2, 3])),
        ("an axis twice", "does not order 4 axes", turn(&[0, 1, 1, 3])),
    ] {
        refused(name, fragment, || import(&tiny));
    }
}

#[test]
fn tensors_that_lie_about_themselves() {
    let with = |change: fn(&mut TensorProto)| {
        let mut w = kernel();
        change(&mut w);
        layer("Conv", vec![], w)
    };
    for (name, fragment, tiny) in [
        ("sizes beyond the bytes", "it has 36 elements for sizes", with(|w| w.dims[0] = 7)),
        ("sizes beyond all memory", "hold more than", with(|w| w.dims[0] = 1 << 40)),
        ("sizes that overflow", "hold more than", with(|w| w.dims = vec![i64::MAX; 4])),
        ("sizes below nothing", "it has 36 elements for sizes", with(|w| w.dims[1] = -2)),
        ("no sizes", "it has 36 elements for sizes", with(|w| w.dims.clear())),
        ("text for weights", "element type", with(|w| w.data_type = 8)),
        ("bytes for weights", "element type is int8", with(|w| w.data_type = 3)),
        ("a type nobody knows", "element type is number 99", with(|w| w.data_type = 99)),
        ("a torn element", "no whole number of 4-byte elements", with(|w| w.raw_data.truncate(141))),
        ("infinite weights", "it holds inf", with(|w| w.raw_data[..4].copy_from_slice(&f32::INFINITY.to_le_bytes()))),
        ("a line for a kernel", "not [out, in, height, width]", with(|w| w.dims = vec![36])),
        ("a kernel of other channels", "and its input has 2", with(|w| w.dims = vec![2, 18, 1, 1])),
    ] {
        refused(name, fragment, || import(&tiny));
    }
}

/// Imports a convolution whose weights lie where `entries` say, in a directory with a file of 144 bytes.
fn beside(entries: &[(&str, &str)], prepare: impl FnOnce(&Path)) -> Result<Imported, ImportError> {
    let directory = tempfile::tempdir().unwrap();
    let inside = directory.path().join("inside");
    std::fs::create_dir(&inside).unwrap();
    std::fs::write(inside.join("w.data"), [0; 144]).unwrap();
    std::fs::write(directory.path().join("secret"), [0; 144]).unwrap();
    prepare(&inside);
    let entry = |&(key, value): &(&str, &str)| StringStringEntryProto { key: key.to_owned(), value: value.to_owned() };
    let external_data = entries.iter().map(entry).collect();
    let w = TensorProto { raw_data: Vec::new(), data_location: 1, external_data, ..kernel() };
    let path = inside.join("tiny.onnx");
    std::fs::write(&path, layer("Conv", vec![], w).encode_to_vec()).unwrap();
    onnx(&path)
}

#[test]
fn weights_that_lie_elsewhere() {
    for (name, fragment, entries) in [
        ("above", "outside the model's directory", &[("location", "../secret")][..]),
        ("above by a detour", "outside the model's directory", &[("location", "sub/../../secret")]),
        ("at a place of the system", "outside the model's directory", &[("location", "/etc/passwd")]),
        ("at the end of a link", "leads outside", &[("location", "link")]),
        ("in a directory", "leads outside", &[("location", "sub")]),
        ("nowhere", "which cannot be read", &[("location", "gone.data")]),
        ("without a place", "outside the model's directory", &[]),
        ("before the beginning", "is no number", &[("location", "w.data"), ("offset", "-1")]),
        (
            "beyond the end",
            "ends after 0 of its 144 bytes",
            &[("location", "w.data"), ("offset", "18446744073709551615")],
        ),
        ("half beyond the end", "ends after 44 of its 144 bytes", &[("location", "w.data"), ("offset", "100")]),
        ("in too many bytes", "which take 144", &[("location", "w.data"), ("length", "9223372036854775807")]),
        ("in too few bytes", "which take 144", &[("location", "w.data"), ("length", "4")]),
    ] {
        refused(name, fragment, || {
            beside(entries, |inside| {
                std::fs::create_dir(inside.join("sub")).unwrap();
                #[cfg(unix)]
                std::os::unix::fs::symlink(inside.join("../secret"), inside.join("link")).unwrap();
                #[cfg(not(unix))]
                std::fs::create_dir(inside.join("link")).unwrap();
            })
        });
    }
}

/// A small file that asks for the same megabytes again and again runs into a bound, not into the end of memory.
#[test]
fn one_tensor_in_a_thousand_layers() {
    let chain = (0..2000).map(|at| {
        let from = if at == 0 { "x".to_owned() } else { format!("v{}", at - 1) };
        node("Conv", &[&from, "w"], &format!("v{at}"), vec![ints("pads", &[1, 1, 1, 1])])
    });
    let w = TensorProto { raw_data: vec![0; 512 * 512 * 9 * 4], ..counted("w", &[0]) };
    let mut wide = model(chain.collect(), vec![TensorProto { dims: vec![512, 512, 3, 3], ..w }]);
    wide.graph.as_mut().unwrap().input[0] = value("x", &[None, Some(512), Some(6), Some(6)]);
    let bytes = wide.encode_to_vec();
    refused("one tensor in many layers", "hold more than", || import_bytes(&bytes));
}

#[test]
fn weight_files_that_lie() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("w.safetensors");
    let tensor = |dtype: &str, end: usize| {
        let header = format!(r#"{{"conv1.weight":{{"dtype":"{dtype}","shape":[20,1,5,5],"data_offsets":[0,{end}]}}}}"#);
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &vec![0; end.min(4096)]].concat()
    };
    for (name, fragment, bytes) in [
        ("nothing", "no safetensors file", Vec::new()),
        ("a header without end", "no safetensors file", u64::MAX.to_le_bytes().to_vec()),
        ("a header that is no JSON", "no safetensors file", [&8u64.to_le_bytes()[..], b"{{{{{{{{"].concat()),
        ("sizes beyond the bytes", "no safetensors file", tensor("F32", 1 << 40)),
        ("half floats", "is F16 and not F32", tensor("F16", 1000)),
        ("one tensor of many", "the file lacks it", tensor("F32", 2000)),
        ("more classes than there are things", "has sizes [1152921504606846976, 0]", {
            let header = r#"{"conv1.weight":{"dtype":"F32","shape":[20,1,5,5],"data_offsets":[0,2000]},"fc2.weight":{"dtype":"F32","shape":[1152921504606846976,0],"data_offsets":[2000,2000]}}"#;
            [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 2000]].concat()
        }),
        ("no tensors", "the file has no weights of lenet", [&2u64.to_le_bytes()[..], b"{}"].concat()),
    ] {
        std::fs::write(&path, bytes).unwrap();
        refused(name, fragment, || crate::import::weights(&path, "lenet"));
    }
    refused("an unknown network", "releq knows no network", || crate::import::weights(&path, "resnet50"));
    refused("a directory", "it is no ordinary file", || crate::import::weights(directory.path(), "lenet"));
}
