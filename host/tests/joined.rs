//! Concatenation from an ONNX file to the engine: branches that are joined answer as the one convolution they are.

use std::path::Path;
use std::process::{Command, Stdio};

use releq::data::glyphs;
use releq::encode::Encoder;
use releq::import;
use releq::lower::lower;
use releq::network::Network;
use releq::target::native;
use releq::train::fit;
use releq::train::integer::IntegerModel;
use releq::train::model::Model;
use releq::train::ptq::{Options, ptq};
use releq_format::image::Image;

/// A protobuf number.
fn varint(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 128 {
        bytes.push(value as u8 | 128);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A length-delimited protobuf field.
fn field(number: usize, bytes: &[u8]) -> Vec<u8> {
    [varint(number << 3 | 2), varint(bytes.len()), bytes.to_vec()].concat()
}

fn number(field: usize, value: usize) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

fn ints(name: &str, values: &[usize]) -> Vec<u8> {
    let values = values.iter().flat_map(|&value| number(8, value)).collect::<Vec<_>>();
    field(5, &[field(1, name.as_bytes()), values].concat())
}

fn int(name: &str, value: usize) -> Vec<u8> {
    field(5, &[field(1, name.as_bytes()), number(3, value)].concat())
}

/// An ONNX graph over a `[n, 1, 28, 28]` image `x`, as it is written down.
#[derive(Default)]
struct Onnx {
    nodes: Vec<u8>,
    constants: Vec<u8>,
}

impl Onnx {
    fn node(&mut self, op: &str, inputs: &[&str], output: &str, attributes: &[Vec<u8>]) {
        let inputs = inputs.iter().flat_map(|input| field(1, input.as_bytes())).collect();
        let name = [field(2, output.as_bytes()), field(3, output.as_bytes()), field(4, op.as_bytes())].concat();
        self.nodes.extend(field(1, &[inputs, name, attributes.concat()].concat()));
    }

    fn constant(&mut self, name: &str, dims: &[usize], data: &[f32]) {
        let dims = dims.iter().flat_map(|&size| number(1, size)).collect();
        let bytes: Vec<u8> = data.iter().flat_map(|value| value.to_le_bytes()).collect();
        let tensor = [dims, number(2, 1), field(8, name.as_bytes()), field(9, &bytes)].concat();
        self.constants.extend(field(5, &tensor));
    }

    /// A convolution that keeps the size, of rows `rows` out of the weights of a larger one.
    fn conv(&mut self, from: &str, name: &str, channels: usize, rows: std::ops::Range<usize>) {
        let weight = (rows.start * channels * 9..rows.end * channels * 9).map(|at| spread(at + 77 * channels));
        let bias: Vec<f32> = rows.clone().map(|row| 0.2 * spread(row + 5)).collect();
        self.constant(&format!("{name}.weight"), &[rows.len(), channels, 3, 3], &weight.collect::<Vec<_>>());
        self.constant(&format!("{name}.bias"), &[rows.len()], &bias);
        let inputs = [from, &format!("{name}.weight"), &format!("{name}.bias")];
        self.node("Conv", &inputs, name, &[ints("pads", &[1; 4]), ints("kernel_shape", &[3, 3])]);
    }

    fn finish(mut self, last: &str) -> Vec<u8> {
        self.node("GlobalAveragePool", &[last], "mean", &[]);
        self.node("Flatten", &["mean"], "flat", &[]);
        let weight: Vec<f32> = (0..10 * 11).map(|at| spread(at + 1000)).collect();
        self.constant("fc.weight", &[10, 11], &weight);
        self.node("Gemm", &["flat", "fc.weight"], "y", &[int("transB", 1)]);
        let sizes = [1, 1, 28, 28].map(|size| field(1, &number(1, size))).concat();
        let input = [field(1, b"x"), field(2, &field(1, &[number(1, 1), field(2, &sizes)].concat()))].concat();
        let graph =
            [self.nodes, field(2, b"joined"), self.constants, field(11, &input), field(12, &field(1, b"y"))].concat();
        [number(1, 8), field(7, &graph), field(8, &number(2, 17))].concat()
    }
}

/// Numbers from −0.5 to 0.5 without an order.
fn spread(at: usize) -> f32 {
    (at as u32).wrapping_mul(2_654_435_761).rotate_left(7) as f32 / u32::MAX as f32 - 0.5
}

/// Pools, then 3 + 5 + 3 channels of three convolutions joined at once or two at a time, rectified before or after;
/// or the one convolution of 11 channels that they are parts of.
fn onnx(way: &str) -> Vec<u8> {
    let mut model = Onnx::default();
    model.conv("x", "stem", 1, 0..6);
    model.node("Relu", &["stem"], "rectified", &[]);
    model.node("MaxPool", &["rectified"], "small", &[ints("kernel_shape", &[4, 4]), ints("strides", &[4, 4])]);
    if way == "one" {
        model.conv("small", "all", 6, 0..11);
        model.node("Relu", &["all"], "r", &[]);
        return model.finish("r");
    }
    for (name, rows) in [("a", 0..3), ("b", 3..8), ("c", 8..11)] {
        model.conv("small", name, 6, rows);
        if way != "after" {
            model.node("Relu", &[name], &format!("{name}r"), &[]);
        }
    }
    match way {
        "pairs" => {
            model.node("Concat", &["ar", "br"], "ab", &[int("axis", 1)]);
            model.node("Concat", &["ab", "cr"], "abc", &[int("axis", 1)]);
            model.finish("abc")
        }
        "after" => {
            model.node("Concat", &["a", "b", "c"], "abc", &[int("axis", 1)]);
            model.node("Relu", &["abc"], "r", &[]);
            model.finish("r")
        }
        _ => {
            model.node("Concat", &["ar", "br", "cr"], "abc", &[int("axis", 1)]);
            model.finish("abc")
        }
    }
}

fn imported(directory: &Path, way: &str) -> Network {
    let path = directory.join(format!("{way}.onnx"));
    std::fs::write(&path, onnx(way)).unwrap();
    import::onnx(&path).unwrap().network
}

const WAYS: [&str; 3] = ["three", "pairs", "after"];

#[test]
fn joined_branches_answer_as_the_one_convolution_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let (train, test) = (glyphs::generate(1, 64), glyphs::generate(2, 40));
    let whole = imported(directory.path(), "one");
    let float = |network: &Network| fit::logits(&Model::new(network).unwrap(), &test).unwrap().concat();
    let expected = float(&whole);
    for way in WAYS {
        let found = float(&imported(directory.path(), way));
        let apart = expected.iter().zip(&found).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
        assert!(apart < 1e-5, "{way}: {apart}");
    }
    for (weights, codes) in [(8, 8), (4, 5), (3, 4), (2, 2), (5, 1)] {
        let quantized = |network: &Network, layers: usize| {
            let plan = vec![format!("{weights}:{codes}"); layers].join(",").parse().unwrap();
            let outcome = ptq(network, &plan, &train, &Options::default(), &mut |_, _| {}).unwrap();
            let lowered = lower(&outcome.quantized).unwrap();
            let image = Image::open(&lowered.image).unwrap();
            let encoder = Encoder::new(image.header());
            let logits = |index| {
                let input = encoder.encode(test.image(index));
                let answer = native::infer(&image, &input).unwrap();
                assert_eq!(answer, native::oracle(&image, &input).unwrap(), "packed and reference kernels");
                answer.logits
            };
            let engine: Vec<Vec<i32>> = (0..test.len()).map(logits).collect();
            assert_eq!(engine, IntegerModel::new(&lowered.integers).logits(&test).unwrap());
            engine
        };
        let expected = quantized(&whole, 3);
        assert!(expected.iter().any(|row| row != &expected[0]), "w{weights} a{codes}: all images answer alike");
        for way in WAYS {
            assert_eq!(expected, quantized(&imported(directory.path(), way), 5), "{way}, w{weights} a{codes}");
        }
    }
}

#[test]
fn the_command_takes_joined_branches_from_file_to_answers() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("net.onnx"), onnx("three")).unwrap();
    let json = |arguments: &[&str]| -> serde_json::Value {
        let mut command = Command::new(env!("CARGO_BIN_EXE_releq"));
        command.current_dir(directory.path()).env_clear().stdin(Stdio::null()).args(arguments);
        let output = command.args(["--data", "glyphs", "--json"]).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let float = json(&["eval", "net.onnx"]);
    let ptq = json(&["ptq", "net.onnx", "--bits", "8", "-o", "net.rlq"]);
    assert_eq!(ptq["accuracy"]["float_correct"], float["correct"]);
    assert_eq!(ptq["layers"].as_array().unwrap().len(), 8, "{ptq:#}");
    let run = json(&["run", "net.rlq"]);
    assert_eq!(run["correct"], ptq["accuracy"]["integer_correct"]);
    assert_eq!(json(&["eval", "net.rlq"])["correct"], run["correct"]);
}
