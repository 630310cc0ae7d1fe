//! The race of agents: the value of each one's best plan after a quarter, a half and all of the budget.

use super::{Figure, fitted};
use crate::number;
use crate::plot::{Anchor, Plot, Scale};
use crate::run::{Run, Standing};

const TOP: f64 = 8.0;
const ROW: f64 = 24.0;
/// Marks of a quarter, a half and the whole, by size and by whether they are filled.
const MARKS: [(&str, f64, &str); 3] =
    [("early", 2.5, "at 25 %"), ("early", 4.0, "at 50 %"), ("front", 5.0, "at 100 %")];

/// A row an agent, the best first; none where there was no race.
pub(crate) fn figure(run: &Run) -> Option<Figure> {
    let first = run.race.first()?;
    let note = format!(
        "Value of the best plan after 25 % (small ring), 50 % (ring) and all (dot) of {} plans; further right is better.",
        number::count(first.distinct_evaluations)
    );
    Some(Figure::drawn("", &note, |width| draw(&run.race, width)))
}

fn draw(race: &[Standing], width: f64) -> Plot {
    let best = race.first().map_or("", |standing| standing.agent.as_str());
    let mut plot = Plot::new(
        &format!("Value reached by {} agents; the best is {best}.", race.len()),
        [width, TOP + ROW * race.len() as f64 + 42.0],
    );
    let longest = race.iter().map(|standing| standing.agent.chars().count()).max().unwrap_or(0) as f64;
    let (left, right) = ((6.7 * longest + 12.0).min(width / 3.0), width - 60.0);
    let values = race.iter().flat_map(|standing| reached(standing).into_iter().flatten());
    let x = Scale::over(values, [left + 8.0, right]).padded(0.03);
    let foot = TOP + ROW * race.len() as f64;
    for (index, standing) in race.iter().enumerate() {
        let y = TOP + ROW * (index as f64 + 0.5);
        plot.line("grid", [(left, y), (right, y)]);
        plot.text("name", [left - 8.0, y + 4.0], Anchor::End, &fitted(&standing.agent, left - 8.0));
        let reached = reached(standing);
        let places = reached.map(|value| value.map_or(f64::NAN, |value| x.at(value)));
        plot.line("way", places.iter().map(|&place| (place, y)));
        for (place, (class, radius, when)) in places.into_iter().zip(MARKS) {
            plot.dot(class, [place, y], radius, &format!("{} {when}", standing.agent));
        }
        plot.text("count", [width - 2.0, y + 4.0], Anchor::End, &number::fixed(standing.value, 3));
    }
    plot.below(&x, foot, (width / 110.0) as usize, "value of the best plan");
    plot
}

/// Values after a quarter, a half and all of the budget.
fn reached(standing: &Standing) -> [Option<f64>; 3] {
    let at = |index: usize| standing.anytime.get(index).copied().flatten().filter(|value| value.is_finite());
    [at(0), at(1), at(2).or(standing.value.filter(|value| value.is_finite()))]
}
