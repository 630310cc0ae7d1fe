//! Evolution of a small population: the searcher that asks nothing of the problem.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::climb::restart;
use crate::ledger::{Ledger, Stop};
use crate::plan::BitPlan;
use crate::searcher::{Problem, Searcher};
use crate::seed;

/// Keeps the 8 best plans of those seen; each child mixes two of them, then changes a layer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Evolution;

const POPULATION: usize = 8;

/// Children that may turn out known before a random plan is taken instead.
const TRIES: usize = 32;

impl Searcher for Evolution {
    fn name(&self) -> &str {
        "evolution"
    }

    fn search(&mut self, problem: &Problem<'_>, ledger: &mut Ledger<'_>, seed: u64) -> Result<(), Stop> {
        let mut rng = seed::stream(seed, "rivals/evolution");
        let mut parents: Vec<(BitPlan, f64)> = Vec::new();
        while let Some(child) = next(problem, &parents, ledger, &mut rng) {
            let value = ledger.look_up(&child)?.value;
            parents.push((child, value));
            parents.sort_by(|one, other| other.1.total_cmp(&one.1));
            parents.truncate(POPULATION);
        }
        Ok(())
    }
}

/// A new plan: random until the population is full, then a child; none once every plan is known.
fn next(
    problem: &Problem<'_>,
    parents: &[(BitPlan, f64)],
    ledger: &Ledger<'_>,
    rng: &mut ChaCha8Rng,
) -> Option<BitPlan> {
    let born = (0..TRIES).filter(|_| parents.len() == POPULATION).map(|_| child(problem, parents, rng));
    let new = |plan: &BitPlan| ledger.known(plan).is_none() && problem.objective.admits(plan);
    born.into_iter().find(new).or_else(|| restart(problem, ledger, rng))
}

fn child(problem: &Problem<'_>, parents: &[(BitPlan, f64)], rng: &mut ChaCha8Rng) -> BitPlan {
    let space = problem.space;
    let (one, other) = (tournament(parents, rng), tournament(parents, rng));
    let pairs = one.layers().iter().zip(other.layers());
    let mixed = BitPlan::from_checked(pairs.map(|(&a, &b)| if rng.random() { a } else { b }).collect());
    let around = space.neighbours(&mixed);
    if around.is_empty() { mixed } else { around[rng.random_range(0..around.len())].clone() }
}

/// The better of two random parents.
fn tournament<'p>(parents: &'p [(BitPlan, f64)], rng: &mut ChaCha8Rng) -> &'p BitPlan {
    let (one, other) = (rng.random_range(0..parents.len()), rng.random_range(0..parents.len()));
    // Parents stand best first.
    &parents[one.min(other)].0
}
