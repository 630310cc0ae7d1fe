//! What a search maximises: one number from a plan and its accuracy, so that all searchers climb the same hill.

use core::fmt;
use core::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::budget::{self, Limits};
use crate::cost::{Costs, Seen};
use crate::network::{Network, StateOfQuantization};
use crate::plan::BitPlan;
use crate::reward::Reward;
use crate::space::Space;

/// What is asked of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Goal {
    /// The largest reward.
    Reward(Reward),
    /// The least State of Quantization that loses at most this much accuracy (0.005 is half a point) against float.
    Floor(f64),
}

/// Three questions with a known answer on the authors' LeNet table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Contest {
    /// The paper's reward; its optimum lies beside the narrowest plan, so counting upward in bits finds it soon.
    Paper,
    /// Fewest mean bits at half a point of loss: what users ask.
    Floor,
    /// The reward of the authors' LeNet script.
    Authors,
}

/// A goal on one network: the value of a plan once its accuracy is known or imagined.
#[derive(Clone, Debug)]
pub struct Objective {
    goal: Goal,
    quantization: StateOfQuantization,
    /// What stands for bits, if anything does.
    costs: Option<Costs>,
    /// What stands for those costs, of plans that were measured.
    seen: Seen,
    /// What a plan must keep to whatever it scores.
    limits: Option<Arc<dyn Limits>>,
    network: Network,
    float: f64,
}

/// Share of the value that decides between plans of equal cost, by accuracy; less than one bit of one layer in 1,000.
const TIE: f64 = 1e-4;

/// A floor that shares are still taken of.
const LEAST_FLOOR: f64 = 0.01;

/// Accuracies come from counts of images: differences below this are rounding.
const ROUNDING: f64 = 1e-9;

impl Objective {
    /// The objective `goal` on `network`, whose float accuracy is `float`, 0 to 1.
    pub fn new(goal: Goal, quantization: StateOfQuantization, network: Network, float: f64) -> Self {
        Self { goal, quantization, costs: None, seen: Seen::default(), limits: None, network, float }
    }

    /// The same, with plans weighed by what they cost on some hardware instead of by a State of Quantization.
    #[must_use]
    pub fn with_costs(self, costs: Costs) -> Self {
        Self { costs: Some(costs), ..self }
    }

    /// The same, with a plan that is in `seen` weighed by what it was measured to cost; the others by those costs.
    #[must_use]
    pub fn with_measured(self, seen: Seen) -> Self {
        Self { seen, ..self }
    }

    /// The same, of plans within `limits`: every plan beyond them is worth less than any within.
    #[must_use]
    pub fn within(self, limits: Arc<dyn Limits>) -> Self {
        Self { limits: Some(limits), ..self }
    }

    /// The same network, asked for something else.
    #[must_use]
    pub fn with_goal(&self, goal: Goal) -> Self {
        Self { goal, ..self.clone() }
    }

    /// What is asked.
    pub fn goal(&self) -> Goal {
        self.goal
    }

    /// The network whose plans are valued.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Accuracy of the float network, 0 to 1.
    pub fn float(&self) -> f64 {
        self.float
    }

    /// State of Accuracy: `accuracy` over the float network's. May exceed 1.
    pub fn relative(&self, accuracy: f64) -> f64 {
        accuracy / self.float
    }

    /// State of Quantization of `plan`, or what it costs over what 8 bits everywhere do.
    pub fn quantization(&self, plan: &BitPlan) -> f64 {
        match &self.costs {
            Some(costs) => self.seen.of(plan).map_or_else(|| costs.relative(plan), |total| total / costs.whole()),
            None => self.quantization.of(&self.network, plan),
        }
    }

    /// No plan has more of that than this; at least 1, and 1 where bits are counted.
    pub fn dearest(&self) -> f64 {
        self.costs.as_ref().map_or(1.0, Costs::dearest)
    }

    /// Whether there are limits.
    pub fn is_limited(&self) -> bool {
        self.limits.is_some()
    }

    /// Whether `plan` is within the limits, where there are any: if not, it is never an answer.
    pub fn admits(&self, plan: &BitPlan) -> bool {
        self.excess(plan) <= 0.0
    }

    /// `plan`, or what [`budget::admitted`] narrows it to; none where that leads nowhere.
    pub fn admitted(&self, space: &Space, plan: BitPlan) -> Option<BitPlan> {
        match &self.limits {
            Some(limits) => budget::admitted(space, &plan, limits.as_ref()),
            None => Some(plan),
        }
    }

    fn excess(&self, plan: &BitPlan) -> f64 {
        self.limits.as_ref().map_or(0.0, |limits| limits.excess(plan))
    }

    /// The value of `plan` at `accuracy`, 0 to 1; more is better. Beyond the limits it is less than that of any
    /// plan within, by the excess: −2 and less where bits are counted.
    pub fn value(&self, plan: &BitPlan, accuracy: f64) -> f64 {
        let excess = self.excess(plan);
        if excess > 0.0 { -1.0 - self.dearest() - excess } else { self.value_at(self.quantization(plan), accuracy) }
    }

    /// The value at a State of Quantization and an accuracy, 0 to 1; more is better.
    ///
    /// Under a floor, a plan that keeps it has the cost it saves, from 0 (8 bits everywhere) towards 1, plus a tie-break by
    /// accuracy; one that misses it has minus the share of the floor it misses, so that a search finds its way up. Where
    /// narrow plans may cost more than 8 bits everywhere, the latter lie as much lower as they may.
    pub fn value_at(&self, quantization: f64, accuracy: f64) -> f64 {
        match self.goal {
            Goal::Reward(reward) => reward.value(quantization, self.relative(accuracy)),
            Goal::Floor(loss) => {
                let floor = self.float - loss;
                let kept = accuracy >= floor - ROUNDING;
                // Below zero where whatever may be lost is more than there is, and then still a share that is missed.
                let missed = (accuracy - floor) / floor.abs().max(LEAST_FLOOR) - (self.dearest() - 1.0);
                if kept { 1.0 - quantization + TIE * accuracy } else { missed }
            }
        }
    }

    /// The accuracy at which the value breaks off, if it does: where a model of accuracy had better be sharp.
    pub fn cliff(&self) -> Option<f64> {
        match self.goal {
            Goal::Reward(reward) => reward.threshold().map(|threshold| threshold * self.float),
            Goal::Floor(loss) => Some(self.float - loss),
        }
    }
}

impl Contest {
    /// All three, in the order of the published table.
    pub const ALL: [Self; 3] = [Self::Paper, Self::Floor, Self::Authors];

    /// The contest's goal over plans of `space`.
    pub fn goal(self, space: &Space) -> Goal {
        match self {
            Self::Paper => Goal::Reward(Reward::paper()),
            Self::Floor => Goal::Floor(0.005),
            Self::Authors => Goal::Reward(Reward::authors(space.narrowest())),
        }
    }

    /// The contest on `network`, with the mean State of Quantization.
    pub fn objective(self, space: &Space, network: Network, float: f64) -> Objective {
        Objective::new(self.goal(space), StateOfQuantization::Mean, network, float)
    }
}

impl fmt::Display for Contest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Paper => "paper",
            Self::Floor => "floor",
            Self::Authors => "authors",
        })
    }
}

/// A name that no contest has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no contest `{0}`; the contests are paper, floor and authors")]
pub struct NoSuchContest(String);

impl FromStr for Contest {
    type Err = NoSuchContest;

    fn from_str(text: &str) -> Result<Self, NoSuchContest> {
        let found = Self::ALL.into_iter().find(|contest| contest.to_string() == text);
        found.ok_or_else(|| NoSuchContest(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::tests::lenet;

    fn floor() -> Objective {
        Contest::Floor.objective(&Space::same(&[2, 8], 4).unwrap(), lenet(), 0.998)
    }

    fn plan(text: &str) -> BitPlan {
        text.parse().unwrap()
    }

    #[test]
    fn every_plan_that_keeps_the_floor_beats_every_plan_that_does_not() {
        let objective = floor();
        let least = objective.value(&plan("8,8,8,8"), 0.993);
        let most = objective.value(&plan("2,2,2,2"), 0.992_999);
        assert!(least > 0.0 && most < 0.0);
        assert!(objective.value(&plan("8,8,8,8"), 0.5) > objective.value(&plan("2,2,2,2"), 0.4));
    }

    /// Even where more may be lost than there is, as for plans that diverged.
    #[test]
    fn a_floor_below_nothing_is_missed_by_what_is_below_it() {
        let plan = plan("2,2,2,2");
        for loss in [0.998, 0.9985, 1.0, 1.5] {
            let objective = floor().with_goal(Goal::Floor(loss));
            let (kept, missed) = (objective.value(&plan, 0.998 - loss), objective.value(&plan, 0.998 - loss - 0.01));
            assert!(kept > 0.0 && missed < 0.0 && missed.is_finite(), "{loss}: {kept} {missed}");
        }
    }

    #[test]
    fn among_those_bits_decide_and_then_accuracy() {
        let objective = floor();
        assert!(objective.value(&plan("2,3,3,4"), 0.993) > objective.value(&plan("2,3,4,4"), 1.0));
        assert!(objective.value(&plan("2,3,3,4"), 0.994) > objective.value(&plan("3,2,3,4"), 0.993));
        assert_eq!(objective.cliff(), Some(0.993));
    }

    #[test]
    fn costs_stand_for_bits_where_they_are_given() {
        // On this board the third layer is no faster at 2 bits than at 8.
        let alike = [2.0; 8];
        let falling = core::array::from_fn(|index| index as f64 + 1.0);
        let costs = Costs::new(vec![falling, falling, alike, falling], 6.0);
        let objective = floor().with_costs(costs);
        assert_eq!(objective.quantization(&plan("8,8,8,8")), 1.0);
        assert_eq!(objective.value(&plan("2,2,2,2"), 0.995), objective.value(&plan("2,2,8,2"), 0.995));
        assert!(objective.value(&plan("2,2,8,2"), 0.995) > objective.value(&plan("2,3,2,2"), 0.995));
    }

    #[test]
    fn a_measured_cost_stands_for_a_predicted_one() {
        let seen = Seen::default();
        let row = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
        let objective = floor().with_costs(Costs::new(vec![row; 4], 0.0)).with_measured(seen.clone());
        assert_eq!(objective.quantization(&plan("2,2,2,2")), 0.25);
        seen.tell(&plan("2,2,2,2"), 24.0);
        assert_eq!(objective.quantization(&plan("2,2,2,2")), 0.75);
        assert!(objective.value(&plan("2,2,2,2"), 0.995) < objective.value(&plan("3,3,3,3"), 0.995));
    }

    #[test]
    fn a_plan_that_keeps_the_floor_is_better_however_dear_it_is() {
        let slow = [9.0, 3.0, 9.0, 9.0, 9.0, 9.0, 9.0, 4.0];
        let objective = floor().with_costs(Costs::new(vec![slow; 4], 1.0));
        assert!(objective.quantization(&plan("3,3,3,3")) > 2.0);
        assert!(objective.value(&plan("3,3,3,3"), 0.993) > objective.value(&plan("2,2,2,2"), 0.992_999));
    }

    /// However it scores, and whatever is asked.
    #[test]
    fn a_plan_beyond_the_limits_is_worth_less_than_any_within() {
        for contest in Contest::ALL {
            let space = Space::same(&[2, 3, 4, 8], 4).unwrap();
            let objective =
                contest.objective(&space, lenet(), 0.998).within(Arc::new(crate::budget::tests::Bits(12.0)));
            let [within, beyond, far] = ["2,2,4,4", "2,2,4,8", "8,8,8,8"].map(plan);
            assert!(objective.admits(&within) && !objective.admits(&beyond));
            assert!(objective.value(&within, 0.0) > objective.value(&beyond, 1.0), "{contest}");
            // On a board where some width costs nine times what 8 bits do.
            let slow = objective.clone().with_costs(Costs::new(vec![[9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 1.0]; 4], 0.0));
            assert!(slow.value(&within, 0.0) > slow.value(&beyond, 1.0), "{contest}");
            assert!(objective.value(&beyond, 0.0) > objective.value(&far, 1.0), "{contest}");
            let admitted = objective.admitted(&space, far).unwrap();
            assert!(objective.admits(&admitted) && space.contains(&admitted));
        }
    }

    #[test]
    fn contests_are_read_by_name() {
        for contest in Contest::ALL {
            assert_eq!(contest.to_string().parse(), Ok(contest));
        }
        assert_eq!("b".parse::<Contest>(), Err(NoSuchContest("b".into())));
    }
}
