//! What has no layer of its own and folds into one: paddings, slices, channels last, constants, clips, other opsets.

use super::*;

fn one(name: &str, value: f32) -> TensorProto {
    TensorProto { dims: vec![], raw_data: value.to_le_bytes().to_vec(), ..counted(name, &[1]) }
}

fn last_op(model: &ModelProto) -> Op {
    import(model).unwrap().network.graph.nodes.last().unwrap().op.clone()
}

/// The image pooled to `[n, 2, 1, 1]` by the last of `nodes`' output `p`.
fn then_pooled(mut nodes: Vec<NodeProto>, constants: Vec<TensorProto>) -> ModelProto {
    nodes.push(node("GlobalAveragePool", &["p"], "y", vec![]));
    model(nodes, constants)
}

fn first_op(model: &ModelProto) -> Op {
    import(model).unwrap().network.graph.nodes[0].op.clone()
}

#[test]
fn clips_from_zero_are_relus() {
    let by_inputs = |inputs: &[&str], high: f32| {
        let constants = vec![one("low", 0.0), one("high", high)];
        first_op(&then_pooled(vec![node("Clip", inputs, "p", vec![])], constants))
    };
    assert_eq!(by_inputs(&["x", "low", "high"], 6.0), Op::ClippedRelu { ceiling: 6.0 });
    assert_eq!(by_inputs(&["x", "low", "high"], f32::INFINITY), Op::Relu);
    assert_eq!(by_inputs(&["x", "low", "high"], f32::MAX), Op::Relu);
    assert_eq!(by_inputs(&["x", "low"], 0.0), Op::Relu);
    let by_attributes = vec![float("min", 0.0), float("max", 4.0)];
    let tiny = then_pooled(vec![node("Clip", &["x"], "p", by_attributes)], vec![]);
    assert_eq!(first_op(&tiny), Op::ClippedRelu { ceiling: 4.0 });
}

#[test]
fn zeros_around_an_image_go_to_the_window_that_reads_them() {
    let pads = whole("pads", &[0, 0, 1, 2, 0, 0, 3, 4]);
    let padded = |reader: NodeProto| {
        model(vec![node("Pad", &["x", "pads"], "p", vec![]), reader], vec![pads.clone(), counted("w", &[2, 2, 10, 12])])
    };
    let conv = padded(node("Conv", &["p", "w"], "y", vec![]));
    let window = Window { kernel: [10, 12], stride: [1, 1], padding: [1, 2, 3, 4] };
    assert_eq!(last_op(&conv), Op::Conv { out: 2, window, groups: 1, bias: false });
    let mean = padded(node("AveragePool", &["p"], "y", vec![ints("kernel_shape", &[10, 12])]));
    assert_eq!(last_op(&mean), Op::AvgPool { window });
    assert_eq!(
        refusal(&padded(node("MaxPool", &["p"], "y", vec![ints("kernel_shape", &[10, 12])]))),
        "cannot import MaxPool `y`: zeros pad an image that may be negative; pad inside the pooling, or after a ReLU"
    );
    assert_eq!(
        refusal(&padded(node("GlobalAveragePool", &["p"], "y", vec![]))),
        "cannot import GlobalAveragePool `y`: it reads what a Pad made, and only a convolution or pooling can take the \
         padding over; pad inside convolutions"
    );
    // Height and width alone, as opset 18 may say it.
    let axes = vec![node("Pad", &["x", "pads", "", "axes"], "p", vec![]), node("Conv", &["p", "w"], "y", vec![])];
    let constants = vec![whole("pads", &[1, 2, 3, 4]), whole("axes", &[-2, -1]), counted("w", &[2, 2, 10, 12])];
    assert_eq!(last_op(&model(axes, constants)), Op::Conv { out: 2, window, groups: 1, bias: false });
}

#[test]
fn channels_of_zeros_are_a_shortcut_however_they_are_written() {
    let zeros = |name: &str, channels: i64| TensorProto {
        raw_data: vec![0; 4 * 36 * channels as usize],
        dims: vec![1, channels, 6, 6],
        ..counted(name, &[0])
    };
    let joined = node("Concat", &["before", "x", "after"], "p", vec![int("axis", 1)]);
    let tiny = then_pooled(vec![joined], vec![zeros("before", 1), zeros("after", 3)]);
    assert_eq!(first_op(&tiny), Op::Shortcut { stride: [1, 1], before: 1, after: 3 });
    let old = node("Pad", &["x"], "p", vec![ints("pads", &[0, 2, 0, 0, 0, 5, 0, 0])]);
    assert_eq!(first_op(&then_pooled(vec![old], vec![])), Op::Shortcut { stride: [1, 1], before: 2, after: 5 });
    let (starts, ends) = (ints("starts", &[0, 0]), ints("ends", &[6, 1 << 40]));
    let old = node("Slice", &["x"], "p", vec![starts, ends, ints("axes", &[1, 3])]);
    assert_eq!(
        import(&then_pooled(vec![old], vec![])).unwrap().network.graph.nodes.len(),
        1,
        "whole axes are no layer"
    );
}

/// As converters from Keras write it: channels last outside, first inside, and last again where it is flattened.
#[test]
fn channels_last_fold_into_the_weights() {
    let nodes = vec![
        node("Transpose", &["x"], "first", vec![ints("perm", &[0, 3, 1, 2])]),
        node("Relu", &["first"], "r", vec![]),
        node("Transpose", &["r"], "last", vec![ints("perm", &[0, 2, 3, 1])]),
        node("Reshape", &["last", "to"], "flat", vec![]),
        node("MatMul", &["flat", "w"], "y", vec![]),
    ];
    let mut tiny = model(nodes, vec![whole("to", &[-1, 24]), counted("w", &[24, 1])]);
    tiny.graph.as_mut().unwrap().input[0] = value("x", &[None, Some(4), Some(3), Some(2)]);
    let imported = import(&tiny).unwrap();
    assert_eq!(imported.network.graph.input.shape, [2, 4, 3]);
    // Element (pixel, channel) of the file is element (channel, pixel) here.
    let expected: Vec<f32> =
        (0..2).flat_map(|channel| (0..12).map(move |pixel| (pixel * 2 + channel) as f32)).collect();
    assert_eq!(data(&imported, "fc1.weight"), expected);
    let graph = tiny.graph.as_mut().unwrap();
    graph.node.remove(4);
    graph.output[0].name = "flat".to_owned();
    assert_eq!(
        refusal(&tiny),
        "cannot import tiny.onnx: its output is an image flattened with channels last; \
         end the network in a fully connected layer"
    );
}

#[test]
fn factors_and_terms_of_channels_fold_into_the_layer_before() {
    let nodes = vec![
        node("Conv", &["x", "w"], "c", vec![]),
        node("Mul", &["c", "gain"], "g", vec![]),
        node("Sub", &["g", "mean"], "m", vec![]),
        node("Div", &["m", "two"], "y", vec![]),
    ];
    let gain = TensorProto { dims: vec![1, 2, 1, 1], ..counted("gain", &[2]) };
    let mean = TensorProto { dims: vec![2, 1, 1], ..counted("mean", &[2]) };
    let imported = import(&model(nodes, vec![counted("w", &[2, 2, 6, 6]), gain, mean, one("two", 2.0)])).unwrap();
    assert_eq!(imported.network.graph.nodes.len(), 1);
    assert_eq!(data(&imported, "conv1.weight")[71..75], [0.0, 36.0, 36.5, 37.0]);
    assert_eq!(data(&imported, "conv1.bias"), [0.0, -0.5]);
}

/// Whatever order it is written in; what the user says of pixels comes before it.
#[test]
fn normalisation_inside_the_model_is_the_inputs_own() {
    let mean = || TensorProto { dims: vec![1, 2, 1, 1], ..counted("mean", &[2]) };
    let std = || TensorProto {
        dims: vec![2, 1, 1],
        raw_data: [0.5f32, 4.0].map(f32::to_le_bytes).concat(),
        ..counted("std", &[2])
    };
    let conv = |from: &str| node("Conv", &[from, "w"], "y", vec![ints("pads", &[1; 4])]);
    let weights = || counted("w", &[1, 2, 8, 8]);
    let divided = vec![node("Sub", &["x", "mean"], "m", vec![]), node("Div", &["m", "std"], "n", vec![]), conv("n")];
    let imported = import(&model(divided, vec![mean(), std(), weights()])).unwrap();
    let input =
        |imported: &Imported| (imported.network.graph.input.mean.clone(), imported.network.graph.input.std.clone());
    assert_eq!(input(&imported), (vec![0.0, 1.0], vec![0.5, 4.0]));
    assert_eq!(imported.network.graph.nodes.len(), 1, "zeros around it stay the convolution's padding");
    // x = (pixel / 255 − 0.5) / 2, and then (x − mean) / std.
    let set = imported.normalised(&[0.5, 0.5], &[2.0, 2.0]).unwrap();
    assert_eq!(input(&set), (vec![0.5, 2.5], vec![1.0, 8.0]));
    let two = || one("two", 2.0);
    let multiplied = vec![node("Mul", &["two", "x"], "m", vec![]), node("Add", &["m", "mean"], "n", vec![]), conv("n")];
    let imported = import(&model(multiplied, vec![mean(), two(), weights()])).unwrap();
    assert_eq!(input(&imported), (vec![0.0, -0.5], vec![0.5, 0.5]));
    // A batch norm of the image is one, too: here (x − 1) · 2 / √(4 + 0) + 3.
    let normed = vec![
        node("BatchNormalization", &["x", "gain", "shift", "centre", "spread"], "n", vec![float("epsilon", 0.0)]),
        conv("n"),
    ];
    let pair = |name: &str, value: f32| TensorProto {
        raw_data: [value; 2].map(f32::to_le_bytes).concat(),
        ..counted(name, &[2])
    };
    let constants = vec![pair("gain", 2.0), pair("shift", 3.0), pair("centre", 1.0), pair("spread", 4.0), weights()];
    assert_eq!(input(&import(&model(normed, constants)).unwrap()), (vec![-2.0; 2], vec![1.0; 2]));
}

#[test]
fn what_is_no_normalisation_of_the_input_is_refused_by_name() {
    let conv = |from: &str| node("Conv", &[from, "w"], "y", vec![]);
    let weights = || counted("w", &[2, 2, 6, 6]);
    let negative = vec![node("Mul", &["x", "two"], "m", vec![]), conv("m")];
    assert_eq!(
        refusal(&model(negative, vec![one("two", -2.0), weights()])),
        "cannot import Mul `m`: it multiplies the image by -2 and adds 0; \
         normalise the image outside of the model, and give mean and std"
    );
    let twice = vec![
        node("Sub", &["x", "two"], "m", vec![]),
        node("Conv", &["m", "w"], "a", vec![]),
        node("Conv", &["x", "w"], "b", vec![]),
        node("Add", &["a", "b"], "y", vec![]),
    ];
    assert_eq!(
        refusal(&model(twice, vec![one("two", 2.0), weights()])),
        "cannot import Sub `m`: it computes with the image that another node reads, too; \
         normalise the image outside of the model, and give mean and std"
    );
    // Zeros around the raw image are not zeros of the normalised one.
    let padded = vec![node("Pad", &["x", "pads"], "p", vec![]), node("Sub", &["p", "two"], "m", vec![]), conv("m")];
    assert_eq!(
        refusal(&model(padded, vec![one("two", 2.0), whole("pads", &[0, 0, 1, 1, 0, 0, 1, 1]), weights()])),
        "cannot import Sub `m`: it reads what a Pad made, and only a convolution or pooling can take the padding over; \
         pad inside convolutions"
    );
}

/// `x.mean(3).mean(2)` as exporters write it, in either order, with the axes kept or not, and channels last.
#[test]
fn means_over_one_axis_after_the_other_are_one() {
    let means = |first: i64, second: i64, keep: i64| {
        let mean = |from: &str, to: &str, axis| {
            node("ReduceMean", &[from], to, vec![ints("axes", &[axis]), int("keepdims", keep)])
        };
        let mut nodes = vec![mean("x", "m", first), mean("m", "n", second)];
        if keep == 1 {
            nodes.push(node("Flatten", &["n"], "y", vec![]));
        }
        let mut tiny = model(nodes, vec![]);
        tiny.opset_import[0].version = 13;
        tiny
    };
    for (first, second, keep) in [(3, 2, 1), (2, 3, 1), (-1, -2, 1), (3, 2, 0), (2, 2, 0), (-1, -1, 0)] {
        assert_eq!(first_op(&means(first, second, keep)), Op::GlobalAvgPool, "{first}, {second}, {keep}");
    }
    let strip = Window { kernel: [1, 6], stride: [1, 1], padding: [0; 4] };
    let shared = |nodes: Vec<NodeProto>| {
        let mut tiny = model(nodes, vec![counted("w", &[1, 12])]);
        tiny.opset_import[0].version = 13;
        tiny
    };
    let over = |axis: i64, keep: i64| vec![ints("axes", &[axis]), int("keepdims", keep)];
    let alone = shared(vec![
        node("ReduceMean", &["x"], "m", over(3, 0)),
        node("Flatten", &["m"], "f", vec![]),
        node("Gemm", &["f", "w"], "y", vec![int("transB", 1)]),
    ]);
    assert_eq!(first_op(&alone), Op::AvgPool { window: strip });
    let last = shared(vec![
        node("Transpose", &["x"], "t", vec![ints("perm", &[0, 2, 3, 1])]),
        node("ReduceMean", &["t"], "m", over(1, 0)),
        node("ReduceMean", &["m"], "y", over(1, 0)),
    ]);
    assert_eq!(first_op(&last), Op::GlobalAvgPool);
    let channels =
        shared(vec![node("ReduceMean", &["x"], "m", over(3, 0)), node("ReduceMean", &["m"], "y", over(1, 0))]);
    assert_eq!(
        refusal(&channels),
        "cannot import ReduceMean `y`: it averages over axes [1]; average over height and width, axes 2 and 3"
    );
}

#[test]
fn features_alone_are_an_input_too() {
    let nodes = vec![
        node("Gemm", &["x", "a.weight"], "h", vec![]),
        node("BatchNormalization", &["h", "b", "b", "b", "b"], "n", vec![]),
        node("Relu", &["n"], "r", vec![]),
        node("Gemm", &["r", "c.weight"], "y", vec![]),
    ];
    let weights = vec![counted("a.weight", &[5, 3]), counted("b", &[3]), counted("c.weight", &[3, 5])];
    let mut tiny = model(nodes, weights);
    tiny.graph.as_mut().unwrap().input[0] = value("x", &[None, Some(5)]);
    let imported = import(&tiny).unwrap();
    assert_eq!((imported.network.graph.input.shape, imported.network.graph.weighted().len()), ([1, 1, 5], 2));
}

/// The same network as each opset writes it: axes, pads and bounds move from attributes to inputs.
#[test]
fn opsets_11_to_21_are_one_network() {
    let networks: Vec<Graph> = (11..=21)
        .map(|version| {
            let nodes = vec![
                node("Conv", &["x", "c.weight"], "a", vec![ints("pads", &[1, 1, 1, 1])]),
                node("Clip", &["a", "low", "high"], "b", vec![]),
                node("MaxPool", &["b"], "d", vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])]),
                if version < 18 {
                    node("ReduceMean", &["d"], "e", vec![ints("axes", &[2, 3]), int("keepdims", 1)])
                } else {
                    node("ReduceMean", &["d", "axes"], "e", vec![int("keepdims", 1)])
                },
                if version < 13 {
                    node("Squeeze", &["e"], "f", vec![ints("axes", &[2, 3])])
                } else {
                    node("Squeeze", &["e", "axes"], "f", vec![])
                },
                node("Gemm", &["f", "f.weight"], "g", vec![]),
                node("Softmax", &["g"], "y", vec![int("axis", 1)]),
            ];
            let constants = vec![
                counted("c.weight", &[4, 2, 3, 3]),
                one("low", 0.0),
                one("high", 6.0),
                whole("axes", &[2, 3]),
                counted("f.weight", &[4, 3]),
            ];
            let mut tiny = model(nodes, constants);
            tiny.opset_import[0].version = version;
            import(&tiny).unwrap_or_else(|error| panic!("opset {version}: {error}")).network.graph
        })
        .collect();
    assert!(networks.iter().all(|graph| *graph == networks[0]));
    assert_eq!(networks[0].nodes.len(), 6);
}

/// Layers after a refused one are looked at, too: by the shape the file states, or where an operator keeps shapes.
#[test]
fn everything_that_stands_in_the_way_is_told_at_once() {
    let nodes = vec![
        node("HardSwish", &["x"], "a", vec![]),
        node("Conv", &["a", "w"], "b", vec![ints("dilations", &[2, 2])]),
        node("Conv", &["b", "w"], "c", vec![int("group", 2)]),
        node("Resize", &["c"], "d", vec![]),
        node("Relu", &["d"], "e", vec![]),
        node("Erf", &["e"], "f", vec![]),
        node("GlobalAveragePool", &["f"], "y", vec![]),
    ];
    let mut tiny = model(nodes, vec![counted("w", &[2, 2, 3, 3])]);
    tiny.graph.as_mut().unwrap().value_info = vec![value("b", &[None, Some(2), Some(2), Some(2)])];
    let ImportError::Several(refused) = import(&tiny).unwrap_err() else { panic!("there is more than one reason") };
    let named: Vec<(&str, &str)> = refused
        .iter()
        .map(|error| match error {
            ImportError::Unsupported { op, node, .. } => (op.as_str(), node.as_str()),
            other => panic!("{other}"),
        })
        .collect();
    assert_eq!(named, [("HardSwish", "a"), ("Conv", "b"), ("Conv", "c"), ("Resize", "d"), ("Erf", "f")]);
    let text = ImportError::Several(refused).to_string();
    assert!(text.starts_with("cannot import this network for 5 reasons:\n  cannot import HardSwish `a`: "), "{text}");
}
