//! MLPerf Tiny's reference networks, from their TFLite files to the engine and a virtual board.
//!
//! Needs the models and samples of `mlcommons/tiny` under `mlperf-tiny/` in the data directory; each test says where it
//! was skipped for want of them.

#![allow(clippy::explicit_write, reason = "what eprintln! says is swallowed in a test that passes")]

use std::io::Write;
use std::path::{Path, PathBuf};

use releq::data::{self, Dataset, Which, noise};
use releq::encode::Encoder;
use releq::import;
use releq::lower::{Lowered, lower};
use releq::network::Network;
use releq::target::qemu::{Launch, Qemu};
use releq::target::session::{Patience, Session};
use releq::target::{TargetError, board, native};
use releq::train::fit;
use releq::train::model::Model;
use releq::train::ptq::{Options, ptq};
use releq_format::image::Image;

/// The four networks with what one step of their int8 input is worth, and the input that stands for 0.
const NETWORKS: [(&str, f32, i8); 4] = [
    ("pretrainedResnet", 1.0, -128),
    ("kws_ref_model_float32", 0.584_702_9, 83),
    ("vww_96_float", 1.0 / 255.0, -128),
    ("ad01_fp32", 0.391_015_23, 89),
];

fn skipped<T>(what: &str) -> Option<T> {
    writeln!(std::io::stderr(), "skipped: {what}").unwrap();
    None
}

/// The directory with the models and samples.
fn mlperf() -> Option<PathBuf> {
    let root = std::env::var_os("RELEQ_DATA").map(PathBuf::from);
    let root = root.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"));
    let directory = root.join("mlperf-tiny");
    if directory.is_dir() { Some(directory) } else { skipped("no data (mlperf-tiny)") }
}

fn network((name, scale, zero_point): (&str, f32, i8)) -> Option<Network> {
    let imported = import::tflite(&mlperf()?.join("models").join(format!("{name}.tflite"))).unwrap();
    Some(imported.scaled(scale, zero_point).unwrap().network)
}

fn without_training(network: &Network, train: &Dataset, inputs: usize) -> Lowered {
    let plan = vec!["8"; network.graph.weighted().len()].join(",").parse().unwrap();
    let options = Options { inputs, ..Options::default() };
    lower(&ptq(network, &plan, train, &options, &mut |_, _| {}).unwrap().quantized).unwrap()
}

fn right(model: &Network, set: &Dataset) -> usize {
    fit::correct(&fit::predict(&Model::new(model).unwrap(), set).unwrap(), set)
}

/// Labels of upstream's `name,classes,label` lists.
fn labels(file: &Path) -> Vec<u8> {
    let text = std::fs::read_to_string(file).unwrap();
    text.lines().map(|line| line.rsplit(',').next().unwrap().trim().parse().unwrap()).collect()
}

/// Channel-last bytes as the network takes them.
fn channel_first(bytes: &[u8], [channels, height, width]: [usize; 3]) -> Vec<u8> {
    let image = |image: &[u8]| -> Vec<u8> {
        (0..channels)
            .flat_map(|channel| (0..height * width).map(move |at| at * channels + channel))
            .map(|at| image[at])
            .collect()
    };
    bytes.chunks_exact(channels * height * width).flat_map(image).collect()
}

#[test]
fn resnet8_scores_what_its_authors_say() {
    let Some(network) = network(NETWORKS[0]) else { return };
    let samples = mlperf().unwrap().join("ic01");
    let shape = network.graph.input.shape;
    let images = channel_first(&std::fs::read(samples.join("ic01_samples_hwc_u8.bin")).unwrap(), shape);
    let set = Dataset { shape, images, labels: labels(&samples.join("y_labels.csv")), classes: 10 };
    assert_eq!((set.len(), right(&network, &set)), (200, 174));
}

/// Keyword spotting: int8 features keep their codes, and eight bits without training cost nothing.
#[test]
fn keywords_score_the_same_in_floats_and_integers() {
    let Some(network) = network(NETWORKS[1]) else { return };
    let samples = mlperf().unwrap().join("kws01");
    let int8 = std::fs::read(samples.join("kws01_mfcc_i8.bin")).unwrap();
    let images = int8.into_iter().map(|byte| byte.wrapping_add(128)).collect();
    let labels = labels(&samples.join("y_labels.csv"));
    let set = Dataset { shape: network.graph.input.shape, images, labels, classes: 12 };
    let float = right(&network, &set);
    assert_eq!(float, 901);
    let lowered = without_training(&network, &set.slice(0..200), 200);
    let integer = fit::correct(&native::answers(&Image::open(&lowered.image).unwrap(), &set).unwrap(), &set);
    assert!(float.abs_diff(integer) <= 3, "{float} {integer}");
}

/// Every network on noise: production kernels, the reference kernels and the emulated Cortex-M4 give equal outputs.
#[test]
fn every_network_gives_equal_outputs_everywhere() {
    for entry in NETWORKS {
        let Some(network) = network(entry) else { return };
        let shape = network.graph.input.shape;
        let lowered = without_training(&network, &noise::generate(1, 16, shape), 16);
        let image = Image::open(&lowered.image).unwrap();
        let encoder = Encoder::new(image.header());
        let set = noise::generate(2, 2, shape);
        let inputs = (0..set.len()).map(|index| encoder.encode(set.image(index)));
        let pairs: Vec<_> = inputs.map(|input| (native::infer(&image, &input).unwrap(), input)).collect();
        for (native, input) in &pairs {
            assert_eq!(native, &native::oracle(&image, input).unwrap(), "{}", entry.0);
        }
        let Some(mut session) = on_virt_m4(&image) else { continue };
        for (native, input) in &pairs {
            assert_eq!(native, &session.infer(input).unwrap().inference, "{}", entry.0);
        }
    }
}

fn on_virt_m4(image: &Image<'_>) -> Option<Session<Qemu>> {
    let board = board("virt-m4").unwrap();
    let missing = match Qemu::start(board, image, &Launch::from_env()) {
        Ok(qemu) => return Some(Session::open(board, qemu, image, Patience::default()).unwrap()),
        Err(TargetError::NoEmulator { .. }) => "no qemu-system-arm",
        Err(TargetError::NoRunner { .. }) => "no runner firmware",
        Err(other) => panic!("{other}"),
    };
    assert!(std::env::var_os("RELEQ_REQUIRE_QEMU").is_none(), "{missing}");
    skipped(missing)
}

#[test]
#[ignore = "slow: all of CIFAR-10; `cargo xtask test slow`"]
fn resnet8_keeps_its_accuracy_without_training() {
    let Some(network) = network(NETWORKS[0]) else { return };
    let source = data::locate(Some("cifar10"), None).ok().or_else(|| skipped("no data (cifar10)"));
    let Some(source) = source else { return };
    let [train, test] = [Which::Train, Which::Test].map(|which| source.load(which).unwrap());
    assert_eq!(right(&network, &test), 8719);
    let lowered = without_training(&network, &train, 512);
    let integer = fit::correct(&native::answers(&Image::open(&lowered.image).unwrap(), &test).unwrap(), &test);
    assert!(integer >= 8690, "{integer} of 10,000");
}
