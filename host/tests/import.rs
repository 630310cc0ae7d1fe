//! Trained networks from PyTorch's exporters and its weight files are the networks that were trained.

#![allow(clippy::explicit_write, reason = "what eprintln! says is swallowed in a test that passes")]

use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

use releq::data::{self, Dataset, Which};
use releq::import::{self, Imported};
use releq::lower;
use releq::network::Network;
use releq::target::native;
use releq::train::fit;
use releq::train::integer::IntegerModel;
use releq::train::model::Model;
use releq::train::quantize::{Recipe, quantize};
use releq_format::image::Image;

/// The set called `name` and the directory of trained models, where the machine has them.
fn real(name: &str, which: Which) -> Option<(Dataset, PathBuf)> {
    let source = data::locate(Some(name), None).ok();
    let models = source.as_ref().and_then(|source| Some(source.directory()?.parent()?.join("models")));
    match (source, models.filter(|models| models.is_dir())) {
        (Some(source), Some(models)) => Some((source.load(which).unwrap(), models)),
        _ => {
            writeln!(std::io::stderr(), "skipped: no data").unwrap();
            None
        }
    }
}

/// What each family of models subtracted and divided by.
const IMAGENET: ([f32; 3], [f32; 3]) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
const CIFAR: ([f32; 3], [f32; 3]) = ([0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]);

fn normalised(imported: Imported, (mean, std): ([f32; 3], [f32; 3])) -> Network {
    imported.normalised(&mean, &std).unwrap().network
}

/// ResNet-20 as the TorchScript exporter, the torch.export exporter and a state_dict tell it.
fn resnets(models: &std::path::Path) -> [Network; 3] {
    let file = |name: &str| models.join(name);
    [
        import::onnx(&file("resnet20-cifar10.onnx")),
        import::onnx(&file("resnet20-cifar10-dynamo.onnx")),
        import::weights(&file("resnet20-cifar10.safetensors"), "resnet20"),
    ]
    .map(|imported| normalised(imported.unwrap(), IMAGENET))
}

fn logits(network: &Network, data: &Dataset) -> Vec<f32> {
    fit::logits(&Model::new(network).unwrap(), data).unwrap().concat()
}

#[test]
fn three_files_of_one_network_give_the_same_logits() {
    let Some((test, models)) = real("cifar10", Which::Test) else { return };
    let test = test.slice(0..64);
    let [script, dynamo, weights] = resnets(&models).map(|network| logits(&network, &test));
    for other in [&dynamo, &weights] {
        let apart = script.iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
        assert!(apart < 1e-3, "the logits are up to {apart} apart");
    }
    for name in ["lenet-mnist", "simplenet-cifar10", "mobilenetv1-w0.5-cifar10"] {
        let (zoo, _) = name.split_once('-').unwrap();
        let Some((test, models)) = real(if zoo == "lenet" { "mnist" } else { "cifar10" }, Which::Test) else { return };
        let test = test.slice(0..64);
        let onnx = import::onnx(&models.join(format!("{name}.onnx"))).unwrap().network;
        let weights = import::weights(&models.join(format!("{name}.safetensors")), zoo).unwrap().network;
        let apart =
            logits(&onnx, &test).iter().zip(logits(&weights, &test)).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
        assert!(apart < 1e-3, "{name}: the logits are up to {apart} apart");
    }
}

#[test]
#[ignore = "slow: 60,000 inferences; `cargo xtask test slow`"]
fn imported_networks_have_the_accuracy_they_were_trained_to() {
    let Some((test, models)) = real("cifar10", Which::Test) else { return };
    let correct = |network: &Network| fit::correct(&fit::predict(&Model::new(network).unwrap(), &test).unwrap(), &test);
    for network in resnets(&models) {
        assert_eq!(correct(&network), 9173, "{}", network.graph.name);
    }
    for (name, right) in [("simplenet-cifar10", 7143), ("mobilenetv1-w0.5-cifar10", 8591)] {
        let network = normalised(import::onnx(&models.join(format!("{name}.onnx"))).unwrap(), CIFAR);
        assert_eq!(correct(&network), right, "{name}");
    }
    let Some((test, models)) = real("mnist", Which::Test) else { return };
    let lenet = import::onnx(&models.join("lenet-mnist.onnx")).unwrap().network;
    assert_eq!(fit::correct(&fit::predict(&Model::new(&lenet).unwrap(), &test).unwrap(), &test), 9938);
}

#[test]
#[ignore = "slow: 20,000 inferences; `cargo xtask test slow`"]
fn a_residual_network_keeps_its_accuracy_at_eight_bits_without_training() {
    let (Some((train, models)), Some((test, _))) = (real("cifar10", Which::Train), real("cifar10", Which::Test)) else {
        return;
    };
    let [network, ..] = resnets(&models);
    let plan = ["8"; 20].join(",").parse().unwrap();
    let quantized =
        quantize(&network, &plan, &train, &Recipe::learned(0.0, 1), None, &mut |_| ControlFlow::Continue(())).unwrap();
    let lowered = lower::lower(&quantized).unwrap();
    let image = Image::open(&lowered.image).unwrap();
    let integer = native::answers(&image, &test).unwrap();
    let started = Instant::now();
    let fake = fit::predict(&Model::from_quantized(&lowered.quantized).unwrap(), &test).unwrap();
    let in_floats = started.elapsed().as_secs_f64();
    let started = Instant::now();
    let expected = IntegerModel::new(&lowered.integers).answers(&test).unwrap();
    let in_integers = started.elapsed().as_secs_f64();
    let agree = integer.iter().zip(&fake).filter(|(one, other)| one == other).count();
    let right = fit::correct(&integer, &test);
    writeln!(
        std::io::stderr(),
        "integer {right} of 10,000 right, {agree} as fake-quantized; {in_floats:.1} s fake-quantized, {in_integers:.1} s in integers"
    )
    .unwrap();
    assert!(right >= 9173 - 30, "{right} of 10,000 right");
    assert_eq!(integer, expected, "the same integers");
}
