//! Integers against the engine, beyond the exact floats; and where fake quantization rounds otherwise.

use std::collections::BTreeMap;

use super::*;
use crate::encode::Encoder;
use crate::lower::{self, fuse, lower};
use crate::network::{Graph, Network, Node, Op, Source, Tensor};
use crate::quantized::{QuantizedNetwork, WeightQuant};
use crate::target::native;
use crate::train::model::Model;
use releq_format::bits::{BitWidth, Levels};
use releq_format::image::Image;

#[test]
fn terms_part_before_any_sum_reaches_the_limit() {
    let row = [3i8, -3, 3, 3, -4, 1];
    // Codes from -1 to 2: the third 3 would make 6 + 3 + 6 = 15.
    assert_eq!(terms_apart(&[&row], [1, 2], 15), [0..2, 2..4, 4..6]);
    assert_eq!(terms_apart(&[&row], [1, 2], 1000).len(), 1);
    // A term that is alone too large stays alone.
    assert_eq!(terms_apart(&[&row, &[100; 6]], [0, 1], 50), [0..1, 1..2, 2..3, 3..4, 4..5, 5..6]);
}

/// Kernel, dense layer and sums so large that floats round them, on an input whose zero point is not 0.
fn heavy(op: Op, shape: [usize; 3], weights: Vec<usize>, mean: f32) -> QuantizedNetwork {
    let eight = BitWidth::EIGHT;
    let (out, count) = (weights[0], weights.iter().product::<usize>());
    // Long runs of one sign, so that sums on the way are far from their end.
    let value = |at: usize| if at % 1000 < 700 { 127.0 - (at % 3) as f32 } else { -127.0 };
    let weight = Tensor { shape: weights, data: (0..count).map(value).collect() };
    let channels = shape[0];
    let input = InputSpec { shape, mean: vec![mean; channels], std: vec![1.0; channels] };
    let nodes = vec![Node { name: "heavy".into(), op, inputs: vec![Source::Input] }];
    let codes = crate::train::calibrate::input_quantizer(&input);
    QuantizedNetwork {
        network: Network {
            graph: Graph { name: "heavy".into(), input, nodes, held_out: 0 },
            parameters: BTreeMap::from([("heavy.weight".to_owned(), weight)]),
        },
        weights: BTreeMap::from([(0, WeightQuant { bits: eight, levels: Levels::MidTread, scales: vec![1.0; out] })]),
        activations: BTreeMap::from([(Source::Input, codes)]),
    }
}

#[test]
fn sums_beyond_the_exact_floats_are_the_engines() {
    let conv = |kernel: usize| {
        let window = Window::square(kernel, 1, 0);
        Op::Conv { out: 3, window, groups: 1, bias: false }
    };
    for mean in [0.0, 0.3] {
        for (op, shape, weights) in [
            (Op::Dense { out: 3, bias: false }, [1, 150, 200], vec![3, 30_000]),
            (conv(40), [7, 40, 40], vec![3, 7, 40, 40]),
            (conv(90), [1, 90, 90], vec![3, 1, 90, 90]),
        ] {
            let quantized = heavy(op, shape, weights, mean);
            let lowered = lower(&quantized).unwrap();
            let elements: usize = shape.iter().product();
            let images: Vec<u8> = (0..2 * elements).map(|at| if at < elements { 255 } else { at as u8 }).collect();
            let data = Dataset { shape, classes: 3, images, labels: vec![0; 2] };
            let model = IntegerModel::new(&lowered.integers);
            assert!(model.weights[0].parts.len() > 2);
            let image = Image::open(&lowered.image).unwrap();
            let encoder = Encoder::new(image.header());
            let engine = |index| native::infer(&image, &encoder.encode(data.image(index))).unwrap().logits;
            assert_eq!(model.logits(&data).unwrap(), [engine(0), engine(1)]);
        }
    }
}

/// Shares of codes that fake quantization rounds otherwise than the engine, though it reads the engine's own codes:
/// by operator, of all layers together.
fn rounded_otherwise(quantized: &QuantizedNetwork, data: &Dataset) -> BTreeMap<&'static str, f64> {
    let integers = lower::integers(quantized).unwrap();
    let model = IntegerModel::new(&integers);
    let tables = code_tables(&integers.input, &integers.codes);
    let mut exact = vec![start_values(data, 0..data.len(), &tables)];
    for (step, weights) in integers.steps.iter().zip(&model.weights) {
        let Some(quant) = step.output else { break };
        let operands: Vec<&[f32]> = step.inputs.iter().map(|operand| exact[operand.tensor].as_slice()).collect();
        exact.push(compute(step, weights, &operands, data.len(), &quant));
    }
    let fake = Model::from_quantized(quantized).unwrap();
    let x = fake.input(data, &(0..data.len()).collect::<Vec<_>>()).unwrap();
    let blocks = fuse::blocks(fake.graph()).unwrap();
    let (mut values, mut counts) = (Vec::new(), BTreeMap::<_, [usize; 2]>::new());
    for index in 0..fake.graph().nodes.len() {
        let mut value = fake.node(index, &x, &values, false).unwrap();
        let step = blocks.iter().position(|block| block.output == Source::Node(index));
        if let Some((step, quant)) = step.and_then(|step| Some((step, integers.steps[step].output?))) {
            let reals: Vec<f32> = exact[step + 1].iter().map(|code| code * quant.scale).collect();
            let own: Vec<f32> = value.flatten_all().unwrap().to_vec1().unwrap();
            let apart = own.iter().zip(&reals).filter(|(a, b)| (*a - *b).abs() > quant.scale / 2.0).count();
            let name = match integers.steps[step].operation {
                Operation::Conv { .. } | Operation::Dense { .. } => "weighted",
                Operation::Add { .. } => "add",
                Operation::MaxPool { .. } => "maxpool",
                Operation::AvgPool { .. } => "avgpool",
                Operation::Concat => "concat",
            };
            let count = counts.entry(name).or_default();
            *count = [count[0] + apart, count[1] + own.len()];
            value = candle_core::Tensor::from_vec(reals, value.shape(), value.device()).unwrap();
        }
        values.push(value);
    }
    counts.into_iter().map(|(name, [apart, all])| (name, apart as f64 / all as f64)).collect()
}

/// The same with every bias at a whole number of accumulator units, as an image holds it.
fn with_integer_biases(quantized: &QuantizedNetwork) -> QuantizedNetwork {
    let mut quantized = lower(quantized).unwrap().quantized;
    for block in fuse::blocks(&quantized.network.graph).unwrap() {
        let Some(weights) = quantized.weights.get(&block.node) else { continue };
        let input = crate::lower::quantizer(&quantized, block.inputs[0]).unwrap();
        let name = format!("{}.bias", quantized.network.graph.nodes[block.node].name);
        let Some(bias) = quantized.network.parameters.get_mut(&name) else { continue };
        for (bias, scale) in bias.data.iter_mut().zip(&weights.scales) {
            let unit = scale * input.scale;
            *bias = (*bias / unit).round() * unit;
        }
    }
    quantized
}

#[test]
#[ignore = "slow: needs a trained ResNet-20; `cargo xtask test slow`"]
fn fake_quantization_rounds_otherwise_where_constants_are_coarse() {
    let found = crate::data::locate(Some("cifar10"), None).ok();
    let models = found.as_ref().and_then(|source| Some(source.directory()?.parent()?.join("models")));
    let (Some(source), Some(models)) = (found, models.filter(|models| models.is_dir())) else {
        return println!("skipped: no data");
    };
    let train = source.load(crate::data::Which::Train).unwrap();
    let imported = crate::import::onnx(&models.join("resnet20-cifar10.onnx")).unwrap();
    let network = imported.normalised(&[0.485, 0.456, 0.406], &[0.229, 0.224, 0.225]).unwrap().network;
    let plan = ["8"; 20].join(",").parse().unwrap();
    let options = crate::train::ptq::Options { inputs: 128, ..Default::default() };
    let quantized = crate::train::ptq::ptq(&network, &plan, &train, &options, &mut |_, _| {}).unwrap().quantized;
    let images = train.slice(0..32);
    let as_it_is = rounded_otherwise(&quantized, &images);
    let whole = rounded_otherwise(&with_integer_biases(&quantized), &images);
    println!("codes rounded otherwise: {as_it_is:?}; with whole biases: {whole:?}");
    // What is left is the rounding of sums of floats.
    let sums = whole["weighted"];
    assert!(sums > 0.0 && as_it_is["weighted"] > 10.0 * sums && as_it_is["add"] > 10.0 * sums);
}
