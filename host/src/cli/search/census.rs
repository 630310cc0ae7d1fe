//! `releq search --table`: every plan measured, for replays and for judging searches.

use std::path::Path;

use super::{EXHAUSTIVE, Search, failure};
use crate::cli::{Failure, Outcome, check_writable, json, write_together};
use crate::search::bench::Bench;
use crate::search::census;
use crate::search::preset::Preset;
use crate::terminal::{self, Progress};
use crate::train::interrupt::Interrupt;

/// Whether that agent's table could be written there.
pub(super) fn check(agent: &str, path: &Path) -> Result<(), Failure> {
    if agent != EXHAUSTIVE {
        return Err(Failure::with_code(
            2,
            anyhow::anyhow!("{agent} does not see every plan, and a table holds them all; give --agent {EXHAUSTIVE}"),
        ));
    }
    Ok(check_writable(path)?)
}

pub(super) fn run(search: &Search<'_>, path: &Path) -> Outcome {
    let arguments = search.arguments;
    let interrupt = Interrupt::watch();
    let stop = move || interrupt.requested();
    let seeds = arguments.seed..arguments.seed + arguments.seeds;
    let mut benches: Vec<Bench<'_>> = seeds.map(|seed| search.bench(seed, &stop)).collect::<Result<_, _>>()?;
    let mut progress = Progress::new("measuring");
    let mut watch = |done: usize, all: usize| progress.update(done, all, "every plan");
    let table = census::measure(&mut benches, &search.space, arguments.short, &mut watch);
    progress.finish();
    let table = table.map_err(failure)?;
    let sidecar = census::sidecar(&benches[0], source(search)).map_err(failure)?;
    let (beside, sidecar) = (path.with_extension("json"), json(&sidecar)?);
    write_together(&[(&beside, sidecar.as_bytes()), (path, table.to_csv().as_bytes())])?;
    let plans = table.accuracies().len();
    terminal::answer(&format!("{plans} plans, {} trainings each   → {}\n", arguments.seeds, path.display()))?;
    Ok(true)
}

/// Where the numbers come from, for the sidecar.
fn source(search: &Search<'_>) -> Vec<String> {
    let arguments = search.arguments;
    let recipe = match arguments.preset {
        Preset::Default => "learned per-channel scales, Adam from 1e-3 to 0 at 64 images a step, distilled".to_owned(),
        Preset::Paper => {
            let quantizer = format!("{:?}", arguments.quantizer);
            format!("{quantizer}, momentum 0.9, rate 0.01, weight decay 1e-4, 256 images a step, as ReLeQ's authors")
        }
    };
    vec![
        format!("{} on {}, releq {}", search.network.graph.name, search.source.name(), env!("CARGO_PKG_VERSION")),
        format!("each plan fine-tuned from the float checkpoint on {} images: {recipe}", arguments.short),
        format!(
            "top1: mean over seeds {} to {} on {} images; deviation: of a sample, between the seeds; percent",
            arguments.seed,
            arguments.seed + arguments.seeds - 1,
            search.split.validation.len(),
        ),
    ]
}
