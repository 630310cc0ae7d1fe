//! `releq search`: the cheapest bit-width for every layer that keeps the accuracy.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use releq_search::network::StateOfQuantization;
use releq_search::plan::BitPlan;
use releq_search::searcher::Searcher;
use releq_search::space::Space;
use releq_search::{learners, rivals};
use serde::Serialize;

use super::{DataOption, Failure, Outcome, load_model, print_json, write_whole};
use crate::data::{self, Which};
use crate::search::bench::Bench;
use crate::search::hunt::{Attempt, Found, Request, Step, Verdict, hunt};
use crate::search::split::{Origin, Split};
use crate::search::{SearchError, features};
use crate::target::fit::check_fit;
use crate::terminal::{self, Progress, grouped};
use crate::train::calibrate::Calibration;
use crate::train::fit::Schedule;
use crate::train::interrupt::Interrupt;
use crate::train::quantize::{Method, Recipe};

/// Example: releq search lenet.onnx --data mnist --max-loss 0.3 -o runs/lenet
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  releq search lenet.onnx --data mnist --max-loss 0.3 -o runs/lenet")]
pub(super) struct Arguments {
    /// A model: .onnx, or .safetensors from `releq train` or `releq import`
    model: PathBuf,
    #[command(flatten)]
    data: DataOption,
    /// Compare plans on the test images of this directory instead
    #[arg(long, value_name = "DIR")]
    val: Option<String>,
    /// Also check that the image fits this board; exit code 1 if it does not
    #[arg(long, value_name = "BOARD")]
    board: Option<String>,
    /// Weight bits to choose from: a range 2..8 or a list 2,3,4,8
    #[arg(long, value_name = "A..B", default_value = "2..8", value_parser = widths)]
    weights: Widths,
    /// Keep the first and the last layer at their widest
    #[arg(long)]
    pin_ends: bool,
    /// Who chooses which plans are evaluated
    #[arg(long, value_name = "NAME", default_value = "ppo-surrogate")]
    agent: String,
    /// Most distinct plans to evaluate, all-8 and probes included
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u64).range(1..))]
    episodes: u64,
    /// Most top-1 points that may be lost against the float network
    #[arg(long, value_name = "POINTS", default_value_t = 0.3)]
    max_loss: f64,
    /// Images of fine-tuning for each evaluation
    #[arg(long, value_name = "N", default_value_t = 3000)]
    short: usize,
    /// Images of fine-tuning for anchors and re-ranking
    #[arg(long, value_name = "N", default_value_t = 16_000)]
    long: usize,
    /// Passes over the tuning images for the chosen plan; may be a fraction
    #[arg(long, default_value_t = 1.0)]
    epochs: f64,
    /// The one seed of everything random
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Directory of the run: log, result and image; the same command resumes from it
    #[arg(short, long, value_name = "RUN")]
    output: PathBuf,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Widths that a layer may take.
#[derive(Clone, Debug)]
struct Widths(Vec<u8>);

fn widths(text: &str) -> Result<Widths, String> {
    let number = |part: &str| {
        let bits = part.trim().parse::<u8>().ok().filter(|bits| releq_search::plan::BITS.contains(bits));
        bits.ok_or_else(|| format!("`{part}` is not a bit-width; write a range like 2..8 or a list like 2,3,4,8"))
    };
    let widths: Vec<u8> = match text.split_once("..") {
        Some((low, high)) => (number(low)?..=number(high.trim_start_matches('='))?).collect(),
        None => text.split(',').map(number).collect::<Result<_, _>>()?,
    };
    if widths.is_empty() {
        Err(format!("`{text}` holds no bit-width; write the smaller one first"))
    } else {
        Ok(Widths(widths))
    }
}

#[derive(Serialize)]
struct Report<'a> {
    schema: u32,
    model: &'a str,
    data: &'a str,
    synthetic: bool,
    agent: &'a str,
    validation: Origin,
    validation_images: usize,
    plan: String,
    greedy: Option<String>,
    met: bool,
    max_loss: f64,
    mean_weight_bits: f64,
    mean_bits_per_weight: f64,
    state_of_quantization: f64,
    energy_state_of_quantization: f64,
    reward: f64,
    float_validation_top1: f64,
    #[serde(flatten)]
    verdict: &'a Verdict,
    distinct_evaluations: usize,
    anchors: Vec<String>,
    forecast: crate::search::forecast::Forecast,
    attempts: &'a [Attempt],
    evaluated: Vec<Evaluated>,
    bytes: usize,
    arena_bytes: usize,
    image: String,
    seed: u64,
    seconds: f64,
    version: &'static str,
}

#[derive(Serialize)]
struct Evaluated {
    plan: String,
    predicted_loss: f64,
    value: f64,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let started = Instant::now();
    let mut searcher = searcher(&arguments.agent)?;
    let board = arguments.board.as_deref().map(super::run::board).transpose()?;
    let network = load_model(&arguments.model)?;
    let source = arguments.data.locate()?;
    let (train, test) = (source.load(Which::Train)?, source.load(Which::Test)?);
    super::quantize::check_images(&network, &test, source.name())?;
    let own = arguments.val.as_deref().map(|spec| data::locate(Some(spec), None)?.load(Which::Test)).transpose()?;
    let split = Split::new(train, test, network.graph.held_out, own);
    let request = request(arguments, &network, &split)?;

    let _lock = lock(&arguments.output)?;
    let interrupt = Interrupt::watch();
    let stop = || interrupt.requested();
    let log = arguments.output.join("episodes.jsonl");
    let mut bench = Bench::open(&network, &split, recipe(arguments.seed), &log, &stop)
        .map_err(SearchError::from)
        .map_err(failure)?;
    if bench.measured() > 0 {
        terminal::say(&format!("note: going on from {} measurements in {}", bench.measured(), log.display()));
    }
    let mut progress = Progress::new("searching");
    let mut watch = |step: Step<'_>| progress.update(step.done, step.of, step.doing);
    let found = hunt(&mut bench, searcher.as_mut(), &request, &mut watch);
    progress.finish();
    let found = found.map_err(failure)?;

    let image = arguments.output.join("model.rlq");
    write_whole(&image, &found.image)?;
    let features = features(&network).map_err(failure)?;
    let opened = super::open_image(&image, &found.image)?;
    let report = Report {
        schema: 1,
        model: &network.graph.name,
        data: source.name(),
        synthetic: source.synthetic(),
        agent: searcher.name(),
        validation: split.origin,
        validation_images: split.validation.len(),
        plan: found.plan.to_string(),
        greedy: found.greedy.as_ref().map(BitPlan::to_string),
        met: found.met,
        max_loss: arguments.max_loss,
        mean_weight_bits: found.plan.mean_weight_bits(),
        mean_bits_per_weight: features.mean_bits_per_weight(&found.plan),
        state_of_quantization: StateOfQuantization::Mean.of(&features, &found.plan),
        energy_state_of_quantization: StateOfQuantization::Energy.of(&features, &found.plan),
        reward: found.value,
        float_validation_top1: found.float_validation_top1,
        verdict: &found.verdict,
        distinct_evaluations: found.distinct_evaluations,
        anchors: found.anchors.iter().map(BitPlan::to_string).collect(),
        forecast: found.forecast,
        attempts: &found.attempts,
        evaluated: evaluated(&found),
        bytes: opened.len(),
        arena_bytes: opened.arena_bytes(),
        image: image.display().to_string(),
        seed: arguments.seed,
        seconds: started.elapsed().as_secs_f64(),
        version: env!("CARGO_PKG_VERSION"),
    };
    let result = serde_json::to_string_pretty(&report)? + "\n";
    write_whole(&arguments.output.join("result.json"), result.as_bytes())?;
    if arguments.json {
        print_json(&report)?
    } else {
        terminal::answer(&text(&report))?
    }
    if let Some(board) = board {
        check_fit(board, &opened).map_err(|error| Failure::with_code(1, error))?;
    }
    Ok(found.met)
}

fn request(arguments: &Arguments, network: &crate::network::Network, split: &Split) -> Result<Request, Failure> {
    let mut space = Space::same(&arguments.weights.0, network.graph.weighted().len())?;
    if arguments.pin_ends {
        space = space.ends_pinned()?;
    }
    Ok(Request {
        space,
        max_loss: arguments.max_loss / 100.0,
        budget: usize::try_from(arguments.episodes).unwrap_or(usize::MAX),
        short: arguments.short,
        long: arguments.long,
        last: (arguments.epochs * split.tune.len() as f64).round() as usize,
        seed: arguments.seed,
    })
}

/// The searcher of that name.
fn searcher(name: &str) -> Result<Box<dyn Searcher>, Failure> {
    learners::named(name).or_else(|| rivals::named(name)).ok_or_else(|| {
        let every = learners::ALL.iter().chain(&rivals::ALL);
        let known = every.map(|make| make().name().to_owned()).collect::<Vec<_>>().join(", ");
        Failure::with_code(
            2,
            anyhow::anyhow!("there is no agent `{name}`; the agents are {known}; name one with --agent"),
        )
    })
}

/// How every plan is fine-tuned; the stages set how long.
fn recipe(seed: u64) -> Recipe {
    Recipe {
        method: Method::Learned,
        calibration: Calibration::Percentile,
        calibration_images: 512,
        schedule: Schedule { epochs: 0.0, batch: 64, rate: 1e-3, seed },
        distill: true,
    }
}

fn failure(error: SearchError) -> Failure {
    Failure::with_code(if error.is_interruption() { 130 } else { 2 }, error)
}

/// Makes the run's directory and keeps other searches out of it until this one ends.
fn lock(directory: &std::path::Path) -> Result<fs::File, Failure> {
    let refused = |error: std::io::Error| {
        let directory = directory.display();
        Failure::with_code(
            2,
            anyhow::anyhow!("cannot use {directory} for the run: {error}; choose another -o or free some space"),
        )
    };
    fs::create_dir_all(directory).map_err(refused)?;
    let file = fs::File::create(directory.join("lock")).map_err(refused)?;
    file.try_lock().map_err(|_| {
        let directory = directory.display();
        Failure::with_code(
            2,
            anyhow::anyhow!("another search is running in {directory}; wait for it or choose another -o"),
        )
    })?;
    Ok(file)
}

fn evaluated(found: &Found) -> Vec<Evaluated> {
    let float = found.float_validation_top1;
    let one = |entry: &releq_search::ledger::Entry| Evaluated {
        plan: entry.plan.to_string(),
        predicted_loss: float - 100.0 * entry.seen.accuracy,
        value: entry.seen.value,
    };
    found.entries.iter().map(one).collect()
}

fn text(report: &Report<'_>) -> String {
    let synthetic = if report.synthetic { " (synthetic)" } else { "" };
    let Verdict { images, float_top1, final_top1, loss, loss_interval: [low, high], .. } = report.verdict;
    let kept = if report.met { "keeps to" } else { "MISSES" };
    format!(
        "{} at {} bits (mean {:.2}), chosen by {} from {} plans evaluated\n\
         float    top-1 {float_top1:.2} %   {images} {}{synthetic} test images, looked at once\n\
         integer  top-1 {final_top1:.2} %   loss {loss:.2} points (95 % interval {low:.2} to {high:.2})\n\
         {kept} --max-loss {} on {} validation images\n\
         flash {} bytes   RAM {} bytes   {:.1} s   → {}\n",
        report.model,
        report.plan,
        report.mean_weight_bits,
        report.agent,
        report.distinct_evaluations,
        report.data,
        report.max_loss,
        report.validation_images,
        grouped(report.bytes as u64),
        grouped(report.arena_bytes as u64),
        report.seconds,
        report.image,
    )
}
