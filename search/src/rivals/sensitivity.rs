//! Sensitivity and an integer program: probe each choice alone, take losses to add up, and solve for the best sum.

use std::collections::BTreeMap;

use crate::ledger::{Ledger, Stop};
use crate::network::BITS_MAX;
use crate::plan::BitPlan;
use crate::searcher::{Problem, Searcher};
use crate::space::Space;

/// Probes every choice at every width with the others at their widest, then evaluates plans in the order of the value
/// that the sum of the probes' losses foretells. The program, a multiple-choice knapsack, is solved for every cost at once by
/// dynamic programming, exactly where costs add up too; where they do not, as for products of two widths, partial plans
/// are sorted by what each choice saves alone, and whole ones valued at their true cost.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sensitivity;

/// Units that a choice's share of the State of Quantization is cut into, a bit; mean costs are whole numbers of it.
const UNITS: f64 = 64.0;

/// Most partial plans kept of one cost: all, in small spaces, so that the order is exact to the end.
const KEPT: usize = 256;

/// A partial plan: foretold loss, and the step of each choice so far.
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

/// Accuracy lost by each choice at each of its widths, ascending; never negative, since fewer bits cannot help but by chance.
fn probe(problem: &Problem<'_>, ledger: &mut Ledger<'_>, start: &BitPlan, whole: f64) -> Result<Vec<Vec<f64>>, Stop> {
    let space = problem.space;
    let choices = 0..space.choices().len();
    ledger.look_up_each(choices.clone().flat_map(|choice| alone(space, start, choice)))?;
    let mut losses: Vec<Vec<f64>> = choices.map(|choice| vec![0.0; space.widths(choice).len()]).collect();
    for (choice, lost) in losses.iter_mut().enumerate() {
        // From the next widest down to the narrowest.
        for (plan, lost) in alone(space, start, choice).zip(lost.iter_mut().rev().skip(1)) {
            *lost = (whole - ledger.look_up(&plan)?.accuracy).max(0.0);
        }
    }
    Ok(losses)
}

/// `start` with one choice narrower, step by step.
fn alone(space: &Space, start: &BitPlan, choice: usize) -> impl Iterator<Item = BitPlan> {
    std::iter::successors(space.narrowed(start, choice), move |plan| space.narrowed(plan, choice))
}

/// Plans in the order of their foretold value, best first.
fn ranked(problem: &Problem<'_>, losses: &[Vec<f64>], whole: f64) -> Vec<BitPlan> {
    let mut partial: BTreeMap<i64, Vec<Partial>> = BTreeMap::from([(0, vec![(0.0, Vec::new())])]);
    for (lost, saved) in losses.iter().zip(savings(problem)) {
        partial = extended(&partial, lost, &saved);
    }
    let plans = partial.into_values().flatten().map(|(loss, steps)| (loss, problem.space.at(&steps)));
    let plans = plans.filter(|(_, plan)| problem.objective.admits(plan));
    let valued = |(loss, plan): (f64, BitPlan)| (problem.objective.value(&plan, (whole - loss).max(0.0)), plan);
    let mut plans: Vec<(f64, BitPlan)> = plans.map(valued).collect();
    plans.sort_by(|one, other| other.0.total_cmp(&one.0));
    plans.into_iter().map(|(_, plan)| plan).collect()
}

/// Units of cost that each choice saves alone, at each of its widths, ascending; as negative numbers.
fn savings(problem: &Problem<'_>) -> Vec<Vec<i64>> {
    let (space, objective) = (problem.space, problem.objective);
    let start = space.widest();
    let (whole, unit) = (objective.quantization(&start), BITS_MAX * UNITS * space.choices().len() as f64);
    let units = |plan: &BitPlan| ((objective.quantization(plan) - whole) * unit).round() as i64;
    let of = |choice: usize| {
        let narrower: Vec<i64> = alone(space, &start, choice).map(|plan| units(&plan)).collect();
        narrower.into_iter().rev().chain([0]).collect()
    };
    (0..space.choices().len()).map(of).collect()
}

/// Every partial plan with each width of the next choice, the best of each cost kept.
fn extended(partial: &BTreeMap<i64, Vec<Partial>>, lost: &[f64], saved: &[i64]) -> BTreeMap<i64, Vec<Partial>> {
    let mut next: BTreeMap<i64, Vec<Partial>> = BTreeMap::new();
    for (cost, plans) in partial {
        for (step, (lost, saved)) in lost.iter().zip(saved).enumerate() {
            let longer = plans.iter().map(|(loss, steps)| (loss + lost, [steps.as_slice(), &[step]].concat()));
            next.entry(cost + saved).or_default().extend(longer);
        }
    }
    for plans in next.values_mut() {
        plans.sort_by(|one, other| one.0.total_cmp(&other.0));
        plans.truncate(KEPT);
    }
    next
}
