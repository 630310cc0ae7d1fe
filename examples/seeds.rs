//! Fine-tunes plans from several seeds and judges them as searches judge theirs: what a plan is worth, and how surely.
//!
//! `cargo run --example seeds -- net.safetensors cifar10 1 3 seeds 5,2,3,2,2,4,3,3,3,2,3,3,3,3,3,3,2,2,2,2 4:4` fine-tunes
//! both plans over one pass of the training images from seeds 1 to 3, and for each seed the float network as well. Losses
//! are of the integer engine on all test images, against the better of the checkpoint and that control. What was
//! fine-tuned stays in directory `seeds`; the same command goes on from it.

use std::error::Error;
use std::path::{Path, PathBuf};

use releq::data;
use releq::search::bench::Bench;
use releq::search::comparison::{of_floats, of_plan};
use releq::search::preset::{Preset, Published};
use releq::search::shelf::Shelf;
use releq::search::split::{Origin, Split};
use releq::search::verdict::{Answers, Floats, interval, pooled};
use releq::search::{SearchError, features};
use releq_search::plan::{BitPlan, PlanError};

/// Networks fine-tuned side by side.
const ACTORS: usize = 2;

/// What a fine-tune left: the bytes of its image, if it is one, and its answers.
type Done = Result<(usize, Answers), SearchError>;

/// One plan from one seed.
struct FineTune {
    plan: usize,
    bytes: usize,
    /// Images that the float network answers wrongly, and that it does.
    wrong: [Vec<usize>; 2],
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, set, epochs, seeds, directory, plans @ ..] = &arguments[..] else {
        return Err("usage: seeds MODEL DATA EPOCHS SEEDS DIRECTORY PLAN...".into());
    };
    let network = releq::checkpoint::load(Path::new(model))?;
    let features = features(&network)?;
    let layers = features.layers();
    let plan = |plan: &String| Ok(plan.parse::<BitPlan>()?.for_layers(layers.len()));
    let plans = plans.iter().map(plan).collect::<Result<Vec<_>, PlanError>>()?;
    let splits = data::open(Some(set), None)?;
    let split = Split::new(splits.train, splits.test, network.graph.held_out, None);
    let images = (epochs.parse::<f64>()? * split.tune.len() as f64).round() as usize;
    let directory = PathBuf::from(directory);
    std::fs::create_dir_all(&directory)?;

    // The control, and every plan.
    let jobs: Vec<Option<BitPlan>> = std::iter::once(None).chain(plans.iter().cloned().map(Some)).collect();
    println!("| seed | network | top-1 | loss | 95 % interval |\n|---|---|---|---|---|");
    let mut tuned = Vec::new();
    for seed in 1..=seeds.parse::<u64>()? {
        let recipe = Preset::Default.recipe(Published::default(), seed);
        let log = directory.join("measurements.jsonl");
        let bench = Bench::open(&network, &split, recipe, &log, ACTORS, &|| false)?;
        let shelf = Shelf::open(&directory, bench.key())?;
        let judge = |job: &Option<BitPlan>| -> Done {
            match job {
                None => Ok((0, of_floats(&bench, &shelf.control(&bench, images)?)?)),
                Some(plan) => {
                    let (left, answers) = of_plan(&bench, &shelf, plan, images)?;
                    Ok((left.image().map_or(0, |image| image.len()), answers))
                }
            }
        };
        let done = bench.side_by_side(&jobs.iter().collect::<Vec<_>>(), judge)?;
        let mut done = done.into_iter().collect::<Result<Vec<_>, _>>()?;
        let floats = Floats { checkpoint: of_floats(&bench, &network)?, control: done.remove(0).1 };
        for (name, answers) in [("checkpoint", &floats.checkpoint), ("control", &floats.control)] {
            println!("| {seed} | {name} | {:.2} | | |", 100.0 * answers.share());
        }
        for (plan, (bytes, answers)) in done.into_iter().enumerate() {
            let (loss, [low, high]) = interval(answers.loss_against(floats.better()));
            let top1 = 100.0 * answers.share();
            println!("| {seed} | {} | {top1:.2} | {loss:.2} | {low:.2} to {high:.2} |", plans[plan]);
            tuned.push(FineTune { plan, bytes, wrong: [floats.better().wrong(), answers.wrong()] });
        }
    }
    let test = split.test.len() + if split.origin == Origin::TestPart { split.validation.len() } else { 0 };
    for (index, plan) in plans.iter().enumerate() {
        let own: Vec<&FineTune> = tuned.iter().filter(|tuned| tuned.plan == index).collect();
        let wrong: Vec<[&[usize]; 2]> = own.iter().map(|tuned| tuned.wrong.each_ref().map(Vec::as_slice)).collect();
        let (loss, half) = pooled(test, &wrong);
        let weights = |of: fn(f64, u8) -> f64| -> f64 {
            layers.iter().zip(plan.layers()).map(|(layer, bits)| of(layer.weights as f64, bits.weights)).sum()
        };
        println!(
            "\n{plan}: mean loss {loss:.2} ± {half:.2} points (95 %, images paired, {} seeds) at {:.2} mean bits, \
             {:.2} weighted by parameters, {} bytes",
            own.len(),
            plan.mean_weight_bits(),
            weights(|weights, bits| weights * f64::from(bits)) / weights(|weights, _| weights),
            own.first().map_or(0, |tuned| tuned.bytes),
        );
    }
    Ok(())
}
