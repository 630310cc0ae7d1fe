//! The price of a search: every plan it looked up, in order, and when the best of them was found.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::evaluate::{Evaluator, Score};
use crate::objective::Objective;
use crate::plan::BitPlan;
use crate::record::Episode;

/// Any failure of an evaluator.
pub type Failure = Box<dyn Error + Send + Sync>;

/// The evaluator below a ledger, whatever its type and its errors'.
type Ask<'a> = dyn FnMut(&[BitPlan]) -> Result<Vec<Score>, Failure> + 'a;

/// Whoever keeps the episodes.
type Keep<'a> = dyn FnMut(&Episode) -> Result<(), Failure> + 'a;

/// Why a search gets no more answers.
#[derive(Debug, thiserror::Error)]
pub enum Stop {
    /// The budget is spent, or the plan that the race waits for has been seen: the ordinary end of a search.
    #[error("the search spent its budget of distinct evaluations; raise the budget to go on")]
    Exhausted,
    /// A plan could not be scored.
    #[error("a plan could not be scored: {0}")]
    Failed(#[source] Failure),
}

/// What a look-up says.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// Accuracy, 0 to 1.
    pub accuracy: f64,
    /// Value under the objective; more is better.
    pub value: f64,
}

/// A plan that was paid for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The plan.
    pub plan: BitPlan,
    /// What it scored.
    #[serde(flatten)]
    pub seen: Seen,
}

/// Answers one search, and charges it once for each distinct plan.
///
/// Plans count whatever they are for: the all-8 start, single-layer probes and an episode's prefixes included. They count
/// even if the evaluator below already knew them, so several ledgers over one [`crate::evaluate::Cached`] race on equal terms.
pub struct Ledger<'a> {
    ask: Box<Ask<'a>>,
    side_by_side: usize,
    noise: Option<f64>,
    falls: Option<Vec<f64>>,
    keep: Option<Box<Keep<'a>>>,
    /// Whether the searcher tells its episodes itself.
    told: bool,
    episodes: usize,
    objective: &'a Objective,
    budget: usize,
    awaited: Option<BitPlan>,
    entries: Vec<Entry>,
    index: BTreeMap<BitPlan, usize>,
    lookups: Vec<usize>,
    best: Option<usize>,
}

impl fmt::Debug for Ledger<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").field("budget", &self.budget).field("entries", &self.entries).finish_non_exhaustive()
    }
}

impl<'a> Ledger<'a> {
    /// An empty ledger over `evaluator` that pays for at most `budget` distinct plans.
    pub fn new<E>(evaluator: &'a mut E, objective: &'a Objective, budget: usize) -> Self
    where
        E: Evaluator,
        E::Error: Into<Failure>,
    {
        Self {
            side_by_side: evaluator.side_by_side().max(1),
            noise: evaluator.noise(),
            falls: evaluator.falls(),
            ask: Box::new(|plans| evaluator.evaluate_all(plans).map_err(Into::into)),
            keep: None,
            told: false,
            episodes: 0,
            objective,
            budget,
            awaited: None,
            entries: Vec::new(),
            index: BTreeMap::new(),
            lookups: Vec::new(),
            best: None,
        }
    }

    /// Also stops the search once it has looked up `plan`. Saves the time after it; the searcher cannot tell the reasons apart.
    #[must_use]
    pub fn awaiting(mut self, plan: BitPlan) -> Self {
        self.awaited = Some(plan);
        self
    }

    /// Also hands every episode to `keep`, as it ends: those that the searcher tells, or else one for each distinct plan.
    #[must_use]
    pub fn keeping(mut self, keep: impl FnMut(&Episode) -> Result<(), Failure> + 'a) -> Self {
        self.keep = Some(Box::new(keep));
        self
    }

    /// Says that this searcher has episodes of its own, which it will [`tell`](Self::tell).
    pub fn tells(&mut self) {
        self.told = true;
    }

    /// Has an episode kept that ended with `plan`, now known: what each of its steps was paid and how the policy chose.
    ///
    /// # Errors
    /// [`Stop::Failed`] if it could not be kept.
    pub fn tell(&mut self, plan: &BitPlan, rewards: Vec<f64>, policy: Vec<Vec<f32>>) -> Result<(), Stop> {
        let Some(&index) = self.index.get(plan).filter(|_| self.keep.is_some()) else { return Ok(()) };
        self.kept(index, rewards, policy)
    }

    fn kept(&mut self, index: usize, rewards: Vec<f64>, policy: Vec<Vec<f32>>) -> Result<(), Stop> {
        let Some(keep) = &mut self.keep else { return Ok(()) };
        let Entry { plan, seen } = &self.entries[index];
        let episode = Episode {
            episode: self.episodes,
            plan: plan.clone(),
            accuracy: seen.accuracy,
            state_of_quantization: self.objective.quantization(plan),
            value: seen.value,
            rewards,
            policy,
            distinct_evaluations: self.entries.len(),
        };
        self.episodes += 1;
        keep(&episode).map_err(Stop::Failed)
    }

    /// How many plans are evaluated in about the time of one.
    pub fn side_by_side(&self) -> usize {
        self.side_by_side
    }

    /// How precise an evaluation is, where that is known; see [`Evaluator::noise`].
    pub fn noise(&self) -> Option<f64> {
        self.noise
    }

    /// What each choice does alone, where that was probed; see [`Evaluator::falls`].
    pub fn falls(&self) -> Option<&[f64]> {
        self.falls.as_deref()
    }

    /// Accuracy and value of `plan`, charged if it is new here.
    ///
    /// # Errors
    /// [`Stop::Exhausted`] for a plan beyond the budget or after the awaited one, [`Stop::Failed`] if it cannot be scored.
    pub fn look_up(&mut self, plan: &BitPlan) -> Result<Seen, Stop> {
        let index = match self.index.get(plan) {
            Some(&index) => index,
            None if self.remaining() == 0 => return Err(Stop::Exhausted),
            None => {
                self.pay(std::slice::from_ref(plan))?;
                self.entries.len() - 1
            }
        };
        self.lookups.push(index);
        Ok(self.entries[index].seen)
    }

    /// As [`look_up`](Self::look_up) of each of `plans` in order, but the new ones are evaluated side by side.
    ///
    /// # Errors
    /// As [`look_up`](Self::look_up), after every plan within the budget has been looked up.
    pub fn look_up_all(&mut self, plans: &[BitPlan]) -> Result<Vec<Seen>, Stop> {
        self.pay_ahead(plans)?;
        plans.iter().map(|plan| self.look_up(plan)).collect()
    }

    /// Evaluates side by side those of `plans` that are new and within the budget. They are charged, and known from now on.
    ///
    /// # Errors
    /// [`Stop::Failed`] if one cannot be scored.
    pub fn pay_ahead(&mut self, plans: &[BitPlan]) -> Result<(), Stop> {
        let mut new: Vec<BitPlan> = Vec::new();
        for plan in plans {
            let last =
                new.len() >= self.remaining() || new.last().is_some_and(|plan| self.awaited.as_ref() == Some(plan));
            if last {
                break;
            }
            if !self.index.contains_key(plan) && !new.contains(plan) {
                new.push(plan.clone());
            }
        }
        self.pay(&new)
    }

    /// Looks up every plan of `plans`, as many side by side as the evaluator likes.
    ///
    /// # Errors
    /// As [`look_up`](Self::look_up).
    pub fn look_up_each(&mut self, plans: impl IntoIterator<Item = BitPlan>) -> Result<(), Stop> {
        let mut plans = plans.into_iter();
        loop {
            let next: Vec<BitPlan> = plans.by_ref().take(self.side_by_side).collect();
            if next.is_empty() {
                return Ok(());
            }
            self.look_up_all(&next)?;
        }
    }

    /// Has new plans evaluated, all within the budget.
    fn pay(&mut self, plans: &[BitPlan]) -> Result<(), Stop> {
        if plans.is_empty() {
            return Ok(());
        }
        let scores = (self.ask)(plans).map_err(Stop::Failed)?;
        for (plan, Score { accuracy }) in plans.iter().zip(scores) {
            let seen = Seen { accuracy, value: self.objective.value(plan, accuracy) };
            let index = self.entries.len();
            if self.best.is_none_or(|best| seen.value > self.entries[best].seen.value) {
                self.best = Some(index);
            }
            self.index.insert(plan.clone(), index);
            self.entries.push(Entry { plan: plan.clone(), seen });
            if !self.told {
                self.kept(index, vec![seen.value], Vec::new())?;
            }
        }
        Ok(())
    }

    /// What the search is for.
    pub fn objective(&self) -> &'a Objective {
        self.objective
    }

    /// What this search already knows of `plan`; asking that costs nothing and is no look-up.
    pub fn known(&self, plan: &BitPlan) -> Option<Seen> {
        self.index.get(plan).map(|&index| self.entries[index].seen)
    }

    /// How many more distinct plans will be answered.
    pub fn remaining(&self) -> usize {
        let done = self.awaited.as_ref().is_some_and(|plan| self.index.contains_key(plan));
        if done { 0 } else { self.budget.saturating_sub(self.entries.len()) }
    }

    /// How many distinct plans were paid for.
    pub fn distinct(&self) -> usize {
        self.entries.len()
    }

    /// Every distinct plan, in the order they were first looked up.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Every plan looked up, in order, repeats included.
    pub fn lookups(&self) -> impl ExactSizeIterator<Item = &BitPlan> + '_ {
        self.lookups.iter().map(|&index| &self.entries[index].plan)
    }

    /// The plan of the largest value so far; the first looked up among equals.
    pub fn best(&self) -> Option<&Entry> {
        self.best.map(|index| &self.entries[index])
    }

    /// The largest value among the first `evaluations` distinct plans.
    pub fn best_after(&self, evaluations: usize) -> Option<f64> {
        self.entries.iter().take(evaluations).map(|entry| entry.seen.value).reduce(f64::max)
    }

    /// How many distinct plans had been looked up when `plan` was, itself included.
    pub fn evaluations_until(&self, plan: &BitPlan) -> Option<usize> {
        self.index.get(plan).map(|index| index + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::Cached;
    use crate::network::tests::lenet;
    use crate::objective::Contest;
    use crate::space::Space;

    fn plan(text: &str) -> BitPlan {
        text.parse().unwrap()
    }

    fn objective() -> Objective {
        Contest::Paper.objective(&Space::same(&[2, 8], 4).unwrap(), lenet(), 1.0)
    }

    fn perfect(_: &BitPlan) -> Result<Score, String> {
        Ok(Score { accuracy: 1.0 })
    }

    #[test]
    fn distinct_plans_are_charged_and_repeats_are_listed() {
        let (objective, mut perfect) = (objective(), perfect);
        let mut ledger = Ledger::new(&mut perfect, &objective, 2);
        for text in ["8,8,8,8", "2,2,3,2", "8,8,8,8"] {
            ledger.look_up(&plan(text)).unwrap();
        }
        assert!(matches!(ledger.look_up(&plan("2,2,2,2")), Err(Stop::Exhausted)));
        assert!(ledger.look_up(&plan("8,8,8,8")).is_ok());
        assert_eq!((ledger.distinct(), ledger.lookups().len(), ledger.remaining()), (2, 4, 0));
        assert_eq!(ledger.best().unwrap().plan, plan("2,2,3,2"));
        assert_eq!(ledger.evaluations_until(&plan("2,2,3,2")), Some(2));
        assert_eq!((ledger.best_after(0), ledger.best_after(1)), (None, Some(0.0)));
        assert_eq!(ledger.known(&plan("2,2,2,2")), None);
    }

    #[test]
    fn a_shared_cache_charges_every_searcher() {
        let (objective, mut shared) = (objective(), Cached::new(perfect));
        for _ in 0..2 {
            let mut ledger = Ledger::new(&mut shared, &objective, 5);
            ledger.look_up(&plan("8,8,8,8")).unwrap();
            assert_eq!(ledger.distinct(), 1);
        }
        assert_eq!((shared.distinct(), shared.asked()), (1, 2));
    }

    /// Together or one by one, the same plans are charged in the same order, and the budget ends both alike.
    #[test]
    fn plans_looked_up_together_are_charged_as_one_by_one() {
        let (objective, mut perfect) = (objective(), perfect);
        let plans = ["8,8,8,8", "2,2,3,2", "8,8,8,8", "2,2,2,2", "2,2,2,3"].map(plan);
        let mut one = Ledger::new(&mut perfect, &objective, 3);
        let ends = plans.each_ref().map(|plan| one.look_up(plan).is_ok());
        let entries = one.entries().to_vec();
        drop(one);
        let mut all = Ledger::new(&mut perfect, &objective, 3);
        assert!(matches!(all.look_up_all(&plans), Err(Stop::Exhausted)));
        assert_eq!((ends, all.entries()), ([true, true, true, true, false], entries.as_slice()));
        drop(all);
        let mut awaiting = Ledger::new(&mut perfect, &objective, 9).awaiting(plan("2,2,3,2"));
        assert!(matches!(awaiting.look_up_all(&plans), Err(Stop::Exhausted)));
        assert_eq!(awaiting.distinct(), 2);
    }

    #[test]
    fn every_distinct_plan_is_an_episode_unless_the_searcher_tells_its_own() {
        let objective = objective();
        let told = |tells: bool| {
            let (mut kept, mut perfect) = (Vec::new(), perfect);
            let mut ledger = Ledger::new(&mut perfect, &objective, 9).keeping(|episode| {
                kept.push((episode.episode, episode.plan.to_string(), episode.policy.len()));
                Ok(())
            });
            if tells {
                ledger.tells();
            }
            ledger.look_up_all(&[plan("8,8,8,8"), plan("2,2,3,2")]).unwrap();
            if tells {
                ledger.tell(&plan("2,2,3,2"), vec![0.0; 4], vec![vec![0.5; 2]; 4]).unwrap();
            }
            drop(ledger);
            kept
        };
        assert_eq!(told(false), [(0, "8,8,8,8".to_owned(), 0), (1, "2,2,3,2".to_owned(), 0)]);
        assert_eq!(told(true), [(0, "2,2,3,2".to_owned(), 4)]);
    }

    #[test]
    fn failures_are_not_charged_and_the_awaited_plan_ends_it() {
        let objective = objective();
        let mut broken = |plan: &BitPlan| match plan.total_weight_bits() {
            32 => Err("interrupted".to_owned()),
            _ => Ok(Score { accuracy: 1.0 }),
        };
        let mut ledger = Ledger::new(&mut broken, &objective, 9).awaiting(plan("2,2,2,2"));
        let stop = ledger.look_up(&plan("8,8,8,8")).unwrap_err();
        assert_eq!(stop.to_string(), "a plan could not be scored: interrupted");
        assert_eq!(ledger.distinct(), 0);
        ledger.look_up(&plan("2,2,2,2")).unwrap();
        assert!(matches!(ledger.look_up(&plan("2,2,2,3")), Err(Stop::Exhausted)));
    }
}
