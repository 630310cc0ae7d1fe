//! Why each layer has its bits: what one bit more or less would cost or save in accuracy, bytes and time.
//!
//! Bytes are exact and times predicted, by the whole image of the other plan. The accuracy of a plan that the search
//! evaluated is compared as it was evaluated; that of any other is imagined by the surrogate that guided the search.

use releq_search::plan::{BITS, BitPlan, LayerBits};
use releq_search::seed;
use releq_search::space::Space;
use releq_search::surrogate::Surrogate;
use serde::Serialize;

use super::front::{OnBoard, boards};
use super::nearest::taught;
use super::record::{Evaluated, Outcome};
use super::rounds::NOISE;
use crate::hardware::Hardware;

/// What is changed of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// Bits of its weights.
    Weights,
    /// Bits of its output.
    Activations,
}

/// How a difference of losses is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Basis {
    /// Both plans were evaluated.
    Measured,
    /// The surrogate's belief.
    Imagined,
    /// The other plan's fine-tune diverged: it loses all there is.
    Diverged,
}

/// One bit more or less in one layer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// The layer.
    pub layer: String,
    /// Of what.
    pub what: What,
    /// Bits it has.
    pub from: u8,
    /// Bits it would have.
    pub to: u8,
    /// Points of accuracy that would be lost more; negative where it gains.
    pub loss: f64,
    /// Deviation of that, points.
    pub deviation: f64,
    /// How it is known.
    pub basis: Basis,
    /// Bytes of flash more.
    pub flash: i64,
    /// Bytes of RAM more.
    pub ram: i64,
    /// Time more, on each board.
    pub boards: Vec<OnBoard>,
    /// Whether the other plan would keep the run's budgets on hardware.
    pub within: bool,
}

/// Draws of the surrogate that deviations are taken over.
const DRAWS: usize = 256;

/// Every change of one bit that `plan` allows: of weights, and of activations if `activations`.
pub fn changes(outcome: &Outcome, hardware: &Hardware, activations: bool) -> Vec<Change> {
    let plan = &outcome.plan;
    let imagination = Imagination::of(outcome, activations);
    let names = hardware.blueprint().planned();
    let mut changes = Vec::new();
    for (layer, name) in names.iter().enumerate() {
        let own = plan.layers()[layer];
        // The last layer's output are logits, whatever its bits.
        let of_output = activations && layer + 1 < names.len();
        let whats = [Some(What::Weights), of_output.then_some(What::Activations)];
        for what in whats.into_iter().flatten() {
            let from = if what == What::Weights { own.weights } else { own.activations };
            for to in [from - 1, from + 1].into_iter().filter(|to| BITS.contains(to)) {
                let other = changed(plan, layer, what, to);
                let (loss, deviation, basis) = imagination.difference(plan, &other);
                let loss = Difference { loss, deviation, basis };
                changes.push(change((*name).to_owned(), what, [from, to], loss, hardware, [plan, &other]));
            }
        }
    }
    changes
}

/// A difference of losses.
struct Difference {
    loss: f64,
    deviation: f64,
    basis: Basis,
}

fn change(
    layer: String,
    what: What,
    [from, to]: [u8; 2],
    Difference { loss, deviation, basis }: Difference,
    hardware: &Hardware,
    [plan, other]: [&BitPlan; 2],
) -> Change {
    use releq_search::budget::Limits;
    let [before, after] = [plan, other].map(|plan| hardware.taken(plan));
    let more = |after: u64, before: u64| after as i64 - before as i64;
    let times = boards(hardware, &after).into_iter().zip(boards(hardware, &before)).map(|(after, before)| OnBoard {
        instructions: after.instructions.zip(before.instructions).map(|(after, before)| after - before),
        milliseconds: after.milliseconds.zip(before.milliseconds).map(|(after, before)| after - before),
        ..after
    });
    let boards = times.collect();
    let (flash, ram) = (more(after.flash, before.flash), more(after.ram, before.ram));
    let within = hardware.excess(other) <= 0.0;
    Change { layer, what, from, to, loss, deviation, basis, flash, ram, boards, within }
}

fn changed(plan: &BitPlan, layer: usize, what: What, to: u8) -> BitPlan {
    let mut layers: Vec<LayerBits> = plan.layers().to_vec();
    match what {
        What::Weights => layers[layer].weights = to,
        What::Activations => layers[layer].activations = to,
    }
    BitPlan::new(layers).expect("widths are within 1..=8")
}

/// What a finished search believes of losses.
struct Imagination<'o> {
    evaluated: &'o [Evaluated],
    model: Surrogate,
    /// How many numbers of a plan the model looks at.
    choices: usize,
    float: f64,
}

impl<'o> Imagination<'o> {
    /// It looks at weights, and at activations where it is asked about them.
    fn of(outcome: &'o Outcome, activations: bool) -> Self {
        let all: Vec<u8> = BITS.collect();
        let weights = Space::same(&all, outcome.plan.layers().len()).expect("a plan has layers, and widths are 1..=8");
        let space = if activations { weights.with_activations(&all).expect("these widths too") } else { weights };
        let float = outcome.float_validation_top1 / 100.0;
        let seen = outcome.evaluated.iter().map(|one| (&one.plan, float - one.loss / 100.0));
        let (model, choices) = (taught(&space, float, seen), space.choices().len());
        Self { evaluated: &outcome.evaluated, model, choices, float }
    }

    /// Points that `other` loses more than `plan`, the deviation of that, and how it is known. Of what is imagined, they are
    /// the median and half of what the middle 68 % span.
    fn difference(&self, plan: &BitPlan, other: &BitPlan) -> (f64, f64, Basis) {
        let seen = |plan: &BitPlan| self.evaluated.iter().find(|one| one.plan == *plan).map(|one| one.loss);
        let diverged = |one: &&Evaluated| one.plan == *other && one.diverged.is_some();
        if let Some(one) = self.evaluated.iter().find(diverged) {
            return (one.loss, 0.0, Basis::Diverged);
        }
        if let (Some(own), Some(others)) = (seen(plan), seen(other)) {
            // Each evaluation is known to a share of itself.
            return (others - own, NOISE * own.hypot(others), Basis::Measured);
        }
        let mut rng = seed::stream(0, "search/why");
        let mut draws: Vec<f64> = (0..DRAWS)
            .map(|_| {
                let draw = self.model.draw(self.choices, &mut rng);
                let loss = |plan: &BitPlan| 100.0 * (self.float - draw.expected(plan));
                loss(other) - loss(plan)
            })
            .collect();
        draws.sort_by(f64::total_cmp);
        // Losses are modelled by their logarithm, so a mean would be that of the few worst draws.
        let at = |share: f64| draws[(share * (DRAWS - 1) as f64).round() as usize];
        (at(0.5), (at(0.84) - at(0.16)) / 2.0, Basis::Imagined)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_diverged_is_no_belief() {
        let plan = |text: &str| -> BitPlan { text.parse().unwrap() };
        let one = |text: &str, loss: f64, diverged: Option<&str>| Evaluated {
            plan: plan(text),
            loss,
            value: 0.0,
            diverged: diverged.map(str::to_owned),
        };
        let evaluated = vec![one("3,3", 0.5, None), one("2,3", 100.0, Some("why")), one("4,3", 0.25, None)];
        let outcome =
            Outcome { asked: None, plan: plan("3,3"), float_validation_top1: 98.0, evaluated, attempts: Vec::new() };
        let imagination = Imagination::of(&outcome, false);
        let difference = |other: &str| imagination.difference(&outcome.plan, &plan(other));
        assert_eq!(difference("2,3"), (100.0, 0.0, Basis::Diverged));
        assert_eq!((difference("4,3").0, difference("4,3").2), (-0.25, Basis::Measured));
        assert_eq!(difference("3,4").2, Basis::Imagined);
    }
}
