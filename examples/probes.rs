//! Prints how well probes of single choices foretell what plans lose, before and beside evaluations.
//!
//! `cargo run --example probes -- net.safetensors cifar10 runs/one probes.jsonl` probes each choice of the space that the run
//! searched, and fits the surrogate of searches to the first evaluations of its log, with the probes and without: the rank
//! correlation of what it then believes of the other plans with what was measured of them. The last file keeps the probes.

use std::error::Error;
use std::fs;
use std::path::Path;

use releq::data;
use releq::search::bench::{Bench, Measurement};
use releq::search::preset::{Preset, Published};
use releq::search::probes;
use releq::search::split::Split;
use releq_search::space::Space;
use releq_search::surrogate::{Settings, Surrogate};

/// Evaluations that the surrogate has seen.
const SEEN: [usize; 5] = [0, 5, 10, 20, 40];
/// What a search says of an evaluation's noise.
const NOISE: f64 = 0.05;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, set, run, log] = &arguments[..] else { return Err("usage: probes MODEL DATA RUN PROBES.jsonl".into()) };
    let network = releq::checkpoint::load(Path::new(model))?;
    let splits = data::open(Some(set), None)?;
    let split = Split::new(splits.train, splits.test, network.graph.held_out, None);
    let recipe = Preset::Default.recipe(Published::default(), 1);
    let plans = evaluated(&Path::new(run).join("measurements.jsonl"))?;
    let space = Space::same(&[2, 3, 4, 5, 6, 7, 8], network.graph.weighted().len())?;
    let narrowed = plans.iter().any(|one| one.plan.activations().any(|bits| bits < 8));
    let space = if narrowed { space.with_activations(&[2, 3, 4, 5, 6, 7, 8])? } else { space };

    let mut bench = Bench::open(&network, &split, recipe, Path::new(log), 2, &|| false)?;
    let falls = probes::falls(&mut bench, &space)?;
    println!("layer, side, divergence that 2 bits there alone add");
    for (choice, fall) in space.choices().iter().zip(&falls) {
        println!("{:5}  {:12} {fall:.4}", choice.layer, format!("{:?}", choice.side));
    }
    println!("\nevaluations seen, of {}   without probes   with probes", plans.len());
    for seen in SEEN.into_iter().filter(|seen| seen + 10 <= plans.len()) {
        let equal = Surrogate::over(&space, Settings::DEFAULT.knowing(Some(NOISE)), bench.float_accuracy);
        let probed = equal.clone().probed(&falls);
        let [without, with] = [equal, probed].map(|model| foretold(model, &plans, seen));
        println!("{seen:16}   {without:23.2} {with:13.2}");
    }
    Ok(())
}

/// The plans that the run evaluated after its short fine-tune, in order, under the key of its last line.
fn evaluated(log: &Path) -> Result<Vec<Measurement>, Box<dyn Error>> {
    let lines = fs::read_to_string(log)?;
    let all: Vec<Measurement> = lines.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let last = all.last().ok_or("nothing was measured")?.key.clone();
    let tuned: Vec<Measurement> = all.into_iter().filter(|one| one.key == last && one.images > 0).collect();
    let short = tuned.iter().map(|one| one.images).min();
    Ok(tuned.into_iter().filter(|one| Some(one.images) == short).collect())
}

/// Rank correlation of what the model believes of the plans after the first `seen` with what was measured. A divergence is
/// taken for the loss: to a searcher one foretells the other.
fn foretold(mut model: Surrogate, plans: &[Measurement], seen: usize) -> f64 {
    let accuracy = |one: &Measurement| 0.917 - one.divergence().unwrap_or(0.9).min(0.9) / 10.0;
    let (known, others) = plans.split_at(seen);
    known.iter().for_each(|one| model.observe(&one.plan, accuracy(one)));
    let believed: Vec<f64> = others.iter().map(|one| model.accuracy(&one.plan)).collect();
    spearman(&believed, &others.iter().map(accuracy).collect::<Vec<_>>())
}

/// The correlation of ranks, ties sharing theirs.
fn spearman(one: &[f64], other: &[f64]) -> f64 {
    let (one, other) = (ranks(one), ranks(other));
    let middle = (one.len() as f64 - 1.0) / 2.0;
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - middle) * (b - middle)).sum::<f64>();
    product(&one, &other) / (product(&one, &one) * product(&other, &other)).sqrt()
}

fn ranks(values: &[f64]) -> Vec<f64> {
    let rank = |value: &f64| {
        let below = values.iter().filter(|other| *other < value).count();
        let equal = values.iter().filter(|other| *other == value).count();
        below as f64 + (equal as f64 - 1.0) / 2.0
    };
    values.iter().map(rank).collect()
}
