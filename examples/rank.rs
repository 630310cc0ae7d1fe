//! Prints whether short fine-tunes rank plans as long ones do: the proxy that every search lives on.
//!
//! `cargo run --example rank -- net.safetensors cifar10 3000 100000 rank.jsonl` fine-tunes 16 plans from 2 to 6 mean bits
//! on 3,000 and on 100,000 images each, both from the float checkpoint, and compares them on the 2,000 validation images:
//! by divergence from the float network's answers, which is what searches measure, and by accuracy. The file keeps what
//! was measured; the same command goes on from it.

use std::error::Error;
use std::path::Path;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use releq::data;
use releq::search::bench::{Bench, Measurement, Stage};
use releq::search::preset::{Preset, Published};
use releq::search::split::Split;
use releq_search::plan::{BitPlan, LayerBits};
use releq_search::seed;

/// Plans compared.
const PLANS: usize = 16;
/// Samples of the bootstrap.
const SAMPLES: usize = 4000;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, set, short, long, log] = &arguments[..] else {
        return Err("usage: rank MODEL DATA SHORT LONG LOG.jsonl".into());
    };
    let network = releq::checkpoint::load(Path::new(model))?;
    let splits = data::open(Some(set), None)?;
    let split = Split::new(splits.train, splits.test, network.graph.held_out, None);
    let recipe = Preset::Default.recipe(Published::default(), 1);
    let mut bench = Bench::open(&network, &split, recipe, Path::new(log), 2, &|| false)?;
    let plans = spread(network.graph.weighted().len());
    let short = bench.measure_all(Stage::Census, &plans, short.parse()?)?;
    let long = bench.measure_all(Stage::Rerank, &plans, long.parse()?)?;

    println!("| plan | mean bits | divergence, short | divergence, long | top-1, long |\n|---|---|---|---|---|");
    for (short, long) in short.iter().zip(&long) {
        let mean = short.plan.mean_weight_bits();
        let top1 = 100.0 * long.accuracy();
        println!("| {} | {mean:.2} | {:.4} | {:.4} | {top1:.2} |", short.plan, divergence(short), divergence(long));
    }
    let of = |all: &[Measurement], value: fn(&Measurement) -> f64| all.iter().map(value).collect::<Vec<f64>>();
    let first = of(&short, divergence);
    let bits = of(&short, |measured| -measured.plan.mean_weight_bits());
    for (name, proxy) in [("divergence after a short fine-tune", first), ("mean bits alone", bits)] {
        for (against, truth) in [
            ("divergence after a long one", of(&long, divergence)),
            ("accuracy lost after a long one", of(&long, |measured| -measured.accuracy())),
        ] {
            let [low, high] = interval(&proxy, &truth);
            println!("{name} against {against}: Spearman {:.2} (95 % {low:.2} to {high:.2})", spearman(&proxy, &truth));
        }
    }
    Ok(())
}

/// Without end where the fine-tune itself diverged.
fn divergence(measured: &Measurement) -> f64 {
    measured.divergence().unwrap_or(f64::INFINITY)
}

/// Plans whose layers lie within two bits of a level that goes from 2 to 6.
fn spread(layers: usize) -> Vec<BitPlan> {
    let mut rng = seed::stream(0, "ranked plans");
    let plan = |index: usize| {
        let level = 2.0 + 4.0 * index as f64 / (PLANS - 1) as f64;
        let mut width = || (level + rng.random_range(-2.0..2.0)).round().clamp(2.0, 8.0) as u8;
        let layers = (0..layers).map(|_| LayerBits { weights: width(), activations: 8 }).collect();
        BitPlan::new(layers).expect("widths from 2 to 8")
    };
    (0..PLANS).map(plan).collect()
}

/// The correlation of ranks, ties sharing theirs.
fn spearman(one: &[f64], other: &[f64]) -> f64 {
    let (one, other) = (ranks(one), ranks(other));
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (a, b) = (mean(&one), mean(&other));
    let product: f64 = one.iter().zip(&other).map(|(x, y)| (x - a) * (y - b)).sum();
    let square = |values: &[f64], mean: f64| values.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
    product / (square(&one, a) * square(&other, b)).sqrt()
}

fn ranks(values: &[f64]) -> Vec<f64> {
    let rank = |value: &f64| {
        let below = values.iter().filter(|other| *other < value).count();
        let equal = values.iter().filter(|other| *other == value).count();
        below as f64 + (equal as f64 - 1.0) / 2.0
    };
    values.iter().map(rank).collect()
}

/// The middle 95 % of the correlations of plans drawn again with replacement.
fn interval(one: &[f64], other: &[f64]) -> [f64; 2] {
    let mut rng: ChaCha8Rng = seed::stream(0, "bootstrap");
    let draw = |_| {
        let drawn: Vec<usize> = (0..one.len()).map(|_| rng.random_range(0..one.len())).collect();
        let of = |values: &[f64]| drawn.iter().map(|&index| values[index]).collect::<Vec<f64>>();
        spearman(&of(one), &of(other))
    };
    let mut found: Vec<f64> = (0..SAMPLES).map(draw).filter(|found| found.is_finite()).collect();
    found.sort_by(f64::total_cmp);
    let at = |share: f64| found[((found.len() - 1) as f64 * share) as usize];
    [at(0.025), at(0.975)]
}
