//! One width for all layers: what people try by hand.

use crate::ledger::{Ledger, Stop};
use crate::plan::{BITS, BitPlan, LayerBits};
use crate::searcher::{Problem, Searcher};
use crate::space::Space;

/// Tries each width from 8 down for every layer at once; a layer without that width takes its nearest wider, else its widest.
#[derive(Clone, Copy, Debug, Default)]
pub struct Uniform;

impl Searcher for Uniform {
    fn name(&self) -> &str {
        "uniform"
    }

    fn search(&mut self, problem: &Problem<'_>, ledger: &mut Ledger<'_>, _seed: u64) -> Result<(), Stop> {
        ledger.look_up_each(BITS.rev().map(|bits| level(problem.space, bits)))
    }
}

fn level(space: &Space, bits: u8) -> BitPlan {
    let width = |layer: usize| {
        let widths = space.widths(layer);
        widths.iter().copied().find(|&width| width >= bits).unwrap_or(widths[widths.len() - 1])
    };
    let layers = (0..space.layers()).map(|layer| LayerBits { weights: width(layer), activations: 8 });
    BitPlan::from_checked(layers.collect())
}
