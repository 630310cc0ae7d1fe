//! One width for all weights and one for all activations: what people try by hand.

use std::cmp::Reverse;

use crate::ledger::{Ledger, Stop};
use crate::plan::BITS;
use crate::searcher::{Problem, Searcher};
use crate::space::{Side, Space};

/// Tries each width from 8 down for every layer at once, and each pair of widths where activations are searched, most bits
/// first; what lacks a width takes its nearest wider, else its widest.
#[derive(Clone, Copy, Debug, Default)]
pub struct Uniform;

impl Searcher for Uniform {
    fn name(&self) -> &str {
        "uniform"
    }

    fn search(&mut self, problem: &Problem<'_>, ledger: &mut Ledger<'_>, _seed: u64) -> Result<(), Stop> {
        let levels = pairs(problem.space).into_iter().map(|(w, a)| problem.space.uniform(w, a));
        ledger.look_up_each(levels.filter(|plan| problem.objective.admits(plan)))
    }
}

/// Widths of weights and of activations, most bits first; of equally many, most of weights.
fn pairs(space: &Space) -> Vec<(u8, u8)> {
    let activations = if space.has_activations() { space.widths_of(Side::Activations) } else { vec![*BITS.end()] };
    let mut pairs: Vec<(u8, u8)> = BITS.rev().flat_map(|w| activations.iter().rev().map(move |&a| (w, a))).collect();
    pairs.sort_by_key(|&(w, a)| Reverse(w + a));
    pairs
}
