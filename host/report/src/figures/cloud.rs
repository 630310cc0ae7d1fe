//! Every plan that was evaluated by what it costs and loses, the edge of what was found, and the chosen one.

use std::collections::{BTreeMap, BTreeSet};

use super::{Figure, fitted};
use crate::plan::Plan;
use crate::plot::{Anchor, Plot, Scale};
use crate::run::{Episode, Evaluated, Point, Run};

const HEIGHT: f64 = 380.0;
const LEFT: f64 = 50.0;
const TOP: f64 = 22.0;
const BOTTOM: f64 = 334.0;
/// Most dots of the cloud; more are drawn every so many.
const DOTS: usize = 3000;
/// Most dots that tell their plan when they are pointed at.
const NAMED: usize = 200;

/// One plan.
#[derive(Clone, Debug, PartialEq)]
struct Spot {
    plan: String,
    cost: f64,
    /// Points lost, or accuracy below 100 % where no loss is known: less is better.
    loss: f64,
    /// Whether no other plan beats it in everything that was weighed.
    on_front: bool,
}

/// The spots and what their places mean.
struct Cloud {
    spots: Vec<Spot>,
    across: String,
    up: &'static str,
    chosen: Option<String>,
    /// What the chosen plan is called where it is too long to be written.
    short: &'static str,
    max_loss: Option<f64>,
}

/// The cloud; none where nothing was evaluated.
pub(crate) fn figure(run: &Run) -> Option<Figure> {
    let cloud = Cloud::of(run)?;
    let mut note = if run.outcome.is_some() {
        "Dots are plans; filled ones are on the front, beaten by no other in loss, flash, RAM and instructions together. \
         The line joins the best of these two costs alone, and less of both is better. The diamond is the chosen plan."
    } else {
        "Dots are plans so far; the line joins those that no other beats, and less of both costs is better. \
         The diamond is the plan of the largest value so far."
    }
    .to_owned();
    let [costs, losses] = cloud.sight();
    let beyond = cloud.spots.iter().filter(|spot| spot.cost > costs[1] || spot.loss > losses[1]).count();
    if beyond > 0 {
        note += &format!(" Plans beyond the frame ({beyond}) are hollow, at its edge.");
    }
    Some(Figure::drawn("", &note, |width| cloud.draw(width)))
}

impl Cloud {
    fn of(run: &Run) -> Option<Self> {
        let prices = prices(run);
        let diverged: BTreeSet<&str> = run.diverged().into_iter().map(|(plan, ..)| plan).collect();
        let (mut spots, up): (Vec<Spot>, _) = match &run.outcome {
            Some(outcome) if !outcome.evaluated.is_empty() => {
                let spot = |one: &Evaluated| spot(&prices, &one.plan, one.loss);
                (outcome.evaluated.iter().filter_map(spot).collect(), "top-1 points lost")
            }
            _ => {
                let spot = |one: &Episode| spot(&prices, &one.plan, one.accuracy.map(|share| 100.0 * (1.0 - share)));
                (run.episodes.iter().filter_map(spot).collect(), "top-1 error on the validation images, %")
            }
        };
        if run.outcome.is_some() {
            let front = run.front.iter().flat_map(|front| &front.points);
            spots = with_front(spots, front.filter_map(|point| front_spot(&prices, point)).collect());
        }
        // They lose everything, wherever they would stand.
        spots.retain(|spot| !diverged.contains(spot.plan.as_str()));
        let chosen = run.chosen().map(str::to_owned);
        let across = match &prices {
            Some((unit, _)) => format!("{unit} of an inference"),
            None => "mean weight bits".to_owned(),
        };
        let short = if run.outcome.is_some() { "the chosen plan" } else { "the best so far" };
        let max_loss = run.outcome.as_ref().and_then(|outcome| outcome.max_loss);
        (!spots.is_empty()).then_some(Self { spots, across, up, chosen, short, max_loss })
    }

    fn draw(&self, width: f64) -> Plot {
        let name = format!(
            "{} plans by {} and {}; chosen: {}.",
            self.spots.len(),
            self.across,
            self.up,
            self.chosen.as_deref().unwrap_or("none")
        );
        let mut plot = Plot::new(&name, [width, HEIGHT]);
        let right = width - 14.0;
        let [costs, losses] = self.sight();
        let x = Scale::over(costs, [LEFT, right]).padded(0.04);
        let y = Scale::over(losses, [BOTTOM, TOP]).padded(0.05);
        plot.beside(&y, [LEFT, right], 5);
        plot.below(&x, BOTTOM, (width / 90.0) as usize, &self.across);
        plot.text("what", [LEFT, TOP - 10.0], Anchor::Start, self.up);
        self.limit(&mut plot, &y, right);
        plot.line("edge", stair(&self.edge()).into_iter().map(|[cost, loss]| (x.at(cost), y.at(loss))));
        let at = |spot: &Spot| [x.at(spot.cost), y.at(spot.loss)];
        let is_beyond = |spot: &&Spot| spot.cost > costs[1] || spot.loss > losses[1];
        let (front, others): (Vec<&Spot>, Vec<&Spot>) = self.spots.iter().partition(|spot| spot.on_front);
        let (beyond, within): (Vec<&Spot>, Vec<&Spot>) = others.into_iter().partition(is_beyond);
        if within.len() <= NAMED {
            within.iter().for_each(|spot| plot.dot("raw", at(spot), 2.5, &spot.plan));
        } else {
            plot.dots("dots", within.iter().step_by(within.len().div_ceil(DOTS)).map(|spot| at(spot)));
        }
        beyond.iter().take(NAMED).for_each(|spot| plot.dot("beyond", at(spot), 2.5, &spot.plan));
        front.iter().for_each(|spot| plot.dot("front", at(spot), 3.5, &spot.plan));
        self.mark(&mut plot, &x, &y, width);
        plot
    }

    /// Least and most of costs and losses that are worth the room: one far plan would press all others together.
    fn sight(&self) -> [[f64; 2]; 2] {
        let of: [fn(&Spot) -> f64; 2] = [|spot| spot.cost, |spot| spot.loss];
        of.map(|of| {
            let mut values: Vec<f64> = self.spots.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            let quartile = |share: usize| values[share * (values.len() - 1) / 4];
            // Tukey's fence, twice as far out; and whatever no other beats is within.
            let fence = quartile(3) + 3.0 * (quartile(3) - quartile(1));
            let unbeaten = self.spots.iter().filter(|spot| spot.on_front).chain(self.edge());
            let fence = unbeaten.map(of).fold(fence, f64::max);
            let most = values.iter().copied().filter(|value| *value <= fence).fold(values[0], f64::max);
            [values[0], most]
        })
    }

    /// The loss that was allowed, where it is in sight.
    fn limit(&self, plot: &mut Plot, y: &Scale, right: f64) {
        let most = self.spots.iter().map(|spot| spot.loss).fold(f64::NEG_INFINITY, f64::max);
        if let Some(limit) = self.max_loss.filter(|limit| *limit <= most) {
            let at = y.at(limit);
            plot.line("limit", [(LEFT, at), (right, at)]);
            plot.text("tick", [right, at - 5.0], Anchor::End, &format!("allowed: {limit} points"));
        }
    }

    /// The chosen plan's diamond and name.
    fn mark(&self, plot: &mut Plot, x: &Scale, y: &Scale, width: f64) {
        let is_chosen = |spot: &&Spot| Some(&spot.plan) == self.chosen.as_ref();
        let Some(spot) = self.spots.iter().find(is_chosen) else { return };
        let (x, y) = (x.at(spot.cost), y.at(spot.loss));
        plot.path("chosen", &format!("M{x:.1} {:.1}l7 7l-7 7l-7-7z", y - 7.0));
        let text = if spot.plan.len() < 20 { fitted(&spot.plan, width / 2.0) } else { self.short.to_owned() };
        let (place, anchor) =
            if x < width / 2.0 { ([x + 9.0, y - 6.0], Anchor::Start) } else { ([x - 9.0, y - 6.0], Anchor::End) };
        plot.text("direct halo", place, anchor, &text);
    }

    /// The plans that no other beats in both, the cheapest first.
    fn edge(&self) -> Vec<&Spot> {
        let mut order: Vec<&Spot> = self.spots.iter().collect();
        order.sort_by(|one, other| one.cost.total_cmp(&other.cost).then(one.loss.total_cmp(&other.loss)));
        let mut least = f64::INFINITY;
        order.retain(|spot| {
            let better = spot.loss < least;
            least = least.min(spot.loss);
            better
        });
        order
    }
}

/// Down to each of `edge`, then across to the next.
fn stair(edge: &[&Spot]) -> Vec<[f64; 2]> {
    let corners = edge.windows(2).flat_map(|pair| [[pair[1].cost, pair[0].loss], [pair[1].cost, pair[1].loss]]);
    edge.first().map(|spot| [spot.cost, spot.loss]).into_iter().chain(corners).collect()
}

/// What plans cost on a board, and its unit, where every measurement says so.
type Prices = Option<(String, BTreeMap<String, f64>)>;

fn prices(run: &Run) -> Prices {
    let cost = |one: &crate::run::Measurement| {
        let cost = one.cost.as_ref()?;
        Some((one.plan.clone(), cost.measured.or(cost.predicted)?))
    };
    let unit = run.measurements.first()?.cost.as_ref()?.unit.clone();
    let prices = run.measurements.iter().map(cost).collect::<Option<_>>()?;
    Some((unit, prices))
}

fn spot(prices: &Prices, plan: &str, loss: Option<f64>) -> Option<Spot> {
    let cost = match prices {
        Some((_, prices)) => *prices.get(plan)?,
        None => Plan::parse(plan)?.mean_weight_bits(),
    };
    let loss = loss.filter(|loss| loss.is_finite())?;
    cost.is_finite().then(|| Spot { plan: plan.to_owned(), cost, loss, on_front: false })
}

fn front_spot(prices: &Prices, point: &Point) -> Option<Spot> {
    spot(prices, &point.plan, point.loss).map(|spot| Spot { on_front: true, ..spot })
}

/// Losses on the front are the better known ones.
fn with_front(mut spots: Vec<Spot>, front: Vec<Spot>) -> Vec<Spot> {
    spots.retain(|spot| front.iter().all(|other| other.plan != spot.plan));
    spots.extend(front);
    spots
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_edge_is_a_stair_down() {
        let spot = |cost: f64, loss: f64| Spot { plan: format!("{cost}"), cost, loss, on_front: false };
        let spots = vec![spot(3.0, 0.1), spot(1.0, 0.9), spot(2.0, 0.95), spot(2.0, 0.4), spot(4.0, 0.1)];
        let cloud = Cloud { spots, across: String::new(), up: "", chosen: None, short: "", max_loss: None };
        assert_eq!(stair(&cloud.edge()), [[1.0, 0.9], [2.0, 0.9], [2.0, 0.4], [3.0, 0.4], [3.0, 0.1]]);
        assert!(stair(&[]).is_empty());
    }

    #[test]
    fn losses_of_the_front_count_and_no_plan_is_there_twice() {
        let spot = |plan: &str, loss, on_front| Spot { plan: plan.to_owned(), cost: 1.0, loss, on_front };
        let all = with_front(vec![spot("2,2", 0.5, false), spot("3,3", 0.2, false)], vec![spot("2,2", 0.1, true)]);
        assert_eq!(all, [spot("3,3", 0.2, false), spot("2,2", 0.1, true)]);
    }
}
