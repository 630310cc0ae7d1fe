//! Weight bits of every layer over episodes: what the search tried, and what it came to.

use std::fmt::Write;

use super::{Figure, every, fitted};
use crate::plan::Plan;
use crate::plot::{Anchor, Plot, Scale, short};
use crate::run::Run;

const TOP: f64 = 8.0;
/// Most cells, so that a deep network's page stays small.
const CELLS: usize = 12_000;

/// A row a layer and a column an episode; none where no plan was tried.
pub(crate) fn figure(run: &Run) -> Option<Figure> {
    let plans: Vec<Plan> = run.episodes.iter().filter_map(|episode| Plan::parse(&episode.plan)).collect();
    let layers = plans.first()?.0.len();
    let names = run.weighted();
    let note = "A row is a layer, a column an episode; the darker against the page, the more weight bits.";
    // Where there are too many, every so many: what lies between was tried all the same.
    let every = plans.len().div_ceil((CELLS / layers.max(1)).clamp(24, 700)).max(1);
    let shown: Vec<&Plan> = plans.iter().step_by(every).filter(|plan| plan.0.len() == layers).collect();
    Some(Figure::drawn("Plans tried", note, |width| draw(&shown, plans.len(), &names, width)))
}

fn draw(plans: &[&Plan], episodes: usize, names: &[&str], width: f64) -> Plot {
    let layers = plans.first().map_or(0, |plan| plan.0.len());
    let named = names.len() == layers;
    let longest = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let left = if named { (6.5 * longest as f64 + 8.0).min(width / 4.0) } else { 30.0 };
    let row = (400.0 / layers.max(1) as f64).clamp(4.0, 14.0);
    let foot = TOP + row * layers as f64;
    let name = format!("Weight bits of {layers} layers over {episodes} episodes, as shades.");
    let mut plot = Plot::new(&name, [width, foot + 68.0]);
    let right = width - 14.0;
    let cell = (right - left) / plans.len().max(1) as f64;
    for bits in 1..=8 {
        plot.path(&format!("b{bits}"), &cells(plans, bits, [left, TOP], [cell, row]));
    }
    let every = every(row, 12.0);
    for layer in (0..layers).filter(|layer| every == 1 || *layer == 0 || (layer + 1).is_multiple_of(every)) {
        let text = if named { fitted(names[layer], left - 6.0) } else { (layer + 1).to_string() };
        plot.text("tick", [left - 6.0, TOP + (layer as f64 + 0.5) * row + 4.0], Anchor::End, &text);
    }
    let x = Scale::over([0.0, episodes.max(1) as f64], [left, right]);
    plot.below(&x, foot, (width / 90.0) as usize, "episode");
    key(&mut plot, right, foot + 46.0);
    plot
}

/// What the shades stand for.
fn key(plot: &mut Plot, right: f64, top: f64) {
    const SIDE: f64 = 15.0;
    let left = right - 8.0 * SIDE;
    for bits in 1..=8_u8 {
        let x = left + f64::from(bits - 1) * SIDE;
        plot.bar(&format!("b{bits}"), [x, top], [SIDE, 8.0], "");
        plot.text("tick", [x + SIDE / 2.0, top + 19.0], Anchor::Middle, &bits.to_string());
    }
    plot.text("what", [left - 8.0, top + 8.0], Anchor::End, "weight bits");
}

/// One path of all cells with `bits`, neighbours in a row joined.
fn cells(plans: &[&Plan], bits: u8, [left, top]: [f64; 2], [width, height]: [f64; 2]) -> String {
    let mut path = String::new();
    for layer in 0..plans.first().map_or(0, |plan| plan.0.len()) {
        let has = |column: usize| plans.get(column).is_some_and(|plan| plan.0[layer].weights == bits);
        let mut column = 0;
        while column < plans.len() {
            let length = (column..plans.len()).take_while(|&column| has(column)).count();
            if length > 0 {
                let (x, y) = (short(left + column as f64 * width), short(top + layer as f64 * height));
                let (across, down) = (short(length as f64 * width), short(height - 0.5));
                let _ = write!(path, "M{x} {y}h{across}v{down}h-{across}z");
            }
            column += length.max(1);
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_of_one_width_are_one_cell() {
        let plans: Vec<Plan> = ["2,8", "2,4", "3,4"].iter().filter_map(|text| Plan::parse(text)).collect();
        let plans: Vec<&Plan> = plans.iter().collect();
        assert_eq!(cells(&plans, 2, [0.0, 0.0], [10.0, 4.5]), "M0 0h20v4h-20z");
        assert_eq!(cells(&plans, 4, [0.0, 0.0], [10.0, 4.5]), "M10 4.5h20v4h-20z");
        assert_eq!(cells(&plans, 7, [0.0, 0.0], [10.0, 4.5]), "");
    }
}
