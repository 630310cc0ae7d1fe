//! Prints how noisy the evaluations of live searches were: the likelihood of all of them under the surrogate, at several
//! beliefs about the noise.
//!
//! `cargo run --example noise -- runs/simplenet-1 runs/simplenet-2` takes the predicted losses in each `result.json`, in
//! the order they were asked for, and adds up the log-densities that the surrogate gave each before it saw it.

use std::error::Error;
use std::fs;
use std::path::Path;

use releq_search::plan::BitPlan;
use releq_search::surrogate::{Settings, Surrogate};
use serde_json::Value;

/// A plan and the loss predicted of it, points.
type Evaluated = (BitPlan, f64);

/// Beliefs that are tried: deviations on the scale of the logarithm of the loss.
const NOISES: [f64; 5] = [0.4, 0.2, 0.1, 0.05, 0.025];

fn main() -> Result<(), Box<dyn Error>> {
    println!("| run | plans | {} |", NOISES.map(|noise| noise.to_string()).join(" | "));
    println!("|---|---|{}", "---|".repeat(NOISES.len()));
    for run in std::env::args().skip(1) {
        let evaluated = evaluated(Path::new(&run)).ok_or("no result.json of a live search with a forecast")?;
        let likelihoods = NOISES.map(|noise| format!("{:.0}", likelihood(&evaluated, noise)));
        println!("| {run} | {} | {} |", evaluated.len(), likelihoods.join(" | "));
    }
    Ok(())
}

fn evaluated(run: &Path) -> Option<Vec<Evaluated>> {
    let result: Value = serde_json::from_str(&fs::read_to_string(run.join("result.json")).ok()?).ok()?;
    let one = |row: &Value| Some((row["plan"].as_str()?.parse().ok()?, row["loss"].as_f64()?));
    result["evaluated"].as_array()?.iter().map(one).collect()
}

/// Logarithm of the density of all predicted losses, each given those before it.
fn likelihood(evaluated: &[Evaluated], noise: f64) -> f64 {
    // The link looks at losses, so that any float accuracy does.
    let float = 1.0;
    let settings = Settings::DEFAULT.knowing(Some(noise));
    let mut model = Surrogate::new(settings, float);
    let densities = evaluated.iter().map(|(plan, loss)| {
        let accuracy = float - loss / 100.0;
        let (belief, seen) = (model.belief(plan), settings.link.forward(accuracy, float));
        model.observe(plan, accuracy);
        let deviation = belief.deviation.hypot(noise);
        -0.5 * ((seen - belief.mean) / deviation).powi(2) - deviation.ln() - 0.5 * std::f64::consts::TAU.ln()
    });
    densities.sum()
}
