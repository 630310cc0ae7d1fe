//! Sensitivity and an integer program: probe each layer alone, take losses to add up, and solve for the best sum.

use std::collections::BTreeMap;

use crate::ledger::{Ledger, Stop};
use crate::plan::BitPlan;
use crate::searcher::{Problem, Searcher};

/// Probes every layer at every width with the others at their widest, then evaluates plans in the order of the value
/// that the sum of the probes' losses foretells. The program, a multiple-choice knapsack, is solved exactly, for every cost at once, by dynamic programming.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sensitivity;

/// Units that 1 of State of Quantization is cut into, a layer and bit; mean costs are whole numbers of it.
const UNITS: f64 = 64.0;

/// Most partial plans kept of one cost: all, in small spaces, so that the order is exact to the end.
const KEPT: usize = 256;

/// A partial plan: foretold loss, and the step of each layer so far.
type Partial = (f64, Vec<usize>);

impl Searcher for Sensitivity {
    fn name(&self) -> &str {
        "sensitivity"
    }

    fn search(&mut self, problem: &Problem<'_>, ledger: &mut Ledger<'_>, _seed: u64) -> Result<(), Stop> {
        let start = problem.space.widest();
        let whole = ledger.look_up(&start)?.accuracy;
        let losses = probe(problem, ledger, &start, whole)?;
        ledger.look_up_each(ranked(problem, &losses, whole))
    }
}

/// Accuracy lost by each layer at each of its widths, ascending; never negative, since fewer bits cannot help but by chance.
fn probe(problem: &Problem<'_>, ledger: &mut Ledger<'_>, start: &BitPlan, whole: f64) -> Result<Vec<Vec<f64>>, Stop> {
    let space = problem.space;
    let narrower =
        |layer: usize| std::iter::successors(space.narrowed(start, layer), move |plan| space.narrowed(plan, layer));
    ledger.look_up_each((0..space.layers()).flat_map(narrower))?;
    let mut losses: Vec<Vec<f64>> = (0..space.layers()).map(|layer| vec![0.0; space.widths(layer).len()]).collect();
    for (layer, lost) in losses.iter_mut().enumerate() {
        // From the next widest down to the narrowest.
        for (plan, lost) in narrower(layer).zip(lost.iter_mut().rev().skip(1)) {
            *lost = (whole - ledger.look_up(&plan)?.accuracy).max(0.0);
        }
    }
    Ok(losses)
}

/// Plans in the order of their foretold value, best first.
fn ranked(problem: &Problem<'_>, losses: &[Vec<f64>], whole: f64) -> Vec<BitPlan> {
    let shares = problem.objective.shares();
    let mut partial: BTreeMap<u32, Vec<Partial>> = BTreeMap::from([(0, vec![(0.0, Vec::new())])]);
    for (layer, lost) in losses.iter().enumerate() {
        partial = extended(problem, &partial, layer, lost, shares[layer] * losses.len() as f64);
    }
    let plans = partial.into_values().flatten().map(|(loss, steps)| (loss, problem.space.at(&steps)));
    let plans = plans.filter(|(_, plan)| problem.objective.admits(plan));
    let valued = |(loss, plan): (f64, BitPlan)| (problem.objective.value(&plan, (whole - loss).max(0.0)), plan);
    let mut plans: Vec<(f64, BitPlan)> = plans.map(valued).collect();
    plans.sort_by(|one, other| other.0.total_cmp(&one.0));
    plans.into_iter().map(|(_, plan)| plan).collect()
}

/// Every partial plan with each width of the next layer, the best of each cost kept.
fn extended(
    problem: &Problem<'_>,
    partial: &BTreeMap<u32, Vec<Partial>>,
    layer: usize,
    lost: &[f64],
    weight: f64,
) -> BTreeMap<u32, Vec<Partial>> {
    let mut next: BTreeMap<u32, Vec<Partial>> = BTreeMap::new();
    for (cost, plans) in partial {
        for (step, &bits) in problem.space.widths(layer).iter().enumerate() {
            let longer = plans.iter().map(|(loss, steps)| (loss + lost[step], [steps.as_slice(), &[step]].concat()));
            let cost = cost + (weight * UNITS * f64::from(bits)).round() as u32;
            next.entry(cost).or_default().extend(longer);
        }
    }
    for plans in next.values_mut() {
        plans.sort_by(|one, other| one.0.total_cmp(&other.0));
        plans.truncate(KEPT);
    }
    next
}
