//! Every plan of a space, measured: the table that searchers are later raced and judged on.

use releq_search::plan::BitPlan;
use releq_search::space::Space;
use releq_search::table::{Sidecar, Table};

use super::bench::{Bench, Stage};
use super::{SearchError, features};

/// Measures every plan of `space` under each bench, which differ in their seeds, and gives mean and deviation.
///
/// # Errors
/// [`SearchError`]; everything measured stays in the benches' log.
pub fn measure(
    benches: &mut [Bench<'_>],
    space: &Space,
    images: usize,
    watch: &mut dyn FnMut(usize, usize),
) -> Result<Table, SearchError> {
    let plans: Vec<BitPlan> = space.plans().collect();
    let all = plans.len() * benches.len();
    let mut accuracies: Vec<Vec<f64>> = vec![Vec::with_capacity(benches.len()); plans.len()];
    let mut done = 0;
    for bench in benches {
        let actors = bench.actors();
        for (plans, accuracies) in plans.chunks(actors).zip(accuracies.chunks_mut(actors)) {
            let measured = bench.measure_all(Stage::Census, plans, images)?;
            accuracies.iter_mut().zip(&measured).for_each(|(seen, measurement)| seen.push(measurement.accuracy()));
            done += plans.len();
            watch(done, all);
        }
    }
    let rows = plans.into_iter().zip(accuracies).map(|(plan, seen)| (plan, mean(&seen), deviation(&seen)));
    Table::new(rows).ok_or_else(|| SearchError::Searcher("the space has no plan".to_owned()))
}

/// What the table's rows do not say.
///
/// # Errors
/// As [`features`].
pub fn sidecar(bench: &Bench<'_>, source: Vec<String>) -> Result<Sidecar, SearchError> {
    Ok(Sidecar {
        network: bench.network.graph.name.clone(),
        source,
        float_accuracy: bench.float_accuracy,
        layers: features(bench.network)?,
    })
}

fn mean(numbers: &[f64]) -> f64 {
    numbers.iter().sum::<f64>() / numbers.len().max(1) as f64
}

/// Of a sample: over n - 1.
fn deviation(numbers: &[f64]) -> f64 {
    let mean = mean(numbers);
    let squares: f64 = numbers.iter().map(|number| (number - mean).powi(2)).sum();
    (squares / (numbers.len() as f64 - 1.0).max(1.0)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deviation_is_a_samples() {
        assert_eq!((mean(&[0.5]), deviation(&[0.5])), (0.5, 0.0));
        assert!((deviation(&[1.0, 2.0, 3.0]) - 1.0).abs() < 1e-12);
    }
}
