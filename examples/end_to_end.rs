//! From nothing to a microcontroller in one file: a network learns drawn digits, a search gives each layer its bits, and the
//! image that comes of it answers alike here and on an emulated Cortex-M4.
//!
//! `cargo run --example end_to_end -- digits.rlq`; the board takes part where `qemu-system-arm` is and `cargo xtask firmware
//! virt-m4` has built its runner.

use std::error::Error;
use std::fs;
use std::ops::ControlFlow;

use releq::data::{Dataset, glyphs};
use releq::encode::Encoder;
use releq::lower::lower;
use releq::network::Network;
use releq::quantized::QuantizedNetwork;
use releq::target::qemu::{Launch, Qemu};
use releq::target::session::{Patience, Session};
use releq::target::{TargetError, board, native};
use releq::train::fit::{self, Schedule};
use releq::train::integer::IntegerModel;
use releq::train::model::Model;
use releq::train::quantize::{Recipe, quantize};
use releq::{search, zoo};
use releq_device::{Engine, kernels};
use releq_format::image::{Image, ImageBuffer};
use releq_search::evaluate::Score;
use releq_search::learners::Imagining;
use releq_search::ledger::Ledger;
use releq_search::network::StateOfQuantization;
use releq_search::objective::{Goal, Objective};
use releq_search::plan::BitPlan;
use releq_search::race;
use releq_search::searcher::Problem;
use releq_search::space::Space;

type Failure = Box<dyn Error + Send + Sync>;

/// Plans that the search may try.
const EVALUATIONS: usize = 12;
/// Inputs that the board runs.
const RUNS: usize = 8;

fn main() -> Result<(), Failure> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "digits.rlq".to_owned());
    let (train, validation, test) = (glyphs::generate(1, 4000), glyphs::generate(2, 500), glyphs::generate(3, 1000));

    let network = trained(&train)?;
    println!("float       top-1 {}", share(&fit::predict(&Model::new(&network)?, &test)?, &test));

    let plan = searched(&network, &train, &validation)?;
    println!("searched    {plan}, mean {:.2} bits, {EVALUATIONS} plans tried", plan.mean_weight_bits());

    let lowered = lower(&quantized(&network, &plan, &train, 1.0)?)?;
    fs::write(&path, &lowered.image[..])?;

    // All that follows needs the file alone; `open` checks it once, and nothing fails on it after that.
    let bytes = ImageBuffer::from(&fs::read(&path)?[..]);
    let image = Image::open(&bytes)?;
    println!("image       {} bytes of flash, {} of RAM → {path}", image.len(), image.arena_bytes());
    println!("integer     top-1 {}", share(&native::answers(&image, &test)?, &test));

    // One input as firmware runs it: codes in, a class out, no allocation.
    let codes = Encoder::new(image.header()).encode(test.image(0));
    let mut arena = vec![0u64; image.arena_bytes().div_ceil(8)];
    let mut engine = Engine::<16>::new(&image, bytemuck::cast_slice_mut(&mut arena), kernels::ALL)?;
    engine.input_mut().copy_from_slice(&codes);
    engine.run(&mut ());
    println!("engine      says {} of a {}", engine.top1(), test.labels[0]);

    on_virt_m4(&image, &test)
}

fn trained(train: &Dataset) -> Result<Network, Failure> {
    let untrained = zoo::build("lenet", train.shape, train.classes, 1).ok_or("LeNet does not take such images")?;
    let model = Model::new(&untrained)?;
    fit::fit(&model, None, train, &Schedule::adam(3.0, 1), &mut |_| ControlFlow::Continue(()))?;
    Ok(model.network()?)
}

/// The plan of the fewest bits that loses at most a point of the validation images after a short fine-tune.
fn searched(network: &Network, train: &Dataset, validation: &Dataset) -> Result<BitPlan, Failure> {
    let features = search::features(network)?;
    let space = Space::same(&[2, 3, 4, 8], features.layers().len())?;
    let float = fit::accuracy(&Model::new(network)?, validation)?;
    let objective = Objective::new(Goal::Floor(0.01), StateOfQuantization::default(), features, float);
    let mut evaluator = |plan: &BitPlan| -> Result<Score, Failure> {
        let integers = lower(&quantized(network, plan, train, 0.25)?)?.integers;
        let answers = IntegerModel::new(&integers).answers(validation)?;
        Ok(Score { accuracy: fit::correct(&answers, validation) as f64 / validation.len() as f64 })
    };
    let mut ledger = Ledger::new(&mut evaluator, &objective, EVALUATIONS);
    race::run(&mut Imagining::default(), &Problem { space: &space, objective: &objective }, &mut ledger, 1)?;
    Ok(ledger.best().ok_or("no plan was tried")?.plan.clone())
}

fn quantized(network: &Network, plan: &BitPlan, train: &Dataset, epochs: f64) -> Result<QuantizedNetwork, Failure> {
    let recipe = Recipe::learned(epochs, 1);
    Ok(quantize(network, plan, train, &recipe, None, &mut |_| ControlFlow::Continue(()))?)
}

/// Runs some inputs on the emulated board and compares every layer's output with this machine's.
fn on_virt_m4(image: &Image<'_>, test: &Dataset) -> Result<(), Failure> {
    let board = board("virt-m4")?;
    let qemu = match Qemu::start(board, image, &Launch::from_env()) {
        Err(missing @ (TargetError::NoEmulator { .. } | TargetError::NoRunner { .. })) => {
            println!("virt-m4     left out: {missing}");
            return Ok(());
        }
        started => started?,
    };
    let mut session = Session::open(board, qemu, image, Patience::default())?;
    let encoder = Encoder::new(image.header());
    let mut instructions = 0;
    for index in 0..RUNS {
        let codes = encoder.encode(test.image(index));
        let measured = session.infer(&codes)?;
        if measured.inference != native::infer(image, &codes)? {
            return Err(format!("virt-m4 computes something else from input {index}").into());
        }
        instructions = measured.total();
    }
    println!("virt-m4     {instructions} instructions; every layer of {RUNS} inputs is identical to this machine's");
    Ok(())
}

fn share(answers: &[usize], data: &Dataset) -> String {
    format!("{:.1} % of {} drawn digits", 100.0 * fit::correct(answers, data) as f64 / data.len() as f64, data.len())
}
