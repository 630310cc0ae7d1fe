//! The front of a run: of all plans that were measured, those that no other beats in loss, flash, RAM and time.

use std::collections::BTreeMap;

use releq_search::budget::Limits;
use releq_search::pareto;
use releq_search::plan::BitPlan;
use serde::{Deserialize, Serialize};

use super::attempts::Attempt;
use super::bench::Measurement;
use super::forecast::Laws;
use crate::hardware::{Hardware, Taken};

/// How the loss of a point is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Basis {
    /// It was fine-tuned at length and its integer engine judged.
    FineTuned,
    /// Foretold from a short fine-tune.
    Forecast,
    /// What a short fine-tune left, as it is: searches without a forecast have no other.
    Short,
}

/// What one inference takes on a board.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OnBoard {
    /// The board.
    pub board: String,
    /// Instructions, predicted; none where there are no prices.
    pub instructions: Option<f64>,
    /// Estimated cycles over the clock, in milliseconds; none for cores without a model.
    pub milliseconds: Option<f64>,
}

/// A plan, what it loses and what it takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// The plan.
    pub plan: BitPlan,
    /// Top-1 loss against float on the validation images, points.
    pub loss: f64,
    /// How that is known.
    pub basis: Basis,
    /// Mean weight bits.
    pub mean_weight_bits: f64,
    /// Bytes of flash.
    pub flash: u64,
    /// Bytes of RAM.
    pub ram: u64,
    /// Time on each board.
    pub boards: Vec<OnBoard>,
    /// Whether it keeps every budget on hardware that the run was given.
    pub within: bool,
    /// Whether its loss is allowed.
    pub allowed: bool,
}

/// The points that are left to choose from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Front {
    /// Version of this document.
    pub schema: u32,
    /// How many plans were measured in all.
    pub measured: usize,
    /// Those of them that diverged, which are never on it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diverged: Vec<Diverged>,
    /// By loss, the least first.
    pub points: Vec<Point>,
}

/// A plan whose fine-tune came to no numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Diverged {
    /// The plan.
    pub plan: BitPlan,
    /// Why, in the words of an error.
    pub why: String,
}

/// Which point of a front.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Pick {
    /// The nearest to the least of everything, each from its least to its largest on the front
    Knee,
    /// The fewest instructions on the first board
    Fastest,
    /// The fewest bytes of flash
    Smallest,
    /// The least loss
    MostAccurate,
}

impl Pick {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Knee, Self::Fastest, Self::Smallest, Self::MostAccurate];
}

/// What a front is made from.
#[derive(Clone, Copy, Debug)]
pub struct Known<'k> {
    /// Every measurement of the run.
    pub measurements: &'k [Measurement],
    /// Its long fine-tunes.
    pub attempts: &'k [Attempt],
    /// Its laws, and the images of its longer fine-tunes.
    pub laws: Option<(Laws, usize)>,
    /// Accuracy in floats that losses count from, 0 to 1.
    pub float: f64,
    /// Most loss allowed, points, where that was asked.
    pub max_loss: Option<f64>,
}

impl Front {
    /// The front of all plans in `known` on `hardware`.
    pub fn of(known: Known<'_>, hardware: &Hardware) -> Self {
        let (losses, diverged) = losses(known);
        let point = |(plan, (basis, loss)): (BitPlan, (Basis, f64))| {
            let taken = hardware.taken(&plan);
            let allowed = known.max_loss.is_none_or(|most| loss <= most + 1e-9);
            Point {
                loss,
                basis,
                mean_weight_bits: plan.mean_weight_bits(),
                flash: taken.flash,
                ram: taken.ram,
                boards: boards(hardware, &taken),
                within: hardware.excess(&plan) <= 0.0,
                allowed,
                plan,
            }
        };
        let points: Vec<Point> = losses.into_iter().map(point).collect();
        let measured = points.len() + diverged.len();
        let costs: Vec<Vec<f64>> = points.iter().map(Point::costs).collect();
        let mut points: Vec<Point> = pareto::front(&costs).into_iter().map(|index| points[index].clone()).collect();
        points.sort_by(|one, other| one.loss.total_cmp(&other.loss));
        Self { schema: 1, measured, diverged, points }
    }

    /// The point that is meant: among those that keep every budget; where none does, among those that lose too much but keep
    /// the others; where none does that either, among all.
    pub fn pick(&self, pick: Pick) -> Option<&Point> {
        let of = |wanted: &dyn Fn(&Point) -> bool| self.points.iter().filter(|point| wanted(point)).collect::<Vec<_>>();
        let sets = [of(&|point| point.within && point.allowed), of(&|point| point.within), of(&|_| true)];
        let points = sets.into_iter().find(|set| !set.is_empty())?;
        let least = |of: &dyn Fn(&Point) -> f64| {
            // Points stand by their loss, so that among equals the least loss is met first.
            points.iter().copied().reduce(|best, next| if of(next) < of(best) { next } else { best })
        };
        match pick {
            Pick::Knee => {
                let costs: Vec<Vec<f64>> = points.iter().map(|point| point.costs()).collect();
                pareto::knee(&costs).map(|index| points[index])
            }
            Pick::Fastest => least(&Point::instructions),
            Pick::Smallest => least(&|point| point.flash as f64),
            Pick::MostAccurate => least(&|point| point.loss),
        }
    }
}

impl Point {
    /// Loss, flash, RAM, and instructions on each board.
    fn costs(&self) -> Vec<f64> {
        let times = self.boards.iter().map(|board| board.instructions.unwrap_or(0.0));
        [self.loss, self.flash as f64, self.ram as f64].into_iter().chain(times).collect()
    }

    fn instructions(&self) -> f64 {
        self.boards.first().and_then(|board| board.instructions).unwrap_or(f64::INFINITY)
    }
}

/// `taken` on each board.
pub fn boards(hardware: &Hardware, taken: &Taken) -> Vec<OnBoard> {
    let on = |(number, place): (usize, &crate::hardware::Place)| {
        let time = taken.times.get(number).copied().flatten();
        OnBoard {
            board: place.board.name.to_owned(),
            instructions: time.map(|time| time.instructions.round()),
            milliseconds: time.and_then(|time| hardware.seconds(number, &time)).map(|time| 1e3 * time.as_secs_f64()),
        }
    };
    hardware.places().iter().enumerate().map(on).collect()
}

/// What is best known of each plan's loss, in points; and the plans that diverged, however long they were fine-tuned.
fn losses(known: Known<'_>) -> (BTreeMap<BitPlan, (Basis, f64)>, Vec<Diverged>) {
    let mut best: BTreeMap<BitPlan, (usize, f64)> = BTreeMap::new();
    let tuned = || known.measurements.iter().filter(|one| one.images > 0);
    for one in tuned() {
        let loss = match known.laws {
            Some((laws, long)) => one.loss(if one.images >= long { laws.long } else { laws.short }),
            None => known.float - one.accuracy(),
        };
        let seen = best.entry(one.plan.clone()).or_insert((0, 0.0));
        if one.images > seen.0 {
            *seen = (one.images, 100.0 * loss);
        }
    }
    let basis = if known.laws.is_some() { Basis::Forecast } else { Basis::Short };
    let mut losses: BTreeMap<BitPlan, (Basis, f64)> =
        best.into_iter().map(|(plan, (_, loss))| (plan, (basis, loss))).collect();
    for attempt in known.attempts {
        losses.insert(attempt.plan.clone(), (Basis::FineTuned, attempt.expected_loss));
    }
    let measured = tuned().filter_map(|one| Some((&one.plan, one.diverged()?)));
    let tried = known.attempts.iter().filter_map(|one| Some((&one.plan, one.diverged.as_deref()?)));
    let diverged: BTreeMap<&BitPlan, &str> = measured.chain(tried).collect();
    losses.retain(|plan, _| !diverged.contains_key(plan));
    let diverged = diverged.into_iter().map(|(plan, why)| Diverged { plan: plan.clone(), why: why.to_owned() });
    (losses, diverged.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(plan: &str, loss: f64, flash: u64, instructions: f64, [within, allowed]: [bool; 2]) -> Point {
        let plan: BitPlan = plan.parse().unwrap();
        let board = OnBoard { board: "virt-m4".into(), instructions: Some(instructions), milliseconds: None };
        Point {
            mean_weight_bits: plan.mean_weight_bits(),
            plan,
            loss,
            basis: Basis::Forecast,
            flash,
            ram: 1000,
            boards: vec![board],
            within,
            allowed,
        }
    }

    #[test]
    fn picks_keep_the_budgets_where_any_point_does() {
        let points = vec![
            point("8,8", 0.0, 900, 90.0, [false, true]),
            point("4,4", 0.1, 500, 60.0, [true, true]),
            point("3,4", 0.2, 400, 70.0, [true, true]),
            point("2,2", 0.3, 300, 75.0, [true, true]),
            point("1,1", 9.0, 100, 10.0, [true, false]),
        ];
        let mut front = Front { schema: 1, measured: 5, diverged: Vec::new(), points };
        let picks = |front: &Front| Pick::ALL.map(|pick| front.pick(pick).unwrap().plan.to_string());
        assert_eq!(picks(&front)[1..], ["4,4", "2,2", "4,4"]);
        front.points.iter_mut().for_each(|point| point.allowed = false);
        assert_eq!(picks(&front)[1..], ["1,1", "1,1", "4,4"]);
        front.points.iter_mut().for_each(|point| point.within = false);
        assert_eq!(picks(&front)[1..], ["1,1", "1,1", "8,8"]);
        front.points.clear();
        assert_eq!(front.pick(Pick::Knee), None);
    }
}
