//! The promise between training and engine: what was fine-tuned is what the integers compute, and it costs what it may.

#![allow(clippy::explicit_write, reason = "what eprintln! says is swallowed in a test that passes")]

use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;

use releq::data::{self, Dataset, Which, glyphs};
use releq::network::{Network, Op, Source};
use releq::summary::ImageSummary;
use releq::target::native;
use releq::train::fit::{self, Schedule};
use releq::train::integer::IntegerModel;
use releq::train::model::Model;
use releq::train::quantize::{Method, Recipe, quantize};
use releq::{checkpoint, lower, zoo};
use releq_format::image::Image;
use releq_search::seed;
use releq_search::space::Space;

fn recipe(method: Method, epochs: f64) -> Recipe {
    Recipe { method, calibration_images: 256, ..Recipe::learned(epochs, 1) }
}

/// Shares of the test images, in percent.
#[derive(Debug)]
struct Quantized {
    integer: f64,
    agreement: f64,
}

fn percent(count: usize, data: &Dataset) -> f64 {
    100.0 * count as f64 / data.len() as f64
}

fn quantized(network: &Network, plan: &str, recipe: &Recipe, train: &Dataset, test: &Dataset) -> Quantized {
    let plan = plan.parse().unwrap();
    let quantized = quantize(network, &plan, train, recipe, None, &mut |_| ControlFlow::Continue(())).unwrap();
    let lowered = lower::lower(&quantized).unwrap();
    let expected = IntegerModel::new(&lowered.integers).answers(test).unwrap();
    let image = Image::open(&lowered.image).unwrap();
    let summary = ImageSummary::of(&image);
    assert!(summary.bytes <= summary.budget_bytes, "{summary:#?}");
    let integer = native::answers(&image, test).unwrap();
    let agree = integer.iter().zip(&expected).filter(|(one, other)| one == other).count();
    Quantized { integer: percent(fit::correct(&integer, test), test), agreement: percent(agree, test) }
}

/// On drawn digits, with every quantizer and with narrow activations, which leave least room for a rounding apart; and at
/// plans drawn from all that a search may choose.
#[test]
fn the_engine_computes_what_was_fine_tuned() {
    let (train, test) = (glyphs::generate(1, 4000), glyphs::generate(2, 500));
    let network = zoo::build("lenet", train.shape, train.classes, 1).unwrap();
    let model = Model::new(&network).unwrap();
    let schedule = Schedule { batch: 32, rate: 1.5e-3, ..Schedule::adam(3.0, 1) };
    fit::fit(&model, None, &train, &schedule, &mut |_| ControlFlow::Continue(())).unwrap();
    let float = 100.0 * fit::accuracy(&model, &test).unwrap();
    assert!(float > 80.0, "the network learned: {float}");
    let network = model.network().unwrap();
    for (method, plan) in [
        (Method::Learned, "1,2,3,4"),
        (Method::Learned, "2:4,3:3,2:2,8:8"),
        (Method::Learned, "5:7,6:6,7:5,8:1"),
        (Method::Wrpn, "8,8,8,8"),
        (Method::Dorefa, "3,3,3,3"),
    ] {
        let outcome = quantized(&network, plan, &recipe(method, 0.25), &train, &test);
        assert_eq!(outcome.agreement, 100.0, "{method:?} {plan}: {outcome:?}");
    }
    let space = Space::same(&[1, 2, 3, 4, 5, 6, 7, 8], 4).unwrap().with_activations(&[2, 3, 4, 5, 6, 7, 8]).unwrap();
    let mut rng = seed::stream(1, "plans");
    for _ in 0..6 {
        let plan = space.sample(&mut rng).to_string();
        let outcome = quantized(&network, &plan, &recipe(Method::Learned, 0.1), &train, &test);
        assert!(outcome.agreement >= 99.6, "{plan}: {outcome:?}");
    }
}

/// Residual adds, shortcuts without parameters and ceilings, with untrained weights: nothing but arithmetic is compared.
#[test]
fn shortcuts_and_ceilings_are_what_was_fake_quantized() {
    let (train, test) = (glyphs::generate(1, 128), glyphs::generate(2, 300));
    let mut network = zoo::build("resnet20", train.shape, train.classes, 1).unwrap();
    for node in &mut network.graph.nodes {
        if node.op == Op::Relu {
            node.op = Op::ClippedRelu { ceiling: 1.5 };
        }
    }
    assert_eq!(network.graph.weighted().len(), 20, "a shortcut is no layer of a plan");
    for widths in ["8", "4:4", "3:8"] {
        let plan = [widths; 20].join(",");
        let outcome = quantized(&network, &plan, &recipe(Method::Learned, 0.0), &train, &test);
        assert_eq!(outcome.agreement, 100.0, "{widths}: {outcome:?}");
        let quantized =
            quantize(&network, &plan.parse().unwrap(), &train, &recipe(Method::Learned, 0.0), None, &mut |_| {
                ControlFlow::Continue(())
            })
            .unwrap();
        let graph = &quantized.network.graph;
        for (source, quant) in &quantized.activations {
            let Source::Node(index) = *source else { continue };
            let clipped = matches!(graph.nodes[index].op, Op::ClippedRelu { .. });
            let largest = quant.real(quant.bits.max_code());
            assert!(!clipped || largest <= 1.5 * 1.000_001, "{}: {largest}", graph.nodes[index].name);
        }
    }
}

fn mnist() -> Option<(Dataset, Dataset, Network)> {
    let missing = |what: &str| {
        writeln!(std::io::stderr(), "skipped: no data ({what})").unwrap();
    };
    let Ok(source) = data::locate(Some("mnist"), None) else {
        missing("mnist");
        return None;
    };
    let models = source.directory()?.parent()?.join("models");
    let models = if models.is_dir() { models } else { PathBuf::from("../shared/data/models") };
    let Ok(network) = checkpoint::load(&models.join("lenet-mnist.onnx")) else {
        missing("lenet-mnist.onnx");
        return None;
    };
    Some((source.load(Which::Train).unwrap(), source.load(Which::Test).unwrap(), network))
}

#[test]
#[ignore = "slow: fine-tunes on all of MNIST; `cargo xtask test slow`"]
fn lenet_on_mnist_keeps_its_accuracy() {
    let Some((train, test, network)) = mnist() else { return };
    let float = 100.0 * fit::accuracy(&Model::new(&network).unwrap(), &test).unwrap();
    assert!(float >= 99.0, "{float}");
    for (plan, epochs, loss) in [("8,8,8,8", 0.0, 0.1), ("2,2,3,2", 1.0, 0.3)] {
        let outcome = quantized(&network, plan, &recipe(Method::Learned, epochs), &train, &test);
        writeln!(std::io::stderr(), "{plan}: float {float:.2} %, {outcome:?}").unwrap();
        assert!(float - outcome.integer <= loss + 1e-9, "{plan}: float {float}, {outcome:?}");
        assert_eq!(outcome.agreement, 100.0, "{plan}: {outcome:?}");
    }
}
