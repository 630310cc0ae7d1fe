//! The question every searcher asks: how good is this plan? And the cache that asks it once a plan.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::plan::BitPlan;

/// How good a plan is. What it costs is known without asking, from the plan and the network's sizes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Share of validation images classified rightly, 0 to 1, after the short retraining a search can afford.
    pub accuracy: f64,
}

/// Answers with the score of a plan: a training run, a recorded table, a formula in a test.
///
/// Equal plans must get equal scores, or a search cannot be repeated; so an evaluator draws nothing from a state that
/// earlier plans changed. Closures from `&BitPlan` to a result are evaluators.
pub trait Evaluator {
    /// Why a plan could not be scored.
    type Error;

    /// Scores `plan`.
    ///
    /// # Errors
    /// Where the plan does not fit the network, or the evaluation failed or was interrupted.
    fn evaluate(&mut self, plan: &BitPlan) -> Result<Score, Self::Error>;

    /// Scores `plans`, none twice, in their order: side by side, where an evaluator can.
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate), for the first plan in order that fails.
    fn evaluate_all(&mut self, plans: &[BitPlan]) -> Result<Vec<Score>, Self::Error> {
        plans.iter().map(|plan| self.evaluate(plan)).collect()
    }

    /// How many plans it scores in about the time of one: searchers that can do so ask for as many at once.
    ///
    /// Which plans those searchers try depends on this number, and on nothing else about who evaluates.
    fn side_by_side(&self) -> usize {
        1
    }

    /// Deviation of one evaluation from what the plan would score on average, on the scale of the logarithm of its loss,
    /// where that is known: searchers that model accuracy believe a precise evaluation more.
    fn noise(&self) -> Option<f64> {
        None
    }

    /// What each choice of the space does to the network at its narrowest, alone, on any scale that is proportional to the
    /// loss, where that was probed: searchers that model accuracy then look first at what does little.
    fn falls(&self) -> Option<Vec<f64>> {
        None
    }
}

impl<F, E> Evaluator for F
where
    F: FnMut(&BitPlan) -> Result<Score, E>,
{
    type Error = E;

    fn evaluate(&mut self, plan: &BitPlan) -> Result<Score, E> {
        self(plan)
    }
}

/// Remembers scores, so that each distinct plan is evaluated once; searchers compared on equal terms share one of these.
#[derive(Clone, Debug)]
pub struct Cached<E> {
    inner: E,
    scores: BTreeMap<BitPlan, Score>,
    asked: usize,
}

impl<E> Cached<E> {
    /// An empty cache over `inner`.
    pub fn new(inner: E) -> Self {
        Self::resume(inner, BTreeMap::new())
    }

    /// A cache that already knows `scores`, such as those of an interrupted search over the same network and data.
    pub fn resume(inner: E, scores: BTreeMap<BitPlan, Score>) -> Self {
        Self { inner, scores, asked: 0 }
    }

    /// Every plan scored so far.
    pub fn scores(&self) -> &BTreeMap<BitPlan, Score> {
        &self.scores
    }

    /// How many distinct plans have a score: the price of a search in evaluations.
    pub fn distinct(&self) -> usize {
        self.scores.len()
    }

    /// How many times this cache was asked, answers it knew included.
    pub fn asked(&self) -> usize {
        self.asked
    }
}

impl<E: Evaluator> Evaluator for Cached<E> {
    type Error = E::Error;

    /// The known score, or the inner evaluator's, which is then known. Failures are not remembered.
    fn evaluate(&mut self, plan: &BitPlan) -> Result<Score, E::Error> {
        self.asked += 1;
        if let Some(&score) = self.scores.get(plan) {
            return Ok(score);
        }
        let score = self.inner.evaluate(plan)?;
        self.scores.insert(plan.clone(), score);
        Ok(score)
    }

    fn evaluate_all(&mut self, plans: &[BitPlan]) -> Result<Vec<Score>, E::Error> {
        let new: Vec<BitPlan> = plans.iter().filter(|plan| !self.scores.contains_key(plan)).cloned().collect();
        let scores = self.inner.evaluate_all(&new)?;
        self.scores.extend(new.into_iter().zip(scores));
        self.asked += plans.len();
        Ok(plans.iter().map(|plan| self.scores[plan]).collect())
    }

    fn side_by_side(&self) -> usize {
        self.inner.side_by_side()
    }

    fn noise(&self) -> Option<f64> {
        self.inner.noise()
    }

    fn falls(&self) -> Option<Vec<f64>> {
        self.inner.falls()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str) -> BitPlan {
        text.parse().unwrap()
    }

    /// Closed form: each bit halves what a layer loses, and only four layers fit.
    fn halving(plan: &BitPlan) -> Result<Score, String> {
        if plan.layers().len() != 4 {
            return Err(format!("{} layers, not 4", plan.layers().len()));
        }
        let lost: f64 = plan.layers().iter().map(|layer| 0.5_f64.powi(layer.weights.into())).sum();
        Ok(Score { accuracy: 1.0 - lost / 4.0 })
    }

    #[test]
    fn a_plan_is_evaluated_once() {
        let mut calls = 0;
        let mut cache = Cached::new(|plan: &BitPlan| {
            calls += 1;
            halving(plan)
        });
        for text in ["1,1,1,1", "2,2,2,2", "1,1,1,1", "2,2,2,2"] {
            assert_eq!(cache.evaluate(&plan(text)), halving(&plan(text)));
        }
        assert_eq!((cache.distinct(), cache.asked()), (2, 4));
        assert_eq!(cache.scores()[&plan("1,1,1,1")], Score { accuracy: 0.5 });
        drop(cache);
        assert_eq!(calls, 2);
    }

    #[test]
    fn activation_bits_make_another_plan() {
        let mut cache = Cached::new(halving);
        cache.evaluate(&plan("2,2,2,2")).unwrap();
        cache.evaluate(&plan("2:4,2:4,2:4,2:4")).unwrap();
        assert_eq!(cache.distinct(), 2);
    }

    #[test]
    fn failures_are_asked_again() {
        let mut broken = true;
        let mut cache =
            Cached::new(
                |plan: &BitPlan| {
                    if std::mem::take(&mut broken) { Err("interrupted".to_owned()) } else { halving(plan) }
                },
            );
        assert_eq!(cache.evaluate(&plan("8,8,8,8")), Err("interrupted".to_owned()));
        assert_eq!(cache.distinct(), 0);
        assert!(cache.evaluate(&plan("8,8,8,8")).is_ok());
    }

    #[test]
    fn a_resumed_cache_asks_only_what_is_new() {
        let mut first = Cached::new(halving);
        first.evaluate(&plan("3,3,3,3")).unwrap();
        let mut second = Cached::resume(|_: &BitPlan| Err::<Score, _>("asked"), first.scores().clone());
        assert!(second.evaluate(&plan("3,3,3,3")).is_ok());
        assert_eq!(second.evaluate(&plan("4,4,4,4")), Err("asked"));
        // A cache is an evaluator like any other, for another cache, too.
        let mut nested = Cached::new(Cached::new(halving));
        assert_eq!(nested.evaluate(&plan("1,2,3,4")), halving(&plan("1,2,3,4")));
    }
}
