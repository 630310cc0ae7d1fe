//! Bits per layer as a strip of bars: the weights' filled, beside them those of the codes handed on in outline.

use super::{Figure, every, fitted};
use crate::number;
use crate::plan::Plan;
use crate::plot::{Anchor, Plot};
use crate::run::Run;

const LEFT: f64 = 22.0;
const TOP: f64 = 18.0;
const FOOT: f64 = 130.0;
const HEIGHT: f64 = 166.0;
/// Height of one bit.
const BIT: f64 = (FOOT - TOP) / 8.0;

/// The strip of the chosen plan, or of the best so far; none without a plan.
pub(crate) fn figure(run: &Run) -> Option<Figure> {
    let plan = run.plan()?;
    let names = run.weighted();
    let title = if run.outcome.is_some() { "Bits per layer" } else { "Bits per layer of the best plan so far" };
    let mean = number::fixed(Some(plan.mean_weight_bits()), 2);
    let mut note =
        format!("{} layers with weights, in forward order; {mean} bits a weight on average over layers.", plan.0.len());
    if plan.has_activations() {
        note += " Filled: weights. Outlined: the codes that the layer hands on.";
    }
    Some(Figure::drawn(title, &note, |width| draw(&plan, &names, width)))
}

fn draw(plan: &Plan, names: &[&str], width: f64) -> Plot {
    let both = plan.has_activations();
    let bits = |side: &dyn Fn(&crate::plan::Bits) -> u8| {
        plan.0.iter().map(|layer| side(layer).to_string()).collect::<Vec<_>>().join(", ")
    };
    let mut name = format!("Weight bits per layer: {}", bits(&|layer| layer.weights));
    if both {
        name += &format!("; activation bits: {}", bits(&|layer| layer.activations));
    }
    let mut plot = Plot::new(&(name + "."), [width, HEIGHT]);
    let right = width - 4.0;
    for mark in [2.0, 4.0, 6.0, 8.0] {
        let y = FOOT - mark * BIT;
        plot.line("grid", [(LEFT, y), (right, y)]);
        plot.text("tick", [LEFT - 6.0, y + 4.0], Anchor::End, &format!("{mark}"));
    }
    let slot = (right - LEFT) / plan.0.len().max(1) as f64;
    // At most so wide that few layers do not look like walls.
    let bar = (slot * if both { 0.38 } else { 0.72 }).min(34.0);
    for (index, layer) in plan.0.iter().enumerate() {
        let middle = LEFT + (index as f64 + 0.5) * slot;
        let sides = [("bits", layer.weights), ("codes", layer.activations)];
        for (side, (class, bits)) in sides.into_iter().take(if both { 2 } else { 1 }).enumerate() {
            let left = if both { middle + (side as f64 - 1.0) * (bar + 1.0) + 0.5 } else { middle - bar / 2.0 };
            let height = f64::from(bits) * BIT;
            plot.bar(class, [left, FOOT - height], [bar, height], "");
            if bar >= 9.0 {
                plot.text("count", [left + bar / 2.0, FOOT - height - 4.0], Anchor::Middle, &bits.to_string());
            }
        }
    }
    plot.line("axis", [(LEFT, FOOT), (right, FOOT)]);
    below(&mut plot, plan.0.len(), names, slot);
    plot
}

/// Names of layers where there is room, else their numbers every so many.
fn below(plot: &mut Plot, layers: usize, names: &[&str], slot: f64) {
    let longest = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let named = names.len() == layers && slot >= 6.5 * longest.min(9) as f64;
    let every = every(slot, 26.0);
    let label = |layer: usize| match names.get(layer) {
        Some(name) if named => Some(fitted(name, slot)),
        _ => ((layer == 0 && every != 2) || (layer + 1).is_multiple_of(every)).then(|| (layer + 1).to_string()),
    };
    for (layer, text) in (0..layers).filter_map(|layer| Some((layer, label(layer)?))) {
        plot.text("tick", [LEFT + (layer as f64 + 0.5) * slot, FOOT + 15.0], Anchor::Middle, &text);
    }
    let middle = LEFT + layers as f64 * slot / 2.0;
    plot.text("what", [middle, FOOT + 31.0], Anchor::Middle, "layer, in forward order");
}
