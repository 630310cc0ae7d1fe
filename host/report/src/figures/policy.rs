//! The chance of every action at every step over episodes, one small chart a step: the paper's figure of convergence.

use super::Figure;
use super::learning::episodes_scale;
use crate::number;
use crate::plot::{Anchor, Plot, Scale, binned};
use crate::run::{Episode, Run};

const SIZE: [f64; 2] = [176.0, 124.0];
const LEFT: f64 = 26.0;
const RIGHT: f64 = 134.0;
const TOP: f64 = 8.0;
const BOTTOM: f64 = 92.0;
/// Most points of all lines together, so that a deep network's page stays small.
const POINTS: usize = 24_000;
/// Labels nearer than this would touch.
const APART: f64 = 11.0;

/// One chart a step, in the order in which the steps are taken.
pub(crate) fn figures(run: &Run) -> Vec<Figure> {
    let episodes: Vec<&Episode> = run.episodes.iter().filter(|episode| !episode.policy.is_empty()).collect();
    let Some(first) = episodes.first() else { return Vec::new() };
    let (steps, actions) = (first.policy.len(), first.policy.iter().map(Vec::len).max().unwrap_or(0));
    let most = (POINTS / (steps * actions).max(1)).clamp(16, 120);
    let (names, labels) = (step_names(run, steps), action_names(run, actions));
    let chart = |(step, name): (usize, &String)| {
        let chance = |action: usize| {
            let of = |episode: &&Episode| episode.policy.get(step).and_then(|step| step.get(action)).copied().flatten();
            let chances: Vec<f64> = episodes.iter().map(|episode| of(episode).unwrap_or(f64::NAN)).collect();
            (labels[action].as_str(), chances)
        };
        // What is never allowed at a step is no action of it.
        let offered = (0..actions).map(chance).filter(|(_, chances)| chances.iter().any(|&chance| chance > 0.0));
        chart(name, &offered.collect::<Vec<_>>(), most)
    };
    names.iter().enumerate().map(chart).collect()
}

fn chart(name: &str, actions: &[(&str, Vec<f64>)], most: usize) -> Figure {
    let last = |chances: &[f64]| chances.iter().rev().copied().find(|chance| chance.is_finite());
    let mut order: Vec<usize> = (0..actions.len()).collect();
    order.sort_by(|&one, &other| {
        last(&actions[other].1).unwrap_or(0.0).total_cmp(&last(&actions[one].1).unwrap_or(0.0))
    });
    let likeliest = order.first().copied();
    let said = likeliest.map_or(String::new(), |action| {
        let (label, chances) = &actions[action];
        format!("; at the end {label} bits have {}", number::fixed(last(chances), 2))
    });
    let episodes = actions.first().map_or(0, |(_, chances)| chances.len());
    let mut plot = Plot::new(&format!("Chance of each width of {name} over {episodes} episodes{said}."), SIZE);
    let (x, y) = (episodes_scale(episodes, [LEFT, RIGHT]), Scale::over([0.0, 1.0], [BOTTOM, TOP]));
    plot.beside(&y, [LEFT, RIGHT], 2);
    plot.line("axis", [(LEFT, BOTTOM), (RIGHT, BOTTOM)]);
    let (ticks, step) = x.ticks(3);
    for tick in ticks {
        plot.text("tick", [x.at(tick), BOTTOM + 14.0], Anchor::Middle, &number::label(tick, step));
    }
    plot.text("what", [(LEFT + RIGHT) / 2.0, BOTTOM + 28.0], Anchor::Middle, "episode");
    let mut labelled: Vec<f64> = Vec::new();
    // The likeliest is drawn last, over the others.
    for &action in order.iter().rev() {
        let class = if Some(action) == likeliest { "trend" } else { "other" };
        plot.line(class, binned(&actions[action].1, most).iter().map(|bin| (x.at(bin.at), y.at(bin.mean))));
    }
    for &action in &order {
        let (label, chances) = &actions[action];
        let Some(end) = last(chances).map(|chance| y.at(chance)) else { continue };
        if labelled.iter().all(|other| (other - end).abs() >= APART) {
            let (class, text) = if Some(action) == likeliest {
                ("direct", format!("{label} bits"))
            } else {
                ("tick", (*label).to_owned())
            };
            plot.text(class, [RIGHT + 4.0, end + 4.0], Anchor::Start, &text);
            labelled.push(end);
        }
    }
    Figure::small(name, "", &plot)
}

/// What each step chooses: the weights of a layer, or the codes it hands on.
fn step_names(run: &Run, steps: usize) -> Vec<String> {
    let layers = run.episodes.first().map_or(0, |episode| episode.plan.split(',').count());
    let known = run.weighted();
    let layer = |index: usize| match known.get(index) {
        Some(name) if known.len() == layers => (*name).to_owned(),
        _ => format!("layer {}", index + 1),
    };
    if steps == layers {
        (0..steps).map(layer).collect()
    } else if steps + 1 == 2 * layers {
        let side = |step: usize| if step.is_multiple_of(2) { "weights" } else { "codes" };
        (0..steps).map(|step| format!("{} {}", layer(step / 2), side(step))).collect()
    } else {
        (1..=steps).map(|step| format!("step {step}")).collect()
    }
}

/// The widths that actions stand for: all that weights or activations may take, where the run says and they are as many.
fn action_names(run: &Run, actions: usize) -> Vec<String> {
    let asked = run.asked.iter();
    let mut widths: Vec<u8> = asked.flat_map(|asked| asked.weights.iter().chain(&asked.activations)).copied().collect();
    widths.sort_unstable();
    widths.dedup();
    if widths.len() != actions {
        // Activations that are all 8 bits are no choice.
        widths = run.asked.as_ref().map_or(Vec::new(), |asked| asked.weights.clone());
    }
    if widths.len() == actions {
        widths.iter().map(u8::to_string).collect()
    } else {
        (1..=actions).map(|action| format!("№{action}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{Asked, Layer, Outcome};

    fn run(layers: &[&str], steps: usize, episodes: usize) -> Run {
        let layer = |name: &&str| Layer { name: (*name).to_owned(), w: Some(2), ..Layer::default() };
        let episode = |_| Episode {
            plan: vec!["2"; layers.len()].join(","),
            policy: vec![vec![Some(0.75), Some(0.25), Some(0.0)]; steps],
            ..Episode::default()
        };
        Run {
            asked: Some(Asked { weights: vec![2, 4, 8], activations: vec![8], ..Asked::default() }),
            outcome: Some(Outcome { layers: layers.iter().map(layer).collect(), ..Outcome::default() }),
            episodes: (0..episodes).map(episode).collect(),
            ..Run::default()
        }
    }

    #[test]
    fn steps_are_named_after_what_they_choose() {
        let titles = |run: &Run| figures(run).into_iter().map(|figure| figure.title).collect::<Vec<_>>();
        assert_eq!(titles(&run(&["a", "b"], 2, 3)), ["a", "b"]);
        assert_eq!(titles(&run(&["a", "b"], 3, 3)), ["a weights", "a codes", "b weights"]);
        assert_eq!(titles(&run(&["a", "b", "c"], 4, 3)), ["step 1", "step 2", "step 3", "step 4"]);
        assert!(titles(&run(&["a"], 1, 0)).is_empty());
    }

    #[test]
    fn the_likeliest_width_is_named_and_forbidden_ones_are_not_drawn() {
        let svg = &figures(&run(&["a"], 1, 3))[0].wide;
        assert!(svg.contains("at the end 2 bits have 0.75") && svg.contains(">2 bits<"), "{svg}");
        assert_eq!(svg.matches("class=\"other\"").count(), 1);
    }

    #[test]
    fn two_hundred_layers_stay_small() {
        let names = vec!["layer"; 200];
        let all = figures(&run(&names, 200, 3000));
        assert!(all.iter().map(|figure| figure.wide.len()).sum::<usize>() < 450_000);
    }
}
