//! What each choice alone does to a network that is not trained for it: where a searcher looks first.
//!
//! A probe is a measurement without fine-tuning, of the widest plan with one choice at its narrowest. It takes seconds where
//! an evaluation takes half a minute, and says which layers are fragile; how much of that a fine-tune mends it does not say.

use releq_search::plan::BitPlan;
use releq_search::space::Space;

use super::SearchError;
use super::bench::{Bench, Stage};

/// Divergences below this tell nothing apart, nats an image.
const FAINT: f64 = 1e-4;

/// What each choice of `space` at its narrowest adds to the divergence of the widest plan, nats an image; of choices that
/// are none, nothing is asked and nothing is added.
///
/// # Errors
/// As [`Bench::measure_all`].
pub fn falls(bench: &mut Bench<'_>, space: &Space) -> Result<Vec<f64>, SearchError> {
    let widest = space.steps(&space.widest()).unwrap_or_default();
    let alone = |choice: usize| {
        let mut steps = widest.clone();
        steps[choice] = 0;
        space.at(&steps)
    };
    let free: Vec<usize> = space.free().collect();
    let plans: Vec<BitPlan> = std::iter::once(space.widest()).chain(free.iter().map(|&choice| alone(choice))).collect();
    let measured = bench.measure_all(Stage::Probe, &plans, 0)?;
    let divergence = |index: usize| measured[index].divergence().unwrap_or(1.0);
    let mut falls = vec![0.0; space.choices().len()];
    for (index, &choice) in free.iter().enumerate() {
        falls[choice] = (divergence(index + 1) - divergence(0)).max(FAINT);
    }
    Ok(falls)
}
