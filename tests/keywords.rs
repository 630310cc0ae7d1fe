//! Keyword spotting from recordings to a virtual board: what docs/keyword-spotting.md tells, on a small scale.
//!
//! Needs the recordings of `fsdd/` in the data directory; each test says where it was skipped for want of them.

#![allow(clippy::explicit_write, reason = "what eprintln! says is swallowed in a test that passes")]

use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use releq::data::{self, Dataset, Splits};
use releq::encode::Encoder;
use releq::lower::lower;
use releq::network::Network;
use releq::target::qemu::{Launch, Qemu};
use releq::target::session::{Patience, Session};
use releq::target::{TargetError, board, native};
use releq::train::fit::{self, Schedule};
use releq::train::integer::IntegerModel;
use releq::train::model::Model;
use releq::train::quantize::{Recipe, quantize};
use releq::zoo;
use releq_format::image::Image;

fn skipped<T>(what: &str) -> Option<T> {
    writeln!(std::io::stderr(), "skipped: {what}").unwrap();
    None
}

fn digits() -> Option<Splits> {
    let root = std::env::var_os("RELEQ_DATA").map(PathBuf::from);
    let root = root.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"));
    data::open(Some("fsdd"), Some(&root)).ok().or_else(|| skipped("no data (fsdd)"))
}

fn trained(train: &Dataset, epochs: f64) -> Network {
    let model = Model::new(&zoo::build("dscnn", train.shape, train.classes, 1).unwrap()).unwrap();
    let schedule = Schedule { rate: 3e-3, ..Schedule::adam(epochs, 1) };
    fit::fit(&model, None, train, &schedule, &mut |_| ControlFlow::Continue(())).unwrap();
    model.network().unwrap()
}

/// Spoken digits are learned from their spectrograms, kept at four bits, and answered alike everywhere.
#[test]
#[ignore = "slow: trains for a minute; `cargo xtask test slow`"]
fn spoken_digits_survive_four_bits_and_a_virtual_board() {
    let Some(Splits { train, test, .. }) = digits() else { return };
    let network = trained(&train, 4.0);
    let float = fit::correct(&fit::predict(&Model::new(&network).unwrap(), &test).unwrap(), &test);
    assert!(float >= 250, "{float} of 300");

    let plan = ["4"; 10].join(",");
    let recipe = Recipe::learned(0.5, 1);
    let watch = &mut |_| ControlFlow::Continue(());
    let lowered = lower(&quantize(&network, &plan.parse().unwrap(), &train, &recipe, None, watch).unwrap()).unwrap();
    let image = Image::open(&lowered.image).unwrap();
    let answers = native::answers(&image, &test).unwrap();
    let integer = fit::correct(&answers, &test);
    assert_eq!(answers, IntegerModel::new(&lowered.integers).answers(&test).unwrap());
    assert!(integer + 15 >= float, "{integer} of 300 in integers, {float} in floats");
    same_on_virt_m4(&image, &test.slice(0..4));
}

/// The speakers of the published test are those of the training, so it says nothing of other voices. This does: one of the
/// six is left out of the training and tests alone.
#[test]
#[ignore = "slow: trains six times, minutes; `cargo xtask test slow`"]
fn strangers_are_understood_less() {
    let Some(Splits { train, test, .. }) = digits() else { return };
    let mut right = 0;
    for stranger in 0..SPEAKERS {
        let network = trained(&spoken(&train, |speaker| speaker != stranger), 4.0);
        let theirs = spoken(&test, |speaker| speaker == stranger);
        let understood = fit::correct(&fit::predict(&Model::new(&network).unwrap(), &theirs).unwrap(), &theirs);
        writeln!(std::io::stderr(), "speaker {stranger}: {understood} of {}", theirs.len()).unwrap();
        right += understood;
    }
    writeln!(std::io::stderr(), "all: {right} of {}", test.len()).unwrap();
    assert!((150..290).contains(&right), "{right} of {}", test.len());
}

/// Speakers, and the digits each says in a row.
const SPEAKERS: usize = 6;
const DIGITS: usize = 10;

/// The recordings of some speakers, by the order that the set is read in.
fn spoken(data: &Dataset, by: impl Fn(usize) -> bool) -> Dataset {
    let kept: Vec<usize> = (0..data.len()).filter(|index| by(index / DIGITS % SPEAKERS)).collect();
    Dataset {
        images: kept.iter().flat_map(|&index| data.image(index)).copied().collect(),
        labels: kept.iter().map(|&index| data.labels[index]).collect(),
        ..data.slice(0..0)
    }
}

fn same_on_virt_m4(image: &Image<'_>, inputs: &Dataset) {
    let board = board("virt-m4").unwrap();
    let missing = match Qemu::start(board, image, &Launch::from_env()) {
        Ok(qemu) => {
            let mut session = Session::open(board, qemu, image, Patience::default()).unwrap();
            let encoder = Encoder::new(image.header());
            for index in 0..inputs.len() {
                let codes = encoder.encode(inputs.image(index));
                assert_eq!(session.infer(&codes).unwrap().inference, native::infer(image, &codes).unwrap(), "{index}");
            }
            return;
        }
        Err(TargetError::NoEmulator { .. }) => "no qemu-system-arm",
        Err(TargetError::NoRunner { .. }) => "no runner firmware",
        Err(other) => panic!("{other}"),
    };
    assert!(std::env::var_os("RELEQ_REQUIRE_QEMU").is_none(), "{missing}");
    skipped(missing).unwrap_or(())
}
